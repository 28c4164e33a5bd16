package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"noggin/commands/cmdline"
	"noggin/commands/config"
)

// A run that is told to stop is neither well nor a failure: nobody is called for a reboot.
func TestAMonitorIsToldOfTheEndOfEachRunButAnInterruptedOne(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		signal bool
		err    error
		want   string // the last word of the address; "": nothing is told
	}{
		"done":                       {false, nil, "ping"},
		"done in spite of a signal":  {true, nil, "ping"},
		"some records failed":        {false, cmdline.Partialf("two of three"), "ping"},
		"failed":                     {false, errors.New("broken by a-secret-token"), "fail"},
		"interrupted":                {true, errors.New("cut off"), ""},
		"interrupted, some are left": {true, cmdline.Partialf("two of three"), ""},
	} {
		told := make(chan string, 9)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); err != nil || strings.Contains(string(body), "a-secret-token") {
				t.Errorf("%s: told %s, %v", name, body, err)
			}
			told <- path.Base(r.URL.Path)
		}))
		cfg := config.Default()
		cfg.Notify.HeartbeatURL = server.URL + "/ping"
		s := &Session{Config: cfg, Log: slog.New(slog.DiscardHandler), Secrets: new(config.Secrets)}
		s.Secrets.Add("a-secret-token")
		ctx, signal := context.WithCancelCause(t.Context())
		end := s.Heartbeat(ctx)
		if got := <-told; got != "start" {
			t.Errorf("%s: told %q first", name, got)
		}
		if test.signal {
			signal(ErrInterrupted)
		}
		end(test.err)
		signal(nil)
		server.Close()
		close(told)
		if got := <-told; got != test.want {
			t.Errorf("%s: told %q at the end, want %q", name, got, test.want)
		}
	}
}
