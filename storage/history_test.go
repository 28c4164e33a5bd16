package storage

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var histories = flag.Int("histories", 60, "seeded histories of records that fail, are given up and are asked for again")

// life is a record as it has to be, beside the database. Its times are of a clock that the
// test moves: it takes from the times in the database what it goes ahead.
type life struct {
	*rand.Rand
	tip        string
	complete   bool
	givenUp    bool
	counted    int
	first      time.Duration // when it first counted
	due        time.Duration // the latest time at which it is due
	never      bool          // it is not due any more by itself
	version    time.Duration // when the current version was stored
	wasOutcome string
}

// state is what the database has of a record; times are seconds from now.
type state struct {
	Tip      string   `db:"tip"`
	Status   Status   `db:"processing_status"`
	Claimed  bool     `db:"claimed"`
	GivenUp  bool     `db:"permanently_failed"`
	Retries  int      `db:"retry_count"`
	RetryIn  *float64 `db:"retry_in"`
	AskIn    *float64 `db:"ask_in"`
	NewSince *float64 `db:"version_age"`
}

// history moves the clock of a database.
type history struct {
	t     *testing.T
	db    *DB
	run   int64
	seed  uint64
	begun time.Time
	ahead time.Duration
	lives map[string]*life
}

var historyBackoff = Backoff{Multiplier: 2, MaxAttempts: 5, GiveUpAfter: 24 * time.Hour, AskAgain: testSteps}

func (h *history) now() time.Duration { return time.Since(h.begun) + h.ahead }

// pass lets time pass.
func (h *history) pass(d time.Duration) {
	h.t.Helper()
	for _, query := range []string{
		`UPDATE noggin_schema.noggin_data SET next_retry_at = next_retry_at - $1 * interval '1 second',
			failing_since = failing_since - $1 * interval '1 second', first_failed_at = first_failed_at - $1 * interval '1 second'`,
		`UPDATE noggin_schema.refreshes SET due_at = due_at - $1 * interval '1 second', version_at = version_at - $1 * interval '1 second',
			asked_at = asked_at - $1 * interval '1 second'`,
	} {
		if _, err := h.db.pool.ExecContext(h.t.Context(), h.db.sql(query), d.Seconds()); err != nil {
			h.t.Fatal(err)
		}
	}
	h.ahead += d
}

// claims takes all that is due.
func (h *history) claims() (all []Claim) {
	h.t.Helper()
	for {
		claims, err := h.db.Claim(h.t.Context(), ClaimRequest{Run: h.run, Limit: len(h.lives), Retries: len(h.lives), Lease: time.Hour})
		if err != nil {
			h.t.Fatal(err)
		}
		if all = append(all, claims...); len(claims) == 0 {
			return all
		}
	}
}

// work ends everything that is due; well says that the platform serves all.
func (h *history) work(well bool) {
	h.t.Helper()
	latest := h.now() // what is due by now is claimed
	claimed := map[string]bool{}
	var results []Result
	var askings []Asking
	var failures []CountedFailure
	for _, c := range h.claims() {
		l := h.lives[c.Tip]
		claimed[c.Tip] = true
		if l.never || l.givenUp {
			h.t.Errorf("seed %d: %s is claimed: %+v", h.seed, c.Tip[60:], *l)
		}
		if l.complete {
			asking, counts := l.asked(c, well)
			askings, failures = append(askings, asking), append(failures, counts...)
			continue
		}
		result := Result{Tip: c.Tip, Token: c.Token, Status: StatusAPIFailed, Error: "the API failed"}
		draw := l.IntN(100)
		if well {
			draw = 0
		}
		switch {
		case draw < 10:
			l.wasOutcome, result.Status, result.Error, result.HTTPStatus = "complete", StatusComplete, "", 200
		case draw < 20:
			l.wasOutcome, result.Status = "interrupted", StatusInterrupted
		case draw < 35:
			l.wasOutcome = "uncounted"
		case draw < 90:
			l.wasOutcome = "passing"
			failures = append(failures, CountedFailure{Tip: c.Tip, Token: c.Token, Passing: true})
		case draw < 98:
			l.wasOutcome = "lasting"
			failures = append(failures, CountedFailure{Tip: c.Tip, Token: c.Token})
		default:
			l.wasOutcome = "final"
			failures = append(failures, CountedFailure{Tip: c.Tip, Token: c.Token, Final: true})
		}
		results = append(results, result)
	}
	for _, l := range h.lives {
		if !claimed[l.tip] && !l.givenUp && !l.never && l.due < latest {
			h.t.Errorf("seed %d: %s is lost: it was due %s ago: %+v", h.seed, l.tip[60:], latest-l.due, *l)
		}
	}
	before := h.now()
	if len(results) > 0 {
		if _, err := h.db.Finish(h.t.Context(), h.run, results, historyBackoff); err != nil {
			h.t.Fatal(err)
		}
	}
	if _, err := h.db.Asked(h.t.Context(), h.run, askings, historyBackoff); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.db.CountFailures(h.t.Context(), failures, historyBackoff); err != nil {
		h.t.Fatal(err)
	}
	h.check(claimed, before)
}

// asked is how the asking of a complete record ends.
func (l *life) asked(c Claim, well bool) (a Asking, failures []CountedFailure) {
	a = Asking{Tip: c.Tip, Token: c.Token, HTTPStatus: 200}
	switch draw := l.IntN(100); {
	case well || draw < 50:
		l.wasOutcome = "unchanged"
	case draw < 65:
		l.wasOutcome, a.Broken = "broken", true
	case draw < 80:
		l.wasOutcome, a.Failed, a.HTTPStatus = "failed", true, 0
	default:
		l.wasOutcome, a.Failed, a.HTTPStatus = "missing", true, 404
		failures = append(failures, CountedFailure{Tip: c.Tip, Token: c.Token, Kept: true, Final: true})
	}
	return a, failures
}

// check holds the rows against what they have to be, after an event for the claimed ones
// that began at before.
func (h *history) check(claimed map[string]bool, before time.Duration) {
	h.t.Helper()
	var states []state
	if err := h.db.pool.SelectContext(h.t.Context(), &states, h.db.sql(`
		SELECT d.tip, d.processing_status, d.claimed_by IS NOT NULL AS claimed, d.permanently_failed, d.retry_count,
		       extract(epoch FROM d.next_retry_at - now())::float8 AS retry_in, extract(epoch FROM r.due_at - now())::float8 AS ask_in,
		       extract(epoch FROM now() - r.version_at)::float8 AS version_age
		FROM noggin_schema.noggin_data d LEFT JOIN noggin_schema.refreshes r ON r.record_tip = d.tip`)); err != nil {
		h.t.Fatal(err)
	}
	took := (h.now() - before).Seconds()
	for _, s := range states {
		l := h.lives[s.Tip]
		if s.Claimed {
			h.t.Errorf("seed %d: %s stays claimed after %s", h.seed, s.Tip[60:], l.wasOutcome)
		}
		if claimed[s.Tip] {
			h.expect(l, s, before, took)
		}
		if s.GivenUp != l.givenUp || (s.Status == StatusComplete) != l.complete {
			h.t.Errorf("seed %d: %s is %s and given up: %v, after %s: %+v", h.seed, s.Tip[60:], s.Status, s.GivenUp, l.wasOutcome, *l)
		}
	}
}

// expect follows what happened to a record, and looks when it is due again.
func (h *history) expect(l *life, s state, before time.Duration, took float64) {
	h.t.Helper()
	within := func(what string, in *float64, least, most float64) {
		h.t.Helper()
		if in == nil || *in < least-took || *in > most+1 {
			got := "never"
			if in != nil {
				got = time.Duration(*in * float64(time.Second)).String()
			}
			h.t.Errorf("seed %d: after %s, %s is %s %s, want between %.0f s and %.0f s: %+v", h.seed, l.wasOutcome, s.Tip[60:], what, got, least, most, *l)
			return
		}
		l.due, l.never = h.now()+time.Duration(*in*float64(time.Second)), false
	}
	day := (24 * time.Hour).Seconds()
	switch l.wasOutcome {
	case "complete":
		l.complete, l.version = true, before
		l.counted = 0
		within("asked for again in", s.AskIn, testSteps[0].Seconds(), 1.2*testSteps[0].Seconds())
	case "interrupted":
		within("tried again in", s.RetryIn, 0, 0)
	case "uncounted", "passing", "lasting", "final":
		wait := 60.0
		for range l.counted {
			wait = min(2*wait, 3600)
		}
		within("tried again in", s.RetryIn, 0.9*wait, 1.1*3600)
		if l.wasOutcome == "uncounted" {
			break
		}
		if l.counted++; l.counted == 1 {
			l.first = before
		}
		l.givenUp = l.wasOutcome == "final" || l.counted >= historyBackoff.MaxAttempts && (l.wasOutcome == "lasting" || before-l.first >= historyBackoff.GiveUpAfter)
	case "unchanged":
		// A time of the steps that is over when it is asked is left out.
		for _, step := range testSteps {
			if left := (l.version + step - h.now()).Seconds(); left > 0 {
				within("asked for again in", s.AskIn, left, left+0.2*step.Seconds()+took)
				return
			}
		}
		if l.never = true; s.AskIn != nil {
			h.t.Errorf("seed %d: %s is asked for again after the last step: %+v", h.seed, s.Tip[60:], *l)
		}
	case "failed", "missing":
		within("asked for again in", s.AskIn, day, 1.2*day)
	}
}

// TestHistoriesOfRecords lives through months of many records. After each event a record is
// due when it has to be, none is lost, and none is given up that may be served. In the end
// the platform serves all: every record that was not given up is complete, and is asked for
// until its last step.
func TestHistoriesOfRecords(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	db := testDB(t)
	insertPending(t, db, *histories)
	run, err := db.StartRun(t.Context(), "process", "test")
	if err != nil {
		t.Fatal(err)
	}
	h := &history{t: t, db: db, run: run, seed: seed, begun: time.Now(), lives: map[string]*life{}}
	for i := range *histories {
		h.lives[tip(i)] = &life{Rand: rand.New(rand.NewPCG(seed, uint64(i))), tip: tip(i)}
	}
	random := rand.New(rand.NewPCG(seed, 1<<32))
	const events = 56
	for event := range events {
		h.work(false)
		if t.Failed() {
			return
		}
		longest := 90 * time.Minute // many tries within the first day, then long silences
		if event%14 > 10 {
			longest = []time.Duration{26 * time.Hour, 20 * 24 * time.Hour}[random.IntN(2)]
		}
		h.pass(time.Duration(random.Int64N(int64(longest))).Truncate(time.Second) + 10*time.Second)
	}
	givenUp := 0
	for range 60 {
		h.pass(26 * time.Hour)
		h.work(true)
	}
	for _, l := range h.lives {
		if l.givenUp {
			givenUp++
		} else if !l.complete || !l.never {
			t.Errorf("seed %d: in the end %s is %+v", seed, l.tip[60:], *l)
		}
	}
	t.Logf("%d records, %d given up, %s", *histories, givenUp, h.now().Round(time.Hour))
	if givenUp == 0 || givenUp == *histories {
		t.Errorf("%d records were given up: the test shows nothing", givenUp)
	}
}
