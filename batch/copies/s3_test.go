package copies

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/batch/batchtest"
	"noggin/batch/copies/place"
	"noggin/batch/copies/place/s3test"
	"noggin/batch/files"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// inBucket makes a bucket the world's target. Its objects lie in the folder target.
func (w *world) inBucket(server *s3test.Server, locked bool) {
	w.T.Helper()
	server.MakeBucket(w.T, "copies", locked)
	cfg := DefaultConfig()
	cfg.To, cfg.Endpoint = "s3://copies/mirror", server.URL
	w.copier.Config, w.copier.Keys = cfg, place.Keys{ID: s3test.KeyID, Secret: s3test.Secret}
	w.target = server.Path("copies", "mirror")
}

func TestABucketHoldsEveryFileAndGivesItBack(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	w := newWorld(t, 3)
	w.inBucket(server, false)
	before := server.Requests.Load()
	if s := w.run(); s.Copied != 9 || s.Count != 0 {
		t.Fatalf("%+v\n%s", s, w.Logged)
	}
	if n := server.Requests.Load() - before; n > 9+1 { // one asks for the bucket
		t.Errorf("9 files took %d requests", n)
	}
	w.checkTarget()
	path := w.Value(`SELECT min(file_path) FROM noggin_schema.attachments`)
	other := w.Value(`SELECT max(file_path) FROM noggin_schema.attachments`)
	have := tree(t, w.Output)
	content, err := os.ReadFile(filepath.Join(w.Output, other))
	batchtest.Must(t, err)
	content[9] ^= 1
	batchtest.Must(t, os.Remove(filepath.Join(w.target, "files", path+"."+have[path])),
		os.WriteFile(filepath.Join(w.target, "files", other+"."+have[other]), content, 0o644))
	s, err := w.copier.Verify(t.Context(), 1, VerifyOptions{Deep: true})
	if err != nil || s.Missing != 1 || s.Damaged != 1 || s.Checked != 9 {
		t.Errorf("%+v, %v", s, err)
	}
	if again := w.run(); again.Copied != 2 || again.Count != 0 {
		t.Errorf("%+v", again)
	}
	// The server believes that the damaged object is the one it was given: reading it back
	// shows that it is replaced.
	if s, err := w.copier.Verify(t.Context(), 1, VerifyOptions{Deep: true}); err != nil || s.Count != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	w.checkTarget()
	entries, err := os.ReadDir(w.Output)
	batchtest.Must(t, err)
	for _, entry := range entries {
		if entry.Name() != files.MarkerName {
			batchtest.Must(t, os.RemoveAll(filepath.Join(w.Output, entry.Name())))
		}
	}
	if r, err := w.copier.Restore(t.Context(), RestoreOptions{}); err != nil || r.Files != 9 || r.Count != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if after := tree(t, w.Output); !reflect.DeepEqual(after, have) {
		t.Errorf("restored are\n%v, want\n%v", after, have)
	}
}

func TestPhotographsAreLockedAndReportsAreNot(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	w := newWorld(t, 2)
	w.inBucket(server, true)
	w.copier.Config.Retain = "1 day"
	former := w.Value(`SELECT regexp_replace(min(file_path), '[^/]*$', 'old.jpg') FROM noggin_schema.attachments`)
	batchtest.Must(t, os.WriteFile(filepath.Join(w.Output, former), []byte("former"), 0o644))
	w.Execute(fmt.Sprintf(`INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, size_bytes, hash_sha256, first_version, last_version)
		SELECT '%s', record_tip, 'attachment', attachment_tip, 6, '%x', 1, 1 FROM noggin_schema.attachments ORDER BY file_path LIMIT 1`, former, sha256.Sum256([]byte("former"))))
	if s := w.run(); s.Copied != 7 || s.Count != 0 {
		t.Fatalf("%+v\n%s", s, w.Logged)
	}
	if n := w.Value(`SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind) FROM (SELECT kind, count(*) AS n FROM noggin_schema.copies
		WHERE version_id <> '' AND (retain_until BETWEEN now() + interval '23 hours' AND now() + interval '25 hours') = (kind <> 'report') IS NOT FALSE GROUP BY kind) AS k`); n != "attachment 4, former 1, report 2" {
		t.Errorf("locked as they should be are %s", n)
	}
	to, err := w.copier.openThere(t.Context())
	batchtest.Must(t, err)
	defer files.Release(to)
	id, _, err := w.DB.CopyTargetID(t.Context(), "s3://copies/mirror", server.URL)
	batchtest.Must(t, err)
	all, err := w.DB.CopiesAfter(t.Context(), id, storage.CopyKey{}, 0, 0, 100)
	batchtest.Must(t, err)
	for _, c := range all {
		err := to.Remove(t.Context(), object(c.Kind, c.CopyKey, c.Size), c.VersionID)
		if (c.Kind == storage.CopyReport) != (err == nil) || err != nil && !errors.Is(err, place.ErrLocked) {
			t.Errorf("removing a copy of kind %s: %v", c.Kind, err)
		}
	}
	// A copy that the target keeps is not forgotten.
	w.Execute(`UPDATE noggin_schema.copies SET obsolete_at = now(), retain_until = NULL WHERE kind = 'attachment'`)
	if s := w.run(); s.Removed != 0 || w.Value(`SELECT count(*) FROM noggin_schema.copies WHERE obsolete_at IS NOT NULL`) != "4" {
		t.Errorf("%+v", s)
	}
	// A bucket that cannot lock is an error before anything is copied.
	unlocked := newWorld(t, 1)
	unlocked.inBucket(s3test.Start(t), false)
	unlocked.copier.Config.Retain = "1 day"
	if _, err := unlocked.copier.Run(t.Context(), 1, 0); !errors.Is(err, place.ErrNoLock) {
		t.Errorf("a bucket without Object Lock: %v", err)
	}
	if n := unlocked.Value(`SELECT count(*) FROM noggin_schema.copy_targets`); n != "0" || len(tree(t, filepath.Dir(unlocked.target))) != 0 {
		t.Errorf("%s targets are registered, and the bucket is not empty", n)
	}
}

func TestABrokenNetworkLosesNoCopyAndCountsAgainstNoFile(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	w := newWorld(t, 4)
	w.inBucket(server, false)
	w.copier.Config.Concurrency = 2
	server.Cut(9000) // each connection carries two or three files
	for range 5 {
		if _, err := w.copier.Run(t.Context(), 1, 0); err != nil && !errors.Is(err, place.ErrAway) {
			t.Fatal(err)
		}
	}
	server.Down()
	if w.Value(`SELECT count(*) FROM noggin_schema.copies_due`) != "0" {
		if _, err := w.copier.Run(t.Context(), 1, 0); !errors.Is(err, place.ErrAway) {
			t.Errorf("a server that is gone: %v", err)
		}
	}
	server.Up()
	w.Execute(`UPDATE noggin_schema.copies_due SET due_at = now()`)
	if s := w.run(); s.Count != 0 {
		t.Errorf("%+v", s)
	}
	w.checkTarget()
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies`); n != "12" {
		t.Errorf("%s copies are recorded", n)
	}
}

func TestTwoHostsCopyEachFileOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	cfg := storage.DefaultConfig()
	cfg.URL = w.URL
	db, err := storage.Open(cfg, "copy run")
	batchtest.Must(t, err)
	defer func() { _ = db.Close() }()
	other := *w.copier
	other.DB = db
	var sums [2]RunSummary
	var errs [2]error
	var both sync.WaitGroup
	for i, c := range []*Copier{w.copier, &other} {
		both.Go(func() { sums[i], errs[i] = c.Run(t.Context(), int64(i+1), 0) })
	}
	both.Wait()
	batchtest.Must(t, errs[0], errs[1])
	if sums[0].Copied+sums[1].Copied != 18 || sums[0].AlreadyThere+sums[1].AlreadyThere != 0 {
		t.Errorf("two hosts copied %+v and %+v", sums[0], sums[1])
	}
	w.checkTarget()
}

func TestACopyOnAnotherFileSystem(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "noggin-copy-")
	if err != nil {
		t.Skip("no file system in /dev/shm")
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := newWorld(t, 2)
	if same, err := files.SameVolume(dir, w.Output); err != nil || same {
		t.Skip("/dev/shm is no other file system")
	}
	w.target, w.copier.Config.To = dir, dir
	if faults, warnings, err := w.copier.Probe(t.Context()); err != nil || len(faults)+len(warnings) > 0 {
		t.Errorf("%+v, %+v, %v", faults, warnings, err)
	}
	w.run()
	w.checkTarget()
}

// Lost replies of the database, and connections that break, repeat nothing that shows.
func TestLostRepliesOfTheDatabaseCountNoCopyTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	proxy := storagetest.NewProxy(t, w.URL)
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.RetryFor = proxy.URL(w.URL), 20*time.Second
	db, err := storage.Open(cfg, "copy run")
	batchtest.Must(t, err)
	defer func() { _ = db.Close() }()
	w.copier.DB = db
	proxy.LoseCommits(4)
	s := w.run()
	proxy.LoseReply(nil)
	if proxy.Lost() != 4 {
		t.Errorf("%d replies were lost, want 4: the test shows nothing", proxy.Lost())
	}
	// The claim whose reply was lost is due again when its lease ends.
	w.Execute(`UPDATE noggin_schema.copies_due SET due_at = now()`)
	rest := w.run()
	if s.Copied+rest.Copied != 12 || s.Count+rest.Count != 0 {
		t.Errorf("%+v, then %+v", s, rest)
	}
	if n := w.Value(`SELECT copied_files FROM noggin_schema.copy_targets`); n != "12" {
		t.Errorf("%s copies are counted", n)
	}
	if strings.Contains(w.Logged.String(), "level=ERROR") {
		t.Error(w.Logged)
	}
	w.checkTarget()
}
