package copies

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

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
