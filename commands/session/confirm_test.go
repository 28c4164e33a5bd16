package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"noggin/commands/cmdline"
	"noggin/commands/config"
)

// terminal returns both sides of a terminal: what somebody types into, and what a command
// reads from.
func terminal(t *testing.T) (keys, in *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		in, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return keys, in
}

func TestOnlyAYesIsAYes(t *testing.T) {
	t.Parallel()
	keys, in := terminal(t)
	var asked bytes.Buffer
	o := NewConsole(in, &asked, new(config.Secrets))
	for typed, yes := range map[string]bool{"y": true, "YES": true, "": false, "n": false, "no": false, "yn": false, "yess": false} {
		asked.Reset()
		if _, err := keys.WriteString(" " + typed + " \n"); err != nil {
			t.Fatal(err)
		}
		err := o.Confirm(t.Context(), "Remove it?", false)
		if code, _ := cmdline.OwnCode(err); (err == nil) != yes || err != nil && (code != cmdline.ExitUsage || !strings.Contains(err.Error(), "nothing was changed")) {
			t.Errorf("%q: %v", typed, err)
		}
		if asked.String() != "Remove it? [y/N] " {
			t.Errorf("asked %q", asked.String())
		}
	}
	if _, err := keys.WriteString("\x04"); err != nil { // the end of what is typed
		t.Fatal(err)
	}
	if err := o.Confirm(t.Context(), "Remove it?", false); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("no answer: %v", err)
	}
	ended, end := context.WithCancelCause(t.Context())
	end(ErrInterrupted)
	if err := o.Confirm(ended, "Remove it?", false); !errors.Is(err, ErrInterrupted) {
		t.Errorf("a signal: %v", err)
	}
	// Where nobody can be asked, nothing is done without --yes.
	o = NewConsole(strings.NewReader("y\n"), &asked, new(config.Secrets))
	if err := o.Confirm(t.Context(), "Remove it?", false); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("no terminal: %v", err)
	}
	if err := o.Confirm(t.Context(), "Remove it?", true); err != nil {
		t.Errorf("--yes: %v", err)
	}
}
