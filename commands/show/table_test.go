package show

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
)

// tips that share 12 digits, and one that is no tip of the platform.
var (
	tipA  = Tip("4d8f42b9aa11c" + strings.Repeat("0", 51))
	tipB  = Tip("4d8f42b9aa11d" + strings.Repeat("0", 51))
	tipC  = Tip("15805eb5323b9" + strings.Repeat("f", 51))
	short = Tip("odd-tip_7")
)

func failing() Table {
	long := "GET https://api.example.com/rest/object/LCD/" + string(tipC) + " of LCD - 045289: 404 Not Found; `noggin report failed` lists it"
	at := time.Date(2025, 9, 17, 8, 30, 0, 0, time.UTC)
	return Table{
		Columns: Headings("Inspection", "Tip", "Form", "Status", "Tries", "Updated", "Last error"),
		Rows: [][]any{
			{ID("FL - Inspection - 00007"), tipA, "LCD", State("failed"), 3, at, long},
			{ID("LCD - 045289"), tipB, "LCD", State("partial"), 1656, at, nil},
			{nil, short, "SO", State("api_failed"), 0, at, errors.New("timeout")},
			{nil, tipC, "SO", State("pending"), 0, at, "timeout"},
		},
		Spare: []string{"Form", "Tries", "Updated"},
	}
}

func textOf(t *testing.T, o Output, table Table) string {
	t.Helper()
	var b strings.Builder
	o.Writer, o.Format = &b, Text
	if err := o.Text(table); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// names are the identifiers of the sample table, as a narrow terminal has to show them.
var names = []string{"FL - Inspection - 00007", "4d8f42b9aa11c ", "4d8f42b9aa11d ", "15805eb532 ", "odd-tip_7", "LCD - 045289"}

func TestNoWidthBreaksOrLosesAnIdentifier(t *testing.T) {
	t.Parallel()
	for width := 40; width <= 220; width++ {
		got := textOf(t, Output{Width: width}, failing())
		for line := range strings.Lines(got) {
			if w := text.StringWidth(strings.TrimRight(line, "\n")); w > width {
				t.Fatalf("at %d columns: a line of %d:\n%s", width, w, got)
			}
		}
		for _, name := range names {
			if !strings.Contains(strings.ReplaceAll(got, "\n", " "), name) {
				t.Fatalf("at %d columns: %q is broken or lost:\n%s", width, name, got)
			}
		}
		if width >= 60 && !strings.Contains(got, "of LCD - 045289:") && !strings.Contains(got, " LCD - 045289:") {
			t.Fatalf("at %d columns: the id within the message is broken:\n%s", width, got)
		}
	}
}

func TestColumnsGoInTheirOrderAndANarrowTerminalGetsBlocks(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		0:   "Inspection Tip Form Status Tries Updated Last error",
		200: "Inspection Tip Form Status Tries Updated Last error",
		110: "Inspection Tip Form Status Tries Updated Last error",
		109: "Inspection Tip Status Tries Updated Last error",
		100: "Inspection Tip Status Updated Last error",
		80:  "Inspection Tip Status Last error",
		60:  "Inspection FL - Inspection - 00007",
	} {
		heading, rest, _ := strings.Cut(textOf(t, Output{Width: width}, failing()), "\n")
		if got := strings.Join(strings.Fields(heading), " "); got != want {
			t.Errorf("at %d columns: %s, want %s", width, got, want)
		}
		if told := strings.Contains(rest, "Left out at this width: Form"); told != (width == 80 || width == 100 || width == 109) {
			t.Errorf("at %d columns: what is left out is told: %v\n%s", width, told, rest)
		}
	}
	if got := textOf(t, Output{Width: 60}, failing()); !strings.Contains(got, "\n\nInspection  LCD - 045289\nTip         4d8f42b9aa11d\nForm        LCD\nStatus      partial\nTries       1,656\nUpdated     2025-09-17 08:30:00\n\nTip         odd-tip_7\n") {
		t.Errorf("blocks:\n%s", got)
	}
	small := Table{Columns: Headings("Status", "Records"), Rows: [][]any{{State("complete"), 12}}}
	if got := textOf(t, Output{Width: 40}, small); got != "Status    Records\ncomplete       12\n" {
		t.Errorf("a table that fits is one:\n%s", got)
	}
	if got := textOf(t, Output{Width: 60, Wide: true}, failing()); !strings.Contains(got, string(tipA)) || !strings.Contains(got, "Tries") || strings.Contains(got, "Left out") || strings.Contains(got, "…") {
		t.Errorf("--wide:\n%s", got)
	}
}

func TestATipIsAsShortAsTheDatabaseAllows(t *testing.T) {
	t.Parallel()
	table := Table{Columns: []Column{{"tip", "Tip"}}, Rows: [][]any{{tipA}, {tipC}}}
	var asked []string
	near := func(tips []string) ([]string, error) {
		asked = tips
		return []string{"15805eb5323b9ffffffa", "4d8f" + strings.Repeat("0", 60)}, nil
	}
	if got, want := textOf(t, Output{Neighbours: near}, table), "Tip\n4d8f42b9aa\n15805eb5323b9fffffff\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if len(asked) != 2 {
		t.Errorf("asked for %q", asked)
	}
	broken := func([]string) ([]string, error) { return nil, errors.New("no database") }
	if got := textOf(t, Output{Neighbours: broken}, table); got != "Tip\n4d8f42b9aa\n15805eb532\n" {
		t.Errorf("without a database:\n%s", got)
	}
	for _, format := range []string{JSON, CSV} {
		if got := render(t, Output{Format: format, Neighbours: near}, table); !strings.Contains(got, string(tipA)) || !strings.Contains(got, string(tipC)) {
			t.Errorf("%s is not whole:\n%s", format, got)
		}
	}
}

func TestColoursTellWhatAStateMeans(t *testing.T) {
	t.Parallel()
	got := textOf(t, Output{Width: 80, Colour: true}, failing())
	for _, want := range []string{"\x1b[1mInspection\x1b[0m", "\x1b[31mfailed\x1b[0m", "\x1b[33mpartial\x1b[0m", "\x1b[2mpending\x1b[0m", "\x1b[2mLeft out"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%q", want, got)
		}
	}
	var b strings.Builder
	page := Sheet{Title: "T", Sections: []Section{{Lines: []string{"! " + strings.Repeat("word ", 12), "  > do"}, Facts: []Fact{{"label", "value"}}, Notes: []string{"note"}}}}
	if err := (Output{Writer: &b, Width: 40, Colour: true}).Sheet(page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[31m! \x1b[0mword", "\n  word", "\x1b[2m  > \x1b[0mdo", "\x1b[2mlabel  \x1b[0mvalue", "\x1b[2mnote\x1b[0m"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing:\n%q", want, b.String())
		}
	}
}

func TestNoColourReachesWhatIsNotATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if NewPalette(&strings.Builder{}) {
		t.Error("a pipe has colours")
	}
	for _, width := range []int{0, 40, 80} {
		if got := textOf(t, Output{Width: width}, failing()); strings.Contains(got, "\x1b") {
			t.Errorf("%q", got)
		}
	}
}

func TestValuesAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 9, 17, 8, 30, 5, 0, time.UTC)
	for i, test := range []struct {
		value any
		want  string
	}{
		{Count(1234567), "1,234,567"},
		{1656, "1,656"},
		{int64(-1656), "-1,656"},
		{Number(1656), "1656"},
		{Size(3_100_000), "3.1 MB"},
		{Percent(95.04), "95.0 %"},
		{Duration(0), "0 s"},
		{Duration(0.0004), "0.4 ms"},
		{Duration(0.012), "12 ms"},
		{Duration(2.345), "2.3 s"},
		{Duration(58.4), "58 s"},
		{Duration(59.6), "1 m"},
		{Duration(98), "1 m 38 s"},
		{Duration(3599.8), "1 h"},
		{Duration(7500), "2 h 5 m"},
		{Duration(86400 * 3), "3 d"},
		{Duration(86400*1200 + 7200), "1,200 d 2 h"},
		{Duration(-98), "-1 m 38 s"},
		{98 * time.Second, "1 m 38 s"},
		{Speed(2e6), "2.0 MB/s"},
		{at, "2025-09-17 08:30:05"},
		{tipC, "15805eb532"},
		{short, "odd-tip_7"},
		{ID("LCD - 1"), "LCD - 1"},
		{State("complete"), "complete"},
		{true, "yes"},
		{nil, ""},
	} {
		if got := HumanText(test.value); got != test.want {
			t.Errorf("%d: %v is written %q, want %q", i, test.value, got, test.want)
		}
	}
	if got := Clock(at.Add(-98*time.Second), at) + ", " + Clock(at.Add(time.Hour), at); got != "2025-09-17 08:28:27 (1 m 38 s ago), 2025-09-17 09:30:05 (in 1 h)" {
		t.Error(got)
	}
	if got := ShortTips("unknown (" + string(tipC) + ")"); got != "unknown (15805eb532…)" {
		t.Error(got)
	}
}

func TestACommandInASentenceIsNotBroken(t *testing.T) {
	t.Parallel()
	for width := 40; width < 100; width++ {
		got := strings.Join(Wrapped("12 are permanently failed, LCD - 045289 too: `noggin retry-failed --permanent` tries again", width), "\n")
		if !strings.Contains(got, "`noggin retry-failed --permanent`") || !strings.Contains(got, "LCD - 045289") {
			t.Errorf("at %s:\n%s", strconv.Itoa(width), got)
		}
	}
}

// A line end in a command would run it without its last words when it is copied.
func TestACommandThatIsLongerThanALineIsALineOfItsOwn(t *testing.T) {
	t.Parallel()
	const command = "`sudo -u noggin noggin archive create --older-than 5y --to /mnt/backup/noggin/archives --dry-run`"
	for _, width := range []int{1, 20, 60, 80, len(command) - 1, len(command), len(command) + 1, 200} {
		got := Told("commands run as the user noggin: "+command+"; or as its group", width)
		if !strings.Contains(strings.Join(got, "\n"), command) {
			t.Errorf("at %d: %q", width, got)
		}
	}
	if got := Told("", 40); len(got) != 1 || got[0] != "" {
		t.Errorf("an empty sentence: %q", got)
	}
}
