package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"noggin/batch"
	"noggin/storage"
)

func TestEveryKindOfErrorHasItsExitCode(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("outer: %w", errors.Join(errors.New("other"), err)) }
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, exitDone},
		{"anything", errors.New("x"), exitFailed},
		{"usage", usagef("x"), exitUsage},
		{"partial", partialf("x"), exitPartial},
		{"locked", &commandError{code: exitLocked, err: errors.New("x")}, exitLocked},
		{"maintenance lock", storage.ErrLocked, exitLocked},
		{"unavailable", storage.ErrUnavailable, exitDatabase},
		{"schema", storage.ErrSchema, exitDatabase},
		{"API", batch.ErrAPIUnavailable, exitAPI},
		{"credentials", batch.ErrCredentials, exitCredentials},
		{"interrupted", ErrInterrupted, ExitInterrupted},
		{"hint keeps the code", hint(storage.ErrSchema, "do this"), exitDatabase},
		{"the outer code wins", partialf("x: %w", storage.ErrUnavailable), exitPartial},
	} {
		for _, err := range []error{c.err, wrap(c.err)} {
			if c.err == nil {
				err = nil
			}
			if got := exitCode(t.Context(), err); got != c.want {
				t.Errorf("%s: got %d, want %d (%v)", c.name, got, c.want, err)
			}
		}
	}
}

func TestWhateverFailsAfterASignalIsTheSignalsDoing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInterrupted)
	for _, err := range []error{errors.New("pq: canceling statement"), partialf("x"), storage.ErrUnavailable, context.Canceled} {
		if got := exitCode(ctx, err); got != ExitInterrupted {
			t.Errorf("%v: %d", err, got)
		}
	}
	if got := exitCode(ctx, nil); got != exitDone {
		t.Errorf("done all the same: %d", got)
	}
}

func TestAnErrorIsOneLineAndItsHints(t *testing.T) {
	var b bytes.Buffer
	env := &environment{err: new(secrets).guard(&b)}
	err := hint(fmt.Errorf("run: %w", hint(errors.New("first\nsecond \x1b[31m"), "inner")), "outer")
	env.reportError("noggin process", 1, err)
	if want := "noggin process: run: first; second \\x1b[31m\n  inner\n  outer\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if got := hintsOf(err); !slices.Equal(got, []string{"inner", "outer"}) {
		t.Errorf("hints %q", got)
	}

	b.Reset()
	env.jsonLogs, env.log = true, newLogger(env.err, formatJSON, slog.LevelError)
	env.reportError("noggin process", 4, err)
	if !bytes.Contains(b.Bytes(), []byte(`"command":"noggin process","exit_code":4,"hints":["inner","outer"]`)) {
		t.Errorf("got %s", b.Bytes())
	}
}
