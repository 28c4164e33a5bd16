package storage

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// sum is a SHA-256 in hex.
func sum(n int) string { return fmt.Sprintf("%064x", 0xabc000+n) }

// filed makes n complete records with an attachment and a report each, as a client that
// is not noggin.
func filed(t testing.TB, db *DB, from, n int) {
	t.Helper()
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, folder)
		SELECT lpad(to_hex(i), 64, '0'), 'LCD', 'complete', '2025/09/' || i FROM generate_series($1::int, $2::int) AS i`, from, from+n-1)
	foreign(t, db, `INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, file_path, attachment_status, file_size_bytes, file_hash_sha256)
		SELECT lpad(to_hex(i), 64, '0'), 'p', 1, 'photos', '2025/09/' || i || '/1.jpg', 'complete', 100, upper(lpad(to_hex(i + x'abc000'::int), 64, '0')) FROM generate_series($1::int, $2::int) AS i`, from, from+n-1)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET report_path = folder || '/report.txt', report_size_bytes = 10, report_hash_sha256 = lpad(to_hex(x'def000'::int), 64, '0')
		WHERE tip >= lpad(to_hex($1::int), 64, '0')`, from)
}

func register(t testing.TB, db *DB, url string) int64 {
	t.Helper()
	id, err := db.RegisterCopyTarget(t.Context(), url, "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// dueText lists what is due for the target.
func dueText(t testing.TB, db *DB, target int64) string {
	t.Helper()
	return scalar[string](t, db, `SELECT coalesce(string_agg(kind || ' ' || path || ' ' || size_bytes, ', ' ORDER BY path COLLATE "C", hash_sha256), '') FROM noggin_schema.copies_due WHERE target_id = $1`, target)
}

func claimCopies(t testing.TB, db *DB, target int64, limit int) []DueCopy {
	t.Helper()
	due, err := db.ClaimCopies(t.Context(), target, limit, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return due
}

// copyAll records everything that is due as copied.
func copyAll(t testing.TB, db *DB, target int64) {
	t.Helper()
	var r CopyResults
	for _, d := range claimCopies(t, db, target, 1000) {
		r.Copied = append(r.Copied, Copied{CopyKey: d.CopyKey, Size: d.Size, Kind: d.Kind, RecordTip: d.RecordTip, VersionID: "v"})
	}
	if err := db.FinishCopies(t.Context(), target, r); err != nil {
		t.Fatal(err)
	}
}

func theTarget(t testing.TB, db *DB) CopyTarget {
	t.Helper()
	targets, err := db.CopyTargets(t.Context())
	if err != nil || len(targets) != 1 {
		t.Fatal(targets, err)
	}
	return targets[0]
}

func TestFilesBecomeDueOnceATargetIsRegistered(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	filed(t, db, 1, 2)
	backup := func(n int) {
		if err := db.RecordBackup(t.Context(), sum(n), fmt.Sprintf("/backups/noggin_%d.dump", n), 5, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	backup(1)
	backup(5)
	if err := db.NoteBackupsRemoved(t.Context(), []string{sum(5)}); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.copies_due`); n != 0 {
		t.Errorf("%d files are due without a target", n)
	}
	target := register(t, db, "/mnt/b")
	if again := register(t, db, "/mnt/b"); again != target {
		t.Errorf("the target is registered as %d and %d", target, again)
	}
	if got := dueText(t, db, target); got != "backup /backups/noggin_1.dump 5" {
		t.Errorf("after the registration are due: %s", got)
	}
	filed(t, db, 3, 1)
	backup(2)
	foreign(t, db, `INSERT INTO noggin_schema.former_files (path, record_tip, kind, first_version, last_version, size_bytes, hash_sha256)
		VALUES ('2025/09/3/old.jpg', $1, 'attachment', 1, 1, 7, $2)`, tip(3), sum(77))
	foreign(t, db, `INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, attachment_status) VALUES ($1, 'q', 2, 'photos', 'pending')`, tip(3))
	if got := dueText(t, db, target); got != "backup /backups/noggin_1.dump 5, backup /backups/noggin_2.dump 5, "+
		"attachment 2025/09/3/1.jpg 100, former 2025/09/3/old.jpg 7, report 2025/09/3/report.txt 10" {
		t.Errorf("the triggers made due: %s", got)
	}
	foreign(t, db, `UPDATE noggin_schema.attachments SET attachment_status = 'complete', file_path = '2025/09/3/2.jpg', file_size_bytes = 8, file_hash_sha256 = $1 WHERE attachment_tip = 'q'`, sum(4))
	if got := dueText(t, db, target); !strings.Contains(got, "attachment 2025/09/3/2.jpg 8") {
		t.Errorf("a download made due: %s", got)
	}
	// What is copied does not become due again.
	copyAll(t, db, target)
	foreign(t, db, `UPDATE noggin_schema.attachments SET retry_count = 1`)
	if got := dueText(t, db, target); got != "attachment 2025/09/1/1.jpg 100, attachment 2025/09/2/1.jpg 100" {
		t.Errorf("due after an update of all attachments: %s", got)
	}
	second := register(t, db, "s3://b/p")
	filed(t, db, 9, 1)
	if got := dueText(t, db, second); got != "backup /backups/noggin_1.dump 5, backup /backups/noggin_2.dump 5, attachment 2025/09/9/1.jpg 100, report 2025/09/9/report.txt 10" {
		t.Errorf("due for a second target: %s", got)
	}
	if _, _, err := db.WalkForCopies(t.Context(), second, 10); err != nil || !strings.Contains(dueText(t, db, second), "former 2025/09/3/old.jpg 7") {
		t.Errorf("after the walk are due: %s, %v", dueText(t, db, second), err)
	}
	if files, err := db.FilesToHave(t.Context()); err != nil || files != 10 {
		t.Errorf("%d files are to be copied, %v", files, err)
	}
	if err := db.ForgetCopyTarget(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if got := dueText(t, db, second); got != "" {
		t.Errorf("due for a forgotten target: %s", got)
	}
}

// A transaction whose trigger saw no target may end after the walk passed its record.
func TestARegistrationWaitsForTransactionsThatDoNotSeeIt(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	filed(t, db, 1, 1)
	tx, err := db.pool.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), `UPDATE noggin_schema.attachments SET file_path = '2025/09/1/new.jpg'`); err != nil {
		t.Fatal(err)
	}
	registered := make(chan int64)
	go func() { registered <- register(t, db, "/mnt/b") }()
	for waits := false; !waits; {
		select {
		case <-registered:
			t.Fatal("the registration did not wait")
		default:
		}
		waits = scalar[bool](t, db, `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE d.datname = current_database() AND NOT l.granted AND l.mode = 'AccessExclusiveLock')`)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	target := <-registered
	if _, done, err := db.WalkForCopies(t.Context(), target, 10); err != nil || !done {
		t.Fatal(done, err)
	}
	if got := dueText(t, db, target); !strings.Contains(got, "2025/09/1/new.jpg") {
		t.Errorf("due is %s", got)
	}
}

func TestTheWalkMakesOldFilesDueInSteps(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	filed(t, db, 1, 5)
	target := register(t, db, "/mnt/b")
	if !theTarget(t, db).Walking {
		t.Error("a new target is not walked")
	}
	var steps []int64
	for done := false; !done; {
		n, ended, err := db.WalkForCopies(t.Context(), target, 2)
		if err != nil {
			t.Fatal(err)
		}
		steps, done = append(steps, n), ended
	}
	if !reflect.DeepEqual(steps, []int64{4, 4, 2}) {
		t.Errorf("the walk made due %v", steps)
	}
	if status := theTarget(t, db); status.Walking || status.WalkedAt == nil || status.Due != 10 || status.DueSince == nil {
		t.Errorf("after the walk: %+v", status)
	}
	copyAll(t, db, target)
	if _, done, err := db.WalkForCopies(t.Context(), target, 2); !done || err != nil {
		t.Errorf("a walk that ended goes on: %v", err)
	}
	if err := db.WalkAgain(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if n, _, err := db.WalkForCopies(t.Context(), target, 100); n != 0 || err != nil {
		t.Errorf("the second walk made %d copied files due, %v", n, err)
	}
	if status := theTarget(t, db); status.Files != 10 || status.Bytes != 550 || status.Due != 0 || status.DueSince != nil || status.VerifiedSince == nil {
		t.Errorf("after copying all: %+v", status)
	}
	if files, err := db.FilesToHave(t.Context()); err != nil || files != 10 {
		t.Errorf("%d files are to be copied, %v", files, err)
	}
	foreign(t, db, `UPDATE noggin_schema.copies SET obsolete_at = now() WHERE path = '2025/09/1/1.jpg'`)
	if err := db.WalkAgain(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if n, _, err := db.WalkForCopies(t.Context(), target, 100); n != 1 || err != nil {
		t.Errorf("the walk made %d files due of which one has only an obsolete copy, %v", n, err)
	}
}

func TestAFileIsCopiedByOneRunUntilItsLeaseEnds(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	target := register(t, db, "/mnt/b")
	filed(t, db, 1, 2)
	foreign(t, db, `INSERT INTO noggin_schema.backups (hash_sha256, path, size_bytes, host) VALUES ($1, '/b/noggin_1.dump', 5, 'elsewhere')`, sum(9))
	first := claimCopies(t, db, target, 3)
	second := claimCopies(t, db, target, 3)
	if len(first) != 3 || len(second) != 1 {
		t.Fatalf("two runs took %d and %d files of four, and a backup that another host has", len(first), len(second))
	}
	keys := []CopyKey{first[0].CopyKey, first[1].CopyKey}
	if err := db.PostponeCopies(t.Context(), target, keys, 0); err != nil {
		t.Fatal(err)
	}
	if again := claimCopies(t, db, target, 3); len(again) != 2 {
		t.Errorf("%d files were taken that were given back", len(again))
	}
	if err := db.FinishCopies(t.Context(), target, CopyResults{Failed: []CopyFailure{{keys[0], "it is\x00 damaged"}}, Gone: keys[1:]}); err != nil {
		t.Fatal(err)
	}
	if got := scalar[string](t, db, `SELECT problem || ' ' || failures || ' ' || (due_at > now() + interval '4 minutes') FROM noggin_schema.copies_due WHERE problem IS NOT NULL`); got != "it is\uFFFD damaged 1 true" {
		t.Errorf("the failure is recorded as %q", got)
	}
	for failures, minutes := range map[int]int{1: 10, 2: 20, 8: 1280, 9: 1440, 40: 1440} { // up to a day
		foreign(t, db, `UPDATE noggin_schema.copies_due SET failures = $1 WHERE problem IS NOT NULL`, failures)
		if err := db.FinishCopies(t.Context(), target, CopyResults{Failed: []CopyFailure{{keys[0], "it is damaged"}}}); err != nil {
			t.Fatal(err)
		}
		if wait := scalar[int](t, db, `SELECT ceil(extract(epoch FROM due_at - now()) / 60)::int FROM noggin_schema.copies_due WHERE problem IS NOT NULL`); wait != minutes {
			t.Errorf("after %d failures it waits %d minutes more, want %d", failures+1, wait, minutes)
		}
	}
	if status := theTarget(t, db); status.Failing != 1 || status.Due != 4 {
		t.Errorf("after a failure and a file that is gone: %+v", status)
	}
}

func TestANewReportMakesTheCopyOfTheOldOneObsolete(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	target, other := register(t, db, "/mnt/b"), register(t, db, "/mnt/c")
	filed(t, db, 1, 1)
	copyAll(t, db, target)
	copyAll(t, db, other)
	rewrite := func(hash string) {
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET report_hash_sha256 = $1, report_size_bytes = 12`, hash)
		copyAll(t, db, target)
	}
	obsolete := func() (hashes []string) {
		copies, err := db.ObsoleteCopies(t.Context(), target, CopyKey{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range copies {
			hashes = append(hashes, c.SHA256)
		}
		return hashes
	}
	old := scalar[string](t, db, `SELECT report_hash_sha256 FROM noggin_schema.noggin_data`)
	rewrite(sum(1))
	if got := obsolete(); !reflect.DeepEqual(got, []string{old}) {
		t.Errorf("obsolete is %v", got)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.copies WHERE target_id = $1 AND obsolete_at IS NULL`, other); n != 2 {
		t.Errorf("another target, which lacks the new one, has %d copies that count", n)
	}
	if err := db.ForgetCopyTarget(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.copies WHERE target_id = $1`, other); n != 0 {
		t.Errorf("a forgotten target has %d copies", n)
	}
	// What is obsolete is neither verified nor made again.
	if page, err := db.CopiesAfter(t.Context(), target, CopyKey{}, 0, 0, 10); err != nil || len(page) != 2 {
		t.Errorf("to be verified are %+v, %v", page, err)
	}
	if err := db.SaveChecked(t.Context(), target, []CheckedCopy{{CopyKey: CopyKey{"2025/09/1/report.txt", old}, Problem: "it is missing"}}); err != nil || dueText(t, db, target) != "" {
		t.Errorf("due is %s, %v", dueText(t, db, target), err)
	}
	foreign(t, db, `UPDATE noggin_schema.copies SET copied_at = now() - interval '1 year' WHERE obsolete_at IS NOT NULL`)
	if status := theTarget(t, db); status.Files != 2 || status.Bytes != 112 || time.Since(*status.VerifiedSince) > 24*time.Hour {
		t.Errorf("copies count as %+v", status)
	}
	rewrite(old) // the text is again as it was
	if got := obsolete(); !reflect.DeepEqual(got, []string{sum(1)}) {
		t.Errorf("after the old text came back, obsolete is %v", got)
	}
	// A host that took the report before it changed ends its copy last.
	late := Copied{CopyKey: CopyKey{"2025/09/1/report.txt", sum(1)}, Size: 12, Kind: CopyReport, RecordTip: tip(1)}
	if err := db.FinishCopies(t.Context(), target, CopyResults{Copied: []Copied{late}}); err != nil {
		t.Fatal(err)
	}
	if got := obsolete(); !reflect.DeepEqual(got, []string{sum(1)}) {
		t.Errorf("after a late copy of a former text, obsolete is %v", got)
	}
	// A host takes the former text again, as a check found its copy damaged.
	foreign(t, db, `INSERT INTO noggin_schema.copies_due (target_id, path, hash_sha256, size_bytes, kind, record_tip)
		VALUES ($1, '2025/09/1/report.txt', $2, 12, 'report', $3)`, target, sum(1), tip(1))
	if got := obsolete(); len(got) > 0 {
		t.Errorf("while a copy is made again, obsolete is %v", got)
	}
	foreign(t, db, `DELETE FROM noggin_schema.copies_due`)
	keys := []CopyKey{{"2025/09/1/report.txt", sum(1)}, {"2025/09/1/report.txt", old}}
	if err := db.DropObsolete(t.Context(), target, keys); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.copies WHERE kind = 'report' AND obsolete_at IS NULL`); n != 1 || len(obsolete()) != 0 {
		t.Errorf("%d copies of the report are left", n)
	}
}

func TestCopiesOfBackupsGoWithTheirOriginalsExceptTheNewest(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	target := register(t, db, "/mnt/b")
	sums := []string{sum(1), sum(2), sum(3)}
	for i, s := range sums {
		path := fmt.Sprintf("/b/noggin_%d.dump", i)
		if err := db.RecordBackup(t.Context(), s, path, 5, time.Now().Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		manifest := Copied{CopyKey: CopyKey{path + ".json", sum(10 + i)}, Size: 3, Kind: CopyManifest}
		if err := db.FinishCopies(t.Context(), target, CopyResults{Copied: []Copied{manifest}}); err != nil {
			t.Fatal(err)
		}
	}
	copyAll(t, db, target)
	damaged := []CheckedCopy{{CopyKey: CopyKey{"/b/noggin_1.dump.json", sum(11)}, Problem: "it differs", Deep: true}}
	if err := db.SaveChecked(t.Context(), target, damaged); err != nil {
		t.Fatal(err)
	}
	if got := dueText(t, db, target); got != "backup /b/noggin_1.dump 5" {
		t.Errorf("with a damaged manifest, due is %s", got)
	}
	foreign(t, db, `DELETE FROM noggin_schema.copies_due; UPDATE noggin_schema.copies SET problem = NULL`)
	if err := db.NoteBackupsRemoved(t.Context(), []string{sums[0], sums[2]}); err != nil {
		t.Fatal(err)
	}
	move := func(by string) {
		foreign(t, db, `UPDATE noggin_schema.backups SET taken_at = taken_at + $1::interval WHERE path <> '/b/noggin_0.dump'`, by)
	}
	move("3 days")
	if copies, err := db.ObsoleteCopies(t.Context(), target, CopyKey{}, 10); err != nil || len(copies) > 0 {
		t.Errorf("while the others are of a clock that was ahead: obsolete are %+v, %v", copies, err)
	}
	move("-3 days")
	// The only copy of another target stays.
	other := register(t, db, "/mnt/c")
	foreign(t, db, `DELETE FROM noggin_schema.copies_due`)
	only := Copied{CopyKey: CopyKey{"/b/noggin_0.dump", sums[0]}, Size: 5, Kind: CopyBackup}
	if err := db.FinishCopies(t.Context(), other, CopyResults{Copied: []Copied{only}}); err != nil {
		t.Fatal(err)
	}
	if copies, err := db.ObsoleteCopies(t.Context(), other, CopyKey{}, 10); err != nil || len(copies) > 0 {
		t.Errorf("of a target with one copy, obsolete are %+v, %v", copies, err)
	}
	if err := db.ForgetCopyTarget(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		when, copies string
		want         []string
	}{
		{"no newer copy is whole", `problem = 'it differs' WHERE path <> '/b/noggin_0.dump'`, nil},
		{"the target keeps it", `problem = NULL, retain_until = CASE path WHEN '/b/noggin_0.dump' THEN now() + interval '1 day' END`, []string{"/b/noggin_0.dump.json"}},
		{"nothing is in the way", `retain_until = NULL`, []string{"/b/noggin_0.dump", "/b/noggin_0.dump.json"}},
	} {
		foreign(t, db, `UPDATE noggin_schema.copies SET `+test.copies)
		copies, err := db.ObsoleteCopies(t.Context(), target, CopyKey{}, 10)
		var got []string
		for _, c := range copies {
			got = append(got, c.Path)
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: obsolete are %q, %v", test.when, got, err)
		}
	}
	if status := theTarget(t, db); status.Backups != 2 || status.Files != 0 {
		t.Errorf("the target has %+v", status)
	}
}

func TestACopyWithAProblemIsDueAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	target := register(t, db, "/mnt/b")
	filed(t, db, 1, 3)
	copyAll(t, db, target)
	var all []Copy
	for part := 1; part <= 2; part++ {
		for after := (CopyKey{}); ; {
			page, err := db.CopiesAfter(t.Context(), target, after, part, 2, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			all, after = append(all, page...), page[0].CopyKey
		}
	}
	if len(all) != 6 || all[0].VersionID != "v" || all[0].Size == 0 {
		t.Fatalf("the parts hold %+v", all)
	}
	lost, rotten := CopyKey{"2025/09/1/1.jpg", sum(1)}, CopyKey{"2025/09/2/1.jpg", sum(2)}
	checked := []CheckedCopy{
		{CopyKey: lost, Problem: "it is missing"}, {CopyKey: rotten, Problem: "it differs", Deep: true}, {CopyKey: CopyKey{"2025/09/3/1.jpg", sum(3)}},
	}
	if err := db.SaveChecked(t.Context(), target, checked); err != nil {
		t.Fatal(err)
	}
	if got := dueText(t, db, target); got != "attachment 2025/09/1/1.jpg 100, attachment 2025/09/2/1.jpg 100" {
		t.Errorf("due is %s", got)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.copies WHERE verified_at IS NOT NULL AND problem IS NULL`); n != 1 {
		t.Errorf("%d copies are verified", n)
	}
	if status := theTarget(t, db); status.Damaged != 2 {
		t.Errorf("the status is %+v", status)
	}
	// A copy that is made anew was not verified.
	again := Copied{CopyKey: CopyKey{"2025/09/3/1.jpg", sum(3)}, Size: 100, Kind: CopyAttachment, RecordTip: tip(3), VersionID: "w"}
	if err := db.FinishCopies(t.Context(), target, CopyResults{Copied: []Copied{again}}); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.copies WHERE verified_at IS NOT NULL`); n != 0 {
		t.Errorf("%d copies are verified", n)
	}
	// A look at presence and size does not make rotten content right, and reading it does.
	for deep, damaged := range map[bool]int64{false: 1, true: 0} {
		if err := db.SaveChecked(t.Context(), target, []CheckedCopy{{CopyKey: rotten, Problem: "it differs", Deep: true}}); err != nil {
			t.Fatal(err)
		}
		if err := db.SaveChecked(t.Context(), target, []CheckedCopy{{CopyKey: rotten, Deep: deep}}); err != nil {
			t.Fatal(err)
		}
		if n := scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.copies WHERE path = $1 AND problem IS NOT NULL AND verified_at IS NULL`, rotten.Path); n != damaged {
			t.Errorf("after a look that read the content (%v), %d copies are damaged", deep, n)
		}
	}
	copyAll(t, db, target)
	if status := theTarget(t, db); status.Damaged != 0 || status.Files != 6 || status.Due != 0 {
		t.Errorf("the status after copying again is %+v", status)
	}
	// The original may be gone from the database by then.
	if err := db.SaveChecked(t.Context(), target, checked[:1]); err != nil {
		t.Fatal(err)
	}
	// A copy that is right stays.
	if err := db.FinishCopies(t.Context(), target, CopyResults{Gone: []CopyKey{lost, again.CopyKey}}); err != nil {
		t.Fatal(err)
	}
	if status := theTarget(t, db); status.Damaged != 0 || status.Files != 5 {
		t.Errorf("the status without the lost file is %+v", status)
	}
}

// A backup of another host that cannot be copied is given up once this target has a newer one.
func TestABackupOfAnotherHostIsOutdatedByANewerCopyThatIsWhole(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `INSERT INTO noggin_schema.backups (hash_sha256, path, size_bytes, host, taken_at) VALUES
		($1, '/b/old.dump', 5, 'elsewhere', now() - interval '2 days'), ($2, '/b/new.dump', 5, 'elsewhere', now() - interval '1 day')`, sum(1), sum(2))
	target, other := register(t, db, "/mnt/b"), register(t, db, "/mnt/c")
	foreign(t, db, `DELETE FROM noggin_schema.copies_due WHERE path = '/b/new.dump'; UPDATE noggin_schema.copies_due SET due_since = now() - interval '26 hours'`)
	for _, of := range []int64{other, target} {
		newer := Copied{CopyKey: CopyKey{"/b/new.dump", sum(2)}, Size: 5, Kind: CopyBackup}
		if err := db.FinishCopies(t.Context(), of, CopyResults{Copied: []Copied{newer}}); err != nil {
			t.Fatal(err)
		}
		for state, outdated := range map[string]bool{`problem = 'it differs'`: false, `problem = NULL, obsolete_at = now()`: false, `problem = NULL, obsolete_at = NULL`: of == target} {
			foreign(t, db, `UPDATE noggin_schema.copies SET `+state+` WHERE target_id = $1`, of)
			foreign(t, db, `UPDATE noggin_schema.copies_due SET due_at = now()`)
			if due := claimCopies(t, db, target, 9); len(due) != 1 || due[0].Host != "elsewhere" || due[0].Outdated != outdated {
				t.Errorf("the newer copy, in target %d of %d, with %s: %+v", of, target, state, due)
			}
			foreign(t, db, `UPDATE noggin_schema.copies SET problem = NULL, obsolete_at = NULL`)
		}
	}
}

// What copying does for each batch finds its rows by an index, however many copies
// there are.
func TestCopyingReadsNoWholeTable(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	const files = 3000
	target := register(t, db, "/mnt/b")
	foreign(t, db, `INSERT INTO noggin_schema.copies (target_id, path, hash_sha256, size_bytes, kind, record_tip)
		SELECT $1::bigint, 'p/' || i, md5(i::text) || md5(i::text), 1, CASE WHEN i % 10 = 0 THEN 'report' ELSE 'attachment' END, md5(i::text) FROM generate_series(1, $2::int) AS i`, target, files)
	filed(t, db, 1, files/10)
	foreign(t, db, `ANALYZE`)
	tables := []string{"copies", "copies_due", "noggin_data", "attachments", "former_files"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	var claimed []DueCopy
	for _, step := range []struct {
		name string
		do   func(db *DB) error
	}{
		{"a claim", func(db *DB) (err error) { claimed, err = db.ClaimCopies(ctx, target, 50, time.Minute); return err }},
		{"a renewal", func(db *DB) error { return db.PostponeCopies(ctx, target, []CopyKey{claimed[0].CopyKey}, time.Minute) }},
		{"the record of copies", func(db *DB) error {
			r := CopyResults{Gone: []CopyKey{claimed[0].CopyKey}, Failed: []CopyFailure{{claimed[1].CopyKey, "x"}}}
			for _, d := range claimed[2:] {
				r.Copied = append(r.Copied, Copied{CopyKey: d.CopyKey, Size: d.Size, Kind: d.Kind, RecordTip: d.RecordTip})
			}
			return db.FinishCopies(ctx, target, r)
		}},
		{"a step of the walk", func(db *DB) error { _, _, err := db.WalkForCopies(ctx, target, 100); return err }},
		{"a page of the verification", func(db *DB) error { _, err := db.CopiesAfter(ctx, target, CopyKey{Path: "p/5"}, 0, 0, 50); return err }},
		{"the record of a verification", func(db *DB) error {
			return db.SaveChecked(ctx, target, []CheckedCopy{{CopyKey: CopyKey{"p/1", ""}}, {CopyKey: claimed[5].CopyKey, Problem: "lost"}})
		}},
		{"the obsolete copies", func(db *DB) error { _, err := db.ObsoleteCopies(ctx, target, CopyKey{}, 50); return err }},
		{"a trigger of attachments", func(db *DB) error {
			return db.change(ctx, "test", `UPDATE noggin_schema.attachments SET file_path = file_path || 'x' WHERE record_tip = $1`, tip(7))
		}},
		{"a trigger of reports", func(db *DB) error {
			return db.change(ctx, "test", `UPDATE noggin_schema.noggin_data SET report_path = report_path || 'x' WHERE tip = $1`, tip(7))
		}},
	} {
		before := rowsScanned(t, db, tables...)
		session := openDB(t, db.cfg)
		must(step.do(session))
		must(session.Close())
		for table, rows := range rowsScanned(t, db, tables...) {
			if more := rows - before[table]; more > 0 {
				t.Errorf("%s went through %d rows of %s", step.name, more, table)
			}
		}
	}
	if len(claimed) != 50 {
		t.Errorf("%d files were claimed: the test shows nothing", len(claimed))
	}
}

func TestATargetIsFoundByItsURLAndEndpoint(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	id := register(t, db, "s3://b/p")
	for endpoint, want := range map[string]bool{"": true, "https://other": false} {
		found, ok, err := db.CopyTargetID(context.Background(), "s3://b/p", endpoint)
		if err != nil || ok != want || ok && found != id {
			t.Errorf("at %q: %d, %v, %v", endpoint, found, ok, err)
		}
	}
	filed(t, db, 1, 1)
	copyAll(t, db, id)
	foreign(t, db, `UPDATE noggin_schema.copies SET verified_at = now()`)
	records, err := db.FiledRecords(t.Context(), []string{tip(1)})
	if err != nil || len(records) != 1 || len(records[0].Files) != 2 {
		t.Fatalf("%+v, %v", records, err)
	}
	for place, want := range map[CopyPlace]int{{URL: "s3://b/p"}: 0, {}: 0, {URL: "s3://b/p", Endpoint: "https://other"}: 1, {URL: "s3://b"}: 1} {
		if tips, err := db.UncopiedRecords(t.Context(), records[0].Files, place, time.Hour); err != nil || len(tips) != want {
			t.Errorf("without a copy in %+v are %q, %v", place, tips, err)
		}
	}
}

// In a new database the planner knows nothing of the copies. It must not read all rows
// of a target for each file all the same.
func TestTheFirstCopiesAreFoundByTheirKeys(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	target := register(t, db, "/mnt/b")
	foreign(t, db, `ALTER TABLE noggin_schema.copies SET (autovacuum_enabled = off)`)
	foreign(t, db, `ALTER TABLE noggin_schema.copies_due SET (autovacuum_enabled = off)`)
	filed(t, db, 1, 500)
	copied := claimCopies(t, db, target, 400)
	finishAll := func(due []DueCopy) {
		t.Helper()
		var r CopyResults
		for _, d := range due {
			r.Copied = append(r.Copied, Copied{CopyKey: d.CopyKey, Size: d.Size, Kind: d.Kind, RecordTip: d.RecordTip})
		}
		if err := db.FinishCopies(t.Context(), target, r); err != nil {
			t.Fatal(err)
		}
	}
	finishAll(copied)
	if err := db.AnalyzeCopies(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := scalar[float64](t, db, `SELECT min(reltuples) FROM pg_class WHERE relname IN ('copies', 'copies_due')`); n < 400 {
		t.Errorf("the planner knows of %g rows", n)
	}
	finishAll(claimCopies(t, db, target, 200))
	due := claimCopies(t, db, target, 100)
	fetched := func() int64 {
		awaitOtherSessions(t, db)
		return scalar[int64](t, db, `SELECT sum(idx_tup_fetch)::bigint FROM pg_stat_user_tables WHERE relname IN ('copies', 'copies_due')`)
	}
	for name, do := range map[string]func(){
		"recording 100 copies": func() { finishAll(due) },
		"50 attachments": func() {
			foreign(t, db, `UPDATE noggin_schema.attachments SET retry_count = 1 WHERE record_tip <= $1`, tip(50))
		},
	} {
		before := fetched()
		do()
		if n := fetched() - before; n > 2000 {
			t.Errorf("%s fetched %d rows", name, n)
		}
	}
}
