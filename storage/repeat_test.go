package storage

import (
	"testing"

	"noggin/storage/storagetest"
)

// throughProxy returns the database behind a proxy that can lose the replies to commits.
func throughProxy(t *testing.T, db *DB) (*DB, *storagetest.Proxy) {
	t.Helper()
	proxy := storagetest.NewProxy(t, db.cfg.URL)
	cfg := db.cfg
	cfg.URL = proxy.URL(db.cfg.URL)
	return openDB(t, cfg), proxy
}

// When the reply to a COMMIT is lost, the transaction runs again and returns what its
// first try did.
func TestAResultOutlivesALostReply(t *testing.T) {
	t.Parallel()
	direct := testDB(t)
	insertPending(t, direct, 3)
	foreign(t, direct, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed'`)
	db, proxy := throughProxy(t, direct)
	run, err := db.StartRun(t.Context(), "retry-failed", "test")
	if err != nil {
		t.Fatal(err)
	}
	proxy.LoseCommits(1)
	if reset, err := db.ResetForRetry(t.Context(), run, Selector{}); err != nil || reset != 3 {
		t.Errorf("%d records were reset, %v, want 3", reset, err)
	}

	var failures []CountedFailure
	for _, c := range claim(t, direct, run, 2) {
		finish(t, direct, run, Result{Tip: c.Tip, Token: c.Token, Status: "api_failed"})
		failures = append(failures, CountedFailure{Tip: c.Tip, Token: c.Token, Final: true})
	}
	proxy.LoseCommits(1)
	counted, err := db.CountFailures(t.Context(), failures, testBackoff)
	if err != nil || len(counted) != 2 || !counted[0].PermanentlyFailed || !counted[1].PermanentlyFailed {
		t.Errorf("counted %+v, %v, want two that are permanently failed", counted, err)
	}
	if n := scalar[int](t, db, `SELECT max(retry_count) FROM noggin_schema.noggin_data`); n != 1 {
		t.Errorf("a failure was counted %d times", n)
	}

	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('aa', 'vehicle', 'TRUCK 1'), ('bb', 'team', 'Night')`)
	proxy.LoseCommits(1)
	if gone, err := db.ForgetNames(t.Context(), Forget{Hashes: []string{"aa", "bb"}}); err != nil || gone.Names != 2 {
		t.Errorf("forgot %+v, %v, want two names", gone, err)
	}
	if proxy.Lost() != 3 {
		t.Errorf("%d replies were lost, want 3", proxy.Lost())
	}
}
