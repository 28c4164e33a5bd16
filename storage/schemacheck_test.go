package storage

import (
	"slices"
	"testing"
)

func differences(t *testing.T, db *DB) []string {
	t.Helper()
	found, err := db.CompareSchema(t.Context(), schemaText(t))
	if err != nil {
		t.Fatal(err)
	}
	return labels(found)
}

func TestAFreshSchemaIsAsSchemaSQLMakesIt(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{defaultSchema, "other"} {
		cfg := emptyDB(t).cfg
		cfg.Schema = schema
		db := openDB(t, cfg)
		if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
			t.Fatal(err)
		}
		if found := differences(t, db); len(found) > 0 {
			t.Errorf("schema %s differs from itself: %q", schema, found)
		}
		if n := scalar[int](t, db, `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'noggin_scratch%'`); n > 0 {
			t.Error("the scratch schema was left behind")
		}
	}
}

// brokenSchema is what somebody may do to the schema, how it is told, and whether
// only a person can mend it.
var brokenSchema = []struct {
	statement, want string
	remains         bool
}{
	{`DROP TRIGGER break_claim ON noggin_schema.noggin_data`, "missing trigger noggin_data.break_claim", false},
	{`ALTER TABLE noggin_schema.noggin_data DISABLE TRIGGER touch_updated_at`, "disabled trigger noggin_data.touch_updated_at", false},
	{`DROP INDEX noggin_schema.noggin_data_folder`, "missing index noggin_data.noggin_data_folder", false},
	{`DROP INDEX noggin_schema.noggin_data_pending; CREATE INDEX noggin_data_pending ON noggin_schema.noggin_data (tip)`, "different index noggin_data.noggin_data_pending", true},
	{`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'noggin_schema.noggin_data_retry'::regclass`, "invalid index noggin_data.noggin_data_retry", true},
	{`ALTER TABLE noggin_schema.attachments DROP CONSTRAINT attachments_record_tip_fkey`, "missing constraint attachments FOREIGN KEY (record_tip) REFERENCES noggin_data(tip)", true},
	{`ALTER TABLE noggin_schema.record_hashes DROP CONSTRAINT record_hashes_record_tip_fkey;
		ALTER TABLE noggin_schema.noggin_data DROP CONSTRAINT noggin_data_pkey CASCADE`, "missing constraint noggin_data PRIMARY KEY (tip)", true},
	{`ALTER TABLE noggin_schema.pause DROP CONSTRAINT pause_id_check, ADD CONSTRAINT pause_id_check CHECK (id = 1) NOT VALID`, "not validated constraint pause CHECK ((id = 1))", true},
	{`DROP TABLE noggin_schema.samples`, "missing table samples", false},
	{`ALTER TABLE noggin_schema.attachments DROP COLUMN content_type`, "missing column attachments.content_type", false},
	{`CREATE OR REPLACE FUNCTION noggin_schema.count_record() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`, "different function count_record()", false},
	{`CREATE OR REPLACE VIEW noggin_schema.record_totals AS SELECT object_type, processing_status, permanently_failed, 1::bigint AS records FROM noggin_schema.record_counts`, "different view record_totals", false},
	{`ALTER TABLE noggin_schema.runs ALTER COLUMN host TYPE varchar(80)`, "different column runs.host", true},
	{`ALTER TABLE noggin_schema.attachments ENABLE REPLICA TRIGGER touch_updated_at`, "disabled trigger attachments.touch_updated_at", false},
	{`ALTER TABLE noggin_schema.runs ALTER COLUMN version DROP NOT NULL`, "different column runs.version", true},
	{`ALTER TABLE noggin_schema.former_files ALTER COLUMN attachment_tip TYPE text COLLATE "C"`, "different column former_files.attachment_tip", true},
	{`ALTER TABLE noggin_schema.copy_targets DROP CONSTRAINT copy_targets_url_endpoint_key`, "missing constraint copy_targets UNIQUE (url, endpoint)", true},
	{`ALTER FUNCTION noggin_schema.touch_updated_at() RESET search_path`, "different function touch_updated_at()", false},
	{`ALTER TABLE noggin_schema.noggin_data ADD COLUMN note text; CREATE INDEX idx_custom ON noggin_schema.noggin_data (vehicle)`, "", false}, // an operator's own
}

func TestWhatIsBrokenInTheSchemaIsNamedAndPutBackWhereItIsMissing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	for _, b := range brokenSchema {
		foreign(t, db, b.statement)
	}
	found := differences(t, db)
	for _, b := range brokenSchema {
		if b.want != "" && !slices.Contains(found, b.want) {
			t.Errorf("not found: %s", b.want)
		}
	}
	if t.Failed() {
		t.Logf("found %q", found)
	}
	result, err := db.Init(t.Context(), schemaText(t), InitOptions{Repair: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range brokenSchema {
		if b.want != "" && (slices.Contains(result.Remaining, b.want) != b.remains || slices.Contains(result.Repaired, b.want) == b.remains) {
			t.Errorf("%s: repaired %q, remaining %q", b.want, result.Repaired, result.Remaining)
		}
	}
	if left := differences(t, db); !slices.Equal(left, result.Remaining) {
		t.Errorf("left after the repair: %q, said %q", left, result.Remaining)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.noggin_data`); n != 2 {
		t.Errorf("%d records are left, want 2", n)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM pg_class WHERE relname = 'idx_custom'`); n != 1 {
		t.Error("the operator's own index is gone")
	}
}
