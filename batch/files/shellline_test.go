package files

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// runLine runs a line and returns what it printed.
func runLine(t *testing.T, line string) (string, error) {
	t.Helper()
	var said []string
	err := RunShellLine(t.Context(), "hook", line, "/some where", Environment(), func(text string) { said = append(said, text) })
	return strings.Join(said, "\n"), err
}

func TestAShellLineGetsItsPathAndItsExitCodeComesBack(t *testing.T) {
	t.Parallel()
	said, err := runLine(t, "echo \"$0: $1\"; echo to stderr >&2\nfalse || exit 7")
	if said != "hook: /some where\nto stderr" || err == nil || err.Error() != "exit status 7" {
		t.Errorf("%q, %v", said, err)
	}
}

// Every user of the host may read the command lines of all processes.
func TestAPasswordInAShellLineIsOnNoCommandLine(t *testing.T) {
	t.Parallel()
	said, err := runLine(t, `RSYNC_PASSWORD=geheim123 sh -c 'tr "\0" " " </proc/$PPID/cmdline; echo; echo "${#RSYNC_PASSWORD}"; env | grep ^NOGGIN'; true`)
	if err != nil || strings.Contains(said, "geheim123") || !strings.Contains(said, "/bin/sh -c ") || !strings.Contains(said, "\n9") || strings.Contains(said, "NOGGIN_LINE=") {
		t.Errorf("%q, %v", said, err)
	}
}

// bash prints a line that it does not understand.
func TestAWrongShellLineIsNotPrinted(t *testing.T) {
	t.Parallel()
	said, err := runLine(t, "echo one\nRSYNC_PASSWORD=geheim123 rsync (")
	if err == nil || said == "" || strings.Contains(said, "geheim123") {
		t.Errorf("%q, %v", said, err)
	}
	source := "echo one\nRSYNC_PASSWORD=geheim123 rsync ("
	if got := withoutSource("hook: eval: line 2: `RSYNC_PASSWORD=geheim123 rsync ('", source); strings.Contains(got, "geheim123") {
		t.Errorf("%q", got)
	}
}

// What a line started does not go on when the run ends.
func TestAShellLineEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"sleep 600 & echo ready; wait", "(sleep 600 & echo ready; wait) | cat; true"} {
		why := errors.New("time is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		err := RunShellLine(ctx, "hook", line, "", Environment(), func(string) { cancel(why) })
		if !errors.Is(err, why) || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %v after %s", line, err, time.Since(began))
		}
	}
}

func TestALineThatIsTooLongKeepsNothingWaiting(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := RunShellLine(ctx, "hook", "head -c 300000 /dev/zero | tr '\\0' x", "", Environment(), func(string) {}); err != nil {
		t.Error(err)
	}
}
