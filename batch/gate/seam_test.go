package gate

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"noggin/api"
	"noggin/storage"
)

// The run ends while its loop still judges.
func TestTheLastLookAtMediaMeetsTheJudge(t *testing.T) {
	now := time.Now()
	g := &Gate{run: Run{Log: slog.New(slog.DiscardHandler)}}
	g.failures = newFailures(g)
	g.breaker = newBreaker(g, storage.Standing{Circuit: storage.Circuit{MediaFailingSince: &now}, Now: now})
	g.witness = &witness{gate: g, now: time.Now, subjects: map[string]*subject{storage.SubjectMedia: {last: testimony{asked: now, said: answered}}}}
	g.failures.told[storage.SubjectMedia] = true
	judged := make(chan struct{})
	go func() { // as tell does for another subject
		defer close(judged)
		g.failures.mu.Lock()
		defer g.failures.mu.Unlock()
		g.failures.told["LCD"] = true
	}()
	g.lookAtMedia(t.Context(), t.Context())
	<-judged
}

func TestTheWitnessWaitsForAPauseLikeEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{run: Run{Requested: func() {}, TimeLeft: func(time.Duration) time.Duration { return time.Hour }}, pausedUntil: time.Now().Add(time.Minute)}
		g.breaker = newBreaker(g, storage.Standing{})
		began, asked := time.Now(), time.Time{}
		w := &witness{gate: g}
		if err := w.try(t.Context(), candidate{ask: func(context.Context) error { asked = time.Now(); return nil }}); err != nil {
			t.Fatal(err)
		}
		if wait := asked.Sub(began); wait < time.Minute {
			t.Errorf("it was asked %s into a pause of a minute", wait)
		}
	})
}

func TestAHostWithoutNetworkWritesNoFailureAfterItIsKnown(t *testing.T) {
	read := 0
	g := &Gate{run: Run{Circuit: DefaultCircuit(), Standing: func(context.Context) (storage.Standing, error) { read++; return storage.Standing{}, nil }}}
	b := newBreaker(g, storage.Standing{Circuit: storage.Circuit{State: storage.CircuitClosed}})
	b.muted = true
	b.observe(t.Context(), api.Outcome{Class: api.ClassTransient, Kind: api.KindConnection}) // it was on its way
	if err := b.flush(t.Context()); err != nil {                                             // a write would need the database
		t.Fatal(err)
	}
	if read != 1 || len(b.ended) > 0 {
		t.Errorf("the circuit was read %d times, %d requests are left to be written", read, len(b.ended))
	}
}

// The witness was answered before the retries took every place: no new record can send a
// probe any more, and nobody waits until the witness may be asked again.
func TestTheAnswerOfTheWitnessDecidesAgainWhileOnlyNewRecordsMayProbe(t *testing.T) {
	for probing, may := range map[storage.Probing]bool{storage.ProbingNew: true, "": false} {
		g := &Gate{run: Run{DB: &storage.DB{}, DefaultObjectType: "LCD"}}
		g.witness = &witness{gate: g, now: time.Now, subjects: map[string]*subject{}}
		g.breaker = newBreaker(g, storage.Standing{Circuit: storage.Circuit{State: storage.CircuitHalfOpen, Probing: probing}})
		g.witness.subject("LCD").last = testimony{said: answered, asked: time.Now()}
		if got := g.breaker.asker().may; got != may {
			t.Errorf("probing %q: may be asked: %t", probing, got)
		}
	}
}
