package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

func TestARunTellsWhatItDid(t *testing.T) {
	t.Parallel()
	message := "the circuit is open"
	for _, test := range []struct {
		run  storage.RunRow
		want string
	}{
		{storage.RunRow{Summary: []byte(`{"claimed": 3, "complete": 2, "api_failed": 1, "interrupted": 0}`)}, "3 taken, 2 complete, 1 API failed"},
		{storage.RunRow{Summary: []byte(`{"claimed": 0}`)}, "nothing was due"},
		{storage.RunRow{Summary: []byte(`null`)}, ""},
		{storage.RunRow{Summary: []byte(`{"copied": 1200, "log_files": 2, "removed": 3, "gone": 0, "problems": 1}`)}, "1,200 copied, 2 files of the log, 3 removed, 1 problem"},
		{storage.RunRow{Summary: []byte(`{"copied": 0, "log_files": 0}`)}, "nothing was due"},
		{storage.RunRow{Summary: []byte(`{"checked": 10, "missing": 1, "damaged": 2, "problems": 3}`)}, "10 compared, 1 missing, 2 damaged, 3 problems"},
		{storage.RunRow{Summary: []byte(`{"records": 4, "leaves": 5, "tree_size": 90}`)}, "5 leaves appended"},
		{storage.RunRow{Summary: []byte(`{"records": 0, "leaves": 0, "tree_size": 90}`)}, "nothing was due"},
		{storage.RunRow{Summary: []byte(`{"file": "noggin-20251022-033000.dump", "bytes": 5000, "removed": ["x"]}`)}, "noggin-20251022-033000.dump, 5.0 kB"},
		{storage.RunRow{Summary: []byte(`{"path": "/b/noggin-20251022-033000.dump", "rows": {"runs": 3}, "problems": []}`)}, "noggin-20251022-033000.dump"},
		{storage.RunRow{Summary: []byte(`{"files": 709, "records": 200, "already_there": 1}`)}, "709 files"},
		{storage.RunRow{Summary: []byte(`{"files": 0, "bytes": 0}`)}, "0 files"},
		{storage.RunRow{Summary: []byte(`{"archives": [{}, {}], "files": 110, "problems": []}`)}, "2 archives, 110 files"},
		{storage.RunRow{Summary: []byte(`{"archives": 2, "wrong": 1}`)}, "2 archives, 1 wrong"},
		{storage.RunRow{Summary: []byte(`{"tables": [{}]}`)}, "1 table"},
		{storage.RunRow{Summary: []byte(`{"indexes": [{}, {}]}`)}, "2 indexes"},
		{storage.RunRow{Summary: []byte(`{"steps": [{}, {}]}`)}, "2 steps"},
		{storage.RunRow{Summary: []byte(`{"runs": 0, "errors": 2, "samples": 0, "resolved_hashes": 1}`)}, "2 errors, 1 resolved hash"},
		{storage.RunRow{Summary: []byte(`{"new": 0, "changed": 2}`)}, ""},
		{storage.RunRow{Summary: []byte(`{"areas": [{"area": "data", "checked": true}], "errors": 3}`)}, "looked at data"},
		{storage.RunRow{Summary: []byte(`{"claimed": 3}`), Message: &message}, "3 taken: the circuit is open"},
	} {
		if got := whatItDid(test.run); got != test.want {
			t.Errorf("%s tells %q, want %q", test.run.Summary, got, test.want)
		}
	}
	now := time.Now()
	if got := exitText(storage.RunRow{SeenAt: now.Add(-time.Hour)}, now); got != "died" {
		t.Errorf("a run silent for an hour is %q", got)
	}
	if got := exitText(storage.RunRow{SeenAt: now.Add(-time.Minute)}, now); got != "running" {
		t.Errorf("a run seen a minute ago is %q", got)
	}
}

func TestTheQueueTellsWhenItWillBeEmpty(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 12, 0, 0, 0, time.UTC)
	at := func(hours float64, due int64) storage.Sample {
		return storage.Sample{At: now.Add(-time.Duration(hours * float64(time.Hour))), Measures: storage.Measures{Due: due}}
	}
	q := queueReport{Queue: storage.QueueDepth{Due: 100}}
	q.history([]storage.Sample{at(5, 900), at(3, 400), at(2.95, 395), at(1, 200)}, now)
	if len(q.Depths) != 3 || q.PerHour == nil || *q.PerHour != 100 || q.EmptyAt == nil || !q.EmptyAt.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", q)
	}
	deep := queueReport{Queue: storage.QueueDepth{Due: 5000, Later: 6000, DueAtLeast: true}}
	deep.history([]storage.Sample{at(2, 5000)}, now)
	status := statusReport{Queue: deep.Queue}
	if facts := fmt.Sprint(status.queueSection(now).Facts); deep.PerHour != nil || !strings.Contains(facts, "at least 5,000") || !strings.Contains(facts, "at most 6,000") {
		t.Errorf("%+v: %s", deep, facts)
	}
	growing := queueReport{Queue: storage.QueueDepth{Due: 500}}
	growing.history([]storage.Sample{at(2, 100)}, now)
	if growing.EmptyAt != nil || *growing.PerHour != -200 || !strings.Contains(growing.pace(now), "grows by 200") {
		t.Errorf("%+v", growing)
	}
}

func TestTheStateOfTheCircuitSaysWhatComesNext(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) *time.Time { return new(now.Add(time.Duration(minutes) * time.Minute)) }
	for want, row := range map[string]storage.Circuit{
		"closed; opened 3 times today": {State: storage.CircuitClosed, OpenUntil: at(5), PausedUntil: at(-1)},
		"open until 2025-10-22 12:05:00 (in 5 m); 3 of the last 4 requests failed (75 %); opened 3 times today": {State: storage.CircuitOpen, OpenUntil: at(5), Recent: "1101"},
		"open, its time is over: the next run probes; opened 3 times today":                                     {State: storage.CircuitOpen, OpenUntil: at(-5)},
		"half-open; the API asked to wait until 2025-10-22 12:07:00 (in 7 m); opened 3 times today":             {State: storage.CircuitHalfOpen, PausedUntil: at(7)},
	} {
		r := &reporter{now: now, standing: storage.Standing{Circuit: row}}
		if got := r.circuit(1, 3).describe(now); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestTheTotalsSayWhetherAllInspectionsAreShown(t *testing.T) {
	for _, c := range []struct {
		totals storage.InspectionTotals
		limit  int
		want   string
	}{
		{storage.InspectionTotals{Records: 10_000, More: true}, 50, "More than 10,000 inspections; these are the latest, --limit 0 shows all."},
		{storage.InspectionTotals{Records: 10_000, More: true}, 0, "More than 10,000 inspections; these are all, 70 rows."},
		{storage.InspectionTotals{Records: 100}, 50, "100 inspections\nThese are the latest 70 rows; --limit 0 shows all."},
		{storage.InspectionTotals{Records: 70}, 0, "70 inspections"},
	} {
		if got := totalsText(c.totals, 70, storage.InspectionFilter{Limit: c.limit}); got != c.want {
			t.Errorf("%+v, limit %d: %q", c.totals, c.limit, got)
		}
	}
}
