package storage

import (
	"context"
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

func TestANameOfAnyTypeResolvesAHash(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 1)
	for _, step := range []struct {
		name             NamedHash
		resolved, marked int64
		want             string
	}{
		{NamedHash{2, "trailer", "aa", "DOLLY 1"}, 1, 1, "DOLLY 1|Unknown (bb)|t|f"},
		{NamedHash{2, "asset", "aa", "DOLLY 2"}, 0, 1, "DOLLY 2|Unknown (bb)|t|f"},   // the one updated last
		{NamedHash{2, "trailer", "aa", "DOLLY 3"}, 0, 1, "DOLLY 3|Unknown (bb)|t|f"}, // again
		{NamedHash{2, "vehicle", "aa", "TRUCK 1"}, 0, 1, "TRUCK 1|Unknown (bb)|t|f"}, // its own type
		{NamedHash{2, "trailer", "aa", "DOLLY 4"}, 0, 0, "TRUCK 1|Unknown (bb)|t|f"},
		{NamedHash{2, "department", "bb", "Night"}, 1, 1, "TRUCK 1|Night|f|f"},
	} {
		done := importNames(t, db, ImportOptions{}, step.name)
		healAll(t, db, 7)
		if got := columnsOf(t, db, tip(0)); got != step.want || done.Resolved != step.resolved || done.Marked != step.marked {
			t.Errorf("%+v: columns are %s, want %s; the import found %+v", step.name, got, step.want, done)
		}
	}
	if left := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL`); left != 0 {
		t.Errorf("%d hashes are unknown", left)
	}
	// A record stored later sees the same names, and makes no hash unknown.
	insertPending(t, db, 2)
	c := claim(t, db, 1, 1)[0]
	stored, err := db.Store(t.Context(), 1, []Answer{answer(c)})
	if err != nil {
		t.Fatal(err)
	}
	names := stored[ClaimKey{c.Tip, c.Token}].Names
	if got := columnsOf(t, db, c.Tip); got != "TRUCK 1|Night|f|f" || names[EntityKey{"team", "bb"}] != "Night" {
		t.Errorf("stored with %s, %v", got, names)
	}
	if left := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL`); left != 0 {
		t.Errorf("storing made %d hashes unknown", left)
	}
}

func TestForgottenNamesAreUnknownAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 2)
	importNames(t, db, ImportOptions{Source: "right.csv"}, NamedHash{2, "team", "bb", "Night"}, NamedHash{3, "trailer", "aa", "No trailer"})
	importNames(t, db, ImportOptions{Source: "wrong.csv"}, NamedHash{2, "vehicle", "aa", "Port Hedland"}, NamedHash{3, "vehicle", "zz", "Nobody's"})
	healAll(t, db, 7)
	want := Forgotten{Names: 2, Unknown: 0, Marked: 2}
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
	if got := columnsOf(t, db, tip(0)); got != "No trailer|Night|f|f" {
		t.Errorf("columns are %s: the hash has a name of another type still", got)
	}
	if former, err := db.HashHistory(t.Context(), "aa"); err != nil || len(former) != 1 || former[0].Name != "Port Hedland" {
		t.Errorf("the history is %+v, %v", former, err)
	}
	// Long resolved ones are pruned.
	foreign(t, db, `DELETE FROM noggin_schema.unknown_hashes WHERE hash_value = 'aa'`)
	if done, err := db.ForgetNames(t.Context(), Forget{Type: "trailer", Hashes: []string{"aa"}}); err != nil || done != (Forgotten{1, 1, 2}) {
		t.Errorf("its last name: %+v, %v", done, err)
	}
	if n := healAll(t, db, 7); n != 2 || columnsOf(t, db, tip(0)) != "Unknown (aa)|Night|t|f" {
		t.Errorf("healed %d records: %s", n, columnsOf(t, db, tip(0)))
	}
	if got := scalar[string](t, db, `SELECT concat_ws('|', occurrence_count, resolved_at) FROM noggin_schema.unknown_hashes WHERE hash_value = 'aa' AND entity_type = 'vehicle'`); got != "2" {
		t.Errorf("the unknown hash is %s", got)
	}
	if done, err := db.ForgetNames(t.Context(), Forget{Hashes: []string{"bb"}}); err != nil || done != (Forgotten{1, 1, 2}) {
		t.Errorf("by its hash: %+v, %v", done, err)
	}
	if left := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.entity_hashes`); left != 0 {
		t.Errorf("%d names are left", left)
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
	if _, err := tx.Exec(shareNames); err != nil {
		t.Fatal(err)
	}
	done := make(chan NameImport)
	go func() {
		done <- importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "TRUCK 1"})
	}()
	for scalar[int](t, db, `SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted
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

func TestAReportOfAFormerVersionIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 2)
	importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "TRUCK 1"})
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET report_path = 'report.txt', report_version = 1, version = CASE tip WHEN $1 THEN 2 ELSE 1 END`, tip(1))
	batch, err := db.ClaimStale(t.Context(), 7, "", 10, time.Minute)
	if err != nil || len(batch.Records) != 2 {
		t.Fatalf("claimed %+v, %v", batch.Records, err)
	}
	if current, former := batch.Records[0].ReportPath, batch.Records[1].ReportPath; current == nil || former != nil {
		t.Errorf("a report of the current version is written: %t, of a former one: %t", current != nil, former != nil)
	}
}

func TestEachColumnGetsItsOwnNameAndHash(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	a := answer(claim(t, db, 1, 1)[0])
	a.References, a.Columns = nil, map[string]*string{}
	var names []NamedHash
	for _, column := range []string{"vehicle", "trailer", "trailer2", "trailer3", "department", "team", "inspected_by"} {
		a.References = append(a.References, Reference{Field: column, EntityType: "vehicle", Column: column, Hash: "hash of " + column})
		names = append(names, NamedHash{2, "vehicle", "hash of " + column, "name of " + column})
	}
	for _, column := range []string{"driver_loader_name", "job_number", "run_number", "load_compliance"} {
		a.Columns[column] = ptr("name of " + column)
	}
	a.APICreatedAt, a.APIModifiedAt = ptr(time.Now()), ptr(time.Now().Add(time.Hour))
	if _, err := db.Store(t.Context(), 1, []Answer{a}); err != nil {
		t.Fatal(err)
	}
	finish(t, db, 1, Result{Tip: a.Tip, Token: a.Token, Status: StatusComplete})
	for _, want := range []string{"4 names, 7 unknown, 7 hashes, later", "11 names, 0 unknown, 7 hashes, later"} {
		if got := scalar[string](t, db, `
			SELECT count(*) FILTER (WHERE c.value = 'name of ' || c.key) || ' names, ' || count(*) FILTER (WHERE c.value = 'Unknown (hash of ' || c.key || ')') || ' unknown, '
				|| count(*) FILTER (WHERE c.key LIKE '%\_hash' AND c.value = 'hash of ' || replace(c.key, '_hash', '')) || ' hashes, '
				|| CASE WHEN bool_and(d.api_created_at < d.api_modified_at) THEN 'later' END
			FROM noggin_schema.noggin_data d, jsonb_each_text(to_jsonb(d)) AS c (key, value)`); got != want {
			t.Errorf("the columns have %s, want %s", got, want)
		}
		importNames(t, db, ImportOptions{}, names...)
		healAll(t, db, 7)
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
	archive, _, err := db.BeginArchive(t.Context(), Archive{Name: "a", Month: "2024-01"})
	if err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET report_archive_id = $1`, archive)
	batch, err := db.ClaimStale(t.Context(), 7, "", 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if n := saveHealed(t, db, 7, batch, false); n != 0 || columnsOf(t, db, tip(0)) != "TRUCK 1|Unknown (bb)|t|t" {
		t.Errorf("healed %d records: %s", n, columnsOf(t, db, tip(0)))
	}
	if in := scalar[int64](t, db, `SELECT coalesce(report_archive_id, 0) FROM noggin_schema.noggin_data`); in != archive {
		t.Errorf("the old report is in archive %d, want %d", in, archive)
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

func TestANameInsertedByHandUnderAnotherTypeIsTakenUp(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 2)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name, updated_at) VALUES
		('bb', 'department', 'OLDER', now() - interval '1 day'), ('bb', 'businessUnit', 'BY HAND', now())`)
	if n, err := db.ResolveKnown(t.Context()); err != nil || n != 1 {
		t.Fatalf("resolved %d, %v", n, err)
	}
	if n := healAll(t, db, 7); n != 2 || columnsOf(t, db, tip(0)) != "Unknown (aa)|BY HAND|t|f" {
		t.Errorf("healed %d records: %s", n, columnsOf(t, db, tip(0)))
	}
	if got := scalar[string](t, db, `SELECT resolved_name FROM noggin_schema.unknown_hashes WHERE hash_value = 'bb'`); got != "BY HAND" {
		t.Errorf("resolved as %s", got)
	}
}

func TestAnImportOfNamesThatBelongToAnotherTypeIsRefused(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 1) // the vehicle aa, the team bb
	importNames(t, db, ImportOptions{}, NamedHash{2, "trailer", "cc", "TRL 1"})
	foreign(t, db, `INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type) VALUES ('dd', 'person')`)
	as := func(kind string, hashes ...string) []NamedHash {
		var rows []NamedHash
		for i, hash := range hashes {
			rows = append(rows, NamedHash{i + 2, kind, hash, "Name"})
		}
		return rows
	}
	for _, tt := range []struct {
		rows []NamedHash
		want string // the error
	}{
		{as("team", "new", "aa", "cc"), "2 of 3 hashes are known, or used by records, as another type than team, such as aa (vehicle)"},
		{as("vehicle", "dd"), "1 of 1 hashes are known, or used by records, as another type than vehicle, such as dd (person)"},
		{as("team", "bb", "aa"), ""},
		{as("vehicle", "aa", "bb", "new", "newer"), ""},
		{as("person", "newest"), ""},
		{nil, ""},
	} {
		kind := "team"
		if len(tt.rows) > 0 {
			kind = tt.rows[0].Type
		}
		dry := importNames(t, db, ImportOptions{Only: kind, DryRun: true}, tt.rows...)
		if got := dry.OtherType; (got != nil) != (tt.want != "") || got != nil && got.Error() != tt.want {
			t.Errorf("%+v: a dry run says %v, want %q", tt.rows, got, tt.want)
		}
		before := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.entity_hashes`)
		_, err := db.ImportNames(t.Context(), ImportOptions{Only: kind}, sliceOf(tt.rows))
		if _, refused := errors.AsType[*OtherTypeError](err); refused != (tt.want != "") || err != nil && !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.rows, err, tt.want)
		}
		if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.entity_hashes`); tt.want != "" && n != before {
			t.Errorf("%+v: %d names were imported", tt.rows, n-before)
		}
	}
}

// All records refer to the same few hashes. A run that knows no name of one waits for
// nobody who changes its row, and every reference is counted.
func TestRunsDoNotWaitAtAnUnknownHash(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	insertPending(t, db, 2)
	run, err := db.StartRun(ctx, "process", "test")
	if err != nil {
		t.Fatal(err)
	}
	store := func(ctx context.Context, c Claim) {
		t.Helper()
		a := answer(c)
		a.Folders[0] = a.Folders[2]
		if _, err := db.Store(ctx, run, []Answer{a}); err != nil {
			t.Fatal(err)
		}
	}
	count := func() string {
		t.Helper()
		if err := db.CountUnknown(ctx); err != nil {
			t.Fatal(err)
		}
		return scalar[string](t, db, `SELECT string_agg(hash_value || ' ' || occurrence_count || ' ' || (resolved_at IS NULL), ', ' ORDER BY 1) FROM noggin_schema.unknown_hashes`)
	}
	claims := claim(t, db, run, 2)
	store(ctx, claims[0])
	tx, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // it changes nothing
	if _, err := tx.Exec(db.sql(`SELECT FROM noggin_schema.unknown_hashes FOR UPDATE`)); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	store(soon, claims[1])
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time adds nothing
		if got := count(); got != "aa 2 true, bb 2 true" {
			t.Errorf("counted %s", got)
		}
	}
	// A hash whose name was forgotten is unknown again at once.
	foreign(t, db, `UPDATE noggin_schema.unknown_hashes SET resolved_at = now(), resolved_name = 'x' WHERE hash_value = 'aa'; DELETE FROM noggin_schema.record_hashes`)
	store(ctx, claims[1])
	if got := count(); got != "aa 3 true, bb 3 true" {
		t.Errorf("counted %s", got)
	}
}
