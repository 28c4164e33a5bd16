package setup

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

// talk asks questions and says what became of the answers.
type talk struct {
	in       *bufio.Reader
	terminal *os.File // that answers come from; nil: a pipe
	out      io.Writer
	colour   show.Palette
	width    func() int // columns of the terminal that out is, 0: none
}

func newTalk(in io.Reader, console *session.Console) *talk {
	t := &talk{in: bufio.NewReader(in), out: console.Err, colour: console.Palette(), width: console.Width}
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		t.terminal = file
	}
	return t
}

// question is what is asked.
type question struct {
	about  []string // lines before the question
	text   string
	given  string // what an empty answer means; empty: there has to be one
	shown  string // given, as it may be shown
	secret bool
	try    func(ctx context.Context, answer string) (told string, err error)
}

// ask asks until an answer stands its trial. From a pipe the first answer has to.
func (t *talk) ask(ctx context.Context, q question) (string, error) {
	t.say("", "", "")
	for _, line := range q.about {
		t.say("", show.Dim, line)
	}
	for {
		answer, err := t.answer(ctx, q)
		if err != nil {
			return "", err
		}
		told, err := q.try(ctx, answer)
		if err == nil {
			if told != "" {
				t.say("  ok ", show.Good, told)
			}
			return answer, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if t.terminal == nil {
			return "", cmdline.Hint(fmt.Errorf("%s: %w", q.text, err), "nothing was written")
		}
		t.say("  no ", show.Bad, err.Error())
		for _, hint := range cmdline.Hints(err) {
			t.say("     ", show.Dim, hint)
		}
	}
}

// answer asks once.
func (t *talk) answer(ctx context.Context, q question) (string, error) {
	prompt := q.text
	if q.given != "" {
		prompt += " [" + show.Printable(cmp.Or(q.shown, q.given)) + "]"
	}
	_, _ = fmt.Fprint(t.out, prompt+": ") // what cannot be seen is not answered
	line, err := t.line(ctx, q.secret)
	if err != nil {
		return "", cmdline.Hint(err, "nothing was written")
	}
	line = strings.TrimSpace(line)
	if line = cmp.Or(line, q.given); line == "" {
		if t.terminal == nil {
			return "", cmdline.Hint(cmdline.Usagef("%s: there is no answer", q.text), "nothing was written")
		}
		return t.answer(ctx, q)
	}
	return line, nil
}

// line reads a line, a secret one without showing it. It returns when ctx ends, and then
// gives the terminal its echo back.
func (t *talk) line(ctx context.Context, secret bool) (string, error) {
	type read struct {
		line string
		err  error
	}
	lines := make(chan read, 1)
	restore := func() {}
	if secret && t.terminal != nil {
		if state, err := term.GetState(int(t.terminal.Fd())); err == nil {
			restore = func() { _ = term.Restore(int(t.terminal.Fd()), state) }
		}
	}
	go func() {
		if secret && t.terminal != nil {
			text, err := term.ReadPassword(int(t.terminal.Fd()))
			lines <- read{string(text), err}
			return
		}
		text, err := t.in.ReadString('\n')
		if text != "" && errors.Is(err, io.EOF) {
			err = nil
		}
		lines <- read{text, err}
	}()
	select {
	case got := <-lines:
		if secret || t.terminal == nil {
			t.say("", "", "") // nobody saw a line end
		}
		if got.err != nil {
			return "", cmdline.Usagef("no answer: %w", got.err)
		}
		return got.line, nil
	case <-ctx.Done():
		restore()
		t.say("", "", "")
		return "", context.Cause(ctx)
	}
}

// say prints a line behind a mark, broken between words on a terminal. The tone is that
// of the mark, or of the line where there is none.
func (t *talk) say(mark string, tone show.Tone, line string) {
	width := 0
	if columns := t.width(); columns > 0 {
		width = max(20, columns-len(mark))
	}
	for i, part := range show.Wrapped(show.Printable(line), width) {
		switch {
		case strings.TrimSpace(mark) == "":
			part = mark + t.colour.Paint(tone, part)
		case i == 0:
			part = t.colour.Paint(tone, mark) + part
		default:
			part = strings.Repeat(" ", len(mark)) + part
		}
		_, _ = fmt.Fprintln(t.out, part) // nothing depends on it
	}
}
