package commands

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
)

// progressEvery is the pause between two progress lines in a log.
const progressEvery = 30 * time.Second

// progressState is how far a command is.
type progressState struct {
	done, total int    // of unit; a total of 0 is not known
	files       int    // photographs and other files, where they are counted
	bytes       int64  // moved so far, where they are counted
	note        string // what else is worth a word
}

// progress shows how far a command is: a bar on a terminal's stderr, else a line
// in the log now and then. nil shows nothing. Many goroutines may use it.
type progress struct {
	unit string // what is counted: "records"
	log  *slog.Logger
	now  func() time.Time

	mu       sync.Mutex
	terminal io.Writer                // nil: there is none
	bar      *progressbar.ProgressBar // drawn when the first update comes
	began    time.Time
	logged   time.Time
}

// progress starts the display that the global flags and stderr allow. End it with
// finish.
func (env *environment) progress(c *cli.Context, unit string) *progress {
	if c.Bool("quiet") || c.Bool("no-progress") {
		return nil
	}
	p := newProgress(env.log, unit, time.Now)
	if file := terminal(env.err.Writer); file != nil {
		p.terminal = file
		env.err.barShown.Store(true)
	}
	return p
}

func newProgress(log *slog.Logger, unit string, now func() time.Time) *progress {
	return &progress{unit: unit, log: log, now: now, began: now(), logged: now()}
}

// newBar makes a bar of total steps, or a spinner when total is 0: not known.
func newBar(w io.Writer, total int) *progressbar.ProgressBar {
	if total == 0 {
		total = -1
	}
	return progressbar.NewOptions(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionEnableColorCodes(os.Getenv("NO_COLOR") == ""),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// update tells how far the command is now.
func (p *progress) update(s progressState) {
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

func (p *progress) draw(s progressState) {
	if p.bar == nil || p.bar.IsFinished() && s.done < s.total {
		p.bar = newBar(p.terminal, max(s.total, 0)) // a full bar stays full, although work was added
	}
	p.bar.Describe(p.describe(s))
	if s.total > 0 && s.total != p.bar.GetMax() {
		p.bar.ChangeMax(s.total)
	}
	_ = p.bar.Set(min(s.done, p.bar.GetMax())) // a bar that cannot be drawn stops nothing
}

// describe is the text before the bar: "records, 412 photographs, 8.1 MB/s".
func (p *progress) describe(s progressState) string {
	text := p.unit
	if s.files > 0 {
		text += fmt.Sprintf(", %d photographs", s.files)
	}
	if seconds := p.now().Sub(p.began).Seconds(); s.bytes > 0 && seconds > 0 {
		text += fmt.Sprintf(", %s/s", humanize.Bytes(uint64(float64(s.bytes)/seconds)))
	}
	if s.note != "" {
		text += ", " + s.note
	}
	return text
}

func (p *progress) attributes(s progressState) []any {
	attributes := []any{p.unit, s.done}
	if s.total > 0 {
		attributes = append(attributes, "of", s.total)
	}
	if s.files > 0 {
		attributes = append(attributes, "photographs", s.files)
	}
	if s.bytes > 0 {
		attributes = append(attributes, "bytes", s.bytes)
	}
	if s.note != "" {
		attributes = append(attributes, "note", s.note)
	}
	return append(attributes, "elapsed", p.now().Sub(p.began).Round(time.Second).String())
}

// finish takes the bar off the terminal, so that the result stands alone.
func (p *progress) finish(env *environment) {
	if p == nil || p.terminal == nil {
		return
	}
	if p.bar != nil {
		_ = p.bar.Finish() // only drawing
	}
	env.err.barShown.Store(false)
}
