package storage

import (
	"fmt"
	"testing"
)

func TestJoinedColumnsComeApartWhateverTheyHold(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	line := newJoinedColumns(5)
	query := `SELECT ` + line.sql([]string{"$1::text", "$2::text", "$3::text", "$4::text", "$5::text"})
	for _, values := range [][]any{
		{"plain", "two words", `a "quoted" one`, `back\slash`, "comma, and (brackets)"},
		{nil, "", nil, " ", `\`},
		{"line\nend", "\ttab", "\x01\x02\x03\x04\x05\x06", line.separator[1:], line.null + "x"},
		{"é 日本 😀", ",", "()", "'", nil},
		{nil, nil, nil, nil, nil},
	} {
		fields, err := line.split(scalar[[]byte](t, db, query, values...), nil)
		if err != nil {
			t.Fatalf("%q: %v", values, err)
		}
		for i, want := range values {
			if want == nil && fields[i] != nil || want != nil && (fields[i] == nil || string(fields[i]) != want) {
				t.Errorf("field %d of %q is %q", i, values, fields[i])
			}
		}
	}
	if other := newJoinedColumns(5); other.separator == line.separator || other.null == line.null || line.null == line.separator {
		t.Error("what stands between values could be foreseen")
	}
	if _, err := line.split([]byte("one"), nil); err == nil {
		t.Error("a row of one value passes for one of five")
	}
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
		{InspectionFilter{Selector: Selector{From: "2025-01-01", Until: "2025-02-28"}}, "[a]"},
		{InspectionFilter{Selector: Selector{From: "2025-01-02"}}, "[b]"},
		{InspectionFilter{Selector: Selector{ObjectType: "LCD"}}, "[a c]"},
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
