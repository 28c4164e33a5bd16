package copies

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
type full struct{ target }

func (full) Put(context.Context, place.Object, place.PutOptions, io.Reader) (place.Stored, error) {
	return place.Stored{}, fmt.Errorf("%w: %w", place.ErrAway, files.WrapDisk("write", "/mnt/b/x", unix.ENOSPC))
}

func TestATargetThatIsFullEndsTheRunAndCountsAgainstNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.runner()
	r.to = full{r.to}
	if err := r.copyDue(t.Context()); !errors.Is(err, place.ErrAway) || r.summary.Count != 0 {
		t.Errorf("%+v, %v", r.summary, err)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies_due WHERE failures = 0 AND due_at <= now()`); n != "6" {
		t.Errorf("%s files are due, want 6", n)
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
