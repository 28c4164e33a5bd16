package storage

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"noggin/storage/storagetest"
)

func emptyDB(t *testing.T) *DB {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL = storagetest.Database(t)
	return openDB(t, cfg)
}

// psql runs statements as the operators do, with unqualified names.
func psql(t *testing.T, db *DB, args ...string) string {
	t.Helper()
	cmd := exec.Command("psql", append([]string{db.cfg.URL, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-q"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return string(out)
}

func TestEveryStatementOfTheManualRuns(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 3)
	psql(t, db, "-f", "testdata/manual.sql")
	if got := psql(t, db, "-Atc", "SELECT count(*) FROM noggin_data WHERE processing_status = 'skipped'"); strings.TrimSpace(got) != "3" {
		t.Errorf("%s records were skipped, want 3", got)
	}
}

func TestApplyingTheSchemaTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	before := describeSchema(t, db)
	foreign(t, db, `DELETE FROM noggin_schema.schema_version`) // so that it is applied once more
	result, err := db.Init(t.Context(), schemaText(t), InitOptions{})
	if err != nil || len(result.AddedColumns) > 0 {
		t.Fatalf("second time: %+v, %v", result, err)
	}
	if after := describeSchema(t, db); after != before {
		t.Errorf("applying the schema again changed it:\n%s\n---\n%s", before, after)
	}
}

// describeSchema lists columns, indexes, constraints and triggers.
func describeSchema(t *testing.T, db *DB) string {
	t.Helper()
	return scalar[string](t, db, `
		SELECT string_agg(line, E'\n' ORDER BY line) FROM (
			SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || coalesce(column_default, '') || ' ' || is_nullable
			FROM information_schema.columns WHERE table_schema = 'noggin_schema'
			UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'noggin_schema'
			UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'noggin_schema'::regnamespace
			UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN (
				SELECT oid FROM pg_class WHERE relnamespace = 'noggin_schema'::regnamespace)) AS lines (line)`)
}

func TestAnOlderSchemaGetsWhatIsMissing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	want := describeSchema(t, db)
	foreign(t, db, `
		ALTER TABLE noggin_schema.noggin_data DROP COLUMN crash_count CASCADE, DROP COLUMN lcd_inspection_id, DROP COLUMN names_stale, DROP COLUMN queue_order;
		DROP TABLE noggin_schema.circuit_transitions, noggin_schema.samples;
		DROP INDEX noggin_schema.processing_errors_tip;
		UPDATE noggin_schema.schema_version SET version = 0`)
	if err := db.CheckSchema(t.Context()); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "noggin init-db") {
		t.Errorf("an older schema is reported as %v", err)
	}
	result, err := db.Init(t.Context(), schemaText(t), InitOptions{})
	if err != nil || len(result.AddedColumns) != 4 {
		t.Fatalf("upgrade: %+v, %v", result, err)
	}
	if got := describeSchema(t, db); got != want {
		t.Errorf("the upgraded schema differs:\n%s\n--- want\n%s", got, want)
	}
	if n := len(claim(t, db, 1, 5)); n != 1 {
		t.Errorf("claimed %d records after the upgrade, want the one that was there", n)
	}
}

func TestTwoInitsAtOnceAreSafe(t *testing.T) {
	t.Parallel()
	db := emptyDB(t)
	var group sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		group.Go(func() { _, errs[i] = db.Init(context.Background(), schemaText(t), InitOptions{}) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestAMissingSchemaNamesTheCommandThatMakesIt(t *testing.T) {
	t.Parallel()
	db := emptyDB(t)
	_, err := db.Standing(t.Context())
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "noggin init-db") {
		t.Errorf("a missing schema is reported as %v", err)
	}
}

func TestAnotherSchemaNameIsUsedEverywhere(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.URL, cfg.Schema = storagetest.Database(t), "mirror"
	db := openDB(t, cfg)
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)
	if _, err := db.Store(t.Context(), 1, []Answer{answer(c[0])}); err != nil {
		t.Fatal(err)
	}
	if done := finish(t, db, 1, Result{Tip: c[0].Tip, Token: c[0].Token, Status: "complete"}); len(done) != 1 {
		t.Error("a record could not be finished")
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM information_schema.tables WHERE table_schema = 'noggin_schema'`); n != 0 {
		t.Errorf("%d tables were made in the default schema", n)
	}
}

func TestTheReplacedServicesTablesAreNeverBuiltOver(t *testing.T) {
	t.Parallel()
	db := emptyDB(t)
	legacy, err := os.ReadFile("testdata/legacy.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.pool.ExecContext(t.Context(), string(legacy)); err != nil {
		t.Fatal(err)
	}
	_, err = db.Init(t.Context(), schemaText(t), InitOptions{})
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "--migrate-legacy") {
		t.Fatalf("a foreign noggin_data is met with %v", err)
	}
	codes := map[string]string{"load compliance check (driver/loader)": "LCD", "couplingcompliancecheck": "CCC"}
	result, err := db.Init(t.Context(), schemaText(t), InitOptions{MigrateLegacy: true, ObjectTypeCodes: codes, Output: "/mnt/data/noggin/output"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range result.Legacy {
		want := map[string]int64{"noggin_data": 4, "attachments": 9, "entity_hashes": 3, "unknown_hashes": 1}[c.Table]
		if c.Copied != want {
			t.Errorf("copied %d of %d rows of %s, want %d", c.Copied, c.Rows, c.Table, want)
		}
	}
	got := psql(t, db, "-Atc", `SELECT tip, object_type, processing_status, inspection_id, inspection_date, vehicle, retry_count, permanently_failed
		FROM noggin_schema.noggin_data ORDER BY tip`)
	want := `aa|LCD|interrupted|LCD - 000001|2025-09-17|TRUCK 1|0|f
bb|CCC|pending||||0|f
cc|LCD|api_failed||||4|t
dd|LCD|complete||||0|f
`
	if got != want {
		t.Errorf("copied records:\n%swant\n%s", got, want)
	}
	if n := psql(t, db, "-Atc", "SELECT count(*) FROM noggin_legacy.noggin_data"); strings.TrimSpace(n) != "5" {
		t.Errorf("the old schema holds %s records, want all 5", n)
	}
	if n := scalar[int](t, db, `SELECT sum(records)::int FROM noggin_schema.record_counts`); n != 4 {
		t.Errorf("the counters say %d records, want 4", n)
	}
	got = psql(t, db, "-Atc", `SELECT attachment_tip, attachment_sequence, filename, file_path, file_hash_sha256 IS NOT NULL
		FROM noggin_schema.attachments ORDER BY 1`)
	want = `p1|1|a.jpg|2025/09/2025-09-17 LCD-000001/a.jpg|f
p2|2|b.jpg||f
q1|1|one.jpg|2025/09/shared/one.jpg|f
q2|2|two.jpg|2025/08/x/two.jpg|f
q3|3|three.jpg||f
q4|4|four.jpg|2025/09/four.jpg|f
q5|5|same.jpg||f
q6|6|same.jpg||f
q7|7|seven.jpg||t
`
	if got != want {
		t.Errorf("copied attachments:\n%swant\n%s", got, want)
	}
	if got := psql(t, db, "-Atc", "SELECT tip, folder FROM noggin_schema.noggin_data WHERE folder IS NOT NULL"); got != "aa|2025/09/2025-09-17 LCD-000001\n" {
		t.Errorf("folders that records have for themselves:\n%s", got)
	}
}
