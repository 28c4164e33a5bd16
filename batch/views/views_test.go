package views_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/forms"
	"noggin/batch/process"
	"noggin/batch/textreport"
	"noggin/batch/views"
	"noggin/storage"
)

// Every column of a view shows what the payload has, as the text report reads it.
func TestViewsShowEveryFieldOfThePayloads(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 18})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true, Batch: 50})
	m.Execute(`INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		SELECT DISTINCT ON (hash_value) hash_value, entity_type, 'Name ' || left(hash_value, 5) FROM noggin_schema.record_hashes WHERE hash_value < '8'`)
	m.Execute(`UPDATE noggin_schema.noggin_data SET payload = payload || '{"unlisted": {"a": [1, true]}, "mass": " 12,5 t ", "noOfStraps": "4.50", "straps": "perhaps", "driver": 0}' WHERE inspection_id LIKE 'LCD%'`)
	made, err := views.Create(t.Context(), m.DB, m.Types)
	if err != nil || fmt.Sprint(made.Made) != "[lcd lcs ccc ta so fpi]" {
		t.Fatalf("made %+v, %v", made, err)
	}
	compared := map[storage.ViewKind]int{}
	for record := range m.Server.Records() {
		form, _ := m.Types.ByCode(record.Code)
		read, err := forms.ParseRecord(form, []byte(m.Value(`SELECT payload FROM noggin_schema.noggin_data WHERE tip = '`+record.Tip+`'`)))
		if err != nil {
			t.Fatal(err)
		}
		names := storage.Names{}
		for _, ref := range read.References {
			if ref.Hash < "8" {
				names[storage.EntityKey{Type: ref.EntityType, Hash: ref.Hash}] = "Name " + ref.Hash[:5]
			}
		}
		view := views.Of(form)
		var row map[string]any
		if err := json.Unmarshal([]byte(m.Value(`SELECT to_jsonb(v) FROM noggin_schema.`+view.Name+` v WHERE tip = '`+record.Tip+`'`)), &row); err != nil {
			t.Fatal(err)
		}
		if row["inspection_id"] != record.InspectionID || row["inspection_date"] != read.InspectionDate {
			t.Errorf("%s: the view begins with %v, %v", record.InspectionID, row["inspection_id"], row["inspection_date"])
		}
		want := expected(form, read, names)
		if len(want) != len(view.Columns) {
			t.Fatalf("%s has %d columns, want %d", view.Name, len(view.Columns), len(want))
		}
		for i, column := range view.Columns {
			got := ""
			if row[column.Name] != nil {
				got = fmt.Sprint(row[column.Name])
			}
			if column.Kind == storage.ViewHTML {
				got = strings.Join(strings.Fields(got), " ")
			}
			if column.Kind == storage.ViewMedia {
				got = strconv.Itoa(len(strings.FieldsFunc(got, func(r rune) bool { return r == '\n' })))
			}
			if got != want[i] {
				t.Errorf("%s: %s is %q, want %q", record.InspectionID, column.Name, got, want[i])
			}
			if want[i] != "" && want[i] != "0" {
				compared[column.Kind]++
			}
			delete(row, column.Name)
		}
		if record.Code == "LCD" && fmt.Sprint(row["other_fields"]) != "map[unlisted:map[a:[1 true]]]" {
			t.Errorf("%s: other fields are %v", record.InspectionID, row["other_fields"])
		}
	}
	for kind := storage.ViewText; kind <= storage.ViewMedia; kind++ {
		if compared[kind] < 3 {
			t.Errorf("%d columns of kind %d have a value: the test shows nothing", compared[kind], kind)
		}
	}
}

// expected returns the texts of a view's columns, in their order.
func expected(form forms.ObjectType, read forms.Record, names storage.Names) (want []string) {
	plain := func(f forms.PlainField) string {
		text := f.Text(read.Values)
		switch {
		case f.IsHTML():
			rich := forms.ObjectType{Fields: []forms.PlainField{f}}
			text = ""
			for _, row := range textreport.Read(rich, read, storage.Stored{}).Details {
				text = strings.Join(strings.Fields(row.Text), " ")
			}
		case f.IsBool() && text != "":
			text = strconv.FormatBool(text == "Yes")
		case f.IsNumber():
			n, err := strconv.ParseFloat(text, 64)
			if text = ""; err == nil {
				text = fmt.Sprint(n)
			}
		}
		return text
	}
	for _, r := range form.References {
		var found []string
		for _, value := range forms.ListOf(read.Values[r.Field]) {
			text := forms.ValueText(value)
			if hash, ok := forms.ParseTip(text); ok {
				if text, ok = names.Lookup(r.EntityType, hash); !ok {
					text = storage.UnknownName(hash)
				}
			}
			found = append(found, text)
		}
		want = append(want, strings.Join(found, ", "))
	}
	for _, f := range form.Fields {
		want = append(want, plain(f))
	}
	for _, q := range form.Checklist {
		answer, _ := q.Answer(read.Values)
		want = append(want, answer)
		for _, d := range q.Details {
			want = append(want, plain(d))
		}
	}
	for _, media := range form.Media {
		n := 0
		for _, ref := range read.Attachments {
			if ref.Field == media.Field {
				n++
			}
		}
		want = append(want, strconv.Itoa(n))
	}
	return want
}

func TestNamesOfColumnsAreReadableAndDifferent(t *testing.T) {
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	simple := regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	label := strings.Repeat("a label that is long ", 5)
	question := forms.Question{Label: label, Details: []forms.PlainField{{Field: "h", Label: label}}}
	long := forms.ObjectType{Code: "LONG", Fields: []forms.PlainField{{Field: "f", Label: label}, {Field: "g", Label: label}}, Checklist: []forms.Question{question, question}}
	for _, form := range append(types.All(), long) {
		seen := map[string]bool{"other_fields": true}
		for _, name := range storage.ViewBaseColumns() {
			seen[name] = true
		}
		for _, column := range views.Of(form).Columns {
			if !simple.MatchString(column.Name) || seen[column.Name] {
				t.Errorf("%s has the column %q", form.Code, column.Name)
			}
			seen[column.Name] = true
		}
	}
	odd := forms.ObjectType{Code: "7-Ä", Fields: []forms.PlainField{{Field: "f", Label: "Tip"}, {Field: "g", Label: "日本"}, {Field: "日", Label: "日"}, {Field: `a'b"c`, Label: "2nd"}}}
	view := views.Of(odd)
	var got []string
	for _, column := range view.Columns {
		got = append(got, column.Name)
	}
	if view.Name != "7-ä" || fmt.Sprint(got) != "[tip_2 g field no_2nd]" {
		t.Errorf("the odd form is %s %v", view.Name, got)
	}
}

// The views follow the forms, keep their rights and touch nothing of anybody else.
func TestViewsAreMadeAgain(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	of := func(given []forms.ObjectType) (storage.ViewsMade, error) {
		types, err := forms.New(given)
		if err != nil {
			t.Fatal(err)
		}
		return views.Create(t.Context(), m.DB, types)
	}
	hostile := forms.ObjectType{Code: "X", Name: `it's "x"; DROP TABLE noggin_data`, APIName: "x", IDField: `i'd"`, Fields: []forms.PlainField{{Field: `f'"\`, Label: "F"}}}
	if made, err := of([]forms.ObjectType{hostile}); err != nil || len(made.Made) != 7 {
		t.Fatalf("made %+v, %v", made, err)
	}
	alike := []forms.ObjectType{{Code: "Y_Z", Name: "One", APIName: "y", IDField: "i"}, {Code: "Y__Z", Name: "Two", APIName: "z", IDField: "j"}, {Code: "Y_Z_", Name: "Three", APIName: "zz", IDField: "k"}}
	if made, err := of(alike); err != nil || len(made.Made) != 9 {
		t.Fatalf("of forms with codes that are much alike: made %+v, %v", made, err)
	}
	if _, err := of([]forms.ObjectType{hostile}); err != nil {
		t.Fatal(err)
	}
	m.Execute(`GRANT SELECT ON noggin_schema.lcd TO PUBLIC; GRANT SELECT ON noggin_schema.lcd TO pg_monitor WITH GRANT OPTION`)
	made, err := of(nil)
	if err != nil || len(made.Made) != 6 || fmt.Sprint(made.Removed) != "[x]" || made.Grants != 2 {
		t.Errorf("made again %+v, %v", made, err)
	}
	if got := m.Value(`SELECT relacl::text LIKE '%,=r/%' AND relacl::text LIKE '%pg_monitor=r*/%' FROM pg_class WHERE oid = 'noggin_schema.lcd'::regclass`); got != "true" {
		t.Errorf("the rights on the view are gone: %s", got)
	}
	m.Execute(`CREATE VIEW noggin_schema.mine AS SELECT tip FROM noggin_schema.lcd`)
	if _, err := of(nil); err == nil || !strings.Contains(err.Error(), "built on lcd") || !strings.Contains(err.Error(), "mine") {
		t.Errorf("with a view built on one: %v", err)
	}
	m.Execute(`DROP VIEW noggin_schema.mine`)
	if _, err := of([]forms.ObjectType{{Code: "runs", Name: "Runs", APIName: "x", IDField: "i"}}); err == nil || !strings.Contains(err.Error(), `another "runs"`) {
		t.Errorf("a form with the name of a table: %v", err)
	}
	if got := m.Value(`SELECT count(*) FROM pg_views WHERE schemaname = 'noggin_schema' AND viewname IN ('lcd', 'lcs', 'ccc', 'ta', 'so', 'fpi')`); got != "6" {
		t.Errorf("after what was refused there are %s views", got)
	}
}
