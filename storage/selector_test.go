package storage

import (
	"fmt"
	"slices"
	"testing"
)

// findable fills a database with three inspections, a record that was never fetched and a
// failed one.
func findable(t *testing.T) *DB {
	t.Helper()
	db := testDB(t)
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type, inspection_id, inspection_date, expected_inspection_date, folder, processing_status, load_compliance)
		VALUES ('a', 'LCD', 'LCD - 1', '2025-03-01', '2024-01-01', 'a', 'complete', 'Compliant'), ('b', 'LCD', 'LCD - 2', '2025-03-31', NULL, 'b', 'complete', 'Not compliant'),
		       ('c', 'TA', 'TA - 1', NULL, NULL, 'c', 'complete', NULL), ('d', 'LCD', NULL, NULL, '2025-03-02', NULL, 'pending', NULL),
		       ('e', 'LCD', 'LCD - 3', '2025-04-01', NULL, 'e', 'partial', 'Not compliant')`)
	foreign(t, db, `INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value)
		VALUES ('a', 'vehicle', 'vehicle', 'v1'), ('a', 'team', 'team', 't1'), ('b', 'trailer2', 'trailer', 'r1'), ('b', 'team', 'team', 't1'),
		       ('c', 'vehicle', 'vehicle', 'r1'), ('e', 'team', 'team', 't2'), ('e', 'vehicle', 'vehicle', 'v2')`)
	return db
}

func TestASelectorChoosesByWhatAnInspectionIsAbout(t *testing.T) {
	t.Parallel()
	db := findable(t)
	for _, test := range []struct {
		name string
		s    Selector
		want string
	}{
		{"from a day on", Selector{From: "2025-03-02"}, "[e b]"},
		{"within days, both of them whole", Selector{From: "2025-03-01", Until: "2025-03-31"}, "[b a]"},
		{"until a day", Selector{Until: "2025-03-01"}, "[a]"},
		{"of an entity", Selector{Entities: [][]string{{"t1"}}}, "[b a]"},
		{"of any of several hashes", Selector{Entities: [][]string{{"v1", "v2"}}}, "[e a]"},
		{"of two entities at once", Selector{Entities: [][]string{{"t1"}, {"v1"}}}, "[a]"},
		{"of an entity in any of its fields", Selector{Entities: [][]string{{"r1"}}}, "[b c]"},
		{"of an entity that no record has", Selector{Entities: [][]string{{"x"}}}, "[]"},
		{"by compliance", Selector{Compliance: "Not compliant"}, "[e b]"},
		{"by everything", Selector{ObjectType: "LCD", Statuses: []Status{StatusComplete}, From: "2025-03-01", Until: "2025-03-31", Entities: [][]string{{"t1"}}, Compliance: "Not compliant"}, "[b]"},
	} {
		tips := []string{}
		if err := db.EachInspection(t.Context(), InspectionFilter{Selector: test.s}, func(values [][]byte) error {
			tips = append(tips, string(values[len(values)-1]))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(tips); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// A record that was not fetched has only the day of its export; what was fetched counts by
// its own.
func TestASelectorOfTheQueueTakesTheDayOfTheExportForWhatWasNotFetched(t *testing.T) {
	t.Parallel()
	db := findable(t)
	skippable := func(s Selector) string {
		rows, err := db.Skippable(t.Context(), s, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		tips := []string{}
		for _, r := range rows {
			tips = append(tips, r.Tip)
		}
		return fmt.Sprint(tips)
	}
	if got := skippable(Selector{From: "2025-03-02", Until: "2025-03-02"}); got != "[d]" {
		t.Errorf("skip takes %s of the day of an export, want [d]", got)
	}
	if got := skippable(Selector{From: "2025-03-03"}); got != "[]" {
		t.Errorf("skip takes %s of later days, want none", got)
	}
	if counts, err := db.CountRetryable(t.Context(), Selector{Entities: [][]string{{"v2"}}, Until: "2025-04-01"}); len(counts) != 1 || counts[0].Records != 1 || err != nil {
		t.Errorf("failed records of a vehicle: %+v, %v; want 1", counts, err)
	}
	claims, err := db.Claim(t.Context(), ClaimRequest{Run: 1, Limit: 5, Lease: 1e9, Refresh: true, Selector: Selector{Entities: [][]string{{"t1"}}, From: "2025-03-02"}})
	if err != nil || len(claims) != 1 || claims[0].Tip != "b" {
		t.Errorf("a refresh of a team claims %+v, %v; want b", claims, err)
	}
	months, err := db.ArchiveMonths(t.Context(), ArchiveFilter{Selector: Selector{Entities: [][]string{{"t1"}}, Compliance: "Compliant"}, Before: "2026-01-01"})
	if err != nil || len(months) != 1 || months[0].Records != 1 {
		t.Errorf("an archive of a team's compliant loads takes %+v, %v; want one record", months, err)
	}
}

func TestOnlyAFormChoosesNothingElse(t *testing.T) {
	for _, s := range []Selector{{}, {ObjectType: "LCD"}} {
		if !s.OnlyForm() {
			t.Errorf("%+v chooses by more than the form", s)
		}
	}
	for _, s := range []Selector{{ObjectType: "LCD", Until: "2025-01-01"}, {Entities: [][]string{{"a"}}}, {Compliance: "Compliant"}} {
		if s.OnlyForm() {
			t.Errorf("%+v chooses by nothing but the form", s)
		}
	}
}

func TestEntitiesAreFoundByNameAndHash(t *testing.T) {
	t.Parallel()
	db := findable(t)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		VALUES ('v1', 'vehicle', '100% "Öl" _x\'), ('v2', 'vehicle', 'Öl'), ('r1', 'trailer', 'DOLLY'), ('t1', 'team', 'מסגר'), ('zz', 'trailer', 'Dolly 2')`)
	foreign(t, db, `INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type) VALUES ('t2', 'team')`)
	for _, test := range []struct{ kind, text, want string }{
		{"vehicle", "öl", "[v2 v1]"}, // just this name comes first
		{"vehicle", "%", "[v1]"},
		{"vehicle", "_", "[v1]"},
		{"vehicle", `\`, "[v1]"},
		{"vehicle", `"`, "[v1]"},
		{"vehicle", "'; DROP", "[]"},
		{"vehicle", "dolly", "[r1]"}, // records have it as a vehicle, though only trailers have names like this
		{"trailer", "dolly", "[r1 zz]"},
		{"team", "סג", "[t1]"},
		{"person", "dolly", "[]"},
	} {
		found, err := db.NamedEntities(t.Context(), test.kind, test.text, 10)
		if err != nil {
			t.Fatal(err)
		}
		hashes := []string{}
		for _, e := range found {
			hashes = append(hashes, e.Hash)
		}
		if got := fmt.Sprint(hashes); got != test.want {
			t.Errorf("%s %s: got %s, want %s", test.kind, test.text, got, test.want)
		}
	}
	for text, want := range map[string]Entity{"t": {"t1", "מסגר"}, "t2": {"t2", ""}} {
		found, err := db.EntitiesByHash(t.Context(), "team", text, 10)
		if err != nil || !slices.Contains(found, want) {
			t.Errorf("the hash %s is %v, %v; want %v", text, found, err, want)
		}
	}
}

// A list of the latest inspections is made by other statements than a list of all.
func TestALimitedListBeginsLikeTheWholeOne(t *testing.T) {
	t.Parallel()
	db := findable(t)
	foreign(t, db, `INSERT INTO noggin_schema.record_search (record_tip, inspection_date, document)
		SELECT tip, inspection_date, 'load'::tsvector FROM noggin_schema.noggin_data WHERE folder IS NOT NULL`)
	foreign(t, db, `INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name) VALUES ('b', 'x', 2, 'f'), ('b', 'y', 1, 'f')`)
	list := func(f InspectionFilter) []string {
		rows := []string{}
		f.Fields = []string{"tip"}
		if f.Attachments {
			f.Fields = append(f.Fields, "attachment_tip")
		}
		if err := db.EachInspection(t.Context(), f, func(values [][]byte) error {
			rows = append(rows, string(slices.Concat(values...)))
			return nil
		}); err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		return rows
	}
	for _, s := range []Selector{
		{},
		{Search: "load"},
		{Search: "load", ObjectType: "LCD"},
		{Search: "load", From: "2025-03-02"},
		{Search: "load", Entities: [][]string{{"t1"}}},
		{Entities: [][]string{{"t1"}}},
		{Compliance: "Not compliant"},
		{Until: "2025-03-31"},
		{Search: "nothing"},
	} {
		for _, attachments := range []bool{false, true} {
			whole := list(InspectionFilter{Selector: s, Attachments: attachments})
			for limit := 1; limit <= len(whole)+1; limit++ {
				got, want := list(InspectionFilter{Selector: s, Attachments: attachments, Limit: limit}), whole[:min(limit, len(whole))]
				if !slices.Equal(got, want) {
					t.Errorf("%+v, attachments %v: the first %d are %v, want %v", s, attachments, limit, got, want)
				}
			}
		}
		totals, err := db.CountInspections(t.Context(), InspectionFilter{Selector: s, Limit: 1})
		if want := int64(len(list(InspectionFilter{Selector: s}))); err != nil || totals.Records != want || totals.More {
			t.Errorf("%+v: totals %+v, %v; want %d", s, totals, err, want)
		}
	}
	totals, err := db.CountInspections(t.Context(), InspectionFilter{})
	if err != nil || totals.Compliance["Compliant"] != 1 || totals.Compliance["Not compliant"] != 2 || totals.Compliance[""] != 1 {
		t.Errorf("totals %+v, %v", totals, err)
	}
}

func TestFieldsAreColumnsNamesAndFieldsOfTheAnswers(t *testing.T) {
	t.Parallel()
	db := findable(t)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET payload = '{"it''s": "quoted", "n": 4}' WHERE tip = 'a'`)
	foreign(t, db, `INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value)
		VALUES ('a', 'customerClient', 'customer', 'c1'), ('a', 'p1', 'person', 'p1'), ('a', 'p2', 'person', 'p2')`)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('c1', 'customer', 'ACME'), ('p1', 'person', 'Pat')`)
	var got []string
	f := InspectionFilter{Selector: Selector{Tips: []string{"a"}}, Fields: []string{"customer", "person", "it's", "n", "job_number", "none"}}
	if err := db.EachInspection(t.Context(), f, func(values [][]byte) error {
		for _, v := range values {
			got = append(got, fmt.Sprintf("%s/%v", v, v == nil))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := "[ACME/false Pat, Unknown (p2)/false quoted/false 4/false /true /true]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, attachments := range []bool{false, true} {
		f := InspectionFilter{Attachments: attachments, Fields: InspectionFields(attachments)}
		if err := db.EachInspection(t.Context(), f, func([][]byte) error { return nil }); err != nil {
			t.Errorf("all columns: %v", err)
		}
	}
}

func TestInspectionsAreCountedUpToALimit(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for _, statement := range []string{
		`INSERT INTO noggin_schema.noggin_data (tip, object_type, inspection_date, folder, processing_status)
		 SELECT 'r' || i, 'LCD', '2025-01-01', 'f' || i, 'complete' FROM generate_series(1, $1::int) AS i`,
		`INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value) SELECT 'r' || i, 'team', 'team', 't' FROM generate_series(1, $1::int) AS i`,
		`INSERT INTO noggin_schema.record_search (record_tip, document) SELECT 'r' || i, 'load' FROM generate_series(1, $1::int) AS i`,
	} {
		if _, err := db.pool.ExecContext(t.Context(), db.sql(statement), MostCounted+1); err != nil {
			t.Fatal(err)
		}
	}
	count := func(s Selector) InspectionTotals {
		totals, err := db.CountInspections(t.Context(), InspectionFilter{Selector: s})
		if err != nil {
			t.Fatal(err)
		}
		return totals
	}
	for _, s := range []Selector{{Search: "load"}, {Entities: [][]string{{"t"}}}, {Search: "load", ObjectType: "LCD"}} {
		if totals := count(s); !totals.More || totals.Records != MostCounted {
			t.Errorf("%+v: %+v, want more than %d", s, totals, MostCounted)
		}
	}
	if totals, err := db.countInspections(t.Context(), InspectionFilter{Selector: Selector{ObjectType: "LCD"}}, MostCounted); err != nil || !totals.More || totals.Records != MostCounted {
		t.Errorf("%+v, %v", totals, err)
	}
	if totals := count(Selector{ObjectType: "LCD"}); totals.More || totals.Records != MostCounted+1 {
		t.Errorf("what the index tells is not counted to its end: %+v", totals)
	}
}
