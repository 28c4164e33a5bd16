package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive/format"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/storage"
)

var threeDays = apitest.Options{Records: 3, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)}

func TestARecordWhoseClaimIsLostAtTheLastMomentStays(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	var tip string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT min(tip) FROM noggin_data`).Scan(&tip))
	s.step = func(step string) {
		if step == "looked again" {
			s.exec(`UPDATE noggin_data SET claimed_by = NULL, claim_expires_at = NULL, claim_token = claim_token + 1 WHERE tip = $1`, tip)
		}
	}
	if summary := s.mustCreate(everything); summary.Busy != 1 || summary.RecordsRemoved != 2 {
		t.Errorf("summary %+v", summary)
	}
	s.step = nil
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived AND tip = $1`, tip); n != 0 {
		t.Error("it is archived")
	}
	s.mustHaveAll("beside an operator", s.inArchives())
	if len(s.onDisk()) == 0 {
		t.Error("its files were removed")
	}
	if again := s.mustCreate(everything); again.RecordsRemoved != 1 || len(s.onDisk()) != 0 {
		t.Errorf("the next run: %+v", again)
	}
}

func TestARecordThatIsNoLongerCompleteStays(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	s.step = func(step string) {
		if step == "verified" {
			s.exec(`UPDATE noggin_data SET processing_status = 'partial' WHERE tip = (SELECT min(tip) FROM noggin_data)`)
		}
	}
	if summary := s.mustCreate(everything); summary.RecordsRemoved != 2 || summary.LeftOutCount != 1 || len(s.onDisk()) == 0 {
		t.Errorf("summary %+v", summary)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived AND processing_status = 'partial'`); n != 0 {
		t.Error("it is archived")
	}
}

func TestAReportThatIsWrittenAgainAfterItWasArchivedStays(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	var report string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT report_path FROM noggin_data ORDER BY tip LIMIT 1`).Scan(&report))
	s.step = func(step string) {
		if step == "verified" { // as healing does
			text := []byte("with other names")
			sum := sha256.Sum256(text)
			batchtest.Must(t, os.WriteFile(filepath.Join(s.Paths.Output, report), text, 0o600))
			s.exec(`UPDATE noggin_data SET report_size_bytes = $2, report_hash_sha256 = $3 WHERE report_path = $1`, report, len(text), hex.EncodeToString(sum[:]))
		}
	}
	if summary := s.mustCreate(everything); summary.RecordsRemoved != 2 || summary.LeftOutCount != 1 || s.onDisk()[report] == "" {
		t.Errorf("summary %+v, on disk %v", summary, s.onDisk())
	}
	s.step = nil
	if next := s.mustCreate(everything); next.RecordsRemoved != 1 || len(s.onDisk()) != 0 {
		t.Errorf("the next archive does not take it: %+v", next)
	}
}

// takeFirst claims the first record as another run does, until it is released.
func (s *shelf) takeFirst() (release func()) {
	s.T.Helper()
	run, err := s.DB.StartRun(s.T.Context(), "process", "")
	batchtest.Must(s.T, err)
	var tip string
	batchtest.Must(s.T, s.sql.QueryRowContext(s.T.Context(), `SELECT min(tip) FROM noggin_data`).Scan(&tip))
	claims, err := s.DB.ClaimTips(s.T.Context(), run, []string{tip}, "", time.Hour)
	batchtest.Must(s.T, err)
	return func() { batchtest.Must(s.T, s.DB.Release(s.T.Context(), run, claims)) }
}

func TestALongGroupKeepsItsClaims(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	s.ClaimLease = time.Second
	s.step = func(step string) {
		if step != "record written" {
			return
		}
		s.step = nil
		const lease = `SELECT (extract(epoch FROM max(claim_expires_at)) * 1000)::bigint FROM noggin_data`
		taken := s.scalar(lease)
		for until := time.Now().Add(30 * time.Second); s.scalar(lease) <= taken; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(until) {
				t.Error("the claims are not renewed")
				return
			}
		}
	}
	if summary := s.mustCreate(everything); summary.RecordsRemoved != 3 {
		t.Errorf("summary %+v", summary)
	}
}

// dieAt runs until the step, and does nothing of what would follow.
func (s *shelf) dieAt(at string) {
	s.T.Helper()
	s.step = func(step string) {
		if step == at {
			panic("killed")
		}
	}
	defer func() {
		if recover() == nil {
			s.T.Errorf("the run did not come to %q", at)
		}
		s.step = nil
	}()
	_, _ = s.create(everything)
}

func TestAFileThatChangedSinceItsRunWasKilledStays(t *testing.T) {
	t.Parallel()
	for step, folder := range map[string]string{"marked": "2025/*/*", "aside": files.RemovingFolder + "/*"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, threeDays)
			s.dieAt(step)
			left := glob(filepath.Join(s.Paths.Output, folder, "*"))
			if len(left) == 0 {
				t.Fatal("no file is left")
			}
			flipBit(t, left[0], 40)
			if summary := s.mustCreate(everything); summary.LeftOutCount == 0 {
				t.Errorf("summary %+v", summary)
			}
			if back := glob(filepath.Join(s.Paths.Output, "2025/*/*", filepath.Base(left[0]))); len(back) != 1 {
				t.Errorf("%s was removed with what somebody wrote into it: %v", left[0], s.onDisk())
			}
		})
	}
}

func TestAnArchiveIsNotDoneWhileAFileOfItIsOnDisk(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	s.dieAt("named")
	var flushed []string // before the first original is removed
	stop := files.WatchFlushes(s.Paths.Archive, func(point, _ string) { flushed = append(flushed, point) })
	s.dieAt("marked")
	stop()
	if !slices.Equal(flushed, []string{"final name"}) {
		t.Errorf("before the originals of an archive are removed that a killed run named, flushed is %q", flushed)
	}
	release := s.takeFirst()
	if summary := s.mustCreate(everything); summary.Busy != 1 || len(s.onDisk()) == 0 || s.scalar(`SELECT count(*) FROM archives WHERE state = 'removing'`) != 1 {
		t.Errorf("beside another run: %+v", summary)
	}
	release()
	if summary := s.mustCreate(everything); len(s.onDisk()) != 0 || s.scalar(`SELECT count(*) FROM archives WHERE state = 'done'`) != 1 {
		t.Errorf("after it: %+v", summary)
	}
}

func TestAnArchiveIsNotDoneBeforeAllItsRecordsAreLinked(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	file := RegisterOptions{File: s.mustCreate(everything).Archives[0].Path}
	s.forgetArchives()
	release := s.takeFirst()
	if summary, err := s.Register(t.Context(), file); err != nil || summary.Busy != 1 || summary.State != storage.ArchiveKept {
		t.Errorf("beside another run: %+v, %v", summary, err)
	}
	release()
	if summary, err := s.Register(t.Context(), file); err != nil || summary.State != storage.ArchiveDone {
		t.Errorf("after it: %+v, %v", summary, err)
	}
}

func TestAFileThatChangesWhileItsFolderIsAsideComesBack(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	changed := ""
	s.step = func(step string) {
		if aside := glob(filepath.Join(s.Paths.Output, files.RemovingFolder, "*", "*.txt")); step == "aside" && changed == "" {
			changed = filepath.Base(aside[0])
			flipBit(t, aside[0], 40)
		}
	}
	if summary := s.mustCreate(everything); summary.RecordsRemoved != 2 || summary.LeftOutCount != 1 {
		t.Errorf("summary %+v", summary)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(s.onDisk())), func(name string) bool { return path.Base(name) == changed }) {
		t.Errorf("%s was removed with what somebody wrote into it", changed)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived`); n != 2 {
		t.Errorf("%d records are archived", n)
	}
}

func TestAnArchiveThatAfterCreateCutTakesNoOriginal(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	s.Config.AfterCreate = `truncate -s -1 "$1"`
	if summary, err := s.create(everything); err == nil || summary.FilesRemoved != 0 || !maps.Equal(s.onDisk(), s.originals) {
		t.Errorf("%+v, %v", summary, err)
	}
}

// A database whose rows were changed, or an archive that was written by another one.
func TestAnArchiveLacksWhatOnlyTheDatabaseHasInIt(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	s.mustCreate(everything)
	s.mustVerify()
	s.exec(`INSERT INTO noggin_data (tip, object_type, processing_status, report_path, report_archive_id)
		SELECT repeat('f', 64), 'LCD', 'complete', 'elsewhere/report.txt', id FROM archives`)
	s.exec(`INSERT INTO archive_records (record_tip, archive_id) SELECT tip, report_archive_id FROM noggin_data WHERE tip = repeat('f', 64)`)
	found, err := s.Verify(t.Context(), VerifyOptions{})
	batchtest.Must(t, err)
	if one := found.Archives[0]; one.OK || !strings.Contains(one.Problem, "of which it holds") {
		t.Errorf("%+v", one)
	}
}

func TestAnArchiveThatIsNotAsItWasWrittenIsSetAside(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	at := filepath.Join(s.Paths.Archive, "noggin-2025-03.tar.zst")
	s.step = func(step string) {
		if step == "named" {
			flipBit(t, at, 100)
		}
	}
	aside := func(when string, err error) {
		t.Helper()
		if !errors.Is(err, format.ErrDamaged) || !maps.Equal(s.onDisk(), s.originals) || s.scalar(`SELECT count(*) FROM archives`) != 0 {
			t.Errorf("%s: it is recorded, or something was removed: %v", when, err)
		}
		batchtest.Must(t, os.Rename(at+".damaged", at))
	}
	_, err := s.create(everything)
	aside("a flipped bit", err)
	batchtest.Must(t, os.Remove(at))
	s.step = nil
	kept := s.mustCreate(CreateOptions{Before: everything.Before, Keep: true}).Archives[0]
	known, err := s.DB.ArchiveByName(t.Context(), kept.Name)
	batchtest.Must(t, err)
	// Another whole archive has its name.
	whole := format.Contents{Records: kept.Records, Files: kept.Files, SizeBytes: kept.SizeBytes}
	for name, change := range map[string]func(*format.Contents){
		"records": func(c *format.Contents) { c.Records++ }, "files": func(c *format.Contents) { c.Files++ }, "bytes": func(c *format.Contents) { c.SizeBytes++ },
	} {
		want := whole
		change(&want)
		_, err := (&creation{Archiver: s.Archiver}).readBack(t.Context(), known, want)
		aside("other "+name, err)
	}
}

// The database was restored: nothing knows of them any more.
func TestUnfinishedArchivesThatNobodyWritesAreRemoved(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	batchtest.Must(t, os.MkdirAll(s.Paths.Archive, 0o755))
	at := func(name string) string { return filepath.Join(s.Paths.Archive, name) }
	writing, err := files.CreatePartial(at("noggin-2024-01.tar.zst"), files.FileMode)
	batchtest.Must(t, err)
	defer files.Release(writing)
	old := time.Now().Add(-2 * files.TempAge)
	for name, modified := range map[string]time.Time{
		"noggin-2024-01.tar.zst.partial": old, // is locked
		"noggin-2024-02.tar.zst.partial": old,
		"noggin-2024-03.tar.zst.partial": time.Now(),
		"other-2024-04.tar.zst.partial":  old,
		".noggin-1.tmp":                  old,
	} {
		file, err := os.OpenFile(at(name), os.O_CREATE, 0o600)
		batchtest.Must(t, err, file.Close(), os.Chtimes(at(name), modified, modified))
	}
	s.mustCreate(everything)
	var left []string
	for _, name := range glob(at("*")) {
		left = append(left, filepath.Base(name))
	}
	if slices.Sort(left); strings.Join(left, " ") != "noggin-2024-01.tar.zst.partial noggin-2024-03.tar.zst.partial noggin-2025-03.tar.zst other-2024-04.tar.zst.partial" {
		t.Errorf("left are %s", left)
	}
}

func TestWhatIsOnDiskOrDiffersIsNotLinked(t *testing.T) {
	t.Parallel()
	with := threeDays
	with.Photos = apitest.Fixed(1)
	s := newShelf(t, with)
	kept := s.mustCreate(CreateOptions{Before: everything.Before, Keep: true}).Archives[0]
	s.forgetArchives()
	file := RegisterOptions{File: kept.Path}
	if summary, err := s.Register(t.Context(), file); err != nil || summary.FilesOnDisk != kept.Files || summary.FilesLinked != 0 || summary.State != storage.ArchiveKept {
		t.Errorf("on disk: %+v, %v", summary, err)
	}
	photo := s.FilesEnding(".jpg")[0]
	name, err := filepath.Rel(s.Paths.Output, photo)
	batchtest.Must(t, err, os.Remove(photo))
	s.exec(`UPDATE attachments SET file_hash_sha256 = repeat('0', 64) WHERE file_path = $1`, name)
	if summary, err := s.Register(t.Context(), file); err != nil || summary.FilesLinked != 0 || summary.LeftOutCount != 1 || !strings.Contains(summary.LeftOut[0].Reason, "the database has it with SHA-256 0000") {
		t.Errorf("with other content: %+v, %v", summary, err)
	}
}

func TestFilesOfARecordLieInOneFolderAndAreKnown(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("a", 64)
	first := storage.File{Path: "2025/x/a.jpg", SHA256: sum}
	for name, test := range map[string]struct {
		found []storage.File
		wrong bool
	}{
		"right":          {[]storage.File{first, {Path: "2025/x/b.jpg", SHA256: sum}}, false},
		"another folder": {[]storage.File{first, {Path: "2025/y/b.jpg", SHA256: sum}}, true},
		"no folder":      {[]storage.File{{Path: "b.jpg", SHA256: sum}}, true},
		"noggin's own":   {[]storage.File{{Path: files.TempFolder + "/b.jpg", SHA256: sum}}, true},
		"no size":        {[]storage.File{first, {Path: "2025/x/b.jpg", SHA256: sum, Size: -1}}, true},
		"no hash":        {[]storage.File{first, {Path: "2025/x/b.jpg"}}, true},
	} {
		if dir, wrong := checkFiles(test.found); len(wrong) > 0 != test.wrong || !test.wrong && dir != "2025/x" {
			t.Errorf("%s: %s, %+v", name, dir, wrong)
		}
	}
}

func TestASummaryListsTheFirstFindingsAndCountsAll(t *testing.T) {
	t.Parallel()
	var l leftAlone
	for range maxLeftOut + 5 {
		l.add(slog.New(slog.DiscardHandler), "tip", "id", because("a", files.ErrMissing))
	}
	if len(l.LeftOut) != maxLeftOut || l.LeftOutCount != maxLeftOut+5 {
		t.Errorf("%d of %d are listed", len(l.LeftOut), l.LeftOutCount)
	}
}
