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

// ErrLocked means that another run holds the maintenance lock. Errors that wrap it name
// the holder. Exit code 11.
var ErrLocked = errors.New("another run holds the maintenance lock")

// lockPatience is how long a lock is tried. The server may need a moment to notice that the
// last holder is gone.
const lockPatience = 2 * time.Second

// keepalives makes the server notice within two minutes, not two hours, that a host
// vanished, and free its lock.
const keepalives = `SELECT set_config('tcp_keepalives_idle', '60', false),
	set_config('tcp_keepalives_interval', '15', false), set_config('tcp_keepalives_count', '4', false)`

// untimed keeps the server from ending the open transaction for its age, or for doing
// nothing, whatever is set for the role. transaction_timeout came with PostgreSQL 17.
const untimed = `SET LOCAL idle_in_transaction_session_timeout = 0;
	SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'`

// Lock takes the maintenance lock for the command, or returns an error that wraps
// [ErrLocked] and names the holder. The lock lives on a connection of its own, so it
// ends with the process. release may be called more than once.
func (db *DB) Lock(ctx context.Context, command string) (release func(), err error) {
	const what = "take the maintenance lock"
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, describe(ctx, what, err)
	}
	err = db.lockPatiently(ctx, conn, "maintenance_lock")
	if err == nil {
		err = db.writeHolder(ctx, conn, command)
	}
	switch {
	case err == nil:
		return func() { discard(conn) }, nil
	case isBusy(err):
		err = fmt.Errorf("%w: %s", ErrLocked, db.lockHolder(ctx))
	default:
		err = describe(ctx, what, err)
	}
	discard(conn)
	return nil, err
}

// lockPatiently is tryLock for as long as the last holder may need to be gone.
func (db *DB) lockPatiently(ctx context.Context, conn *sql.Conn, table string) error {
	err := db.tryLock(ctx, conn, table)
	for deadline := time.Now().Add(lockPatience); isBusy(err) && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
		err = db.tryLock(ctx, conn, table)
	}
	return err
}

// tryLock locks a table on the connection in a transaction that it leaves open. The
// transaction has neither a snapshot nor a number, so it keeps no dead rows.
func (db *DB) tryLock(ctx context.Context, conn *sql.Conn, table string) error {
	_, err := conn.ExecContext(ctx, db.sql(`BEGIN; `+untimed+`; `+keepalives+`;
		LOCK TABLE noggin_schema.`+table+` IN SHARE UPDATE EXCLUSIVE MODE NOWAIT`))
	if err == nil {
		return nil
	}
	if _, rollbackErr := conn.ExecContext(ctx, "ROLLBACK"); rollbackErr != nil && isBusy(err) {
		return rollbackErr
	}
	return err
}

// writeHolder tells others who has the lock. It uses another connection: what the open
// transaction of conn writes nobody sees.
func (db *DB) writeHolder(ctx context.Context, conn *sql.Conn, command string) error {
	var backend int
	if err := conn.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		return err
	}
	return db.change(ctx, "say who has the maintenance lock", `
		INSERT INTO noggin_schema.maintenance_lock (id, command, host, pid, backend_pid, since)
		VALUES (1, $1, $2, $3, $4, now())
		ON CONFLICT (id) DO UPDATE SET command = excluded.command, host = excluded.host, pid = excluded.pid,
			backend_pid = excluded.backend_pid, since = excluded.since`, command, db.host, os.Getpid(), backend)
}

// Turn waits until no other run on any host validates, and keeps others out until
// release. The turn ends with the process.
func (db *DB) Turn(ctx context.Context) (release func(), err error) {
	return db.turn(ctx, "wait for its turn to validate", "validate_lock")
}

// VerifyTurn is [DB.Turn] for the verification of archives.
func (db *DB) VerifyTurn(ctx context.Context) (release func(), err error) {
	return db.turn(ctx, "wait for its turn to verify archives", "verify_lock")
}

func (db *DB) turn(ctx context.Context, what, table string) (release func(), err error) {
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, describe(ctx, what, err)
	}
	for {
		err := db.tryLock(ctx, conn, table)
		if err == nil {
			return func() { discard(conn) }, nil
		}
		if !isBusy(err) || ctx.Err() != nil {
			discard(conn)
			return nil, describe(ctx, what, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// TryFetchTurn keeps other runs on all hosts from fetching exports until release. It
// returns nil when another run fetches. The turn ends with the process.
func (db *DB) TryFetchTurn(ctx context.Context) (release func(), err error) {
	const what = "take its turn to fetch exports"
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, describe(ctx, what, err)
	}
	err = db.lockPatiently(ctx, conn, "fetch_lock")
	if err == nil {
		return func() { discard(conn) }, nil
	}
	discard(conn)
	if isBusy(err) {
		return nil, nil
	}
	return nil, describe(ctx, what, err)
}

// lockHolder describes the session that has the maintenance lock: by the row that a
// noggin wrote, or else by what the server knows about the session.
func (db *DB) lockHolder(ctx context.Context) string {
	const what, unknown = "ask who has the maintenance lock", "its holder changed this moment; try again"
	var session struct {
		Backend int    `db:"backend"`
		User    string `db:"usename"`
		Name    string `db:"application_name"`
		Mode    string `db:"mode"`
	}
	if err := db.get(ctx, what, &session, `
		SELECT l.pid AS backend, coalesce(a.usename::text, '?') AS usename, coalesce(a.application_name, '?') AS application_name, l.mode
		FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'relation' AND l.relation = to_regclass('noggin_schema.maintenance_lock') AND l.granted
		  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		LIMIT 1`); err != nil {
		return unknown
	}
	stranger := fmt.Sprintf("process %d of the database's server, %q of role %s", session.Backend, session.Name, session.User)
	if session.Mode != "ShareUpdateExclusiveLock" { // the row could not be read, or is not the holder's
		return stranger
	}
	var noggin struct {
		Command string    `db:"command"`
		Host    string    `db:"host"`
		PID     int       `db:"pid"`
		Since   time.Time `db:"since"`
	}
	err := db.get(ctx, what, &noggin, `SELECT command, host, pid, since FROM noggin_schema.maintenance_lock WHERE backend_pid = $1`, session.Backend)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return stranger
	case err != nil:
		return unknown
	}
	return fmt.Sprintf("noggin %s on %s, process %d, since %s", noggin.Command, noggin.Host, noggin.PID, noggin.Since.Format("2006-01-02 15:04:05"))
}

// discard ends the connection; it does not go back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}
