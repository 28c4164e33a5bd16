package storage

import (
	"context"
	"testing"
	"time"
)

func TestARunGivesSignsOfLifeUntilItEnds(t *testing.T) {
	t.Parallel()
	cfg := testDB(t).cfg
	cfg.signEvery = 5 * time.Millisecond
	db := openDB(t, cfg)
	ctx, signal := context.WithCancel(t.Context())
	run, err := db.StartRun(ctx, "copy verify", "test")
	if err != nil {
		t.Fatal(err)
	}
	signal() // it has a while to end
	foreign(t, db, `UPDATE noggin_schema.runs SET seen_at = now() - interval '2 hours'`)
	for start := time.Now(); !scalar[bool](t, db, `SELECT seen_at > now() - interval '1 minute' FROM noggin_schema.runs`); {
		if time.Since(start) > time.Minute {
			t.Fatal("a run that lives gives no sign of life")
		}
		time.Sleep(time.Millisecond)
	}
	if err := db.FinishRun(t.Context(), run, 0, "", nil); err != nil {
		t.Fatal(err)
	}
	if len(db.living.runs) != 0 {
		t.Error("a run that ended lives on")
	}
	if _, err := db.StartRun(t.Context(), "copy verify", "test"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil || len(db.living.runs) != 0 {
		t.Errorf("%d runs live on after the database was closed: %v", len(db.living.runs), err)
	}
}

// The weekly jobs run on Sunday. One that is made up on Monday stands for the Sunday
// before.
func TestAWeekBeginsOnSunday(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `
		INSERT INTO noggin_schema.runs (command, host, pid, started_at, finished_at, exit_code)
		SELECT 'copy verify', host, 1, sunday + at, sunday + at, 0
		FROM (SELECT date_trunc('day', now()) - extract(dow FROM now()) * interval '1 day' AS sunday) AS s,
			(VALUES ('before', interval '-1 second'), ('begin', '0'), ('long before', '-3 days')) AS r (host, at)`)
	runs, err := db.RunsThis(t.Context(), "week", "copy verify")
	if err != nil || len(runs) != 1 || runs[0].Host != "begin" {
		t.Errorf("the runs of this week are %+v, %v", runs, err)
	}
}

// Otherwise nobody is told that a queue stands still, as somebody retried one old record.
func TestARecordThatIsPendingAgainDoesNotHideThoseThatWaitLonger(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET created_at = now() - interval '3 days', csv_imported_at = NULL, updated_at = now() - interval '3 days';
		UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', permanently_failed = true WHERE queue_order = (SELECT min(queue_order) FROM noggin_schema.noggin_data)`)
	if n, err := db.ResetForRetry(t.Context(), 1, Selector{Permanent: true}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if q, err := db.QueueDepth(t.Context()); err != nil || q.OldestAt == nil || time.Since(*q.OldestAt) < 71*time.Hour {
		t.Errorf("one of two is pending again, the other waits for 3 days: %+v, %v", q, err)
	}
}

func TestARecordThatIsPendingAgainWaitsSinceThen(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET created_at = now() - interval '91 days', csv_imported_at = now() - interval '90 days', updated_at = now() - interval '90 days'`)
	if q, err := db.QueueDepth(t.Context()); err != nil || q.OldestAt == nil || time.Since(*q.OldestAt) < 89*24*time.Hour {
		t.Errorf("a record that waits since its import: %+v, %v", q, err)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', permanently_failed = true`)
	if n, err := db.ResetForRetry(t.Context(), 1, Selector{Permanent: true}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if q, err := db.QueueDepth(t.Context()); err != nil || q.OldestAt == nil || time.Since(*q.OldestAt) > time.Hour {
		t.Errorf("a record that is pending again: %+v, %v", q, err)
	}
}

// An operator had a record fetched that was given up, and the run died in the middle: nobody
// else takes it.
func TestARecordThatWasGivenUpAndBegunAgainIsToldAndRetried(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', permanently_failed = true`)
	claims, err := db.Claim(t.Context(), ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute, Selector: Selector{Tips: []string{tip(0)}}})
	if err == nil && len(claims) == 1 {
		_, err = db.Store(t.Context(), 1, []Answer{answer(claims[0])})
	}
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	told := func(when string, want int64) {
		t.Helper()
		for _, c := range Checks([]string{"LCD"}, nil) {
			if c.Name != "permanently_failed_status" {
				continue
			}
			if v, err := db.Violations(t.Context(), c); err != nil || v.Count != want {
				t.Errorf("%s: %+v, want %d, %v", when, v, want, err)
			}
		}
	}
	told("while the run is at work", 0)
	expire(t, db)
	told("after it died", 1)
	if n, err := db.ResetForRetry(t.Context(), 2, Selector{Permanent: true}); err != nil || n != 1 {
		t.Errorf("%d records are retried, want the one that was given up, %v", n, err)
	}
}
