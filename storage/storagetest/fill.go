package storagetest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lib/pq"
)

// FillOptions say how much [Fill] puts into a database.
type FillOptions struct {
	Records     int
	Attachments int // spread evenly over the records
	Errors      int // in processing_errors
	Pending     int // percent of the records that are pending; another 3 percent fail
	Days        int // the rows are spread over so many days up to now; 0: two years
	// Bulk is for millions of records: no trigger and no check of a key runs, and most
	// indexes are built at the end. The rows are the same, but nothing is counted and
	// nothing is due to be sealed.
	Bulk bool
}

// Fill generates rows in a database that has the schema noggin_schema. The server
// generates them: a million records take a minute or two. The same options give the
// same rows except for their times, which end now. At the end Fill vacuums and analyses
// the tables, as in a running mirror.
func Fill(ctx context.Context, url string, o FillOptions) error {
	connector, err := pq.NewConnector(url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxOpenConns(1)
	if o.Days == 0 {
		o.Days = 730
	}
	replacer := strings.NewReplacer(
		":records", strconv.Itoa(o.Records), ":attachments", strconv.Itoa(o.Attachments), ":errors", strconv.Itoa(o.Errors),
		":pending", strconv.Itoa(o.Pending), ":days", strconv.Itoa(o.Days))
	fill := func() error {
		for _, statement := range fillStatements {
			if _, err := db.ExecContext(ctx, replacer.Replace(statement)); err != nil {
				return fmt.Errorf("fill the database: %w: %.40s", err, strings.TrimSpace(statement))
			}
		}
		return nil
	}
	if !o.Bulk {
		return fill()
	}
	if _, err := db.ExecContext(ctx, `SET session_replication_role = replica`); err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	if err := WithoutIndexes(ctx, db, []string{"noggin_schema.noggin_data", "noggin_schema.attachments"}, fill); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `ANALYZE noggin_schema.noggin_data, noggin_schema.attachments`); err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	return nil
}

// WithoutIndexes drops the indexes and keys of tables, loads rows and makes them again.
// To fill a large index row by row takes hours.
func WithoutIndexes(ctx context.Context, db *sql.DB, tables []string, load func() error) error {
	var drop, restore []string
	rows, err := db.QueryContext(ctx, `
		WITH t AS (SELECT unnest($1::text[])::regclass AS id)
		SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
		       format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)), contype = 'f' AS foreign
		FROM pg_constraint WHERE contype = 'f' AND confrelid IN (SELECT id FROM t) OR contype IN ('p', 'u') AND conrelid IN (SELECT id FROM t)
		UNION ALL
		SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid), false
		FROM pg_index WHERE indrelid IN (SELECT id FROM t) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
		ORDER BY 3 DESC, 1`, pq.Array(tables))
	if err != nil {
		return fmt.Errorf("list the indexes: %w", err)
	}
	defer func() { _ = rows.Close() }() // its error is Err's
	for rows.Next() {
		var d, r string
		if err := rows.Scan(&d, &r, new(bool)); err != nil {
			return fmt.Errorf("list the indexes: %w", err)
		}
		drop, restore = append(drop, d), append(restore, `SET LOCAL maintenance_work_mem = '1GB'; `+r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list the indexes: %w", err)
	}
	slices.Reverse(restore) // foreign keys need the others
	run := func(statements []string) error {
		for _, s := range statements {
			if _, err := db.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	}
	if err := run(drop); err != nil {
		return err
	}
	if err := load(); err != nil {
		return err
	}
	return run(restore)
}

// fillStatements generate the rows. A tip is the SHA-256 of the record's number, as
// random as the platform's.
var fillStatements = []string{
	`INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, inspection_id, inspection_date, vehicle, vehicle_hash,
		trailer, trailer_hash, department, team, inspected_by, load_compliance, payload, folder, total_attachments, completed_attachment_count,
		retry_count, next_retry_at, last_error_message, permanently_failed, report_path, report_size_bytes, report_hash_sha256,
		source_filename, expected_inspection_id, csv_imported_at, processed_at, processing_seconds, created_at, updated_at, has_unknown_hashes)
	SELECT encode(sha256(i::text::bytea), 'hex'), form, status, CASE WHEN fetched THEN id END, CASE WHEN fetched THEN at::date END,
		'TRUCK ' || i % 500, md5((i % 500)::text), 'TRAILER, "' || i % 700 || '"', md5((i % 700)::text), 'Department ' || i % 12, 'Team ' || i % 40,
		'Inspector ' || i % 90, (ARRAY['Compliant', 'Not compliant'])[1 + i % 2],
		CASE WHEN fetched THEN jsonb_build_object('id', id, 'filler', repeat(md5(i::text), 12)) END,
		CASE WHEN fetched THEN to_char(at, 'YYYY/MM/YYYY-MM-DD ') || replace(id, ' ', '') END,
		CASE WHEN fetched THEN :attachments / :records ELSE 0 END, CASE WHEN status = 'complete' THEN :attachments / :records ELSE 0 END,
		CASE WHEN failed THEN i % 5 ELSE 0 END, CASE WHEN failed THEN now() + (i * 37 % 7200 - 3600) * interval '1 second' END,
		CASE WHEN failed THEN 'answered 503 Service Unavailable (after 6 attempts)' END, failed AND i % 3 = 0,
		CASE WHEN status = 'complete' THEN 'x.txt' END, CASE WHEN status = 'complete' THEN 3000 + i % 2000 END, CASE WHEN status = 'complete' THEN md5(i::text) END,
		'export-' || i / 50000 || '.csv', id, at, CASE WHEN fetched THEN at END, CASE WHEN fetched THEN 1 + i % 40 / 10.0 END,
		at - interval '10 minutes', at, fetched AND i % 100 = 0
	FROM (SELECT i, (ARRAY['LCD', 'LCS', 'CCC', 'FPI', 'SO', 'TA'])[1 + i % 6] AS form,
			(ARRAY['LCD - ', 'LCS - ', 'C - ', 'FL - Inspection - ', 'SO - ', 'TA - '])[1 + i % 6] || to_char(i, 'FM0000000') AS id,
			CASE WHEN i % 100 < :pending THEN 'pending' WHEN i % 100 >= 98 THEN 'api_failed' WHEN i % 100 = 97 THEN 'partial' ELSE 'complete' END AS status,
			i % 100 >= 97 AS failed, i % 100 >= :pending AND i % 100 < 98 AS fetched,
			now() - ((:records - i)::float8 / :records) * (:days * interval '1 day') AS at
		FROM generate_series(1, :records) AS i) AS n`,
	`INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, filename, file_path, attachment_status,
		attachment_validation_status, file_size_bytes, file_hash_sha256, content_type, download_started_at, download_completed_at,
		download_duration_seconds, last_error_message, created_at)
	SELECT d.tip, md5(d.tip || s), s, 'attachments', 'photo_' || s || '.jpg', d.folder || '/photo_' || s || '.jpg',
		CASE WHEN ok THEN 'complete' ELSE 'failed' END, CASE WHEN ok THEN 'valid' ELSE 'not_validated' END,
		CASE WHEN ok THEN 300000 + (row_number() OVER ()) * 7919 % 4000000 END, CASE WHEN ok THEN md5(d.tip || s) END, 'image/jpeg',
		d.processed_at - interval '1 second', CASE WHEN ok THEN d.processed_at END, 0.2 + s / 10.0, CASE WHEN NOT ok THEN 'answered 500 Internal Server Error' END, d.created_at
	FROM noggin_schema.noggin_data d
	CROSS JOIN LATERAL generate_series(1, CASE WHEN d.folder IS NOT NULL AND :attachments > 0 THEN greatest(:attachments / :records, 1) ELSE 0 END) AS s
	CROSS JOIN LATERAL (SELECT d.processing_status = 'complete' OR s > 1 AS ok) AS o`,
	`INSERT INTO noggin_schema.processing_errors (tip, error_type, error_message, error_details, created_at)
	SELECT encode(sha256((i % :records + 1)::text::bytea), 'hex'), (ARRAY['server_error', 'timeout', 'connection', 'not_found', 'rate_limit'])[1 + i % 5],
		(ARRAY['answered 503 Service Unavailable (after 6 attempts)', 'the answer came to a halt', 'connection reset by peer', 'answered 404 Not Found',
			'answered 429 Too Many Requests'])[1 + i % 5], '{"status": 503}', now() - ((:errors - i)::float8 / :errors) * (:days * interval '1 day')
	FROM generate_series(1, :errors) AS i`,
	`INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, first_seen_at, occurrence_count)
	SELECT md5(i::text), (ARRAY['vehicle', 'trailer', 'team'])[1 + i % 3], now() - i * interval '1 hour', i FROM generate_series(1, 200) AS i`,
	`INSERT INTO noggin_schema.runs (command, host, pid, version, started_at, seen_at, finished_at, exit_code, summary)
	SELECT (ARRAY['process', 'process', 'process', 'import-csv', 'maintain backup'])[1 + i % 5], 'host', i, '1.0', at, at, at + interval '40 seconds', 0,
		'{"requests": 100, "claimed": 30}'
	FROM (SELECT i, now() - i * (:days * interval '1 day') / 5000 AS at FROM generate_series(1, 5000) AS i) AS r`,
	`INSERT INTO noggin_schema.samples (taken_at, measures)
	SELECT at, jsonb_build_object('records', jsonb_build_object('pending', 100, 'complete', 1000 - h), 'due', 100 + h % 30, 'attachments', 1000 - h,
		'attachment_bytes', 1000000 * (1000 - h), 'requests', 100000 - 50 * h, 'request_failures', 1000 - h, 'database_bytes', 1000000 * (1000 - h))
	FROM (SELECT h, now() - h * interval '1 hour' AS at FROM generate_series(0, 200) AS h) AS s`,
	`VACUUM ANALYZE noggin_schema.noggin_data`,
	`VACUUM ANALYZE noggin_schema.attachments`,
	`VACUUM ANALYZE noggin_schema.processing_errors`,
	`VACUUM ANALYZE noggin_schema.runs`,
	`VACUUM ANALYZE noggin_schema.record_counts`,
	`VACUUM ANALYZE noggin_schema.file_counts`,
}
