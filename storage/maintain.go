package storage

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/lib/pq"
)

// ErrBusy means that a statement waited for a lock on a table or index for longer than
// [Config.LockTimeout].
var ErrBusy = errors.New("it is in use by another session")

// TableSize is a table of noggin and its size in bytes. Rows is the planner's estimate.
type TableSize struct {
	Table      string `db:"table_name" json:"table"`
	Rows       int64  `db:"row_estimate" json:"rows_estimated"`
	DeadRows   int64  `db:"dead_rows" json:"dead_rows"`
	TableBytes int64  `db:"table_bytes" json:"table_bytes"` // with TOAST
	IndexBytes int64  `db:"index_bytes" json:"index_bytes"`
	TotalBytes int64  `db:"total_bytes" json:"total_bytes"`
}

// sizeOf is the SQL of a size function of PostgreSQL for the relation c. The function
// would wait for a session that rewrites c, which may take an hour. While one does, the
// planner's estimate stands in.
func sizeOf(function string) string {
	return `CASE WHEN EXISTS (SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock' AND l.granted)
		THEN c.relpages * current_setting('block_size')::bigint ELSE ` + function + `(c.oid) END`
}

// TableSizes returns all tables of noggin, the largest first, without those that are only
// locked: maintenance would wait for its own lock there.
func (db *DB) TableSizes(ctx context.Context) ([]TableSize, error) {
	var sizes []TableSize
	err := db.pool.SelectContext(ctx, &sizes, `
		SELECT c.relname AS table_name, greatest(c.reltuples, 0)::bigint AS row_estimate,
		       coalesce(pg_stat_get_dead_tuples(c.oid), 0) AS dead_rows,
		       `+sizeOf("pg_table_size")+` AS table_bytes, `+sizeOf("pg_indexes_size")+` AS index_bytes, `+sizeOf("pg_total_relation_size")+` AS total_bytes
		FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace($1) AND c.relname NOT LIKE '%\_lock'
		ORDER BY total_bytes DESC, c.relname`, pq.QuoteIdentifier(db.cfg.Schema))
	if err == nil && len(sizes) == 0 {
		err = fmt.Errorf("%w: it is missing: run `noggin init-db`", ErrSchema)
	}
	return sizes, describe(ctx, "read the sizes of the tables", err)
}

// IndexSize is an index of noggin and its size in bytes.
type IndexSize struct {
	Index string `db:"index_name" json:"index"`
	Table string `db:"table_name" json:"table"`
	Bytes int64  `db:"bytes" json:"bytes"`
	Valid bool   `db:"valid" json:"-"`
}

// Indexes returns all indexes of the tables of [DB.TableSizes], the largest first.
func (db *DB) Indexes(ctx context.Context) ([]IndexSize, error) {
	var indexes []IndexSize
	err := db.pool.SelectContext(ctx, &indexes, `
		SELECT c.relname AS index_name, t.relname AS table_name, `+sizeOf("pg_relation_size")+` AS bytes, x.indisvalid AS valid
		FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
		WHERE t.relkind = 'r' AND t.relnamespace = to_regnamespace($1) AND t.relname NOT LIKE '%\_lock' ORDER BY bytes DESC, c.relname`,
		pq.QuoteIdentifier(db.cfg.Schema))
	return indexes, describe(ctx, "read the indexes", err)
}

// leftover matches the names of indexes that a failed REINDEX CONCURRENTLY leaves.
var leftover = regexp.MustCompile(`_cc(new|old)[0-9]*$`)

// Leftover reports whether a failed concurrent rebuild left the index.
func (i IndexSize) Leftover() bool { return !i.Valid && leftover.MatchString(i.Index) }

// Analyze renews the planner's statistics of a table.
func (db *DB) Analyze(ctx context.Context, table string) error {
	return db.maintain(ctx, "analyse "+table, "ANALYZE "+db.quoted(table))
}

// Vacuum removes a table's dead rows and renews its statistics. full rewrites the table
// and gives the space back to the volume. It needs as much free space first, and no
// other session can use the table while it runs.
func (db *DB) Vacuum(ctx context.Context, table string, full bool) error {
	statement := "VACUUM (ANALYZE) "
	if full {
		statement = "VACUUM (FULL, ANALYZE) "
	}
	return db.maintain(ctx, "vacuum "+table, statement+db.quoted(table))
}

// Reindex builds an index again. The old one stays in use until the new one is ready.
func (db *DB) Reindex(ctx context.Context, index string) error {
	return db.maintain(ctx, "rebuild index "+index, "REINDEX INDEX CONCURRENTLY "+db.quoted(index))
}

// DropLeftover drops an index for which [IndexSize.Leftover] is true.
func (db *DB) DropLeftover(ctx context.Context, index string) error {
	if !leftover.MatchString(index) {
		return fmt.Errorf("drop index %s: no failed rebuild left it", index)
	}
	return db.maintain(ctx, "drop index "+index, "DROP INDEX CONCURRENTLY IF EXISTS "+db.quoted(index))
}

func (db *DB) quoted(name string) string {
	return pq.QuoteIdentifier(db.cfg.Schema) + "." + pq.QuoteIdentifier(name)
}

// maintain runs a statement outside a transaction, as these statements must. It has no
// statement timeout, but it waits for a lock only for [Config.LockTimeout]: other
// sessions queue behind a waiting statement.
func (db *DB) maintain(ctx context.Context, what, statement string) error {
	_, err := db.pool.ExecContext(ctx, statement)
	return describe(ctx, what, err)
}

// Pause is a pause by `noggin maintain pause`.
type Pause struct {
	At     time.Time  `db:"paused_at" json:"paused_at"`
	Until  *time.Time `db:"paused_until" json:"paused_until"` // nil: until resumed
	Reason string     `db:"reason" json:"reason"`
	Host   string     `db:"host" json:"host"`
}

// Pause stops all runs on all hosts for d, or until [DB.Resume] when d is 0. It
// replaces an earlier pause.
func (db *DB) Pause(ctx context.Context, d time.Duration, reason string) (p Pause, err error) {
	err = db.changeGet(ctx, "pause", &p, `
		INSERT INTO noggin_schema.pause AS p (id, paused_until, reason, host)
		VALUES (1, now() + nullif($1::float8, 0) * interval '1 second', $2, $3)
		ON CONFLICT (id) DO UPDATE SET paused_at = now(), paused_until = excluded.paused_until,
			reason = excluded.reason, host = excluded.host
		RETURNING paused_at, paused_until, reason, host`, d.Seconds(), cleanText(reason), db.host)
	return p, err
}

// Resume ends a pause and returns it; nil when there was none.
func (db *DB) Resume(ctx context.Context) (*Pause, error) {
	var ended []Pause
	err := changeAll(ctx, db, "resume", &ended, `DELETE FROM noggin_schema.pause RETURNING paused_at, paused_until, reason, host`)
	if err != nil || len(ended) == 0 {
		return nil, err
	}
	return &ended[0], nil
}

// EndPause ends a pause, unless another one has replaced it.
func (db *DB) EndPause(ctx context.Context, p Pause) error {
	return db.change(ctx, "end the pause", `DELETE FROM noggin_schema.pause WHERE paused_at = $1::timestamptz`, p.At.Format(time.RFC3339Nano))
}

// RunSummary is a finished run and its summary.
type RunSummary struct {
	ID       int64     `db:"id"`
	Host     string    `db:"host"`
	Finished time.Time `db:"finished_at"`
	ExitCode int       `db:"exit_code"`
	Summary  []byte    `db:"summary"`
}

// RunsThis returns the runs of a command that ended in this "day", "week" (from
// Sunday, the day of the weekly jobs, so that one made up on Monday does not stand for the
// next Sunday's) or "month" of the site's time zone, the newest first.
func (db *DB) RunsThis(ctx context.Context, period, command string) ([]RunSummary, error) {
	var runs []RunSummary
	err := db.selectAll(ctx, "read the runs of "+command, &runs, `
		SELECT id, host, finished_at, coalesce(exit_code, 1) AS exit_code, coalesce(summary, 'null') AS summary
		FROM noggin_schema.runs, LATERAL (SELECT CASE $2 WHEN 'week' THEN date_trunc('week', now() + interval '1 day') - interval '1 day'
			ELSE date_trunc($2, now()) END AS at) AS begin
		WHERE command = $1 AND started_at >= begin.at - interval '1 day' AND finished_at >= begin.at
		ORDER BY started_at DESC LIMIT 100`, command, period)
	return runs, err
}
