package storage

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// filledDB returns a database with generated records.
func filledDB(t testing.TB, o storagetest.FillOptions) *DB {
	t.Helper()
	db := testDB(t)
	if err := storagetest.Fill(t.Context(), testURL(db), o); err != nil {
		t.Fatal(err)
	}
	if err := db.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// reports are what the operator may ask at any time of day.
func reports(ctx context.Context, db *DB, now time.Time) map[string]func() error {
	today, weekAgo := now.Format(time.DateOnly), now.AddDate(0, 0, -6).Format(time.DateOnly)
	longAgo := now.AddDate(0, 0, -200).Format(time.DateOnly)
	return map[string]func() error{
		"standing":     func() error { _, err := db.Standing(ctx); return err },
		"totals":       func() error { _, err := db.RecordTotals(ctx); return err },
		"queue":        func() error { _, err := db.QueueDepth(ctx); return err },
		"workers":      func() error { _, err := db.Workers(ctx); return err },
		"next retries": func() error { _, err := db.NextRetries(ctx, 20); return err },
		"week":         func() error { _, err := db.Days(ctx, weekAgo, today); return err },
		"old day":      func() error { _, err := db.Days(ctx, longAgo, longAgo); return err },
		"error types":  func() error { _, err := db.ErrorTypes(ctx, now.AddDate(0, 0, -7), now); return err },
		"error messages": func() error {
			_, err := db.ErrorMessages(ctx, now.AddDate(0, 0, -7), now, 20)
			return err
		},
		"latest errors": func() error { _, err := db.LatestErrors(ctx, now.AddDate(0, 0, -7), now, 20); return err },
		"unknown names": func() error { _, err := db.UnknownNames(ctx); return err },
		"last runs":     func() error { _, err := db.LastRuns(ctx, DoneRun); return err },
		"rhythm":        func() error { _, err := db.Rhythm(ctx, "process"); return err },
		"transitions":   func() error { _, err := db.Transitions(ctx, now.AddDate(0, 0, -7)); return err },
		"last activity": func() error { _, err := db.LastActivity(ctx); return err },
		"attachments":   func() error { _, err := db.AttachmentTotals(ctx); return err },
		"doubtful":      func() error { _, err := db.DoubtfulAttachments(ctx, 10); return err },
		"failed files":  func() error { _, err := db.FailedAttachments(ctx, 10); return err },
		"largest files": func() error { _, err := db.LargestAttachments(ctx, 10); return err },
		"speed":         func() error { _, err := db.DownloadSpeed(ctx, 100); return err },
		"months":        func() error { _, err := db.StorageByMonth(ctx); return err },
		"forms":         func() error { _, err := db.StorageByForm(ctx); return err },
		"failing": func() error {
			return db.EachFailing(ctx, FailingFilter{Limit: 20}, func(FailedRecord) error { return nil })
		},
		"given up": func() error {
			return db.EachFailing(ctx, FailingFilter{Permanent: true, Limit: 20}, func(FailedRecord) error { return nil })
		},
		"database":      func() error { _, err := db.DatabaseState(ctx); return err },
		"tables":        func() error { _, err := db.TableStates(ctx); return err },
		"indexes":       func() error { _, err := db.IndexStates(ctx); return err },
		"columns":       func() error { _, err := db.ColumnStates(ctx); return err },
		"sessions":      func() error { _, err := db.SessionStates(ctx); return err },
		"statements":    func() error { _, _, err := db.SlowStatements(ctx, 10); return err },
		"sample":        func() error { _, err := db.Sample(ctx, nil); return err },
		"tip by prefix": func() error { _, err := db.FindRecords(ctx, "0123456789", nil, 10); return err },
		"tip by id": func() error {
			_, err := db.FindRecords(ctx, "LCD-1", []string{"LCD - 0000006", "LCD-1"}, 10)
			return err
		},
		"story":      func() error { _, _, err := db.RecordStory(ctx, tip(1)); return err },
		"its files":  func() error { _, err := db.AttachmentsOf(ctx, tip(1)); return err },
		"its errors": func() error { _, _, err := db.ErrorsOf(ctx, tip(1), 10); return err },
		"recent records": func() error {
			return db.EachInspection(ctx, InspectionFilter{Selector: Selector{From: weekAgo}}, func([][]byte) error { return nil })
		},
	}
}

func TestReportsWorkOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for name, report := range reports(t.Context(), db, scalarNow(t, db)) {
		if err := report(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoReportReadsAWholeTable(t *testing.T) {
	t.Parallel()
	db := filledDB(t, storagetest.FillOptions{Records: 20000, Attachments: 40000, Errors: 10000, Pending: 10})
	if scalar[int](t, db, `SELECT current_setting('server_version_num')::int`) < 150000 {
		t.Skip("older servers do not tell at once which tables were read")
	}
	db.pool.SetMaxOpenConns(1) // whose statistics are flushed below
	scans := func() int {
		scalar[string](t, db, `SELECT pg_stat_force_next_flush()::text`)
		return scalar[int](t, db, `SELECT sum(seq_scan)::int FROM pg_stat_user_tables
			WHERE schemaname = 'noggin_schema' AND relname IN ('noggin_data', 'attachments', 'processing_errors')`)
	}
	for name, report := range reports(t.Context(), db, scalarNow(t, db)) {
		before := scans()
		if err := report(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := scans(); after != before {
			t.Errorf("%s: reads a whole table", name)
		}
	}
}

func TestAQueueTooDeepToBeCountedSaysSo(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, next_retry_at)
		SELECT 'tip-' || n, 'LCD', 'api_failed', now() + interval '1 day' * CASE WHEN n <= 5001 THEN 1 ELSE -1 END FROM generate_series(1, 10003) AS n`)
	if q, err := db.QueueDepth(ctx); err != nil || !q.DueAtLeast || q.Due != 5000 || q.Due+q.Later != 10003 {
		t.Errorf("%+v, %v", q, err)
	}
	foreign(t, db, `DELETE FROM noggin_schema.noggin_data WHERE tip IN ('tip-1', 'tip-2')`)
	if q, err := db.QueueDepth(ctx); err != nil || q.DueAtLeast || q.Due != 5002 || q.Later != 4999 {
		t.Errorf("fewer than 5000 later: %+v, %v", q, err)
	}
}

func TestReportsTellTheTruth(t *testing.T) {
	t.Parallel()
	db := filledDB(t, storagetest.FillOptions{Records: 1000, Attachments: 2000, Errors: 100, Pending: 10, Days: 10})
	ctx, now := t.Context(), scalarNow(t, db)
	queue, err := db.QueueDepth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	due := scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE NOT permanently_failed
		AND (processing_status = 'pending' OR processing_status IN ('partial', 'api_failed') AND next_retry_at <= now())`)
	later := scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE NOT permanently_failed AND next_retry_at > now()`)
	if queue.Due != due || queue.Later != later || queue.Pending != 100 || queue.OldestAt == nil || queue.NextAt == nil || queue.NextAt.Before(now) {
		t.Errorf("queue %+v, want due %d and later %d", queue, due, later)
	}
	days, err := db.Days(ctx, now.AddDate(0, 0, -9).Format(time.DateOnly), now.Format(time.DateOnly))
	if err != nil || len(days) != 10 {
		t.Fatalf("%d days, %v", len(days), err)
	}
	slow := days[5]
	if want := scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE updated_at::date = $1::date AND processing_status = 'complete'`, slow.Date); slow.Complete != want || want == 0 {
		t.Errorf("%s: complete %d, want %d", slow.Date, slow.Complete, want)
	}
	if want := scalar[float64](t, db, `SELECT max(processing_seconds) FROM noggin_schema.noggin_data WHERE updated_at::date = $1::date AND processing_status = 'complete'`, slow.Date); *slow.LongestSeconds != want {
		t.Errorf("%s: the slowest took %v s, want %v", slow.Date, *slow.LongestSeconds, want)
	}
	if want := scalar[int64](t, db, `SELECT sum(file_size_bytes)::bigint FROM noggin_schema.attachments WHERE download_started_at::date = $1::date`, slow.Date); slow.Bytes != want {
		t.Errorf("%s: %d bytes, want %d", slow.Date, slow.Bytes, want)
	}
	claim(t, db, 77, 5)
	workers, err := db.Workers(ctx)
	if err != nil || len(workers) != 1 || workers[0].Records != 5 || workers[0].RunID != 77 || workers[0].Expired != 0 {
		t.Errorf("workers %+v, %v", workers, err)
	}
	foreign(t, db, `UPDATE noggin_schema.runs SET exit_code = CASE id WHEN 1 THEN NULL WHEN 2 THEN 130 WHEN 5 THEN 1 WHEN 6 THEN 3 ELSE 0 END WHERE command = 'process'`) // the ids of process rise into the past
	for state, want := range map[RunState]string{AnyRun: "<nil>", EndedRun: "130", JudgedRun: "1", DoneRun: "3", SucceededRun: "0"} {
		runs, err := db.LastRuns(ctx, state)
		if err != nil || len(runs) != 3 {
			t.Errorf("%s: %d commands, %v", state, len(runs), err)
		}
		for _, run := range runs {
			got := "<nil>"
			if run.ExitCode != nil {
				got = strconv.Itoa(*run.ExitCode)
			}
			if run.Command == "process" && got != want {
				t.Errorf("%s: process ended with %s, want %s", state, got, want)
			}
		}
	}
	some := scalar[string](t, db, `SELECT min(tip) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	for _, text := range []string{some, some[:10]} {
		if found, err := db.FindRecords(ctx, text, nil, 5); err != nil || len(found) != 1 || found[0] != some {
			t.Errorf("%s means %v, %v", text, found, err)
		}
	}
	for text, want := range map[string]string{some[:10] + "_": some, "zzzz": "", "": "", some[:3]: ""} {
		if near, err := db.NearRecords(ctx, text); err != nil || (want == "") != (len(near) == 0) || want != "" && !slices.Contains(near, want) {
			t.Errorf("near %q are %v, %v, want %q", text, near, err, want)
		}
	}
	if found, err := db.FindRecords(ctx, "zz", nil, 5); err != nil || len(found) != 0 {
		t.Errorf("zz means %v, %v", found, err)
	}
}

// Hosts with the same timer make no rhythm of their own, and a single run far away does
// not change it.
func TestTheRhythmOfACommandIsItsUsualInterval(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `INSERT INTO noggin_schema.runs (command, host, pid, version, started_at, seen_at, finished_at, exit_code)
		SELECT 'process', h, 1, 'x', t, t, t + interval '20 seconds', 0
		FROM generate_series('2025-10-22 07:00+00'::timestamptz, '2025-10-22 08:00+00', '5 minutes') t, unnest(ARRAY['a', 'b']) h
		UNION ALL SELECT 'process', 'a', 1, 'x', '2025-10-20 07:00+00', '2025-10-20 07:00+00', '2025-10-20 07:00+00', 0`)
	r, err := db.Rhythm(t.Context(), "process")
	if err != nil || r.Seconds != 300 || r.Runs != 13 || r.LastSign == nil || !r.LastSign.Equal(time.Date(2025, 10, 22, 8, 0, 20, 0, time.UTC)) {
		t.Errorf("rhythm %+v, %v", r, err)
	}
	if r, err := db.Rhythm(t.Context(), "never"); err != nil || r.Runs != 0 || r.LastSign != nil {
		t.Errorf("the rhythm of nothing is %+v, %v", r, err)
	}
}

// A day that the counts no longer tell apart gives the same figures from the
// records themselves.
func TestOldDaysHaveTheSameFigures(t *testing.T) {
	t.Parallel()
	db := filledDB(t, storagetest.FillOptions{Records: 500, Attachments: 1000, Errors: 10, Pending: 10, Days: 3})
	day := scalarNow(t, db).AddDate(0, 0, -1).Format(time.DateOnly)
	counted, err := db.Days(t.Context(), day, day)
	if err != nil {
		t.Fatal(err)
	}
	const move = `updated_at = updated_at - interval '150 days'`
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET `+move+`, created_at = created_at - interval '150 days'`)
	foreign(t, db, `UPDATE noggin_schema.attachments SET download_started_at = download_started_at - interval '150 days'`)
	old := scalar[string](t, db, `SELECT ($1::date - 150)::text`, day)
	read, err := db.Days(t.Context(), old, old)
	if err != nil || len(read) != 1 || len(counted) != 1 {
		t.Fatalf("%v, %v, %v", read, counted, err)
	}
	a, b := counted[0], read[0]
	if a.Processed == 0 || a.Processed != b.Processed || a.Complete != b.Complete || a.APIFailed != b.APIFailed || a.Bytes != b.Bytes || a.Files != b.Files ||
		*a.LongestSeconds != *b.LongestSeconds || int(*a.AverageSeconds*1e6) != int(*b.AverageSeconds*1e6) || int(*a.AverageWait) != int(*b.AverageWait) {
		t.Errorf("counted %+v\nread %+v", a, b)
	}
}
