package copies

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive"
	"noggin/batch/archive/shelf"
	"noggin/batch/batchtest"
	"noggin/batch/claims"
	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// world is a mirror with complete records and a copier to a folder.
type world struct {
	*batchtest.Mirror
	copier *Copier
	target string
	paths  files.Paths
}

func newWorld(t *testing.T, records int) *world {
	t.Helper()
	m := batchtest.NewMirror(t, apitest.Options{
		Records: records, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000},
		Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC),
	})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	dir := t.TempDir()
	w := &world{Mirror: m, target: t.TempDir(), paths: files.Paths{Output: m.Output, Archive: filepath.Join(dir, "archive"), Backups: filepath.Join(dir, "backups")}}
	cfg := DefaultConfig()
	cfg.To = w.target
	w.copier = &Copier{DB: m.DB, Config: cfg, Paths: w.paths, ClaimLease: m.Processing.ClaimLease, Log: m.Log}
	return w
}

// run copies, and an error ends the test.
func (w *world) run() RunSummary {
	w.T.Helper()
	summary, err := w.copier.Run(w.T.Context(), 1, 0)
	if err != nil {
		w.T.Fatalf("copy run: %v\n%s", err, w.Logged)
	}
	return summary
}

// runner is a run that has opened the output folder and the target.
func (w *world) runner() *runner {
	w.T.Helper()
	r := &runner{Copier: w.copier, lease: lease, shelf: &shelf.Shelf{DB: w.DB, Paths: w.paths}}
	output, err := files.OpenOutput(w.Output)
	batchtest.Must(w.T, err, r.open(w.T.Context()))
	r.output = output
	to := r.to // a test may put another in its place
	w.T.Cleanup(func() {
		files.Release(to)
		files.Release(output)
	})
	return r
}

// tree returns the SHA-256 of each file below dir, noggin's own left out.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		found[strings.TrimPrefix(path, dir+"/")] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// checkTarget makes sure that the target has a copy of every file of the output folder,
// and nothing else but what begins with other.
func (w *world) checkTarget(other ...string) {
	w.T.Helper()
	have := tree(w.T, w.target)
	for path, sum := range tree(w.T, w.Output) {
		key := "files/" + path + "." + sum
		if have[key] != sum {
			w.T.Errorf("there is no copy of %s: %q", path, have[key])
		}
		delete(have, key)
	}
	for key := range have {
		if !slices.ContainsFunc(other, func(o string) bool { return strings.HasPrefix(key, o) }) {
			w.T.Errorf("the target also has %s", key)
		}
	}
}

func TestEveryFileIsCopiedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	first := w.run()
	if !first.Registered || first.Copied != 9 || first.Count != 0 {
		t.Errorf("the first run: %+v", first)
	}
	w.checkTarget()
	if again := w.run(); again.Registered || again.Copied != 0 {
		t.Errorf("the second run: %+v", again)
	}
	// A new file is due by itself; the walk is over.
	w.Execute(`UPDATE noggin_schema.attachments SET file_path = file_path || 'x' WHERE attachment_sequence = 1 AND record_tip = (SELECT min(record_tip) FROM noggin_schema.attachments)`)
	path := w.Value(`SELECT file_path FROM noggin_schema.attachments WHERE file_path LIKE '%x'`)
	batchtest.Must(t, os.Rename(filepath.Join(w.Output, strings.TrimSuffix(path, "x")), filepath.Join(w.Output, path)))
	killed := filepath.Join(w.target, files.TempFolder, "1.part") // of a run long ago
	long := time.Now().Add(-2 * files.TempAge)
	batchtest.Must(t, os.WriteFile(killed, []byte("begun"), 0o644), os.Chtimes(killed, long, long))
	if third := w.run(); third.Copied != 1 {
		t.Errorf("the run after a new file: %+v", third)
	}
	if _, err := os.Lstat(killed); err == nil {
		t.Error("what a killed run left in the target stays there")
	}
	targets, err := w.DB.CopyTargets(t.Context())
	if err != nil || len(targets) != 1 || targets[0].Files != 10 || targets[0].Due != 0 || targets[0].URL != w.target {
		t.Errorf("%+v, %v", targets, err)
	}
	// One that no trigger made due, as rows of a restored table, is found after a verification.
	w.Execute(`SET session_replication_role = replica; UPDATE noggin_schema.attachments SET file_path = file_path || 'y' WHERE attachment_sequence = 2 AND record_tip = (SELECT min(record_tip) FROM noggin_schema.attachments)`)
	path = w.Value(`SELECT file_path FROM noggin_schema.attachments WHERE file_path LIKE '%y'`)
	batchtest.Must(t, os.Rename(filepath.Join(w.Output, strings.TrimSuffix(path, "y")), filepath.Join(w.Output, path)))
	if unseen := w.run(); unseen.Copied != 0 {
		t.Errorf("a trigger made it due: %+v", unseen)
	}
	if verified, err := w.copier.Verify(t.Context(), 1, VerifyOptions{}); err != nil || verified.Checked != 10 || verified.Count != 0 {
		t.Errorf("%+v, %v", verified, err)
	}
	if found := w.run(); found.Copied != 1 {
		t.Errorf("the run after a verification: %+v", found)
	}
}

func TestADamagedOriginalIsNotCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	path := w.Value(`SELECT min(file_path) FROM noggin_schema.attachments`)
	at := filepath.Join(w.Output, path)
	good, err := os.ReadFile(at)
	batchtest.Must(t, err)
	flipped := slices.Clone(good)
	flipped[100] ^= 1
	batchtest.Must(t, os.WriteFile(at, flipped, 0o644))
	lost := w.Value(`SELECT max(file_path) FROM noggin_schema.attachments`)
	batchtest.Must(t, os.Rename(filepath.Join(w.Output, lost), filepath.Join(w.Output, ".lost")))
	s := w.run()
	if s.Copied != 4 || s.Count != 2 || len(s.First) != 2 {
		t.Fatalf("%+v", s)
	}
	slices.SortFunc(s.First, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	if s.First[0].Path != path || !strings.Contains(s.First[0].What, "the original is damaged, and was not copied") ||
		s.First[1].Path != lost || !strings.Contains(s.First[1].What, "missing") {
		t.Errorf("%+v", s.First)
	}
	for key := range tree(t, w.target) {
		if strings.Contains(key, filepath.Base(path)) {
			t.Errorf("the damaged file became %s", key)
		}
	}
	batchtest.Must(t, os.WriteFile(at, good, 0o644), os.Rename(filepath.Join(w.Output, ".lost"), filepath.Join(w.Output, lost)))
	if s := w.run(); s.Copied != 0 {
		t.Errorf("a file that failed is tried again at once: %+v", s)
	}
	w.Execute(`UPDATE noggin_schema.copies_due SET due_at = now()`)
	if s := w.run(); s.Copied != 2 || s.Count != 0 {
		t.Errorf("after the originals are whole again: %+v", s)
	}
	w.checkTarget()
}

func TestFilesThatLeftTheDiskAreCopiedFromTheirArchives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	before := tree(t, w.Output)
	archiver := &archive.Archiver{DB: w.DB, Paths: w.paths, ClaimLease: w.Processing.ClaimLease, Log: w.Log}
	if made, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01"}); err != nil || made.FilesRemoved != 9 {
		t.Fatal(made, err)
	}
	s := w.run()
	if s.Copied != 9 || s.FromArchives != 9 || s.Count != 0 {
		t.Fatalf("%+v\n%s", s, w.Logged)
	}
	have := tree(t, w.target)
	for path, sum := range before {
		if have["files/"+path+"."+sum] != sum {
			t.Errorf("there is no copy of the archived %s", path)
		}
	}
	// In place, files stay in an archive that is there, and come back when it is lost.
	if r, err := w.copier.Restore(t.Context(), RestoreOptions{}); err != nil || r.InArchives != 9 || r.Files != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	batchtest.Must(t, os.RemoveAll(w.paths.Archive))
	r, err := w.copier.Restore(t.Context(), RestoreOptions{LostArchives: []string{AllArchives}})
	if err != nil || r.Files != 9 || r.Unarchived != 9 || r.Count != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if after := tree(t, w.Output); !reflect.DeepEqual(after, before) {
		t.Errorf("restored are\n%v, want\n%v", after, before)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE archived OR report_archive_id IS NOT NULL`); n != "0" {
		t.Errorf("%s records are still archived", n)
	}
}

func TestAVerificationFindsLostAndRottenCopiesAndTheyAreMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.run()
	keys := []string{}
	for key := range tree(t, w.target) {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	lost, cut, flipped := filepath.Join(w.target, keys[0]), filepath.Join(w.target, keys[1]), filepath.Join(w.target, keys[4])
	content, err := os.ReadFile(flipped)
	batchtest.Must(t, err)
	content[7] ^= 1
	batchtest.Must(t, os.Remove(lost), os.Truncate(cut, 10), os.WriteFile(flipped, content, 0o644))
	verify := func(opts VerifyOptions) VerifySummary {
		t.Helper()
		s, err := w.copier.Verify(t.Context(), 1, opts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := verify(VerifyOptions{}); s.Checked != 9 || s.Missing != 1 || s.Damaged != 1 {
		t.Errorf("presence and size: %+v", s)
	}
	var all VerifySummary
	for part := 1; part <= 3; part++ {
		s := verify(VerifyOptions{Deep: true, Part: part, Parts: 3})
		all.Checked, all.Missing, all.Damaged = all.Checked+s.Checked, all.Missing+s.Missing, all.Damaged+s.Damaged
	}
	if all.Checked != 9 || all.Missing != 1 || all.Damaged != 2 {
		t.Errorf("deep, in three parts: %+v", all)
	}
	if s := w.run(); s.Copied != 3 || s.Mended != 2 || s.Count != 0 {
		t.Errorf("the run after that: %+v", s)
	}
	w.checkTarget()
	if s := verify(VerifyOptions{Deep: true}); s.Checked != 9 || s.Count != 0 {
		t.Errorf("after mending: %+v", s)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies WHERE verified_at IS NOT NULL AND problem IS NULL`); n != "9" {
		t.Errorf("%s copies are verified", n)
	}
}

func TestATargetThatIsAwayEndsTheRunAndCountsAgainstNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	cfg := w.copier.Config
	w.copier.Config.To = filepath.Join(w.target, "none")
	if _, err := w.copier.Run(t.Context(), 1, 0); !errors.Is(err, place.ErrAway) {
		t.Errorf("a folder that never was: %v", err)
	}
	w.copier.Config = cfg
	w.run()
	marker := filepath.Join(w.target, place.MarkerName)
	batchtest.Must(t, os.Rename(marker, marker+".away"))
	w.Execute(`UPDATE noggin_schema.noggin_data SET report_hash_sha256 = repeat('a', 64)`)
	for name, do := range map[string]func() error{
		"run":     func() error { _, err := w.copier.Run(t.Context(), 1, 0); return err },
		"verify":  func() error { _, err := w.copier.Verify(t.Context(), 1, VerifyOptions{}); return err },
		"restore": func() error { _, err := w.copier.Restore(t.Context(), RestoreOptions{}); return err },
	} {
		if err := do(); !errors.Is(err, place.ErrAway) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies_due WHERE failures = 0`); n != "2" {
		t.Errorf("%s files are due without a failure, want 2", n)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies WHERE problem IS NOT NULL`); n != "0" {
		t.Errorf("%s copies have a problem", n)
	}
}

func TestALostDiskComesBackFromTheCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	w.run()
	before := tree(t, w.Output)
	entries, err := os.ReadDir(w.Output)
	batchtest.Must(t, err)
	for _, entry := range entries {
		if entry.Name() != files.MarkerName {
			batchtest.Must(t, os.RemoveAll(filepath.Join(w.Output, entry.Name())))
		}
	}
	// A file that came after the last backup of the database has no row: its key is known.
	w.Execute(`DELETE FROM noggin_schema.copies WHERE kind = 'report'`)
	tip := w.Value(`SELECT min(tip) FROM noggin_schema.noggin_data`)
	if s, err := w.copier.Restore(t.Context(), RestoreOptions{Selector: storage.Selector{Tips: []string{tip}}}); err != nil || s.Files != 3 || s.Records != 1 {
		t.Fatalf("one record: %+v, %v", s, err)
	}
	other := w.Value(`SELECT max(file_path) FROM noggin_schema.attachments WHERE record_tip <> $$` + tip + `$$`)
	batchtest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(w.Output, other)), 0o755), os.WriteFile(filepath.Join(w.Output, other), []byte("in the way"), 0o644))
	s, err := w.copier.Restore(t.Context(), RestoreOptions{})
	if err != nil || s.Files != 8 || s.AlreadyThere != 3 || s.Count != 1 || !strings.Contains(s.First[0].What, "in the way") {
		t.Errorf("all: %+v, %v", s, err)
	}
	batchtest.Must(t, os.Remove(filepath.Join(w.Output, other)))
	if s, err = w.copier.Restore(t.Context(), RestoreOptions{}); err != nil || s.Files != 1 || s.AlreadyThere != 11 {
		t.Errorf("the rest: %+v, %v", s, err)
	}
	if after := tree(t, w.Output); !reflect.DeepEqual(after, before) {
		t.Errorf("restored are\n%v, want\n%v", after, before)
	}
	// A rotten copy is not restored.
	key := filepath.Join(w.target, "files", other+"."+before[other])
	batchtest.Must(t, os.WriteFile(key, []byte(strings.Repeat("x", 2500)), 0o644), os.Remove(filepath.Join(w.Output, other)))
	if s, err = w.copier.Restore(t.Context(), RestoreOptions{}); err != nil || s.Files != 0 || s.Count != 1 || !strings.Contains(s.First[0].What, "cannot be used") {
		t.Errorf("with a rotten copy: %+v, %v", s, err)
	}
	elsewhere := t.TempDir()
	if s, err = w.copier.Restore(t.Context(), RestoreOptions{To: elsewhere, Selector: storage.Selector{Tips: []string{tip}}}); err != nil || s.Files != 3 || s.RunID != 0 {
		t.Errorf("elsewhere: %+v, %v", s, err)
	}
}

func TestReplacedReportsAndRemovedBackupsLeaveTheTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	batchtest.Must(t, os.MkdirAll(w.paths.Backups, 0o755))
	var sums []string
	for i, text := range []string{"dump one", "dump two"} {
		sum := sha256.Sum256([]byte(text))
		sums = append(sums, hex.EncodeToString(sum[:]))
		at := filepath.Join(w.paths.Backups, "noggin_db_2026010"+string(rune('1'+i))+"_000000.dump")
		batchtest.Must(t, os.WriteFile(at, []byte(text), 0o644), os.WriteFile(at+".json", []byte("{}"+text), 0o644),
			w.DB.RecordBackup(t.Context(), sums[i], at, int64(len(text)), time.Now().Add(time.Duration(i)*time.Hour)))
	}
	if s := w.run(); s.Copied != 6+4 || s.Count != 0 {
		t.Fatalf("%+v", s)
	}
	w.checkTarget("backups/")
	path := w.Value(`SELECT min(report_path) FROM noggin_schema.noggin_data`)
	text := []byte("another text")
	sum := sha256.Sum256(text)
	batchtest.Must(t, os.WriteFile(filepath.Join(w.Output, path), text, 0o644))
	w.Execute(`UPDATE noggin_schema.noggin_data SET report_hash_sha256 = '` + hex.EncodeToString(sum[:]) + `', report_size_bytes = 12 WHERE report_path = $$` + path + `$$`)
	batchtest.Must(t, w.DB.NoteBackupsRemoved(t.Context(), sums))
	if s := w.run(); s.Copied != 1 || s.Removed != 3 {
		t.Errorf("%+v", s)
	}
	w.checkTarget("backups/noggin_db_20260102_000000.dump")
	folder := t.TempDir()
	back, err := w.copier.RestoreBackup(t.Context(), "", folder)
	if err != nil || back.SHA != sums[1] || !reflect.DeepEqual(len(tree(t, folder)), 2) {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := w.copier.RestoreBackup(t.Context(), "noggin_db_20260101_000000.dump", folder); !errors.Is(err, ErrNoBackup) {
		t.Errorf("a backup that is removed: %v", err)
	}
}

// A host that was renamed, or is gone, leaves backups that it does not copy any more.
func TestBackupsOfAHostThatIsGoneAreCopiedOrGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	batchtest.Must(t, os.MkdirAll(w.paths.Backups, 0o755))
	backup := func(name string, there bool, age time.Duration) {
		t.Helper()
		at, sum := filepath.Join(w.paths.Backups, name), sha256.Sum256([]byte(name))
		if there {
			batchtest.Must(t, os.WriteFile(at, []byte(name), 0o644), os.WriteFile(at+".json", []byte("{}"+name), 0o644))
		}
		batchtest.Must(t, w.DB.RecordBackup(t.Context(), hex.EncodeToString(sum[:]), at, int64(len(name)), time.Now().Add(-age)))
	}
	backup("ahead.dump", true, -72*time.Hour) // from a clock that was ahead: it is no newer one
	w.run()
	backup("there.dump", true, 4*time.Hour)
	backup("lost.dump", false, 2*time.Hour)
	w.Execute(`UPDATE noggin_schema.copies_due SET host = 'old-name'`)
	if s := w.run(); s.Copied != 0 || s.Count != 0 {
		t.Errorf("within a day: %+v", s)
	}
	w.Execute(`UPDATE noggin_schema.copies_due SET due_since = now() - interval '26 hours'`)
	if s := w.run(); s.Copied != 2 || s.Count != 1 || !strings.Contains(s.First[0].What, "host old-name, which made it") {
		t.Errorf("after a day: %+v", s)
	}
	backup("newer.dump", true, time.Hour)
	w.run()
	w.Execute(`UPDATE noggin_schema.copies_due SET due_at = now()`)
	if s := w.run(); s.Count != 0 || s.Gone != 1 || w.Value(`SELECT count(*) FROM noggin_schema.copies_due`) != "0" {
		t.Errorf("with a newer one: %+v", s)
	}
}

// slowDisk is a target whose flush takes a while.
type slowDisk struct {
	target
	takes time.Duration
}

func (s slowDisk) Flush() error { time.Sleep(s.takes); return nil }

func TestResultsAreRecordedAfterALongFlushUnlessTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	proxy := storagetest.NewProxy(t, w.URL)
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.RetryFor = proxy.URL(w.URL), 2*time.Second
	db, err := storage.Open(cfg, "copy run")
	batchtest.Must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	copier := *w.copier
	copier.DB = db
	id, err := db.RegisterCopyTarget(t.Context(), w.target, "")
	batchtest.Must(t, err)
	r := &runner{Copier: &copier, id: id, to: slowDisk{takes: cfg.RetryFor + 100*time.Millisecond}}
	if err := r.record(t.Context(), nil); err != nil {
		t.Errorf("after a long flush: %v", err)
	}
	r.to = slowDisk{}
	proxy.Stall()
	if err := r.record(t.Context(), nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without the database: %v", err)
	}
}

func TestAnInterruptedRunKeepsWhatItCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	w.copier.Config.Concurrency = 1
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.copier.Progress = func(p Progress) {
		if p.Done == 5 {
			cancel()
		}
	}
	if _, err := w.copier.Run(ctx, 1, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run: %v", err)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies`); n != "5" {
		t.Errorf("%s copies are recorded, want 5", n)
	}
	w.copier.Progress = nil
	if s := w.run(); s.Copied != 7 || s.AlreadyThere != 0 {
		t.Errorf("the next run: %+v", s)
	}
	w.checkTarget()
}

// The next run need not wait for the end of a lease.
func TestCopiesThatCouldNotBeRecordedAreDueAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.Execute(`ALTER TABLE noggin_schema.copies ADD CONSTRAINT none CHECK (false) NOT VALID`)
	if _, err := w.copier.Run(t.Context(), 1, 0); err == nil {
		t.Error("the run recorded its copies")
	}
	w.Execute(`ALTER TABLE noggin_schema.copies DROP CONSTRAINT none`)
	if s := w.run(); s.Copied != 6 || s.AlreadyThere != 6 {
		t.Errorf("the next run: %+v", s)
	}
	w.checkTarget()
	w.Execute(`ALTER TABLE noggin_schema.copies ADD CONSTRAINT none CHECK (false) NOT VALID`)
	if _, err := w.copier.Verify(t.Context(), 1, VerifyOptions{}); err == nil {
		t.Error("the verification recorded what it found")
	}
}

// unflushed is a target that cannot bring to disk what it took.
type unflushed struct{ target }

func (unflushed) Flush() error { return errors.New("the flush failed") }

func TestWhatWasNotFlushedIsNotRecordedAndDueAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.runner()
	r.to = unflushed{r.to}
	if err := r.copyDue(t.Context()); err == nil || !strings.Contains(err.Error(), "the flush failed") {
		t.Errorf("error %v", err)
	}
	if n := w.Value(`SELECT (SELECT count(*) FROM noggin_schema.copies) || ' ' || count(*) FROM noggin_schema.copies_due WHERE due_at <= now()`); n != "0 6" {
		t.Errorf("copies and files that are due: %s, want 0 6", n)
	}
}

func TestARunOfManyBatchesRecordsWhatItCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 300)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done int64
	w.copier.Progress = func(p Progress) {
		if done = p.Done; done >= 2*batchSize+30 {
			cancel()
		}
	}
	if _, err := w.copier.Run(ctx, 1, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run: %v", err)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies`); n != strconv.FormatInt(done, 10) {
		t.Errorf("%s copies are recorded of %d", n, done)
	}
	w.copier.Progress = nil
	if s := w.run(); s.Copied != 900-done || s.AlreadyThere != 0 {
		t.Errorf("the next run: %+v", s)
	}
	w.checkTarget()
	if _, err := w.copier.Verify(t.Context(), 1, VerifyOptions{Deep: true}); err != nil {
		t.Fatal(err)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies WHERE verified_at IS NOT NULL`); n != "900" {
		t.Errorf("%s copies are recorded as verified", n)
	}
}

func TestTheTargetIsReadFromTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want string // of the error
	}{
		{Config{}, ""},
		{Config{To: "/mnt/b"}, ""},
		{Config{To: "mnt/b"}, "absolute"},
		{Config{To: "/"}, "absolute"},
		{Config{To: "/mnt/b", Retain: "7 years"}, "Object Lock"},
		{Config{To: "/mnt/b", Endpoint: "https://x"}, "is a folder"},
		{Config{To: "s3://bucket/a/b", Retain: "7 years", Endpoint: "http://127.0.0.1:9000"}, ""},
		{Config{To: "s3://Bucket"}, "name of a bucket"},
		{Config{To: "s3://bucket//a//b"}, "prefix"},
		{Config{To: "s3://bucket", Retain: "soon"}, "retain"},
		{Config{To: "s3://bucket", Endpoint: "https://user:pw@host"}, "endpoint"},
		{Config{To: "s3://bucket", Endpoint: "host:9000"}, "endpoint"},
		{Config{To: "s3://bucket", Region: "a/b"}, "region"},
		{Config{To: "s3://bucket", Retain: "0 days"}, "retain"},
		{Config{Concurrency: 64}, ""},
		{Config{Concurrency: 65}, "concurrency"},
		{Config{Concurrency: -1}, "concurrency"},
	} {
		if c.cfg.Region == "" {
			c.cfg.Region = "us-east-1"
		}
		if c.cfg.Concurrency == 0 {
			c.cfg.Concurrency = 1
		}
		err := c.cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "pw@")) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	if err := (Config{}).Validate(); err == nil {
		t.Error("no file is copied at a time")
	}
	now := time.Date(2026, 2, 28, 1, 2, 3, 4, time.UTC)
	for retain, want := range map[string]string{"7 years": "2033-02-28", "1 month": "2026-03-28", "2weeks": "2026-03-14", "90 days": "2026-05-29"} {
		if got := (Config{Retain: retain}).retainUntil(now).Format(time.DateOnly); got != want {
			t.Errorf("%s: %s, want %s", retain, got, want)
		}
	}
}

func TestAKeyEndsInTheSHA256AndFitsIntoAName(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("a", 64)
	if got := object(storage.CopyFormer, storage.CopyKey{Path: "2025/09/x/a.jpg", SHA256: sum}, 1).Key; got != "files/2025/09/x/a.jpg."+sum {
		t.Error(got)
	}
	long := object(storage.CopyReport, storage.CopyKey{Path: "f/" + strings.Repeat("ü", 127), SHA256: sum}, 1).Key
	if name := filepath.Base(long); len(name) > 255 || !strings.HasSuffix(name, "."+sum) || !strings.HasPrefix(name, "üüü") {
		t.Errorf("%d bytes: %s", len(name), name)
	}
	if got := object(storage.CopyManifest, storage.CopyKey{Path: "/b/n.dump.json", SHA256: sum}, 1).Key; got != "backups/n.dump.json."+sum {
		t.Error(got)
	}
}

// Of a record whose files are in two archives, only those of the missing one come back.
func TestFilesStayInTheArchiveThatIsThereThoughAnotherOfTheirRecordIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	archiver := &archive.Archiver{DB: w.DB, Paths: w.paths, ClaimLease: w.Processing.ClaimLease, Log: w.Log}
	create := func() archive.Created {
		t.Helper()
		made, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01"})
		if err != nil || len(made.Archives) != 1 {
			t.Fatal(made, err)
		}
		return made.Archives[0]
	}
	first := create()
	w.Server.Edit(w.Server.Record(0).Tip, apitest.Edit{Add: []string{"attachments"}})
	if s := w.MustRun(process.Options{Refresh: true, UntilEmpty: true}); s.Changed != 1 {
		t.Fatalf("%+v", s)
	}
	second := create()
	if s := w.run(); s.FromArchives != int64(first.Files+second.Files) || s.Count != 0 {
		t.Fatalf("%+v", s)
	}
	batchtest.Must(t, os.Remove(first.Path))
	r, err := w.copier.Restore(t.Context(), RestoreOptions{})
	if err != nil || r.InArchives != int64(second.Files) || r.Unarchived != int64(first.Files) || r.Count != 0 {
		t.Errorf("archives of %d and %d files: %+v, %v", first.Files, second.Files, r, err)
	}
}

func TestAnArchiveIsNotMissingAsTheDatabaseDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r := &restorer{Copier: w.copier, stays: map[string]bool{}}
	if _, err := r.staysIn(ended, "noggin-2025-03.tar.zst"); !errors.Is(err, context.Canceled) || len(r.stays) > 0 {
		t.Errorf("%v, %v", err, r.stays)
	}
}

// What was restored under a claim that was lost is in the database as it was.
func TestALostClaimUnarchivesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	archiver := &archive.Archiver{DB: w.DB, Paths: w.paths, ClaimLease: w.Processing.ClaimLease, Log: w.Log}
	if _, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01"}); err != nil {
		t.Fatal(err)
	}
	batchtest.Must(t, os.RemoveAll(w.paths.Archive))
	tip := w.Server.Record(0).Tip
	records, err := w.DB.RecordFiles(t.Context(), []string{tip})
	batchtest.Must(t, err)
	r := &restorer{Copier: w.copier, stays: map[string]bool{}, keeper: claims.NewKeeper(w.DB, w.Log, 1, time.Minute)}
	r.to, err = w.copier.openThere(t.Context())
	batchtest.Must(t, err)
	defer files.Release(r.to)
	r.output, err = files.OpenOutput(w.Output)
	batchtest.Must(t, err)
	defer files.Release(r.output)
	batchtest.Must(t, r.restoreRecord(t.Context(), records[0], storage.Claim{Tip: tip, Token: -1}, true))
	if r.summary.Files != 3 || r.summary.Unarchived != 0 || r.summary.Busy != 1 {
		t.Errorf("%+v", r.summary)
	}
}

// A copy of a backup without that of its manifest is one that a killed run began.
func TestTheNewestBackupIsOneWithAManifest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	batchtest.Must(t, os.MkdirAll(w.paths.Backups, 0o755))
	for _, day := range []string{"01", "02"} {
		text := "dump of " + day
		sum := sha256.Sum256([]byte(text))
		at := filepath.Join(w.paths.Backups, "noggin_db_202601"+day+"_000000.dump")
		batchtest.Must(t, os.WriteFile(at, []byte(text), 0o644), os.WriteFile(at+".json", []byte("{}"+text), 0o644),
			w.DB.RecordBackup(t.Context(), hex.EncodeToString(sum[:]), at, int64(len(text)), time.Now()))
	}
	w.run()
	newest, err := filepath.Glob(filepath.Join(w.target, "backups", "noggin_db_20260102_000000.dump.json.*"))
	if err != nil || len(newest) != 1 {
		t.Fatal(newest, err)
	}
	folder := t.TempDir()
	older, err := filepath.Glob(filepath.Join(w.target, "backups", "noggin_db_20260101_000000.dump.*"))
	batchtest.Must(t, err)
	for _, at := range older { // copied again, after it was damaged
		batchtest.Must(t, os.Chtimes(at, time.Now().Add(time.Hour), time.Now().Add(time.Hour)))
	}
	batchtest.Must(t, os.WriteFile(newest[0], []byte("damaged"), 0o644))
	if back, err := w.copier.RestoreBackup(t.Context(), "", folder); err == nil || filepath.Base(back.Path) != "noggin_db_20260102_000000.dump" || len(tree(t, folder)) > 0 {
		t.Errorf("with a damaged manifest: %+v, %v, %v", back, err, tree(t, folder))
	}
	batchtest.Must(t, os.Remove(newest[0]))
	back, err := w.copier.RestoreBackup(t.Context(), "", folder)
	if err != nil || filepath.Base(back.Path) != "noggin_db_20260101_000000.dump" || len(tree(t, folder)) != 2 {
		t.Errorf("%+v, %v, %v", back, err, tree(t, folder))
	}
	if info, err := os.Stat(back.Path); err != nil || info.Mode()&0o007 != 0 {
		t.Errorf("every user of the host may read it: %v, %v", info.Mode(), err)
	}
	back, err = w.copier.RestoreBackup(t.Context(), "noggin_db_20260102_000000.dump", folder)
	if err != nil || len(tree(t, folder)) != 3 || !strings.Contains(w.Logged.String(), "no manifest") {
		t.Errorf("by its name: %+v, %v\n%s", back, err, w.Logged)
	}
}

func TestAManifestIsCopiedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	batchtest.Must(t, os.MkdirAll(w.paths.Backups, 0o755))
	at := filepath.Join(w.paths.Backups, "noggin_db_20260101_000000.dump")
	sum := sha256.Sum256([]byte("dump"))
	batchtest.Must(t, os.WriteFile(at, []byte("dump"), 0o644), os.WriteFile(at+".json", make([]byte, mostManifest+1), 0o644),
		w.DB.RecordBackup(t.Context(), hex.EncodeToString(sum[:]), at, 4, time.Now()))
	if s := w.run(); s.Count != 1 || !strings.Contains(s.First[0].What, "manifest") || s.Copied != 3 { // the files of the record
		t.Errorf("%+v", s)
	}
	batchtest.Must(t, os.Remove(at+".json"))
	w.Execute(`UPDATE noggin_schema.copies_due SET due_at = now()`)
	if s := w.run(); s.Count != 1 || !strings.Contains(s.First[0].What, "its manifest cannot be read") || s.Copied+s.Gone != 0 {
		t.Errorf("without a manifest: %+v", s)
	}
}

func TestWhatIsFetchedAgainOrLostWithItsArchiveIsNotCopied(t *testing.T) {
	t.Parallel()
	due := storage.DueCopy{CopyKey: storage.CopyKey{Path: "a", SHA256: "0a"}}
	for _, test := range []struct {
		file   storage.File
		copied bool
	}{
		{storage.File{Path: "a", SHA256: "0A", AttachmentTip: "t", Complete: true}, true},
		{storage.File{Path: "a", SHA256: "0A"}, true}, // a report
		{storage.File{Path: "a", SHA256: "0A", AttachmentTip: "t"}, false},
		{storage.File{Path: "a", SHA256: "0A", AttachmentTip: "t", Complete: true, ArchiveLost: true}, false},
		{storage.File{Path: "a", SHA256: "0A", ArchiveLost: true}, false},
		{storage.File{Path: "b", SHA256: "0A"}, false},
		{storage.File{Path: "a", SHA256: "0B"}, false},
	} {
		if _, copied := current(due, []storage.File{test.file}); copied != test.copied {
			t.Errorf("%+v is copied: %t", test.file, copied)
		}
	}
}

func TestASummaryListsTheFirstProblemsAndCountsAll(t *testing.T) {
	t.Parallel()
	var p Problems
	for range mostProblems + 5 {
		p.add(slog.New(slog.DiscardHandler), "a", "b")
	}
	if len(p.First) != mostProblems || p.Count != mostProblems+5 {
		t.Errorf("%d of %d are listed", len(p.First), p.Count)
	}
}

func TestAnAddressWithoutTLSIsToldOfUnlessItIsThisHost(t *testing.T) {
	t.Parallel()
	for endpoint, told := range map[string]bool{
		"": false, "https://s3.example.com": false, "http://s3.example.com": true, "http://10.0.0.5:9000": true,
		"http://localhost:9000": false, "http://127.0.0.1:9000": false, "http://[::1]:9000": false,
	} {
		if cleartext(endpoint) != told {
			t.Errorf("%s is told of: %t", endpoint, !told)
		}
	}
}
