package commands

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

func TestStreamedRowsSurviveEveryReader(t *testing.T) {
	t.Parallel()
	rows := [][][]byte{
		{[]byte("plain"), []byte(`with "quotes", commas`), []byte("12")},
		{[]byte("two\r\nlines"), nil, nil},
		{[]byte(""), []byte("é 日本"), []byte("0")},
	}
	var out bytes.Buffer
	s := newRowStream(output{Writer: &out, format: formatCSV}, []string{"a", "b", "n"})
	for _, row := range rows {
		if err := s.text(slices.Clone(row), []bool{false, false, true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	read, err := csv.NewReader(&out).ReadAll()
	if want := "[[a b n] [plain with \"quotes\", commas 12] [two\nlines  ] [ é 日本 0]]"; err != nil || fmt.Sprint(read) != want {
		t.Errorf("CSV is read as %v, %v", read, err)
	}

	out.Reset()
	s = newRowStream(output{Writer: &out, format: formatJSON}, []string{"a", "b", "n"})
	for _, row := range rows {
		if err := s.text(slices.Clone(row), []bool{false, false, true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.end(); err != nil {
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
	for format, want := range map[string]string{formatCSV: "a\n", formatJSON: "[]\n"} {
		var out bytes.Buffer
		if err := newRowStream(output{Writer: &out, format: format}, []string{"a"}).end(); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v", format, out.String(), err)
		}
	}
}

func TestADocumentAsCSVHasALineAValue(t *testing.T) {
	t.Parallel()
	doc := map[string]any{"a": 1, "b": map[string]any{"c": []any{"x", nil, true}}, "d": []int{}}
	flat, err := flattened(doc)
	if want := "[[a 1] [b.c.0 x] [b.c.1 <nil>] [b.c.2 true]]"; err != nil || fmt.Sprint(flat.rows) != want {
		t.Errorf("%v, %v", flat.rows, err)
	}
}

func TestANarrowTerminalLosesSpareColumnsFirst(t *testing.T) {
	t.Parallel()
	full := table{
		columns: []column{{"id", "Id"}, {"form", "Form"}, {"when", "When"}, {"error", "Error"}},
		rows:    [][]any{{"LCD - 000001", "LCD", "2025-09-17 20:00", strings.Repeat("some words ", 9)}},
		spare:   []string{"Form", "When"},
	}
	for _, test := range []struct {
		width int
		want  string
	}{
		{0, "Id Form When Error"},
		{70, "Id Form When Error"},
		{60, "Id When Error"},
		{45, "Id Error"},
		{20, "Id Error"},
	} {
		text := full.render(test.width, false)
		heading, _, _ := strings.Cut(text, "\n")
		if got := strings.Join(strings.Fields(heading), " "); got != test.want {
			t.Errorf("at %d columns: %s, want %s", test.width, got, test.want)
		}
		for line := range strings.Lines(text) {
			if test.width > 0 && len(strings.TrimRight(line, "\n")) > test.width {
				t.Errorf("at %d columns: a line of %d:\n%s", test.width, len(line), text)
			}
		}
	}
}

func TestASheetFitsItsWidth(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 30)
	var out bytes.Buffer
	page := sheet{title: "Title", sections: []section{
		{title: "Nothing to tell", facts: []fact{{"label", ""}}},
		{title: "Facts", lines: []string{"! " + long, "  > " + long}, facts: []fact{{"label", long}, {"none", ""}}},
		{title: "Nothing"},
	}}
	if err := (output{Writer: &out, width: 60}).sheet(page); err != nil {
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

func TestSystemdsTimersAreRead(t *testing.T) {
	t.Parallel()
	answer := `[{"next":1761102000000000,"left":12,"last":0,"passed":0,"unit":"noggin-process.timer","activates":"noggin-process.service"}]`
	timers := parseTimers([]byte(answer))
	if len(timers) != 1 || timers[0].Last != nil || timers[0].Next.Unix() != 1761102000 || timers[0].Unit != "noggin-process.timer" {
		t.Errorf("read as %+v", timers)
	}
	if parseTimers([]byte("System has not been booted with systemd")) != nil {
		t.Error("an error message is read as timers")
	}
}

func TestValuesAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value any
		want  string
	}{
		{count(1234567), "1,234,567"},
		{size(3_100_000), "3.1 MB"},
		{percent(95.04), "95.0 %"},
		{duration(1.25), "1.2 s"},
		{duration(200), "3m20s"},
		{duration(7300), "2h01m"},
		{duration(86400 * 3), "3.0 days"},
		{speed(2e6), "2.0 MB/s"},
	} {
		if got := humanText(test.value); got != test.want {
			t.Errorf("%v is written %q, want %q", test.value, got, test.want)
		}
	}
}

func TestARunTellsWhatItDid(t *testing.T) {
	t.Parallel()
	message := "the circuit is open"
	for _, test := range []struct {
		run  storage.RunRow
		want string
	}{
		{storage.RunRow{Summary: []byte(`{"claimed": 3, "complete": 2, "api_failed": 1, "interrupted": 0}`)}, "3 taken, 2 complete, 1 API failed"},
		{storage.RunRow{Summary: []byte(`{"claimed": 0}`)}, "nothing was due"},
		{storage.RunRow{Summary: []byte(`null`)}, ""},
		{storage.RunRow{Summary: []byte(`{"claimed": 3}`), Message: &message}, message},
	} {
		if got := whatItDid(test.run); got != test.want {
			t.Errorf("%s tells %q, want %q", test.run.Summary, got, test.want)
		}
	}
	now := time.Now()
	if got := exitText(storage.RunRow{SeenAt: now.Add(-time.Hour)}, now); got != "died" {
		t.Errorf("a run silent for an hour is %q", got)
	}
	if got := exitText(storage.RunRow{SeenAt: now.Add(-time.Minute)}, now); got != "running" {
		t.Errorf("a run seen a minute ago is %q", got)
	}
}

func TestTheQueueTellsWhenItWillBeEmpty(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 12, 0, 0, 0, time.UTC)
	at := func(hours float64, due int64) storage.Sample {
		return storage.Sample{At: now.Add(-time.Duration(hours * float64(time.Hour))), Measures: storage.Measures{Due: due}}
	}
	q := queueReport{Queue: storage.QueueDepth{Due: 100}}
	q.history([]storage.Sample{at(5, 900), at(3, 400), at(2.95, 395), at(1, 200)}, now)
	if len(q.Depths) != 3 || q.PerHour == nil || *q.PerHour != 100 || q.EmptyAt == nil || !q.EmptyAt.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", q)
	}
	deep := queueReport{Queue: storage.QueueDepth{Due: 5000, Later: 6000, DueAtLeast: true}}
	deep.history([]storage.Sample{at(2, 5000)}, now)
	status := statusReport{Queue: deep.Queue}
	if facts := fmt.Sprint(status.queueSection(now).facts); deep.PerHour != nil || !strings.Contains(facts, "at least 5,000") || !strings.Contains(facts, "at most 6,000") {
		t.Errorf("%+v: %s", deep, facts)
	}
	growing := queueReport{Queue: storage.QueueDepth{Due: 500}}
	growing.history([]storage.Sample{at(2, 100)}, now)
	if growing.EmptyAt != nil || *growing.PerHour != -200 || !strings.Contains(growing.pace(now), "grows by 200") {
		t.Errorf("%+v", growing)
	}
}
