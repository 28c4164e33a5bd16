package storage

import (
	"slices"
	"testing"
	"time"
)

// reachedClaims claims n records and returns their tips.
func reachedClaims(t *testing.T, db *DB, reached *Reached, n int) []string {
	t.Helper()
	claims, err := db.Claim(t.Context(), ClaimRequest{
		Run: 1, Limit: n, Retries: (n + 1) / 2, Lease: time.Minute, Reached: reached, Selector: Selector{ObjectType: "LCD"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tips := make([]string, len(claims))
	for i, c := range claims {
		tips[i] = c.Tip
	}
	slices.Sort(tips)
	return tips
}

// While a session holds a snapshot, the indexes of the queue keep an entry of every record
// that was drained since. A run goes through them once.
func TestAClaimDoesNotReadEntriesOfDrainedRecordsAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	const drained, more = 3000, 200
	insertPending(t, db, drained+more)
	// Statistics from before the drain, as autovacuum leaves them.
	foreign(t, db, `ANALYZE noggin_schema.noggin_data`)
	analyst, err := db.pool.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = analyst.Rollback() }()
	for _, statement := range []string{`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, `DECLARE held CURSOR FOR SELECT tip FROM noggin_schema.noggin_data`} {
		if _, err := analyst.ExecContext(t.Context(), db.sql(statement)); err != nil {
			t.Fatal(err)
		}
	}
	for _, change := range []string{
		`processing_status = 'api_success', next_retry_at = now()`, `processing_status = 'complete', next_retry_at = NULL`,
	} {
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET `+change+` WHERE tip < $1`, tip(drained))
	}
	read := func() map[string]int64 {
		entries := map[string]int64{}
		for _, index := range []string{"noggin_data_pending", "noggin_data_retry", "noggin_data_changed"} {
			entries[index] = scalar[int64](t, db, `SELECT coalesce(idx_tup_read, 0) FROM pg_stat_user_indexes WHERE indexrelname = $1 AND schemaname = 'noggin_schema'`, index)
		}
		return entries
	}
	session := func(reached *Reached, claims int) map[string]int64 {
		before := read()
		one := openDB(t, db.cfg)
		for range claims {
			if got := reachedClaims(t, one, reached, 10); len(got) != 10 {
				t.Fatalf("%d records were claimed", len(got))
			}
		}
		if err := one.Close(); err != nil { // it reports its statistics
			t.Fatal(err)
		}
		for scalar[int](t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'`) > 0 {
			db.pool.SetMaxIdleConns(-1)
			time.Sleep(5 * time.Millisecond)
		}
		after := read()
		for index, n := range before {
			after[index] -= n
		}
		return after
	}
	var reached Reached
	first := session(&reached, 1)
	if first["noggin_data_pending"] < drained || first["noggin_data_retry"] < drained {
		t.Errorf("the first claim read %v entries: the test shows nothing", first)
	}
	if first["noggin_data_changed"] > 0 {
		t.Errorf("a look for retries went through the records of every other status: %v", first)
	}
	reached.looked = time.Now().Add(time.Hour) // however slow this machine is
	if later := session(&reached, 10); later["noggin_data_pending"] > 3*more || later["noggin_data_retry"] > 3*more {
		t.Errorf("ten more claims read %v entries", later)
	}
}

func TestARunComesBackToRecordsBehindIt(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 10)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', retry_count = 1, next_retry_at = now() - interval '1 hour' WHERE tip = $1`, tip(3))
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'skipped' WHERE tip IN ($1, $2)`, tip(0), tip(2))
	var reached Reached
	want := func(tips ...string) {
		t.Helper()
		if got := reachedClaims(t, db, &reached, 2); !slices.Equal(got, tips) {
			t.Fatalf("claimed %q, want %q", got, tips)
		}
	}
	want(tip(1), tip(3))
	// An operator puts one back, and another one becomes due as if it always had been.
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'pending' WHERE tip = $1`, tip(0))
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'interrupted', next_retry_at = NULL WHERE tip = $1`, tip(2))
	want(tip(4), tip(5))
	reached.looked = reached.looked.Add(-2 * time.Minute)
	want(tip(0), tip(2))
	want(tip(6), tip(7))
	// Too little ahead: the next claim looks at the whole queue.
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET claim_expires_at = NULL, claimed_by = NULL WHERE tip = $1`, tip(1))
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'skipped' WHERE tip = $1`, tip(9))
	want(tip(8))
	want(tip(1))
	// Nothing ahead: the claim itself does.
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'pending' WHERE tip = $1`, tip(9))
	if got := reachedClaims(t, db, &reached, 1); !slices.Equal(got, []string{tip(9)}) {
		t.Fatalf("claimed %q", got)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET claim_expires_at = NULL, claimed_by = NULL WHERE tip = $1`, tip(4))
	want(tip(4))
}

// A claim that took as many retries as it wanted has not seen those behind them.
func TestNoRetryIsPassedOver(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 9)
	for hours, retry := range []int{8, 7, 6} {
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', retry_count = 1, next_retry_at = now() - $2 * interval '1 hour' WHERE tip = $1`, tip(retry), hours+1)
	}
	var reached Reached
	for _, want := range [][]string{{tip(0), tip(6)}, {tip(1), tip(7)}, {tip(2), tip(8)}, {tip(3), tip(4)}} {
		if got := reachedClaims(t, db, &reached, 2); !slices.Equal(got, want) {
			t.Fatalf("claimed %q, want %q", got, want)
		}
	}
}

func TestARunComesBackToRecordsToAskForAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 6)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'complete'`)
	foreign(t, db, `INSERT INTO noggin_schema.refreshes (record_tip, due_at) SELECT tip, now() - interval '1 hour' + queue_order * interval '1 second' FROM noggin_schema.noggin_data`)
	var reached Reached
	for _, want := range [][]string{{tip(0), tip(1)}, {tip(2), tip(3)}} {
		if got := reachedClaims(t, db, &reached, 2); !slices.Equal(got, want) {
			t.Fatalf("claimed %q, want %q", got, want)
		}
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET claim_expires_at = NULL, claimed_by = NULL WHERE tip = $1`, tip(0))
	for _, want := range [][]string{{tip(4), tip(5)}, {tip(0)}, {}} {
		if got := reachedClaims(t, db, &reached, 2); !slices.Equal(got, want) {
			t.Fatalf("claimed %q, want %q", got, want)
		}
	}
}
