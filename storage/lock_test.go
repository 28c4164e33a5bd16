package storage

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"noggin/storage/storagetest"
)

func TestTheMaintenanceLockIsHeldByOneAndNamesItsHolder(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	release, err := db.Lock(t.Context(), "archive create")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Lock(t.Context(), "maintain vacuum")
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "noggin archive create on "+db.Host()+", process ") {
		t.Fatalf("the second got %v", err)
	}
	release()
	release()
	again, err := db.Lock(t.Context(), "maintain vacuum")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestALockIsFreeWhenItsConnectionIsGone(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.URL = storagetest.Database(t)
	cfg.Schema = "other"
	db := openDB(t, cfg)
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Lock(t.Context(), "archive create"); err != nil {
		t.Fatal(err)
	}
	_ = scalar[bool](t, db, `SELECT pg_terminate_backend(backend_pid, 10000) FROM noggin_schema.maintenance_lock`)
	release, err := db.Lock(t.Context(), "maintain vacuum")
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestATurnIsWaitedFor(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	release, err := db.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := db.Turn(impatient); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the second got %v", err)
	}
	release()
	next, err := db.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next()
}
