package gate

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"noggin/api"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// sharedGate is a gate of the run 7 with a database.
func sharedGate(t *testing.T) (g *Gate, stopped func() error) {
	t.Helper()
	g, stopped = bareGate(t)
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	open := func(url string) (*storage.DB, error) {
		cfg := storage.DefaultConfig()
		cfg.URL = url
		return storage.Open(cfg, "test")
	}
	db, err := open(storagetest.Prepared(t, string(schema), func(url string) error {
		db, err := open(url)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		_, err = db.Init(context.Background(), string(schema), storage.InitOptions{})
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	g.run.ID, g.run.DB, g.run.Standing, g.witness.now = 7, db, db.Standing, time.Now
	return g, stopped
}

// begin makes the circuit what change makes of a closed one, and has the run see it.
func begin(t *testing.T, g *Gate, change func(s *storage.Circuit, now time.Time)) storage.Circuit {
	t.Helper()
	row, now, err := g.run.DB.StepCircuit(t.Context(), 0, func(before storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		s := storage.Circuit{State: storage.CircuitClosed, Generation: before.Generation + 1}
		change(&s, now)
		return s, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g.breaker = newBreaker(g, storage.Standing{Circuit: row, Now: now})
	return row
}

func TestWhatARunTellsTheCircuitOfTheWitness(t *testing.T) {
	t.Parallel()
	g, stopped := sharedGate(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	closed, half, open := storage.CircuitClosed, storage.CircuitHalfOpen, storage.CircuitOpen
	many := strings.Repeat("1", DefaultCircuit().SampleSize)
	for name, test := range map[string]struct {
		state        storage.CircuitState
		subject      string
		said         said
		fresh        int
		freshErr     error
		over, others bool
		mediaFailing bool

		want       storage.CircuitState
		recent     string
		probing    storage.Probing
		mediaFails bool
		forgets    bool
		ends       error
	}{
		"failed":                               {state: closed, subject: "LCD", said: failed, want: open, recent: many, ends: ErrAPIUnavailable},
		"failed, for media":                    {state: closed, subject: "media", said: failed, want: open, recent: many, mediaFails: true, ends: ErrAPIUnavailable},
		"failed, but another host is answered": {state: closed, subject: "LCD", said: failed, others: true, want: closed, ends: ErrAPIUnavailable},
		"failed, and the run ends":             {state: closed, subject: "LCD", said: failed, over: true, want: closed, recent: many},
		"failed for media, and the run ends":   {state: closed, subject: "media", said: failed, over: true, want: closed, recent: many},
		"answered":                             {state: closed, subject: "LCD", said: answered, mediaFailing: true, want: closed, mediaFails: true, forgets: true},
		"answered, for media":                  {state: closed, subject: "media", said: answered, mediaFailing: true, want: closed, forgets: true},
		"refused":                              {state: closed, subject: "LCD", said: refused, want: closed, forgets: true},
		"refused, for media":                   {state: closed, subject: "media", said: refused, want: closed, mediaFails: true, forgets: true},
		"silent":                               {state: closed, subject: "LCD", said: silent, want: closed, recent: many},
		"silent, for media":                    {state: closed, subject: "media", said: silent, mediaFailing: true, want: closed, recent: many, mediaFails: true},
		"half-open: new records are left":      {state: half, subject: "LCD", said: answered, fresh: 20, want: half, probing: storage.ProbingNew, forgets: true},
		"half-open: too few are left":          {state: half, subject: "LCD", said: answered, fresh: 19, want: closed, forgets: true},
		"half-open: it is not known":           {state: half, subject: "LCD", said: answered, fresh: 20, freshErr: errors.New("no database"), want: half},
		"half-open: failed":                    {state: half, subject: "LCD", said: failed, fresh: 20, want: open, ends: ErrAPIUnavailable},
	} {
		g.run.Stop(nil)
		row := begin(t, g, func(s *storage.Circuit, now time.Time) {
			run, until := g.run.ID, now.Add(questionLease)
			s.State, s.QuestionRun, s.QuestionUntil = test.state, &run, &until
			if test.state == closed {
				s.Recent = many
			}
			if test.mediaFailing {
				s.MediaFailingSince = &now
			}
			if test.others {
				s.Answered = storage.HostTimes{"elsewhere": now}
			}
		})
		b := g.breaker
		b.streak, b.failing = 3, map[string]int{"LCD": 3}
		g.run.FreshLeft = func(context.Context, int) (int, error) { return test.fresh, test.freshErr }
		g.witness.subject(test.subject).last = testimony{said: test.said, asked: time.Now(), how: "why"}
		ctx := t.Context()
		if test.over {
			ctx = over
		}
		b.ask(ctx, row, asker{run: g.run.ID, host: g.run.DB.Host(), subject: test.subject, may: true})
		s, err := g.run.DB.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.State != test.want || s.Recent != test.recent || s.Probing != test.probing || (s.MediaFailingSince != nil) != test.mediaFails || s.QuestionRun != nil {
			t.Errorf("%s: %+v", name, s.Circuit)
		}
		if got := b.state(); got.State != test.want || got.Generation != s.Generation {
			t.Errorf("%s: the run sees %+v", name, got)
		}
		if !errors.Is(stopped(), test.ends) || b.muted != test.others {
			t.Errorf("%s: ended by %v, without a vote: %t", name, stopped(), b.muted)
		}
		if s.Generation == row.Generation && (b.streak == 0 && len(b.failing) == 0) != test.forgets {
			t.Errorf("%s: %d in a row, failed %v", name, b.streak, b.failing)
		}
	}
}

func TestAFlushThatFailsIsMadeUpFor(t *testing.T) {
	t.Parallel()
	g, _ := sharedGate(t)
	begin(t, g, func(*storage.Circuit, time.Time) {})
	b := g.breaker
	over, cancel := context.WithCancel(t.Context())
	cancel()
	b.observe(t.Context(), bad)
	b.observe(t.Context(), good)
	if err := b.flush(over); err == nil || len(b.ended) != 2 || !b.ended[0].failed || b.ended[1].failed {
		t.Errorf("%v, %+v are left", err, b.ended)
	}
	b.observe(t.Context(), bad)
	if err := b.flush(t.Context()); err != nil || len(b.ended) != 0 {
		t.Errorf("%v, %+v are left", err, b.ended)
	}
	s, err := g.run.DB.Standing(t.Context())
	if err != nil || s.Recent != "101" || s.TotalRequests != 3 || s.TotalFailures != 2 || len(s.Answered) != 1 {
		t.Errorf("%+v, %v", s.Circuit, err)
	}
	if b.state().Recent != "101" || b.streak != 0 {
		t.Errorf("the run sees %q, %d in a row", b.state().Recent, b.streak)
	}
	// Another run opens it. A run without requests notices.
	until := time.Now().Add(time.Hour)
	if _, _, err := g.run.DB.StepCircuit(t.Context(), 8, func(s storage.Circuit, _ time.Time) (storage.Circuit, []storage.Transition) {
		s.State, s.OpenUntil = storage.CircuitOpen, &until
		s.Generation++
		return s, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.flush(t.Context()); err != nil || g.State() != storage.CircuitOpen || !errors.Is(g.Refused(), ErrAPIUnavailable) {
		t.Errorf("%v, the run sees %s, refused: %v", err, g.State(), g.Refused())
	}
}

func TestAProbeIsTakenFromTheSharedCircuit(t *testing.T) {
	t.Parallel()
	g, stopped := sharedGate(t)
	half := func(s *storage.Circuit) { s.State, s.Probing = storage.CircuitHalfOpen, storage.ProbingNew }
	for name, test := range map[string]struct {
		change  func(s *storage.Circuit, now time.Time) // by another run
		granted bool
		leased  int
		ends    bool
	}{
		"a free one":        {func(s *storage.Circuit, _ time.Time) { s.ProbesLeased = 19 }, true, 20, false},
		"none is free":      {func(s *storage.Circuit, _ time.Time) { s.ProbesLeased = 20 }, false, 20, false},
		"it closed":         {func(s *storage.Circuit, _ time.Time) { *s = closed(*s) }, true, 0, false},
		"it opened":         {func(s *storage.Circuit, now time.Time) { *s, _ = DefaultCircuit().open(*s, now, "LCD", "why") }, false, 0, true},
		"only old ones may": {func(s *storage.Circuit, _ time.Time) { s.Probing = "" }, false, 0, false},
	} {
		g.refusal = nil
		g.run.Stop(nil)
		begin(t, g, func(s *storage.Circuit, _ time.Time) { half(s) })
		if _, _, err := g.run.DB.StepCircuit(t.Context(), 8, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
			test.change(&s, now)
			return s, nil
		}); err != nil {
			t.Fatal(err)
		}
		granted, err := g.breaker.admit(WithTicket(t.Context(), "LCD", true))
		_, ends := errors.AsType[*CircuitOpenError](err)
		if granted != test.granted || ends != test.ends || !ends && err != nil || errors.Is(stopped(), ErrAPIUnavailable) != test.ends {
			t.Errorf("%s: %t, %v, ended by %v", name, granted, err, stopped())
		}
		if got := g.breaker.state().ProbesLeased; got != test.leased {
			t.Errorf("%s: %d probes are taken", name, got)
		}
	}
}

// The places of other runs come after those that a run reserves.
func TestARunReservesPlacesForASecondAtMost(t *testing.T) {
	t.Parallel()
	g, _ := sharedGate(t)
	r := rateLimit{db: g.run.DB, perSecond: 2}
	r.waiting.Add(20)
	if _, err := r.place(t.Context()); err != nil {
		t.Fatal(err)
	}
	if wait, err := g.run.DB.ReserveRequests(t.Context(), 1, r.perSecond); err != nil || wait > time.Second {
		t.Errorf("another run's request waits %s, %v", wait, err)
	}
}

func TestA429OfTheWitnessPausesEveryRun(t *testing.T) {
	t.Parallel()
	g, _ := sharedGate(t)
	limited := &api.Error{Class: api.ClassRateLimited, RetryAfter: time.Minute}
	err := g.witness.try(t.Context(), candidate{ask: func(context.Context) error { return limited }})
	s, standing := g.run.DB.Standing(t.Context())
	if !errors.Is(err, limited) || standing != nil || g.pauseLeft() < 50*time.Second || s.Circuit.PausedUntil == nil {
		t.Errorf("%v, %v: this run waits %s, others until %v", err, standing, g.pauseLeft(), s.Circuit.PausedUntil)
	}
}

func TestAHostIsCutOffWhenAnotherIsAnswered(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ago  time.Duration
		want bool
	}{"a moment ago": {0, true}, "long ago": {time.Hour, false}} {
		g, stopped := sharedGate(t)
		begin(t, g, func(s *storage.Circuit, now time.Time) {
			s.Recent, s.Answered = "0110", storage.HostTimes{"elsewhere": now.Add(-test.ago)}
		})
		got := g.breaker.cutOff(t.Context())
		if got != test.want || g.breaker.muted != test.want || errors.Is(stopped(), ErrAPIUnavailable) != test.want || (g.breaker.state().Recent == "") != test.want {
			t.Errorf("%s: %t, ended by %v, recent %q", name, got, stopped(), g.breaker.state().Recent)
		}
	}
}
