package commands

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

//go:embed reporthtml.gohtml
var pageText string

// page is parsed once; it needs nothing but what it is handed.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"bytes":   func(n int64) string { return humanize.Bytes(uint64(max(0, n))) },
	"percent": percentText,
	"time":    func(t time.Time) string { return t.Format("2006-01-02 15:04") },
}).Parse(pageText))

func percentText(rate *float64) string {
	if rate == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", *rate)
}

func reportHTMLCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "html",
		Usage: "write one self-contained page with charts and tables",
		Description: `The page needs no network and no script. It is replaced in one step, so that a
web server may serve it. Without --output it is noggin.html in [paths] reports.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Usage: "write to `FILE`", DefaultText: "noggin.html in [paths] reports", TakesFile: true},
			&cli.IntFlag{Name: "days", Usage: "show the last `N` days", Value: 30},
		},
		Action: func(c *cli.Context) error {
			s, err := env.open(c)
			if err != nil {
				return err
			}
			defer s.close()
			if days := c.Int("days"); days < 2 || days > 3660 {
				return usagef("--days %d: want 2 to 3660", days)
			}
			path := c.String("output")
			if path == "" {
				path = filepath.Join(s.cfg.batch.Paths.Reports, "noggin.html")
			}
			return runReportHTML(c.Context, s, path, c.Int("days"), s.cfg.now())
		},
	}
}

// pageData is all that the page shows.
type pageData struct {
	At       time.Time
	Days     []storage.Day // the latest first
	Latest   storage.Measures
	Queue    storage.QueueDepth
	Circuit  storage.Circuit
	Changes  []storage.Transition
	Errors   []storage.ErrorCount
	Statuses []statusCount
	Runs     []storage.RunRow
	Charts   []chart
}

type statusCount struct {
	Status  string
	Records int64
}

func runReportHTML(ctx context.Context, s *session, path string, days int, now time.Time) error {
	standing, err := s.db.Standing(ctx)
	if err != nil {
		return err
	}
	data, err := readPage(ctx, s.db, days, now)
	if err != nil {
		return err
	}
	data.Circuit = standing.Circuit
	if data.Latest, err = sampleNow(ctx, s); err != nil {
		return err
	}
	samples, err := s.db.Samples(ctx, now.AddDate(0, 0, -days))
	if err != nil {
		return err
	}
	if data.Charts, err = drawCharts(data, samples, now); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return fmt.Errorf("make the page: %w", err)
	}
	err = batch.WriteReplacing(path, 0o644, func(w io.Writer) error { _, err := b.WriteTo(w); return err })
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// readPage reads the tables of the page.
func readPage(ctx context.Context, db *storage.DB, days int, now time.Time) (data pageData, err error) {
	data.At = now
	first := now.AddDate(0, 0, 1-days)
	if data.Days, err = db.Days(ctx, first.Format(time.DateOnly), now.Format(time.DateOnly)); err != nil {
		return data, err
	}
	slices.Reverse(data.Days)
	if data.Queue, err = db.QueueDepth(ctx); err != nil {
		return data, err
	}
	if data.Changes, err = db.Transitions(ctx, first); err != nil {
		return data, err
	}
	if data.Errors, err = db.ErrorTypes(ctx, first, now); err != nil {
		return data, err
	}
	totals, err := db.RecordTotals(ctx)
	if err != nil {
		return data, err
	}
	for _, status := range storage.Statuses() {
		count := statusCount{Status: status}
		for _, t := range totals {
			if t.Status == status {
				count.Records += t.Records
			}
		}
		data.Statuses = append(data.Statuses, count)
	}
	data.Runs, _, err = db.LastRuns(ctx)
	return data, err
}
