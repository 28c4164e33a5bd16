package commands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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

func TestThePageNeedsNothingFromAnywhere(t *testing.T) {
	t.Parallel()
	for _, records := range []int{0, 500} {
		s := filledSession(t, records)
		path := filepath.Join(t.TempDir(), "noggin.html")
		if err := runReportHTML(t.Context(), s, path, 30, s.cfg.now()); err != nil {
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
		figures := 0
		for node := range root.Descendants() {
			switch node.Data {
			case "script", "link", "img", "iframe", "object":
				t.Errorf("the page has a <%s>", node.Data)
			case "figure":
				figures++
			}
			for _, a := range node.Attr {
				if strings.Contains(a.Val, "//") && !strings.HasPrefix(a.Val, "http://www.w3.org/") {
					t.Errorf("the page refers to %s", a.Val)
				}
				if node.Data == "figure" && a.Key == "aria-label" && len(a.Val) < 15 {
					t.Errorf("a chart says only %q to a screen reader", a.Val)
				}
			}
		}
		if figures != 7 {
			t.Errorf("%d charts with %d records, want 7", figures, records)
		}
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	t.Parallel()
	s := filledSession(t, 200)
	state, err := readMirrorState(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	registry := metricsOf(state)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	path := filepath.Join(t.TempDir(), "noggin.prom")
	if err := runReportMetrics(t.Context(), s, path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"noggin_records{", `noggin_circuit_state{state="closed"} 1`, "noggin_due_records ", "noggin_output_free_bytes "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
