package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq/pqerror"
)

const lockNotAvailable = pqerror.Code("55P03")

// ForRuns returns the configuration of a run that must end in time. Each operation ends
// within RetryFor with all its tries, and a statement waits only a moment for a lock
// before the operation begins again.
func (c Config) ForRuns() Config {
	c.Patience = max(c.RetryFor, time.Second)
	c.LockTimeout = min(max(c.Patience/8, 100*time.Millisecond), time.Second)
	return c
}

// lockTimeout is the session's lock_timeout. Whoever waits longer begins again, so that
// an error can name the session that holds the lock.
func (c Config) lockTimeout() time.Duration {
	if c.LockTimeout > 0 {
		return c.LockTimeout
	}
	return max(c.RetryFor/3, time.Second)
}

// waitsOnce reports whether a statement that waited for a lock in vain is not tried
// again: so it is for maintenance, which leaves out what is in use.
func (c Config) waitsOnce() bool { return c.LockTimeout > 0 && c.Patience == 0 }

// RetryFor returns how long an operation tries before it gives up.
func (db *DB) RetryFor() time.Duration { return db.cfg.RetryFor }

// unbounded is the database without [Config.Patience], for reading many rows.
func (db *DB) unbounded() *DB {
	other := *db
	other.unlimited = true
	return &other
}

// retry does an operation until it succeeds, its error says that another try does not
// help, or [Config.RetryFor] is over. A time in which the program was frozen does not count.
func (db *DB) retry(ctx context.Context, what string, again func(error) bool, do func(context.Context) error) error {
	began := time.Now()
	limit := db.cfg.RetryFor
	var over func() // nil: no try is ended
	if db.cfg.Patience > 0 && !db.unlimited {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		limit = db.cfg.Patience
		over = func() { cancel(fmt.Errorf("%w: no success within %s", ErrUnavailable, db.cfg.Patience)) }
	}
	waiting := StartStopwatch(limit, over)
	defer waiting.Stop()
	var last error // why an earlier try failed
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := db.watched(ctx, do)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return db.outOfTime(ctx, what, began, last)
		}
		if isBusy(err) && db.cfg.waitsOnce() {
			return describe(ctx, what, err)
		}
		if !again(err) || waiting.Spent()+pause > db.cfg.RetryFor {
			return describe(ctx, what, db.withHolders(err, began))
		}
		last = err
		select {
		case <-ctx.Done():
			return db.outOfTime(ctx, what, began, last)
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// outOfTime describes an operation whose context ended. last is why an earlier try
// failed, or nil.
func (db *DB) outOfTime(ctx context.Context, what string, began time.Time, last error) error {
	err := fmt.Errorf("%s: %w", what, context.Cause(ctx))
	if !errors.Is(err, ErrUnavailable) {
		return err
	}
	if holders := db.locks.since(began); holders != "" {
		return fmt.Errorf("%w: %w: %s", err, ErrBusy, holders)
	}
	if last != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return err
}

// mayPass reports whether another try may succeed.
func mayPass(err error) bool { return unavailable(err) || isBusy(err) }

func isBusy(err error) bool { return hasCode(err, lockNotAvailable) }

// heldError is the error of a statement that waited for a lock in vain. It names who
// holds the lock.
type heldError struct {
	error
	holders string
}

// Unwrap returns the server's error.
func (e *heldError) Unwrap() error { return e.error }

func (db *DB) withHolders(err error, began time.Time) error {
	if !isBusy(err) {
		return err
	}
	return &heldError{err, db.locks.since(began.Add(-db.cfg.RetryFor))}
}

// lockWatch remembers who held the locks for which this program waited last.
type lockWatch struct {
	looking sync.Mutex

	mu      sync.Mutex
	holders string
	seen    time.Time
}

// since returns the holders that were seen since then, or "".
func (l *lockWatch) since(then time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.Before(then) {
		return ""
	}
	return l.holders
}

// watched does one try. When it lasts half as long as it may wait for a lock, another
// connection looks for the holders of the lock, as the server forgets them afterwards.
func (db *DB) watched(ctx context.Context, do func(context.Context) error) error {
	wait := db.cfg.lockTimeout()
	look := time.AfterFunc(wait/2, func() { db.lookForHolders(ctx, wait) })
	defer look.Stop()
	return do(ctx)
}

// lookForHolders remembers the sessions that hold a lock for which a session like this
// one waits, and that wait for no lock themselves.
func (db *DB) lookForHolders(ctx context.Context, wait time.Duration) {
	if !db.locks.looking.TryLock() {
		return
	}
	defer db.locks.looking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, max(wait, time.Second))
	defer cancel()
	// The pool may be full of sessions that wait for the lock.
	other, err := Open(db.cfg, db.command)
	if err != nil {
		return
	}
	defer func() { _ = other.Close() }() // it only reads
	var holders []string
	if err := other.pool.SelectContext(ctx, &holders, `
		SELECT DISTINCT CASE WHEN b.pid = 0 THEN 'a prepared transaction (pg_prepared_xacts)' ELSE
			'process ' || a.pid || ' of user ' || coalesce(a.usename, '?') || coalesce(' (' || nullif(a.application_name, '') || ')', '')
			|| coalesce(', ' || a.state, '') || coalesce(' since ' || to_char(coalesce(a.xact_start, a.state_change), 'YYYY-MM-DD HH24:MI:SS'), '')
			|| ': ' || left(regexp_replace(regexp_replace(coalesce(a.query, ''), '(password|secret).*', '\1 …', 'i'), '\s+', ' ', 'g'), 200)
			|| '; SELECT pg_terminate_backend(' || a.pid || ') ends it' END
		FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) AS b (pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid
		WHERE w.datname = current_database() AND w.usename = current_user AND w.wait_event_type = 'Lock'
		  AND w.application_name = current_setting('application_name') AND a.wait_event_type IS DISTINCT FROM 'Lock'
		ORDER BY 1 LIMIT 3`); err != nil || len(holders) == 0 {
		return
	}
	db.locks.mu.Lock()
	defer db.locks.mu.Unlock()
	db.locks.holders, db.locks.seen = strings.Join(holders, "; and "), time.Now()
}
