package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"noggin/api"
	"noggin/storage"
)

// flushEvery is how often a run writes how its requests ended and reads what other runs
// wrote.
const flushEvery = time.Second / 4

// ticket is carried by the context of the work on a record: what its requests are for.
type ticket struct {
	form  string
	fresh bool // the record has not failed before
	voted atomic.Bool
}

type ticketKey struct{}

// WithTicket returns the context of requests for a record of a form. fresh says that the
// record has not failed before.
func WithTicket(ctx context.Context, form string, fresh bool) context.Context {
	return context.WithValue(ctx, ticketKey{}, &ticket{form: form, fresh: fresh})
}

func ticketOf(ctx context.Context) *ticket {
	if t, ok := ctx.Value(ticketKey{}).(*ticket); ok {
		return t
	}
	return &ticket{}
}

// subject returns what a request is for.
func (t *ticket) subject(media bool) string {
	if media {
		return storage.SubjectMedia
	}
	return t.form
}

// breaker is a run's view of the circuit, which is in the database.
type breaker struct {
	gate *Gate
	cfg  Circuit
	stop func(error) // ends the run and its requests

	mu      sync.Mutex
	row     storage.Circuit
	since   time.Time            // when this run first saw the row's generation
	ended   []requestEnded       // since the last flush
	failing map[string]int       // requests that failed, by subject, since the witness was answered
	streak  int                  // requests in a row that failed
	okAt    map[string]time.Time // when the last request that did not fail ended, by subject
	muted   bool                 // the network of this host is broken: it has no vote
	silent  bool                 // the run ends: it asks no more
	leased  time.Time            // the end of the last lease of the question
	asking  sync.WaitGroup
	flushMu sync.Mutex
	wake    chan struct{}
}

func newBreaker(g *Gate, standing storage.Standing) *breaker {
	row := standing.Circuit
	row.PausedUntil, row.QuestionUntil = onOurClock(row.PausedUntil, standing.Now), onOurClock(row.QuestionUntil, standing.Now)
	return &breaker{gate: g, cfg: g.run.Circuit, row: row, since: time.Now(), failing: map[string]int{}, okAt: map[string]time.Time{}, stop: g.refuse, wake: make(chan struct{}, 1)}
}

// state returns the circuit as this run last saw it.
func (b *breaker) state() storage.Circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row
}

// holds tells whether requests of a closed circuit wait for the witness: the last one
// failed while it is asked, or so many failed in a row that it must be asked. The next
// flush asks again after a run that died.
func (b *breaker) holds() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.streak >= b.cfg.SampleSize || b.streak > 0 && b.row.QuestionUntil != nil
}

// asker says how this run may change the circuit.
func (b *breaker) asker() asker {
	b.mu.Lock()
	subject, most := b.gate.run.DefaultObjectType, 0
	for name, n := range b.failing {
		if n > most || n == most && name < subject {
			subject, most = name, n
		}
	}
	if b.row.State != storage.CircuitClosed && b.row.Subject != "" {
		subject = b.row.Subject
	}
	silent, okAt := b.silent, b.okAt[subject]
	probing := b.row.State == storage.CircuitHalfOpen && b.row.Probing == storage.ProbingNew
	b.mu.Unlock()
	last := b.gate.witness.last(subject)
	// It was asked a moment ago, for a record, and nothing came since: that is an answer.
	known := last.said == failed && last.asked.After(okAt)
	// It was answered while the circuit was half-open, and new records were left. If none can
	// send a probe any more, its answer decides.
	known = known || probing && last.said == answered
	return asker{b.gate.run.ID, b.gate.run.DB.Host(), subject, !silent && (known || b.gate.witness.wait(subject) == 0)}
}

// admit tells whether a request may go out. A closed circuit lets all through that do not
// wait for the witness, a half-open one as many as it has probes. Without a probe the
// request waits and asks again.
func (b *breaker) admit(ctx context.Context) (granted bool, err error) {
	fresh := ticketOf(ctx).fresh
	switch row := b.state(); {
	case row.State == storage.CircuitClosed:
		return !b.holds(), nil
	case row.State == storage.CircuitHalfOpen && (row.Probing == "" || row.Probing == storage.ProbingNew && !fresh):
		return false, nil // the next flush looks for more
	}
	row, err := b.change(ctx, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		s, transitions := b.cfg.step(s, now)
		s, granted = b.cfg.lease(s, now, fresh)
		return s, transitions
	})
	if err == nil && row.State == storage.CircuitOpen {
		err = b.openError(row)
		b.stop(err)
	}
	return err == nil && (granted || row.State == storage.CircuitClosed), err
}

func (b *breaker) openError(row storage.Circuit) error {
	e := &CircuitOpenError{}
	if row.OpenUntil != nil {
		e.Until = *row.OpenUntil
	}
	return e
}

// observe notes how a request ended. One that we ended ourselves says nothing of the API.
// A failure is written at once, and so is every probe of a half-open circuit, as other
// requests wait for it. Anything else waits for the next flush.
func (b *breaker) observe(ctx context.Context, o api.Outcome) {
	t := ticketOf(ctx)
	b.mu.Lock()
	r := requestEnded{generation: b.row.Generation, failed: o.Unavailable(), unused: o.Neutral()}
	if o.Duration > time.Since(b.since) {
		r.generation-- // admitted under an earlier state
	}
	r.first = !r.unused && t.fresh && t.voted.CompareAndSwap(false, true)
	switch {
	case r.unused:
	case r.failed:
		b.failing[t.subject(o.Media)]++
		b.streak++
	default:
		b.streak = 0
		b.okAt[t.subject(o.Media)] = time.Now()
	}
	b.ended = append(b.ended, r)
	soon := r.failed || b.row.State == storage.CircuitHalfOpen
	b.mu.Unlock()
	if soon {
		b.wakeUp()
	}
}

func (b *breaker) wakeUp() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// loop flushes at intervals, and when observe wakes it, until ctx ends.
func (b *breaker) loop(ctx context.Context) {
	Every(ctx, flushEvery, b.wake, func() {
		if err := b.flush(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrUnavailable) {
			b.stop(err)
		}
	})
}

// flush writes how requests ended since the last flush and reads the circuit.
func (b *breaker) flush(ctx context.Context) error {
	b.flushMu.Lock()
	defer b.flushMu.Unlock()
	b.mu.Lock()
	ended := b.ended
	b.ended = nil
	if b.muted {
		ended = nil
	}
	waiting := b.row.State != storage.CircuitClosed
	b.mu.Unlock()
	if len(ended) == 0 && !waiting && !b.holds() {
		s, err := b.gate.run.Standing(ctx)
		if err == nil {
			b.see(s.Circuit, s.Now)
		}
		return err
	}
	by := b.asker()
	row, err := b.change(ctx, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		s, transitions := b.cfg.observe(s, ended, now, by)
		return b.cfg.question(s, now, by), transitions
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil: // the next flush writes them
		b.ended = append(ended, b.ended...)
	case row.State == storage.CircuitClosed && !b.cfg.suspicious(row):
		b.streak = min(b.streak, len(b.ended)) // other runs are answered, or the witness was
	}
	return err
}

func (b *breaker) change(ctx context.Context, step func(storage.Circuit, time.Time) (storage.Circuit, []storage.Transition)) (storage.Circuit, error) {
	row, now, err := b.gate.run.DB.StepCircuit(ctx, b.gate.run.ID, step)
	if err != nil {
		return row, err
	}
	b.see(row, now)
	if row.QuestionRun != nil && *row.QuestionRun == b.gate.run.ID && row.QuestionUntil != nil {
		b.mu.Lock()
		mine := !b.leased.Equal(*row.QuestionUntil)
		b.leased = *row.QuestionUntil
		b.mu.Unlock()
		if mine {
			by := b.asker()
			b.asking.Go(func() { b.ask(ctx, row, by) })
		}
	}
	return row, nil
}

// ask asks the witness for the circuit and reports what it said.
func (b *breaker) ask(ctx context.Context, row storage.Circuit, by asker) {
	r := report{generation: row.Generation, subject: by.subject, testimony: b.gate.witness.ask(ctx, by.subject)}
	if r.testimony.said == gone { // a record of another form was served
		r.testimony.said = answered
	}
	if row.State == storage.CircuitHalfOpen && r.testimony.said == answered {
		fresh, err := b.gate.run.FreshLeft(ctx, b.cfg.SampleSize)
		if err != nil {
			r.testimony.said = silent
		}
		r.fresh = fresh
	}
	if ctx.Err() != nil { // the run ends: another may ask
		r.testimony.said = silent
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	cutOff := false
	_, err := b.change(late, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		var transitions []storage.Transition
		s, transitions, cutOff = b.cfg.testify(s, r, now, by)
		return s, transitions
	})
	if by.subject == storage.SubjectMedia && r.testimony.said != silent && r.testimony.said != nobody {
		b.mediaSpoke(late, r.testimony.said != answered)
	}
	switch {
	case err != nil:
		b.gate.run.Log.Warn("what the witness said could not be recorded for the circuit", "run_id", b.gate.run.ID, "error", err)
	case cutOff:
		b.mute(late)
	case r.testimony.said == answered || r.testimony.said == refused:
		b.mu.Lock()
		b.streak, b.failing = 0, map[string]int{}
		b.mu.Unlock()
	}
}

// stopAsking ends the questions of the run, as no request waits for them any more.
func (b *breaker) stopAsking() {
	b.mu.Lock()
	b.silent = true
	b.mu.Unlock()
	b.asking.Wait()
}

// cutOff ends the run if other hosts are answered, and tells whether they are.
func (b *breaker) cutOff(ctx context.Context) bool {
	s, err := b.gate.run.DB.Standing(ctx)
	if err != nil || !answersOthers(s.Circuit, s.Now, b.gate.run.DB.Host()) {
		return false
	}
	b.mute(ctx)
	return true
}

// mute ends the run: its host is cut off from the API. The failures that it wrote before
// this was known are taken back.
func (b *breaker) mute(ctx context.Context) {
	b.mu.Lock()
	b.muted = true
	b.mu.Unlock()
	b.flushMu.Lock() // what a flush has in hand is written first
	_, err := b.change(ctx, func(s storage.Circuit, _ time.Time) (storage.Circuit, []storage.Transition) {
		s.Recent = ""
		return s, nil
	})
	b.flushMu.Unlock()
	if err != nil {
		b.gate.run.Log.Warn("the failures of a host without network stay in the circuit", "run_id", b.gate.run.ID, "error", err)
	}
	b.stop(fmt.Errorf("%w from this host (%s), although another host is answered: check the network of this host", ErrAPIUnavailable, b.gate.run.DB.Host()))
}

// mediaSpoke keeps for the reports since when attachments fail.
func (b *breaker) mediaSpoke(ctx context.Context, failing bool) {
	if (b.state().MediaFailingSince != nil) == failing {
		return
	}
	_, err := b.change(ctx, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		if !failing {
			s.MediaFailingSince = nil
		} else if s.MediaFailingSince == nil {
			s.MediaFailingSince = &now
		}
		return s, nil
	})
	if err != nil {
		b.gate.run.Log.Warn("what the witness for media said could not be recorded", "run_id", b.gate.run.ID, "error", err)
	}
}

// see keeps the circuit as the database gave it, unless a newer state is known already.
func (b *breaker) see(row storage.Circuit, now time.Time) {
	row.PausedUntil, row.QuestionUntil = onOurClock(row.PausedUntil, now), onOurClock(row.QuestionUntil, now)
	b.mu.Lock()
	changed := row.Generation > b.row.Generation
	if changed {
		b.since = time.Now()
		b.streak, b.failing = 0, map[string]int{}
	}
	if row.Generation >= b.row.Generation {
		b.row = row
	}
	b.mu.Unlock()
	if row.State == storage.CircuitOpen && changed {
		b.stop(b.openError(row))
	}
}

// onOurClock converts a time of the server's clock, which shows now, to this host's clock.
func onOurClock(t *time.Time, now time.Time) *time.Time {
	if t == nil {
		return nil
	}
	ours := time.Now().Add(t.Sub(now))
	return &ours
}

// CircuitReset is the circuit as it was before it was reset.
type CircuitReset struct {
	Before      storage.CircuitState `json:"state_before"`
	FailureRate float64              `json:"failure_rate_percent"` // of the recent requests
	PausedUntil *time.Time           `json:"requests_paused_until"`
}

// ResetCircuit closes the circuit and forgets the recent requests. A pause that a 429
// asked for stays.
func ResetCircuit(ctx context.Context, db *storage.DB, run int64, reason string) (CircuitReset, error) {
	var r CircuitReset
	_, now, err := db.StepCircuit(ctx, run, func(s storage.Circuit, _ time.Time) (storage.Circuit, []storage.Transition) {
		r = CircuitReset{Before: s.State, FailureRate: failureRate(s), PausedUntil: s.PausedUntil}
		return resetCircuit(s, reason)
	})
	if r.PausedUntil != nil && !r.PausedUntil.After(now) {
		r.PausedUntil = nil
	}
	return r, err
}
