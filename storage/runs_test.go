package storage

import (
	"context"
	"testing"
	"time"
)

func TestARunGivesSignsOfLifeUntilItEnds(t *testing.T) {
	t.Parallel()
	cfg := testDB(t).cfg
	cfg.signEvery = 5 * time.Millisecond
	db := openDB(t, cfg)
	ctx, signal := context.WithCancel(t.Context())
	run, err := db.StartRun(ctx, "copy verify", "test")
	if err != nil {
		t.Fatal(err)
	}
	signal() // it has a while to end
	foreign(t, db, `UPDATE noggin_schema.runs SET seen_at = now() - interval '2 hours'`)
	for start := time.Now(); !scalar[bool](t, db, `SELECT seen_at > now() - interval '1 minute' FROM noggin_schema.runs`); {
		if time.Since(start) > time.Minute {
			t.Fatal("a run that lives gives no sign of life")
		}
		time.Sleep(time.Millisecond)
	}
	if err := db.FinishRun(t.Context(), run, 0, "", nil); err != nil {
		t.Fatal(err)
	}
	if len(db.living.runs) != 0 {
		t.Error("a run that ended lives on")
	}
	if _, err := db.StartRun(t.Context(), "copy verify", "test"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil || len(db.living.runs) != 0 {
		t.Errorf("%d runs live on after the database was closed: %v", len(db.living.runs), err)
	}
}
