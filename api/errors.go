package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// ErrStopped says that a call ended because its gate closes.
var ErrStopped = errors.New("told to stop before the next attempt")

// Error says how a call failed, after all its attempts. It never holds the token, the
// namespace or a URL's query.
type Error struct {
	Class Class
	// Kind is the error_type of processing_errors, one of the Kind constants.
	Kind string
	// Status is the last answer's HTTP status, 0 without an answer.
	Status int
	// RetryAfter is how long the API asked us to wait; after a 429 it is never 0.
	RetryAfter time.Duration
	// Attempts is how many requests were sent.
	Attempts int
	// Ended is when the last attempt ended, before the gate heard of it.
	Ended time.Time
	// Message says in one line what happened.
	Message string
	// Excerpt is the beginning of a bad answer: valid UTF-8 without control
	// characters, at most 2 KB.
	Excerpt string

	err error
}

func (e *Error) Error() string {
	if e.Attempts > 1 {
		return fmt.Sprintf("%s (after %d attempts)", e.Message, e.Attempts)
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.err }

// Outcome is how one attempt ended, for the [Gate].
type Outcome struct {
	Class      Class
	Kind       string // one of the Kind constants, empty when Class is ClassOK
	Status     int    // 0 without an answer
	Media      bool   // an attachment, not a record
	RetryAfter time.Duration
	Duration   time.Duration // since Admit
	Lingered   bool          // [Gate.Linger] returned true
}

// Unavailable reports whether the outcome counts against the circuit: connection,
// time-out, 5xx, 429, a cut body, a maintenance page. Any other outcome, unless it is
// [Outcome.Neutral], shows that the API answers.
func (o Outcome) Unavailable() bool { return unavailable(o.Kind) }

// Neutral reports whether we ended the attempt ourselves. It then says nothing about
// the API.
func (o Outcome) Neutral() bool { return o.Class == ClassCancelled || o.Class == ClassOwn }

// isOutOfFiles tells whether a request found no socket. The error of a name's look-up
// holds the cause only as text. In no other error does the text count, as it may be the
// server's.
func isOutOfFiles(err error) bool {
	if errors.Is(err, errLocal) {
		return false
	}
	lookup, ok := errors.AsType[*net.DNSError](err)
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || ok && strings.Contains(lookup.Err, syscall.EMFILE.Error())
}

// newError says in words how a request failed.
func (c *Client) newError(status int, err error) *Error {
	if isOutOfFiles(err) {
		err = fmt.Errorf("%w: %w", errOutOfFiles, err)
	}
	e := &Error{Status: status, Ended: time.Now(), err: err}
	e.Class, e.Kind = classify(status, err)
	switch {
	case err != nil:
		e.Message = c.scrub(err.Error())
	case http.StatusText(status) == "":
		e.Message = fmt.Sprintf("answered with status %d", status)
	default:
		e.Message = fmt.Sprintf("answered %d %s", status, http.StatusText(status))
	}
	return e
}
