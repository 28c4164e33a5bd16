package storage

import "context"

// TypeCount is a count by type.
type TypeCount struct {
	Type  string `db:"type" json:"type"`
	Count int64  `db:"count" json:"count"`
}

// CountUnknownHashes counts the hashes without a name, by entity type.
func (db *DB) CountUnknownHashes(ctx context.Context) ([]TypeCount, error) {
	var counts []TypeCount
	err := db.selectAll(ctx, "count the unknown hashes", &counts, `
		SELECT entity_type AS type, count(*) AS count FROM noggin_schema.unknown_hashes
		WHERE resolved_at IS NULL GROUP BY entity_type ORDER BY count(*) DESC, entity_type`)
	return counts, err
}

// CountErrors counts the errors of the last days by type, the most frequent first.
func (db *DB) CountErrors(ctx context.Context, days int) ([]TypeCount, error) {
	var counts []TypeCount
	err := db.selectAll(ctx, "count the errors", &counts, `
		SELECT error_type AS type, count(*) AS count FROM noggin_schema.processing_errors
		WHERE created_at >= current_date - $1::int GROUP BY error_type ORDER BY count(*) DESC, error_type LIMIT 20`, days)
	return counts, err
}

// Throughput sums up some days of processing. Times are in seconds.
type Throughput struct {
	Days     int     `db:"days" json:"days"`
	Records  int64   `db:"records" json:"records"`
	Average  float64 `db:"average" json:"average_seconds"`
	Slowest  float64 `db:"slowest" json:"slowest_seconds"`
	Openings int64   `db:"openings" json:"circuit_openings"`
}

// Throughput sums up the records that became complete in the last days.
func (db *DB) Throughput(ctx context.Context, days int) (Throughput, error) {
	var t Throughput
	err := db.get(ctx, "sum up the throughput", &t, `
		SELECT $1::int AS days, count(*) AS records, coalesce(avg(processing_seconds), 0) AS average,
		       coalesce(max(processing_seconds), 0) AS slowest,
		       (SELECT count(*) FROM noggin_schema.circuit_transitions
		        WHERE to_state = 'open' AND created_at >= current_date - $1::int) AS openings
		FROM noggin_schema.noggin_data
		WHERE (processing_status = 'pending') IS FALSE AND processing_status = 'complete' AND updated_at >= current_date - $1::int`, days)
	return t, err
}

// RowCounts are the row counts that the monthly maintenance compares.
type RowCounts struct {
	Records     int64 `db:"records" json:"records"`
	Attachments int64 `db:"attachments" json:"attachments"`
	Hashes      int64 `db:"hashes" json:"entity_hashes"`
	Permanent   int64 `db:"permanent" json:"permanently_failed"`
}

// RowCounts counts the rows of the main tables.
func (db *DB) RowCounts(ctx context.Context) (RowCounts, error) {
	var c RowCounts
	err := db.get(ctx, "count the rows", &c, `
		SELECT (SELECT count(*) FROM noggin_schema.noggin_data) AS records,
		       (SELECT count(*) FROM noggin_schema.attachments) AS attachments,
		       (SELECT count(*) FROM noggin_schema.entity_hashes) AS hashes,
		       (SELECT count(*) FROM noggin_schema.noggin_data WHERE permanently_failed) AS permanent`)
	return c, err
}

// DataFolder returns the server's data folder, or "" when the server is on another
// host or the role may not read the setting.
func (db *DB) DataFolder(ctx context.Context) string {
	var folder string
	if err := db.pool.GetContext(ctx, &folder, `
		SELECT current_setting('data_directory') WHERE inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr()`); err != nil {
		return ""
	}
	return folder
}
