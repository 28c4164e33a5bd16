package storage

import (
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// throughProxy returns the database behind a proxy that can lose the replies to commits.
func throughProxy(t *testing.T, db *DB) (*DB, *storagetest.Proxy) {
	t.Helper()
	proxy := storagetest.NewProxy(t, db.cfg.URL)
	cfg := db.cfg
	cfg.URL = proxy.URL(db.cfg.URL)
	return openDB(t, cfg), proxy
}

// When the reply to a COMMIT is lost, the transaction runs again and returns what its
// first try did.
func TestAResultOutlivesALostReply(t *testing.T) {
	t.Parallel()
	direct := testDB(t)
	insertPending(t, direct, 3)
	foreign(t, direct, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', crash_count = 2`)
	db, proxy := throughProxy(t, direct)
	run, err := db.StartRun(t.Context(), "retry-failed", "test")
	if err != nil {
		t.Fatal(err)
	}
	proxy.LoseCommits(1)
	if reset, err := db.ResetForRetry(t.Context(), run, Selector{}); err != nil || reset != 3 {
		t.Errorf("%d records were reset, %v, want 3", reset, err)
	}
	if n := scalar[int](t, db, `SELECT max(crash_count) FROM noggin_schema.noggin_data`); n != 0 {
		t.Errorf("a record that was reset has crashed %d runs", n)
	}

	var failures []CountedFailure
	for _, c := range claim(t, direct, run, 2) {
		finish(t, direct, run, Result{Tip: c.Tip, Token: c.Token, Status: "api_failed"})
		failures = append(failures, CountedFailure{Tip: c.Tip, Token: c.Token, Final: true})
	}
	proxy.LoseCommits(1)
	counted, err := db.CountFailures(t.Context(), failures, testBackoff)
	if err != nil || len(counted) != 2 || !counted[0].PermanentlyFailed || !counted[1].PermanentlyFailed {
		t.Errorf("counted %+v, %v, want two that are permanently failed", counted, err)
	}
	if n := scalar[int](t, db, `SELECT max(retry_count) FROM noggin_schema.noggin_data`); n != 1 {
		t.Errorf("a failure was counted %d times", n)
	}

	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('aa', 'vehicle', 'TRUCK 1'), ('bb', 'team', 'Night')`)
	proxy.LoseCommits(1)
	if gone, err := db.ForgetNames(t.Context(), Forget{Hashes: []string{"aa", "bb"}}); err != nil || gone.Names != 2 {
		t.Errorf("forgot %+v, %v, want two names", gone, err)
	}

	rows, err := db.Skippable(t.Context(), Selector{Permanent: true}, "", 9)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%+v, %v", rows, err)
	}
	proxy.LoseCommits(1)
	if skipped, err := db.Skip(t.Context(), rows, "why"); err != nil || skipped != 2 {
		t.Errorf("%d records were skipped, %v, want 2", skipped, err)
	}
	proxy.LoseCommits(1)
	if back, err := db.Unskip(t.Context(), rows); err != nil || back != 2 {
		t.Errorf("%d records were brought back, %v, want 2", back, err)
	}
	foreign(t, direct, `UPDATE noggin_schema.noggin_data SET names_stale = true`)
	batch, err := direct.ClaimStale(t.Context(), run, "", 9, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	proxy.LoseCommits(1)
	if healed := saveHealed(t, db, run, batch, true); healed != 3 {
		t.Errorf("%d records were healed, want 3", healed)
	}
	if proxy.Lost() != 6 {
		t.Errorf("%d replies were lost, want 6", proxy.Lost())
	}
}

// An archive with an attachment, a report and a former file of one of two records is lost.
func TestALostArchiveHidesNoFileOfTheOutputFolder(t *testing.T) {
	t.Parallel()
	direct := testDB(t)
	filed(t, direct, 1, 2)
	foreign(t, direct, `INSERT INTO noggin_schema.archives (name, path, month, state, record_count, file_count, source_bytes, removed_at)
			VALUES ('noggin-2025-09.tar.zst', '/a/noggin-2025-09.tar.zst', '2025-09', 'done', 1, 3, 117, now());
		INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, first_version, last_version, size_bytes, hash_sha256, archive_id)
			SELECT '2025/09/1/old.jpg', min(tip), 'attachment', 'o', 1, 1, 7, '00', 1 FROM noggin_schema.noggin_data;
		INSERT INTO noggin_schema.archive_records (record_tip, archive_id) SELECT record_tip, 1 FROM noggin_schema.former_files;
		UPDATE noggin_schema.attachments SET archive_id = 1 WHERE record_tip IN (SELECT record_tip FROM noggin_schema.former_files);
		UPDATE noggin_schema.noggin_data SET report_archive_id = 1, archived = true WHERE tip IN (SELECT record_tip FROM noggin_schema.former_files)`)
	db, proxy := throughProxy(t, direct)
	usage := func() MonthUsage {
		t.Helper()
		months, err := db.StorageByMonth(t.Context())
		if err != nil || len(months) != 1 {
			t.Fatal(months, err)
		}
		return months[0]
	}
	if m := usage(); m.DiskBytes() != 110 || m.ArchivedFiles != 3 {
		t.Errorf("before the loss: %+v, of which %d bytes are in the output folder", m, m.DiskBytes())
	}
	target := register(t, direct, "/mnt/b")
	copied := func(state string, want int64) {
		t.Helper()
		foreign(t, direct, `UPDATE noggin_schema.copies SET `+state)
		of, err := db.CopiedOfArchive(t.Context(), 1)
		if err != nil || len(of) > 1 || want > 0 != (len(of) == 1) || want > 0 && of[0] != (CopiedTo{CopyPlace{URL: "/mnt/b"}, want}) {
			t.Errorf("with %s, %+v have copies, %v", state, of, err)
		}
	}
	foreign(t, direct, `INSERT INTO noggin_schema.copies (target_id, path, hash_sha256, size_bytes, kind)
		SELECT $1::bigint, f.path, lower(f.hash), 1, 'former' FROM (SELECT file_path AS path, file_hash_sha256 AS hash FROM noggin_schema.attachments
			UNION ALL SELECT report_path, report_hash_sha256 FROM noggin_schema.noggin_data UNION ALL SELECT path, hash_sha256 FROM noggin_schema.former_files) AS f`, target)
	copied(`problem = NULL`, 3)
	copied(`problem = 'it differs' WHERE path LIKE '%/1.jpg'`, 2)
	copied(`obsolete_at = now() WHERE path LIKE '%/old.jpg'`, 1)
	for _, reason := range []string{"the volume burned", "the cellar was flooded"} {
		if first, err := db.BeginLoss(t.Context(), 1, reason); err != nil || first != "the volume burned" {
			t.Errorf("begun with %q: it is %q, %v", reason, first, err)
		}
	}
	if err := db.MarkLost(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	claims, err := db.ClaimTips(t.Context(), 1, []string{tip(1)}, "", time.Minute)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	proxy.LoseCommits(1)
	lost, err := db.LoseFiles(t.Context(), 1, 1, claims, "lost")
	if want := (LostOfArchive{Records: 1, Files: 2, Former: 1, Queued: 1}); err != nil || lost != want || proxy.Lost() != 1 {
		t.Errorf("lost %+v, %v, want %+v; %d replies were lost", lost, err, want, proxy.Lost())
	}
	if n := scalar[int](t, direct, `SELECT count(*) FROM noggin_schema.processing_errors`); n != 1 {
		t.Errorf("the loss is noted %d times", n)
	}
	// The report of the first record counts until it is written again.
	if m := usage(); m.DiskBytes() != 120 || m.ArchivedFiles != 1 || m.ArchivedBytes != 7 {
		t.Errorf("after the loss: %+v, of which %d bytes are in the output folder", m, m.DiskBytes())
	}
}
