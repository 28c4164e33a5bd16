package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func importNames(t testing.TB, db *DB, opts ImportOptions, rows ...NamedHash) NameImport {
	t.Helper()
	result, err := db.ImportNames(t.Context(), opts, sliceOf(rows))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func sliceOf(rows []NamedHash) func() (NamedHash, error) {
	return func() (NamedHash, error) {
		if len(rows) == 0 {
			return NamedHash{}, io.EOF
		}
		row := rows[0]
		rows = rows[1:]
		return row, nil
	}
}

// storedRecords takes n records to complete, each with the vehicle aa and the team bb.
func storedRecords(t testing.TB, db *DB, n int) {
	t.Helper()
	insertPending(t, db, n)
	for _, c := range claim(t, db, 1, n) {
		a := answer(c)
		a.Folders = [3]string{c.Tip, c.Tip + " 1", c.Tip + " 2"}
		a.Attachments = nil
		if _, err := db.Store(t.Context(), 1, []Answer{a}); err != nil {
			t.Fatal(err)
		}
		finish(t, db, 1, Result{Tip: c.Tip, Token: c.Token, Status: "complete"})
	}
}

func healAll(t testing.TB, db *DB, run int64) int {
	t.Helper()
	healed := 0
	for after := ""; ; {
		batch, err := db.ClaimStale(t.Context(), run, after, 1000, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch.Records) == 0 {
			return healed
		}
		after = batch.Records[len(batch.Records)-1].Tip
		healed += saveHealed(t, db, run, batch, true)
	}
}

func saveHealed(t testing.TB, db *DB, run int64, batch StaleBatch, done bool) int {
	t.Helper()
	healed := make([]Healed, len(batch.Records))
	for i := range batch.Records {
		healed[i] = Healed{Record: &batch.Records[i], Done: done}
	}
	n, err := db.SaveHealed(t.Context(), run, batch.Names, healed)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func columnsOf(t testing.TB, db *DB, tip string) string {
	t.Helper()
	return scalar[string](t, db, `SELECT concat_ws('|', vehicle, team, has_unknown_hashes, names_stale) FROM noggin_schema.noggin_data WHERE tip = $1`, tip)
}

func TestAnImportMarksAndHealingRenewsTheRecords(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 3)
	updated := scalar[time.Time](t, db, `SELECT max(updated_at) FROM noggin_schema.noggin_data`)
	rows := []NamedHash{{2, "vehicle", "aa", "TRUCK 1"}, {3, "vehicle", "zz", "Nobody's"}, {4, "team", "bb", "Night"}}

	dry := importNames(t, db, ImportOptions{Source: "v.csv", DryRun: true}, rows...)
	if dry.Marked != 3 || dry.Resolved != 2 || columnsOf(t, db, tip(0)) != "Unknown (aa)|Unknown (bb)|t|f" {
		t.Errorf("a dry run found %+v and left %s", dry, columnsOf(t, db, tip(0)))
	}
	done := importNames(t, db, ImportOptions{Source: "v.csv"}, rows...)
	want := []TypeCounts{{"team", 1, 0, 0}, {"vehicle", 2, 0, 0}}
	if !slices.Equal(done.Types, want) || done.Marked != 3 || done.Resolved != 2 {
		t.Errorf("the import found %+v", done)
	}
	if standing, err := db.Standing(t.Context()); err != nil || !standing.HealNeeded {
		t.Errorf("standing %+v, %v: nothing to heal", standing, err)
	}
	if n := healAll(t, db, 7); n != 3 {
		t.Errorf("healed %d records", n)
	}
	if got := columnsOf(t, db, tip(1)); got != "TRUCK 1|Night|f|f" {
		t.Errorf("columns are %s", got)
	}
	if now := scalar[time.Time](t, db, `SELECT max(updated_at) FROM noggin_schema.noggin_data`); !now.Equal(updated) {
		t.Error("healing moved updated_at")
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NOT NULL AND resolved_name IN ('TRUCK 1', 'Night')`); n != 2 {
		t.Errorf("%d unknown hashes are resolved", n)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE claimed_by IS NOT NULL OR crash_count > 0`); n != 0 {
		t.Errorf("%d records are still claimed, or count as crashed", n)
	}
	if again := importNames(t, db, ImportOptions{Source: "v.csv"}, rows...); again.Marked != 0 || again.Types[1].Unchanged != 2 {
		t.Errorf("the same import again found %+v", again)
	}
}

func TestAChangedNameKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 1)
	importNames(t, db, ImportOptions{Source: "old.csv"}, NamedHash{2, "vehicle", "aa", "OLD"})
	healAll(t, db, 7)
	done := importNames(t, db, ImportOptions{Source: "new.csv"}, NamedHash{2, "vehicle", "aa", "NEW"})
	if done.Types[0].Changed != 1 || done.Marked != 1 {
		t.Errorf("found %+v", done)
	}
	healAll(t, db, 8)
	if got := columnsOf(t, db, tip(0)); got != "NEW|Unknown (bb)|t|f" {
		t.Errorf("columns are %s", got)
	}
	former, err := db.HashHistory(t.Context(), "aa")
	if err != nil || len(former) != 1 || former[0].Name != "OLD" || former[0].Source != "old.csv" || !former[0].From.Before(former[0].Until) {
		t.Errorf("history %+v, %v", former, err)
	}
}

func TestTheWrongTypeImportedAndThenTheRightOne(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 1)
	if wrong := importNames(t, db, ImportOptions{}, NamedHash{2, "trailer", "aa", "TRUCK 1"}); wrong.Marked != 0 || wrong.Resolved != 0 {
		t.Errorf("the wrong type marked %+v", wrong)
	}
	importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "TRUCK 1"})
	healAll(t, db, 7)
	if got := columnsOf(t, db, tip(0)); got != "TRUCK 1|Unknown (bb)|t|f" {
		t.Errorf("columns are %s", got)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.entity_hashes WHERE hash_value = 'aa'`); n != 2 {
		t.Errorf("the hash has %d types, want both", n)
	}
}

func TestForgottenNamesAreUnknownAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 2)
	importNames(t, db, ImportOptions{Source: "right.csv"}, NamedHash{2, "team", "bb", "Night"}, NamedHash{3, "trailer", "aa", "No trailer"})
	importNames(t, db, ImportOptions{Source: "wrong.csv"}, NamedHash{2, "vehicle", "aa", "Port Hedland"}, NamedHash{3, "vehicle", "zz", "Nobody's"})
	healAll(t, db, 7)
	// Long resolved ones are pruned.
	foreign(t, db, `DELETE FROM noggin_schema.unknown_hashes WHERE hash_value = 'aa'`)

	want := Forgotten{Names: 2, Unknown: 1, Marked: 2}
	if dry, err := db.ForgetNames(t.Context(), Forget{Type: "vehicle", Source: "wrong.csv", DryRun: true}); err != nil || dry != want {
		t.Errorf("a dry run found %+v, %v", dry, err)
	}
	if n := healAll(t, db, 7); n != 0 {
		t.Errorf("the dry run marked %d records", n)
	}
	if done, err := db.ForgetNames(t.Context(), Forget{Type: "vehicle", Source: "wrong.csv"}); err != nil || done != want {
		t.Errorf("found %+v, %v", done, err)
	}
	if n := healAll(t, db, 7); n != 2 {
		t.Errorf("healed %d records", n)
	}
	if got := columnsOf(t, db, tip(0)); got != "Unknown (aa)|Night|t|f" {
		t.Errorf("columns are %s", got)
	}
	if got := scalar[string](t, db, `SELECT concat_ws('|', occurrence_count, resolved_at) FROM noggin_schema.unknown_hashes WHERE hash_value = 'aa' AND entity_type = 'vehicle'`); got != "2" {
		t.Errorf("the unknown hash is %s", got)
	}
	if former, err := db.HashHistory(t.Context(), "aa"); err != nil || len(former) != 1 || former[0].Name != "Port Hedland" {
		t.Errorf("the history is %+v, %v", former, err)
	}
	if done, err := db.ForgetNames(t.Context(), Forget{Hashes: []string{"bb"}}); err != nil || done != (Forgotten{1, 1, 2}) {
		t.Errorf("by its hash: %+v, %v", done, err)
	}
	if left := scalar[string](t, db, `SELECT string_agg(entity_name, '|') FROM noggin_schema.entity_hashes`); left != "No trailer" {
		t.Errorf("left: %s", left)
	}
}

func TestOfRowsForOneHashTheLastCounts(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	done := importNames(t, db, ImportOptions{},
		NamedHash{2, "team", "x", "First"}, NamedHash{3, "team", "x", "Last"}, NamedHash{4, "team", "x", "Last"}, NamedHash{5, "vehicle", "x", "First"})
	if done.Repeated != 1 || done.Contradicted != 1 || !slices.Equal(done.Contradictions, []Contradiction{{2, 4}}) {
		t.Errorf("found %+v", done)
	}
	if name := scalar[string](t, db, `SELECT entity_name FROM noggin_schema.entity_hashes WHERE entity_type = 'team'`); name != "Last" {
		t.Errorf("the name is %q", name)
	}
}

func TestAFileThatBreaksOffImportsNothing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	broken := fmt.Errorf("read rows: %w", io.ErrUnexpectedEOF)
	rows := 0
	_, err := db.ImportNames(t.Context(), ImportOptions{}, func() (NamedHash, error) {
		if rows++; rows > 5000 {
			return NamedHash{}, broken
		}
		return NamedHash{rows, "team", strconv.Itoa(rows), "x"}, nil
	})
	if !errors.Is(err, broken) || errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.entity_hashes`); n != 0 {
		t.Errorf("%d names were imported", n)
	}
}

func TestNamesOfEveryKindAreKeptToTheByte(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	names := []string{`O'Brien, "Bluey"`, "Zoë 🚚", "=SUM(A1)", "'=x", `back\slash \N \t`, strings.Repeat("é", 300), "null", `\.`}
	var rows []NamedHash
	for i, name := range names {
		rows = append(rows, NamedHash{i + 2, "team", strconv.Itoa(i), name})
	}
	importNames(t, db, ImportOptions{}, rows...)
	for i, want := range names {
		if got := scalar[string](t, db, `SELECT entity_name FROM noggin_schema.entity_hashes WHERE hash_value = $1`, strconv.Itoa(i)); got != want {
			t.Errorf("%q became %q", want, got)
		}
	}
}

// An import has to see the references of an answer that is being stored, or the
// storing its names, whichever comes first.
func TestAnImportBesideStoresLeavesNoOldName(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	const records = 60
	insertPending(t, db, records)
	claims := claim(t, db, 1, records)
	var workers sync.WaitGroup
	workers.Go(func() {
		for i := range 30 {
			rows := []NamedHash{{2, "vehicle", "aa", fmt.Sprint("TRUCK ", i)}, {3, "team", "bb", fmt.Sprint("Team ", i)}}
			if _, err := db.ImportNames(t.Context(), ImportOptions{}, sliceOf(rows)); err != nil {
				t.Error(err)
			}
		}
	})
	workers.Go(func() {
		for _, c := range claims {
			a := answer(c)
			a.Folders = [3]string{c.Tip, c.Tip + " 1", c.Tip + " 2"}
			if _, err := db.Store(t.Context(), 1, []Answer{a}); err != nil {
				t.Error(err)
				continue
			}
			if _, err := db.Finish(t.Context(), 1, []Result{{Tip: c.Tip, Token: c.Token, Status: "complete"}}, testBackoff); err != nil {
				t.Error(err)
			}
		}
	})
	workers.Go(func() { // a healer at the same time
		for range 30 {
			batch, err := db.ClaimStale(t.Context(), 9, "", 10, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			saveHealed(t, db, 9, batch, true)
		}
	})
	workers.Wait()
	healAll(t, db, 10)
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE vehicle = 'TRUCK 29' AND team = 'Team 29'
		AND NOT has_unknown_hashes AND NOT names_stale AND processing_status = 'complete'`); n != records {
		t.Errorf("%d of %d records show the last names", n, records)
	}
}

func TestAStoreThatBeganFirstHoldsTheImportBack(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	// As Store does: the lock, the names, and only then the references.
	tx := db.pool.MustBegin()
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`SELECT pg_advisory_xact_lock_shared(` + namesLock + `)`); err != nil {
		t.Fatal(err)
	}
	done := make(chan NameImport)
	go func() {
		done <- importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "TRUCK 1"})
	}()
	for scalar[int](t, db, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := tx.Exec(db.sql(`INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value, column_name)
		VALUES ($1, 'vehicle', 'vehicle', 'aa', 'vehicle')`), c.Tip); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if result := <-done; result.Marked != 1 {
		t.Errorf("the import marked %+v: it did not see the reference", result)
	}
	// And the run at work on the record keeps its claim.
	if kept, err := db.Renew(t.Context(), 1, []Claim{c}, time.Minute); err != nil || len(kept) != 1 {
		t.Errorf("the claim was taken away: %v, %v", kept, err)
	}
}

func TestANameThatChangesWhileARecordIsHealedStaysMarked(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 1)
	importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "OLD"})
	batch, err := db.ClaimStale(t.Context(), 7, "", 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "NEW"})
	if n := saveHealed(t, db, 7, batch, true); n != 0 {
		t.Errorf("a record with an old name counts as healed")
	}
	if got := columnsOf(t, db, tip(0)); got != "NEW|Unknown (bb)|t|t" {
		t.Errorf("columns are %s", got)
	}
	if n := healAll(t, db, 8); n != 1 {
		t.Errorf("healed %d records afterwards", n)
	}
}

func TestAHealerThatLostItsClaimWritesNothing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 1)
	importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "TRUCK 1"})
	batch, err := db.ClaimStale(t.Context(), 7, "", 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'pending'`)
	if n := saveHealed(t, db, 7, batch, true); n != 0 || columnsOf(t, db, tip(0)) != "Unknown (aa)|Unknown (bb)|t|t" {
		t.Errorf("wrote %d records: %s", n, columnsOf(t, db, tip(0)))
	}
	if more, err := db.ClaimStale(t.Context(), 8, "", 10, time.Minute); err != nil || len(more.Records) != 1 {
		t.Errorf("the record cannot be claimed again: %v, %v", more, err)
	}
}

func TestHealingWithoutTheReportRenewsColumnsAndStaysMarked(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 1)
	importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "TRUCK 1"})
	batch, err := db.ClaimStale(t.Context(), 7, "", 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if n := saveHealed(t, db, 7, batch, false); n != 0 || columnsOf(t, db, tip(0)) != "TRUCK 1|Unknown (bb)|t|t" {
		t.Errorf("healed %d records: %s", n, columnsOf(t, db, tip(0)))
	}
}

func TestNamesInsertedByHandAreTakenUp(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 2)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('aa', 'vehicle', 'BY HAND')`)
	if n, err := db.ResolveKnown(t.Context()); err != nil || n != 1 {
		t.Fatalf("resolved %d, %v", n, err)
	}
	if n := healAll(t, db, 7); n != 2 || columnsOf(t, db, tip(0)) != "BY HAND|Unknown (bb)|t|f" {
		t.Errorf("healed %d records: %s", n, columnsOf(t, db, tip(0)))
	}
}
