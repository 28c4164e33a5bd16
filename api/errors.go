package api

import (
	"fmt"
	"net/http"
	"time"
)

// Error is how a request ended that did not end well, after all its attempts.
// Nothing in it holds the token, the namespace or a URL's query.
type Error struct {
	Class Class
	// Kind is the error_type of processing_errors, one of the Kind constants.
	Kind string
	// Status is the last answer's HTTP status, 0 where there was none.
	Status int
	// RetryAfter is how long the API asked to be left alone; after a 429 it is
	// never 0.
	RetryAfter time.Duration
	// Attempts is how many requests were sent.
	Attempts int
	// Message says in a few words what happened.
	Message string
	// Excerpt is the beginning of an answer that could not be used: valid UTF-8
	// without control characters, at most 2 KB.
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

// Unavailable reports whether the API as a whole seems not to answer.
func (e *Error) Unavailable() bool { return unavailable(e.Kind) }

// Outcome is how one HTTP request ended, for the [Gate].
type Outcome struct {
	Class      Class
	Kind       string // one of the Kind constants, empty when Class is ClassOK
	Status     int    // 0 where there was no answer
	Media      bool   // an attachment, not a record
	Bytes      int64  // of the body, as they came over the wire
	RetryAfter time.Duration
	Duration   time.Duration // since Admit
}

// Unavailable reports whether the outcome counts against the circuit: connection,
// time-out, 5xx, 429, a cut body, a maintenance page. Any other outcome that is not
// [Outcome.Neutral] shows that the API answers.
func (o Outcome) Unavailable() bool { return unavailable(o.Kind) }

// Neutral reports whether the outcome says nothing about the API, because it was
// our doing.
func (o Outcome) Neutral() bool { return o.Class == ClassCancelled || o.Class == ClassOwn }

// newError puts into words what became of a request.
func (c *Client) newError(status int, err error) *Error {
	e := &Error{Status: status, err: err}
	e.Class, e.Kind = Classify(status, err)
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
