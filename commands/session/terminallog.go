package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"noggin/batch/process"
	"noggin/commands/show"
)

// terminalLog writes log lines for a person at a terminal: a mark for the level, the
// record, what happened, and the rest as words. A failure of a record is one line, whatever
// the width; the journal and `noggin report tip` have the whole of it.
type terminalLog struct {
	w      io.Writer
	level  slog.Level
	colour show.Palette
	width  func() int // columns, 0: not known
	now    func() time.Time
	given  []slog.Attr
}

func newTerminalLog(w io.Writer, terminal *os.File, level slog.Level) *terminalLog {
	return &terminalLog{w: w, level: level, colour: show.NewPalette(terminal), width: func() int { return terminalWidth(terminal) }, now: time.Now}
}

// Enabled tells whether lines of a level are written.
func (t *terminalLog) Enabled(_ context.Context, level slog.Level) bool { return level >= t.level }

// WithAttrs returns a handler whose lines have the attributes too.
func (t *terminalLog) WithAttrs(attributes []slog.Attr) slog.Handler {
	more := *t
	more.given = append(slices.Clip(t.given), attributes...)
	return &more
}

// WithGroup returns the handler itself: the words of a line are in no groups.
func (t *terminalLog) WithGroup(string) slog.Handler { return t }

// Handle writes a line.
func (t *terminalLog) Handle(_ context.Context, r slog.Record) error {
	values := map[string]slog.Value{}
	var keys []string
	take := func(a slog.Attr) bool {
		values[a.Key] = a.Value.Resolve()
		keys = append(keys, a.Key)
		return true
	}
	for _, a := range t.given {
		take(a)
	}
	r.Attrs(take)
	what, rest := r.Message, ""
	if values["error"].Any() != nil {
		if what += ": " + values["error"].String(); r.Message == process.RequestFailed {
			what = values["error"].String()
		}
	}
	if file := firstOf(values, "file", "attachment"); file != "" {
		what = beforeDay.ReplaceAllString(file, "") + ": " + what
	}
	if at, ok := values["next_try"].Any().(time.Time); ok {
		rest = "; next try in " + show.Lasting(max(0, at.Sub(t.now())).Round(time.Second))
	}
	var others strings.Builder
	for _, key := range keys {
		if !slices.Contains(placed, key) {
			others.WriteString(", " + strings.ReplaceAll(key, "_", " ") + " " + show.HumanText(values[key].Any()))
		}
	}
	return t.write(r, firstOf(values, "inspection_id", "tip"), what, rest+others.String())
}

// beforeDay is the beginning of a file's name that says again which record it is of.
var beforeDay = regexp.MustCompile(`^.*_[0-9]{8}_`)

// placed are the keys that have a place of their own in a line, or none.
var placed = []string{"inspection_id", "tip", "attachment", "file", "error", "next_try", "run_id", "error_type"}

func (t *terminalLog) write(r slog.Record, subject, what, rest string) error {
	mark, tone := "  ", show.Tone("")
	switch {
	case r.Level >= slog.LevelError:
		mark, tone = "! ", show.Bad
	case r.Level >= slog.LevelWarn:
		mark, tone = "- ", show.Warn
	case r.Level < slog.LevelInfo:
		tone = show.Dim
	}
	if subject != "" {
		subject = show.Printable(subject) + ": "
	}
	what, rest = show.ShortTips(show.Printable(what)), show.ShortTips(show.Printable(rest))
	if width := t.width(); width > 0 && subject != "" && r.Level >= slog.LevelWarn {
		what = text.Snip(what, max(20, width-text.StringWidth(mark+subject+rest)), "…")
	}
	_, err := fmt.Fprintln(t.w, t.colour.Paint(tone, mark)+subject+what+t.colour.Paint(show.Dim, rest))
	return err
}

// firstOf is the first of the values that is there, the beginning of a tip.
func firstOf(values map[string]slog.Value, keys ...string) string {
	for _, key := range keys {
		if value, ok := values[key]; ok && value.String() != "" {
			return show.Tip(value.String()).Human()
		}
	}
	return ""
}
