package batch

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/storage"
)

// plainWorld is one of records alone, whose requests are logged.
func plainWorld(records int) apitest.Options {
	return apitest.Options{Records: records, Forms: []string{"LCD"}, Photos: apitest.None, Log: true}
}

// newQueue is a mirror with every record of its world pending, whose requests are
// not repeated.
func newQueue(t testing.TB, o apitest.Options) *mirror {
	t.Helper()
	m := newMirror(t, o)
	m.API.MaxRetries = 0
	m.importAll()
	return m
}

// nothingCounted checks that no record was burnt and none is held.
func (m *mirror) nothingCounted() {
	m.t.Helper()
	if n := m.value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count > 0 OR permanently_failed OR claimed_by IS NOT NULL`); n != "0" {
		m.t.Errorf("%s records were counted against or are still claimed", n)
	}
}

// makeDue lets time pass for records that wait for their retry.
func (m *mirror) makeDue() {
	m.t.Helper()
	m.execute(`UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE next_retry_at > now()`)
}

// inTwoRuns drains the queue with two runs at once.
func (m *mirror) inTwoRuns() (errs [2]error) {
	m.t.Helper()
	standing, err := m.DB.Standing(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	var runs sync.WaitGroup
	for i := range errs {
		runs.Go(func() { _, errs[i] = m.Run(m.t.Context(), ProcessOptions{UntilEmpty: true}, standing) })
	}
	runs.Wait()
	return errs
}

func TestRetryAfterHoldsBackEveryRequest(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(12))
	m.API.MaxRetries = 2
	m.server.AddFault(apitest.Fault{Status: 429, RetryAfter: "1", Until: 1})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 12 {
		t.Errorf("summary %+v", s)
	}
	log := m.server.Log()
	refused := slices.IndexFunc(log, func(e apitest.Entry) bool { return e.Status == 429 })
	for _, e := range log {
		if wait := e.Start.Sub(log[refused].End); wait > 100*time.Millisecond && wait < 900*time.Millisecond {
			t.Errorf("a request was sent %s after the API asked for a second of silence", wait)
		}
	}
	m.nothingCounted()
}

func TestAPauseHoldsRunsThatBeginInIt(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(2))
	paused := time.Now()
	if err := m.DB.PauseRequests(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	m.mustRun(ProcessOptions{UntilEmpty: true})
	if wait := m.server.Log()[0].Start.Sub(paused); wait < 900*time.Millisecond {
		t.Errorf("the first request came %s into a pause of a second", wait)
	}
}

func TestAPauseLongerThanTheTimeLeftEndsTheRun(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(20))
	m.server.AddFault(apitest.Fault{Status: 429, RetryAfter: "300"})
	_, err := m.run(ProcessOptions{UntilEmpty: true, MaxTime: 10 * time.Second})
	if !errors.Is(err, ErrAPIUnavailable) {
		t.Errorf("error %v", err)
	}
	m.nothingCounted()
}

func TestAPauseThatAClockSetWhileItWasAheadEndsInMidRun(t *testing.T) {
	t.Parallel()
	world := plainWorld(60)
	world.Latency = 50 * time.Millisecond
	m := newQueue(t, world)
	acted := m.during(func() {
		m.execute(`UPDATE noggin_schema.circuit SET paused_until = now() + interval '3 hours'; UPDATE noggin_schema.runs SET started_at = now() + interval '3 hours'`)
	})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true, MaxTime: 6 * time.Hour}); s.Complete != 60 {
		t.Errorf("summary %+v", s)
	}
	<-acted
}

func TestTheRateLimitHoldsForAllRunsTogether(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(30))
	m.Config.Processing.MaxRequestsPerSecond = 20
	for _, err := range m.inTwoRuns() {
		if err != nil {
			t.Error(err)
		}
	}
	var starts []time.Time
	for _, e := range m.server.Log() {
		starts = append(starts, e.Start)
	}
	slices.SortFunc(starts, time.Time.Compare)
	for i := 22; i < len(starts); i++ {
		if span := starts[i].Sub(starts[i-22]); span < 900*time.Millisecond {
			t.Errorf("22 requests within %s", span)
		}
	}
}

func TestAnOutageBurnsNoRecordAndItsEndIsNoticedByProbes(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(60))
	fault := m.server.AddFault(apitest.Fault{Status: 503})
	if _, err := m.run(ProcessOptions{UntilEmpty: true}); !errors.Is(err, ErrAPIUnavailable) {
		t.Fatalf("error %v", err)
	}
	m.nothingCounted()
	m.makeDue()
	asked := m.server.Stats().Requests
	if _, err := m.run(ProcessOptions{UntilEmpty: true}); !errors.Is(err, ErrAPIUnavailable) {
		t.Errorf("error %v while open", err)
	}
	if now := m.server.Stats().Requests; now != asked {
		t.Errorf("%d requests through an open circuit", now-asked)
	}
	m.server.RemoveFault(fault)
	m.execute(`UPDATE noggin_schema.circuit SET open_until = now()`)
	m.makeDue()
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 60 || s.Circuit != circuitClosed {
		t.Errorf("summary %+v", s)
	}
	if moves := m.value(`SELECT string_agg(to_state, ' ' ORDER BY id) FROM noggin_schema.circuit_transitions`); moves != "open half_open closed" {
		t.Errorf("transitions %s", moves)
	}
}

func TestTwoRunsShareTheProbesOfAHalfOpenCircuit(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(40))
	m.Config.Circuit.SampleSize = 5
	m.execute(`UPDATE noggin_schema.circuit SET state = 'open', open_until = now(), generation = generation + 1`)
	m.server.AddFault(apitest.Fault{Status: 503, Delay: 50 * time.Millisecond})
	for _, err := range m.inTwoRuns() {
		if !errors.Is(err, ErrAPIUnavailable) {
			t.Errorf("error %v", err)
		}
	}
	if n := m.server.Stats().Requests; n > 5 {
		t.Errorf("%d probes were sent, 5 are allowed", n)
	}
	m.nothingCounted()
}

func TestACircuitThatAnotherRunOpensEndsThisOne(t *testing.T) {
	t.Parallel()
	world := plainWorld(400)
	world.Latency = 100 * time.Millisecond
	m := newQueue(t, world)
	go func() {
		for m.server.Stats().Requests == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		_, _, _ = m.DB.StepCircuit(t.Context(), 0, func(c storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
			next, _ := m.Config.Circuit.open(c, now, "another run's failures")
			return next, nil
		})
	}()
	s, err := m.run(ProcessOptions{UntilEmpty: true})
	var open *CircuitOpenError
	if !errors.As(err, &open) || s.Complete > 300 {
		t.Errorf("%d complete, error %v", s.Complete, err)
	}
	m.nothingCounted()
}
