package storage

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// DatabaseState is the state of the whole database.
type DatabaseState struct {
	Database       string     `db:"database" json:"database"`
	Schema         string     `db:"schema" json:"schema"`
	ServerVersion  string     `db:"server_version" json:"server_version"`
	StartedAt      time.Time  `db:"started_at" json:"server_started_at"`
	Bytes          int64      `db:"bytes" json:"bytes"`
	Records        int64      `db:"records" json:"records"`
	Attachments    int64      `db:"attachments" json:"attachments"`
	Hashes         int64      `db:"hashes" json:"entity_hashes"`
	LastUpdate     *time.Time `db:"last_update" json:"last_updated_at"`
	Connections    int        `db:"connections" json:"connections"`
	MaxConnections int        `db:"max_connections" json:"max_connections"`
	TableHits      *float64   `db:"table_hits" json:"table_cache_hit_percent"`
	IndexHits      *float64   `db:"index_hits" json:"index_cache_hit_percent"`
	Deadlocks      int64      `db:"deadlocks" json:"deadlocks"`
	TempBytes      int64      `db:"temp_bytes" json:"temporary_bytes"`
	OldestXact     *float64   `db:"oldest_xact" json:"oldest_transaction_seconds"` // nil: none is open
}

// DatabaseState reads the state of the whole database.
func (db *DB) DatabaseState(ctx context.Context) (DatabaseState, error) {
	var s DatabaseState
	err := db.get(ctx, "read the state of the database", &s, `
		SELECT current_database() AS database, $1::text AS schema, current_setting('server_version') AS server_version,
		       pg_postmaster_start_time() AS started_at, pg_database_size(current_database()) AS bytes,
		       coalesce((SELECT sum(records) FROM noggin_schema.record_counts), 0)::bigint AS records,
		       coalesce((SELECT sum(files) FROM noggin_schema.file_counts WHERE kind = 'attachment'), 0)::bigint AS attachments,
		       (SELECT count(*) FROM noggin_schema.entity_hashes) AS hashes,
		       (SELECT max(updated_at) FROM noggin_schema.noggin_data WHERE (processing_status = 'pending') IS FALSE) AS last_update,
		       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
		       current_setting('max_connections')::int AS max_connections,
		       (SELECT 100.0 * sum(heap_blks_hit) / nullif(sum(heap_blks_hit + heap_blks_read), 0) FROM pg_statio_user_tables WHERE schemaname = $1::text)::float8 AS table_hits,
		       (SELECT 100.0 * sum(idx_blks_hit) / nullif(sum(idx_blks_hit + idx_blks_read), 0) FROM pg_statio_user_tables WHERE schemaname = $1::text)::float8 AS index_hits,
		       d.deadlocks, d.temp_bytes,
		       (SELECT max(extract(epoch FROM now() - xact_start)) FROM pg_stat_activity
		        WHERE datname = current_database() AND pid <> pg_backend_pid())::float8 AS oldest_xact
		FROM pg_stat_database d WHERE d.datname = current_database()`, db.cfg.Schema)
	return s, err
}

// TableState is the state of one table. Row counts are the server's estimates.
type TableState struct {
	Table       string     `db:"table_name" json:"table"`
	Bytes       int64      `db:"bytes" json:"total_bytes"`
	TableBytes  int64      `db:"table_bytes" json:"table_bytes"`
	IndexBytes  int64      `db:"index_bytes" json:"index_bytes"`
	Rows        int64      `db:"live_rows" json:"rows"`
	DeadRows    int64      `db:"dead_rows" json:"dead_rows"`
	VacuumedAt  *time.Time `db:"vacuumed_at" json:"last_vacuum"` // by hand or by autovacuum
	AnalysedAt  *time.Time `db:"analysed_at" json:"last_analyse"`
	SeqScans    int64      `db:"seq_scans" json:"sequential_scans"`
	IndexScans  int64      `db:"index_scans" json:"index_scans"`
	FrozenAfter int64      `db:"xid_age" json:"transaction_id_age"`
}

// TableStates returns the tables of the schema, the largest first.
func (db *DB) TableStates(ctx context.Context) ([]TableState, error) {
	var tables []TableState
	err := db.selectAll(ctx, "read the state of the tables", &tables, `
		SELECT s.relname AS table_name, pg_total_relation_size(s.relid) AS bytes, pg_table_size(s.relid) AS table_bytes,
		       pg_indexes_size(s.relid) AS index_bytes, s.n_live_tup AS live_rows, s.n_dead_tup AS dead_rows,
		       greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at, greatest(s.last_analyze, s.last_autoanalyze) AS analysed_at,
		       s.seq_scan AS seq_scans, coalesce(s.idx_scan, 0) AS index_scans, age(c.relfrozenxid)::bigint AS xid_age
		FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE s.schemaname = $1 ORDER BY 2 DESC, 1`, db.cfg.Schema)
	return tables, err
}

// IndexState is the state of one index.
type IndexState struct {
	Index string `db:"index_name" json:"index"`
	Table string `db:"table_name" json:"table"`
	Bytes int64  `db:"bytes" json:"bytes"`
	Scans int64  `db:"scans" json:"scans"`
	Valid bool   `db:"valid" json:"valid"`
}

// IndexStates returns the indexes of the schema, the largest first.
func (db *DB) IndexStates(ctx context.Context) ([]IndexState, error) {
	var indexes []IndexState
	err := db.selectAll(ctx, "read the state of the indexes", &indexes, `
		SELECT s.indexrelname AS index_name, s.relname AS table_name, pg_relation_size(s.indexrelid) AS bytes, s.idx_scan AS scans, i.indisvalid AS valid
		FROM pg_stat_user_indexes s JOIN pg_index i ON i.indexrelid = s.indexrelid WHERE s.schemaname = $1 ORDER BY 3 DESC, 1`, db.cfg.Schema)
	return indexes, err
}

// ColumnState holds the planner's statistics of a column with many values.
type ColumnState struct {
	Table       string   `db:"table_name" json:"table"`
	Column      string   `db:"column_name" json:"column"`
	Distinct    float64  `db:"n_distinct" json:"n_distinct"`
	Correlation *float64 `db:"correlation" json:"correlation"`
}

// ColumnStates returns the columns with more than 100 values, as the manual's query for
// missing indexes does. A negative number of values is a fraction of the rows.
func (db *DB) ColumnStates(ctx context.Context) ([]ColumnState, error) {
	var columns []ColumnState
	err := db.selectAll(ctx, "read the statistics of the columns", &columns, `
		SELECT tablename AS table_name, attname AS column_name, n_distinct::float8, correlation::float8 FROM pg_stats
		WHERE schemaname = $1 AND (n_distinct > 100 OR n_distinct < -0.01) ORDER BY abs(correlation) DESC NULLS LAST, 1, 2`, db.cfg.Schema)
	return columns, err
}

// SessionState is an active session of the database.
type SessionState struct {
	PID            int       `db:"pid" json:"pid"`
	User           *string   `db:"usename" json:"user"`
	Application    string    `db:"application_name" json:"application"`
	Client         *string   `db:"client" json:"client"` // nil: connected by the server's socket
	State          *string   `db:"state" json:"state"`
	QueryStart     time.Time `db:"query_start" json:"query_start"`
	QuerySeconds   float64   `db:"query_seconds" json:"query_seconds"`
	XactSeconds    *float64  `db:"xact_seconds" json:"transaction_seconds"`
	WaitsFor       *string   `db:"waits_for" json:"waits_for"`
	BlockedBy      *string   `db:"blocked_by" json:"blocked_by"` // process ids
	Query          string    `db:"query" json:"query"`           // its first 200 characters
	OverFiveMinute bool      `db:"long" json:"over_5_minutes"`
}

// SessionStates returns the other sessions that run a statement or have a transaction
// open, the longest first.
func (db *DB) SessionStates(ctx context.Context) ([]SessionState, error) {
	var sessions []SessionState
	err := db.selectAll(ctx, "list the sessions", &sessions, `
		SELECT pid, usename, application_name, host(client_addr) AS client, state, query_start,
		       extract(epoch FROM now() - query_start)::float8 AS query_seconds, extract(epoch FROM now() - xact_start)::float8 AS xact_seconds,
		       wait_event_type || ': ' || wait_event AS waits_for, nullif(array_to_string(pg_blocking_pids(pid), ', '), '') AS blocked_by,
		       left(regexp_replace(query, '\s+', ' ', 'g'), 200) AS query,
		       greatest(now() - query_start, now() - xact_start) > interval '5 minutes' AS long
		FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IS NOT NULL AND state <> 'idle' AND query_start IS NOT NULL
		ORDER BY least(xact_start, query_start)`)
	return sessions, err
}

// StatementState is a statement in pg_stat_statements.
type StatementState struct {
	Calls        int64   `db:"calls" json:"calls"`
	TotalSeconds float64 `db:"total_seconds" json:"total_seconds"`
	MeanSeconds  float64 `db:"mean_seconds" json:"mean_seconds"`
	MaxSeconds   float64 `db:"max_seconds" json:"max_seconds"`
	Rows         int64   `db:"rows" json:"rows"`
	Query        string  `db:"query" json:"query"` // its first 200 characters
}

// SlowStatements returns the statements of this database with the longest average time,
// at most limit. there is false when the extension pg_stat_statements is missing or
// the role may not read it.
func (db *DB) SlowStatements(ctx context.Context, limit int) (statements []StatementState, there bool, err error) {
	var schema *string
	if err := db.get(ctx, "look for pg_stat_statements", &schema, `
		SELECT (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements')`); err != nil || schema == nil {
		return nil, false, err
	}
	err = db.selectAll(ctx, "read the slow statements", &statements, `
		SELECT calls, total_exec_time / 1000 AS total_seconds, mean_exec_time / 1000 AS mean_seconds, max_exec_time / 1000 AS max_seconds, rows,
		       left(regexp_replace(query, '\s+', ' ', 'g'), 200) AS query
		FROM `+pq.QuoteIdentifier(*schema)+`.pg_stat_statements
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT LIKE '%pg_stat_statements%'
		ORDER BY mean_exec_time DESC LIMIT $1`, limit)
	if hasCode(err, "42501") || hasCode(err, "55000") { // the role may not read it; the server did not load it
		return nil, false, nil
	}
	return statements, true, err
}
