package batch

import (
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

var circuitStart = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)

// ended turns '1' (failed), '0' (answered) and '-' (never sent) into requests of a
// generation.
func ended(generation int64, marks string) []requestEnded {
	requests := make([]requestEnded, len(marks))
	for i, mark := range marks {
		requests[i] = requestEnded{generation: generation, failed: mark == '1', unused: mark == '-'}
	}
	return requests
}

func TestTheCircuitFollowsTheLastRequests(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 10}
	closed := storage.Circuit{State: circuitClosed, Generation: 4}
	halfOpen := storage.Circuit{State: circuitHalfOpen, Generation: 6, ProbesLeased: 10}
	openUntil := circuitStart.Add(time.Minute)
	open := storage.Circuit{State: circuitOpen, Generation: 5, OpenUntil: &openUntil}
	for name, test := range map[string]struct {
		from       storage.Circuit
		generation int64
		marks      string
		after      time.Duration
		state      string
		recent     string
		moves      int
		total      int64
	}{
		"a ring that is not full does not open":             {closed, 4, "111111111", 0, circuitClosed, "111111111", 0, 9},
		"half of a full ring opens":                         {closed, 4, "0000011111", 0, circuitOpen, "0000011111", 1, 10},
		"less than the threshold stays closed":              {closed, 4, "0000001111", 0, circuitClosed, "0000001111", 0, 10},
		"the oldest fall out of the ring":                   {closed, 4, "11110000001", 0, circuitClosed, "1110000001", 0, 11},
		"what ends after it opened counts in the total":     {closed, 4, "1111111111" + "00", 0, circuitOpen, "1111111111", 1, 12},
		"requests of an older generation are not judged":    {closed, 3, "1111111111", 0, circuitClosed, "", 0, 10},
		"requests never sent count nowhere":                 {closed, 4, "----------", 0, circuitClosed, "", 0, 0},
		"open stays open before its time":                   {open, 5, "0", 59 * time.Second, circuitOpen, "", 0, 1},
		"open becomes half-open when its time has come":     {open, 5, "", time.Minute, circuitHalfOpen, "", 1, 0},
		"an old success is no probe":                        {open, 5, "0000000000", time.Minute, circuitHalfOpen, "", 1, 10},
		"all probes answered close":                         {halfOpen, 6, "0000000000", 0, circuitClosed, "", 1, 10},
		"failures up to the recovery threshold close":       {halfOpen, 6, "1100000000", 0, circuitClosed, "", 1, 10},
		"more open again as soon as it is certain":          {halfOpen, 6, "111", 0, circuitOpen, "111", 1, 3},
		"probes that are not all back decide nothing":       {halfOpen, 6, "000000000", 0, circuitHalfOpen, "000000000", 0, 9},
		"results of before the half-open state do not help": {halfOpen, 4, "0000000000", 0, circuitHalfOpen, "", 0, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, moves := cfg.observe(test.from, ended(test.generation, test.marks), circuitStart.Add(test.after))
			if got.State != test.state || got.Recent != test.recent || len(moves) != test.moves || got.TotalRequests != test.total {
				t.Errorf("%s %q, %d transitions, %d requests", got.State, got.Recent, len(moves), got.TotalRequests)
			}
			if failures := int64(strings.Count(test.marks, "1")); got.TotalFailures != failures {
				t.Errorf("%d failures counted, want %d", got.TotalFailures, failures)
			}
			if (got.Generation != test.from.Generation) != (test.moves > 0) {
				t.Error("the generation moves with the state and only then")
			}
		})
	}
}

func TestATransitionTellsWhyAndHowManyFailed(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, OpenDuration: time.Minute, SampleSize: 4}
	s, moves := cfg.observe(storage.Circuit{State: circuitClosed}, ended(0, "0111"), circuitStart)
	if len(moves) != 1 || moves[0].FailureRate != 75 || moves[0].Reason != "3 of the last 4 requests failed" {
		t.Errorf("%+v", moves)
	}
	if s.OpenUntil == nil || !s.OpenUntil.Equal(circuitStart.Add(time.Minute)) {
		t.Errorf("open until %v", s.OpenUntil)
	}
}

func TestProbesAreLeasedToAllRunsTogether(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 3}
	s := storage.Circuit{State: circuitHalfOpen}
	take := func(want bool, now time.Time) {
		t.Helper()
		var granted bool
		s, _ = cfg.step(s, now)
		if s, granted = cfg.lease(s, now); granted != want {
			t.Fatalf("granted %v, want %v: %+v", granted, want, s)
		}
	}
	for range 3 {
		take(true, circuitStart)
	}
	take(false, circuitStart)
	// One that was never sent is free again, one that was answered is not.
	s, _ = cfg.observe(s, ended(0, "0-"), circuitStart)
	take(true, circuitStart)
	take(false, circuitStart)
	// Those of a run that died are free when their lease ends.
	take(false, circuitStart.Add(probeLease))
	later := circuitStart.Add(probeLease + time.Second)
	take(true, later)
	take(true, later)
	take(false, later)
	if s, _ = cfg.observe(s, ended(0, "00"), later); s.State != circuitClosed {
		t.Errorf("the probes of two runs did not close it: %+v", s)
	}
}
