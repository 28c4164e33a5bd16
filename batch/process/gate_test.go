package process_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/gate"
	"noggin/batch/process"
	"noggin/storage"
)

func TestRetryAfterHoldsBackEveryRequest(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(100))
	m.API.MaxRetries = 2
	m.Server.AddFault(apitest.Fault{Status: 429, RetryAfter: "2", Until: 1})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 100 {
		t.Errorf("summary %+v", s)
	}
	log := m.Server.Log()
	refused := slices.IndexFunc(log, func(e apitest.Entry) bool { return e.Status == 429 })
	early := 0
	for _, e := range log {
		if wait := e.Start.Sub(log[refused].End); wait > 0 && wait < 1900*time.Millisecond {
			early++
		}
	}
	if early > 50 { // some were on their way, more on a busy machine
		t.Errorf("%d of 99 requests were sent after the API asked for two seconds of silence", early)
	}
	nothingCounted(m)
}

func TestAPauseHoldsRunsThatBeginInIt(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(2))
	paused := time.Now()
	if err := m.DB.PauseRequests(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	m.MustRun(process.Options{UntilEmpty: true})
	if wait := m.Server.Log()[0].Start.Sub(paused); wait < 900*time.Millisecond {
		t.Errorf("the first request came %s into a pause of a second", wait)
	}
}

func TestAPauseLongerThanTheTimeLeftEndsTheRun(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(20))
	m.Server.AddFault(apitest.Fault{Status: 429, RetryAfter: "300"})
	_, err := m.TryRun(process.Options{UntilEmpty: true, MaxTime: 10 * time.Second})
	if !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Errorf("error %v", err)
	}
	nothingCounted(m)
}

// To a 429 the witness is asked to wait as well, so it tells nothing. A few 503s do not ask it.
func TestARunThatIsOnlyAskedToWaitEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		records, sample int
		fault           apitest.Fault
	}{
		"429":            {30, 20, apitest.Fault{Status: 429, RetryAfter: "1"}},
		"503":            {3, 1000, apitest.Fault{Status: 503, RetryAfter: "1"}},
		"503 for longer": {3, 1000, apitest.Fault{Status: 503, RetryAfter: "600"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, plainWorld(test.records))
			impatient(m, time.Second)
			m.API.MaxRetries, m.Processing.StopGrace, m.Circuit.SampleSize = 20, time.Second, test.sample
			// So few records that their first requests do not open the circuit.
			m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending' WHERE tip IN (SELECT tip FROM noggin_schema.noggin_data LIMIT 8)`)
			m.Server.AddFault(test.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, err := m.Run(ctx, process.Options{UntilEmpty: true}); !errors.Is(err, gate.ErrAPIUnavailable) {
				t.Errorf("the run ended with %v", err)
			}
			nothingCounted(m)
		})
	}
}

func TestAPauseThatAClockSetWhileItWasAheadEndsInMidRun(t *testing.T) {
	t.Parallel()
	world := plainWorld(60)
	world.Latency = 50 * time.Millisecond
	m := batchtest.NewQueue(t, world)
	acted := during(m, func() {
		m.Execute(`UPDATE noggin_schema.circuit SET paused_until = now() + interval '3 hours'; UPDATE noggin_schema.runs SET started_at = now() + interval '3 hours'`)
	})
	if s := m.MustRun(process.Options{UntilEmpty: true, MaxTime: 6 * time.Hour}); s.Complete != 60 {
		t.Errorf("summary %+v", s)
	}
	<-acted
}

func TestTheRateLimitHoldsForAllRunsTogether(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(30))
	m.Processing.MaxRequestsPerSecond = 20
	for _, err := range inTwoRuns(m) {
		if err != nil {
			t.Error(err)
		}
	}
	var starts []time.Time
	for _, e := range m.Server.Log() {
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
	m := batchtest.NewQueue(t, plainWorld(60))
	fault := m.Server.AddFault(apitest.Fault{Status: 503})
	if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Fatalf("error %v", err)
	}
	nothingCounted(m)
	m.MakeDue()
	asked := m.Server.Stats().Requests
	if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Errorf("error %v while open", err)
	}
	if now := m.Server.Stats().Requests; now != asked {
		t.Errorf("%d requests through an open circuit", now-asked)
	}
	m.Server.RemoveFault(fault)
	m.Execute(`UPDATE noggin_schema.circuit SET open_until = now()`)
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 60 || s.Circuit != storage.CircuitClosed {
		t.Errorf("summary %+v", s)
	}
	if moves := m.Value(`SELECT string_agg(to_state, ' ' ORDER BY id) FROM noggin_schema.circuit_transitions`); moves != "open half_open closed" {
		t.Errorf("transitions %s", moves)
	}
}

func TestTwoRunsShareTheProbesOfAHalfOpenCircuit(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(40))
	m.Circuit.SampleSize = 5
	m.Execute(`UPDATE noggin_schema.circuit SET state = 'open', open_until = now(), generation = generation + 1`)
	m.Server.AddFault(apitest.Fault{Status: 503, Delay: 50 * time.Millisecond})
	for _, err := range inTwoRuns(m) {
		if !errors.Is(err, gate.ErrAPIUnavailable) {
			t.Errorf("error %v", err)
		}
	}
	if n := m.Server.Stats().Requests; n > 5 {
		t.Errorf("%d probes were sent, 5 are allowed", n)
	}
	nothingCounted(m)
}

func TestACircuitThatAnotherRunOpensEndsThisOne(t *testing.T) {
	t.Parallel()
	world := plainWorld(400)
	world.Latency = 100 * time.Millisecond
	m := batchtest.NewQueue(t, world)
	go func() {
		for m.Server.Stats().Requests == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		_, _, _ = m.DB.StepCircuit(t.Context(), 0, func(c storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
			until := now.Add(m.Circuit.OpenDuration)
			c.State, c.OpenUntil = storage.CircuitOpen, &until
			c.Generation++
			return c, nil
		})
	}()
	s, err := m.TryRun(process.Options{UntilEmpty: true})
	var open *gate.CircuitOpenError
	if !errors.As(err, &open) || s.Complete > 300 {
		t.Errorf("%d complete, error %v", s.Complete, err)
	}
	nothingCounted(m)
}
