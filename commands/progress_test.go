package commands

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

func TestWithoutATerminalProgressIsALineNowAndThen(t *testing.T) {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(slog.New(slog.NewTextHandler(&b, nil)), "records", func() time.Time { return now })
	for i := range 100 {
		now = now.Add(time.Second)
		p.update(progressState{done: i, total: 100, files: 2 * i, bytes: int64(i) << 20})
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "msg=progress records=29 of=100 photographs=58 bytes=30408704 elapsed=30s") {
		t.Errorf("got\n%s", b.String())
	}
}

func TestQuietAndNoProgressShowNone(t *testing.T) {
	for flag, shown := range map[string]bool{"--quiet": false, "--no-progress": false, "--log-level=info": true} {
		env := &environment{err: new(secrets).guard(io.Discard)}
		app := &cli.App{Flags: globalFlags(), HideHelp: true, HideVersion: true, Action: func(c *cli.Context) error {
			p := env.progress(c, "records")
			p.update(progressState{done: 1}) // none is harmless
			p.finish(env)
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
	if got, want := p.describe(progressState{files: 3, bytes: 4e6, note: "paused"}), "records, 3 photographs, 2.0 MB/s, paused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, step := range []struct {
		state     progressState
		done, max int64
	}{
		{progressState{done: 1, total: 2}, 1, 2},
		{progressState{done: 2, total: 2}, 2, 2},
		{progressState{done: 2, total: 4}, 2, 4}, // work was added to a full bar
		{progressState{done: 9, total: 4}, 4, 4}, // more than there is
	} {
		p.update(step.state)
		if got := p.bar.State(); got.CurrentNum != step.done || got.Max != step.max {
			t.Errorf("%+v: the bar shows %d of %d", step.state, got.CurrentNum, got.Max)
		}
	}
	if !strings.Contains(b.String(), "records") || !strings.Contains(b.String(), "/2)") {
		t.Errorf("drawn: %q", b.String())
	}
}
