package report

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"golang.org/x/net/html"

	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// filledSession is a session on a database with two months of generated history.
func filledSession(t *testing.T, records int) *session.Session {
	t.Helper()
	cfg := config.Default()
	cfg.Storage.URL, cfg.Storage.Timezone = batchtest.Database(t), "Australia/Perth"
	cfg.Batch.Timezone, cfg.Batch.Paths.Output = "Australia/Perth", t.TempDir()
	if err := files.CreateMarker(cfg.Batch.Paths.Output); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(cfg.Storage, "report")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Init(t.Context(), string(schema), storage.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	if records > 0 {
		if err := storagetest.Fill(t.Context(), cfg.Storage.URL, storagetest.FillOptions{Records: records, Attachments: 3 * records, Errors: records, Days: 60, Pending: 5}); err != nil {
			t.Fatal(err)
		}
	}
	return &session.Session{Config: cfg, DB: db, Log: slog.New(slog.DiscardHandler)}
}

func filledReporter(t *testing.T, records int) *reporter {
	t.Helper()
	r, err := newReporter(t.Context(), filledSession(t, records), show.Output{Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestThePageNeedsNothingFromAnywhere(t *testing.T) {
	t.Parallel()
	for _, records := range []int{0, 500} {
		path := filepath.Join(t.TempDir(), "noggin.html")
		if err := runHTML(t.Context(), filledReporter(t, records), path, 30); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		root, err := html.Parse(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		figures, drawn, tables := 0, 0, 0
		for node := range root.Descendants() {
			switch node.Data {
			case "script", "img", "iframe", "object":
				t.Errorf("the page has a <%s>", node.Data)
			case "th":
				if attribute(node, "scope") == "" {
					t.Error("a heading of a table does not say what it heads")
				}
			case "link": // else a browser asks for /favicon.ico
				if attribute(node, "rel") != "icon" || attribute(node, "href") != "data:," {
					t.Errorf("the page has a link: %v", node.Attr)
				}
			case "figure":
				figures++
			case "g":
				if title := node.FirstChild; title.Data != "title" || title.FirstChild == nil {
					t.Error("a mark of a chart has no title")
				}
			}
			for _, a := range node.Attr {
				if strings.Contains(a.Val, "//") {
					t.Errorf("the page refers to %s", a.Val)
				}
			}
			if strings.HasSuffix(attribute(node, "aria-label"), ": figures") {
				tables++
			}
			if attribute(node, "role") == "img" {
				drawn++
				if label := attribute(node, "aria-label"); len(label) < 15 {
					t.Errorf("a chart says only %q to a screen reader", label)
				}
			}
		}
		want, page := 6, string(text)
		if records == 0 {
			want = 5 // no errors
		}
		if figures != 6 || drawn != want || tables != want {
			t.Errorf("%d charts, %d of them drawn, %d with figures, with %d records, want %d of 6", figures, drawn, tables, records, want)
		}
		flags := strings.Contains(page, "Needs attention")
		for verdict, is := range map[string]bool{
			"Act now": strings.Contains(page, `<li class="red">`), "All is well": !flags,
			"Look at it today": flags && !strings.Contains(page, `<li class="red">`),
		} {
			if strings.Contains(page, "<h1>"+verdict+"</h1>") != is {
				t.Errorf("%d records: the verdict is not right: %q should be there: %v", records, verdict, is)
			}
		}
		if strings.Contains(page, "\n  .good {") {
			t.Error("a colour of the charts reaches the verdict, which is then green on green")
		}
		if flags != (records > 0) || strings.Contains(page, "`") {
			t.Errorf("what needs attention is not there as it should be, with %d records", records)
		}
	}
}

func attribute(node *html.Node, key string) string {
	for _, a := range node.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// A day begins at the site's midnight, wherever the program runs.
func TestAChartsDaysAreTheSites(t *testing.T) {
	t.Parallel()
	perth, err := time.LoadLocation("Australia/Perth")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2025, 10, 22, 7, 30, 0, 0, perth)
	for days, want := range map[int]string{
		2:    "21 Oct, 22 Oct",
		7:    "16 Oct, 18 Oct, 20 Oct, 22 Oct",
		30:   "23 Sep, 30 Sep, 7 Oct, 14 Oct, 21 Oct",
		3660: "Oct 2015, Oct 2017, Oct 2019, Oct 2021, Oct 2023, Oct 2025",
	} {
		c := history{least: 1, text: countText}.draw(time.Date(2025, 10, 22+1-days, 0, 0, 0, 0, perth), now)
		var labels []string
		for _, l := range c.Labels {
			if l.Y == chartBottom+16 {
				labels = append(labels, l.Text)
			}
		}
		if got := strings.Join(labels, ", "); got != want {
			t.Errorf("%d days: %s, want %s", days, got, want)
		}
		if len(c.Marks) != days {
			t.Errorf("%d days have %d marks", days, len(c.Marks))
		}
	}
}

// A chart has 70 units for a day here, and 128 for the values.
func TestAChartDrawsWhatIsKnown(t *testing.T) {
	t.Parallel()
	first := time.Date(2025, 10, 19, 0, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return first.Add(time.Duration(hours) * time.Hour) }
	now := at(3*24 + 12)
	for _, test := range []struct {
		name  string
		chart chart
		want  string // the marks: title, class, path
	}{
		{
			"bars of a day on top of each other, none where there is none, and a tick at the target",
			history{least: 1, text: countText, target: 50, series: []series{{"done", "good", []point{{at(0), 8}, {at(48), 0}, {at(72), 5}}}, {"lost", "bad", []point{{at(72), 5}}}}}.draw(first, now),
			`Sun 19 Oct 2025|done: 8|lost: –
  ground M62.00 24.00h70.00v128.00h-70.00z
  good bar M69.00 49.60h56.00v102.40h-56.00z
  rule line M62.00 100.80h70.00
Mon 20 Oct 2025|done: –|lost: –
  ground M132.00 24.00h70.00v128.00h-70.00z
Tue 21 Oct 2025|done: 0|lost: –
  ground M202.00 24.00h70.00v128.00h-70.00z
Wed 22 Oct 2025, so far|done: 5|lost: 5
  ground M272.00 24.00h70.00v128.00h-70.00z
  good bar M279.00 88.00h56.00v64.00h-56.00z
  bad bar M279.00 24.00h56.00v64.00h-56.00z
  rule line M272.00 88.00h70.00
`,
		},
		{
			"steps from one sample to the next, for two days at most",
			history{steps: true, least: 1, text: sizeText, series: []series{{"stored", "first", []point{{at(0), 1e6}, {at(12), 2e6}, {at(72), 1.5e6}}}}}.draw(first, now),
			`stored: last 1.5 MB, between 1.0 MB and 2.0 MB
  first line M62.00 88.00H97.00V24.00H237.00M272.00 56.00H307.00
Sun 19 Oct 2025, at its end|stored: 2.0 MB
  ground M62.00 24.00h70.00v128.00h-70.00z
Mon 20 Oct 2025, at its end|stored: –
  ground M132.00 24.00h70.00v128.00h-70.00z
Tue 21 Oct 2025, at its end|stored: –
  ground M202.00 24.00h70.00v128.00h-70.00z
Wed 22 Oct 2025, so far|stored: 1.5 MB
  ground M272.00 24.00h70.00v128.00h-70.00z
`,
		},
		{
			"a forecast from now to where it meets the limit, and the limit",
			history{
				steps: true, least: 1, text: countText, series: []series{{"used", "first", []point{{at(72), 6}, {at(84), 6}}}},
				rules: []rule{{"full", 10}}, forecast: &forecast{"forecast: full soon", 4, 3},
			}.draw(at(48), now),
			`used: last 6, between 6 and 6
  first line M118.00 75.20H146.00V75.20H146.00
Tue 21 Oct 2025, at its end|used: –
  ground M62.00 24.00h56.00v128.00h-56.00z
Wed 22 Oct 2025, so far|used: 6
  ground M118.00 24.00h56.00v128.00h-56.00z
full: 10
  rule line M62.00 24.00H342.00
forecast: full soon
  forecast line M146.00 75.20L202.00 24.00
`,
		},
		{
			"errors, the most frequent on top",
			drawErrors([]storage.ErrorCount{{Type: "timeout", Occurrences: 5}, {Type: "rate_limit", Occurrences: 1}}, time.UTC),
			`timeout: 5
  ground M112.00 24.00h230.00v16.00h-230.00z
  error bar M112.00 25.60h230.00v12.80h-230.00z
rate_limit: 1
  ground M112.00 40.00h230.00v16.00h-230.00z
  error bar M112.00 41.60h46.00v12.80h-46.00z
`,
		},
	} {
		var got strings.Builder
		for _, m := range test.chart.Marks {
			got.WriteString(strings.ReplaceAll(m.Title, "\n", "|") + "\n")
			for _, s := range m.Shapes {
				got.WriteString("  " + s.Class + " " + s.Path + "\n")
			}
		}
		if got.String() != test.want {
			t.Errorf("%s: got\n%swant\n%s", test.name, got.String(), test.want)
		}
	}
}

// The figures of a day are whole, its shares make 100, and what is known only of another
// host's volume is not drawn.
func TestTheChartsTellTheDays(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 12, 0, 0, 0, time.UTC)
	first := time.Date(2025, 10, 21, 0, 0, 0, 0, time.UTC)
	volume := func(host string, free int64) storage.Sample {
		return storage.Sample{At: first, Measures: storage.Measures{Disk: &storage.Disk{Host: host, Path: "/out", FreeBytes: free, TotalBytes: 1e9}}}
	}
	charts := past{
		days:    []dayReport{{Day: storage.Day{}}, {Day: storage.Day{Processed: 12, Complete: 6, Partial: 3, Failed: 1, APIFailed: 1, Unfinished: 1}}},
		samples: []storage.Sample{volume("here", 6e8), volume("there", 1e8)},
		disk:    &diskState{Disk: storage.Disk{Host: "here", Path: "/out", FreeBytes: 5e8, TotalBytes: 1e9}},
		first:   first, now: now,
	}.drawCharts()
	for i, want := range []string{
		"[[2025-10-22 6 3 2 1] [2025-10-21 0 0 0 0]]",
		"[[2025-10-22 50 % 25 % 16.7 % 8.3 %] [2025-10-21 – – – –]]",
		"", // the queue
		"[[2025-10-22 500 MB] [2025-10-21 400 MB]]",
	} {
		if got := fmt.Sprint(charts[i].Figures.Rows); want != "" && got != want {
			t.Errorf("%s: %s, want %s", charts[i].Title, got, want)
		}
	}
	shares := charts[1]
	for _, label := range shares.Labels {
		if label.Text == "120 %" {
			t.Error("shares of a day go beyond 100 %")
		}
	}
}

// A tile has the tone of the worst flag that tells of its figure.
func TestATileMeansWhatItsFlagsMean(t *testing.T) {
	t.Parallel()
	toneOf := func(label string, flags ...health.Flag) string {
		for _, tile := range tilesOf(statusReport{At: time.Now(), Attention: flags, Days: []dayReport{{}}, Circuit: circuitState{State: storage.CircuitClosed}}) {
			if tile.Label == label {
				return tile.Tone
			}
		}
		t.Errorf("there is no tile %q", label)
		return ""
	}
	for _, test := range []struct{ label, flag string }{
		{"Due now", "queue_standing"},
		{"Due now", "paused"},
		{"Last activity", "timers_stopped"},
		{"Circuit", "circuit_flapping"},
		{"Output volume", health.FlagDiskFull},
		{"Output volume", health.FlagNoOutput},
		{"Permanently failed", "permanently_failed"},
	} {
		for _, severity := range []string{health.SeverityRed, health.SeverityYellow} {
			other := health.Flag{Severity: health.SeverityRed, Name: "unheard_of"}
			if got := toneOf(test.label, other, health.Flag{Severity: severity, Name: test.flag}); got != severity {
				t.Errorf("%s is %q with a %s flag %s", test.label, got, severity, test.flag)
			}
			if got := toneOf(test.label, other); got != "good" {
				t.Errorf("%s is %q without a flag", test.label, got)
			}
		}
	}
}

func TestAnAxisOfValuesHasFewRoundNumbers(t *testing.T) {
	t.Parallel()
	for most, want := range map[float64]string{
		1: "[0 1]", 3: "[0 1 2 3]", 6: "[0 2 4 6]", 47: "[0 10 20 30 40 50]", 100: "[0 20 40 60 80 100]", 501: "[0 200 400 600]",
		1.3e9: "[0 5e+08 1e+09 1.5e+09]",
	} {
		if got := fmt.Sprint(valueTicks(most)); got != want {
			t.Errorf("up to %g: %s, want %s", most, got, want)
		}
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	t.Parallel()
	r := filledReporter(t, 200)
	// A run at work leaves the figures of the one before it.
	if run, err := r.DB.StartRun(t.Context(), "process", "1.0"); err != nil || run == 0 {
		t.Fatal(run, err)
	}
	path := filepath.Join(t.TempDir(), "noggin.prom")
	if err := runMetrics(t.Context(), r, path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint() // which parses it first
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: node_exporter must be able to read the file", info.Mode(), err)
	}
	for _, want := range []string{
		"noggin_records{", `noggin_circuit_state{state="closed"} 1`, "noggin_due_records ", "noggin_output_free_bytes ",
		`noggin_last_exit_code{command="process"} 0`, `noggin_last_success_timestamp_seconds{command="process"} `,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
