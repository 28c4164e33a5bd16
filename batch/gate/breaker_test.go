package gate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"noggin/api"
	"noggin/storage"
)

var (
	good = api.Outcome{Class: api.ClassOK}
	bad  = api.Outcome{Class: api.ClassTransient, Kind: api.KindConnection}
	ours = api.Outcome{Class: api.ClassOwn}
)

func TestHowRequestsEndIsNotedForTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := bareGate(t)
		b := g.breaker
		b.row.Generation, b.since = 7, time.Now().Add(-10*time.Second)
		fresh, retry := WithTicket(t.Context(), "LCD", true), WithTicket(t.Context(), "SO", false)
		slow, media := good, bad
		slow.Duration, media.Media = 10*time.Second+1, true
		at := good
		at.Duration = 10 * time.Second
		for i, step := range []struct {
			ctx     context.Context
			outcome api.Outcome
			want    requestEnded
			streak  int
			wakes   bool
		}{
			{fresh, ours, requestEnded{generation: 7, unused: true}, 0, false},
			{fresh, bad, requestEnded{generation: 7, failed: true, first: true}, 1, true},
			{fresh, bad, requestEnded{generation: 7, failed: true}, 2, true},
			{fresh, ours, requestEnded{generation: 7, unused: true}, 2, false},
			{retry, media, requestEnded{generation: 7, failed: true}, 3, true},
			{retry, at, requestEnded{generation: 7}, 0, false},
			{retry, slow, requestEnded{generation: 6}, 0, false}, // admitted under the state before
		} {
			b.observe(step.ctx, step.outcome)
			woken := len(b.wake) == 1
			if woken {
				<-b.wake
			}
			if got := b.ended[len(b.ended)-1]; got != step.want || b.streak != step.streak || woken != step.wakes {
				t.Errorf("step %d: %+v, %d in a row, woken: %t", i, got, b.streak, woken)
			}
		}
		if b.failing["LCD"] != 2 || b.failing[storage.SubjectMedia] != 1 || len(b.failing) != 2 {
			t.Errorf("failed: %v", b.failing)
		}
		if at, ok := b.okAt["SO"]; !ok || !at.Equal(time.Now()) || len(b.okAt) != 1 {
			t.Errorf("answered: %v", b.okAt)
		}
		b.row.State = storage.CircuitHalfOpen
		if b.observe(retry, good); len(b.wake) != 1 {
			t.Error("others wait for a probe until the next flush")
		}
	})
}

// A request that needs no probe goes out or waits without a look at the database.
func TestWhatTheCircuitAdmitsByItself(t *testing.T) {
	t.Parallel()
	until := failuresStart
	for name, test := range map[string]struct {
		row    storage.Circuit
		streak int
		want   bool
	}{
		"closed":                                  {storage.Circuit{State: storage.CircuitClosed}, 0, true},
		"closed, some failed":                     {storage.Circuit{State: storage.CircuitClosed}, 19, true},
		"closed, many failed":                     {storage.Circuit{State: storage.CircuitClosed}, 20, false},
		"closed, the witness is asked":            {storage.Circuit{State: storage.CircuitClosed, QuestionUntil: &until}, 0, true},
		"closed, the last failed and it is asked": {storage.Circuit{State: storage.CircuitClosed, QuestionUntil: &until}, 1, false},
		"half-open, the witness was not asked":    {storage.Circuit{State: storage.CircuitHalfOpen}, 0, false},
		"half-open, and the record failed before": {storage.Circuit{State: storage.CircuitHalfOpen, Probing: storage.ProbingNew}, 0, false},
	} {
		g, _ := bareGate(t)
		g.breaker.row, g.breaker.streak = test.row, test.streak
		if got, err := g.breaker.admit(WithTicket(t.Context(), "LCD", false)); got != test.want || err != nil {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}

func TestARunFollowsTheNewestState(t *testing.T) {
	t.Parallel()
	until := failuresStart.Add(time.Hour)
	known := storage.Circuit{State: storage.CircuitClosed, Generation: 4, Recent: "1"}
	for name, test := range map[string]struct {
		row            storage.Circuit
		taken, changed bool
		ends           bool
	}{
		"an older state":          {storage.Circuit{State: storage.CircuitOpen, Generation: 3, OpenUntil: &until}, false, false, false},
		"the same state":          {storage.Circuit{State: storage.CircuitClosed, Generation: 4, Recent: "11"}, true, false, false},
		"open":                    {storage.Circuit{State: storage.CircuitOpen, Generation: 5, OpenUntil: &until}, true, true, true},
		"open, as is known":       {storage.Circuit{State: storage.CircuitOpen, Generation: 4, OpenUntil: &until}, true, false, false},
		"half-open":               {storage.Circuit{State: storage.CircuitHalfOpen, Generation: 6}, true, true, false},
		"open since no one knows": {storage.Circuit{State: storage.CircuitOpen, Generation: 5}, true, true, true},
	} {
		g, stopped := bareGate(t)
		b := g.breaker
		began := time.Now().Add(-time.Hour)
		b.row, b.streak, b.failing, b.since = known, 3, map[string]int{"LCD": 3}, began
		b.see(test.row, failuresStart)
		want := known
		if test.taken {
			want = test.row
		}
		if got := b.state(); got.State != want.State || got.Recent != want.Recent || got.Generation != want.Generation {
			t.Errorf("%s: %+v", name, got)
		}
		if forgets := b.streak == 0 && len(b.failing) == 0 && b.since.After(began); forgets != test.changed {
			t.Errorf("%s: %d in a row, failed %v, since %s", name, b.streak, b.failing, b.since)
		}
		open, ends := errors.AsType[*CircuitOpenError](stopped())
		if ends != test.ends || ends && (!errors.Is(stopped(), ErrAPIUnavailable) || test.row.OpenUntil != nil && !open.Until.Equal(until)) {
			t.Errorf("%s: %v", name, stopped())
		}
	}
}

func TestTimesOfTheServerAreReadOnItsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := bareGate(t)
		server := time.Now().Add(-3 * time.Hour)
		pause, question := server.Add(time.Minute), server.Add(time.Second)
		row := storage.Circuit{State: storage.CircuitClosed, PausedUntil: &pause, QuestionUntil: &question}
		for name, b := range map[string]*breaker{"begin": newBreaker(g, storage.Standing{Circuit: row, Now: server}), "see": g.breaker} {
			b.see(row, server)
			got := b.state()
			if left := time.Until(*got.PausedUntil); left != time.Minute {
				t.Errorf("%s: a pause of a minute lasts %s", name, left)
			}
			if left := time.Until(*got.QuestionUntil); left != time.Second {
				t.Errorf("%s: a question of a second lasts %s", name, left)
			}
		}
	})
}

func TestForWhatTheWitnessIsAsked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		row     storage.Circuit
		failing map[string]int
		want    string
	}{
		"nothing failed":             {storage.Circuit{State: storage.CircuitClosed}, nil, "LCD"},
		"what failed most":           {storage.Circuit{State: storage.CircuitClosed}, map[string]int{"LCD": 1, "SO": 3, "media": 2}, "SO"},
		"the first of those":         {storage.Circuit{State: storage.CircuitClosed}, map[string]int{"SO": 2, "AB": 2, "media": 2}, "AB"},
		"what it opened for":         {storage.Circuit{State: storage.CircuitHalfOpen, Subject: "media"}, map[string]int{"SO": 2}, "media"},
		"it opened for nothing":      {storage.Circuit{State: storage.CircuitHalfOpen}, map[string]int{"SO": 2}, "SO"},
		"what it was opened for":     {storage.Circuit{State: storage.CircuitOpen, Subject: "media"}, map[string]int{"SO": 2}, "media"},
		"what it once opened for":    {storage.Circuit{State: storage.CircuitClosed, Subject: "media"}, map[string]int{"SO": 2}, "SO"},
		"what else than the default": {storage.Circuit{State: storage.CircuitClosed}, map[string]int{"media": 1}, "media"},
	} {
		g, _ := bareGate(t)
		g.run.ID = 9
		g.breaker.row, g.breaker.failing = test.row, test.failing
		by := g.breaker.asker()
		if by.subject != test.want || by.run != 9 || !by.may {
			t.Errorf("%s: %+v", name, by)
		}
		g.breaker.silent = true
		if g.breaker.asker().may {
			t.Errorf("%s: a run that ends asks", name)
		}
	}
	// The witness was asked a moment ago, for a record.
	for name, test := range map[string]struct {
		said said
		okAt time.Duration // against the question
		want bool
	}{
		"it failed, and nothing came since": {failed, -1, true},
		"it failed, but an answer came":     {failed, 0, false},
		"it was answered":                   {answered, -1, false},
		"it was refused":                    {refused, -1, false},
	} {
		g, _ := bareGate(t)
		g.witness.subject("LCD").last = testimony{said: test.said, asked: failuresStart}
		g.breaker.okAt["LCD"], g.breaker.okAt["SO"] = failuresStart.Add(test.okAt), failuresStart.Add(time.Hour)
		if got := g.breaker.asker().may; got != test.want {
			t.Errorf("%s: it may be asked: %t", name, got)
		}
	}
}

func TestARequestWaitsAndFreesItsPlace(t *testing.T) {
	closing := make(chan struct{})
	close(closing)
	broken := errors.New("the claim is lost")
	for name, test := range map[string]struct {
		prepare func(*Gate)
		want    error
		wait    time.Duration
	}{
		"admitted":                                {func(*Gate) {}, nil, 0},
		"the records are not the run's":           {func(g *Gate) { g.run.MakeSure = func(context.Context) (context.Context, error) { return nil, broken } }, broken, 0},
		"the run was ended":                       {func(g *Gate) { g.refuse(broken) }, broken, 0},
		"many failed, and the run is closing":     {func(g *Gate) { g.breaker.streak, g.run.Closing = 20, closing }, api.ErrStopped, flushEvery / 4},
		"many failed":                             {func(g *Gate) { g.breaker.streak = 20 }, context.DeadlineExceeded, time.Minute},
		"the witness must speak, also at the end": {func(g *Gate) { g.failures.holding, g.run.Closing = "LCD", closing }, context.DeadlineExceeded, time.Minute},

		"a pause":                         {func(g *Gate) { g.pausedUntil = time.Now().Add(30 * time.Second) }, nil, 30 * time.Second},
		"a pause for all runs":            {func(g *Gate) { until := time.Now().Add(30 * time.Second); g.breaker.row.PausedUntil = &until }, nil, 30 * time.Second},
		"a pause that is over":            {func(g *Gate) { g.pausedUntil = time.Now().Add(-time.Second) }, nil, 0},
		"a pause, and the run is closing": {func(g *Gate) { g.pausedUntil, g.run.Closing = time.Now().Add(30*time.Second), closing }, api.ErrStopped, 0},
		"a pause longer than the run":     {func(g *Gate) { g.pausedUntil = time.Now().Add(time.Hour + 1) }, ErrAPIUnavailable, 0},
		"a pause as long as the run":      {func(g *Gate) { g.pausedUntil = time.Now().Add(time.Hour) }, context.DeadlineExceeded, time.Minute},
		"a pause that comes meanwhile": {func(g *Gate) {
			sure := g.run.MakeSure
			g.run.MakeSure = func(ctx context.Context) (context.Context, error) { // the request has its place
				g.run.MakeSure = sure
				g.pausedUntil = time.Now().Add(10 * time.Second)
				return ctx, nil
			}
		}, nil, 10 * time.Second},
		"a lease that is renewed late": {func(g *Gate) {
			sure, renewed := g.run.MakeSure, time.Now().Add(10*time.Second)
			g.run.MakeSure = func(ctx context.Context) (context.Context, error) {
				if time.Now().Before(renewed) {
					ended, cancel := context.WithCancel(ctx)
					cancel()
					return ended, nil
				}
				return sure(ctx)
			}
		}, nil, 10 * time.Second},
		"all places are taken": {func(g *Gate) { g.slots <- struct{}{} }, context.DeadlineExceeded, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := bareGate(t)
			test.prepare(g)
			places := len(g.slots)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			permit, err := g.Admit(ctx)
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
			if took := time.Since(began); took < test.wait || took > test.wait+flushEvery {
				t.Errorf("%s: it took %s, want %s", name, took, test.wait)
			}
			if err == nil {
				places++
			}
			if err == nil && permit != ctx {
				t.Errorf("%s: it does not end with the context of the run", name)
			}
			if len(g.slots) != places {
				t.Errorf("%s: %d places are taken, want %d", name, len(g.slots), places)
			}
		})
	}
}

// The API asks for its pauses whoever sends the request.
func TestTheWitnessKeepsToPausesAndToItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := bareGate(t)
		sent := 0
		g.run.Requested = func() { sent++ }
		began := time.Now()
		g.pausedUntil = began.Add(30 * time.Second)
		var asked, limit time.Duration
		broken := errors.New("broken")
		err := g.witness.try(t.Context(), candidate{ask: func(ctx context.Context) error {
			asked = time.Since(began)
			if end, ok := ctx.Deadline(); ok {
				limit = time.Until(end)
			}
			return broken
		}})
		if !errors.Is(err, broken) || asked != 30*time.Second || limit != witnessTime || sent != 1 {
			t.Errorf("%v: asked after %s, for %s at most; %d requests are counted", err, asked, limit, sent)
		}
		g.refuse(broken)
		if err := g.witness.try(t.Context(), candidate{ask: func(context.Context) error { return nil }}); !errors.Is(err, broken) {
			t.Errorf("of a run that was ended: %v", err)
		}
	})
}

func TestASlowAnswerGivesItsPlaceToAnother(t *testing.T) {
	t.Parallel()
	g, _ := bareGate(t)
	taken := func(slots, slow int) {
		t.Helper()
		if len(g.slots) != slots || len(g.slow) != slow {
			t.Fatalf("%d and %d places are taken, want %d and %d", len(g.slots), len(g.slow), slots, slow)
		}
	}
	requests := 0
	g.run.Requested = func() { requests++ }
	for range 2 {
		if _, err := g.Admit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if lingers := g.Linger(); lingers != (len(g.slots) == 0) {
			t.Fatalf("it lingers: %t", lingers)
		}
	}
	taken(1, 1)
	lingered := good
	lingered.Lingered = true
	g.Done(t.Context(), lingered)
	taken(1, 0)
	g.Done(t.Context(), ours)
	taken(0, 0)
	if requests != 1 {
		t.Errorf("%d requests were sent, want one", requests)
	}
}
