package show

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestStreamedRowsSurviveEveryReader(t *testing.T) {
	t.Parallel()
	rows := [][][]byte{
		{[]byte("plain"), []byte(`with "quotes", commas`), []byte("12")},
		{[]byte("two\r\nlines"), nil, nil},
		{[]byte(""), []byte("é 日本"), []byte("0")},
	}
	var out bytes.Buffer
	s := NewRowStream(Output{Writer: &out, Format: CSV}, []string{"a", "b", "n"})
	for _, row := range rows {
		if err := s.Text(slices.Clone(row), []bool{false, false, true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	read, err := csv.NewReader(&out).ReadAll()
	if want := "[[a b n] [plain with \"quotes\", commas 12] [two\nlines  ] [ é 日本 0]]"; err != nil || fmt.Sprint(read) != want {
		t.Errorf("CSV is read as %v, %v", read, err)
	}

	out.Reset()
	s = NewRowStream(Output{Writer: &out, Format: JSON}, []string{"a", "b", "n"})
	for _, row := range rows {
		if err := s.Text(slices.Clone(row), []bool{false, false, true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	if err := json.Unmarshal(out.Bytes(), &objects); err != nil || len(objects) != 3 {
		t.Fatalf("%v: %s", err, out.String())
	}
	if objects[1]["b"] != nil || objects[1]["a"] != "two\r\nlines" || objects[0]["n"] != 12.0 {
		t.Errorf("JSON is read as %v", objects)
	}
}

func TestNoRowsAreAHeaderOrAnEmptyArray(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{CSV: "a\n", JSON: "[]\n"} {
		var out bytes.Buffer
		if err := NewRowStream(Output{Writer: &out, Format: format}, []string{"a"}).End(); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v", format, out.String(), err)
		}
	}
}

func TestADocumentAsCSVHasALineAValue(t *testing.T) {
	t.Parallel()
	doc := map[string]any{"a": 1, "b": map[string]any{"c": []any{"x", nil, true}}, "d": []int{}}
	flat, err := flattened(doc)
	if want := "[[a 1] [b.c.0 x] [b.c.1 <nil>] [b.c.2 true]]"; err != nil || fmt.Sprint(flat.Rows) != want {
		t.Errorf("%v, %v", flat.Rows, err)
	}
}

func TestASheetFitsItsWidth(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 30)
	var out bytes.Buffer
	page := Sheet{Title: "Title", Sections: []Section{
		{Title: "Nothing to tell", Facts: []Fact{{"label", ""}}},
		{Title: "Facts", Lines: []string{"! " + long, "  > " + long}, Facts: []Fact{{"label", long}, {"none", ""}}},
		{Title: "Nothing"},
	}}
	if err := (Output{Writer: &out, Width: 60}).Sheet(page); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 61 {
			t.Errorf("too long: %q", line)
		}
	}
	if text := out.String(); strings.Contains(text, "Nothing") || strings.Contains(text, "none") || !strings.Contains(text, "\n    word") {
		t.Errorf("laid out as\n%s", text)
	}
}
