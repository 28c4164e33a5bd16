package storage

import (
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// A check reads whole tables, as whatever is wrong may be anywhere in them. It reads each
// at most twice, so its time grows with the rows and not with their square.
func TestNoCheckReadsATableForEachRow(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	const records = 4000
	if err := storagetest.Fill(t.Context(), testURL(db), storagetest.FillOptions{Records: records, Attachments: 3 * records, Errors: records / 5, Pending: 10, Bulk: true}); err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value)
		SELECT tip, 'vehicle', 'vehicle', md5(left(tip, 3)) FROM noggin_schema.noggin_data`)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		SELECT DISTINCT hash_value, entity_type, 'TRUCK' FROM noggin_schema.record_hashes`)
	foreign(t, db, `INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, first_version, last_version, size_bytes, hash_sha256)
		SELECT tip || '/1.jpg', tip, 'attachment', tip, 1, 1, 1, '' FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	foreign(t, db, `INSERT INTO noggin_schema.record_versions (record_tip, version, kind, payload_sha256, answer, size_bytes, hash_sha256)
		SELECT tip, 1, 'version', '', '', 0, '' FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	foreign(t, db, `SET noggin.client = on; UPDATE noggin_schema.noggin_data SET version = 1, archived = true WHERE processing_status = 'complete'`)
	foreign(t, db, `ANALYZE`)
	rows := func() map[string]int64 {
		var tables []struct {
			Name string `db:"relname"`
			Read int64  `db:"read"`
		}
		if err := db.pool.SelectContext(t.Context(), &tables, `SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS read
			FROM pg_stat_user_tables WHERE schemaname = 'noggin_schema'`); err != nil {
			t.Fatal(err)
		}
		read := map[string]int64{}
		for _, table := range tables {
			read[table.Name] = table.Read
		}
		return read
	}
	size := map[string]int64{}
	for _, table := range []string{"noggin_data", "attachments", "record_versions", "former_files", "record_hashes", "entity_hashes", "processing_errors"} {
		size[table] = scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.`+table)
	}
	most := int64(0)
	for _, check := range Checks([]string{"LCD"}, []string{"LCD attachments"}) {
		awaitOtherSessions(t, db)
		before := rows()
		session := openDB(t, db.cfg)
		if _, err := session.Violations(t.Context(), check); err != nil {
			t.Fatal(err)
		}
		if err := session.Close(); err != nil {
			t.Fatal(err)
		}
		awaitOtherSessions(t, db)
		for table, read := range rows() {
			read -= before[table]
			most = max(most, read)
			if n, ok := size[table]; ok && read > 2*n {
				t.Errorf("%s read %d rows of %s, which has %d", check.Name, read, table, n)
			}
		}
	}
	if most < size["attachments"] {
		t.Errorf("no check read more than %d rows: the test shows nothing", most)
	}
}

// Otherwise a report on a large database waits for the compiler.
func TestSessionsCompileNoStatements(t *testing.T) {
	t.Parallel()
	if jit := scalar[string](t, testDB(t), `SHOW jit`); jit != "off" {
		t.Errorf("jit is %s", jit)
	}
}

func TestASessionIsBoundAsConfigured(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.URL, cfg.Timezone, cfg.StatementTimeout, cfg.RetryFor = storagetest.Database(t), "Asia/Tokyo", 7*time.Second, 8*time.Second
	runs := cfg.ForRuns()
	for _, test := range []struct {
		cfg  Config
		lock string
	}{{cfg, "2666ms"}, {runs, "1s"}} {
		db := openDB(t, test.cfg)
		for setting, want := range map[string]string{
			"statement_timeout": "7s", "lock_timeout": test.lock, "search_path": `"noggin_schema"`, "TimeZone": "Asia/Tokyo", "application_name": "noggin test",
		} {
			if got := scalar[string](t, db, `SELECT current_setting($1)`, setting); got != want {
				t.Errorf("%s is %s, want %s", setting, got, want)
			}
		}
	}
}
