package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// DB is a pool of connections to noggin's database.
type DB struct {
	pool *sqlx.DB
	cfg  Config
	host string // this machine, for runs and claims
}

// Open prepares a pool whose sessions are named "noggin command". No connection
// is made yet. A statement timeout of 0 lets statements run as long as they need:
// for maintenance and exports.
func Open(cfg Config, command string) (*DB, error) { return open(cfg, command, "") }

// open is Open for another database of the same server, unless that is "".
func open(cfg Config, command, database string) (*DB, error) {
	pqCfg, err := pq.NewConfig(cfg.URL)
	if err != nil {
		return nil, errors.New("[database] url: not a libpq URL")
	}
	if database != "" {
		pqCfg.Database = database
	}
	if !strings.Contains(cfg.URL, "sslmode") && os.Getenv("PGSSLMODE") == "" {
		pqCfg.SSLMode = pq.SSLModePrefer // libpq's default; lib/pq's own is to require it
	}
	pqCfg.ApplicationName = "noggin " + command
	pqCfg.ConnectTimeout = cfg.ConnectTimeout
	// Saves a round trip a statement; all parameters of ours are text.
	pqCfg.BinaryParameters = true
	if pqCfg.Runtime == nil {
		pqCfg.Runtime = map[string]string{}
	}
	pqCfg.Runtime["noggin.client"] = "on" // see break_claim in schema.sql
	pqCfg.Runtime["statement_timeout"] = strconv.FormatInt(cfg.StatementTimeout.Milliseconds(), 10)
	if cfg.LockTimeout > 0 {
		pqCfg.Runtime["lock_timeout"] = strconv.FormatInt(cfg.LockTimeout.Milliseconds(), 10)
	}
	if cfg.Timezone != "" {
		pqCfg.Runtime["TimeZone"] = cfg.Timezone
	}
	connector, err := pq.NewConnectorConfig(pqCfg)
	if err != nil {
		return nil, fmt.Errorf("prepare the database connection: %w", err)
	}
	connector.Dialer(dialer{cfg.ConnectTimeout, cfg.StatementTimeout})
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(cfg.MaxConnections)
	pool.SetMaxIdleConns(cfg.MaxConnections)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &DB{pool: sqlx.NewDb(pool, "postgres"), cfg: cfg, host: host}, nil
}

// Close closes every connection.
func (db *DB) Close() error { return db.pool.Close() }

// Host returns this machine's name as claims and runs show it.
func (db *DB) Host() string { return db.host }

// SchemaName returns the name of the schema that holds our tables.
func (db *DB) SchemaName() string { return db.cfg.Schema }

// Ping connects and reports how that went.
func (db *DB) Ping(ctx context.Context) error {
	return describe(ctx, "connect to the database", db.pool.PingContext(ctx))
}

// sql puts the configured schema where the text names the default one.
func (db *DB) sql(query string) string {
	if db.cfg.Schema == DefaultSchema {
		return query
	}
	return strings.ReplaceAll(query, DefaultSchema+".", pq.QuoteIdentifier(db.cfg.Schema)+".")
}

// tx runs fn in a transaction and tries again for [Config.RetryFor] when the
// connection or the server goes away, or a deadlock is broken. After a lost COMMIT
// fn may run although its first try took effect: what it writes must bear that.
func (db *DB) tx(ctx context.Context, what string, fn func(tx *sqlx.Tx) error) error {
	deadline := time.Now().Add(db.cfg.RetryFor)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := db.txOnce(ctx, fn)
		if err == nil {
			return nil
		}
		if !unavailable(err) || ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return describe(ctx, what, err)
		}
		select {
		case <-ctx.Done():
			return describe(ctx, what, err)
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func (db *DB) txOnce(ctx context.Context, fn func(tx *sqlx.Tx) error) error {
	tx, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit this does nothing
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// exec runs statements that all take the same arguments.
func (db *DB) exec(ctx context.Context, tx *sqlx.Tx, args []any, statements ...string) error {
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, db.sql(statement), args...); err != nil {
			return err
		}
	}
	return nil
}

// change runs one statement in a transaction of its own, which may run twice; see tx.
func (db *DB) change(ctx context.Context, what, statement string, args ...any) error {
	return db.tx(ctx, what, func(tx *sqlx.Tx) error { return db.exec(ctx, tx, args, statement) })
}

// get reads one row into dest; sql.ErrNoRows is passed on.
func (db *DB) get(ctx context.Context, what string, dest any, query string, args ...any) error {
	err := db.pool.GetContext(ctx, dest, db.sql(query), args...)
	if errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return describe(ctx, what, err)
}

// selectAll reads all rows into dest, a pointer to a slice; none make it empty, not
// nil, for a list in JSON is never null.
func (db *DB) selectAll(ctx context.Context, what string, dest any, query string, args ...any) error {
	if slice := reflect.ValueOf(dest).Elem(); slice.IsNil() {
		slice.Set(reflect.MakeSlice(slice.Type(), 0, 0))
	}
	return describe(ctx, what, db.pool.SelectContext(ctx, dest, db.sql(query), args...))
}

// dialer gives every connection a read deadline somewhat longer than any
// statement may take, so that a server that stopped answering cannot hold us past
// it: lib/pq itself waits for ever.
type dialer struct{ connect, statement time.Duration }

// Dial is part of pq.Dialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout is part of pq.Dialer.
func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext is part of pq.DialerContext.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.connect, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
	if err != nil || d.statement == 0 {
		return conn, err
	}
	return &deadlineConn{conn, d.statement + 10*time.Second}, nil
}

type deadlineConn struct {
	net.Conn
	patience time.Duration
}

func (c *deadlineConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}
