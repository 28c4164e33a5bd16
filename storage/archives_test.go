package storage

import (
	"context"
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
			SELECT tip, 'a', 1, 'f', 'd/a.jpg', 'complete', 1, 'aa' FROM noggin_schema.noggin_data`,
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
		want    string // the archives of attachment, former file and report; whether the record is archived
	}{
		{"other content is marked", db.MarkArchived, 0, others, "- - - cc true"},
		{"all is marked", db.MarkArchived, 0, all, "a a a cc true"},
		{"all is marked in another archive", db.MarkArchived, 1, all, "a a a cc true"},
		{"another report is added", func(ctx context.Context, run, archive int64, claims []Claim, files []File) ([]string, error) {
			return nil, db.AddArchivedFiles(ctx, run, archive, claims, files)
		}, 1, otherReport, "a a a cc true"},
		{"all is restored from another archive", db.MarkRestored, 1, all, "a a a cc true"},
		{"all but the former file is restored", db.MarkRestored, 0, []File{attachment, report}, "- a - cc true"},
		{"the former file is restored", db.MarkRestored, 0, []File{former}, "- - - cc false"},
	} {
		if _, err := step.do(t.Context(), run, archives[step.archive], claims, step.files); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if got := scalar[string](t, db, `
			SELECT concat_ws(' ', coalesce((SELECT name FROM noggin_schema.archives WHERE id = a.archive_id), '-'), coalesce((SELECT name FROM noggin_schema.archives WHERE id = o.archive_id), '-'),
				coalesce((SELECT name FROM noggin_schema.archives WHERE id = d.report_archive_id), '-'), d.report_hash_sha256, d.archived::text)
			FROM noggin_schema.noggin_data d JOIN noggin_schema.attachments a ON a.record_tip = d.tip JOIN noggin_schema.former_files o ON o.record_tip = d.tip`); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
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
