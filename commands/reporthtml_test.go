package commands

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/html"

	"noggin/batch"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// filledSession is a session on a database with two months of generated history.
func filledSession(t *testing.T, records int) *session {
	t.Helper()
	cfg := defaultConfig()
	cfg.storage.URL, cfg.storage.Timezone = storagetest.Database(t), "Australia/Perth"
	cfg.batch.Timezone, cfg.batch.Paths.Output = "Australia/Perth", t.TempDir()
	if err := batch.CreateMarker(cfg.batch.Paths.Output); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(cfg.storage, "report")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Init(t.Context(), string(schema), storage.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	if records > 0 {
		if err := storagetest.Fill(t.Context(), cfg.storage.URL, storagetest.FillOptions{Records: records, Attachments: 3 * records, Errors: records, Days: 60, Pending: 5}); err != nil {
			t.Fatal(err)
		}
	}
	return &session{cfg: cfg, db: db}
}

func filledReporter(t *testing.T, records int) *reporter {
	t.Helper()
	r, err := newReporter(t.Context(), &environment{log: slog.New(slog.DiscardHandler)}, filledSession(t, records), output{Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestThePageNeedsNothingFromAnywhere(t *testing.T) {
	t.Parallel()
	for _, records := range []int{0, 500} {
		path := filepath.Join(t.TempDir(), "noggin.html")
		if err := runReportHTML(t.Context(), filledReporter(t, records), path, 30); err != nil {
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
		figures, drawn := 0, 0
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
			}
			for _, a := range node.Attr {
				if strings.Contains(a.Val, "//") && !strings.HasPrefix(a.Val, "http://www.w3.org/") {
					t.Errorf("the page refers to %s", a.Val)
				}
			}
			if attribute(node, "role") == "img" {
				drawn++
				if label := attribute(node, "aria-label"); len(label) < 15 {
					t.Errorf("a chart says only %q to a screen reader", label)
				}
			}
		}
		want := 7
		if records == 0 {
			want = 6 // no errors
		}
		if figures != 7 || drawn != want {
			t.Errorf("%d charts, %d of them drawn, with %d records, want %d of 7", figures, drawn, records, want)
		}
		if !strings.Contains(string(text), "Needs attention") || strings.Contains(string(text), "`") {
			t.Error("what needs attention is not there as it should be")
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
		3660: "",
	} {
		first := time.Date(2025, 10, 22+1-days, 0, 0, 0, 0, perth)
		var labels []string
		for _, tick := range (dayTicks{perth}).Ticks(float64(first.Unix()), float64(now.Unix())) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, ", "); want != "" && got != want || len(labels) > 7 {
			t.Errorf("%d days: %s, want %s", days, got, want)
		}
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	t.Parallel()
	r := filledReporter(t, 200)
	status, err := r.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, err := r.db.LastRuns(t.Context(), storage.EndedRun)
	if err != nil {
		t.Fatal(err)
	}
	registry := metricsOf(status, ended)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	// A run at work leaves the figures of the one before it.
	if run, err := r.db.StartRun(t.Context(), "process", "1.0"); err != nil || run == 0 {
		t.Fatal(run, err)
	}
	path := filepath.Join(t.TempDir(), "noggin.prom")
	if err := runReportMetrics(t.Context(), r, path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
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
