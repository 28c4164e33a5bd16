package storage

import (
	"fmt"
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// Every statement of a run's way, and what timers ask, finds its rows by an index: the
// server counts the rows that it read by going through a whole table.
func TestNoHotPathReadsAWholeTable(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	const records = 20_000
	if err := storagetest.Fill(t.Context(), testURL(db), storagetest.FillOptions{Records: records, Attachments: 2 * records, Errors: records / 5, Pending: 10}); err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value)
		SELECT tip, 'vehicle', 'vehicle', md5(left(tip, 2)) FROM noggin_schema.noggin_data`)
	foreign(t, db, `ANALYZE noggin_schema.record_hashes`)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET names_stale = true WHERE tip IN
		(SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ORDER BY tip LIMIT 60)`)
	ctx := t.Context()
	var claims []Claim
	var stale StaleBatch
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func(db *DB) error
	}{
		{"the look whether anything is due", func(db *DB) error { _, err := db.Standing(ctx); return err }},
		{"a claim", func(db *DB) (err error) {
			claims, err = db.Claim(ctx, ClaimRequest{Run: 1, Limit: 25, Retries: 12, Lease: time.Minute})
			return err
		}},
		{"a claim of records that crashed runs", func(db *DB) error {
			_, err := db.Claim(ctx, ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute, Crashing: true})
			return err
		}},
		{"a claim by tip", func(db *DB) error {
			_, err := db.Claim(ctx, ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute, Selector: Selector{Tips: []string{claims[0].Tip}}})
			return err
		}},
		{"a renewal", func(db *DB) error { _, err := db.Renew(ctx, 1, claims, time.Minute); return err }},
		{"storing answers", func(db *DB) error {
			var answers []Answer
			for _, c := range claims {
				a := answer(c)
				folder := "2025/09/scan " + c.Tip
				a.Folders = [3]string{folder, folder + " 1", folder + " 2"}
				answers = append(answers, a)
			}
			_, err := db.Store(ctx, 1, answers)
			return err
		}},
		{"recording results", func(db *DB) error {
			var results []Result
			for _, c := range claims {
				results = append(results, Result{Tip: c.Tip, Token: c.Token, Status: "complete"})
			}
			_, err := db.Finish(ctx, 1, results, Backoff{Multiplier: 2, MaxAttempts: 5})
			return err
		}},
		{"an import", func(db *DB) error {
			rows := make([]ImportedTip, 1000)
			for i := range rows {
				rows[i].Tip = tip(i)
			}
			_, err := db.ImportTips(ctx, TipImport{ObjectType: "LCD"}, rows)
			return err
		}},
		{"a claim for healing", func(db *DB) (err error) {
			stale, err = db.ClaimStale(ctx, 1, "", 50, time.Minute)
			return err
		}},
		{"the records in hand", func(db *DB) error { _, err := db.Workers(ctx); return err }},
		{"the totals", func(db *DB) error { _, err := db.RecordTotals(ctx); return err }},
		{"the queue's depth", func(db *DB) error { _, err := db.QueueDepth(ctx); return err }},
	} {
		before := rowsScanned(t, db)
		// Statistics are reported when a session ends.
		session := openDB(t, db.cfg)
		must(step.do(session))
		must(session.Close())
		for table, rows := range rowsScanned(t, db) {
			if more := rows - before[table]; more > 0 {
				t.Errorf("%s went through %d rows of %s", step.name, more, table)
			}
		}
	}
	if len(claims) != 25 || len(stale.Records) != 50 {
		t.Errorf("%d records were claimed and %d for healing, want 25 and 50: the test shows nothing", len(claims), len(stale.Records))
	}
}

// rowsScanned is how many rows of each large table were read without an index, once
// the other sessions have ended.
func rowsScanned(t *testing.T, db *DB) map[string]int64 {
	t.Helper()
	for scalar[int64](t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'noggin test' AND pid <> pg_backend_pid()`) > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	scanned := map[string]int64{}
	for _, table := range []string{"noggin_data", "attachments", "record_hashes", "processing_errors"} {
		scanned[table] = scalar[int64](t, db, fmt.Sprintf(`SELECT coalesce(seq_tup_read, 0) FROM pg_stat_user_tables WHERE relname = '%s' AND schemaname = 'noggin_schema'`, table))
	}
	return scanned
}
