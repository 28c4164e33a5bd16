package storage

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// A host may hang, or lose its network, at any moment while it changes the circuit.
func TestAHostThatHangsKeepsNoOtherFromTheCircuit(t *testing.T) {
	t.Parallel()
	direct := testDB(t)
	proxy := storagetest.NewProxy(t, direct.cfg.URL)
	cfg := direct.cfg
	cfg.URL = proxy.URL(cfg.URL)
	hanging := openDB(t, cfg.ForRuns())
	ctx, end := context.WithCancel(t.Context())
	read, ended := make(chan struct{}), make(chan struct{})
	hasRead := sync.OnceFunc(func() { close(read) })
	go func() {
		defer close(ended)
		_, _, _ = hanging.StepCircuit(ctx, 1, func(c Circuit, _ time.Time) (Circuit, []Transition) {
			proxy.Stall()
			hasRead()
			c.TotalRequests++
			return c, nil
		})
	}()
	<-read
	other := direct.cfg
	other.RetryFor = time.Second
	run := openDB(t, other)
	if _, _, err := run.StepCircuit(t.Context(), 2, func(c Circuit, _ time.Time) (Circuit, []Transition) {
		c.TotalRequests += 10
		return c, nil
	}); err != nil {
		t.Error(err)
	}
	if _, err := run.ReserveRequests(t.Context(), 1, 1); err != nil {
		t.Error(err)
	}
	if err := run.PauseRequests(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	end()
	proxy.Cut()
	<-ended
	if n := scalar[int](t, direct, `SELECT total_requests FROM noggin_schema.circuit`); n != 10 {
		t.Errorf("%d requests are counted, want 10", n)
	}
}

func TestAChangeOfTheCircuitMeanwhileIsNotLost(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	add := func(n int64, meanwhile func()) (tries int) {
		_, _, err := db.StepCircuit(t.Context(), 1, func(c Circuit, now time.Time) (Circuit, []Transition) {
			if tries++; tries == 1 {
				meanwhile()
			}
			c.TotalRequests += n
			if c.Answered == nil {
				c.Answered = HostTimes{}
			}
			c.Answered["host"] = now
			return c, []Transition{{From: CircuitClosed, To: CircuitOpen, Reason: "first"}, {From: CircuitOpen, To: CircuitHalfOpen, Reason: "second"}}
		})
		if err != nil {
			t.Error(err)
		}
		return tries
	}
	if tries := add(1, func() { add(10, func() {}) }); tries != 2 {
		t.Errorf("the step ran %d times, want 2", tries)
	}
	got := scalar[string](t, db, `SELECT total_requests || ' ' || (answered ? 'host') || ' ' ||
		(SELECT string_agg(reason, ' ' ORDER BY id) FROM noggin_schema.circuit_transitions) FROM noggin_schema.circuit`)
	if want := "11 true first second first second"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAShorterPauseEndsNoLongerOne(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for _, d := range []time.Duration{time.Minute, time.Hour, time.Second} {
		if err := db.PauseRequests(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if wait := scalar[int](t, db, `SELECT round(extract(epoch FROM paused_until - now()) / 60)::int FROM noggin_schema.circuit`); wait != 60 {
		t.Errorf("requests wait for %d minutes", wait)
	}
}

func TestTheWholeCircuitIsKept(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	at := time.Date(2025, 9, 17, 6, 7, 8, 0, time.UTC)
	later := at.Add(time.Hour)
	want := Circuit{
		State: CircuitHalfOpen, Generation: 2, Recent: "01", OpenUntil: &at, ProbesLeased: 3, ProbesExpireAt: &later, TotalRequests: 4, TotalFailures: 5,
		FirstOutcomes: "10", Subject: SubjectMedia, Probing: ProbingAny, QuestionRun: ptr(int64(6)), QuestionUntil: ptr(at.Add(time.Minute)),
		Answered: HostTimes{"host": at}, MediaFailingSince: ptr(at.Add(time.Second)),
	}
	text := func(c Circuit) string {
		c.PausedUntil = nil
		doc, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(doc)
	}
	for _, run := range []int64{9, 0} { // the second reads what the first wrote
		if _, _, err := db.StepCircuit(t.Context(), run, func(c Circuit, _ time.Time) (Circuit, []Transition) {
			if got, wanted := text(c), text(want); run == 0 && got != wanted {
				t.Errorf("the circuit is %s, want %s", got, wanted)
			}
			return want, []Transition{{From: CircuitOpen, To: CircuitHalfOpen, Reason: "x", FailureRate: 12.5}}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if got := scalar[string](t, db, `SELECT string_agg(concat_ws(' ', from_state, to_state, failure_rate, run_id), ', ' ORDER BY id) FROM noggin_schema.circuit_transitions`); got != "open half_open 12.5 9, open half_open 12.5" {
		t.Errorf("the transitions are %s", got)
	}
}

// Requests that wait for a half-open circuit ask often.
func TestAStepThatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	version := func() string { return scalar[string](t, db, `SELECT xmin::text FROM noggin_schema.circuit`) }
	before := version()
	if _, _, err := db.StepCircuit(t.Context(), 1, func(c Circuit, _ time.Time) (Circuit, []Transition) { return c, nil }); err != nil {
		t.Fatal(err)
	}
	if after := version(); after != before {
		t.Error("the row was written")
	}
	// A map is changed in place.
	for range 2 {
		if _, _, err := db.StepCircuit(t.Context(), 1, func(c Circuit, now time.Time) (Circuit, []Transition) {
			if c.Answered == nil {
				c.Answered = HostTimes{}
			}
			c.Answered["host"] = now
			return c, nil
		}); err != nil {
			t.Fatal(err)
		}
		after := version()
		if after == before {
			t.Error("the row was not written")
		}
		before = after
	}
}
