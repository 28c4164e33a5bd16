package session

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands/config"
)

func TestWithoutATerminalProgressIsALineNowAndThen(t *testing.T) {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(slog.New(slog.NewTextHandler(&b, nil)), "records", func() time.Time { return now })
	for i := range 100 {
		now = now.Add(time.Second)
		p.Update(State{Done: i, Total: 100, Files: 2 * i, Bytes: int64(i) << 20})
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "msg=progress records=29 of=100 attachments=58 bytes=30408704 elapsed=30s") {
		t.Errorf("got\n%s", b.String())
	}
}

func TestQuietAndNoProgressShowNone(t *testing.T) {
	for flag, shown := range map[string]bool{"--quiet": false, "--no-progress": false, "--log-level=info": true} {
		o := NewConsole(nil, io.Discard, new(config.Secrets))
		flags := []cli.Flag{&cli.BoolFlag{Name: "quiet"}, &cli.BoolFlag{Name: "no-progress"}, &cli.StringFlag{Name: "log-level"}}
		app := &cli.App{Flags: flags, HideHelp: true, HideVersion: true, Action: func(c *cli.Context) error {
			p := o.Progress(c, "records")
			p.Update(State{Done: 1}) // none is harmless
			p.Finish()
			if got := p != nil; got != shown {
				t.Errorf("%s: shown is %v", flag, got)
			}
			return nil
		}}
		if err := app.Run([]string{"noggin", flag}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheBarSaysWhatAnOperatorWatches(t *testing.T) {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(slog.New(slog.DiscardHandler), "records", func() time.Time { return now })
	p.terminal = &b
	now = now.Add(2 * time.Second)
	drain := State{Done: 412, Total: 1656, Files: 1120, Bytes: 4e6, Note: "no\x1bte"}
	for width, want := range map[int]string{
		0:  `412 of 1,656 records, 1,120 attachments, 2.0 MB/s, 6.0 s left, no\x1bte`,
		70: `412 of 1,656 records, 1,120 attachments, 2.0 MB/s, 6.0 s left`,
		60: "412 of 1,656 records, 2.0 MB/s, 6.0 s left",
		40: "412 of 1,656 records, 6.0 s left",
		22: "412 of 1,656 records",
	} {
		if got := p.describe(drain, width); got != want {
			t.Errorf("at %d columns: %q, want %q", width, got, want)
		}
	}
	if got := p.describe(State{Done: 1656}, 0); got != "1,656 records" {
		t.Errorf("without a total: %q", got)
	}
	for _, step := range []struct {
		state     State
		done, max int64
	}{
		{State{Done: 1, Total: 2}, 1, 2},
		{State{Done: 2, Total: 2}, 2, 2},
		{State{Done: 2, Total: 4}, 2, 4}, // work was added to a full bar
		{State{Done: 9, Total: 4}, 4, 4}, // more than there is
	} {
		now = now.Add(time.Second)
		p.Update(step.state)
		if got := p.bar.State(); got.CurrentNum != step.done || got.Max != step.max {
			t.Errorf("%+v: the bar shows %d of %d", step.state, got.CurrentNum, got.Max)
		}
	}
	if !strings.Contains(b.String(), "1 of 2 records, 3.0 s left  50% |") {
		t.Errorf("drawn: %q", b.String())
	}
}
