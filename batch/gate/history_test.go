package gate

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"noggin/storage"
)

var histories = flag.Int("histories", 60, "seeded histories of the circuit and the judge")

// A history is some hours in the life of a mirror, with a clock of its own: runs of
// several hosts share the circuit, a queue and an API whose records and media service
// fail at times, as a whole or for one host. Some records never succeed. The runs decide
// by the same functions as real ones, over a row in memory instead of the database's.
type history struct {
	t    *testing.T
	seed uint64
	cfg  Circuit
	back storage.Backoff

	outages []outage
	empty   bool // nothing is known to be there before the first record is complete

	mu       sync.Mutex // never held while time passes
	row      storage.Circuit
	records  []*entry
	moves    []string
	complete int
}

// outage is a time in which requests for a subject fail; on all hosts, or on one.
type outage struct {
	subject    string
	host       string // "" on all
	begin, end time.Time
	class      Class
}

// entry is a record in the queue.
type entry struct {
	name    int
	subject string // what always fails for it
	always  Class  // how; NoFailure of a healthy record
	claimed int64  // by a run
	token   int64  // of the last claim
	done    bool
	givenUp bool
	failed  time.Time // first
	retries int
	due     time.Time
	first   time.Time // when it first counted
}

const form = "LCD"

func newHistory(t *testing.T, seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 22))
	h := &history{
		t: t, seed: seed, cfg: DefaultCircuit(), empty: r.IntN(5) == 0,
		back: storage.Backoff{Multiplier: 2, MaxAttempts: 5, GiveUpAfter: 24 * time.Hour},
		row:  storage.Circuit{State: storage.CircuitClosed},
	}
	h.cfg.SampleSize = 4 + r.IntN(20)
	begin := time.Now()
	for range r.IntN(6) {
		begin = begin.Add(time.Duration(r.Int64N(int64(20 * time.Minute))))
		longest := []time.Duration{time.Minute, 40 * time.Minute}[r.IntN(2)]
		o := outage{
			subject: []string{form, storage.SubjectMedia, ""}[r.IntN(3)], begin: begin,
			end: begin.Add(time.Duration(r.Int64N(int64(longest)))), class: Passing,
		}
		if r.IntN(4) == 0 {
			o.host = "a"
		}
		if r.IntN(2) == 0 { // an expired right or a wrong path
			o.class = []Class{Forbidden, Absent}[r.IntN(2)]
		}
		h.outages = append(h.outages, o)
		begin = o.end
	}
	for i := range 40 + r.IntN(120) {
		e := &entry{name: i, due: time.Now().Add(time.Duration(r.Int64N(int64(time.Hour))))}
		if r.IntN(12) == 0 {
			e.subject, e.always = []string{form, storage.SubjectMedia}[r.IntN(2)], []Class{Passing, Absent, Lasting, Forbidden}[r.IntN(4)]
		}
		h.records = append(h.records, e)
	}
	return h
}

// serves returns how a request of a host for a subject ends now.
func (h *history) serves(host, subject string, at time.Time) Class {
	for _, o := range h.outages {
		if (o.subject == "" || o.subject == subject) && (o.host == "" || o.host == host) && !at.Before(o.begin) && at.Before(o.end) {
			return ofSubject(o.class, subject)
		}
	}
	return NoFailure
}

// ofSubject returns how a run takes a failure: a record is there whose attachment is not.
func ofSubject(c Class, subject string) Class {
	if c == Absent && subject == storage.SubjectMedia {
		return Lasting
	}
	return c
}

// change changes the circuit as the database's row is changed, and looks whether it may
// have become what it is.
func (h *history) change(step func(storage.Circuit, time.Time) (storage.Circuit, []storage.Transition)) storage.Circuit {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, now := h.row, time.Now()
	after, moves := step(before, now)
	wrong := func(format string, args ...any) {
		h.t.Errorf("seed %d: %s: %s\n%+v\n%+v", h.seed, now.Format(time.TimeOnly), fmt.Sprintf(format, args...), before, after)
	}
	state := before.State
	for _, m := range moves {
		if m.From != state || m.To == m.From {
			wrong("it moves from %s to %s", m.From, m.To)
		}
		state = m.To
		h.moves = append(h.moves, fmt.Sprintf("%s %s: %s", now.Format(time.TimeOnly), m.To, m.Reason))
	}
	if state != after.State || after.Generation != before.Generation+int64(len(moves)) {
		wrong("%d moves", len(moves))
	}
	open, halfOpen := after.State == storage.CircuitOpen, after.State == storage.CircuitHalfOpen
	switch {
	case open != (after.OpenUntil != nil), open && after.OpenUntil.Sub(now) > h.cfg.OpenDuration:
		wrong("it is open until %v", after.OpenUntil)
	case halfOpen && before.State != storage.CircuitHalfOpen && after.Probing != "":
		wrong("it probes before the witness was asked")
	case after.ProbesLeased < 0 || halfOpen && after.ProbesLeased < len(after.Recent) || after.ProbesLeased > h.cfg.SampleSize || after.ProbesLeased > 0 && !halfOpen:
		wrong("%d probes", after.ProbesLeased)
	case len(after.Recent) > h.cfg.SampleSize || len(after.FirstOutcomes) > h.cfg.SampleSize*firstOutcomesPerSample:
		wrong("a ring overflows")
	case after.QuestionUntil != nil && after.QuestionUntil.Sub(now) > questionLease, (after.QuestionRun == nil) != (after.QuestionUntil == nil):
		wrong("the question is leased until %v", after.QuestionUntil)
	case after.TotalRequests < before.TotalRequests:
		wrong("the totals went down")
	}
	h.row = after
	return after
}

// claim takes a record that is due for a run; nil when there is none.
func (h *history) claim(run int64) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	due := slices.DeleteFunc(slices.Clone(h.records), func(e *entry) bool {
		return e.claimed != 0 || e.done || e.givenUp || e.due.After(time.Now())
	})
	if len(due) == 0 {
		return nil
	}
	e := slices.MinFunc(due, func(a, b *entry) int { return cmp.Or(a.due.Compare(b.due), a.name-b.name) })
	e.claimed = run
	e.token++
	return e
}

// release frees what a run claimed and did not end.
func (h *history) release(run int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.records {
		if e.claimed == run {
			e.claimed = 0
		}
	}
}

func (h *history) free(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.claimed = 0
}

// fail writes a failure, uncounted.
func (h *history) fail(e *entry, r *rand.Rand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.failed.IsZero() {
		e.failed = time.Now()
	}
	wait := max(min(time.Minute<<min(e.retries, 6), time.Hour), min(time.Since(e.failed)/10, time.Hour))
	e.due = time.Now().Add(time.Duration(float64(wait) * (0.9 + 0.2*r.Float64())))
	e.claimed = 0
}

// left counts the records that are due and have not failed before.
func (h *history) left() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.records {
		if e.failed.IsZero() && !e.done && e.claimed == 0 && !e.due.After(time.Now()) {
			n++
		}
	}
	return n
}

// count counts a failure against a record. A healthy one counts at most once for each
// outage, as a witness is asked after it. It is never given up.
func (h *history) count(f failedEntry, v verdict, witness testimony) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := f.entry
	if !witness.asked.After(f.ended) {
		h.t.Errorf("seed %d: record %d counts by a witness that was asked before it failed", h.seed, e.name)
	}
	if e.token != f.token {
		return // it was asked again since
	}
	e.retries++
	e.token++
	if e.first.IsZero() {
		e.first = time.Now()
	}
	final := f.class == Absent || f.class == Lasting
	e.givenUp = v == givenUp || e.retries >= h.back.MaxAttempts && (final || time.Since(e.first) >= h.back.GiveUpAfter)
	if e.always == NoFailure && e.retries > len(h.outages) && !h.empty {
		h.t.Errorf("seed %d: the healthy record %d counts %d times", h.seed, e.name, e.retries)
	}
	if e.always == NoFailure && e.givenUp {
		h.t.Errorf("seed %d: record %d is given up, which the platform would have served: %+v", h.seed, e.name, h.outages)
	}
}

// failedEntry is a failure that a run holds until the witness has spoken.
type failedEntry struct {
	entry   *entry
	subject string
	class   Class
	token   int64 // of the claim under which it failed
	ended   time.Time
}

// simRun is a run: workers, the flushes of its breaker, and its judge.
type simRun struct {
	h    *history
	host string
	id   int64
	r    *rand.Rand

	mu      sync.Mutex // never held while time passes
	row     storage.Circuit
	ended   []requestEnded
	streak  int
	okAt    map[string]time.Time // when the last request of a subject was answered
	failing map[string]int
	said    map[string]testimony
	held    []failedEntry
	stopped bool
	leased  time.Time
	hands   [3]*entry // one a worker

	dies    bool          // it is killed in its middle
	witness chan struct{} // one question at a time
	asking  sync.WaitGroup
}

func (h *history) run(host string, id int64) {
	s := &simRun{
		h: h, host: host, id: id, r: rand.New(rand.NewPCG(h.seed, uint64(id))), okAt: map[string]time.Time{}, failing: map[string]int{}, said: map[string]testimony{},
		witness: make(chan struct{}, 1),
	}
	if row := s.change(h.cfg.step); row.State == storage.CircuitOpen {
		return
	}
	done := make(chan struct{})
	var loops, workers sync.WaitGroup
	loops.Go(func() { // the flushes and the judge
		for {
			select {
			case <-done:
				return
			case <-time.After(flushEvery):
			}
			s.flush()
			s.judge(false)
		}
	})
	s.dies = s.r.IntN(15) == 0
	for w := range s.hands {
		r := rand.New(rand.NewPCG(h.seed, uint64(id)*10+uint64(w)))
		workers.Go(func() {
			time.Sleep(time.Duration(w) * time.Millisecond)
			for e := h.claim(id); e != nil && !s.isStopped(); e = h.claim(id) {
				if s.dies && r.IntN(10) == 0 {
					s.stop()
					return // killed: the claim is free again when its lease ends
				}
				s.hold(w, e)
				s.work(e, r)
				s.hold(w, nil)
			}
		})
	}
	workers.Wait()
	if !s.dies {
		s.flush()
		s.asking.Wait()
		s.judge(true)
	}
	close(done)
	loops.Wait()
	s.asking.Wait()
	if s.dies {
		time.Sleep(10 * time.Minute) // the lease
	}
	h.release(id)
}

func (s *simRun) hold(worker int, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hands[worker] = e
}

// freshLeft counts the records that have not failed before and that the run has in hand or
// may still claim.
func (s *simRun) freshLeft() (fresh int) {
	n := s.h.left()
	s.mu.Lock()
	defer s.mu.Unlock()
	failing := 0
	for _, e := range s.hands {
		switch {
		case e == nil:
		case e.failed.IsZero():
			fresh++
		default:
			failing++
		}
	}
	if failing == len(s.hands) {
		return 0
	}
	return fresh + n
}

func (s *simRun) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

func (s *simRun) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// change changes the circuit, and asks the witness when this run got the question.
func (s *simRun) change(step func(storage.Circuit, time.Time) (storage.Circuit, []storage.Transition)) storage.Circuit {
	row := s.h.change(step)
	s.mu.Lock()
	if row.Generation > s.row.Generation {
		s.streak, s.failing = 0, map[string]int{}
	}
	s.row = row
	if row.State == storage.CircuitOpen {
		s.stopped = true
	}
	ask := !s.stopped && row.QuestionRun != nil && *row.QuestionRun == s.id && !s.leased.Equal(*row.QuestionUntil)
	if ask {
		s.leased = *row.QuestionUntil
	}
	s.mu.Unlock()
	if ask {
		by := s.asker()
		s.asking.Go(func() { s.testify(row, by) })
	}
	return row
}

func (s *simRun) asker() asker {
	s.mu.Lock()
	defer s.mu.Unlock()
	subject := form
	if s.failing[storage.SubjectMedia] > s.failing[form] {
		subject = storage.SubjectMedia
	}
	if s.row.State != storage.CircuitClosed && s.row.Subject != "" {
		subject = s.row.Subject
	}
	last := s.said[subject]
	may := last.said == failed && last.asked.After(s.okAt[subject]) || last.said == nobody || time.Since(last.asked) >= witnessEvery
	return asker{s.id, s.host, subject, may && !s.stopped}
}

func (s *simRun) testify(row storage.Circuit, by asker) {
	r := report{generation: row.Generation, subject: by.subject, testimony: s.ask(by.subject), fresh: s.freshLeft()}
	if s.dies && s.isStopped() {
		return
	}
	cutOff := false
	s.change(func(c storage.Circuit, now time.Time) (next storage.Circuit, moves []storage.Transition) {
		next, moves, cutOff = s.h.cfg.testify(c, r, now, by)
		return next, moves
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if cutOff {
		s.stopped = true
	} else if r.testimony.said == answered || r.testimony.said == refused {
		s.streak, s.failing = 0, map[string]int{}
	}
}

// ask asks the witness, at most every 30 seconds.
func (s *simRun) ask(subject string) testimony {
	s.witness <- struct{}{}
	defer func() { <-s.witness }()
	s.mu.Lock()
	t := s.said[subject]
	s.mu.Unlock()
	if t.said != nobody && t.said != silent && time.Since(t.asked) < witnessEvery {
		return t
	}
	t = testimony{asked: time.Now(), said: answered, how: "why"}
	time.Sleep(time.Duration(s.r.Int64N(int64(witnessTime))))
	s.h.mu.Lock()
	known := !s.h.empty || s.h.complete > 0
	s.h.mu.Unlock()
	switch class := s.h.serves(s.host, subject, time.Now()); {
	case !known:
		t.said = nobody
	case class == Forbidden:
		t.said = refused
	case class != NoFailure:
		t.said = failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[subject] = t
	return t
}

// admit waits until a request may go out.
func (s *simRun) admit(fresh bool) bool {
	for ; !s.isStopped(); time.Sleep(flushEvery) {
		s.mu.Lock()
		row, holds := s.row, s.streak >= s.h.cfg.SampleSize || s.streak > 0 && s.row.QuestionUntil != nil
		s.mu.Unlock()
		granted := row.State == storage.CircuitClosed && !holds
		if row.State == storage.CircuitHalfOpen {
			s.change(func(c storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
				c, moves := s.h.cfg.step(c, now)
				c, granted = s.h.cfg.lease(c, now, fresh)
				return c, moves
			})
		}
		if granted {
			return true
		}
	}
	return false
}

// work asks for a record and for its attachment.
func (s *simRun) work(e *entry, r *rand.Rand) {
	fresh, token := e.failed.IsZero(), e.token
	for i, subject := range []string{form, storage.SubjectMedia} {
		if !s.admit(fresh) {
			return
		}
		s.mu.Lock()
		generation := s.row.Generation
		s.mu.Unlock()
		time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
		class := s.answers(e, subject)
		if r.IntN(50) == 0 { // broken off: the record is due at once
			s.observe(subject, class, requestEnded{generation: generation, unused: true})
			s.h.free(e)
			return
		}
		at := time.Now()
		time.Sleep(time.Nanosecond) // no two events are at the same time
		s.observe(subject, class, requestEnded{generation: generation, failed: class == Passing, first: fresh && i == 0})
		if class != NoFailure {
			s.mu.Lock()
			s.held = append(s.held, failedEntry{e, subject, class, token, at})
			s.mu.Unlock()
			s.h.fail(e, r)
			return
		}
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	e.done, e.claimed = true, 0
	s.h.complete++
}

// answers returns how a request for a record or its attachment ends now.
func (s *simRun) answers(e *entry, subject string) Class {
	class := s.h.serves(s.host, subject, time.Now())
	if class == NoFailure && e.subject == subject {
		class = ofSubject(e.always, subject)
	}
	return class
}

func (s *simRun) observe(subject string, class Class, r requestEnded) {
	s.mu.Lock()
	s.ended = append(s.ended, r)
	switch {
	case r.unused:
		s.mu.Unlock()
		return
	case r.failed:
		s.streak++
		s.failing[subject]++
	default:
		s.streak = 0
	}
	if class == NoFailure {
		s.okAt[subject] = time.Now()
	}
	s.mu.Unlock()
	if r.failed {
		s.flush()
	}
}

func (s *simRun) flush() {
	s.mu.Lock()
	ended := s.ended
	s.ended = nil
	s.mu.Unlock()
	by := s.asker()
	row := s.change(func(c storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		c, moves := s.h.cfg.observe(c, ended, now, by)
		return s.h.cfg.question(c, now, by), moves
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if row.State == storage.CircuitClosed && !s.h.cfg.suspicious(row) {
		s.streak = min(s.streak, len(s.ended))
	}
}

// judge judges the failures, by what the witness said last, and asks it at the end.
func (s *simRun) judge(ending bool) {
	for _, subject := range []string{form, storage.SubjectMedia} {
		s.mu.Lock()
		t := s.said[subject]
		s.mu.Unlock()
		if s.decide(subject, t, ending) && ending && !s.isStopped() {
			s.decide(subject, s.ask(subject), true)
		}
	}
}

// decide tells whether failures are left that the witness must be asked for.
func (s *simRun) decide(subject string, t testimony, ending bool) (left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.said == nobody && !ending {
		return true
	}
	same := func(f failedEntry) bool { return f.subject == subject }
	mine := len(slices.DeleteFunc(slices.Clone(s.held), func(f failedEntry) bool { return !same(f) }))
	s.held = slices.DeleteFunc(s.held, func(f failedEntry) bool {
		if !same(f) {
			return false
		}
		v := judge(facts{
			class: f.class, everyForm: f.class == Absent, ended: f.ended, witness: t,
			answered: !s.okAt[subject].IsZero(), otherwise: len(s.okAt) > 0, alone: subject == storage.SubjectMedia && mine == 1,
		})
		switch {
		case v == credentials:
			s.stopped = true
		case v == givenUp && s.answers(f.entry, subject) != Absent: // it is asked once more
		case v == counts, v == givenUp:
			s.h.count(f, v, t)
		}
		return v != waits
	})
	return slices.ContainsFunc(s.held, same)
}

// TestHistories lives through seeded histories: after each event the circuit is as it may
// be, and no failure counts that was the API's. Every alert has an end: after the last
// outage the circuit closes and every healthy record is complete; what never succeeds is
// given up.
func TestHistories(t *testing.T) {
	t.Parallel()
	var opened, healthy, bad int
	for seed := range uint64(*histories) {
		synctest.Test(t, func(t *testing.T) {
			h := newHistory(t, seed)
			end := time.Now().Add(time.Hour + 30*time.Hour)
			for _, o := range h.outages {
				end = end.Add(max(0, time.Until(o.end)))
			}
			for i, host := range []string{"a", "b", "c"} {
				go func() {
					r := rand.New(rand.NewPCG(h.seed, uint64(100+i)))
					time.Sleep(time.Duration(i) * time.Millisecond)
					for id := int64(i+1) * 1_000_000; time.Now().Before(end); id++ {
						h.run(host, id)
						time.Sleep(time.Duration(int64(time.Minute) + r.Int64N(int64(9*time.Minute))))
					}
				}()
			}
			time.Sleep(time.Until(end) + time.Hour)
			synctest.Wait()
			if h.row.State != storage.CircuitClosed {
				t.Errorf("seed %d: the circuit is %s: %+v\n%v", seed, h.row.State, h.outages, h.moves)
			}
			for _, e := range h.records {
				switch {
				case e.always == NoFailure && !e.done:
					t.Errorf("seed %d: the healthy record %d is not complete: %+v", seed, e.name, *e)
				case e.always != NoFailure && !e.givenUp:
					t.Errorf("seed %d: record %d, which always fails, is not given up: %+v", seed, e.name, *e)
				}
				if e.always == NoFailure {
					healthy++
				} else {
					bad++
				}
			}
			opened += len(h.moves)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d healthy records, %d that always fail, %d moves of the circuit", healthy, bad, opened)
	if opened < *histories/10 {
		t.Errorf("the circuit moved only %d times", opened)
	}
}
