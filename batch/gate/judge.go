package gate

import (
	"errors"
	"net/http"
	"time"

	"noggin/api"
)

// Class says what a failure of a record may mean.
type Class int

// The classes of failures.
const (
	NoFailure    Class = iota // or one that says nothing about the record
	Passing                   // it may pass: 5xx, timeout, broken answer, damaged or absent attachment
	Lasting                   // it does not pass, but does not end the attempts either: 400
	Absent                    // 404 or 410 of a record; it may pass, unless no form has it
	Unauthorized              // 401
	Forbidden                 // 403
)

// ClassOf returns the class of a failed request.
func ClassOf(err error) Class {
	var failed *api.Error
	if !errors.As(err, &failed) {
		return Passing // a content that the check refused
	}
	switch failed.Class {
	case api.ClassOK, api.ClassOwn, api.ClassCancelled, api.ClassRateLimited:
		return NoFailure
	case api.ClassCredentials:
		return Unauthorized
	case api.ClassForbidden:
		return Forbidden
	case api.ClassPermanent:
		if failed.Status == http.StatusNotFound || failed.Status == http.StatusGone {
			return Absent
		}
		return Lasting
	}
	return Passing
}

// EndOf returns when a failed request ended: now, of a content that the check refused. A
// witness that is asked because of the failure is asked after it.
func EndOf(err error) time.Time {
	var failed *api.Error
	if errors.As(err, &failed) && !failed.Ended.IsZero() {
		return failed.Ended
	}
	return time.Now()
}

// KindOf returns the kind of an error of the API.
func KindOf(err error) string {
	var failed *api.Error
	if errors.As(err, &failed) {
		return failed.Kind
	}
	return "internal"
}

// said is what the witness said.
type said int

const (
	silent   said = iota // it was not asked, or the API asked for a pause (429)
	nobody               // nothing is known to be there
	gone                 // no longer: all candidates are absent or forbidden, and a record of another form was served
	answered             // one candidate was served as it is known
	failed               // all candidates failed
	refused              // all candidates failed with 401 or 403
)

// testimony is the last word of the witness of a subject.
type testimony struct {
	asked time.Time
	said  said
	how   string // how a candidate failed
}

// facts are all that a failure is judged by.
type facts struct {
	class     Class
	everyForm bool      // the record is absent under every form
	kept      bool      // it was complete once
	ended     time.Time // when it failed
	witness   testimony // for the subject that failed
	// The rest counts only where nothing is known to be there.
	answered  bool // the run got a good answer of the subject
	otherwise bool // the run saw an outcome other than 401 and 403
	alone     bool // the attachments of no other record failed
}

// verdict is whose fault a failure is.
type verdict int

const (
	waits       verdict = iota // the witness must be asked first
	uncounted                  // it says nothing about the record
	counts                     // it counts against the record
	givenUp                    // the record is given up at once
	credentials                // the API rejects the token or the namespace
)

// judge tells whose fault a failure is. It knows neither the database nor the network nor
// the clock.
func judge(f facts) verdict {
	rejected := f.class == Unauthorized || f.class == Forbidden
	switch {
	case f.class == NoFailure:
		return uncounted
	case f.witness.said == silent, !f.witness.asked.After(f.ended):
		return waits
	case f.witness.said == nobody && f.class == Unauthorized, rejected && f.witness.said == nobody && !f.otherwise:
		return credentials
	case f.witness.said == gone && f.kept && f.class == Absent:
		return givenUp // it is asked once more, then it is missing
	case f.witness.said == gone && f.kept && f.class == Forbidden:
		return counts
	case (f.witness.said == nobody || f.witness.said == gone) && !f.answered && !f.alone:
		return uncounted
	case rejected && (f.witness.said == failed || f.witness.said == refused):
		return credentials
	case f.witness.said == failed, f.witness.said == refused:
		return uncounted
	case f.class == Absent && f.everyForm:
		return givenUp
	}
	return counts
}
