package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Contents is what a backup holds: what it is compared with when it is restored.
type Contents struct {
	Database      string           `json:"database"`
	Schema        string           `json:"schema"`
	SchemaVersion int              `json:"schema_version"`
	ServerVersion string           `json:"server_version"`
	Encoding      string           `json:"encoding"`
	Collate       string           `json:"lc_collate"`
	CharType      string           `json:"lc_ctype"`
	Rows          map[string]int64 `json:"rows"` // by table
}

// Snapshot holds a moment of the database in view, for pg_dump to copy and for us
// to count. It keeps dead rows of that moment alive: close it soon.
type Snapshot struct {
	ID string    // what pg_dump takes as --snapshot
	At time.Time // by the server's clock
	tx *sqlx.Tx
}

// Snapshot begins one.
func (db *DB) Snapshot(ctx context.Context) (*Snapshot, error) {
	tx, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		return nil, describe(ctx, "begin a snapshot", err)
	}
	s := &Snapshot{tx: tx}
	_, err = tx.ExecContext(ctx, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
		SET LOCAL idle_in_transaction_session_timeout = 0`)
	if err == nil {
		err = tx.QueryRowxContext(ctx, `SELECT pg_export_snapshot(), now()`).Scan(&s.ID, &s.At)
	}
	if err != nil {
		s.Close()
		return nil, describe(ctx, "begin a snapshot", err)
	}
	return s, nil
}

// Close ends the snapshot.
func (s *Snapshot) Close() { _ = s.tx.Rollback() }

// Contents counts what the snapshot sees.
func (db *DB) Contents(ctx context.Context, s *Snapshot) (Contents, error) {
	c, err := db.contents(ctx, s.tx)
	return c, describe(ctx, "count the rows", err)
}

func (db *DB) contents(ctx context.Context, q sqlx.QueryerContext) (Contents, error) {
	c := Contents{Schema: db.cfg.Schema, Rows: map[string]int64{}}
	err := q.QueryRowxContext(ctx, `SELECT datname, current_setting('server_version'), pg_encoding_to_char(encoding), datcollate, datctype
		FROM pg_database WHERE datname = current_database()`).Scan(&c.Database, &c.ServerVersion, &c.Encoding, &c.Collate, &c.CharType)
	if err != nil {
		return c, err
	}
	if c.SchemaVersion, err = db.schemaVersion(ctx, q); err != nil {
		return c, err
	}
	var tables []string
	if err := sqlx.SelectContext(ctx, q, &tables, `SELECT c.relname FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace($1)`, pq.QuoteIdentifier(db.cfg.Schema)); err != nil {
		return c, err
	}
	for _, table := range tables {
		var rows int64
		if err := sqlx.GetContext(ctx, q, &rows, "SELECT count(*) FROM "+db.quoted(table)); err != nil {
			return c, fmt.Errorf("%s: %w", table, err)
		}
		c.Rows[table] = rows
	}
	return c, nil
}

// ServerMajor returns the major version of the server.
func (db *DB) ServerMajor(ctx context.Context) (int, error) {
	var number int
	err := db.get(ctx, "ask for the server's version", &number, `SELECT current_setting('server_version_num')::int`)
	return number / 10000, err
}

// Scratch is a database made to restore a backup into.
type Scratch struct {
	*DB
	Name  string
	owner *DB
}

// NewScratch makes an empty database beside ours, for tables in schema, and drops
// those that an earlier one of ours left behind. The caller holds the maintenance
// lock.
func (db *DB) NewScratch(ctx context.Context, schema string) (*Scratch, error) {
	const what = "make a scratch database"
	var own struct {
		Prefix    string
		Encoding  string
		Collate   string
		CharType  string `db:"ctype"`
		Now       int64
		Leftovers string
	}
	err := db.get(ctx, what, &own, `
		SELECT d.prefix, d.encoding, d.datcollate AS collate, d.datctype AS ctype, extract(epoch FROM now())::bigint AS now,
		       coalesce((SELECT string_agg(o.datname, ' ') FROM pg_database o WHERE starts_with(o.datname, d.prefix)), '') AS leftovers
		FROM (SELECT 'noggin_verify_' || oid || '_' AS prefix, pg_encoding_to_char(encoding) AS encoding, datcollate, datctype
		      FROM pg_database WHERE datname = current_database()) d`)
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Fields(own.Leftovers) {
		if err := db.dropDatabase(ctx, name); err != nil {
			return nil, err
		}
	}
	s := &Scratch{Name: own.Prefix + strconv.FormatInt(own.Now, 10), owner: db}
	err = db.maintain(ctx, what, fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s",
		pq.QuoteIdentifier(s.Name), pq.QuoteLiteral(own.Encoding), pq.QuoteLiteral(own.Collate), pq.QuoteLiteral(own.CharType)))
	if hasCode(err, "42501") {
		return nil, fmt.Errorf("%w: the role may not create databases: as an administrator of the server, "+
			"ALTER ROLE … CREATEDB, or verify the backup on another server", err)
	}
	if err != nil {
		return nil, err
	}
	cfg := db.cfg
	cfg.Schema = schema
	if s.DB, err = open(cfg, "maintain verify-backup", s.Name); err != nil {
		return nil, errors.Join(err, s.Drop(ctx))
	}
	return s, nil
}

// Drop removes the scratch database, also when ctx has ended.
func (s *Scratch) Drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if s.DB != nil {
		_ = s.Close()
	}
	return s.owner.dropDatabase(ctx, s.Name)
}

func (db *DB) dropDatabase(ctx context.Context, name string) error {
	return db.maintain(ctx, "drop database "+name, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
}

// InvalidIndexes returns the names of our indexes that cannot be used.
func (db *DB) InvalidIndexes(ctx context.Context) (names []string, err error) {
	indexes, err := db.Indexes(ctx)
	for _, index := range indexes {
		if !index.Valid {
			names = append(names, index.Index)
		}
	}
	return names, err
}

// Contents counts what was restored.
func (s *Scratch) Contents(ctx context.Context) (Contents, error) {
	c, err := s.contents(ctx, s.pool)
	return c, describe(ctx, "count what was restored", err)
}

// Environment returns environ with libpq's variables set so that PostgreSQL's own
// programs connect as we do, to the database of that name ("" is ours): no
// password stands on a command line, where every user of the host could read it.
// Other variables of libpq's, which are in the configuration already, and noggin's
// own are taken out.
func (c Config) Environment(environ []string, database string) ([]string, error) {
	cfg, err := pq.NewConfig(c.URL)
	if err != nil {
		return nil, errors.New("[database] url: not a libpq URL")
	}
	environ = slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		return strings.HasPrefix(v, "NOGGIN_") || strings.HasPrefix(v, "PG")
	})
	hosts, ports := []string{cfg.Host}, []string{strconv.Itoa(int(cfg.Port))}
	for _, more := range cfg.Multi {
		hosts, ports = append(hosts, more.Host), append(ports, strconv.Itoa(int(more.Port)))
	}
	if database == "" {
		database = cfg.Database
	}
	sslMode := string(cfg.SSLMode)
	if !strings.Contains(c.URL, "sslmode") && os.Getenv("PGSSLMODE") == "" {
		sslMode = string(pq.SSLModePrefer)
	}
	set := func(name, value string) {
		if value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	set("PGHOST", strings.Join(hosts, ","))
	if cfg.Hostaddr.IsValid() {
		set("PGHOSTADDR", cfg.Hostaddr.String())
	}
	set("PGPORT", strings.Join(ports, ","))
	set("PGUSER", cfg.User)
	set("PGDATABASE", database)
	set("PGPASSWORD", cfg.Password)
	set("PGPASSFILE", cfg.Passfile)
	set("PGSSLMODE", sslMode)
	set("PGSSLCERT", cfg.SSLCert)
	set("PGSSLKEY", cfg.SSLKey)
	set("PGSSLROOTCERT", cfg.SSLRootCert)
	set("PGTARGETSESSIONATTRS", string(cfg.TargetSessionAttrs))
	set("PGCONNECT_TIMEOUT", strconv.Itoa(int(c.ConnectTimeout.Seconds())))
	set("PGOPTIONS", cfg.Options)
	set("PGAPPNAME", "noggin backup")
	return environ, nil
}

// DatabaseName is the name of the database that the URL leads to.
func (c Config) DatabaseName() (string, error) {
	cfg, err := pq.NewConfig(c.URL)
	if err != nil {
		return "", errors.New("[database] url: not a libpq URL")
	}
	if cfg.Database == "" {
		return cfg.User, nil // libpq's rule
	}
	return cfg.Database, nil
}
