package cmdline

import (
	"errors"
	"fmt"
	"strings"
)

// The exit codes, the same for every command.
const (
	ExitDone        = 0
	ExitFailed      = 1  // for a reason not below
	ExitUsage       = 2  // usage error, a name that nothing has, or invalid configuration
	ExitPartial     = 3  // finished, but not everything succeeded
	ExitDatabase    = 4  // database unreachable, or its schema missing or too old
	ExitAPI         = 5  // the API is unavailable or the circuit is open, or the target of copies is away
	ExitLocked      = 11 // another run holds the lock
	ExitCredentials = 12 // the API rejected the credentials
	ExitInterrupted = 130
)

// ExitChapter is the heading of the exit codes.
const ExitChapter = "Exit codes"

// ExitMeaning is an exit code as help and manual describe it.
type ExitMeaning struct {
	Code    int
	Meaning string
}

// ExitMeanings are all exit codes, in their order.
func ExitMeanings() []ExitMeaning {
	return []ExitMeaning{
		{ExitDone, "done"},
		{ExitFailed, "failed for a reason not below"},
		{ExitUsage, "usage error, a name that nothing has, or invalid configuration"},
		{ExitPartial, "finished, but not everything succeeded"},
		{ExitDatabase, "database unreachable, or its schema missing or too old: `noggin init-db`"},
		{ExitAPI, "the API or the target of copies is away, or the circuit is open: nothing is lost, try later"},
		{ExitLocked, "another run holds the lock that this command needs"},
		{ExitCredentials, "the API rejected the credentials"},
		{ExitInterrupted, "interrupted"},
	}
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

// Usagef returns an error that says how the command line is wrong.
func Usagef(format string, args ...any) error {
	return &commandError{code: ExitUsage, err: fmt.Errorf(format, args...)}
}

// Partialf returns the error of a command that finished, but not everything succeeded.
func Partialf(format string, args ...any) error {
	return &commandError{code: ExitPartial, err: fmt.Errorf(format, args...)}
}

// WithCode returns err with the exit code that it means, whatever err wraps.
func WithCode(code int, err error) error { return &commandError{code: code, err: err} }

// Hint adds lines to err that say what to do about it.
func Hint(err error, lines ...string) error {
	if err == nil {
		return nil
	}
	return &commandError{err: err, hints: lines}
}

// Near adds to err the names that somebody may have meant.
func Near(err error, names []string) error {
	if len(names) == 0 {
		return err
	}
	return Hint(err, "near: "+strings.Join(names, ", "))
}

// OwnCode returns the exit code that err brings with it; the outermost wins.
func OwnCode(err error) (code int, ok bool) {
	var own *commandError
	for e := err; errors.As(e, &own); e = own.err {
		if own.code != 0 {
			return own.code, true
		}
	}
	return 0, false
}

// Hints collects the hints of err and of what it wraps, outermost last.
func Hints(err error) []string {
	var hints []string
	var own *commandError
	for e := err; errors.As(e, &own); e = own.err {
		hints = append(own.hints[:len(own.hints):len(own.hints)], hints...)
	}
	return hints
}
