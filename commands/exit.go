package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"noggin/batch"
	"noggin/storage"
)

// The exit codes, the same for every command.
const (
	exitDone        = 0
	exitFailed      = 1  // for a reason not below
	exitUsage       = 2  // usage error or invalid configuration
	exitPartial     = 3  // finished, but not everything succeeded
	exitDatabase    = 4  // database unreachable, or its schema missing or too old
	exitAPI         = 5  // the API is unavailable or the circuit is open
	exitLocked      = 11 // another run holds the lock
	exitCredentials = 12 // the API rejected the credentials
	ExitInterrupted = 130
)

// exitMeanings tells operators of the exit codes.
var exitMeanings = []struct {
	code    int
	meaning string
}{
	{exitDone, "done"},
	{exitFailed, "failed for a reason not below"},
	{exitUsage, "usage error or invalid configuration"},
	{exitPartial, "finished, but not everything succeeded"},
	{exitDatabase, "database unreachable, or its schema missing or too old: noggin init-db"},
	{exitAPI, "the API is unavailable or the circuit is open: nothing is lost, try later"},
	{exitLocked, "another run holds the lock that this command needs"},
	{exitCredentials, "the API rejected the credentials"},
	{ExitInterrupted, "interrupted"},
}

// ErrInterrupted is the cause of a context that a signal ended.
var ErrInterrupted = errors.New("interrupted")

// exitKinds gives the exit code of the errors that batch and storage return, and a
// line that says what to do.
var exitKinds = []struct {
	err    error
	code   int
	advice string
}{
	{ErrInterrupted, ExitInterrupted, ""},
	{storage.ErrSchema, exitDatabase, ""}, // its text names the command
	{storage.ErrUnavailable, exitDatabase, "nothing is lost, a later run carries on by itself; `noggin validate database` looks at the server"},
	{storage.ErrLocked, exitLocked, ""},
	{batch.ErrCredentials, exitCredentials, "nothing was counted against a record: put a valid token in place, `noggin validate api` tests it; a later run carries on by itself"},
	{batch.ErrAPIUnavailable, exitAPI, "nothing is lost, a later run carries on by itself; `noggin validate api` asks the API once"},
	{batch.ErrIncomplete, exitPartial, ""},
	{batch.ErrAmbiguous, exitUsage, ""}, // its text names the command
}

// commandError is an error that brings its own exit code, and hints for the
// operator that are printed on lines of their own.
type commandError struct {
	code  int // 0: that of err
	err   error
	hints []string
}

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// usagef returns an error that says how the command line is wrong.
func usagef(format string, args ...any) error {
	return &commandError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// partialf returns the error of a command that finished, but not with everything.
func partialf(format string, args ...any) error {
	return &commandError{code: exitPartial, err: fmt.Errorf(format, args...)}
}

// hint adds lines to err that say what to do about it.
func hint(err error, lines ...string) error {
	if err == nil {
		return nil
	}
	return &commandError{err: err, hints: lines}
}

// exitCode turns what a command returned into the exit code. What fails after a
// signal fails because of it, whatever it looks like by then: a cancelled
// statement, a cut connection, half a batch.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		return ExitInterrupted
	}
	code, _ := judge(err)
	return code
}

// judge returns an error's exit code and advice.
func judge(err error) (code int, advice string) {
	var own *commandError
	for e := err; errors.As(e, &own); e = own.err {
		if own.code != 0 {
			return own.code, ""
		}
	}
	for _, kind := range exitKinds {
		if errors.Is(err, kind.err) {
			return kind.code, kind.advice
		}
	}
	return exitFailed, ""
}

// hintsOf collects the hints of err and of what it wraps, outermost last.
func hintsOf(err error) []string {
	var hints []string
	var own *commandError
	for e := err; errors.As(e, &own); e = own.err {
		hints = append(own.hints[:len(own.hints):len(own.hints)], hints...)
	}
	return hints
}

// reportError tells the operator why command ended: one line and its hints, or one
// record when the logs are JSON.
func (env *environment) reportError(command string, code int, err error) {
	message, hints := oneLine(err.Error()), hintsOf(err)
	if kind, advice := judge(err); kind == code && advice != "" { // not what a signal broke off
		hints = append(hints, advice)
	}
	if env.jsonLogs {
		env.log.Error(message, "command", command, "exit_code", code, "hints", hints)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", command, message)
	for _, line := range hints {
		fmt.Fprintf(&b, "  %s\n", printable(line))
	}
	_, _ = io.WriteString(env.err, b.String()) // nothing is left to tell it to
}

func oneLine(text string) string {
	return printable(strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "))
}
