package copies

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/archive"
	"noggin/batch/batchtest"
	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/storage"
)

// A backup is recorded before it has its name.
func TestABackupThatGetsItsNameInAMomentIsCopiedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	batchtest.Must(t, os.MkdirAll(w.paths.Backups, 0o755))
	at := filepath.Join(w.paths.Backups, "noggin_db_20260101_000000.dump")
	sum := sha256.Sum256([]byte("dump"))
	batchtest.Must(t, os.WriteFile(at+files.PartialExt, []byte("dump"), 0o644), os.WriteFile(at+".json", []byte("{}"), 0o644),
		w.DB.RecordBackup(t.Context(), hex.EncodeToString(sum[:]), at, 4, time.Now()))
	if s := w.run(); s.Copied != 3 || s.Gone != 0 || s.Count != 0 { // the files of the record
		t.Errorf("before it has its name: %+v", s)
	}
	batchtest.Must(t, os.Rename(at+files.PartialExt, at))
	w.Execute(`UPDATE noggin_schema.copies_due SET due_at = now()`)
	if s := w.run(); s.Copied != 2 {
		t.Errorf("when it has its name: %+v", s)
	}
}

// Nobody gives it a name any more, and its file waits for the weekly sweep.
func TestABackupWhoseRunWasKilledBeforeItWasNamedIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	batchtest.Must(t, os.MkdirAll(w.paths.Backups, 0o755))
	at := filepath.Join(w.paths.Backups, "noggin_db_20260101_000000.dump")
	sum, old := sha256.Sum256([]byte("dump")), time.Now().Add(-files.TempAge-time.Minute)
	batchtest.Must(t, os.WriteFile(at+files.PartialExt, []byte("dump"), 0o644), os.Chtimes(at+files.PartialExt, old, old),
		w.DB.RecordBackup(t.Context(), hex.EncodeToString(sum[:]), at, 4, time.Now()))
	if s := w.run(); s.Copied != 3 || s.Gone != 1 || s.Count != 0 {
		t.Errorf("%+v", s)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies_due`); n != "0" {
		t.Errorf("%s files wait to be copied", n)
	}
}

func TestAnOutputFolderThatGoesAwayCountsAgainstNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.copier.Config.Concurrency = 1
	w.copier.Progress = func(Progress) {
		w.copier.Progress = nil
		folders, err := os.ReadDir(w.Output)
		for _, folder := range folders {
			err = errors.Join(err, os.RemoveAll(filepath.Join(w.Output, folder.Name())))
		}
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := w.copier.Run(t.Context(), 1, 0); !errors.Is(err, files.ErrNotMounted) {
		t.Errorf("error %v", err)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies_due WHERE failures > 0 OR due_at > now()`); n != "0" {
		t.Errorf("%s files wait", n)
	}
}

// No trigger makes a file due that is due.
func TestAFileThatComesBackWhileItsBatchIsCopiedStaysDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.runner()
	w.Execute(`UPDATE noggin_schema.attachments SET file_path = file_path`)
	w.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'pending'`)
	due, err := w.DB.ClaimCopies(t.Context(), r.id, batchSize, lease)
	if err != nil || len(due) != 2 {
		t.Fatal(due, err)
	}
	recorded, err := r.copyBatch(t.Context(), due, func() error {
		w.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'complete' WHERE attachment_sequence = 1`)
		return nil
	})
	batchtest.Must(t, err, recorded())
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies_due WHERE due_at <= now()`); n != "1" || r.summary.Gone != 1 {
		t.Errorf("%s files are due, %+v", n, r.summary)
	}
}

// full is a target without room.
type full struct {
	target
	why error
}

func (f full) Put(context.Context, place.Object, place.PutOptions, io.Reader) (place.Stored, error) {
	return place.Stored{}, fmt.Errorf("%w: %w", place.ErrAway, files.WrapDisk("write", "/mnt/b/x", f.why))
}

func TestATargetThatIsFullEndsTheRunAndCountsAgainstNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.runner()
	good := r.to
	for _, why := range []error{unix.ENOSPC, unix.EDQUOT} {
		r.to = full{good, why}
		if err := r.copyDue(t.Context()); !errors.Is(err, place.ErrAway) || r.summary.Count != 0 {
			t.Errorf("%v: %+v, %v", why, r.summary, err)
		}
		if n := w.Value(`SELECT count(*) FROM noggin_schema.copies_due WHERE failures = 0 AND due_at <= now()`); n != "6" {
			t.Errorf("%v: %s files are due, want 6", why, n)
		}
	}
}

func TestARestoreOntoAFullDiskEnds(t *testing.T) {
	t.Parallel()
	volume := batchtest.Tmpfs(t, "size=16k")
	w := newWorld(t, 3)
	w.run()
	if r, err := w.copier.Restore(t.Context(), RestoreOptions{To: filepath.Join(volume, "look")}); !errors.Is(err, unix.ENOSPC) || r.Count != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// stuck is a target to which nothing arrives.
type stuck struct{ target }

func (stuck) Put(ctx context.Context, _ place.Object, _ place.PutOptions, _ io.Reader) (place.Stored, error) {
	<-ctx.Done()
	return place.Stored{}, fmt.Errorf("%w: %w", place.ErrAway, ctx.Err())
}

func TestAFileThatDoesNotArriveInTimeIsToldAndTheOthersStayDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.runner()
	w.Execute(`UPDATE noggin_schema.attachments SET file_path = file_path`)
	good := r.to
	copyNext := func(limit int) {
		t.Helper()
		due, err := w.DB.ClaimCopies(t.Context(), r.id, limit, lease)
		if err != nil || len(due) != limit {
			t.Fatal(due, err)
		}
		recorded, err := r.copyBatch(t.Context(), due, func() error { return nil })
		batchtest.Must(t, err, recorded())
	}
	const state = `SELECT count(*) || ' due, ' || coalesce(sum(failures), 0) || ' failed, ' || count(*) FILTER (WHERE problem LIKE '%--max-time%') || ' told, ' ||
		count(*) FILTER (WHERE due_at <= now()) || ' at once' FROM noggin_schema.copies_due`
	r.to, r.until, r.end = stuck{good}, time.Now().Add(time.Hour), time.Now().Add(50*time.Millisecond)
	copyNext(1)
	if got := w.Value(state); got != "2 due, 1 failed, 1 told, 1 at once" || r.summary.Count != 1 {
		t.Errorf("after a file that did not arrive: %s, %+v", got, r.summary)
	}
	// Its turn comes after the time is over.
	r.to, r.until, r.end = good, time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	copyNext(1)
	if got := w.Value(state); got != "2 due, 1 failed, 1 told, 1 at once" || r.summary.Copied != 0 {
		t.Errorf("after the time was over: %s, %+v", got, r.summary)
	}
}

// slow is a target to which the next file begins to arrive once wait returns.
type slow struct {
	target
	wait func()
}

func (s slow) Put(ctx context.Context, o place.Object, opts place.PutOptions, content io.Reader) (place.Stored, error) {
	s.wait()
	return s.target.Put(ctx, o, opts, content)
}

// Another run takes a file at the end of its lease, and a photograph may take longer to arrive.
func TestALongRunKeepsItsFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.runner()
	r.lease = time.Second
	renewals := 0
	r.to = slow{r.to, sync.OnceFunc(func() {
		taken := w.Value(`SELECT max(due_at)::text FROM noggin_schema.copies_due`)
		for until := time.Now().Add(30 * time.Second); time.Now().Before(until) && renewals < 2; time.Sleep(20 * time.Millisecond) {
			if due := w.Value(`SELECT coalesce(min(due_at) FILTER (WHERE due_at > now())::text, '') FROM noggin_schema.copies_due`); due > taken {
				taken = due
				renewals++
			}
		}
	})}
	if err := r.copyDue(t.Context()); err != nil || renewals < 2 || r.summary.Copied != 3 {
		t.Errorf("renewed %d times: %+v, %v", renewals, r.summary, err)
	}
}

// A server may take a connection and then do nothing.
func TestARunEndsAfterTwiceItsTime(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not find out that the client is gone
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	w := newWorld(t, 1)
	if s, err := w.copier.Run(t.Context(), 1, time.Nanosecond); err != nil || !s.More || s.Copied != 0 {
		t.Errorf("without time: %+v, %v", s, err)
	}
	w.copier.Config.To, w.copier.Config.Endpoint, w.copier.Keys = "s3://copies/mirror", server.URL, place.Keys{ID: "id", Secret: "secret"}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for limit := 200 * time.Millisecond; ; limit *= 2 { // on a busy machine it is over before a file begins
		s, err := w.copier.Run(ctx, 1, limit)
		if err != nil || s.Copied != 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		if s.Count > 0 {
			break
		}
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies_due WHERE problem LIKE '%--max-time%'`); n == "0" {
		t.Error("no file is told of")
	}
}

// The report is written anew, or its record goes into an archive, between the look into the
// database and the look at the disk.
func TestAFileThatChangesBeforeItsTurnIsNoFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.runner()
	w.Execute(`UPDATE noggin_schema.attachments SET file_path = file_path`)
	due, err := w.DB.ClaimCopies(t.Context(), r.id, batchSize, lease)
	batchtest.Must(t, err)
	known, err := r.known(t.Context(), due)
	batchtest.Must(t, err)
	first := w.Server.Record(0).Tip
	w.Execute(`UPDATE noggin_schema.attachments SET file_hash_sha256 = repeat('0', 64) WHERE record_tip = '` + first + `'`)
	for _, d := range due {
		if d.RecordTip == first {
			batchtest.Must(t, os.WriteFile(filepath.Join(w.Output, d.Path), []byte("other"), 0o644))
		}
	}
	archiver := &archive.Archiver{DB: w.DB, Paths: w.paths, ClaimLease: w.Processing.ClaimLease, Log: w.Log}
	made, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01"})
	if err != nil || made.FilesRemoved != 3 {
		t.Fatal(made, err)
	}
	for _, d := range due {
		one := result{due: d}
		r.copyOne(t.Context(), &one, known)
		if changed := d.RecordTip == first; one.gone != changed || (len(one.copied) == 1) == changed || one.failed != "" || one.err != nil {
			t.Errorf("%s: %+v", d.Path, one)
		}
	}
	if len(due) != 4 || r.summary.FromArchives != 2 {
		t.Errorf("%d files, %+v", len(due), r.summary)
	}
}

func TestAnArchiveThatDoesNotHoldAFileIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.archived(1)
	w.Execute(`UPDATE noggin_schema.attachments SET file_path = file_path || 'x' WHERE attachment_sequence = 1`)
	if s := w.run(); s.Copied != 2 || s.FromArchives != 2 || s.Count != 1 || !strings.Contains(s.First[0].What, "does not hold it") {
		t.Errorf("%+v", s)
	}
}

// What says nothing about the file ends the run.
func TestWhichErrorsCountAgainstAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.runner()
	for name, test := range map[string]struct {
		err     error
		against bool
	}{
		"none":                    {nil, false},
		"the database is away":    {fmt.Errorf("read: %w", storage.ErrUnavailable), false},
		"the schema is too old":   {fmt.Errorf("read: %w", storage.ErrSchema), false},
		"the original is missing": {fmt.Errorf("open: %w", files.ErrMissing), true},
		"the object is refused":   {fmt.Errorf("%w: one object", place.ErrAway), true}, // the target is there
	} {
		var one result
		r.judge(t.Context(), &one, test.err)
		if (one.failed != "") != test.against || (one.err != nil) != (test.err != nil && !test.against) {
			t.Errorf("%s: %+v", name, one)
		}
	}
}

// away is a target that goes away while it is verified.
type away struct{ target }

func (away) Check(context.Context) error { return place.ErrAway }

func (away) Look(context.Context, place.Object) error { return place.ErrAway }

func TestATargetThatGoesAwayIsNoDamagedCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	id, to, err := w.copier.openTarget(t.Context())
	batchtest.Must(t, err)
	defer files.Release(to)
	page, err := w.DB.CopiesAfter(t.Context(), id, storage.CopyKey{}, 0, 0, batchSize)
	batchtest.Must(t, err)
	var summary VerifySummary
	if _, err := w.copier.verifyPage(t.Context(), away{to}, page, VerifyOptions{}, &summary); !errors.Is(err, place.ErrAway) || summary.Count != 0 {
		t.Errorf("%+v, %v", summary, err)
	}
}
