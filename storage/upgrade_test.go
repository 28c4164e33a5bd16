package storage

import (
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
)

// fillVersion1 puts rows into every table that noggin 1 fills.
const fillVersion1 = `
	INSERT INTO noggin_schema.schema_version (version) VALUES (1);
	INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, inspection_id, inspection_date, payload, folder, report_path,
		report_size_bytes, report_hash_sha256, permanently_failed, retry_count, total_attachments, completed_attachment_count, vehicle_hash, has_unknown_hashes)
	SELECT lpad(i::text, 64, '0'), 'LCD', status, 'LCD - ' || i, '2025-09-17', '{"id": 1}', '2025/09/' || i, 'report.txt', 10, 'r' || i, status = 'failed', i, 2, 1, 'h1', true
	FROM unnest(ARRAY['pending', 'api_success', 'complete', 'partial', 'failed', 'api_failed', 'interrupted', 'skipped']) WITH ORDINALITY AS s (status, i);
	INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, file_path, attachment_status, file_size_bytes, file_hash_sha256, download_started_at)
	SELECT tip, status, n, 'photos', folder || '/' || n || '.jpg', status, 1000, 'f', now()
	FROM noggin_schema.noggin_data, unnest(ARRAY['pending', 'complete', 'failed']) WITH ORDINALITY AS a (status, n);
	INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('h2', 'team', 'A team');
	INSERT INTO noggin_schema.entity_hash_history (hash_value, entity_type, entity_name, source, valid_from) VALUES ('h2', 'team', 'B team', 'x.csv', now());
	INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, occurrence_count) VALUES ('h1', 'vehicle', 8);
	INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value, column_name) SELECT tip, 'vehicle', 'vehicle', 'h1', 'vehicle' FROM noggin_schema.noggin_data;
	INSERT INTO noggin_schema.runs (command, host, pid, finished_at, exit_code, summary) VALUES ('process', 'yard', 1, now(), 0, '{"claimed": 8}'), ('process', 'yard', 2, NULL, NULL, NULL);
	INSERT INTO noggin_schema.processing_errors (tip, run_id, error_type, error_message, error_details) SELECT tip, 1, 'timeout', 'no answer', '{"status": 504}' FROM noggin_schema.noggin_data;
	INSERT INTO noggin_schema.circuit_transitions (from_state, to_state, reason, failure_rate) VALUES ('closed', 'open', 'failures', 60);
	UPDATE noggin_schema.circuit SET state = 'open', generation = 7;
	INSERT INTO noggin_schema.pause (reason) VALUES ('moving the disks');
	INSERT INTO noggin_schema.archives (name, path, month, state, record_count) VALUES ('noggin-2025-09.tar.zst', '/archive/noggin-2025-09.tar.zst', '2025-09', 'done', 1);
	INSERT INTO noggin_schema.archive_records (record_tip, archive_id) SELECT tip, 1 FROM noggin_schema.noggin_data WHERE processing_status = 'complete';
	UPDATE noggin_schema.noggin_data SET archived = true, archived_at = now(), report_archive_id = 1 WHERE processing_status = 'complete';
	INSERT INTO noggin_schema.maintenance_lock (command, host, pid, backend_pid, since) VALUES ('archive create', 'yard', 1, 1, now());
	INSERT INTO noggin_schema.samples (measures) VALUES ('{"due": 1}')`

// version1 returns a filled database with the schema of version 1.
func version1(t *testing.T) *DB {
	t.Helper()
	db := emptyDB(t)
	text, err := os.ReadFile("testdata/schema-v1.sql")
	if err != nil {
		t.Fatal(err)
	}
	foreign(t, db, "CREATE SCHEMA noggin_schema; "+string(text))
	foreign(t, db, fillVersion1)
	return db
}

// rowsOf returns the rows of each table of version 1 as text, with the columns that it
// had in version 1.
func rowsOf(t *testing.T, db *DB, columns map[string]string) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for table, list := range columns {
		rows[table] = scalar[string](t, db, `SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM (SELECT `+list+` FROM noggin_schema.`+table+`) AS r`)
	}
	return rows
}

func TestAVersion1DatabaseIsUpgradedWithAllItsRows(t *testing.T) {
	t.Parallel()
	db := version1(t)
	if _, err := db.Standing(t.Context()); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "it has version 1, this program needs 2: run `noggin init-db`") {
		t.Errorf("a run on version 1 ends with %v", err)
	}
	if _, err := db.StartRun(t.Context(), "process", ""); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "it has version 1") {
		t.Errorf("a run that begins on version 1 ends with %v", err)
	}
	var tables []struct{ Table, Columns string }
	if err := db.pool.SelectContext(t.Context(), &tables, `
		SELECT c.relname AS table, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'noggin_schema'::regnamespace AND c.relkind = 'r' GROUP BY 1`); err != nil {
		t.Fatal(err)
	}
	columns := map[string]string{}
	for _, table := range tables {
		columns[table.Table] = table.Columns
	}
	before := rowsOf(t, db, columns)
	for table, rows := range before {
		if rows == "" {
			t.Errorf("the version 1 database of this test has no row in %s", table)
		}
	}
	if result, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil || result.FromVersion != 1 || result.ToVersion != SchemaVersion {
		t.Fatalf("upgrade: %+v, %v", result, err)
	}
	foreign(t, db, `UPDATE noggin_schema.schema_version SET version = -version WHERE version > 1`) // not a row of version 1
	for table, rows := range rowsOf(t, db, columns) {
		if table == "schema_version" {
			_, rows, _ = strings.Cut(rows, "\n")
		}
		if rows != before[table] {
			t.Errorf("the upgrade changed %s from\n%s\nto\n%s", table, before[table], rows)
		}
	}
	if due := scalar[string](t, db, `SELECT string_agg(record_tip, ' ') FROM noggin_schema.seal_due`); due != strings.Repeat("0", 63)+"3" {
		t.Errorf("to be sealed is %q, want the complete record", due)
	}
	foreign(t, db, `UPDATE noggin_schema.schema_version SET version = abs(version)`)
	if _, err := db.Standing(t.Context()); err != nil {
		t.Errorf("after the upgrade: %v", err)
	}
}

func TestAnUpgradedSchemaIsLikeAFreshOne(t *testing.T) {
	t.Parallel()
	db := version1(t)
	foreign(t, db, `INSERT INTO noggin_schema.runs (command, host, pid) VALUES ('validate quick', 'yard', 1), ('validate data files', 'yard', 1)`)
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	if found := differences(t, db); len(found) > 0 {
		t.Errorf("the upgraded schema differs: %q", found)
	}
	upgraded := describeSchema(t, db)
	if fresh := describeSchema(t, testDB(t)); upgraded != fresh {
		t.Errorf("the upgraded schema is\n%s\n--- a fresh one\n%s", upgraded, fresh)
	}
	if commands := scalar[string](t, db, `SELECT string_agg(command, ' ' ORDER BY command) FROM noggin_schema.runs`); commands != "process process validate validate" {
		t.Errorf("the runs of version 1 are now of %s", commands)
	}
	foreign(t, db, `DROP INDEX noggin_schema.runs_started`) // a second Init that did something would put it back
	result, err := db.Init(t.Context(), schemaText(t), InitOptions{})
	if err != nil || result.FromVersion != SchemaVersion || len(result.AddedColumns) > 0 || result.SearchPath {
		t.Errorf("a second Init: %+v, %v", result, err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM pg_class WHERE relname = 'runs_started'`); n != 0 {
		t.Error("a second Init applied the schema again")
	}
}

// Its remedy is `noggin init-db`, when a statement fails.
func TestWhatAnEarlierBuildOfTheVersionLacksIsAdded(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	fresh := describeSchema(t, db)
	foreign(t, db, `ALTER TABLE noggin_schema.attachments DROP COLUMN former_served_at; DROP TABLE noggin_schema.samples; DROP INDEX noggin_schema.runs_started`)
	result, err := db.Init(t.Context(), schemaText(t), InitOptions{})
	if want := []string{"missing column attachments.former_served_at", "missing index runs.runs_started", "missing table samples"}; err != nil || !slices.Equal(slices.Sorted(slices.Values(result.Repaired)), want) {
		t.Errorf("%+v, %v, want %q repaired", result, err, want)
	}
	if got := describeSchema(t, db); got != fresh {
		t.Errorf("the schema is\n%s\n--- a fresh one\n%s", got, fresh)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.noggin_data`); n != 1 {
		t.Errorf("%d records are left, want 1", n)
	}
}

// Its role cannot compare the schema with schema.sql.
func TestASchemaIsCompleteForARoleThatMayNotCreateSchemas(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	_, role := intruder(t, db)
	foreign(t, db, `GRANT USAGE ON SCHEMA noggin_schema TO `+role+`; GRANT ALL ON ALL TABLES IN SCHEMA noggin_schema TO `+role)
	address, err := url.Parse(db.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "intruder")
	cfg := db.cfg
	cfg.URL = address.String()
	if result, err := openDB(t, cfg).Init(t.Context(), schemaText(t), InitOptions{}); err != nil || result.FromVersion != SchemaVersion || len(result.Repaired) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestAnOldProgramRefusesASchemaThatNeedsANewerOne(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	if oldest := scalar[int](t, db, `SELECT max(oldest_program) FROM noggin_schema.schema_version`); oldest != 2 {
		t.Errorf("version 2 lets programs run from version %d on, want 2", oldest)
	}
	foreign(t, db, `INSERT INTO noggin_schema.schema_version (version, oldest_program) VALUES (3, 2)`)
	if err := db.CheckSchema(t.Context()); err != nil {
		t.Errorf("a newer schema that allows this program: %v", err)
	}
	foreign(t, db, `UPDATE noggin_schema.schema_version SET oldest_program = 3 WHERE version = 3`)
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"CheckSchema": func() error { return db.CheckSchema(ctx) },
		"Standing":    func() error { _, err := db.Standing(ctx); return err },
		"StartRun":    func() error { _, err := db.StartRun(ctx, "process", ""); return err },
		"Init":        func() error { _, err := db.Init(ctx, schemaText(t), InitOptions{}); return err },
		"Init, repairing": func() error {
			_, err := db.Init(ctx, schemaText(t), InitOptions{Repair: true})
			return err
		},
	} {
		err := call()
		if !errors.Is(err, ErrSchema) || !errors.Is(err, ErrOldProgram) ||
			!strings.Contains(err.Error(), "needs a program that knows version 3, this one knows 2: install the newer noggin") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.runs`); n != 0 {
		t.Error("a run began all the same")
	}
}

// Version 1 looked a hash up under its own type only.
func TestAfterAnUpgradeNamesKnownUnderAnotherTypeReachTheRecordsInBatches(t *testing.T) {
	t.Parallel()
	db := version1(t)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('h1', 'trailer', 'DOLLY 1');
		UPDATE noggin_schema.noggin_data SET has_unknown_hashes = false WHERE processing_status = 'pending'`)
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	standing := func() bool {
		s, err := db.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.HealNeeded
	}
	if !standing() {
		t.Error("after the upgrade nothing is to be healed")
	}
	const batch = 3
	for _, want := range []struct {
		stale int
		more  bool
	}{{3, true}, {6, true}, {7, false}, {7, false}} {
		more, err := db.RecheckNames(t.Context(), batch)
		if stale := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE names_stale`); err != nil || more != want.more || stale != want.stale {
			t.Errorf("%d records are marked, more %v, want %+v; %v", stale, more, want, err)
		}
	}
	if n := healAll(t, db, 7); n != 7 {
		t.Errorf("healed %d records, want 7", n)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE vehicle = 'DOLLY 1' AND NOT has_unknown_hashes`); n != 7 {
		t.Errorf("%d records show the name, want 7", n)
	}
	if got := scalar[string](t, db, `SELECT resolved_name FROM noggin_schema.unknown_hashes WHERE resolved_at IS NOT NULL`); got != "DOLLY 1" {
		t.Errorf("the hash is resolved as %q", got)
	}
	if standing() {
		t.Error("there is still something to be healed")
	}
	if fresh, err := testDB(t).RecheckNames(t.Context(), batch); err != nil || fresh {
		t.Errorf("a fresh database has records to look at: %v", err)
	}
}
