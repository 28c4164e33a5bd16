package show

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
)

func sampleTable() Table {
	at := time.Date(2025, 9, 17, 8, 30, 0, 0, time.FixedZone("AWST", 8*3600))
	return Table{
		Columns: []Column{{"tip", "Tip"}, {"attachments", "Photos"}, {"complete", "Complete"}, {"updated_at", "Updated"}, {"last_error_message", "Last error"}},
		Rows: [][]any{
			{"ab12", 3, true, at, nil},
			{"ü日本", 12, false, at, "connection reset by peer while reading the body of an attachment, with\na second line\x1b[31m"},
		},
	}
}

func render(t *testing.T, o Output, tbl Table) string {
	t.Helper()
	var b bytes.Buffer
	o.Writer = &b
	if err := o.Table(tbl); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestATextTableIsPlainWhenItIsPiped(t *testing.T) {
	want := `Tip    Photos  Complete  Updated              Last error
ab12        3  yes       2025-09-17 08:30:00
ü日本      12  no        2025-09-17 08:30:00  connection reset by peer while reading the body of an attachment, with a second line\x1b[31m
`
	if got := render(t, Output{Format: Text}, sampleTable()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestATextTableFitsTheTerminal(t *testing.T) {
	for _, width := range []int{60, 80, 200} {
		got := render(t, Output{Format: Text, Width: width}, sampleTable())
		for _, line := range strings.Split(got, "\n") {
			if w := text.StringWidth(line); w > width {
				t.Errorf("%d columns: a line of %d:\n%s", width, w, got)
			}
		}
		if !strings.Contains(strings.Join(strings.Fields(got), ""), `yes`) {
			t.Errorf("%d columns: a value is gone:\n%s", width, got)
		}
	}
}

// An inspection id is read as one, also beside a column with a hash in it.
func TestAShortColumnIsNotBrokenForALongOne(t *testing.T) {
	long := Table{Columns: []Column{{"id", "Inspection"}, {"name", "Vehicle"}, {"load", "Compliance"}}, Rows: [][]any{
		{"FL - Inspection - 00007", "Unknown (" + strings.Repeat("4d8f42b9", 8) + ")", "Not compliant"},
	}}
	got := render(t, Output{Format: Text, Width: 70}, long)
	if !strings.Contains(got, "FL - Inspection - 00007") || !strings.Contains(got, "Not compliant") {
		t.Errorf("broken:\n%s", got)
	}
	for line := range strings.Lines(got) {
		if len([]rune(line)) > 71 {
			t.Errorf("too wide: %q", line)
		}
	}
}

func TestColourOnlyWhereItIsWanted(t *testing.T) {
	if got := render(t, Output{Format: Text}, sampleTable()); strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	if got := render(t, Output{Format: Text, Colour: true}, sampleTable()); !strings.Contains(got, "\x1b[1m") {
		t.Errorf("%q", got)
	}
}

func TestATableAsJSONIsOneDocument(t *testing.T) {
	got := render(t, Output{Format: JSON}, sampleTable())
	var rows []map[string]any
	if err := json.Unmarshal([]byte(got), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0]["attachments"] != 3.0 || rows[0]["last_error_message"] != nil ||
		rows[0]["updated_at"] != "2025-09-17T08:30:00+08:00" || rows[1]["complete"] != false {
		t.Errorf("got %v", rows)
	}
	if strings.Index(got, `"tip"`) > strings.Index(got, `"attachments"`) {
		t.Error("the columns lost their order")
	}
	if got := render(t, Output{Format: JSON}, Table{Columns: sampleTable().Columns}); got != "[]\n" {
		t.Errorf("no rows: %q", got)
	}
}

func TestATableAsRawCSVKeepsEveryByte(t *testing.T) {
	records, err := csv.NewReader(strings.NewReader(render(t, Output{Format: CSV, Raw: true}, sampleTable()))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if records[0][3] != "updated_at" || records[1][3] != "2025-09-17T08:30:00+08:00" || !strings.HasSuffix(records[2][4], "line\x1b[31m") {
		t.Errorf("got %q", records)
	}
}

func TestTextThatSteersATerminalIsShownAsItsEscape(t *testing.T) {
	for given, want := range map[string]string{
		"plain é 日 🚚":     "plain é 日 🚚",
		"a\nb\tc\r":       "a b c ",
		"\x1b]0;x\a":      `\x1b]0;x\a`,
		"right\u202eleft": `right\u202eleft`,
		"nul\x00":         `nul\x00`,
		"\u009b31m":       `\u009b31m`,
		"bad\xff":         "bad\ufffd",
		"a\u00a0b":        "a\u00a0b",
		"zero\u200bwidth": `zero\u200bwidth`,
	} {
		if got := Printable(given); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}
