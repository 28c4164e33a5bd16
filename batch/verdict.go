package batch

import (
	"errors"
	"fmt"
	"sync"

	"noggin/api"
	"noggin/storage"
)

// ErrAPIUnavailable is wrapped by every error that means that a run ended because
// the API does not answer or the circuit is open: nothing is lost, later runs
// carry on.
var ErrAPIUnavailable = errors.New("the API is unavailable")

// ErrCredentials is wrapped by the error of a run that ended because the API
// rejected the token or the namespace.
var ErrCredentials = errors.New("the API rejected the credentials")

// forbiddenLimit is how many 403s, with nothing else seen, end a run before it has
// asked for every record.
const forbiddenLimit = 10

// deferredLimit is how many failures a run collects while nothing at all was
// answered before it ends: a wrong base_url shall not walk through the queue.
const deferredLimit = 500

// verdict judges which failures count against their records. A failure counts only
// when the API was otherwise answering in this run: at least one 200 of that object
// type. What fails before that is known is kept and judged at the end.
type verdict struct {
	refuse func(error) // ends the run, and its requests

	mu        sync.Mutex
	answered  map[string]bool // by object type
	waiting   map[string][]storage.Result
	other     bool // an outcome that is no 403 was seen
	forbidden int
	mediaOK   bool
	mediaOnly []storage.Result // failed for their attachments while no media came at all
}

func newVerdict(refuse func(error)) *verdict {
	return &verdict{refuse: refuse, answered: map[string]bool{}, waiting: map[string][]storage.Result{}}
}

// see takes note of a request's outcome.
func (v *verdict) see(o api.Outcome) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch o.Class {
	case api.ClassCredentials:
		v.refuse(fmt.Errorf("%w: it answered %d", ErrCredentials, o.Status))
	case api.ClassForbidden:
		if v.forbidden++; v.forbidden >= forbiddenLimit && !v.other {
			v.refuse(fmt.Errorf("%w: it answered 403 to all of %d requests", ErrCredentials, v.forbidden))
		}
	default:
		v.other = true
		if o.Class == api.ClassOK && o.Media {
			v.mediaOK = true
		}
	}
}

// answeredFor notes that a record of the object type was answered with 200.
func (v *verdict) answeredFor(objectType string) {
	v.mu.Lock()
	v.answered[objectType] = true
	v.mu.Unlock()
}

// counts tells whether a failure counts at once. One that does not may be handed
// to hold, to be judged at the end.
func (v *verdict) counts(objectType string, media bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if media {
		return v.mediaOK
	}
	return v.answered[objectType]
}

// hold keeps a failure that was written uncounted.
func (v *verdict) hold(objectType string, media bool, r storage.Result) {
	r.Downloads, r.Failures = nil, nil
	v.mu.Lock()
	defer v.mu.Unlock()
	held, what := v.waiting[objectType], "record"
	if media {
		held, what = v.mediaOnly, "photograph"
	}
	if len(held) == deferredLimit {
		return // uncounted it stays
	}
	held = append(held, r)
	if media {
		v.mediaOnly = held
	} else {
		v.waiting[objectType] = held
	}
	if len(held) == deferredLimit && (media || len(v.answered) == 0) {
		v.refuse(fmt.Errorf("%w: not one request for a %s was answered, for %d records; nothing was counted against them: check [api] base_url, media_service_url and namespace",
			ErrAPIUnavailable, what, deferredLimit))
	}
}

// due returns the held failures that count after all.
func (v *verdict) due() []storage.Result {
	v.mu.Lock()
	defer v.mu.Unlock()
	var counted []storage.Result
	for objectType, results := range v.waiting {
		if v.answered[objectType] {
			counted = append(counted, results...)
		}
	}
	// One record whose photographs all fail is that record's trouble; several,
	// with not a single photograph answered, are the media service's.
	if v.mediaOK || len(v.mediaOnly) == 1 {
		counted = append(counted, v.mediaOnly...)
	}
	return counted
}

// onlyForbidden reports whether the run saw nothing but 403s.
func (v *verdict) onlyForbidden() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.forbidden > 0 && !v.other
}
