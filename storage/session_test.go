package storage

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"noggin/storage/storagetest"
)

// A host that vanished keeps its lock until the server notices.
func TestTheServerLooksSoonWhetherTheHolderOfALockIsThere(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	conn, err := db.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer discard(conn)
	if err := db.tryLock(t.Context(), conn, "maintenance_lock"); err != nil {
		t.Fatal(err)
	}
	var seconds int
	if err := conn.QueryRowContext(t.Context(), `SELECT current_setting('tcp_keepalives_idle')::int
		+ current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int`).Scan(&seconds); err != nil {
		t.Fatal(err)
	}
	if seconds <= 0 || seconds > 120 {
		t.Errorf("the server needs %d seconds", seconds)
	}
}

// A statement without a limit is given up only when the server is at work for nobody like it.
func TestAServerIsAtWorkUnlessItWaitsForUs(t *testing.T) {
	t.Parallel()
	direct := testDB(t)
	proxy := storagetest.NewProxy(t, direct.cfg.URL)
	cfg := direct.cfg
	cfg.URL, cfg.StatementTimeout = proxy.URL(cfg.URL), 0
	db, err := Open(cfg, "maintain vacuum")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer discard(conn)
	var atWork func() bool
	if err := conn.Raw(func(driver any) error {
		s, ok := driver.(*session)
		if !ok {
			return errors.New("the connection is none of ours")
		}
		atWork = s.wire.atWork
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if atWork() {
		t.Error("it does nothing, and counts as at work")
	}
	waitFor := func(state string) {
		t.Helper()
		for !scalar[bool](t, direct, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'noggin maintain vacuum' AND state = 'active' AND wait_event = $1)`, state) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	sleeping, wake := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- db.maintain(sleeping, "sleep", `SELECT pg_sleep(60)`) }()
	waitFor("PgSleep")
	if !atWork() {
		t.Error("it works, and does not count as at work")
	}
	wake()
	if err := <-ended; err == nil {
		t.Error("the statement ended well")
	}
	// It sends more than fits into the network's buffers, and nobody reads.
	rows, err := db.pool.QueryContext(t.Context(), `SELECT repeat('x', 1000000) FROM generate_series(1, 500)`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	waitFor("ClientWrite")
	// The network's buffers may still take a part of it, and it works for as long as they do.
	for full := time.Now().Add(30 * time.Second); atWork(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(full) {
			t.Fatal("it waits for somebody to take its answer, and counts as at work")
		}
	}
	proxy.Refuse()
	if !atWork() {
		t.Error("it cannot be asked, and does not count as at work")
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

// The context of a transaction bounds no statement behind it on its connection.
func TestAStatementBehindATransactionHasATimeOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]error{"committed": nil, "rolled back": errors.New("refused")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testDB(t).cfg
			cfg.MaxConnections, cfg.RetryFor = 1, time.Minute
			db := openDB(t, cfg.ForRuns())
			if err := db.tx(t.Context(), "change nothing", func(*sqlx.Tx) error { return end }); !errors.Is(err, end) {
				t.Fatal(err)
			}
			if _, err := db.pool.ExecContext(t.Context(), `SELECT pg_sleep($1)`, (cancelPatience + 300*time.Millisecond).Seconds()); err != nil {
				t.Errorf("it ended with the transaction: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := within(t, 10*time.Second, func() error { return db.maintain(ctx, "sleep", `SELECT pg_sleep(60)`) }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it did not end with its context: %v", err)
			}
		})
	}
}

func TestAHolderOfLongAgoIsNotNamed(t *testing.T) {
	t.Parallel()
	seen := time.Now()
	watch := lockWatch{holders: "process 1", seen: seen}
	if got := watch.since(seen.Add(-time.Second)); got != "process 1" {
		t.Errorf("the holder is %q", got)
	}
	if got := watch.since(seen.Add(time.Second)); got != "" {
		t.Errorf("of a later wait the holder is %q", got)
	}
}
