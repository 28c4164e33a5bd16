package archive

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"noggin/api/apitest"
	"noggin/batch/archive/format"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/batch/queue"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// shelf is a mirror whose records are all complete, with an archiver.
type shelf struct {
	*batchtest.Mirror
	*Archiver
	sql       *sql.DB
	originals map[string]string // SHA-256 by path, as mirrored
}

func newShelf(t testing.TB, o apitest.Options) *shelf {
	t.Helper()
	if o.FirstDay.IsZero() {
		o.FirstDay, o.Days = time.Date(2025, 1, 25, 0, 0, 0, 0, time.UTC), 12
	}
	m := batchtest.NewMirror(t, o)
	m.ImportAll()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Unsuccessful() > 0 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	pool, err := sql.Open("postgres", m.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	s := &shelf{Mirror: m, sql: pool}
	s.Archiver = &Archiver{
		DB: m.DB, Paths: files.Paths{Output: m.Output, Archive: filepath.Join(t.TempDir(), "archive")}, ClaimLease: m.Processing.ClaimLease, Log: m.Log,
	}
	s.originals = s.onDisk()
	return s
}

// onDisk are the hashes of the files in the output folder, by path.
func (s *shelf) onDisk() map[string]string { return hashes(s.T, s.Paths.Output) }

func hashes(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == files.MarkerName {
			return err
		}
		content, err := os.ReadFile(at)
		sum := sha256.Sum256(content)
		name, _ := filepath.Rel(dir, at)
		found[name] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

// everything is a filter that takes all that the shelf has.
var everything = CreateOptions{Before: "2026-01-01"}

func (s *shelf) create(opts CreateOptions) (CreateSummary, error) {
	s.T.Helper()
	return s.Create(s.T.Context(), opts)
}

func (s *shelf) mustCreate(opts CreateOptions) CreateSummary {
	s.T.Helper()
	summary, err := s.create(opts)
	if err != nil {
		s.T.Fatalf("archive create: %v\n%s", err, s.Logged)
	}
	return summary
}

func (s *shelf) mustVerify() {
	s.T.Helper()
	verified, err := s.Verify(s.T.Context(), VerifyOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
	for _, v := range verified.Archives {
		if !v.OK {
			s.T.Errorf("%s: %s", v.Name, v.Problem)
		}
	}
}

func (s *shelf) scalar(query string, args ...any) (n int) {
	s.T.Helper()
	if err := s.sql.QueryRowContext(s.T.Context(), query, args...).Scan(&n); err != nil {
		s.T.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *shelf) exec(query string, args ...any) {
	s.T.Helper()
	if _, err := s.sql.ExecContext(s.T.Context(), query, args...); err != nil {
		s.T.Fatalf("%s: %v", query, err)
	}
}

// inArchives unpacks every archive with nothing but tar, zstd and sha256sum, and
// returns the hashes of what was in them, by path.
func (s *shelf) inArchives() map[string]string {
	s.T.Helper()
	needTools(s.T)
	dir := s.T.TempDir()
	found := map[string]string{}
	archives, _ := filepath.Glob(filepath.Join(s.Paths.Archive, "*"+format.Ext))
	for i, archive := range archives {
		to := filepath.Join(dir, strconv.Itoa(i))
		unpack(s.T, archive, to)
		for name, sum := range hashes(s.T, to) {
			if strings.Contains(name, "/") {
				found[name] = sum
			}
		}
	}
	return found
}

func needTools(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"tar", "zstd", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed; .ci/setup does it", tool)
		}
	}
}

func unpack(t testing.TB, archive, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSuffix(filepath.Base(archive), format.Ext)
	for _, args := range [][]string{
		{"zstd", "-qt", archive},
		{"tar", "--zstd", "-xf", archive, "-C", to},
		{"sha256sum", "--check", "--strict", "--quiet", base + ".sha256"},
	} {
		command := exec.CommandContext(t.Context(), args[0], args[1:]...)
		command.Dir = to
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
}

// mustHaveAll fails when an original is neither on disk nor in an archive.
func (s *shelf) mustHaveAll(when string, archived map[string]string) {
	s.T.Helper()
	disk := s.onDisk()
	aside := map[string]bool{}
	for name, sum := range disk {
		aside[path.Base(name)+sum] = strings.HasPrefix(name, files.RemovingFolder)
	}
	for name, sum := range s.originals {
		if disk[name] != sum && archived[name] != sum && !aside[path.Base(name)+sum] {
			s.T.Errorf("%s: %s is in neither place", when, name)
		}
	}
}

func TestOldRecordsMoveIntoArchivesThatPlainToolsOpen(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 15, Photos: apitest.Range{Min: 0, Max: 4}, MediaBytes: apitest.Range{Min: 2000, Max: 90_000}})
	summary := s.mustCreate(CreateOptions{Before: "2025-02-01"})
	if len(summary.Archives) != 1 || summary.Archives[0].Name != "noggin-2025-01.tar.zst" || summary.LeftOutCount != 0 || summary.Busy != 0 {
		t.Fatalf("summary %+v\n%s", summary, s.Logged)
	}
	january := func(name string) bool { return strings.HasPrefix(name, "2025/01/") }
	disk, archived := s.onDisk(), s.inArchives()
	for name, sum := range s.originals {
		if january(name) && (archived[name] != sum || disk[name] != "") || !january(name) && disk[name] != sum {
			t.Errorf("%s is on disk as %q, in the archive as %q", name, disk[name], archived[name])
		}
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived <> (inspection_date < '2025-02-01') OR archived <> (archived_at IS NOT NULL)
		OR archived <> (report_archive_id IS NOT NULL)`); n != 0 {
		t.Errorf("%d records are recorded wrongly", n)
	}
	if _, err := os.Stat(filepath.Join(s.Paths.Output, "2025/01")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty folder of the month is still there: %v", err)
	}
	s.mustVerify()
	if again := s.mustCreate(CreateOptions{Before: "2025-02-01"}); len(again.Archives) != 0 {
		t.Errorf("a second run archived again: %+v", again)
	}
	if rest := s.mustCreate(everything); len(rest.Archives) != 1 || rest.Archives[0].Month != "2025-02" {
		t.Errorf("the rest: %+v", rest)
	}
	if left := s.onDisk(); len(left) != 0 {
		t.Errorf("left on disk: %v", slices.Collect(maps.Keys(left)))
	}
	s.mustHaveAll("at the end", s.inArchives())
}

func TestWhatDiffersFromTheDatabaseIsReportedAndLeftAlone(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 10, Forms: []string{"LCD"}, Photos: apitest.Range{Min: 2, Max: 2}, MediaBytes: apitest.Range{Min: 2000, Max: 4000}, Days: 5, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	folders := map[string][]string{} // photographs by folder
	for _, name := range slices.Sorted(maps.Keys(s.originals)) {
		if !strings.HasSuffix(name, ".txt") {
			folders[path.Dir(name)] = append(folders[path.Dir(name)], name)
		}
	}
	dirs := slices.Sorted(maps.Keys(folders))
	out := s.Paths.Output
	at := func(dir, photo int) string { return filepath.Join(out, folders[dirs[dir]][photo]) }
	flipBit(t, at(0, 1), 100)
	batchtest.Must(t, os.Remove(at(1, 0)))
	batchtest.Must(t, os.Remove(at(2, 0)), os.Symlink("/etc/passwd", at(2, 0)))
	batchtest.Must(t, os.WriteFile(filepath.Join(out, dirs[3], "two\nlines.jpg"), []byte("stray"), 0o600))
	batchtest.Must(t, unix.Mkfifo(filepath.Join(out, dirs[4], "pipe"), 0o600))
	batchtest.Must(t, os.Truncate(at(5, 0), 1000))
	batchtest.Must(t, os.Rename(filepath.Join(out, dirs[6]), filepath.Join(out, "elsewhere")), os.Symlink(filepath.Join(out, "elsewhere"), filepath.Join(out, dirs[6])))
	before := s.onDisk()

	summary := s.mustCreate(everything)
	if summary.LeftOutCount != 7 || summary.RecordsRemoved != 3 {
		t.Fatalf("summary %+v\n%s", summary, s.Logged)
	}
	after := s.onDisk()
	for name, sum := range before {
		dir := slices.Index(dirs, path.Dir(name))
		if gone := after[name] != sum; gone != (dir >= 7) {
			t.Errorf("%q: gone %v", name, gone)
		}
	}
	for _, found := range summary.LeftOut {
		if dir := slices.IndexFunc(dirs, func(dir string) bool { return strings.HasPrefix(found.Path, dir) }); dir > 6 || dir < 0 || found.Tip == "" || found.Reason == "" {
			t.Errorf("reported %+v", found)
		}
	}
	s.mustVerify()
}

func flipBit(t testing.TB, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	batchtest.Must(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	b[0] ^= 4
	_, writeErr := f.WriteAt(b, at)
	batchtest.Must(t, err, writeErr, f.Close())
}

func TestAFlippedBitInAnArchiveIsFoundAndKeepsEverything(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 4, Photos: apitest.Range{Min: 2, Max: 2}, MediaBytes: apitest.Range{Min: 5000, Max: 6000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	kept := s.mustCreate(CreateOptions{Before: "2026-01-01", Keep: true})
	if len(kept.Archives) != 1 || kept.Archives[0].State != storage.ArchiveKept || kept.FilesRemoved != 0 {
		t.Fatalf("summary %+v", kept)
	}
	if again := s.mustCreate(CreateOptions{Before: "2026-01-01", Keep: true}); len(again.Archives) != 0 {
		t.Errorf("what is kept was archived again: %+v", again)
	}
	// A run that would take only some of its records removes none of them.
	for _, some := range []CreateOptions{
		{Before: "2025-03-01"},
		{Before: "2026-01-01", Selector: storage.Selector{ObjectType: "SO"}},
		{Before: "2026-01-01", Selector: storage.Selector{Entities: [][]string{{strings.Repeat("e", 64)}}}},
	} {
		if summary := s.mustCreate(some); len(summary.Archives) != 0 || summary.FilesRemoved != 0 || !maps.Equal(s.onDisk(), s.originals) {
			t.Fatalf("%+v concludes the kept archive of everything: %+v", some, summary)
		}
	}
	archive := kept.Archives[0]
	for _, at := range []int64{20, archive.SizeBytes / 2, archive.SizeBytes - 30, archive.SizeBytes - 4} {
		flipBit(t, archive.Path, at)
		verified, err := s.Verify(t.Context(), VerifyOptions{Name: archive.Name})
		if err != nil || len(verified.Archives) != 1 || verified.Archives[0].OK {
			t.Errorf("a flipped bit at %d: %+v, %v", at, verified, err)
		}
		s.exec(`UPDATE archives SET problem = NULL`)
		summary := s.mustCreate(everything)
		if len(summary.Problems) != 1 || summary.FilesRemoved != 0 || len(summary.Archives) != 0 || s.scalar(`SELECT count(*) FROM archives WHERE problem IS NOT NULL`) != 1 {
			t.Errorf("a flipped bit at %d: %+v", at, summary)
		}
		flipBit(t, archive.Path, at)
	}
	if !maps.Equal(s.onDisk(), s.originals) {
		t.Error("the output folder changed")
	}
	if done := s.mustCreate(everything); len(done.Problems) != 0 || done.RecordsRemoved != 4 || !done.Archives[0].Resumed || len(s.onDisk()) != 0 {
		t.Errorf("whole again: %+v", done)
	}
	s.mustHaveAll("at the end", s.inArchives())
}

func TestAnUnfinishedArchiveThatOnlyAnotherHostSeesIsLeftToIt(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	kept := s.mustCreate(CreateOptions{Before: "2026-01-01", Keep: true}).Archives[0]
	batchtest.Must(t, os.Rename(kept.Path, kept.Path+".away"))
	if summary := s.mustCreate(everything); len(summary.Problems) != 1 {
		t.Errorf("this host misses its own: %+v", summary)
	}
	for _, state := range []string{"kept", "removing", "verified", "writing"} {
		if _, err := s.sql.Exec(`UPDATE noggin_schema.archives SET host = 'another', path = '/elsewhere/' || name, state = $1 WHERE name = $2`, state, kept.Name); err != nil {
			t.Fatal(err)
		}
		if summary := s.mustCreate(everything); len(summary.Problems) != 0 {
			t.Errorf("%s: %+v", state, summary)
		}
		if n := s.scalar(`SELECT count(*) FROM archives WHERE name = '` + kept.Name + `' AND state = '` + state + `'`); n != 1 {
			t.Errorf("%s: it is forgotten", state)
		}
	}
}

// Every look at the archive finds it there, so that nobody would tell of one that is left.
func TestAnUnfinishedArchiveOfAnotherHostIsEndedWhereItIsNow(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	kept := s.mustCreate(CreateOptions{Before: "2026-01-01", Keep: true}).Archives[0]
	s.exec(`UPDATE archives SET host = 'replaced', path = '/elsewhere/' || name`)
	if done := s.mustCreate(everything); done.RecordsRemoved != 2 || len(done.Archives) != 1 || done.Archives[0].Path != kept.Path || len(s.onDisk()) != 0 {
		t.Errorf("%+v", done)
	}
	if n := s.scalar(`SELECT count(*) FROM archives WHERE state = 'done'`); n != 1 {
		t.Errorf("%d archives are done", n)
	}
	s.mustHaveAll("at the end", s.inArchives())
}

// An operator changes each record just after the restore has claimed it.
func TestWhatIsRestoredUnderALostClaimCountsAsBusy(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	archive := s.mustCreate(everything).Archives[0]
	if _, err := s.sql.Exec(`CREATE FUNCTION noggin_schema.operate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF pg_trigger_depth() = 1 AND NEW.claimed_by IS NOT NULL THEN
				UPDATE noggin_schema.noggin_data SET claim_token = claim_token + 1 WHERE tip = NEW.tip;
			END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER operate AFTER UPDATE OF claimed_by ON noggin_schema.noggin_data FOR EACH ROW EXECUTE FUNCTION noggin_schema.operate()`); err != nil {
		t.Fatal(err)
	}
	summary, err := s.Restore(t.Context(), RestoreOptions{Target: archive.Name, InPlace: true})
	if err != nil || summary.Files != archive.Files || summary.Busy != 2 {
		t.Errorf("%+v, %v", summary, err)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE report_archive_id IS NOT NULL`); n != 2 {
		t.Errorf("%d records are in the archive still, want 2", n)
	}
}

func TestASourceThatChangesAfterItWasReadStays(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 3, Photos: apitest.Range{Min: 1, Max: 1}, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	out := s.Paths.Output
	names := slices.Sorted(maps.Keys(s.originals))
	touched := path.Dir(names[2])
	s.step = func(step string) {
		switch step {
		case "verified":
			flipBit(t, filepath.Join(out, names[0]), 40)
			batchtest.Must(t, os.Chtimes(filepath.Join(out, names[2]), time.Now(), time.Now())) // the same content: may go
		case "aside": // somebody adds a file at the last moment
			if stray := filepath.Join(out, files.RemovingFolder, "*"); len(glob(stray)) == 1 && s.scalar(`SELECT count(*) FROM noggin_data WHERE folder = $1 AND archived`, touched) == 1 {
				batchtest.Must(t, os.WriteFile(filepath.Join(glob(stray)[0], "note.txt"), []byte("late"), 0o600))
				s.step = nil
			}
		}
	}
	summary := s.mustCreate(everything)
	if summary.RecordsRemoved != 1 || summary.LeftOutCount != 2 {
		t.Errorf("summary %+v\n%s", summary, s.Logged)
	}
	disk := s.onDisk()
	if disk[names[0]] == "" || len(disk) != 5 {
		t.Errorf("on disk: %v", disk)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived`); n != 1 {
		t.Errorf("%d records are archived", n)
	}
}

func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern)
	return found
}

func TestAFullArchiveVolumeLosesNothing(t *testing.T) {
	t.Parallel()
	volume := batchtest.Tmpfs(t, "size=300k")
	s := newShelf(t, apitest.Options{Records: 8, Photos: apitest.Range{Min: 2, Max: 2}, MediaBytes: apitest.Range{Min: 50_000, Max: 50_000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	for _, refuseEarly := range []bool{true, false} {
		if !refuseEarly { // as if another program filled the volume meanwhile
			s.exec(`UPDATE attachments SET file_size_bytes = file_size_bytes`)
			s.step = func(step string) {
				if step == "begun" {
					batchtest.Must(t, os.WriteFile(filepath.Join(volume, "other"), make([]byte, 150<<10), 0o600))
				}
			}
			batchtest.Must(t, unix.Mount("", volume, "", unix.MS_REMOUNT, "size=900k"), os.WriteFile(filepath.Join(volume, "ballast"), make([]byte, 50<<10), 0o600))
		}
		_, err := s.create(CreateOptions{Before: "2026-01-01", To: volume})
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("refused early %v: %v", refuseEarly, err)
		}
		if left := glob(filepath.Join(volume, "*noggin*")); len(left) != 0 || len(glob(filepath.Join(volume, ".noggin*"))) != 0 {
			t.Errorf("left behind: %v", left)
		}
		if !maps.Equal(s.onDisk(), s.originals) || s.scalar(`SELECT count(*) FROM archives`) != 0 {
			t.Error("something changed")
		}
	}
	if _, err := s.create(CreateOptions{Before: "2026-01-01", UntilFree: 25}); !errors.Is(err, ErrSameVolume) {
		t.Errorf("an archive folder beside the output folder: %v", err)
	}
}

func TestAfterCreateDecidesWhetherAnythingIsRemoved(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 3, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	copies := t.TempDir()
	for _, line := range []string{"echo no room there; exit 7", `mv "$1" ` + copies} {
		s.Config.AfterCreate = line
		if summary, err := s.create(everything); err == nil || summary.FilesRemoved != 0 || !maps.Equal(s.onDisk(), s.originals) {
			t.Errorf("%s: %+v, %v", line, summary, err)
		}
	}
	s.Config.AfterCreate = `cp "$1" ` + copies + ` && cmp "$1" "$NOGGIN_ARCHIVE" && test -z "$` + storagetest.EnvURL + `"` // it may hold a password
	if summary := s.mustCreate(everything); len(s.onDisk()) != 0 || len(summary.Archives) != 1 {
		t.Errorf("summary %+v", summary)
	}
	if len(glob(filepath.Join(copies, "noggin-2025-03.tar.zst"))) != 1 || !strings.Contains(s.Logged.String(), "no room there") {
		t.Errorf("log:\n%s", s.Logged)
	}
}

func TestARestoredRecordIsAsBefore(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 6, Photos: apitest.Range{Min: 1, Max: 3}, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	s.mustCreate(everything)
	var tip, folder string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT tip, folder FROM noggin_data ORDER BY tip DESC LIMIT 1`).Scan(&tip, &folder))
	restore := func(opts RestoreOptions) RestoreSummary {
		t.Helper()
		summary, err := s.Restore(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		return summary
	}
	wanted := maps.Clone(s.originals)
	maps.DeleteFunc(wanted, func(name, _ string) bool { return path.Dir(name) != folder })

	elsewhere := t.TempDir()
	if one := restore(RestoreOptions{Target: tip, To: elsewhere}); one.Records != 1 || one.Files != len(wanted) || !maps.Equal(hashes(t, elsewhere), wanted) {
		t.Errorf("%+v: %v", one, hashes(t, elsewhere))
	}
	flushed := map[string]int{}
	stop := files.WatchFlushes(elsewhere, func(point, _ string) { flushed[point]++ })
	again := restore(RestoreOptions{Target: tip, To: elsewhere}) // after a run that was killed before it flushed
	stop()
	if again.AlreadyThere != len(wanted) || flushed["adopted file"] != len(wanted) || flushed["folder"] == 0 {
		t.Errorf("again: %+v, flushed: %v", again, flushed)
	}
	name := slices.Sorted(maps.Keys(wanted))[0]
	flipBit(t, filepath.Join(elsewhere, name), 10)
	changed := hashes(t, elsewhere)
	if again = restore(RestoreOptions{Target: tip, To: elsewhere}); again.Files != 0 || again.LeftOutCount != 1 || !maps.Equal(hashes(t, elsewhere), changed) {
		t.Errorf("over a differing file: %+v", again)
	}

	clear(flushed) // before the database has it on disk
	stop = files.WatchFlushes(s.Paths.Output, func(point, _ string) {
		if s.scalar(`SELECT count(*) FROM noggin_data WHERE archived AND tip = $1`, tip) == 1 {
			flushed[point]++
		}
	})
	one := restore(RestoreOptions{Target: tip, InPlace: true})
	stop()
	if one.Records != 1 || !maps.Equal(s.onDisk(), wanted) || flushed["restored file"] != len(wanted) || flushed["folder"] == 0 {
		t.Errorf("in place: %+v, flushed: %v", one, flushed)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE NOT archived AND archived_at IS NULL AND report_archive_id IS NULL AND tip = $1`, tip); n != 1 {
		t.Error("the database still has it archived")
	}
	if all := restore(RestoreOptions{Target: "noggin-2025-03", InPlace: true}); all.LeftOutCount != 0 || !maps.Equal(s.onDisk(), s.originals) {
		t.Errorf("all of it: %+v", all)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived`) + s.scalar(`SELECT count(*) FROM attachments WHERE archive_id IS NOT NULL`); n != 0 {
		t.Errorf("%d rows are still archived", n)
	}
	batchtest.Must(t, os.Remove(filepath.Join(s.Paths.Archive, "noggin-2025-03.tar.zst")))
	if _, err := s.create(CreateOptions{Before: "2026-01-01", DryRun: true}); err != nil {
		t.Errorf("where only an archive with nothing in it is missing: %v", err)
	}
	if _, err := s.Forget(t.Context(), "noggin-2025-03"); err != nil {
		t.Errorf("with nothing in it: %v", err)
	}
	if _, err := s.Restore(t.Context(), RestoreOptions{Target: "LCD-nobody", To: elsewhere}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := s.Restore(t.Context(), RestoreOptions{Target: tip, To: elsewhere}); !errors.Is(err, ErrNotArchived) {
		t.Errorf("a record that is in no archive any more: %v", err)
	}
	// A copy of the forgotten archive may still lie somewhere: its name does not return.
	if again := s.mustCreate(everything); again.Archives[0].Name != "noggin-2025-03-2.tar.zst" || len(s.onDisk()) != 0 {
		t.Errorf("archived again: %+v", again)
	}
	if _, err := s.Forget(t.Context(), "noggin-2025-03-2"); err == nil || s.scalar(`SELECT count(*) FROM archives`) != 1 {
		t.Errorf("an archive that holds files was forgotten: %v", err)
	}
	s.mustVerify()
}

func TestARecordToRestoreIsNamedAsReportsNameIt(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	s.mustCreate(everything)
	var tip, id string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT tip, inspection_id FROM noggin_data ORDER BY tip LIMIT 1`).Scan(&tip, &id))
	for _, given := range []string{tip, tip[:10], id, strings.ToLower(strings.ReplaceAll(id, " - ", ""))} {
		summary, err := s.Restore(t.Context(), RestoreOptions{Target: given, To: t.TempDir()})
		if err != nil || summary.Records != 1 || summary.Files == 0 {
			t.Errorf("%s: %+v, %v", given, summary, err)
		}
	}
	s.exec(`UPDATE noggin_data SET inspection_id = $1`, id)
	elsewhere := t.TempDir()
	if _, err := s.Restore(t.Context(), RestoreOptions{Target: id, To: elsewhere}); !errors.Is(err, queue.ErrAmbiguous) || len(hashes(t, elsewhere)) != 0 {
		t.Errorf("an id of two records: %v", err)
	}
}

func TestADamagedFileKeepsNoOtherFromBeingRestored(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 8, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 5000, Max: 6000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	archive := s.mustCreate(everything).Archives[0]
	flipBit(t, archive.Path, archive.SizeBytes/2)
	elsewhere := t.TempDir()
	for _, opts := range []RestoreOptions{{Target: archive.Name, To: elsewhere}, {Target: archive.Name, InPlace: true}} {
		summary, err := s.Restore(t.Context(), opts)
		if err != nil || summary.LeftOutCount == 0 || summary.LeftOutCount > 2 || summary.Files+summary.LeftOutCount != len(s.originals) {
			t.Errorf("%+v: %+v, %v", opts, summary, err)
		}
	}
	whole := s.onDisk()
	if !maps.Equal(hashes(t, elsewhere), whole) {
		t.Error("in place is not what is elsewhere")
	}
	for name, sum := range whole {
		if s.originals[name] != sum {
			t.Errorf("%s is not as it was", name)
		}
	}
	flipBit(t, archive.Path, archive.SizeBytes/2)
	again, err := s.Restore(t.Context(), RestoreOptions{Target: archive.Name, InPlace: true})
	if err != nil || again.AlreadyThere != len(whole) || again.Records != 1 || !maps.Equal(s.onDisk(), s.originals) {
		t.Errorf("whole again: %+v, %v", again, err)
	}
}

func TestAnArchivedRecordThatComesAgainKeepsItsPhotographsInTheArchive(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, Photos: apitest.Range{Min: 2, Max: 2}, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	s.mustCreate(everything)
	var tip string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT tip FROM noggin_data LIMIT 1`).Scan(&tip))
	again := s.MustRun(process.Options{Selector: storage.Selector{Tips: []string{tip}}, Batch: 1})
	if again.Complete != 1 || again.AttachmentsDownloaded != 0 {
		t.Fatalf("summary %+v\n%s", again, s.Logged)
	}
	disk := s.onDisk()
	for name := range disk {
		report, err := os.ReadFile(filepath.Join(s.Paths.Output, name))
		if err != nil || !strings.Contains(string(report), "noggin-2025-03.tar.zst") {
			t.Errorf("%s does not name the archive: %v\n%s", name, err, report)
		}
	}
	if len(disk) != 1 {
		t.Errorf("on disk: %v", disk)
	}
	s.mustVerify()
	if second := s.mustCreate(everything); len(second.Archives) != 1 || second.Archives[0].Files != 1 || len(s.onDisk()) != 0 {
		t.Errorf("the new report: %+v", second)
	}
	dir := t.TempDir()
	if one, err := s.Restore(t.Context(), RestoreOptions{Target: tip, To: dir}); err != nil || one.Records != 1 || len(hashes(t, dir)) != 3 {
		t.Errorf("restored from two archives: %+v, %v, %v", one, hashes(t, dir), err)
	}
	s.mustVerify()
	// The newer one is given up.
	batchtest.Must(t, os.Remove(filepath.Join(s.Paths.Archive, "noggin-2025-03-2.tar.zst")))
	s.exec(`UPDATE archives SET lost_at = now(), lost_reason = 'no disk' WHERE name = 'noggin-2025-03-2.tar.zst'`)
	dir = t.TempDir()
	if one, err := s.Restore(t.Context(), RestoreOptions{Target: tip, To: dir}); err != nil || len(hashes(t, dir)) != 2 {
		t.Errorf("restored from the one that is left: %+v, %v, %v", one, hashes(t, dir), err)
	}
}

func TestRegisteringClosesTheGapAfterADatabaseWasRestored(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 5, Photos: apitest.Range{Min: 1, Max: 2}, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	archive := s.mustCreate(everything).Archives[0]
	// The backup was older: files on disk, one record not imported yet.
	s.forgetArchives()
	var gone string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT min(tip) FROM noggin_data`).Scan(&gone))
	for _, table := range []string{"attachments", "record_hashes", "record_versions"} {
		s.exec(`DELETE FROM `+table+` WHERE record_tip = $1`, gone)
	}
	s.exec(`DELETE FROM noggin_data WHERE tip = $1`, gone)

	elsewhere := filepath.Join(t.TempDir(), archive.Name)
	batchtest.Must(t, os.Rename(archive.Path, elsewhere))
	flipBit(t, elsewhere, archive.SizeBytes/2)
	if damaged, err := s.Register(t.Context(), RegisterOptions{File: elsewhere}); !errors.Is(err, format.ErrDamaged) || s.scalar(`SELECT count(*) FROM archives`) != 0 {
		t.Errorf("a damaged one: %+v, %v", damaged, err)
	}
	flipBit(t, elsewhere, archive.SizeBytes/2)
	cautious, err := s.Register(t.Context(), RegisterOptions{File: elsewhere})
	if err != nil || cautious.NewRecords != 0 || cautious.UnknownRecords != 1 || cautious.UnknownFiles == 0 || cautious.FilesLinked != archive.Files-cautious.UnknownFiles {
		t.Errorf("the archive's word is taken, or known files are not linked: %+v, %v", cautious, err)
	}
	summary, err := s.Register(t.Context(), RegisterOptions{File: elsewhere, AddUnknown: true})
	if err != nil || summary.NewRecords != 1 || summary.FilesLinked != cautious.UnknownFiles || summary.State != storage.ArchiveDone || summary.LeftOutCount != 0 {
		t.Fatalf("%+v, %v\n%s", summary, err, s.Logged)
	}
	if again, err := s.Register(t.Context(), RegisterOptions{File: elsewhere, AddUnknown: true}); err != nil || again.FilesLinked != 0 || again.NewRecords != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	s.mustVerify()
	if drained := s.MustRun(process.Options{UntilEmpty: true}); drained.Complete != 1 || drained.AttachmentsDownloaded != 0 {
		t.Errorf("the record that was unknown: %+v\n%s", drained, s.Logged)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE NOT archived`); n != 0 {
		t.Errorf("%d records are not archived", n)
	}
}

// forgetArchives brings the database back to before anything was archived.
func (s *shelf) forgetArchives() {
	s.T.Helper()
	s.exec(`UPDATE attachments SET archive_id = NULL WHERE archive_id IS NOT NULL`)
	s.exec(`UPDATE noggin_data SET archived = false, archived_at = NULL, report_archive_id = NULL, claimed_by = NULL, claim_expires_at = NULL`)
	s.exec(`DELETE FROM archives`)
}

func TestASecondArchiveRunIsToldWhoHoldsTheLockAndLeavesWhatTheFirstWrites(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 1, Photos: apitest.None})
	unlock, err := s.DB.Lock(t.Context(), "maintain vacuum")
	batchtest.Must(t, err)
	if _, err := s.create(everything); !errors.Is(err, storage.ErrLocked) || !strings.Contains(err.Error(), "maintain vacuum") {
		t.Errorf("error %v", err)
	}
	if dry, err := s.create(CreateOptions{Before: "2026-01-01", DryRun: true}); err != nil || len(dry.Archives) != 1 || dry.Archives[0].Records != 1 {
		t.Errorf("a dry run needs no lock: %+v, %v", dry, err)
	}
	unlock()
	// The first lost the lock with its connection, and still writes.
	s.dieAt("begun")
	var at string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT path FROM archives WHERE state = 'writing'`).Scan(&at))
	writing, err := files.CreatePartial(at, files.FileMode)
	batchtest.Must(t, err)
	second := s.mustCreate(everything)
	if _, err := os.Lstat(at + files.PartialExt); err != nil || second.RecordsRemoved != 1 || s.scalar(`SELECT count(*) FROM archives WHERE state = 'writing'`) != 1 {
		t.Errorf("while the first writes: %+v, %v", second, err)
	}
	batchtest.Must(t, writing.Close())
	s.mustCreate(everything)
	if left := glob(filepath.Join(s.Paths.Archive, "*"+files.PartialExt)); len(left) != 0 || s.scalar(`SELECT count(*) FROM archives WHERE state = 'writing'`) != 0 {
		t.Errorf("left behind when it is gone: %v", left)
	}
}

func TestAnInterruptedRunLeavesNothingHalf(t *testing.T) {
	over := errors.New("the time is over")
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 6, MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	for _, at := range []string{"record written", "verified", "marked"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		s.step = func(step string) {
			if step == at {
				cancel(over)
			}
		}
		if _, err := s.Create(ctx, everything); !errors.Is(err, over) {
			t.Errorf("interrupted at %s: %v", at, err)
		}
		cancel(nil)
		s.mustHaveAll("interrupted at "+at, s.inArchives())
	}
	s.step = nil
	if s.mustCreate(everything); len(s.onDisk()) != 0 {
		t.Errorf("on disk: %v", s.onDisk())
	}
	s.mustVerify()
}

func TestUntilFreeStopsWhenThereIsEnough(t *testing.T) {
	t.Parallel()
	volume := batchtest.Tmpfs(t, "size=20m")
	s := newShelf(t, apitest.Options{Records: 6, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 60, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	enough := s.mustCreate(CreateOptions{Before: "2026-01-01", To: volume, UntilFree: 0.01})
	if len(enough.Archives) != 0 || enough.FreeReached == nil || !*enough.FreeReached {
		t.Errorf("with enough free: %+v", enough)
	}
	if planned := s.mustCreate(CreateOptions{Before: "2026-01-01", To: volume, UntilFree: 0.01, DryRun: true}); len(planned.Archives) != 0 || planned.FreeReached == nil || !*planned.FreeReached || planned.SameVolume {
		t.Errorf("a dry run with enough free: %+v", planned)
	}
	if planned := s.mustCreate(CreateOptions{Before: "2026-01-01", To: volume, UntilFree: 99.99, DryRun: true}); len(planned.Archives) < 2 || *planned.FreeReached || planned.Records != 6 || planned.Files != planned.Archives[0].Files+planned.Archives[1].Files {
		t.Errorf("a dry run with never enough free: %+v", planned)
	}
	all := s.mustCreate(CreateOptions{Before: "2026-01-01", To: volume, UntilFree: 99.99})
	if len(all.Archives) < 2 || *all.FreeReached || len(s.onDisk()) != 0 || all.Archives[0].Month != "2025-03" {
		t.Errorf("with never enough free: %+v", all)
	}
}

// It may be on a volume that is not mounted.
func TestAFolderThatIsGivenIsNotMade(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 1, Photos: apitest.None})
	to := filepath.Join(t.TempDir(), "volume")
	for _, dry := range []bool{true, false} {
		if summary, err := s.create(CreateOptions{Before: "2026-01-01", To: to, DryRun: dry}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("dry %t: %+v, %v", dry, summary, err)
		}
	}
	if _, err := os.Lstat(to); err == nil || !maps.Equal(s.onDisk(), s.originals) {
		t.Errorf("it was made, or something was removed: %v", err)
	}
}

func TestARecordInOtherHandsIsLeftToALaterRun(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 3, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	release := s.takeFirst()
	if first := s.mustCreate(everything); first.Busy != 1 || first.RecordsRemoved != 2 {
		t.Errorf("beside process: %+v", first)
	}
	release()
	if second := s.mustCreate(everything); second.Busy != 0 || second.RecordsRemoved != 1 || second.Archives[0].Name != "noggin-2025-03-2.tar.zst" {
		t.Errorf("after it: %+v", second)
	}
	s.mustHaveAll("at the end", s.inArchives())
	release = s.takeFirst()
	if back, err := s.Restore(t.Context(), RestoreOptions{Target: "noggin-2025-03-2", InPlace: true}); err != nil || back.Busy != 1 || back.Files != 0 || len(s.onDisk()) != 0 {
		t.Errorf("restored beside process: %+v, %v", back, err)
	}
	release()
}

// The command for what a killed run left would not help: no run records a damaged file.
func TestADamagedFileBesideTheWholeOneIsToldAsSuch(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(1)})
	photo := s.FilesEnding(".jpg")[0]
	batchtest.Must(t, os.Truncate(photo, 1000))
	s.MustRun(process.Options{Selector: s.Only(0)})
	summary := s.mustCreate(everything)
	if summary.LeftOutCount != 1 || len(summary.UnknownTips()) != 0 || !strings.Contains(summary.LeftOut[0].Reason, strings.TrimSuffix(filepath.Base(photo), ".jpg")+"-again.jpg beside it is whole") {
		t.Errorf("summary %+v\n%s", summary, s.Logged)
	}
	batchtest.Must(t, os.Rename(photo, filepath.Join(t.TempDir(), "damaged.jpg")))
	if summary := s.mustCreate(everything); summary.LeftOutCount != 0 || summary.RecordsRemoved != 1 {
		t.Errorf("without it: %+v\n%s", summary, s.Logged)
	}
}
