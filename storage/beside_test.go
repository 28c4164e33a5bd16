package storage

import (
	"fmt"
	"testing"
	"time"
)

// These tests let one statement wait between its snapshot and its work, while another
// session commits.

// hold makes statements that change records and contain the text wait until release is
// called. Their snapshots are older than what is committed meanwhile.
func hold(t *testing.T, db *DB, text string) (release func()) {
	t.Helper()
	foreign(t, db, `
		CREATE FUNCTION noggin_schema.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF strpos(current_query(), '`+text+`') > 0 THEN PERFORM pg_advisory_xact_lock(4711); END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER hold BEFORE UPDATE ON noggin_schema.noggin_data FOR EACH STATEMENT EXECUTE FUNCTION noggin_schema.hold()`)
	tx := db.pool.MustBegin()
	tx.MustExec(`SELECT pg_advisory_xact_lock(4711)`)
	t.Cleanup(func() { _ = tx.Rollback() })
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// lockWaits counts the sessions that wait for a lock.
const lockWaits = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`

// start does something beside the test. It returns when that waits for a lock, or is done.
func start(t *testing.T, db *DB, do func() error) (wait func()) {
	t.Helper()
	before := scalar[int](t, db, lockWaits)
	done := make(chan error, 1)
	go func() { done <- do() }()
	ended := false
	var err error
	for !ended && scalar[int](t, db, lockWaits) == before {
		select {
		case err = <-done:
			ended = true
		case <-time.After(time.Millisecond):
		}
	}
	return func() {
		t.Helper()
		if !ended {
			err = <-done
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestARenewalGivesNoLeaseToARecordThatWasFinishedMeanwhile(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	claims := claim(t, db, 7, 2)
	release := hold(t, db, "renewed AS")
	renewed := start(t, db, func() error {
		_, err := db.Renew(t.Context(), 7, claims, 2*time.Minute)
		return err
	})
	finish(t, db, 7, Result{Tip: claims[0].Tip, Token: claims[0].Token, Status: StatusComplete})
	release()
	renewed()
	leases := `SELECT string_agg(coalesce(claimed_by, 0) || ' ' || (claim_expires_at > now() + interval '110 seconds' IS TRUE), ', ' ORDER BY tip) FROM noggin_schema.noggin_data`
	if got := scalar[string](t, db, leases); got != "0 false, 7 true" {
		t.Errorf("owners and renewed leases are %s", got)
	}
}

// What an older version left is no claim.
func TestALeaseWithoutAnOwnerIsNoStuckClaim(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	if _, err := db.pool.Exec(`UPDATE noggin_schema.noggin_data SET claim_expires_at = now() - interval '2 hours', claimed_by = CASE tip WHEN $1 THEN 7 END`, tip(1)); err != nil {
		t.Fatal(err)
	}
	for _, check := range recordChecks(nil) {
		if check.Name != "stuck_claims" {
			continue
		}
		if v, err := db.Violations(t.Context(), check); err != nil || len(v.Examples) != 1 || v.Examples[0] != tip(1) {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

func TestACheckMendsNothingThatChangedSinceItsSnapshot(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'complete', permanently_failed = true, retry_count = 9`)
	var check Check
	for _, c := range recordChecks(nil) {
		if c.Name == "permanently_failed_status" {
			check = c
		}
	}
	release := hold(t, db, "permanently_failed = false")
	var mended int64
	done := start(t, db, func() (err error) {
		mended, err = db.Fix(t.Context(), check, "LCD")
		return err
	})
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed'`)
	release()
	done()
	if failed := scalar[bool](t, db, `SELECT permanently_failed FROM noggin_schema.noggin_data`); mended != 0 || !failed {
		t.Errorf("mended %d; permanently failed: %v", mended, failed)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'complete'`)
	if n, err := db.Fix(t.Context(), check, "LCD"); err != nil || n != 1 {
		t.Errorf("without a change it mended %d, %v", n, err)
	}
}

// An import of names cannot be tried again, so that no deadlock may end it.
func TestNothingChangesUnknownHashesBesideAnImport(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `
		INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, occurrence_count) VALUES ('aa', 'vehicle', 1);
		INSERT INTO noggin_schema.unknown_hash_counts (hash_value, entity_type, occurrences) VALUES ('aa', 'vehicle', 1);
		UPDATE noggin_schema.names_recheck SET after = ''`)
	importing := db.pool.MustBegin()
	defer func() { _ = importing.Rollback() }()
	importing.MustExec(lockNames)
	const state = `SELECT concat_ws(' ', occurrence_count, ask_outcome, (SELECT count(*) FROM noggin_schema.names_recheck WHERE after IS NULL)) FROM noggin_schema.unknown_hashes`
	if err := db.CountUnknown(t.Context()); err != nil { // it leaves them to the next run
		t.Error(err)
	}
	var waits []func()
	for _, do := range []func() error{
		func() error { return db.RememberAsked(t.Context(), map[string]AskOutcome{"aa": AskRefused}) },
		func() error { _, err := db.RecheckNames(t.Context(), 10); return err },
		func() error { return db.BringTimesBack(t.Context(), time.Minute, nil) },
		func() error { _, err := db.Fix(t.Context(), Check{Name: "resolved_without_name"}, "LCD"); return err },
		func() error { _, err := db.Fix(t.Context(), Check{Name: "unlisted_unknown"}, "LCD"); return err },
	} {
		before := scalar[int](t, db, lockWaits)
		waits = append(waits, start(t, db, do))
		if n := scalar[int](t, db, lockWaits); n != before+1 {
			t.Errorf("%d wait, want %d", n, before+1)
		}
	}
	if got := scalar[string](t, db, state); got != "1 0" {
		t.Errorf("beside an import the hash is %s", got)
	}
	if err := importing.Rollback(); err != nil {
		t.Fatal(err)
	}
	for _, wait := range waits {
		wait()
	}
	if err := db.CountUnknown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := scalar[string](t, db, state); got != "2 refused 1" {
		t.Errorf("after the import the hash is %s", got)
	}
}

// A report returns to a former text, whose copy becomes obsolete at the same moment.
func TestAReportThatReturnsToAFormerTextKeepsItsCopyOrIsDue(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	target := register(t, db, "/mnt/b")
	filed(t, db, 1, 1)
	copyAll(t, db, target)
	former := scalar[string](t, db, `SELECT report_hash_sha256 FROM noggin_schema.noggin_data`)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET report_hash_sha256 = $1`, sum(1))
	healing := db.pool.MustBegin()
	defer func() { _ = healing.Rollback() }()
	healing.MustExec(`UPDATE noggin_schema.noggin_data SET report_hash_sha256 = $1`, former)
	copied := start(t, db, func() error {
		return db.FinishCopies(t.Context(), target, CopyResults{Copied: []Copied{{CopyKey: CopyKey{"2025/09/1/report.txt", sum(1)}, Size: 10, Kind: CopyReport, RecordTip: tip(1)}}})
	})
	if err := healing.Commit(); err != nil {
		t.Fatal(err)
	}
	copied()
	if !scalar[bool](t, db, `SELECT EXISTS (SELECT FROM noggin_schema.copies WHERE hash_sha256 = $1 AND obsolete_at IS NULL)
		OR EXISTS (SELECT FROM noggin_schema.copies_due WHERE hash_sha256 = $1)`, former) {
		t.Error("the current report has no copy and is not due")
	}
}

func TestAFileThatTwoRunsCopiedCountsOnce(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	target := register(t, db, "/mnt/b")
	filed(t, db, 1, 1)
	due := claimCopies(t, db, target, 1)[0]
	one := func() error {
		return db.FinishCopies(t.Context(), target, CopyResults{Copied: []Copied{{CopyKey: due.CopyKey, Size: due.Size, Kind: due.Kind, RecordTip: due.RecordTip}}})
	}
	first := db.pool.MustBegin()
	defer func() { _ = first.Rollback() }()
	doc := fmt.Sprintf(`[{"path": %q, "sha256": %q, "size": %d, "kind": %q, "record_tip": %q, "version_id": ""}]`, due.Path, due.SHA256, due.Size, due.Kind, due.RecordTip)
	if err := db.addCopies(t.Context(), first, target, doc); err != nil {
		t.Fatal(err)
	}
	second := start(t, db, one)
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	second()
	if status := theTarget(t, db); status.Files != 1 || status.Bytes != due.Size {
		t.Errorf("one copy counts as %+v", status)
	}
}
