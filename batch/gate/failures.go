package gate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"noggin/api"
	"noggin/storage"
)

const (
	// manyFailures of a subject without an answer between them are judged at once, so
	// that a run does not go through the whole queue with a wrong base_url.
	manyFailures = 10
	// judgeEvery is how often a run looks whether there is something to judge.
	judgeEvery = time.Second / 4
	// mostHeld bounds the failures that are held. Any more stay uncounted.
	mostHeld = 10_000
	// mostUnanswered failures end a run that got no answer where nothing is known to be
	// there.
	mostUnanswered = 500
	// lookEvery is how often a run looks for a witness where there was none.
	lookEvery = 5 * time.Second
)

// Failure is how a record failed. It is held, uncounted, until the witness has spoken.
type Failure struct {
	Key       storage.ClaimKey
	Subject   string // what the request was for: the code of a form, or [storage.SubjectMedia]
	Class     Class
	EveryForm bool // no form has the record
	Kept      bool // the record was complete once and stays so
	Ended     time.Time
}

// failures holds the failures of a run and has them judged.
type failures struct {
	gate *Gate
	wake chan struct{}

	judging sync.Mutex // held from deciding on failures until they are counted

	mu        sync.Mutex
	held      map[string][]Failure // by subject
	answered  map[string]bool      // a good answer of the subject came
	streak    map[string]int       // failures of the subject since the last good answer
	told      map[string]bool      // the log tells of the witness of the subject
	absent    int                  // records that were not found
	refusals  int                  // requests in a row that ended with 401 or 403
	otherwise bool                 // any ended otherwise
	holding   string               // the subject whose witness must speak before other requests go out
	heldAt    time.Time            // when they began to wait
}

func newFailures(g *Gate) *failures {
	return &failures{
		gate: g, wake: make(chan struct{}, 1), held: map[string][]Failure{}, answered: map[string]bool{},
		streak: map[string]int{}, told: map[string]bool{},
	}
}

// see takes note of how a request ended.
func (f *failures) see(ctx context.Context, subject string, o api.Outcome) {
	if o.Class != api.ClassCredentials && o.Class != api.ClassForbidden {
		f.mu.Lock()
		f.refusals, f.otherwise = 0, true
		f.mu.Unlock()
		return
	}
	now := f.gate.witness.wait(subject) == 0
	f.mu.Lock()
	f.refusals++
	// A rejected token must not be sent again and again.
	hold := o.Class == api.ClassCredentials && now || f.refusals >= manyFailures
	f.mu.Unlock()
	if !hold {
		return
	}
	known, err := f.gate.witness.candidates(ctx, subject, nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil && len(known) > 0:
		f.holding, f.heldAt = subject, f.gate.witness.now()
	case o.Class == api.ClassCredentials:
		f.gate.refuse(fmt.Errorf("%w: it answered %d", ErrCredentials, o.Status))
	case !f.otherwise:
		f.gate.refuse(fmt.Errorf("%w: it answered 403 to all of %d requests", ErrCredentials, f.refusals))
	}
}

// holds tells whether requests must wait for the witness.
func (f *failures) holds() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holding != ""
}

// sawAnswer notes a good answer: a record, or an attachment that is whole.
func (f *failures) sawAnswer(subject string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered[subject], f.streak[subject] = true, 0
}

// fewAbsent records are looked for under the other forms although nothing of their form
// was answered yet: more than that are probably the fault of base_url.
const fewAbsent = 3

// mayTryForms tells whether a record that is not found is looked for under other forms.
func (f *failures) mayTryForms(subject string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.absent++
	return len(f.answered) > 0 || f.absent <= fewAbsent || f.gate.witness.last(subject).said == answered
}

// sawAny tells whether any good answer came.
func (f *failures) sawAny() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.answered) > 0
}

// sawOtherwise tells whether any request ended with neither 401 nor 403.
func (f *failures) sawOtherwise() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.otherwise
}

// media tells whether attachments came, and whether the witness said that they do not.
func (f *failures) media() (came, fail bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answered[storage.SubjectMedia], f.told[storage.SubjectMedia]
}

// hold keeps a failure that was written uncounted.
func (f *failures) hold(failed Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streak[failed.Subject]++
	if len(f.held[failed.Subject]) < mostHeld {
		f.held[failed.Subject] = append(f.held[failed.Subject], failed)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// loop has failures judged as they come, until ctx ends.
func (f *failures) loop(ctx context.Context) {
	Every(ctx, judgeEvery, f.wake, func() {
		f.judging.Lock()
		defer f.judging.Unlock()
		for _, subject := range f.subjects() {
			f.judgeBy(ctx, subject, f.gate.witness.last(subject), false) // the circuit may have asked
			if f.urgent(subject) && f.gate.witness.wait(subject) == 0 {
				f.judgeBy(ctx, subject, f.gate.witness.ask(ctx, subject), false)
			}
		}
	})
}

// end has the remaining failures judged. The work on records has ended. Rejected
// credentials are worth waiting for: the witness may have been asked a moment ago.
func (f *failures) end(ctx context.Context) {
	f.judging.Lock() // the run must not end while the loop counts
	defer f.judging.Unlock()
	for _, subject := range f.subjects() {
		f.judgeBy(ctx, subject, f.gate.witness.last(subject), false)
		wait := f.gate.witness.wait(subject)
		if !f.any(subject) || wait > 0 && !f.anyRefused(subject) || Sleep(ctx, wait) != nil {
			continue
		}
		f.judgeBy(ctx, subject, f.gate.witness.ask(ctx, subject), true)
	}
}

// subjects returns those with failures.
func (f *failures) subjects() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	subjects := []string{}
	for subject, held := range f.held {
		if len(held) > 0 || f.holding == subject {
			subjects = append(subjects, subject)
		}
	}
	if f.holding != "" && !slices.Contains(subjects, f.holding) {
		subjects = append(subjects, f.holding)
	}
	slices.Sort(subjects)
	return subjects
}

// any tells whether failures of the subject are held.
func (f *failures) any(subject string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held[subject]) > 0
}

// goodFor tells whether a testimony is good for anything: for the first of the failures,
// or for requests that wait for it.
func (f *failures) goodFor(subject string, t testimony) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.held[subject]
	return len(held) > 0 && t.asked.After(held[0].Ended) || f.holding == subject && t.asked.After(f.heldAt)
}

func (f *failures) anyRefused(subject string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.held[subject], func(x Failure) bool { return x.Class == Unauthorized || x.Class == Forbidden })
}

// anyKept tells whether a held failure is of a record that was complete once.
func (f *failures) anyKept(subject string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.held[subject], func(x Failure) bool { return x.Kept })
}

// urgent tells whether the witness should be asked in mid-run. A single failure can wait:
// one question later vouches for all before it.
func (f *failures) urgent(subject string) bool {
	last, now := f.gate.witness.last(subject), f.gate.witness.now()
	if last.said == nobody && now.Sub(last.asked) < lookEvery {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.held[subject]
	return f.holding == subject || f.streak[subject] >= manyFailures || len(held) == mostHeld ||
		len(held) > 0 && now.Sub(held[0].Ended) >= witnessEvery
}

// judgeBy judges the failures of a subject by what the witness said. Where nothing is
// known to be there, that waits for the end of the run.
func (f *failures) judgeBy(ctx context.Context, subject string, t testimony, ending bool) {
	switch {
	case ctx.Err() != nil || t.said == silent || !f.goodFor(subject, t):
		return
	case t.said == nobody && !ending:
		f.giveUpHope(subject)
		return
	}
	if t.said == nobody && f.anyKept(subject) && f.gate.witness.elsewhere(ctx, subject) {
		t.said = gone // all of them are missing since an earlier day
	}
	counted, rejected, failing := f.decide(subject, t)
	f.count(ctx, f.confirm(ctx, subject, counted))
	if subject == storage.SubjectMedia {
		f.gate.breaker.mediaSpoke(ctx, failing)
	}
	switch {
	case rejected:
		f.gate.refuse(fmt.Errorf("%w: so did the witness for %s fail: %s", ErrCredentials, subject, t.how))
	case t.said == failed || t.said == refused:
		f.tell(ctx, subject, t)
	}
}

// giveUpHope ends a run that only fails, where no witness can tell why.
func (f *failures) giveUpHope(subject string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holding = ""
	if len(f.held[subject]) < mostUnanswered || f.answered[subject] || subject != storage.SubjectMedia && len(f.answered) > 0 {
		return
	}
	what := "answer"
	if subject == storage.SubjectMedia {
		what = "attachment"
	}
	f.gate.refuse(fmt.Errorf("%w: %d records failed and not one %s came; no failure was counted: check [api] base_url, media_service_url and namespace",
		ErrAPIUnavailable, len(f.held[subject]), what))
}

// decide judges the failures that a testimony is good for. The others are held further.
// failing tells that it is not the records that fail.
func (f *failures) decide(subject string, t testimony) (counted []storage.CountedFailure, rejected, failing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holding == subject {
		rejected = t.said == failed || t.said == refused
		f.holding = ""
	}
	if t.said == answered {
		f.refusals, f.streak[subject] = 0, 0
	}
	alone := subject == storage.SubjectMedia && len(f.held[subject]) == 1
	failing = t.said == failed || t.said == refused || t.said == nobody && !f.answered[subject] && !alone
	kept := f.held[subject][:0]
	for _, x := range f.held[subject] {
		switch judge(facts{
			class: x.Class, everyForm: x.EveryForm, kept: x.Kept, ended: x.Ended, witness: t,
			answered: f.answered[subject], otherwise: f.otherwise, alone: alone,
		}) {
		case waits:
			kept = append(kept, x)
		case credentials:
			rejected = true
		case givenUp:
			counted = append(counted, storage.CountedFailure{Tip: x.Key.Tip, Token: x.Key.Token, Final: true, Kept: x.Kept})
		case counts:
			counted = append(counted, storage.CountedFailure{Tip: x.Key.Tip, Token: x.Key.Token, Passing: x.Class != Lasting, Kept: x.Kept})
		}
	}
	f.held[subject] = kept
	return counted, rejected, failing
}

// confirm asks once more for the records that would be given up: the API may have answered
// 404 to everything until just before the witness was asked. A record that is there, or
// that gets no answer, does not count: it is due again.
func (f *failures) confirm(ctx context.Context, subject string, failures []storage.CountedFailure) []storage.CountedFailure {
	drop := make([]bool, len(failures))
	var asking errgroup.Group
	asking.SetLimit(f.gate.run.Concurrency)
	for i, x := range failures {
		if x.Final {
			asking.Go(func() error {
				drop[i] = !f.gate.witness.stillAbsent(ctx, subject, x)
				return nil
			})
		}
	}
	_ = asking.Wait() // no question returns an error
	kept := failures[:0]
	for i, x := range failures {
		if !drop[i] {
			kept = append(kept, x)
		}
	}
	return kept
}

// count counts failures against their records.
func (f *failures) count(ctx context.Context, failures []storage.CountedFailure) {
	finished, err := f.gate.run.DB.CountFailures(ctx, failures, f.gate.run.Backoff)
	if err != nil {
		f.gate.run.Log.Warn("failures could not be counted; their records are due again later", "error", err)
	}
	for _, r := range finished {
		if r.PermanentlyFailed {
			f.gate.run.Log.Warn("the record is permanently failed", "tip", r.Tip, "inspection_id", storage.ValueOf(r.InspectionID), "run_id", f.gate.run.ID)
			f.gate.run.GaveUp()
		}
	}
}

// tell says once in a run that a witness failed. A run that got no answer at all ends.
func (f *failures) tell(ctx context.Context, subject string, t testimony) {
	if f.gate.breaker.cutOff(ctx) {
		return
	}
	what := fmt.Sprintf("records of form %s that were there before are not served (%s): check [api] base_url and namespace; no failure of this form counts meanwhile", subject, t.how)
	if subject == storage.SubjectMedia {
		what = fmt.Sprintf("attachments that were there before are not served (%s): check [api] media_service_url; no failure of attachments counts meanwhile", t.how)
	}
	f.mu.Lock()
	first := !f.told[subject]
	f.told[subject] = true
	f.mu.Unlock()
	if !f.sawAny() {
		f.gate.refuse(fmt.Errorf("%w: %s", ErrAPIUnavailable, what))
	} else if first {
		f.gate.run.Log.Error(what, "run_id", f.gate.run.ID)
	}
}
