package storage

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	pool    *sqlx.DB
	cfg     Config
	command string // as sessions are named
	host    string // this machine, for runs and claims
	locks   *lockWatch
	living  *living

	unlimited bool // without Config.Patience
}

// Open prepares a pool whose sessions are named "noggin command"; the first
// statement connects. Maintenance and exports set the statement timeout to 0, which
// is no limit.
func Open(cfg Config, command string) (*DB, error) { return open(cfg, command, "") }

// frozenAfter is how long a transaction may wait for its program. Ours never wait so long.
// A host that is frozen, or is gone without a word, would else keep its locks, such as
// that of the circuit, for hours.
const frozenAfter = 15 * time.Second

// open is Open for another database of the same server; "" is the one in the URL.
func open(cfg Config, command, database string) (*DB, error) {
	pqCfg, err := cfg.libpq()
	if err != nil {
		return nil, err
	}
	if database != "" {
		pqCfg.Database = database
	}
	pqCfg.ApplicationName = "noggin " + command
	pqCfg.ConnectTimeout = cfg.ConnectTimeout
	// One round trip less for each statement. All our parameters are text.
	pqCfg.BinaryParameters = true
	if pqCfg.Runtime == nil {
		pqCfg.Runtime = map[string]string{}
	}
	pqCfg.Runtime["noggin.client"] = "on"                        // see break_claim in schema.sql
	pqCfg.Runtime["noggin.schema"] = strconv.Itoa(SchemaVersion) // see refuse_older there
	// PostgreSQL compiles a statement that it expects to read much, which takes it a second
	// or two. Our statements gain nothing from that.
	pqCfg.Runtime["jit"] = "off"
	if !cfg.plain {
		pqCfg.Runtime["search_path"] = pq.QuoteIdentifier(cfg.Schema)
	}
	pqCfg.Runtime["statement_timeout"] = strconv.FormatInt(cfg.StatementTimeout.Milliseconds(), 10)
	pqCfg.Runtime["idle_in_transaction_session_timeout"] = strconv.FormatInt(frozenAfter.Milliseconds(), 10)
	pqCfg.Runtime["lock_timeout"] = strconv.FormatInt(cfg.lockTimeout().Milliseconds(), 10)
	if cfg.Timezone != "" {
		pqCfg.Runtime["TimeZone"] = cfg.Timezone
	}
	libpq, err := pq.NewConnectorConfig(pqCfg)
	if err != nil {
		return nil, fmt.Errorf("prepare the database connection: %w", err)
	}
	libpq.Dialer(dialer{cfg.ConnectTimeout, cfg.StatementTimeout})
	pool := sql.OpenDB(connector{libpq, cmp.Or(cfg.silence, silence)})
	pool.SetMaxOpenConns(cfg.MaxConnections)
	pool.SetMaxIdleConns(cfg.MaxConnections)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &DB{pool: sqlx.NewDb(pool, "postgres"), cfg: cfg, command: command, host: host, locks: &lockWatch{}, living: &living{runs: map[int64]context.CancelFunc{}}}, nil
}

// Close closes every connection.
func (db *DB) Close() error {
	db.living.endAll()
	return db.pool.Close()
}

// Host returns this machine's name, as claims and runs show it.
func (db *DB) Host() string { return db.host }

// SchemaName returns the name of the schema that holds noggin's tables.
func (db *DB) SchemaName() string { return db.cfg.Schema }

// Ping checks that the database can be reached.
func (db *DB) Ping(ctx context.Context) error {
	return describe(ctx, "connect to the database", db.pool.PingContext(ctx))
}

// sql replaces the default schema's name with the configured one.
func (db *DB) sql(query string) string {
	if db.cfg.Schema == defaultSchema {
		return query
	}
	return strings.ReplaceAll(query, defaultSchema+".", pq.QuoteIdentifier(db.cfg.Schema)+".")
}

// tx runs fn in a transaction. It tries again for [Config.RetryFor] when the
// connection or the server goes away, when PostgreSQL ends a deadlock, and when another
// session holds a lock. When the reply to a COMMIT is lost, fn runs again although its
// first try took effect. So fn must give the same result when it runs twice.
func (db *DB) tx(ctx context.Context, what string, fn func(tx *sqlx.Tx) error) error {
	return db.retry(ctx, what, mayPass, func(ctx context.Context) error { return db.txOnce(ctx, fn) })
}

// txUnlessBusy is tx, but it returns [ErrBusy] at the first lock that another session
// holds: the caller does something else meanwhile.
func (db *DB) txUnlessBusy(ctx context.Context, what string, fn func(tx *sqlx.Tx) error) error {
	return db.retry(ctx, what, unavailable, func(ctx context.Context) error { return db.txOnce(ctx, fn) })
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

// change runs one statement in a transaction of its own. It may run twice; see tx.
func (db *DB) change(ctx context.Context, what, statement string, args ...any) error {
	return db.tx(ctx, what, func(tx *sqlx.Tx) error { return db.exec(ctx, tx, args, statement) })
}

// changeGet is change for a statement that returns one row, which goes to dest.
func (db *DB) changeGet(ctx context.Context, what string, dest any, statement string, args ...any) error {
	return db.tx(ctx, what, func(tx *sqlx.Tx) error { return tx.GetContext(ctx, dest, db.sql(statement), args...) })
}

// changeAll is change for a statement that returns rows. Each try fills dest anew.
func changeAll[T any](ctx context.Context, db *DB, what string, dest *[]T, statement string, args ...any) error {
	return db.tx(ctx, what, func(tx *sqlx.Tx) error {
		*dest = nil
		return tx.SelectContext(ctx, dest, db.sql(statement), args...)
	})
}

// read runs a query, again when another session holds a lock on a table. A connection
// that is gone is not waited for: reports say at once that the database is unavailable.
func (db *DB) read(ctx context.Context, what string, do func(context.Context) error) error {
	return db.retry(ctx, what, isBusy, do)
}

// snapshot runs fn in a transaction that sees the database as it was at one moment.
func (db *DB) snapshot(ctx context.Context, what string, fn func(tx *sqlx.Tx) error) error {
	return db.read(ctx, what, func(ctx context.Context) error {
		tx, err := db.pool.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing was changed
		return fn(tx)
	})
}

// get reads one row into dest. It returns sql.ErrNoRows as it is.
func (db *DB) get(ctx context.Context, what string, dest any, query string, args ...any) error {
	missing := false
	err := db.read(ctx, what, func(ctx context.Context) error {
		err := db.pool.GetContext(ctx, dest, db.sql(query), args...)
		if missing = errors.Is(err, sql.ErrNoRows); missing {
			return nil
		}
		return err
	})
	if missing {
		return sql.ErrNoRows
	}
	return err
}

// selectAll reads all rows into dest, a pointer to a slice. The slice is never nil,
// so that a list in JSON is never null.
func (db *DB) selectAll(ctx context.Context, what string, dest any, query string, args ...any) error {
	if slice := reflect.ValueOf(dest).Elem(); slice.IsNil() {
		slice.Set(reflect.MakeSlice(slice.Type(), 0, 0))
	}
	return db.read(ctx, what, func(ctx context.Context) error { return db.pool.SelectContext(ctx, dest, db.sql(query), args...) })
}

// eachRow hands the rows of a query to each as they arrive, so that memory stays
// flat.
func eachRow[T any](ctx context.Context, db *DB, what string, each func(T) error, query string, args ...any) error {
	var rows *sqlx.Rows
	err := db.unbounded().read(ctx, what, func(ctx context.Context) (err error) {
		rows, err = db.pool.QueryxContext(ctx, db.sql(query), args...) //nolint:sqlclosecheck // closed below
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err returns what went wrong
	for rows.Next() {
		var row T
		if err := rows.StructScan(&row); err != nil {
			return describe(ctx, what, err)
		}
		if err := each(row); err != nil {
			return err
		}
	}
	return describe(ctx, what, rows.Err())
}

// Optional returns nil, which is stored as NULL, for a zero value.
func Optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// ValueOf returns the zero value for nil, which stands for NULL.
func ValueOf[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
