package report

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

//go:embed html.gohtml
var pageText string

// page is parsed once, when it is needed, and uses only what it is handed.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"bytes": func(n int64) string { return show.Size(n).Human() },
		"count": humanize.Comma,
		"file":  fileOf,
		"percent": func(rate *float64) string {
			if rate == nil {
				return "–"
			}
			return show.Percent(*rate).Human()
		},
		"time":   func(t time.Time) string { return t.Format("2006-01-02 15:04") },
		"ago":    func(t, now time.Time) string { return humanize.RelTime(t, now, "ago", "from now") },
		"plural": health.Plural[int],
		"day": func(date string) string {
			day, err := time.Parse(time.DateOnly, date)
			if err != nil {
				return date
			}
			return day.Format("Mon\u00a02\u00a0Jan")
		},
		// The odd parts stood between backquotes: commands.
		"parts": func(s string) []string { return strings.Split(s, "`") },
		"odd":   func(i int) bool { return i%2 == 1 },
	}).Parse(pageText))
})

func htmlCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "html",
		Usage: "write one self-contained page with charts and tables",
		Description: `The page needs no network and no script. It is replaced in one step, so that a
web server may serve it. Without --output it is noggin.html in [paths] reports; - is stdout.`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "output", Usage: "write to `FILE`", DefaultText: "noggin.html in [paths] reports", TakesFile: true}),
			daysFlag(30),
		},
		Action: reporting(open, func(ctx context.Context, c *cli.Context, r *reporter) error {
			if days := c.Int("days"); days < 2 || days > 3660 {
				return cmdline.Usagef("--days %d: want 2 to 3660", days)
			}
			return runHTML(ctx, r, c.String("output"), c.Int("days"))
		}),
	}
}

// pageData is all that the page shows.
type pageData struct {
	Host     string
	Now      time.Time // in the site's zone
	Status   statusReport
	Red      int // flags
	Yellow   int
	Empty    string // the statuses without records
	Tiles    []tile
	Days     []dayReport          // the last seven, the latest first
	Changes  []storage.Transition // of the circuit, in the days of the charts
	Charts   []chart
	Runs     []pageRun                 // those that matter
	Others   []pageRun                 // that ended well
	Doubtful []storage.AttachmentStory // at most pageDoubtful
}

// pageRun is the last run of a command.
type pageRun struct {
	storage.RunRow
	Exit, Did string
	Started   time.Time // in the site's zone
}

// pageDoubtful is how many doubtful attachments the page lists.
const pageDoubtful = 20

func runHTML(ctx context.Context, r *reporter, path string, days int) error {
	if err := health.Sample(ctx, r.DB, r.Config.Batch.Paths.Output); err != nil {
		return err
	}
	data, err := r.page(ctx, days)
	if err != nil {
		return err
	}
	if path == "-" {
		return page().Execute(r.out, data)
	}
	if path == "" {
		path = filepath.Join(r.Config.Batch.Paths.Reports, "noggin.html")
		err = writeServed(path, data)
	} else {
		err = files.WriteReplacing(path, 0o644, func(w io.Writer) error { return page().Execute(w, data) })
	}
	if err != nil {
		return cmdline.Hint(fmt.Errorf("write the page: %w", err), "its folder must be there, and noggin's user may write to it")
	}
	_, err = fmt.Fprintln(r.out, "Saved as "+show.Printable(path))
	return err
}

// writeServed writes the page for a web server, another user, whatever the umask is.
func writeServed(path string, data pageData) error {
	var text bytes.Buffer
	if err := page().Execute(&text, data); err != nil {
		return err
	}
	if err := files.MakeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	return files.WriteOwned(path, 0o644, -1, -1, text.Bytes())
}

// page reads what the page shows, and draws its charts.
func (r *reporter) page(ctx context.Context, n int) (data pageData, err error) {
	data.Host, data.Now = r.DB.Host(), r.now
	if data.Status, err = r.status(ctx); err != nil {
		return data, err
	}
	for _, flag := range data.Status.Attention {
		if flag.Severity == health.SeverityRed {
			data.Red++
		}
	}
	data.Yellow = len(data.Status.Attention) - data.Red
	var empty []string
	for _, status := range data.Status.ByStatus {
		if status.Records == 0 {
			empty = append(empty, string(status.Status))
		}
	}
	data.Empty = strings.Join(empty, ", ")
	data.Tiles = tilesOf(data.Status)
	data.Days = data.Status.Days
	for _, run := range data.Status.Runs {
		shown := pageRun{run, string(exitText(run, r.now)), whatItDid(run), run.StartedAt.In(r.now.Location())}
		if run.Command == "process" || run.ExitCode == nil || *run.ExitCode != 0 {
			data.Runs = append(data.Runs, shown)
		} else {
			data.Others = append(data.Others, shown)
		}
	}
	if data.Doubtful, err = r.DB.DoubtfulAttachments(ctx, pageDoubtful); err != nil {
		return data, err
	}
	drawn := past{disk: data.Status.Disk, first: r.dayStart(r.now.AddDate(0, 0, 1-n)), now: r.now}
	if drawn.days, err = r.days(ctx, n); err != nil {
		return data, err
	}
	slices.Reverse(drawn.days) // the oldest first
	if drawn.samples, err = r.DB.Samples(ctx, drawn.first); err != nil {
		return data, err
	}
	if drawn.errors, err = r.DB.ErrorTypes(ctx, drawn.first, r.now.Add(time.Minute)); err != nil {
		return data, err
	}
	data.Charts = drawn.drawCharts()
	data.Changes, err = r.DB.Transitions(ctx, drawn.first)
	for i := range data.Changes {
		data.Changes[i].At = data.Changes[i].At.In(r.now.Location())
	}
	return data, err
}
