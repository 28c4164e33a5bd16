package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrLocked is wrapped by the error of a command whose lock another run holds; its
// text names the holder. Exit code 11.
var ErrLocked = errors.New("another run holds the maintenance lock")

// lockKey is the key of the one lock that `archive` and `maintain` share.
const lockKey = `hashtext('noggin_schema.maintenance')`

// lockPatience is how long a lock is asked for before it counts as held: the server
// may not have noticed yet that its holder is gone.
const lockPatience = 2 * time.Second

// keepalives: a host that went down without a word holds a lock only until the
// server notices: make that two minutes instead of two hours.
const keepalives = `SELECT set_config('tcp_keepalives_idle', '60', false),
	set_config('tcp_keepalives_interval', '15', false), set_config('tcp_keepalives_count', '4', false)`

// Lock takes the maintenance lock for the command, or returns an error that wraps
// [ErrLocked] and names who holds it. The lock lives on a connection of its own:
// whatever ends the process ends it too. release may be called more than once.
func (db *DB) Lock(ctx context.Context, command string) (release func(), err error) {
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, describe(ctx, "take the maintenance lock", err)
	}
	locked, err := db.tryLock(ctx, conn, command)
	for deadline := time.Now().Add(lockPatience); err == nil && !locked && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
		locked, err = db.tryLock(ctx, conn, command)
	}
	if err == nil && !locked {
		err = fmt.Errorf("%w: %s", ErrLocked, db.lockHolder(ctx, conn))
	}
	if err != nil {
		discard(conn)
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// An unlock that fails does no harm: the connection ends in any case.
		_, _ = conn.ExecContext(ctx, db.sql(`SELECT pg_advisory_unlock(`+lockKey+`)`))
		discard(conn)
	}, nil
}

func (db *DB) tryLock(ctx context.Context, conn *sql.Conn, command string) (locked bool, err error) {
	if err := conn.QueryRowContext(ctx, db.sql(`SELECT pg_try_advisory_lock(`+lockKey+`) FROM (`+keepalives+`) AS settings`)).Scan(&locked); err != nil || !locked {
		return false, describe(ctx, "take the maintenance lock", err)
	}
	_, err = conn.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.maintenance_lock (id, command, host, pid, backend_pid, since)
		VALUES (1, $1, $2, $3, pg_backend_pid(), now())
		ON CONFLICT (id) DO UPDATE SET command = excluded.command, host = excluded.host, pid = excluded.pid,
			backend_pid = excluded.backend_pid, since = excluded.since`), command, db.host, os.Getpid())
	return true, describe(ctx, "take the maintenance lock", err)
}

// Turn waits until no other run on any host is at the work named, and keeps others
// out of it until release. Whatever ends the process ends its turn too.
func (db *DB) Turn(ctx context.Context, work string) (release func(), err error) {
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, describe(ctx, "wait for its turn at "+work, err)
	}
	for {
		var ours bool
		err := conn.QueryRowContext(ctx, db.sql(`SELECT pg_try_advisory_lock(hashtext('noggin_schema.' || $1)) FROM (`+keepalives+`) AS settings`), work).Scan(&ours)
		if err != nil {
			discard(conn)
			return nil, describe(ctx, "wait for its turn at "+work, err)
		}
		if ours {
			return func() { discard(conn) }, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// lockHolder says who holds the lock: the row that it wrote, if that is from the
// session which has the lock now.
func (db *DB) lockHolder(ctx context.Context, conn *sql.Conn) string {
	var command, host string
	var pid int
	var since time.Time
	err := conn.QueryRowContext(ctx, db.sql(`
		SELECT m.command, m.host, m.pid, m.since FROM noggin_schema.maintenance_lock m
		JOIN pg_locks l ON l.locktype = 'advisory' AND l.pid = m.backend_pid AND l.granted AND l.objsubid = 1
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND (l.classid::bigint << 32 | l.objid::bigint) = `+lockKey+`::bigint`)).Scan(&command, &host, &pid, &since)
	if err != nil {
		return "it came or went this moment"
	}
	return fmt.Sprintf("noggin %s on %s, process %d, since %s", command, host, pid, since.Format("2006-01-02 15:04:05"))
}

// discard ends the connection instead of giving it back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}
