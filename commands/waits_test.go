package commands

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"noggin/commands/cmdline"
)

// silent is an input that never says anything. read is closed when somebody waits for it.
type silent struct {
	once sync.Once
	read chan struct{}
}

func (s *silent) Read([]byte) (int, error) {
	s.once.Do(func() { close(s.read) })
	select {}
}

// asked is an output; said is closed when it has the question's end.
type asked struct {
	mu   sync.Mutex
	text bytes.Buffer
	once sync.Once
	said chan struct{}
}

func (a *asked) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if strings.Contains(string(p), "[y/N]") {
		a.once.Do(func() { close(a.said) })
	}
	return a.text.Write(p)
}

func TestTheFirstSignalEndsEveryWaitForAPersonOrAPipe(t *testing.T) {
	t.Parallel()
	w := newHostileWalk(t)
	if code := w.run(io.Discard, io.Discard, "init-db"); code != cmdline.ExitDone {
		t.Fatalf("init-db: exit code %d", code)
	}
	list := filepath.Join(w.folder, "list.csv")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	notify := filepath.Join(w.folder, "notify.toml")
	if err := os.WriteFile(notify, []byte("[notify]\nwebhook_url = \"http://127.0.0.1:1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string // PIPE stands for a named pipe
		code int
	}{
		"names from a pipe":        {[]string{"hashes", "import", "team", "PIPE"}, cmdline.ExitInterrupted},
		"names from stdin":         {[]string{"hashes", "import", "team", "-"}, cmdline.ExitInterrupted},
		"a question":               {[]string{"skip", "--undo", list}, cmdline.ExitInterrupted},
		"a list that must be read": {[]string{"skip", "--yes", "--undo", "PIPE"}, cmdline.ExitUsage},
		"a bag":                    {[]string{"validate", "bag", "PIPE"}, cmdline.ExitPartial},
		"a public key":             {[]string{"validate", "evidence", "--public-key", "PIPE"}, cmdline.ExitInterrupted},
		"a token":                  {[]string{"validate", "api", "--token-file", "PIPE"}, cmdline.ExitInterrupted},
		"the configuration":        {[]string{"--config", "PIPE", "report"}, cmdline.ExitInterrupted},
		"a checked configuration":  {[]string{"--config", "PIPE", "validate", "config"}, cmdline.ExitInterrupted},
		"the text of an alert":     {[]string{"--config", notify, "maintain", "notify", "--event", "trial", "--what", "x"}, cmdline.ExitInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, signal := context.WithCancelCause(t.Context())
			defer signal(nil)
			input, out := &silent{read: make(chan struct{})}, &asked{said: make(chan struct{})}
			streams := Streams{In: input, Out: out, Err: out}
			if name == "a question" {
				master, terminal, err := pty.Open()
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = master.Close() }()
				streams.In = terminal
			}
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := unix.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"noggin"}
			if test.args[0] != "--config" {
				args = append(args, "--config", w.config)
			}
			for _, arg := range test.args {
				args = append(args, strings.ReplaceAll(arg, "PIPE", pipe))
			}
			ended := make(chan int, 1)
			go func() { ended <- Run(ctx, args, streams, w.assets) }()
			read, said := input.read, out.said
			var opened <-chan time.Time // when to look whether the pipe has a reader
			if test.code == cmdline.ExitInterrupted {
				opened = time.Tick(10 * time.Millisecond)
			}
			late := time.After(30 * time.Second)
			for {
				select {
				case code := <-ended:
					if code != test.code {
						t.Errorf("exit code %d, want %d\n%s", code, test.code, out.text.String())
					}
					return
				case <-read:
					read = nil
					signal(ErrInterrupted)
				case <-said:
					said = nil
					signal(ErrInterrupted)
				case <-opened:
					if writer, err := os.OpenFile(pipe, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
						defer func() { _ = writer.Close() }()
						opened = nil
						signal(ErrInterrupted)
					}
				case <-late:
					t.Fatalf("noggin %q did not end", test.args)
				}
			}
		})
	}
}
