package storage

import (
	"context"
	"database/sql"
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

// PostgreSQL 17 has transaction_timeout, which would end a lock in the middle of its command.
func TestNoTimeLimitOfTheServerEndsALockOrASnapshot(t *testing.T) {
	t.Parallel()
	first := testDB(t)
	const limits = ` FROM pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')`
	foreign(t, first, scalar[string](t, first, `SELECT string_agg(format('ALTER DATABASE %I SET %I = ''1min''', current_database(), name), ';')`+limits))
	db := openDB(t, first.cfg)
	conn, err := db.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer discard(conn)
	type session interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}
	limited := func(q session) (n int) {
		if err := q.QueryRowContext(t.Context(), `SELECT count(*)`+limits+` AND setting <> '0'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if limited(conn) == 0 {
		t.Fatal("the database sets no limit")
	}
	if err := db.tryLock(t.Context(), conn, "maintenance_lock"); err != nil || limited(conn) != 0 {
		t.Errorf("a limit ends the lock: %v", err)
	}
	snapshot, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	if limited(snapshot.tx) != 0 {
		t.Error("a limit ends the snapshot")
	}
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
