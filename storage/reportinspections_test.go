package storage

import (
	"fmt"
	"testing"
)

func TestACompositeValueIsTakenApartAsPostgreSQLWroteIt(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for _, values := range [][]any{
		{"plain", "two words", `a "quoted" one`, `back\slash`, "comma, and (brackets)"},
		{nil, "", nil, " ", `\`},
		{"line\nend", "\ttab", `"`, `""`, `\"`},
		{"é 日本 😀", ",", "()", "'", nil},
	} {
		text := scalar[[]byte](t, db, `SELECT ROW($1::text, $2::text, $3::text, $4::text, $5::text)`, values...)
		fields, err := splitComposite(text, nil)
		if err != nil || len(fields) != len(values) {
			t.Fatalf("%q: %d fields, %v", values, len(fields), err)
		}
		for i, want := range values {
			if want == nil && fields[i] != nil || want != nil && (fields[i] == nil || string(fields[i]) != want) {
				t.Errorf("field %d of %q is %q", i, values, fields[i])
			}
		}
	}
}

func FuzzSplitComposite(f *testing.F) {
	for _, seed := range []string{"()", "(,)", `("a""b",\,c)`, `("`, `(\)`, "", `(a"b"c,"",)`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := splitComposite([]byte(text), nil)
		if err == nil && len(fields) == 0 {
			t.Error("no fields and no error")
		}
	})
}

func TestInspectionsComeByDayAndWithinTheBounds(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type, inspection_id, inspection_date, folder, processing_status)
		VALUES ('a', 'LCD', 'LCD - 1', '2025-01-01', 'a', 'complete'), ('b', 'TA', 'TA - 1', '2025-03-01', 'b', 'complete'),
		       ('c', 'LCD', NULL, NULL, 'c', 'complete'), ('d', 'LCD', NULL, NULL, NULL, 'pending')`)
	foreign(t, db, `INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name) VALUES ('a', 'x', 2, 'f'), ('a', 'y', 1, 'f')`)
	for _, test := range []struct {
		filter InspectionFilter
		want   string
	}{
		{InspectionFilter{}, "[b a c]"},
		{InspectionFilter{From: "2025-01-01", To: "2025-02-28"}, "[a]"},
		{InspectionFilter{From: "2025-01-02"}, "[b]"},
		{InspectionFilter{ObjectType: "LCD"}, "[a c]"},
		{InspectionFilter{Attachments: true}, "[b a a c]"},
	} {
		var tips []string
		columns := len(InspectionColumns(test.filter.Attachments))
		if err := db.EachInspection(t.Context(), test.filter, func(values [][]byte) error {
			if len(values) != columns {
				t.Fatalf("%d values for %d columns", len(values), columns)
			}
			tips = append(tips, string(values[columns-1]))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(tips); got != test.want {
			t.Errorf("%+v gave %s, want %s", test.filter, got, test.want)
		}
	}
}
