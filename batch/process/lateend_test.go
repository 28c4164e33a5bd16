package process

import (
	"context"
	"errors"
	"os"
	"testing"

	"noggin/storage"
	"noggin/storage/storagetest"
)

// lateEnd is a context that ended when nothing waits for it any more.
type lateEnd struct{ context.Context }

func (lateEnd) Done() <-chan struct{} { return nil }
func (lateEnd) Err() error            { return context.Canceled }

func TestAFormerAttachmentIsNotPassedOverWhenTheWorkEnds(t *testing.T) {
	t.Parallel()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	cfg := storage.DefaultConfig()
	cfg.URL = storagetest.Database(t)
	db, err := storage.Open(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Init(t.Context(), string(schema), storage.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	w := &work{run: &run{db: db}, claim: storage.Claim{Tip: "r"}}
	w.stored.Dropped, w.stored.Versions = map[int]string{1: "p"}, []storage.VersionMark{{Version: 1}}
	if missing, err := w.neverFetched(lateEnd{context.Background()}); !errors.Is(err, context.Canceled) {
		t.Errorf("%d are missing, error %v", len(missing), err)
	}
}
