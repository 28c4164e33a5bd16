package storage

import (
	"testing"

	"noggin/storage/storagetest"
)

// truth compares the counts with the tables that they count.
func truth(t *testing.T, db *DB) {
	t.Helper()
	if wrong := scalar[int](t, db, `
		WITH t AS (SELECT object_type, processing_status, permanently_failed, CASE WHEN processing_status <> 'pending' THEN updated_at::date END, count(*),
			       round(sum(CASE WHEN processing_status = 'complete' THEN processing_seconds ELSE 0 END)::numeric, 3)
			FROM noggin_schema.noggin_data GROUP BY 1, 2, 3, 4),
		c AS (SELECT object_type, processing_status, permanently_failed, slot::date, sum(records), round(sum(seconds)::numeric, 3)
			FROM noggin_schema.record_counts GROUP BY 1, 2, 3, 4 HAVING sum(records) <> 0)
		SELECT count(*) FROM ((TABLE t EXCEPT TABLE c) UNION ALL (TABLE c EXCEPT TABLE t)) AS wrong`); wrong != 0 {
		t.Errorf("%d groups of records are counted wrongly", wrong)
	}
	if wrong := scalar[int](t, db, `
		WITH t AS (SELECT left(d.folder, 7), d.object_type, 'attachment', a.attachment_status, a.download_started_at::date, count(*),
			       coalesce(sum(a.file_size_bytes) FILTER (WHERE a.attachment_status = 'complete'), 0)
			FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip GROUP BY 1, 2, 4, 5
			UNION ALL SELECT left(folder, 7), object_type, 'report', 'complete', NULL, count(*), sum(report_size_bytes)
			FROM noggin_schema.noggin_data WHERE report_size_bytes IS NOT NULL GROUP BY 1, 2),
		c AS (SELECT replace(month, '-', '/'), object_type, kind, status, slot::date, sum(files), sum(bytes)
			FROM noggin_schema.file_counts GROUP BY 1, 2, 3, 4, 5 HAVING sum(files) <> 0 OR sum(bytes) <> 0)
		SELECT count(*) FROM ((TABLE t EXCEPT TABLE c) UNION ALL (TABLE c EXCEPT TABLE t)) AS wrong`); wrong != 0 {
		t.Errorf("%d groups of files are counted wrongly", wrong)
	}
}

func TestCountsFollowEveryChangeWhoeverMakesIt(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	if err := storagetest.Fill(t.Context(), testURL(db), storagetest.FillOptions{Records: 500, Attachments: 1000, Errors: 1, Pending: 10, Days: 20}); err != nil {
		t.Fatal(err)
	}
	truth(t, db)
	if rows := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.file_counts WHERE kind = 'attachment'`); rows > 600 {
		t.Errorf("%d rows for 960 attachments of one statement", rows)
	}
	for _, change := range []string{
		`UPDATE noggin_schema.noggin_data SET processing_status = 'pending' WHERE permanently_failed`,
		`UPDATE noggin_schema.noggin_data SET permanently_failed = true WHERE processing_status = 'api_failed'`,
		`UPDATE noggin_schema.noggin_data SET object_type = 'LCD', folder = '2019/01/' || tip WHERE object_type = 'CCC' AND folder IS NOT NULL`,
		`UPDATE noggin_schema.noggin_data SET report_size_bytes = report_size_bytes + 5 WHERE object_type = 'LCD'`,
		`UPDATE noggin_schema.attachments SET attachment_status = 'failed', download_started_at = now() WHERE attachment_sequence = 2`,
		`UPDATE noggin_schema.attachments SET attachment_status = 'complete', file_size_bytes = 7 WHERE attachment_sequence = 2 AND record_tip < '8'`,
		`DELETE FROM noggin_schema.attachments WHERE record_tip < '4'`,
		`DELETE FROM noggin_schema.noggin_data WHERE tip < '4'`,
	} {
		foreign(t, db, change)
		truth(t, db)
	}
	insertPending(t, db, 3)
	truth(t, db)
	for range 2 {
		if err := db.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
		truth(t, db)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'skipped' WHERE processing_status = 'complete' AND tip < '9'`)
	truth(t, db)
	foreign(t, db, `DELETE FROM noggin_schema.record_counts`)
	if _, err := db.Fix(t.Context(), Check{Name: "record_counts"}, "LCD"); err != nil {
		t.Fatal(err)
	}
	truth(t, db)
}

func TestARunCountsWhatItDoes(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	if _, err := db.Store(t.Context(), 1, []Answer{answer(c)}); err != nil {
		t.Fatal(err)
	}
	truth(t, db)
	finish(t, db, 1, Result{
		Tip: c.Tip, Token: c.Token, Status: "complete", Seconds: 2.5, ReportPath: ptr("r"), ReportSize: ptr(int64(9)), ReportHash: ptr("00"),
		Downloads: []Download{{RecordTip: c.Tip, Tip: "p1", Status: "complete", Validation: "valid", Filename: "a.jpg", Size: ptr(int64(3)), Seconds: 0.1}},
	})
	truth(t, db)
	if tip := scalar[string](t, db, `SELECT longest_tip FROM noggin_schema.record_counts WHERE longest = 2.5`); tip != c.Tip {
		t.Errorf("the slowest record is %s", tip)
	}
}

func TestSamplesAreTakenSeldomAndThinned(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 7)
	for i, want := range []bool{true, false} {
		if taken, err := db.Sample(t.Context(), &Disk{Path: "/x", FreeBytes: 5, TotalBytes: 10}); err != nil || taken != want {
			t.Fatalf("sample %d: taken %v, %v", i, taken, err)
		}
	}
	samples, err := db.Samples(t.Context(), scalarNow(t, db).AddDate(0, 0, -1))
	if err != nil || len(samples) != 1 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	if s := samples[0]; s.Records["pending"] != 7 || s.Due != 7 || s.Disk.FreeBytes != 5 || s.Disk.Host != db.Host() || s.DatabaseBytes == 0 {
		t.Errorf("sample %+v", s)
	}
	// No sample is within five minutes of an age at which thinning begins, whatever
	// the time of day. A new sample thins when it is the first of its hour.
	foreign(t, db, `INSERT INTO noggin_schema.samples SELECT now() - i * interval '10 minutes' - interval '5 minutes', '{}' FROM generate_series(1, 144 * 80) AS i`)
	foreign(t, db, `DELETE FROM noggin_schema.samples WHERE taken_at >= date_trunc('hour', now())`)
	want := 1 + scalar[int](t, db, `SELECT count(*) FROM noggin_schema.samples WHERE taken_at >= now() - interval '2 days'`) +
		scalar[int](t, db, `SELECT count(DISTINCT date_trunc('hour', taken_at)) FROM noggin_schema.samples
			WHERE taken_at BETWEEN now() - interval '60 days' AND now() - interval '2 days'`) +
		scalar[int](t, db, `SELECT count(DISTINCT date_trunc('day', taken_at)) FROM noggin_schema.samples WHERE taken_at < now() - interval '60 days'`)
	if _, err := db.Sample(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.samples`); n != want || n > 288+58*24+25 {
		t.Errorf("%d samples are kept, want %d", n, want)
	}
}
