package commands

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"slices"
	"strings"
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
	"bytes": func(n int64) string { return size(n).human() },
	"count": humanize.Comma,
	"percent": func(rate *float64) string {
		if rate == nil {
			return "–"
		}
		return percent(*rate).human()
	},
	"time": func(t time.Time) string { return t.Format("2006-01-02 15:04") },
	// The odd parts stood between backquotes: commands.
	"parts": func(s string) []string { return strings.Split(s, "`") },
	"odd":   func(i int) bool { return i%2 == 1 },
}).Parse(pageText))

func reportHTMLCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "html",
		Usage: "write one self-contained page with charts and tables",
		Description: `The page needs no network and no script. It is replaced in one step, so that a
web server may serve it. Without --output it is noggin.html in [paths] reports.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Usage: "write to `FILE`", DefaultText: "noggin.html in [paths] reports", TakesFile: true},
			daysFlag(30),
		},
		Action: env.reporting(func(ctx context.Context, c *cli.Context, r *reporter) error {
			if days := c.Int("days"); days < 2 || days > 3660 {
				return usagef("--days %d: want 2 to 3660", days)
			}
			path := c.String("output")
			if path == "" {
				path = filepath.Join(r.cfg.batch.Paths.Reports, "noggin.html")
			}
			return runReportHTML(ctx, r, path, c.Int("days"))
		}),
	}
}

// pageData is all that the page shows.
type pageData struct {
	Host        string
	Status      statusReport
	Unknown     int64 // hashes
	Attachments fileTotal
	Days        []pageDay            // the latest first
	Errors      []storage.ErrorCount // in these days, by kind
	Changes     []storage.Transition // of the circuit, in these days
	Charts      []chart
}

// pageDay is a day with its last sample; nil: it has none.
type pageDay struct {
	dayReport
	Last *storage.Sample
}

func runReportHTML(ctx context.Context, r *reporter, path string, days int) error {
	if err := batch.Sample(ctx, r.db, r.cfg.batch.Paths.Output); err != nil {
		return err
	}
	data, err := r.page(ctx, days)
	if err != nil {
		return err
	}
	err = batch.WriteReplacing(path, 0o644, func(w io.Writer) error { return page.Execute(w, data) })
	if err != nil {
		return hint(fmt.Errorf("write the page: %w", err), "its folder must be there, and noggin's user may write to it")
	}
	_, err = fmt.Fprintln(r.out, "Saved as "+printable(path))
	return err
}

// page reads what the page shows, and draws its charts.
func (r *reporter) page(ctx context.Context, n int) (data pageData, err error) {
	data.Host = r.db.Host()
	if data.Status, err = r.status(ctx); err != nil {
		return data, err
	}
	for _, u := range data.Status.UnknownHashes {
		data.Unknown += u.Hashes
	}
	for _, f := range data.Status.Files {
		if f.Status == "complete" {
			data.Attachments = f
		}
	}
	days, err := r.days(ctx, n)
	if err != nil {
		return data, err
	}
	first := r.dayStart(r.now.AddDate(0, 0, 1-n))
	samples, err := r.db.Samples(ctx, first)
	if err != nil {
		return data, err
	}
	last := map[string]*storage.Sample{}
	for i := range samples {
		last[samples[i].At.In(r.now.Location()).Format(time.DateOnly)] = &samples[i]
	}
	for _, d := range days {
		data.Days = append(data.Days, pageDay{d, last[d.Date]})
	}
	if data.Changes, err = r.db.Transitions(ctx, first); err != nil {
		return data, err
	}
	if data.Errors, err = r.db.ErrorTypes(ctx, first, r.now.Add(time.Minute)); err != nil {
		return data, err
	}
	slices.Reverse(days) // a chart goes from left to right
	data.Charts, err = drawCharts(days, samples, data.Errors, first, r.now)
	return data, err
}
