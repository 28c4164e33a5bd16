package session

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"noggin/batch/health"
	"noggin/commands/show"
)

// progressEvery is the pause between two progress lines in a log.
const progressEvery = 30 * time.Second

// State is how far a command is.
type State struct {
	Done, Total int    // of unit; a total of 0 is not known
	Files       int    // attachments, where they are counted
	Bytes       int64  // moved so far, where they are counted
	Note        string // what else is worth a word
}

// Progress shows how far a command is: a bar on a terminal's stderr, else a line
// in the log now and then. nil shows nothing. Many goroutines may use it.
type Progress struct {
	unit string // what is counted: "records"
	log  *slog.Logger
	now  func() time.Time

	mu       sync.Mutex
	terminal io.Writer                // nil: there is none
	err      *stderr                  // wipes the bar out before each line
	bar      *progressbar.ProgressBar // drawn when the first update comes
	began    time.Time
	logged   time.Time
	drawn    time.Time
}

// Progress starts the display that the global flags and stderr allow. End it with
// [Progress.Finish].
func (o *Console) Progress(c *cli.Context, unit string) *Progress {
	if c.Bool("quiet") || c.Bool("no-progress") {
		return nil
	}
	p := newProgress(o.Logger, unit, time.Now)
	if file := o.barTerminal(); file != nil {
		p.terminal, p.err = file, o.stderr
		o.stderr.barShown.Store(true)
	}
	return p
}

// OnTerminal tells whether a progress bar can be seen.
func (o *Console) OnTerminal() bool { return o.barTerminal() != nil }

// barTerminal is the terminal that a bar can be drawn on, or nil.
func (o *Console) barTerminal() *os.File {
	if os.Getenv("TERM") == "dumb" {
		return nil
	}
	return show.Terminal(o.stderr.w)
}

// terminalWidth is the number of columns of a terminal, 0 when it is not known.
func terminalWidth(w io.Writer) int {
	if file := show.Terminal(w); file != nil {
		columns, _, _ := term.GetSize(int(file.Fd())) // 0 on failure
		return columns
	}
	return 0
}

func newProgress(log *slog.Logger, unit string, now func() time.Time) *Progress {
	return &Progress{unit: unit, log: log, now: now, began: now(), logged: now()}
}

// barWidth is the width of the bar itself, behind its text and the percentage.
const barWidth = 15

// newBar makes a bar of total steps, or a spinner when total is 0: not known.
func newBar(w io.Writer, total int) *progressbar.ProgressBar {
	if total == 0 {
		total = -1
	}
	return progressbar.NewOptions(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionEnableColorCodes(false),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetWidth(barWidth),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionClearOnFinish(),
	)
}

// Update tells how far the command is now.
func (p *Progress) Update(s State) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal != nil {
		p.draw(s)
		return
	}
	if now := p.now(); now.Sub(p.logged) >= progressEvery {
		p.logged = now
		p.log.Info("progress", p.attributes(s)...)
	}
}

// redrawEvery is the least pause between two drawings of the bar.
const redrawEvery = 100 * time.Millisecond

func (p *Progress) draw(s State) {
	if s.Done != s.Total && p.now().Sub(p.drawn) < redrawEvery {
		return
	}
	p.drawn = p.now()
	if p.bar == nil || p.bar.IsFinished() && s.Done < s.Total {
		p.bar = newBar(p.terminal, max(s.Total, 0)) // a full bar stays full, although work was added
	}
	if s.Total > 0 && s.Total != p.bar.GetMax() {
		p.bar.ChangeMax(s.Total)
	}
	_ = p.bar.Set(min(s.Done, p.bar.GetMax())) // a bar that cannot be drawn stops nothing
	width := 0
	if columns := terminalWidth(p.terminal); columns > 0 {
		width = max(1, columns-barWidth-len(" 100% |")-len("| "))
	}
	p.bar.Describe(p.describe(s, width))
}

// describe is the text before the bar: "412 of 1,656 records, 1,120 attachments,
// 8.1 MB/s, 3 m 20 s left". What does not fit width goes, the note first and the time
// left last; a width of 0 is no limit.
func (p *Progress) describe(s State, width int) string {
	done := show.Textf("%d %s", s.Done, p.unit)
	if s.Total > 0 {
		done = show.Textf("%d of %d %s", s.Done, max(s.Total, s.Done), p.unit)
	}
	var files, speed, left string
	if s.Files > 0 {
		files = health.Plural(s.Files, "attachment")
	}
	elapsed := p.now().Sub(p.began)
	if seconds := elapsed.Seconds(); s.Bytes > 0 && seconds > 0 {
		speed = show.Speed(float64(s.Bytes) / seconds).Human()
	}
	if s.Done > 0 && s.Done < s.Total && elapsed > 0 {
		rest := time.Duration(float64(elapsed) * float64(s.Total-s.Done) / float64(s.Done))
		left = show.Lasting(rest.Round(time.Second)) + " left"
	}
	parts := []*string{&done, &files, &speed, &left, &s.Note}
	for _, spare := range []*string{&s.Note, &files, &speed, &left} {
		if width == 0 || text.StringWidth(joined(parts)) <= width {
			break
		}
		*spare = ""
	}
	return joined(parts)
}

func joined(parts []*string) string {
	var there []string
	for _, part := range parts {
		if *part != "" {
			there = append(there, show.Printable(*part))
		}
	}
	return strings.Join(there, ", ")
}

func (p *Progress) attributes(s State) []any {
	attributes := []any{p.unit, s.Done}
	if s.Total > 0 {
		attributes = append(attributes, "of", s.Total)
	}
	if s.Files > 0 {
		attributes = append(attributes, "attachments", s.Files)
	}
	if s.Bytes > 0 {
		attributes = append(attributes, "bytes", s.Bytes)
	}
	if s.Note != "" {
		attributes = append(attributes, "note", s.Note)
	}
	return append(attributes, "elapsed", p.now().Sub(p.began).Round(time.Second).String())
}

// Finish takes the bar off the terminal, so that the result stands alone.
func (p *Progress) Finish() {
	if p == nil || p.terminal == nil {
		return
	}
	if p.bar != nil {
		_ = p.bar.Finish() // only drawing
	}
	p.err.barShown.Store(false)
}
