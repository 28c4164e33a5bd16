package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Contents says what a backup holds. A restored backup is compared with it.
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

// Snapshot is a fixed view of the database, which pg_dump copies and noggin counts.
// It keeps dead rows from being removed, so close it soon.
type Snapshot struct {
	ID string    // for pg_dump --snapshot
	At time.Time // by the server's clock
	tx *sqlx.Tx

	ctx      context.Context // of tx
	end      context.CancelCauseFunc
	askEvery time.Duration               // for a sign of life, which may take as long
	connect  func(context.Context) error // opens another session of the server
}

// Snapshot begins a snapshot.
func (db *DB) Snapshot(ctx context.Context) (*Snapshot, error) {
	ctx, end := context.WithCancelCause(ctx)
	tx, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		defer end(nil)
		return nil, describe(ctx, "begin a snapshot", err)
	}
	s := &Snapshot{tx: tx, ctx: ctx, end: end, askEvery: cmp.Or(db.cfg.silence, silence), connect: db.connect}
	_, err = tx.ExecContext(ctx, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; `+untimed)
	if err == nil {
		err = tx.QueryRowxContext(ctx, `SELECT pg_export_snapshot(), now()`).Scan(&s.ID, &s.At)
	}
	if err != nil {
		err = describe(ctx, "begin a snapshot", err)
		s.Close()
		return nil, err
	}
	return s, nil
}

// While does something with the snapshot over connections that are not noggin's. It ends do
// when the server no longer answers, and tells a failure of do that the server or its
// snapshot is gone: the error then wraps [ErrUnavailable].
func (s *Snapshot) While(ctx context.Context, do func(context.Context) error) error {
	working, stop := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for working.Err() == nil {
			select {
			case <-working.Done():
			case <-time.After(s.askEvery):
				if err := s.check(); err != nil {
					stop(err)
				}
			}
		}
	})
	err := do(working)
	stop(nil)
	watching.Wait()
	if err == nil || errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	gone := s.check()
	if gone == nil { // A server that goes away may end the session of do first, but takes no new one then.
		gone = s.connect(ctx)
	}
	if gone != nil {
		return fmt.Errorf("%w: %w", gone, err)
	}
	return err
}

// connect opens another session of the server and closes it.
func (db *DB) connect(ctx context.Context) error {
	other, err := open(db.cfg, db.command, "")
	if err != nil {
		return err
	}
	return errors.Join(other.Ping(ctx), other.Close())
}

// check returns an error when the snapshot is gone.
func (s *Snapshot) check() error {
	late := StartStopwatch(s.askEvery, func() { s.end(fmt.Errorf("%w: it gives no answer", ErrUnavailable)) })
	defer late.Stop()
	_, err := s.tx.ExecContext(s.ctx, `SELECT 1`)
	return describe(s.ctx, "ask whether the server still has the snapshot", err)
}

// Close ends the snapshot.
func (s *Snapshot) Close() {
	_ = s.tx.Rollback()
	s.end(nil)
}

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
	v, err := db.schemaVersion(ctx, q)
	if err != nil {
		return c, err
	}
	c.SchemaVersion = v.Version
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

// RecordBackup notes a dump that noggin made, before it gets its name.
func (db *DB) RecordBackup(ctx context.Context, sum, path string, bytes int64, taken time.Time) error {
	return db.change(ctx, "record the backup", `
		INSERT INTO noggin_schema.backups (hash_sha256, path, size_bytes, host, taken_at)
		VALUES ($1, $2, $3, $4, $5::timestamptz) ON CONFLICT (hash_sha256) DO NOTHING`,
		sum, path, bytes, db.host, taken.Format(time.RFC3339Nano))
}

// BackupsIn counts the backups that this host made in the folder and that no rotation has
// removed.
func (db *DB) BackupsIn(ctx context.Context, dir string) (n int64, err error) {
	err = db.get(ctx, "count the backups in a folder", &n, `
		SELECT count(*) FROM noggin_schema.backups WHERE host = $1 AND removed_at IS NULL AND regexp_replace(path, '/[^/]*$', '/') = $2`,
		db.host, filepath.Clean(dir)+"/")
	return n, err
}

// RecordedBackups returns the SHA-256 of each dump that noggin made.
func (db *DB) RecordedBackups(ctx context.Context) (map[string]bool, error) {
	var sums []string
	if err := db.selectAll(ctx, "read which backups were made", &sums, `SELECT hash_sha256 FROM noggin_schema.backups`); err != nil {
		return nil, err
	}
	recorded := make(map[string]bool, len(sums))
	for _, sum := range sums {
		recorded[sum] = true
	}
	return recorded, nil
}

// Unreadable returns a GRANT for each table and sequence that pg_dump could not read.
func (db *DB) Unreadable(ctx context.Context) (missing []string, err error) {
	err = db.selectAll(ctx, "look for missing rights", &missing, `
		SELECT format('GRANT SELECT ON %s %I.%I TO %I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname, current_user)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'S')
		  AND NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END
		ORDER BY c.relkind, c.relname`, db.cfg.Schema)
	return missing, err
}

// ServerMajor returns the major version of the server.
func (db *DB) ServerMajor(ctx context.Context) (int, error) {
	var number int
	err := db.get(ctx, "ask for the server's version", &number, `SELECT current_setting('server_version_num')::int`)
	return number / 10000, err
}

// Scratch is a temporary database into which a backup is restored.
type Scratch struct {
	*DB
	Name  string
	owner *DB
}

// NewScratch makes an empty database on the same server, for tables in schema. It
// drops scratch databases of this role that earlier runs left. The caller holds the maintenance
// lock.
func (db *DB) NewScratch(ctx context.Context, schema string) (*Scratch, error) {
	const what = "make a scratch database"
	var own struct {
		Prefix    string
		Encoding  string
		Collate   string
		CharType  string `db:"ctype"`
		Now       int64
		Leftovers pq.StringArray
	}
	err := db.get(ctx, what, &own, `
		SELECT d.prefix, d.encoding, d.datcollate AS collate, d.datctype AS ctype, extract(epoch FROM now())::bigint AS now,
		       ARRAY(SELECT o.datname FROM pg_database o WHERE o.datname ~ ('^' || d.prefix || '[0-9]+$')
		             AND pg_get_userbyid(o.datdba) = current_user) AS leftovers
		FROM (SELECT 'noggin_verify_' || oid || '_' AS prefix, pg_encoding_to_char(encoding) AS encoding, datcollate, datctype
		      FROM pg_database WHERE datname = current_database()) d`)
	if err != nil {
		return nil, err
	}
	for _, name := range own.Leftovers {
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

// InvalidIndexes returns the names of the indexes that PostgreSQL cannot use.
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

// Environment returns environ with libpq's variables, so that PostgreSQL's own programs
// connect as noggin does, to the named database; "" is noggin's. environ must hold none
// of them. No password stands on a command line, where every user of the host could
// read it.
func (c Config) Environment(environ []string, database string) ([]string, error) {
	cfg, err := c.libpq()
	if err != nil {
		return nil, err
	}
	environ = slices.Clone(environ)
	hosts, ports := []string{cfg.Host}, []string{strconv.Itoa(int(cfg.Port))}
	for _, more := range cfg.Multi {
		hosts, ports = append(hosts, more.Host), append(ports, strconv.Itoa(int(more.Port)))
	}
	if database == "" {
		database = cfg.Database
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
	set("PGSSLMODE", string(cfg.SSLMode))
	if cfg.SSLMode == pq.SSLModeDisable || cfg.SSLMode == pq.SSLModeAllow || cfg.SSLMode == pq.SSLModePrefer {
		set("PGREQUIREAUTH", "!password") // as errCleartext; programs before PostgreSQL 16 do not know it
	}
	set("PGSSLCERT", cfg.SSLCert)
	set("PGSSLKEY", cfg.SSLKey)
	set("PGSSLROOTCERT", cfg.SSLRootCert)
	set("PGTARGETSESSIONATTRS", string(cfg.TargetSessionAttrs))
	set("PGCONNECT_TIMEOUT", strconv.Itoa(int(c.ConnectTimeout.Seconds())))
	set("PGOPTIONS", cfg.Options)
	set("PGAPPNAME", "noggin backup")
	return environ, nil
}

// DatabaseName returns the name of the database in the URL.
func (c Config) DatabaseName() (string, error) {
	cfg, err := c.libpq()
	if err != nil {
		return "", err
	}
	if cfg.Database == "" {
		return cfg.User, nil // libpq's rule
	}
	return cfg.Database, nil
}
