package storage

import (
	"fmt"
	"testing"
	"time"

	"github.com/lib/pq"

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
	// The updates below change half of the rows. When autovacuum analyses the table only after
	// them, few of its pages are all-visible, and to read so small a table whole is the best plan.
	foreign(t, db, `ALTER TABLE noggin_schema.noggin_data SET (autovacuum_enabled = off)`)
	foreign(t, db, `INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value)
		SELECT tip, 'vehicle', 'vehicle', md5(left(tip, 2)) FROM noggin_schema.noggin_data`)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		SELECT md5('name ' || i), 'vehicle', 'TRUCK' FROM generate_series(1, 5000) AS i
		UNION ALL SELECT md5(left(tip, 2)), 'trailer', 'DOLLY' FROM noggin_schema.noggin_data GROUP BY md5(left(tip, 2)) ORDER BY 1 LIMIT 5100`)
	foreign(t, db, `INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type) SELECT md5('unknown ' || i), 'vehicle' FROM generate_series(1, 5000) AS i`)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET has_unknown_hashes = true WHERE processing_status = 'complete' AND tip LIKE '7%'`)
	foreign(t, db, `ANALYZE noggin_schema.record_hashes, noggin_schema.entity_hashes, noggin_schema.unknown_hashes`)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET names_stale = true WHERE tip IN
		(SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ORDER BY tip LIMIT 60)`)
	foreign(t, db, `INSERT INTO noggin_schema.refreshes (record_tip, due_at, version_at)
		SELECT tip, now() + (random() - 0.5) * interval '1 day', now() - interval '1 day' FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = NULL, version_at = now() - interval '40 days' WHERE record_tip LIKE '0%' OR record_tip LIKE 'f%'`)
	foreign(t, db, `INSERT INTO noggin_schema.record_versions (record_tip, version, kind, payload_sha256, answer, size_bytes, hash_sha256)
		SELECT tip, 1, 'version', sha256(convert_to(payload::text, 'UTF8')), '', 0, '' FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	foreign(t, db, `INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, first_version, last_version, size_bytes, hash_sha256)
		SELECT tip || '/1.jpg', tip, 'attachment', tip, 1, 1, 1, '' FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	foreign(t, db, `ANALYZE noggin_schema.refreshes, noggin_schema.record_versions, noggin_schema.former_files`)
	foreign(t, db, `INSERT INTO noggin_schema.record_search (record_tip, inspection_date, document)
		SELECT tip, inspection_date, array_to_tsvector(ARRAY['load', left(tip, 3)]) FROM noggin_schema.noggin_data WHERE folder IS NOT NULL`)
	foreign(t, db, `ANALYZE noggin_schema.record_search`)
	foreign(t, db, `INSERT INTO noggin_schema.seal_logs (id, origin, verifier) VALUES (1, 'log', 'key');
		INSERT INTO noggin_schema.seal_leaves (log_id, position, record_tip, claim, leaf)
		SELECT 1, row_number() OVER (ORDER BY tip) - 1, tip, decode(md5(tip), 'hex'), '{}' FROM noggin_schema.noggin_data;
		INSERT INTO noggin_schema.seal_tiles (log_id, level, number, hashes) SELECT 1, 0, i, '' FROM generate_series(0, 5000) AS i;
		ANALYZE noggin_schema.seal_leaves, noggin_schema.seal_tiles, noggin_schema.seal_due`)
	target, err := db.RegisterCopyTarget(t.Context(), "/copies", "")
	if err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `INSERT INTO noggin_schema.copies (target_id, path, hash_sha256, size_bytes, kind, record_tip)
		SELECT 1, file_path, file_hash_sha256, file_size_bytes, 'attachment', record_tip FROM noggin_schema.attachments WHERE attachment_status = 'complete'`)
	foreign(t, db, `INSERT INTO noggin_schema.copies_due (target_id, path, hash_sha256, size_bytes, kind, record_tip, due_at)
		SELECT 1, tip || '.txt', md5(tip), 1, 'report', tip, now() - random() * interval '1 hour' FROM noggin_schema.noggin_data`)
	foreign(t, db, `ANALYZE noggin_schema.copies, noggin_schema.copies_due`)
	foreign(t, db, `INSERT INTO noggin_schema.archives (name, path, month, state) VALUES ('noggin-2024-03.tar.zst', '/a/noggin-2024-03.tar.zst', '2024-03', 'done')`)
	foreign(t, db, `INSERT INTO noggin_schema.archive_records (record_tip, archive_id) SELECT tip, 1 FROM noggin_schema.noggin_data WHERE tip LIKE 'a%'`)
	foreign(t, db, `ANALYZE noggin_schema.archive_records`)
	tables := []string{
		"noggin_data", "attachments", "record_versions", "former_files", "refreshes", "record_hashes", "processing_errors", "entity_hashes",
		"unknown_hashes", "record_search", "seal_due", "seal_leaves", "seal_tiles", "copies", "copies_due",
	}
	ctx := t.Context()
	var claims, refreshes, edited []Claim
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
		{"the look whether an archive that is missing holds files", func(db *DB) error { _, err := db.ArchivesHolding(ctx, []int64{1, 2}); return err }},
		{"the look for copies of files to archive", func(db *DB) error {
			_, err := db.UncopiedRecords(ctx, []File{{RecordTip: "a", Path: "a/b.jpg", SHA256: "00"}}, CopyPlace{URL: "/b"}, time.Hour)
			return err
		}},
		{"a look for witnesses", func(db *DB) error {
			known, err := db.KnownRecords(ctx, "LCD", nil)
			if err == nil && len(known) != witnesses {
				err = fmt.Errorf("%d records are known to be there", len(known))
			}
			return err
		}},
		{"a look for witnesses of media", func(db *DB) error { _, err := db.KnownAttachments(ctx, nil); return err }},
		{"the number of due records", func(db *DB) error {
			due, err := db.CountDue(ctx, Selector{})
			if err == nil && (due.Due == 0 || due.Later == 0) {
				err = fmt.Errorf("%+v", due)
			}
			return err
		}},
		{"a look for new records", func(db *DB) error { _, err := db.CountNew(ctx, Selector{}, 20); return err }},
		{"counting failures", func(db *DB) error {
			var failures []CountedFailure
			for _, c := range claims {
				failures = append(failures, CountedFailure{Tip: c.Tip, Token: c.Token, Passing: true})
			}
			_, err := db.CountFailures(ctx, failures, Backoff{Multiplier: 2, MaxAttempts: 5})
			return err
		}},
		{"the rights of the role", func(db *DB) error { return db.CheckRights(ctx) }},
		{"a look for records that are asked for no more", func(db *DB) error { return db.ResumeAskings(ctx, testSteps) }},
		{"a claim of records to ask for again", func(db *DB) (err error) {
			refreshes, err = db.Claim(ctx, ClaimRequest{Run: 1, Limit: 25, Lease: time.Minute, InHand: []string{}, Selector: Selector{Statuses: []Status{StatusComplete}}})
			return err
		}},
		{"recording askings", func(db *DB) error {
			var askings []Asking
			for _, c := range refreshes {
				askings = append(askings, Asking{Tip: c.Tip, Token: c.Token, HTTPStatus: 200})
			}
			_, err := db.Asked(ctx, 1, askings, Backoff{AskAgain: testSteps})
			return err
		}},
		{"a claim of records that were edited", func(db *DB) (err error) {
			edited, err = db.Claim(ctx, ClaimRequest{Run: 1, Limit: 25, Lease: time.Minute, InHand: []string{}, Selector: Selector{Statuses: []Status{StatusComplete}}})
			return err
		}},
		{"storing the answers of edited records", func(db *DB) error {
			answers := make([]Answer, len(edited))
			for i, c := range edited {
				answers[i] = answer(c)
				answers[i].Refresh = true
			}
			stored, err := db.Store(ctx, 1, answers)
			for _, s := range stored {
				if s.Outcome != OutcomeChanged {
					err = fmt.Errorf("an edited record is %s", s.Outcome)
				}
			}
			return err
		}},
		{"recording an edit and a former report", func(db *DB) error {
			results := make([]Result, len(edited))
			for i, c := range edited {
				results[i] = Result{
					Tip: c.Tip, Token: c.Token, Status: StatusComplete, HTTPStatus: 200,
					FormerReport: &FormerFile{Path: c.Tip + "/v1.txt", RecordTip: c.Tip, FirstVersion: 1, LastVersion: 1},
				}
			}
			_, err := db.Finish(ctx, 1, results, Backoff{AskAgain: testSteps})
			return err
		}},
		{"noting what is gone", func(db *DB) error {
			failures := make([]CountedFailure, len(edited))
			for i, c := range edited {
				failures[i] = CountedFailure{Tip: c.Tip, Token: c.Token, Kept: true}
			}
			_, err := db.CountFailures(ctx, failures, Backoff{MaxAttempts: 5})
			return err
		}},
		{"making records due that changed", func(db *DB) error { return db.LookAgain(ctx, []string{edited[0].Tip}) }},
		{"a former file by its SHA-256", func(db *DB) error { _, err := db.FormerOf(ctx, edited[0].Tip, "x", "x"); return err }},
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
		{"healing", func(db *DB) error {
			healed := make([]Healed, len(stale.Records))
			for i := range stale.Records {
				healed[i] = Healed{Record: &stale.Records[i], Done: true}
			}
			_, err := db.SaveHealed(ctx, 1, stale.Names, healed)
			return err
		}},
		{"a look for the neighbours of tips", func(db *DB) error {
			near, err := db.TipNeighbours(ctx, []string{claims[0].Tip, stale.Records[0].Tip})
			if err == nil && len(near) < 4 {
				err = fmt.Errorf("neighbours: %q", near)
			}
			return err
		}},
		{"a look for hashes by their beginning", func(db *DB) error { _, err := db.HashesBeginning(ctx, "7c4a8d09", 3); return err }},
		{"a look for records with a similar name", func(db *DB) error { _, err := db.NearRecords(ctx, "lcd-00012"); return err }},
		{"a look for names known under another type", func(db *DB) error {
			foreign(t, db, `UPDATE noggin_schema.names_recheck SET after = '7'`) // behind the first page
			_, err := db.RecheckNames(ctx, 100)
			return err
		}},
		{"the records in hand", func(db *DB) error { _, err := db.Workers(ctx); return err }},
		{"the doubtful attachments", func(db *DB) error {
			if _, err := db.CountDoubtful(ctx); err != nil {
				return err
			}
			_, err := db.DoubtfulAttachments(ctx, 10)
			return err
		}},
		{"how far sealing is", func(db *DB) error { _, err := db.SealState(ctx); return err }},
		{"the leaves of records", func(db *DB) error { _, err := db.LeavesOf(ctx, 1, []string{claims[0].Tip}); return err }},
		{"the look for earlier leaves of records", func(db *DB) error {
			var tips []string
			for _, c := range claims {
				tips = append(tips, c.Tip)
			}
			before, err := db.SealedBefore(ctx, []SealLog{{ID: 1}}, SealedLeaf{LogID: 1, Position: records}, tips)
			if err == nil && len(before) != len(tips) {
				err = fmt.Errorf("of %d records %d have earlier leaves", len(tips), len(before))
			}
			return err
		}},
		{"sealing", func(db *DB) error {
			return db.Append(ctx, func(tx *SealTx) error {
				due, err := tx.TakeDue("7", 100)
				if err != nil || len(due) != 100 {
					return fmt.Errorf("%d records are due: %w", len(due), err)
				}
				tips := make([]string, len(due))
				for i, m := range due {
					tips[i] = m.Tip
				}
				for _, read := range []func() error{
					func() error { _, err := tx.Versions(tips); return err },
					func() error { _, err := tx.Files(tips); return err },
					func() error { _, err := tx.Claims(tips); return err },
					func() error { _, err := tx.Tiles(1, []SealTile{{Number: 4999}}); return err },
					func() error { _, err := tx.Head(1); return err },
				} {
					if err := read(); err != nil {
						return err
					}
				}
				return tx.Add(1, []SealedLeaf{{Position: 1 << 40, Tip: "t", Leaf: "{}"}}, []SealTile{{Number: 5001}}, SealHead{Size: 1<<40 + 1, Note: "n"})
			})
		}},
		{"copies of files", func(db *DB) error {
			due, err := db.ClaimCopies(ctx, target, 100, time.Minute)
			if err != nil || len(due) != 100 {
				return fmt.Errorf("%d files are due: %w", len(due), err)
			}
			var r CopyResults
			for i, d := range due {
				switch {
				case i < 90:
					r.Copied = append(r.Copied, Copied{CopyKey: d.CopyKey, Size: d.Size, Kind: d.Kind, RecordTip: d.RecordTip})
				case i < 95:
					r.Failed = append(r.Failed, CopyFailure{CopyKey: d.CopyKey, Problem: "broken"})
				default:
					r.Gone = append(r.Gone, d.CopyKey)
				}
			}
			if err := db.PostponeCopies(ctx, target, r.Gone, time.Minute); err != nil {
				return err
			}
			return db.FinishCopies(ctx, target, r)
		}},
		{"the latest inspections of a vehicle", func(db *DB) error {
			return db.EachInspection(ctx, InspectionFilter{Selector: Selector{Entities: [][]string{{"187ef4436122d1cc2f40dc2b92f0eba0"}}}, Limit: 10}, func([][]byte) error { return nil })
		}},
		{"the latest inspections with a word", func(db *DB) error {
			return db.EachInspection(ctx, InspectionFilter{Selector: Selector{Search: "nothing"}, Limit: 10}, func([][]byte) error { return nil })
		}},
		{"the latest inspections of a form", func(db *DB) error {
			return db.EachInspection(ctx, InspectionFilter{Selector: Selector{ObjectType: "SO", Compliance: "No"}, Limit: 10}, func([][]byte) error { return nil })
		}},
		{"the totals of inspections", func(db *DB) error {
			_, err := db.CountInspections(ctx, InspectionFilter{Selector: Selector{ObjectType: "SO"}})
			return err
		}},
		{"the totals", func(db *DB) error { _, err := db.RecordTotals(ctx); return err }},
		{"the queue's depth", func(db *DB) error { _, err := db.QueueDepth(ctx); return err }},
	} {
		before := rowsScanned(t, db, tables...)
		// Statistics are reported when a session ends.
		session := openDB(t, db.cfg)
		must(step.do(session))
		must(session.Close())
		for table, rows := range rowsScanned(t, db, tables...) {
			if more := rows - before[table]; more > 0 {
				t.Errorf("%s went through %d rows of %s", step.name, more, table)
			}
		}
	}
	if len(refreshes) != 25 || len(edited) != 25 {
		t.Errorf("%d and %d records to ask for again were claimed, want 25", len(refreshes), len(edited))
	}
	if len(claims) != 25 || len(stale.Records) != 50 {
		t.Errorf("%d records were claimed and %d for healing, want 25 and 50: the test shows nothing", len(claims), len(stale.Records))
	}
}

// awaitOtherSessions ends the idle sessions of db and waits until no session but the one
// that asks is left, so that the statistics of all of them are reported.
func awaitOtherSessions(t *testing.T, db *DB) {
	t.Helper()
	db.pool.SetMaxIdleConns(-1)
	for others := 1; others > 0; time.Sleep(2 * time.Millisecond) {
		err := db.pool.GetContext(t.Context(), &others, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rowsScanned is how many rows of each table were read without an index, once the other
// sessions have ended.
func rowsScanned(t *testing.T, db *DB, tables ...string) map[string]int64 {
	t.Helper()
	awaitOtherSessions(t, db)
	var read []struct {
		Table string
		Rows  int64
	}
	if err := db.pool.SelectContext(t.Context(), &read, `SELECT relname AS "table", coalesce(seq_tup_read, 0) AS rows FROM pg_stat_user_tables
		WHERE schemaname = 'noggin_schema' AND relname = ANY($1)`, pq.Array(tables)); err != nil {
		t.Fatal(err)
	}
	if len(read) != len(tables) {
		t.Fatalf("%d of the tables %q have statistics", len(read), tables)
	}
	scanned := map[string]int64{}
	for _, table := range read {
		scanned[table.Table] = table.Rows
	}
	return scanned
}
