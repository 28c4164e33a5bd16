package gate

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

var may = asker{run: 7, host: "a", subject: "LCD", may: true}

func TestTheCircuitFollowsTheLastRequests(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 10}
	closed := storage.Circuit{State: storage.CircuitClosed, Generation: 4}
	halfOpen := storage.Circuit{State: storage.CircuitHalfOpen, Generation: 6, ProbesLeased: 10, Probing: storage.ProbingAny}
	openUntil := circuitStart.Add(time.Minute)
	open := storage.Circuit{State: storage.CircuitOpen, Generation: 5, OpenUntil: &openUntil, Probing: storage.ProbingAny} // it was half-open before
	for name, test := range map[string]struct {
		from       storage.Circuit
		generation int64
		marks      string
		after      time.Duration
		state      storage.CircuitState
		recent     string
		moves      int
		total      int64
	}{
		"a ring that is not full does not open":             {closed, 4, "111111111", 0, storage.CircuitClosed, "111111111", 0, 9},
		"half of a full ring only asks":                     {closed, 4, "0000011111", 0, storage.CircuitClosed, "0000011111", 0, 10},
		"less than the threshold stays closed":              {closed, 4, "0000001111", 0, storage.CircuitClosed, "0000001111", 0, 10},
		"the oldest fall out of the ring":                   {closed, 4, "11110000001", 0, storage.CircuitClosed, "1110000001", 0, 11},
		"what ends while it is open counts in the total":    {open, 5, "1100", 0, storage.CircuitOpen, "", 0, 4},
		"requests of an older generation are not judged":    {closed, 3, "1111111111", 0, storage.CircuitClosed, "", 0, 10},
		"requests never sent count nowhere":                 {closed, 4, "----------", 0, storage.CircuitClosed, "", 0, 0},
		"open stays open before its time":                   {open, 5, "0", 59 * time.Second, storage.CircuitOpen, "", 0, 1},
		"open becomes half-open when its time has come":     {open, 5, "", time.Minute, storage.CircuitHalfOpen, "", 1, 0},
		"an old success is no probe":                        {open, 5, "0000000000", time.Minute, storage.CircuitHalfOpen, "", 1, 10},
		"all probes answered close":                         {halfOpen, 6, "0000000000", 0, storage.CircuitClosed, "", 1, 10},
		"failures up to the recovery threshold close":       {halfOpen, 6, "1100000000", 0, storage.CircuitClosed, "", 1, 10},
		"more open again as soon as it is certain":          {halfOpen, 6, "111", 0, storage.CircuitOpen, "111", 1, 3},
		"probes that are not all back decide nothing":       {halfOpen, 6, "000000000", 0, storage.CircuitHalfOpen, "000000000", 0, 9},
		"results of before the half-open state do not help": {halfOpen, 4, "0000000000", 0, storage.CircuitHalfOpen, "", 0, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, moves := cfg.observe(test.from, ended(test.generation, test.marks), circuitStart.Add(test.after), may)
			if got.State != test.state || got.Recent != test.recent || len(moves) != test.moves || got.TotalRequests != test.total {
				t.Errorf("%s %q, %d transitions, %d requests", got.State, got.Recent, len(moves), got.TotalRequests)
			}
			if failures := int64(strings.Count(test.marks, "1")); got.TotalFailures != failures {
				t.Errorf("%d failures counted, want %d", got.TotalFailures, failures)
			}
			if got.State == storage.CircuitHalfOpen && test.moves > 0 && got.Probing != "" {
				t.Error("requests probe before the witness was asked")
			}
			if (got.Generation != test.from.Generation) != (test.moves > 0) {
				t.Error("the generation moves with the state and only then")
			}
		})
	}
}

// suspect is a closed circuit of which the run 7 asks the witness.
func suspect(cfg Circuit) storage.Circuit {
	s, _ := cfg.observe(storage.Circuit{State: storage.CircuitClosed}, ended(0, "0111"), circuitStart, may)
	return s
}

func TestTheWitnessDecidesAboutASuspiciousCircuit(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 4}
	halfOpen := storage.Circuit{State: storage.CircuitHalfOpen, Subject: "media"}
	halfOpen = cfg.question(halfOpen, circuitStart, may)
	elsewhere := suspect(cfg)
	elsewhere.Answered = storage.HostTimes{"a": circuitStart.Add(-2 * time.Second), "b": circuitStart.Add(-time.Second)}
	long := suspect(cfg)
	long.Answered = storage.HostTimes{"b": circuitStart.Add(-time.Minute)}
	ours := suspect(cfg)
	ours.Answered = storage.HostTimes{"a": circuitStart.Add(-time.Second), "b": circuitStart.Add(-2 * time.Second)}
	for name, test := range map[string]struct {
		from    storage.Circuit
		said    said
		fresh   int
		state   storage.CircuitState
		recent  string
		probing storage.Probing
		reason  string
		cutOff  bool
	}{
		"failed opens":                              {suspect(cfg), failed, 0, storage.CircuitOpen, "0111", "", "3 of the last 4 requests failed, and so did the witness for records of form LCD: why", false},
		"answered forgets":                          {suspect(cfg), answered, 0, storage.CircuitClosed, "", "", "", false},
		"rejected credentials are an answer":        {suspect(cfg), refused, 0, storage.CircuitClosed, "", "", "", false},
		"no answer changes nothing":                 {suspect(cfg), silent, 0, storage.CircuitClosed, "0111", "", "", false},
		"without a witness it opens":                {suspect(cfg), nobody, 0, storage.CircuitOpen, "0111", "", "3 of the last 4 requests failed", false},
		"another host was answered later":           {elsewhere, failed, 0, storage.CircuitClosed, "", "", "", true},
		"another host was answered long ago":        {long, failed, 0, storage.CircuitOpen, "0111", "", "3 of", false},
		"this host was answered last":               {ours, failed, 0, storage.CircuitOpen, "0111", "", "3 of", false},
		"half-open: failed opens again":             {halfOpen, failed, 9, storage.CircuitOpen, "", "", "the witness for records of form LCD failed: why", false},
		"half-open: too few new records for probes": {halfOpen, answered, 3, storage.CircuitClosed, "", "", "the witness for records of form LCD was answered", false},
		"half-open: new records probe":              {halfOpen, answered, 4, storage.CircuitHalfOpen, "", storage.ProbingNew, "", false},
		"half-open: without a witness any probe":    {halfOpen, nobody, 0, storage.CircuitHalfOpen, "", storage.ProbingAny, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.from.QuestionRun == nil {
				t.Fatal("nobody asks")
			}
			r := report{subject: "LCD", testimony: testimony{said: test.said, how: "why"}, fresh: test.fresh}
			got, moves, cutOff := cfg.testify(test.from, r, circuitStart, may)
			if got.State != test.state || got.Recent != test.recent || got.Probing != test.probing || cutOff != test.cutOff || got.QuestionRun != nil {
				t.Errorf("%+v, cut off: %v", got, cutOff)
			}
			if (len(moves) == 1) != (test.reason != "") || test.reason != "" && !strings.HasPrefix(moves[0].Reason, test.reason) {
				t.Errorf("transitions %+v", moves)
			}
			r.generation = 1
			if late, _, _ := cfg.testify(test.from, r, circuitStart, may); late.QuestionRun == nil || late.State != test.from.State {
				t.Error("a report for another generation was taken")
			}
			r.generation = 0
			other := may
			other.run = 8
			if late, _, _ := cfg.testify(test.from, r, circuitStart, other); late.QuestionRun == nil || late.State != test.from.State {
				t.Error("a report of a run that does not ask was taken")
			}
		})
	}
}

func TestOneRunAsksUntilItsLeaseEnds(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, OpenDuration: time.Minute, SampleSize: 4}
	s := suspect(cfg)
	other := asker{run: 8, host: "b", subject: "media", may: true}
	if got := cfg.question(s, circuitStart.Add(questionLease-time.Second), other); *got.QuestionRun != 7 {
		t.Error("two runs ask at once")
	}
	idle := other
	idle.may = false
	if got := cfg.question(s, circuitStart.Add(questionLease), idle); *got.QuestionRun != 7 {
		t.Error("a run asks that may not")
	}
	later := cfg.question(s, circuitStart.Add(questionLease), other)
	if *later.QuestionRun != 8 {
		t.Fatal("nobody asks after a run died in the middle of the question")
	}
	dead := report{subject: "LCD", testimony: testimony{said: failed}}
	if got, _, _ := cfg.testify(later, dead, circuitStart, may); got.State != storage.CircuitClosed || *got.QuestionRun != 8 {
		t.Error("the report of the run before was taken")
	}
	if got := cfg.question(s, circuitStart.Add(-3*time.Hour), other); *got.QuestionRun != 8 {
		t.Error("a clock that was set back by three hours holds the question")
	}
}

func TestManyNewRecordsThatFailOpenWhateverTheWitnessSays(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, OpenDuration: time.Minute, SampleSize: 4}
	votes := func(marks string, first bool) storage.Circuit {
		requests := ended(0, marks)
		for i := range requests {
			requests[i].first = first
		}
		s, _ := cfg.observe(storage.Circuit{State: storage.CircuitClosed}, requests, circuitStart, asker{})
		return s
	}
	if s := votes("010101010101", true); s.State != storage.CircuitOpen {
		t.Errorf("half of the new records fail: %+v", s)
	}
	if s := votes("010111010101", false); s.State != storage.CircuitClosed || s.FirstOutcomes != "" {
		t.Errorf("records that failed before had votes: %+v", s)
	}
	if s := votes("1111111", true); s.State != storage.CircuitClosed {
		t.Errorf("a few new records decided: %+v", s)
	}
}

func TestProbesAreLeasedToAllRunsTogether(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 3}
	s := storage.Circuit{State: storage.CircuitHalfOpen, Probing: storage.ProbingNew}
	if _, granted := cfg.lease(s, circuitStart, false); granted {
		t.Error("a record that failed before is a probe")
	}
	take := func(want bool, now time.Time) {
		t.Helper()
		var granted bool
		s, _ = cfg.step(s, now)
		if s, granted = cfg.lease(s, now, true); granted != want {
			t.Fatalf("granted %v, want %v: %+v", granted, want, s)
		}
	}
	for range 3 {
		take(true, circuitStart)
	}
	take(false, circuitStart)
	// One that was never sent is free again, one that was answered is not.
	s, _ = cfg.observe(s, ended(0, "0-"), circuitStart, may)
	take(true, circuitStart)
	take(false, circuitStart)
	// Those of a run that died are free when their lease ends.
	take(false, circuitStart.Add(probeLease))
	later := circuitStart.Add(probeLease + time.Second)
	take(true, later)
	take(true, later)
	take(false, later)
	if s, _ = cfg.observe(s, ended(0, "00"), later, may); s.State != storage.CircuitClosed {
		t.Errorf("the probes of two runs did not close it: %+v", s)
	}
}

func TestAProbeThatOutlivesItsLeaseKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 4}
	s := storage.Circuit{State: storage.CircuitHalfOpen, Probing: storage.ProbingNew}
	for range 2 {
		s, _ = cfg.lease(s, circuitStart, true)
	}
	s, _ = cfg.observe(s, ended(0, "0"), circuitStart, may)
	// All others wait for the second one, which hangs or whose run was killed.
	if s = cfg.question(s, circuitStart.Add(time.Minute), may); s.QuestionRun != nil {
		t.Errorf("the witness is asked while a probe is under way: %+v", s)
	}
	later := circuitStart.Add(2 * time.Minute)
	s, _ = cfg.step(s, later)
	if asked := cfg.question(s, later, may); asked.QuestionRun == nil {
		t.Errorf("after two minutes nobody asks: %+v", s)
	}
	s, _ = cfg.observe(s, ended(0, "0"), later, may)
	if asked := cfg.question(s, later, may); asked.QuestionRun == nil || s.Recent != "00" {
		t.Errorf("after the late answer nobody asks: %+v", s)
	}
}

// By it a host without network is told from an API that fails.
func TestWhenAHostWasAnsweredLast(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, OpenDuration: time.Minute, SampleSize: 4}
	before := circuitStart.Add(-time.Hour)
	for name, test := range map[string]struct {
		marks      string
		generation int64
		want       time.Time
	}{
		"nothing ended":             {"", 0, before},
		"all failed":                {"11", 0, before},
		"none was sent":             {"--", 0, before},
		"the last was answered":     {"10", 0, circuitStart},
		"the first was answered":    {"01-", 0, circuitStart},
		"one of before a change is": {"0", -1, circuitStart},
	} {
		known := storage.HostTimes{"a": before, "b": before}
		s, _ := cfg.observe(storage.Circuit{State: storage.CircuitClosed, Answered: known}, ended(test.generation, test.marks), circuitStart, may)
		if !s.Answered["a"].Equal(test.want) || !s.Answered["b"].Equal(before) || len(s.Answered) != 2 {
			t.Errorf("%s: %v", name, s.Answered)
		}
		if !known["a"].Equal(before) {
			t.Errorf("%s: the row that was handed in is changed", name)
		}
	}
	if s, _ := cfg.observe(storage.Circuit{State: storage.CircuitClosed}, ended(0, "0"), circuitStart, may); !s.Answered["a"].Equal(circuitStart) {
		t.Errorf("the first answer of all: %v", s.Answered)
	}
	for ago, others := range map[time.Duration]bool{0: true, lately: true, lately + 1: false} {
		at := circuitStart.Add(-ago)
		if got := answersOthers(storage.Circuit{Answered: storage.HostTimes{"b": at}}, circuitStart, "a"); got != others {
			t.Errorf("another host was answered %s ago: %t", ago, got)
		}
		if answersOthers(storage.Circuit{Answered: storage.HostTimes{"b": at}}, circuitStart, "b") ||
			answersOthers(storage.Circuit{Answered: storage.HostTimes{"a": at, "b": at}}, circuitStart, "a") {
			t.Errorf("no other host was answered later than this one")
		}
	}
}

func TestWhenTheWitnessIsAskedForTheCircuit(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 4}
	dead, over := int64(5), circuitStart
	for name, test := range map[string]struct {
		from storage.Circuit
		want bool
	}{
		"too few requests":             {storage.Circuit{State: storage.CircuitClosed, Recent: "111"}, false},
		"too few failures":             {storage.Circuit{State: storage.CircuitClosed, Recent: "0001"}, false},
		"half of them failed":          {storage.Circuit{State: storage.CircuitClosed, Recent: "0011"}, true},
		"half-open for the first time": {storage.Circuit{State: storage.CircuitHalfOpen}, true},
		"no new record probes":         {storage.Circuit{State: storage.CircuitHalfOpen, Probing: storage.ProbingNew, Recent: "00", ProbesLeased: 2}, true},
		"a new record probes":          {storage.Circuit{State: storage.CircuitHalfOpen, Probing: storage.ProbingNew, Recent: "00", ProbesLeased: 3}, false},
		"any record may probe":         {storage.Circuit{State: storage.CircuitHalfOpen, Probing: storage.ProbingAny, Recent: "00", ProbesLeased: 2}, false},
		"open":                         {storage.Circuit{State: storage.CircuitOpen, Recent: "1111"}, false},
	} {
		test.from.QuestionRun, test.from.QuestionUntil = &dead, &over
		got := cfg.question(test.from, circuitStart, may)
		if asks := got.QuestionRun != nil; asks != test.want || asks && *got.QuestionRun != may.run || (got.QuestionUntil != nil) != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	s := suspect(cfg)
	other := may
	other.run = 8
	if got := cfg.question(s, circuitStart, other); *got.QuestionRun != may.run {
		t.Error("two runs ask in the same instant")
	}
}

func TestACircuitThatMovesForgetsWhatDecided(t *testing.T) {
	t.Parallel()
	cfg := Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: time.Minute, SampleSize: 4}
	run := int64(7)
	s := storage.Circuit{
		State: storage.CircuitHalfOpen, Generation: 3, Recent: "01", FirstOutcomes: "0101", Subject: "SO", Probing: storage.ProbingNew,
		QuestionRun: &run, QuestionUntil: &circuitStart, ProbesLeased: 3, ProbesExpireAt: &circuitStart,
	}
	open, move := cfg.open(s, circuitStart, "LCD", "why")
	if open.Subject != "LCD" || open.FirstOutcomes != "" || open.QuestionRun != nil || open.QuestionUntil != nil || open.ProbesLeased != 0 || open.ProbesExpireAt != nil ||
		!open.OpenUntil.Equal(circuitStart.Add(time.Minute)) || open.Generation != 4 || move.FailureRate != 50 {
		t.Errorf("%+v, %+v", open, move)
	}
	for name, again := range map[string]storage.Circuit{"closed": closed(s), "closed when open": closed(open)} {
		if again.Recent != "" || again.FirstOutcomes != "" || again.Probing != "" || again.QuestionRun != nil || again.QuestionUntil != nil ||
			again.OpenUntil != nil || again.ProbesLeased != 0 || again.ProbesExpireAt != nil || again.State != storage.CircuitClosed {
			t.Errorf("%s: %+v", name, again)
		}
	}
	// Half of the new records failed, but the last requests did not.
	requests := ended(0, "111111000000")
	for i := range requests {
		requests[i].first = true
	}
	if s, _ := cfg.observe(storage.Circuit{State: storage.CircuitClosed}, requests, circuitStart, asker{}); s.State != storage.CircuitClosed || s.FirstOutcomes != "111111000000" {
		t.Errorf("%+v", s)
	}
	for said, want := range map[said]string{
		nobody: "3 of the last 4 requests failed", failed: "3 of the last 4 requests failed, and so did the witness for media: why",
	} {
		_, moves, _ := cfg.testify(suspect(cfg), report{subject: "media", testimony: testimony{said: said, how: "why"}}, circuitStart, may)
		if len(moves) != 1 || moves[0].Reason != want {
			t.Errorf("%+v, want %q", moves, want)
		}
	}
}

func TestTheCircuitKeepsWithinItsBounds(t *testing.T) {
	t.Parallel()
	for key, test := range map[string]struct {
		set         func(c *Circuit, v int)
		least, most int
	}{
		"failure_threshold_percent":     {func(c *Circuit, v int) { c.FailureThresholdPercent = v }, 1, 100},
		"recovery_threshold_percent":    {func(c *Circuit, v int) { c.RecoveryThresholdPercent = v }, 0, 99},
		"circuit_open_duration_seconds": {func(c *Circuit, v int) { c.OpenDuration = time.Duration(v) * time.Second }, 1, 86_400},
		"sample_size":                   {func(c *Circuit, v int) { c.SampleSize = v }, 1, 1000},
	} {
		for v, ok := range map[int]bool{test.least: true, test.most: true, test.least - 1: false, test.most + 1: false} {
			c := DefaultCircuit()
			test.set(&c, v)
			if err := c.Validate(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), key+" = ") {
				t.Errorf("%s of %d: %v", key, v, err)
			}
		}
	}
}
