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
	for _, schema := range []string{DefaultSchema, "other"} {
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

// brokenSchema is what somebody may do to the schema, and how it is told.
var brokenSchema = []struct{ statement, want string }{
	{`DROP TRIGGER break_claim ON noggin_schema.noggin_data`, "missing trigger noggin_data.break_claim"},
	{`ALTER TABLE noggin_schema.noggin_data DISABLE TRIGGER touch_updated_at`, "disabled trigger noggin_data.touch_updated_at"},
	{`DROP INDEX noggin_schema.noggin_data_folder`, "missing index noggin_data.noggin_data_folder"},
	{`DROP INDEX noggin_schema.noggin_data_pending; CREATE INDEX noggin_data_pending ON noggin_schema.noggin_data (tip)`, "different index noggin_data.noggin_data_pending"},
	{`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'noggin_schema.noggin_data_retry'::regclass`, "invalid index noggin_data.noggin_data_retry"},
	{`ALTER TABLE noggin_schema.attachments DROP CONSTRAINT attachments_record_tip_fkey`, "missing constraint attachments FOREIGN KEY (record_tip) REFERENCES noggin_data(tip)"},
	{`ALTER TABLE noggin_schema.record_hashes DROP CONSTRAINT record_hashes_record_tip_fkey;
		ALTER TABLE noggin_schema.noggin_data DROP CONSTRAINT noggin_data_pkey CASCADE`, "missing constraint noggin_data PRIMARY KEY (tip)"},
	{`ALTER TABLE noggin_schema.pause DROP CONSTRAINT pause_id_check, ADD CONSTRAINT pause_id_check CHECK (id = 1) NOT VALID`, "not validated constraint pause CHECK ((id = 1))"},
	{`DROP TABLE noggin_schema.samples`, "missing table samples"},
	{`ALTER TABLE noggin_schema.attachments DROP COLUMN content_type`, "missing column attachments.content_type"},
	{`CREATE OR REPLACE FUNCTION noggin_schema.count_record() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`, "different function count_record()"},
	{`DROP VIEW noggin_schema.record_totals; CREATE VIEW noggin_schema.record_totals AS SELECT 1 AS one`, "different view record_totals"},
	{`ALTER TABLE noggin_schema.runs ALTER COLUMN host TYPE varchar(80)`, "different column runs.host"},
	{`ALTER TABLE noggin_schema.noggin_data ADD COLUMN note text; CREATE INDEX idx_custom ON noggin_schema.noggin_data (vehicle)`, ""}, // an operator's own
}

func TestWhatIsBrokenInTheSchemaIsNamedAndRepaired(t *testing.T) {
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
	if left := differences(t, db); !slices.Equal(left, []string{"different column runs.host"}) || !slices.Equal(left, result.Remaining) {
		t.Errorf("left after the repair: %q, said %q", left, result.Remaining)
	}
	if len(result.Repaired) != len(found)-1 {
		t.Errorf("repaired %q, of %q", result.Repaired, found)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.noggin_data`); n != 2 {
		t.Errorf("%d records are left, want 2", n)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM pg_class WHERE relname = 'idx_custom'`); n != 1 {
		t.Error("the operator's own index is gone")
	}
}
