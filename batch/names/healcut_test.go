package names

import (
	"context"
	"testing"

	"noggin/storage"
)

func TestHealingThatIsCutShortLeavesARecordMarkedWhoseWordsAreOld(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &healing{Healer: &Healer{Concurrency: 1}}
	healed, err := w.renew(ctx, storage.StaleBatch{Records: []storage.StaleRecord{{Tip: "a", PayloadSize: 10}, {Tip: "b"}}})
	if err != nil || len(healed) != 2 || healed[0].Done || !healed[1].Done {
		t.Errorf("%+v, %v; only the record without an answer is done", healed, err)
	}
}

func TestHealingSaysWhyTheStoredAnswersCannotBeRead(t *testing.T) {
	t.Parallel()
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.RetryFor = "postgres://127.0.0.1:1/nothing?sslmode=disable", 0
	db, err := storage.Open(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	w := &healing{Healer: &Healer{DB: db, Concurrency: 1}}
	healed, err := w.renew(t.Context(), storage.StaleBatch{Records: []storage.StaleRecord{{Tip: "a", PayloadSize: healPayloads}, {Tip: "b", PayloadSize: 10}, {Tip: "c"}}})
	if err == nil {
		t.Error("no error")
	}
	for i, h := range healed { // all are saved, so that their claims end
		if h.Record == nil {
			t.Errorf("record %d is lost", i)
		}
	}
}
