package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"noggin/api"
	"noggin/batch/forms"
	"noggin/storage"
)

const (
	witnessEvery = 30 * time.Second // the witness of a subject is not asked more often
	witnessTime  = 10 * time.Second // for one request
	// mostPages is how many times one question asks three candidates, at most.
	mostPages = 4
)

// witness asks for what is known to be there: records that were complete, attachments
// whose content is known. Its requests have a place of their own. They keep to pauses and
// the rate limit, but the circuit does not hold them: they decide about it.
type witness struct {
	gate   *Gate
	client *api.Client // without gate and repetition
	now    func() time.Time

	mu       sync.Mutex
	subjects map[string]*subject
}

// subject is what there is one witness for: the code of a form, or [storage.SubjectMedia].
type subject struct {
	asking sync.Mutex // one question at a time

	mu      sync.Mutex
	last    testimony
	retired []string // candidates that are not what they were
	gone    []string // the records of those, until the API is known to have answered
}

// candidate is something that is known to be there.
type candidate struct {
	key    string // of the record or the attachment
	record string // its tip
	ask    func(ctx context.Context) error
}

// errOtherContent says that an attachment is whole, but not the one that is known.
var errOtherContent = errors.New("it has other content than before")

func newWitness(g *Gate, client api.Config) (*witness, error) {
	client.MaxRetries, client.Timeout = 0, min(client.Timeout, witnessTime)
	client.UserAgent += " witness" // it may ask for a record that another run works on
	c, err := api.New(client, nil)
	return &witness{gate: g, client: c, now: time.Now, subjects: map[string]*subject{}}, err
}

func (w *witness) subject(name string) *subject {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.subjects[name]
	if s == nil {
		s = &subject{}
		w.subjects[name] = s
	}
	return s
}

// last returns what the witness said last.
func (w *witness) last(name string) testimony {
	s := w.subject(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// wait returns how long the witness may not be asked yet.
func (w *witness) wait(name string) time.Duration {
	s := w.subject(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.asked.IsZero() || s.last.said == nobody { // no request was sent
		return 0
	}
	return max(0, witnessEvery-w.now().Sub(s.last.asked))
}

// ask asks the witness, unless it was asked a short time ago, and returns what it said
// last.
func (w *witness) ask(ctx context.Context, name string) testimony {
	s := w.subject(name)
	s.asking.Lock()
	defer s.asking.Unlock()
	if w.wait(name) > 0 {
		return w.last(name)
	}
	t := testimony{asked: w.now()}
	t.said, t.how = w.question(ctx, name, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = t
	return t
}

// question asks one candidate after the other until one is as it is known. In the place of
// those that are no longer what they were, it asks the next ones.
func (w *witness) question(ctx context.Context, name string, s *subject) (said, string) {
	how, onlyRefused, changed := "", true, 0 // changed: the retired ones that this question asked
	for range mostPages {
		candidates, err := w.candidates(ctx, name, s.retired)
		switch {
		case err != nil:
			w.gate.run.Log.Warn("the witness could not be asked", "subject", name, "run_id", w.gate.run.ID, "error", err)
			return silent, ""
		case len(candidates) == 0 && len(s.retired) == 0:
			return nobody, ""
		case len(candidates) == 0 && changed < len(s.retired):
			s.retired, changed = nil, 0 // those of an earlier question may be there again
			continue
		case len(candidates) == 0 && name != storage.SubjectMedia && w.elsewhere(ctx, name):
			w.lookAgain(ctx, s)
			return gone, ""
		}
		left := len(candidates)
		for _, c := range candidates {
			err := w.try(ctx, c)
			var failure *api.Error
			is := errors.As(err, &failure)
			switch {
			case err == nil:
				w.lookAgain(ctx, s)
				return answered, ""
			case ctx.Err() != nil, !is && !errors.Is(err, errOtherContent) && !errors.Is(err, errNotWhole):
				return silent, ""
			case is && (failure.Class == api.ClassRateLimited || failure.Class == api.ClassOwn):
				return silent, ""
			}
			how, onlyRefused = err.Error(), onlyRefused && is && (failure.Status == http.StatusUnauthorized || failure.Status == http.StatusForbidden)
			if errors.Is(err, errOtherContent) || is && slices.Contains(changedStatuses, failure.Status) {
				s.retired, s.gone, changed, left = append(s.retired, c.key), append(s.gone, c.record), changed+1, left-1
			}
		}
		if left > 0 || len(candidates) == 0 {
			break
		}
	}
	if onlyRefused {
		return refused, how
	}
	return failed, how
}

// changedStatuses say that a candidate is no longer what it was.
var changedStatuses = []int{http.StatusNotFound, http.StatusGone, http.StatusForbidden}

// elsewhere tells whether a record of another form is served as it is known.
func (w *witness) elsewhere(ctx context.Context, name string) bool {
	for _, other := range w.gate.run.Types.All() {
		if other.Code == name {
			continue
		}
		known, _ := w.candidates(ctx, other.Code, nil) // without the database no failure counts
		if slices.ContainsFunc(known, func(c candidate) bool { return w.try(ctx, c) == nil }) {
			return true
		}
	}
	return false
}

// try sends the request for one candidate.
func (w *witness) try(ctx context.Context, c candidate) error {
	if err := w.gate.turn(ctx, false); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	err := c.ask(limited)
	w.gate.run.Requested()
	var failure *api.Error
	if errors.As(err, &failure) && failure.Class == api.ClassRateLimited {
		w.gate.pause(ctx, failure.RetryAfter)
	}
	return err
}

// lookAgain makes due the records of candidates that are no longer what they were: the
// API answers, so it is they that changed.
func (w *witness) lookAgain(ctx context.Context, s *subject) {
	if len(s.gone) == 0 {
		return
	}
	if err := w.gate.run.DB.LookAgain(ctx, s.gone); err != nil {
		w.gate.run.Log.Warn("records that are no longer at the platform could not be made due", "error", err)
		return
	}
	s.gone = nil
}

// candidates returns what is known to be there and not retired.
func (w *witness) candidates(ctx context.Context, name string, retired []string) ([]candidate, error) {
	if name == storage.SubjectMedia {
		return w.attachments(ctx, retired)
	}
	form, ok := w.gate.run.Types.ByCode(name)
	if !ok {
		return nil, fmt.Errorf("object type %q is not configured", name)
	}
	tips, err := w.gate.run.DB.KnownRecords(ctx, name, retired)
	known := make([]candidate, len(tips))
	for i, tip := range tips {
		known[i] = w.record(form, tip)
	}
	return known, err
}

func (w *witness) record(form forms.ObjectType, tip string) candidate {
	return candidate{tip, tip, func(ctx context.Context) error {
		_, err := w.client.Record(ctx, form.APIName, tip)
		return err
	}}
}

// stillAbsent asks once more for a record that the API did not find: under every form, or
// under its own, which is certain if the record was complete once.
func (w *witness) stillAbsent(ctx context.Context, code string, x storage.CountedFailure) bool {
	return !slices.ContainsFunc(w.gate.run.Types.All(), func(form forms.ObjectType) bool {
		return (form.Code == code || !x.Kept) && ClassOf(w.try(ctx, w.record(form, x.Tip))) != Absent
	})
}

func (w *witness) attachments(ctx context.Context, retired []string) (known []candidate, err error) {
	attachments, err := w.gate.run.DB.KnownAttachments(ctx, retired)
	for _, a := range attachments {
		form, ok := w.gate.run.Types.ByCode(a.ObjectType)
		if !ok {
			continue
		}
		record, err := forms.ParseRecord(form, a.Payload)
		if err != nil {
			continue
		}
		for _, ref := range record.Attachments {
			if ref.Tip == a.Tip {
				known = append(known, candidate{a.Tip, a.RecordTip, func(ctx context.Context) error { return w.sameFile(ctx, ref, a.SHA256) }})
			}
		}
	}
	return known, err
}

// errNotWhole says that an attachment came, but damaged or as another thing altogether.
var errNotWhole = errors.New("the attachment is not whole")

// sameFile fetches an attachment and compares its content.
func (w *witness) sameFile(ctx context.Context, ref forms.AttachmentRef, known string) error {
	sum, flaw, err := w.gate.run.Receive(ctx, w.client, ref)
	switch {
	case err != nil:
		return err
	case sum == strings.ToLower(known):
		return nil
	case flaw != "":
		return fmt.Errorf("%w: %s", errNotWhole, flaw)
	}
	return errOtherContent
}
