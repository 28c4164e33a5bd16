package storage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestARecordStaysInItsArchiveWithAnyOfItsFiles(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"an attachment": `INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, filename, archive_id) VALUES ($1, 'a', 1, 'f', 'a.jpg', $2)`,
		"the report":    `UPDATE noggin_schema.noggin_data SET report_archive_id = $2 WHERE tip = $1`,
		"a former file": `INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, size_bytes, hash_sha256, first_version, last_version, archive_id)
			VALUES ('2024/01/a/a.jpg', $1, 'attachment', 'a', 1, repeat('0', 64), 1, 1, $2)`,
		"no file": `SELECT $1::text, $2::bigint`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testDB(t)
			insertPending(t, db, 1)
			archive, _, err := db.BeginArchive(t.Context(), Archive{Name: "a", Month: "2024-01"})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.AddArchiveRecords(t.Context(), archive, []string{tip(0)}); err != nil {
				t.Fatal(err)
			}
			foreign(t, db, file, tip(0), archive)
			if err := db.DropArchiveRecords(t.Context(), archive, []string{tip(0)}); err != nil {
				t.Fatal(err)
			}
			want := 1
			if name == "no file" {
				want = 0
			}
			if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.archive_records`); n != want {
				t.Errorf("it holds %d records, want %d", n, want)
			}
			if held, err := db.ForgetArchive(t.Context(), archive); err != nil || held != want {
				t.Errorf("it holds %d files, want %d, %v", held, want, err)
			}
			if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.archives`); n != want {
				t.Errorf("there are %d archives, want %d", n, want)
			}
		})
	}
}

func TestAnArchiveHoldsOnlyWhatIsLikeItsFiles(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	run, err := db.StartRun(t.Context(), "archive create", "")
	if err != nil {
		t.Fatal(err)
	}
	var archives [2]int64
	for i, name := range []string{"a", "b"} {
		if archives[i], _, err = db.BeginArchive(t.Context(), Archive{Name: name, Month: "2024-01"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{
		`INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, file_path, attachment_status, file_size_bytes, file_hash_sha256)
			SELECT tip, 'a', 1, 'f', 'd/a.jpg', 'pending', 1, 'aa' FROM noggin_schema.noggin_data`,
		`INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, size_bytes, hash_sha256, first_version, last_version)
			SELECT 'd/old.jpg', tip, 'attachment', 'a', 1, 'bb', 1, 1 FROM noggin_schema.noggin_data`,
		`UPDATE noggin_schema.noggin_data SET report_path = 'd/r.txt', report_size_bytes = 1, report_hash_sha256 = 'cc'`,
	} {
		foreign(t, db, statement)
	}
	claims, err := db.ClaimTips(t.Context(), run, []string{tip(0)}, "", time.Hour)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	attachment := File{RecordTip: tip(0), AttachmentTip: "a", Path: "d/a.jpg", SHA256: "aa", Size: 1}
	former := File{RecordTip: tip(0), AttachmentTip: "a", Path: "d/old.jpg", SHA256: "bb", Size: 1, Former: "attachment", FirstVersion: 1, LastVersion: 1}
	report := File{RecordTip: tip(0), Path: "d/r.txt", SHA256: "cc", Size: 1}
	all := []File{attachment, former, report}
	others := slices.Clone(all)
	for i := range others {
		others[i].SHA256 = "dd"
	}
	otherReport := []File{{RecordTip: tip(0), Path: "d/other.txt", SHA256: "dd", Size: 2}}
	for _, step := range []struct {
		what    string
		do      func(context.Context, int64, int64, []Claim, []File) ([]string, error)
		archive int
		files   []File
		want    string // the archives of attachment, former file and report; whether the record is archived; the attachment's status
	}{
		{"other content is marked", db.MarkArchived, 0, others, "- - - cc true pending"},
		{"all is marked", db.MarkArchived, 0, all, "a a a cc true complete"},
		{"all is marked in another archive", db.MarkArchived, 1, all, "a a a cc true complete"},
		{"another report is added", func(ctx context.Context, run, archive int64, claims []Claim, files []File) ([]string, error) {
			return nil, db.AddArchivedFiles(ctx, run, archive, claims, files)
		}, 1, otherReport, "a a a cc true complete"},
		{"all is restored from another archive", db.MarkRestored, 1, all, "a a a cc true complete"},
		{"all but the former file is restored", db.MarkRestored, 0, []File{attachment, report}, "- a - cc true complete"},
		{"the former file is restored", db.MarkRestored, 0, []File{former}, "- - - cc false complete"},
	} {
		if _, err := step.do(t.Context(), run, archives[step.archive], claims, step.files); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if got := scalar[string](t, db, `
			SELECT concat_ws(' ', coalesce((SELECT name FROM noggin_schema.archives WHERE id = a.archive_id), '-'), coalesce((SELECT name FROM noggin_schema.archives WHERE id = o.archive_id), '-'),
				coalesce((SELECT name FROM noggin_schema.archives WHERE id = d.report_archive_id), '-'), d.report_hash_sha256, d.archived::text, a.attachment_status)
			FROM noggin_schema.noggin_data d JOIN noggin_schema.attachments a ON a.record_tip = d.tip JOIN noggin_schema.former_files o ON o.record_tip = d.tip`); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
	// What an archive brings of former versions has to be sealed.
	brought := File{RecordTip: tip(0), AttachmentTip: "b", Path: "d/older.jpg", SHA256: "ee", Size: 1, Former: "attachment", FirstVersion: 1, LastVersion: 1}
	if err := db.AddArchivedFiles(t.Context(), run, archives[0], claims, []File{brought}); err != nil {
		t.Fatal(err)
	}
	if got := scalar[string](t, db, `SELECT count(s.record_tip) || ' ' || count(o.archive_id) FROM noggin_schema.former_files o LEFT JOIN noggin_schema.seal_due s USING (record_tip)
		WHERE o.path = 'd/older.jpg'`); got != "1 1" {
		t.Errorf("marks and archives of the file that was brought: %s", got)
	}
}

func TestAnArchiveFromWhichFilesWereRemovedIsNotDropped(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for state, kept := range map[string]bool{ArchiveWriting: false, ArchiveVerified: false, ArchiveKept: false, ArchiveRemoving: true, ArchiveDone: true} {
		id, _, err := db.BeginArchive(t.Context(), Archive{Name: state, Month: "2024-01"})
		if err := errors.Join(err, db.SetArchiveState(t.Context(), id, state), db.DropArchive(t.Context(), id)); err != nil {
			t.Fatal(err)
		}
		left, err := db.ArchiveByName(t.Context(), state)
		if (err == nil) != kept || (left.RemovedAt != nil) != (state == ArchiveDone) {
			t.Errorf("in state %s there is %+v, %v", state, left, err)
		}
	}
}

func TestANameStandsForOneArchive(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	one := Archive{Name: "noggin-2024-01.tar.zst", Path: "/a/noggin-2024-01.tar.zst", Month: "2024-01", SHA256: sum(1)}
	id, err := db.RegisterArchive(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	other := one
	other.Path, other.SHA256 = "/b/noggin-2024-01.tar.zst", sum(2)
	if _, err := db.RegisterArchive(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another archive") {
		t.Errorf("another one: %v", err)
	}
	other.SHA256 = sum(1)
	if moved, err := db.RegisterArchive(t.Context(), other); err != nil || moved != id {
		t.Errorf("the same one in another place: %d, want %d, %v", moved, id, err)
	}
	if _, ok, err := db.BeginArchive(t.Context(), one); err != nil || ok {
		t.Errorf("a new one: %v, %v", ok, err)
	}
	if held, err := db.ForgetArchive(t.Context(), id); err != nil || held != 0 {
		t.Fatal(held, err)
	}
	if _, ok, err := db.BeginArchive(t.Context(), one); err != nil || ok {
		t.Errorf("a new one under the name of a forgotten one: %v, %v", ok, err)
	}
}

func TestWhatIsArchivedIsOldCompleteAndOnDisk(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	foreign(t, db, `
		UPDATE noggin_schema.noggin_data SET processing_status = 'complete', inspection_date = '2024-11-23', report_path = 'd/r.txt', report_size_bytes = 10;
		INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, attachment_status, file_size_bytes, archive_id)
			SELECT d.tip, v.* FROM noggin_schema.noggin_data d, (VALUES ('a', 1, 'f', 'complete', 100, NULL), ('b', 2, 'f', 'complete', 1000, 7), ('c', 3, 'f', 'failed', 1000, NULL)) AS v;
		INSERT INTO noggin_schema.former_files (path, record_tip, kind, size_bytes, hash_sha256, first_version, last_version, archive_id)
			SELECT v.path, d.tip, 'attachment', v.size, '', 1, 1, v.archive FROM noggin_schema.noggin_data d, (VALUES ('o', 7, NULL), ('p', 1000, 7)) AS v (path, size, archive);
		INSERT INTO noggin_schema.archives (id, name, path, month, state) OVERRIDING SYSTEM VALUE VALUES (7, 'a', '/a', '2024-11', 'done')`)
	whole := ArchiveMonth{Month: "2024-11", Oldest: "2024-11-23", Records: 1, Files: 3, Bytes: 117, PhotoBytes: 107}
	without := whole
	without.Files, without.Bytes = 2, 107
	for _, step := range []struct {
		statement string
		want      []ArchiveMonth
	}{
		{`UPDATE noggin_schema.archives SET name = 'b'`, []ArchiveMonth{whole}},
		{`UPDATE noggin_schema.noggin_data SET processing_status = 'partial'`, nil},
		{`UPDATE noggin_schema.noggin_data SET processing_status = 'complete', inspection_date = '2024-11-24'`, nil},
		{`UPDATE noggin_schema.noggin_data SET inspection_date = '2024-11-23', archived = true`, []ArchiveMonth{whole}}, // fetched again since
		{`UPDATE noggin_schema.noggin_data SET report_archive_id = 7`, nil},
		{`UPDATE noggin_schema.noggin_data SET archived = false`, []ArchiveMonth{without}},
		{`INSERT INTO noggin_schema.archive_records (record_tip, archive_id) SELECT tip, 7 FROM noggin_schema.noggin_data`, []ArchiveMonth{without}},
		{`UPDATE noggin_schema.archives SET state = 'kept'`, nil},
	} {
		foreign(t, db, step.statement)
		filter := ArchiveFilter{Before: "2024-11-24"}
		months, err := db.ArchiveMonths(t.Context(), filter)
		if err != nil || !slices.Equal(months, step.want) {
			t.Errorf("after %s: %+v, %v", step.statement, months, err)
		}
		found, err := db.ArchiveCandidates(t.Context(), filter, "2024-11", ArchivePlace{}, 9)
		if err != nil || len(found) != len(step.want) {
			t.Errorf("after %s: %+v, %v", step.statement, found, err)
		}
		for _, place := range found {
			if more, err := db.ArchiveCandidates(t.Context(), filter, "2024-11", place, 9); err != nil || len(more) > 0 {
				t.Errorf("after %+v come %+v, %v", place, more, err)
			}
		}
	}
}
