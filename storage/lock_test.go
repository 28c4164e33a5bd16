package storage

import (
	"errors"
	"strings"
	"testing"

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
