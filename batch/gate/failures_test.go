package gate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"noggin/api"
	"noggin/batch/forms"
	"noggin/storage"
)

var failuresStart = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

// bareGate is a gate without database and API. stopped is why it ended the run.
func bareGate(t *testing.T) (g *Gate, stopped func() error) {
	t.Helper()
	var why error
	g = &Gate{
		run: Run{
			DB: &storage.DB{}, Log: slog.New(slog.DiscardHandler), Types: &forms.ObjectTypes{}, Circuit: DefaultCircuit(), DefaultObjectType: "LCD",
			Stop: func(err error) { why = err }, MakeSure: func(ctx context.Context) (context.Context, error) { return ctx, nil },
			TimeLeft: func(time.Duration) time.Duration { return time.Hour }, Requested: func() {},
		},
		slots: make(chan struct{}, 1), slow: make(chan struct{}, 1),
	}
	g.failures = newFailures(g)
	g.breaker = newBreaker(g, storage.Standing{Circuit: storage.Circuit{State: storage.CircuitClosed}})
	g.witness = &witness{gate: g, now: func() time.Time { return failuresStart }, subjects: map[string]*subject{}}
	return g, func() error { return why }
}

// failuresAt are failures of some classes, named by their number.
func failuresAt(ended time.Time, classes ...Class) (failures []Failure) {
	for i, class := range classes {
		failures = append(failures, Failure{Key: storage.ClaimKey{Tip: string(rune('a' + i)), Token: int64(i)}, Class: class, Ended: ended})
	}
	return failures
}

func TestWhatATestimonyCounts(t *testing.T) {
	t.Parallel()
	before, after := failuresStart.Add(-time.Second), failuresStart.Add(time.Second)
	all := failuresAt(before, Passing, Lasting, Absent, Unauthorized, Forbidden, NoFailure)
	all[0].Kept = true
	absent := failuresAt(before, Absent)
	absent[0].EveryForm, absent[0].Kept = true, true
	passing := storage.CountedFailure{Tip: "a", Passing: true}
	for name, test := range map[string]struct {
		subject          string
		held             []Failure
		said             said
		holding          string
		came, otherwise  bool
		counted          []storage.CountedFailure
		rejected, failed bool
		left             int
		holds            string
	}{
		"answered": {held: all, said: answered, counted: []storage.CountedFailure{
			{Tip: "a", Passing: true, Kept: true}, {Tip: "b", Token: 1}, {Tip: "c", Token: 2, Passing: true}, {Tip: "d", Token: 3, Passing: true}, {Tip: "e", Token: 4, Passing: true},
		}},
		"answered: under no form":         {held: absent, said: answered, counted: []storage.CountedFailure{{Tip: "a", Final: true, Kept: true}}},
		"answered too early":              {held: failuresAt(after, Passing, Absent), said: answered, left: 2},
		"answered in the same instant":    {held: failuresAt(failuresStart, Passing), said: answered, left: 1},
		"answered between them":           {held: append(failuresAt(before, Passing), failuresAt(after, Passing, Passing)...), said: answered, counted: []storage.CountedFailure{passing}, left: 2},
		"answered: requests waited":       {held: failuresAt(before, Unauthorized), said: answered, holding: "LCD", counted: []storage.CountedFailure{passing}},
		"failed":                          {held: failuresAt(before, Passing, Lasting, Absent), said: failed, failed: true},
		"failed: one is refused":          {held: failuresAt(before, Passing, Forbidden), said: failed, failed: true, rejected: true},
		"failed: requests waited":         {held: failuresAt(before, Passing), said: failed, holding: "LCD", failed: true, rejected: true},
		"failed: requests wait elsewhere": {held: failuresAt(before, Passing), said: failed, holding: "SO", failed: true, holds: "SO"},
		"refused":                         {held: failuresAt(before, Passing, Absent), said: refused, failed: true},
		"refused: requests waited":        {said: refused, holding: "LCD", failed: true, rejected: true},
		"nobody":                          {held: failuresAt(before, Passing), said: nobody, failed: true},
		"nobody, but answers":             {held: failuresAt(before, Passing), said: nobody, came: true, counted: []storage.CountedFailure{passing}},
		"nobody: only refusals":           {held: failuresAt(before, Forbidden), said: nobody, failed: true, rejected: true},
		"nobody: refusals and others":     {held: failuresAt(before, Forbidden), said: nobody, came: true, otherwise: true, counted: []storage.CountedFailure{passing}},
		"nobody: one attachment":          {subject: storage.SubjectMedia, held: failuresAt(before, Passing), said: nobody, counted: []storage.CountedFailure{passing}},
		"nobody: two attachments":         {subject: storage.SubjectMedia, held: failuresAt(before, Passing, Passing), said: nobody, failed: true},
	} {
		g, _ := bareGate(t)
		f, subject := g.failures, "LCD"
		if test.subject != "" {
			subject = test.subject
		}
		f.held[subject], f.holding, f.answered[subject], f.otherwise = slices.Clone(test.held), test.holding, test.came, test.otherwise
		f.refusals, f.streak[subject], f.streak["SO"] = 4, 5, 6
		counted, rejected, failing := f.decide(subject, testimony{said: test.said, asked: failuresStart})
		if !slices.Equal(counted, test.counted) || rejected != test.rejected || failing != test.failed || len(f.held[subject]) != test.left || f.holding != test.holds {
			t.Errorf("%s: %+v, rejected %t, failing %t, %d are left, %q holds", name, counted, rejected, failing, len(f.held[subject]), f.holding)
		}
		if forgets := f.refusals == 0 && f.streak[subject] == 0; forgets != (test.said == answered) || f.streak["SO"] != 6 {
			t.Errorf("%s: %d refusals, streaks %v", name, f.refusals, f.streak)
		}
	}
}

func TestWhenTheWitnessIsAskedInMidRun(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return failuresStart.Add(-d) }
	many := make([]Failure, mostHeld)
	for i := range many {
		many[i].Ended = ago(time.Second)
	}
	for name, test := range map[string]struct {
		held    []Failure
		streak  int
		holding string
		last    testimony
		want    bool
	}{
		"nothing failed":                    {},
		"a failure a moment ago":            {held: failuresAt(ago(witnessEvery-1), Passing), streak: 1},
		"a failure some time ago":           {held: failuresAt(ago(witnessEvery), Passing), streak: 1, want: true},
		"only the second is new":            {held: append(failuresAt(ago(witnessEvery), Passing), failuresAt(ago(1), Passing)...), want: true},
		"almost many in a row":              {held: failuresAt(ago(1), Passing), streak: manyFailures - 1},
		"many in a row":                     {held: failuresAt(ago(1), Passing), streak: manyFailures, want: true},
		"requests wait":                     {holding: "LCD", want: true},
		"requests wait for another":         {holding: "SO"},
		"no more can be held":               {held: many, want: true},
		"some more can be held":             {held: many[1:]},
		"there was no witness a moment ago": {streak: manyFailures, holding: "LCD", last: testimony{said: nobody, asked: ago(lookEvery - 1)}},
		"there was no witness":              {streak: manyFailures, last: testimony{said: nobody, asked: ago(lookEvery)}, want: true},
		"the witness was answered":          {streak: manyFailures, last: testimony{said: answered, asked: ago(1)}, want: true},
	} {
		g, _ := bareGate(t)
		f := g.failures
		f.held["LCD"], f.streak["LCD"], f.holding = test.held, test.streak, test.holding
		g.witness.subject("LCD").last = test.last
		if got := f.urgent("LCD"); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestWhatATestimonyIsGoodFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		held    []Failure
		holding string
		heldAt  time.Time
		want    bool
	}{
		"nothing":                          {},
		"the first failure":                {held: append(failuresAt(failuresStart.Add(-1), Passing), failuresAt(failuresStart.Add(1), Passing)...), want: true},
		"a failure of the same time":       {held: failuresAt(failuresStart, Passing)},
		"requests that wait":               {holding: "LCD", heldAt: failuresStart.Add(-1), want: true},
		"requests that wait since then":    {holding: "LCD", heldAt: failuresStart},
		"requests that wait for another":   {holding: "SO", heldAt: failuresStart.Add(-1)},
		"an early failure, others in wait": {held: failuresAt(failuresStart.Add(1), Passing), holding: "LCD", heldAt: failuresStart.Add(-1), want: true},
	} {
		g, _ := bareGate(t)
		f := g.failures
		f.held["LCD"], f.holding, f.heldAt = test.held, test.holding, test.heldAt
		if got := f.goodFor("LCD", testimony{said: answered, asked: failuresStart}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
		f.held["LCD"], f.held["SO"], f.held["media"] = test.held, failuresAt(failuresStart, Passing), nil
		want := []string{"SO"}
		if len(test.held) > 0 || test.holding == "LCD" {
			want = []string{"LCD", "SO"}
		}
		if got := f.subjects(); !slices.Equal(got, want) {
			t.Errorf("%s: subjects %v, want %v", name, got, want)
		}
	}
}

func TestNoMoreFailuresAreHeldThanAreBounded(t *testing.T) {
	t.Parallel()
	g, _ := bareGate(t)
	for range mostHeld + 1 {
		g.Hold(Failure{Subject: "LCD", Class: Passing})
	}
	f := g.failures
	if len(f.held["LCD"]) != mostHeld || f.streak["LCD"] != mostHeld+1 || len(f.wake) != 1 {
		t.Errorf("%d are held, %d in a row", len(f.held["LCD"]), f.streak["LCD"])
	}
	g.SawAnswer("LCD")
	if f.streak["LCD"] != 0 || !f.answered["LCD"] || f.answered["media"] {
		t.Errorf("after an answer %d in a row, answered %v", f.streak["LCD"], f.answered)
	}
}

func TestAFewAbsentRecordsAreLookedForUnderOtherForms(t *testing.T) {
	t.Parallel()
	g, _ := bareGate(t)
	for n := 1; n <= fewAbsent+1; n++ {
		if got := g.MayTryForms("LCD"); got != (n <= fewAbsent) {
			t.Errorf("record %d: %t", n, got)
		}
	}
	g.witness.subject("LCD").last.said = answered
	if !g.MayTryForms("LCD") || g.MayTryForms("SO") {
		t.Error("the witness of a form is that of another, or none")
	}
	g.SawAnswer("SO")
	if !g.MayTryForms("SO") {
		t.Error("an answer does not count")
	}
}

func TestARunWithoutAnyAnswerEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		subject, answered string
		held              int
		ends              bool
	}{
		"a few records":                 {"LCD", "", mostUnanswered - 1, false},
		"many records":                  {"LCD", "", mostUnanswered, true},
		"many, but some were answered":  {"LCD", "LCD", mostUnanswered, false},
		"many, but another form is not": {"LCD", "SO", mostUnanswered, false},
		"many attachments":              {storage.SubjectMedia, "LCD", mostUnanswered, true},
		"many, but some came":           {storage.SubjectMedia, storage.SubjectMedia, mostUnanswered, false},
	} {
		g, stopped := bareGate(t)
		f := g.failures
		f.held[test.subject], f.holding = make([]Failure, test.held), test.subject
		if test.answered != "" {
			g.SawAnswer(test.answered)
		}
		f.judgeBy(t.Context(), test.subject, testimony{said: nobody, asked: failuresStart}, false)
		if ended := errors.Is(stopped(), ErrAPIUnavailable) && errors.Is(g.Refused(), ErrAPIUnavailable); ended != test.ends || f.holds() {
			t.Errorf("%s: %v, requests wait: %t", name, stopped(), f.holds())
		}
		if len(f.held[test.subject]) != test.held {
			t.Errorf("%s: failures are judged", name)
		}
	}
}

func TestNothingIsJudgedByWhatIsNoTestimony(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx context.Context
		t   testimony
	}{
		"the run is over":       {over, testimony{said: failed, asked: failuresStart}},
		"the witness is silent": {t.Context(), testimony{said: silent, asked: failuresStart}},
		"it spoke before":       {t.Context(), testimony{said: failed, asked: failuresStart.Add(-2 * time.Second)}},
	} {
		g, stopped := bareGate(t)
		g.failures.held["LCD"] = failuresAt(failuresStart.Add(-time.Second), Forbidden)
		g.failures.judgeBy(test.ctx, "LCD", test.t, true)
		if len(g.failures.held["LCD"]) != 1 || stopped() != nil {
			t.Errorf("%s: %v", name, stopped())
		}
	}
}

// No form is configured, so nothing is known to be there.
func TestRefusalsWithoutAWitnessEndTheRun(t *testing.T) {
	t.Parallel()
	const (
		ok = iota
		unauthorized
		forbidden
	)
	outcomes := []api.Outcome{{Class: api.ClassOK}, {Class: api.ClassCredentials, Status: 401}, {Class: api.ClassForbidden, Status: 403}}
	for name, test := range map[string]struct {
		kinds []int
		ends  bool
	}{
		"one 401":                        {[]int{unauthorized}, true},
		"a 401 behind an answer":         {[]int{ok, unauthorized}, true},
		"nine 403":                       {slices.Repeat([]int{forbidden}, manyFailures-1), false},
		"ten 403":                        {slices.Repeat([]int{forbidden}, manyFailures), true},
		"ten 403, an answer before":      {append([]int{ok}, slices.Repeat([]int{forbidden}, manyFailures)...), false},
		"nine 403, an answer, ten again": {slices.Concat(slices.Repeat([]int{forbidden}, manyFailures-1), []int{ok}, slices.Repeat([]int{forbidden}, manyFailures)), false},
		"answers":                        {slices.Repeat([]int{ok}, 20), false},
	} {
		g, stopped := bareGate(t)
		for _, kind := range test.kinds {
			g.failures.see(t.Context(), "LCD", outcomes[kind])
		}
		if ended := errors.Is(stopped(), ErrCredentials); ended != test.ends {
			t.Errorf("%s: %v", name, stopped())
		}
	}
}

func TestWhetherTheCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		said      said
		otherwise bool
		want      error
	}{
		"other requests ended otherwise": {refused, true, nil},
		"the witness is answered":        {answered, false, nil},
		"the witness fails":              {failed, false, ErrAPIUnavailable},
		"the witness is silent":          {silent, false, ErrAPIUnavailable},
		"the witness is refused":         {refused, false, ErrCredentials},
	} {
		g, _ := bareGate(t)
		g.failures.otherwise = test.otherwise
		g.witness.subject("LCD").last = testimony{said: test.said, asked: failuresStart}
		if err := g.JudgeRefusals(t.Context(), "LCD", 3); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
