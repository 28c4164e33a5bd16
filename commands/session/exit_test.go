package session

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"noggin/batch/gate"
	"noggin/commands/cmdline"
	"noggin/storage"
)

func TestEveryKindOfErrorHasItsExitCode(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("outer: %w", errors.Join(errors.New("other"), err)) }
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, cmdline.ExitDone},
		{"anything", errors.New("x"), cmdline.ExitFailed},
		{"usage", cmdline.Usagef("x"), cmdline.ExitUsage},
		{"partial", cmdline.Partialf("x"), cmdline.ExitPartial},
		{"locked", storage.ErrLocked, cmdline.ExitLocked},
		{"unavailable", storage.ErrUnavailable, cmdline.ExitDatabase},
		{"schema", storage.ErrSchema, cmdline.ExitDatabase},
		{"API", gate.ErrAPIUnavailable, cmdline.ExitAPI},
		{"credentials", gate.ErrCredentials, cmdline.ExitCredentials},
		{"interrupted", ErrInterrupted, cmdline.ExitInterrupted},
		{"hint keeps the code", cmdline.Hint(storage.ErrSchema, "do this"), cmdline.ExitDatabase},
		{"the outer code wins", cmdline.Partialf("x: %w", storage.ErrUnavailable), cmdline.ExitPartial},
	} {
		for _, err := range []error{c.err, wrap(c.err)} {
			if c.err == nil {
				err = nil
			}
			if got := ExitCode(t.Context(), err); got != c.want {
				t.Errorf("%s: got %d, want %d (%v)", c.name, got, c.want, err)
			}
		}
	}
}

func TestWhateverFailsAfterASignalIsTheSignalsDoing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInterrupted)
	for _, err := range []error{errors.New("pq: canceling statement"), cmdline.Partialf("x"), storage.ErrUnavailable, context.Canceled} {
		if got := ExitCode(ctx, err); got != cmdline.ExitInterrupted {
			t.Errorf("%v: %d", err, got)
		}
	}
	if got := ExitCode(ctx, nil); got != cmdline.ExitDone {
		t.Errorf("done all the same: %d", got)
	}
}
