package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"noggin/batch/copies"
	"noggin/batch/copies/place"
	"noggin/batch/gate"
	"noggin/batch/maintain"
	"noggin/batch/queue"
	"noggin/batch/seal"
	"noggin/batch/sources"
	"noggin/commands/cmdline"
	"noggin/storage"
)

// ErrInterrupted is the cause of a context that a signal ended.
var ErrInterrupted = errors.New("interrupted")

// carriesOn begins an advice. It is left out for commands that no timer repeats.
const carriesOn = "nothing is lost, a later run carries on by itself; "

// repeated tells whether a timer runs the command again.
func repeated(command string) bool {
	words := append(strings.Fields(command), "", "")
	return slices.Contains([]string{"process", "import-csv", "archive", "maintain", "seal", "copy"}, words[1])
}

// exitKinds gives the exit code of the errors that batch and storage return, and a
// line that says what to do.
var exitKinds = []struct {
	err    error
	code   int
	advice string
}{
	{ErrInterrupted, cmdline.ExitInterrupted, ""},
	{storage.ErrSchema, cmdline.ExitDatabase, ""},  // its text names the command
	{storage.ErrNoRight, cmdline.ExitDatabase, ""}, // its text says what to grant
	{storage.ErrPooler, cmdline.ExitDatabase, ""},  // its text says what to do
	{storage.ErrRefused, cmdline.ExitDatabase, ""}, // its text says what to correct
	{storage.ErrUnavailable, cmdline.ExitDatabase, carriesOn + "`noggin validate database` looks at the server"},
	{storage.ErrLocked, cmdline.ExitLocked, ""},
	{gate.ErrCredentials, cmdline.ExitCredentials, "nothing was counted against a record: put a valid token in place, `noggin validate api` tests it; a later run carries on by itself"},
	{gate.ErrAPIUnavailable, cmdline.ExitAPI, carriesOn + "`noggin validate api` asks the API once"},
	{sources.ErrRefused, cmdline.ExitCredentials, "nothing is lost: what is on the server is fetched later; `noggin validate sources` tests every source"},
	{sources.ErrUnreachable, cmdline.ExitAPI, "nothing is lost: a later run fetches it; `noggin validate sources` tests every source"},
	{place.ErrAway, cmdline.ExitAPI, carriesOn + "`noggin validate copy` tries the target"},
	{place.ErrNoLock, cmdline.ExitUsage, "[copy] retain needs a bucket with Object Lock; nothing was copied"},
	{copies.ErrNoTarget, cmdline.ExitUsage, "set it to a folder on another volume, or to s3://bucket/prefix"},
	{copies.ErrNotRegistered, cmdline.ExitUsage, ""}, // its text names the command
	{copies.ErrNoBackup, cmdline.ExitUsage, ""},
	{maintain.ErrIncomplete, cmdline.ExitPartial, ""},
	{queue.ErrAmbiguous, cmdline.ExitUsage, ""}, // its text names the command
	{seal.ErrNoKey, cmdline.ExitUsage, ""},      // its text names the command
}

// ExitCode returns the exit code for what a command returned. Whatever fails after a
// signal counts as interrupted, because by then it may look like anything: a cancelled
// statement, a cut connection, half a batch.
func ExitCode(ctx context.Context, err error) int {
	if err == nil {
		return cmdline.ExitDone
	}
	if ctx.Err() != nil {
		return cmdline.ExitInterrupted
	}
	code, _ := judge(err)
	return code
}

// judge returns an error's exit code and advice.
func judge(err error) (code int, advice string) {
	if code, ok := cmdline.OwnCode(err); ok {
		return code, ""
	}
	for _, kind := range exitKinds {
		if errors.Is(err, kind.err) {
			return kind.code, kind.advice
		}
	}
	return cmdline.ExitFailed, ""
}
