package storage

import (
	"context"
	"time"
)

// RecordTotal is the number of records of a form and status.
type RecordTotal struct {
	ObjectType        string `db:"object_type" json:"object_type"`
	Status            Status `db:"processing_status" json:"processing_status"`
	PermanentlyFailed bool   `db:"permanently_failed" json:"permanently_failed"`
	Records           int64  `db:"records" json:"records"`
}

// RecordTotals returns the records by form and status, from the counts.
func (db *DB) RecordTotals(ctx context.Context) ([]RecordTotal, error) {
	var totals []RecordTotal
	err := db.selectAll(ctx, "count the records", &totals, `
		SELECT object_type, processing_status, permanently_failed, records FROM noggin_schema.record_totals ORDER BY 1, 2, 3`)
	return totals, err
}

// Day counts the records whose status last changed on one day.
type Day struct {
	Date              string   `db:"day" json:"date"`
	Processed         int64    `db:"processed" json:"processed"` // all but pending and skipped records
	Complete          int64    `db:"complete" json:"complete"`
	Partial           int64    `db:"partial" json:"partial"`
	Failed            int64    `db:"failed" json:"failed"`
	APIFailed         int64    `db:"api_failed" json:"api_failed"`
	Unfinished        int64    `db:"unfinished" json:"unfinished"` // api_success or interrupted
	PermanentlyFailed int64    `db:"permanently_failed" json:"permanently_failed"`
	AverageSeconds    *float64 `db:"average_seconds" json:"average_seconds"` // of the complete records
	ShortestSeconds   *float64 `db:"shortest_seconds" json:"shortest_seconds"`
	LongestSeconds    *float64 `db:"longest_seconds" json:"longest_seconds"`
	SlowestTip        *string  `db:"slowest_tip" json:"slowest_tip"`
	SlowestID         *string  `db:"slowest_inspection_id" json:"slowest_inspection_id"`
	AverageWait       *float64 `db:"average_wait" json:"average_seconds_since_import"` // from the import to the end
	Files             int64    `db:"files" json:"attachments"`                         // downloads that began that day
	FilesFailed       int64    `db:"files_failed" json:"attachments_failed"`
	Bytes             int64    `db:"bytes" json:"bytes"`
	DownloadSeconds   float64  `db:"download_seconds" json:"download_seconds"`
	Requests          int64    `db:"requests" json:"requests"` // of the runs that ended that day
	Errors            int64    `db:"errors" json:"errors"`
	Openings          int64    `db:"openings" json:"circuit_openings"`
}

// CompletionRate is the percentage of the processed records that are complete; nil when
// none was processed.
func (d Day) CompletionRate() *float64 { return percentage(d.Complete, d.Processed) }

// APIFailureRate is the percentage of the processed records that are api_failed.
func (d Day) APIFailureRate() *float64 { return percentage(d.APIFailed, d.Processed) }

func percentage(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	rate := 100 * float64(part) / float64(whole)
	return &rate
}

// The counts of the days from $1 to $2. Days before [DaysCounted] are read from records
// and attachments.
const (
	dayCounted = `(SELECT slot AS at, processing_status, permanently_failed, records, seconds, waited, shortest, longest, longest_tip
		FROM noggin_schema.record_counts WHERE slot >= $1::date AND slot < $2::date + 1)`
	dayFromRecords = `(SELECT updated_at AS at, processing_status, permanently_failed, 1 AS records, processing_seconds AS seconds,
			extract(epoch FROM updated_at - created_at)::float8 AS waited, processing_seconds AS shortest, processing_seconds AS longest, tip AS longest_tip
		FROM noggin_schema.noggin_data WHERE updated_at >= $1::date AND updated_at < $2::date + 1 AND (processing_status = 'pending') IS FALSE)`
	dayFilesCounted = `(SELECT slot AS at, status, files, bytes, seconds FROM noggin_schema.file_counts
		WHERE kind = 'attachment' AND status <> 'former' AND slot >= $1::date AND slot < $2::date + 1)`
	dayFilesFromAttachments = `(SELECT download_started_at AS at, attachment_status AS status, 1 AS files,
			CASE WHEN attachment_status = 'complete' THEN file_size_bytes END AS bytes, download_duration_seconds AS seconds
		FROM noggin_schema.attachments WHERE download_started_at >= $1::date AND download_started_at < $2::date + 1)`
)

// Days returns every day from first to last, YYYY-MM-DD in the site's time zone,
// the oldest first.
func (db *DB) Days(ctx context.Context, first, last string) ([]Day, error) {
	records, files := dayCounted, dayFilesCounted
	if day, err := time.Parse(time.DateOnly, first); err == nil && time.Since(day) > DaysCounted*24*time.Hour {
		records, files = dayFromRecords, dayFilesFromAttachments
	}
	var days []Day
	err := db.selectAll(ctx, "summarise the days", &days, `
		WITH r AS (SELECT at::date AS day,
			       sum(records) FILTER (WHERE processing_status NOT IN ('pending', 'skipped')) AS processed,
			       sum(records) FILTER (WHERE processing_status = 'complete') AS complete,
			       sum(records) FILTER (WHERE processing_status = 'partial') AS partial,
			       sum(records) FILTER (WHERE processing_status = 'failed') AS failed,
			       sum(records) FILTER (WHERE processing_status = 'api_failed') AS api_failed,
			       sum(records) FILTER (WHERE processing_status IN ('api_success', 'interrupted')) AS unfinished,
			       sum(records) FILTER (WHERE permanently_failed) AS permanently_failed,
			       sum(seconds) FILTER (WHERE processing_status = 'complete') AS seconds,
			       sum(waited) FILTER (WHERE processing_status = 'complete') AS waited,
			       min(shortest) FILTER (WHERE processing_status = 'complete') AS shortest,
			       max(longest) FILTER (WHERE processing_status = 'complete') AS longest,
			       (array_agg(longest_tip ORDER BY longest DESC) FILTER (WHERE processing_status = 'complete' AND longest IS NOT NULL))[1] AS slowest
			FROM `+records+` AS c GROUP BY 1),
		f AS (SELECT at::date AS day, sum(files) FILTER (WHERE status = 'complete') AS files,
			       sum(files) FILTER (WHERE status = 'failed') AS files_failed, sum(bytes) AS bytes,
			       sum(seconds) FILTER (WHERE status = 'complete') AS seconds
			FROM `+files+` AS c GROUP BY 1),
		q AS (SELECT finished_at::date AS day, sum((summary->>'requests')::bigint) AS requests FROM noggin_schema.runs
			WHERE started_at >= $1::date - 1 AND finished_at >= $1::date AND finished_at < $2::date + 1 AND summary ? 'requests' GROUP BY 1),
		e AS (SELECT created_at::date AS day, count(*) AS errors FROM noggin_schema.processing_errors
			WHERE created_at >= $1::date AND created_at < $2::date + 1 GROUP BY 1),
		o AS (SELECT created_at::date AS day, count(*) AS openings FROM noggin_schema.circuit_transitions
			WHERE created_at >= $1::date AND created_at < $2::date + 1 AND to_state = 'open' GROUP BY 1)
		SELECT d::date::text AS day, coalesce(r.processed, 0) AS processed, coalesce(r.complete, 0) AS complete, coalesce(r.partial, 0) AS partial,
		       coalesce(r.failed, 0) AS failed, coalesce(r.api_failed, 0) AS api_failed, coalesce(r.unfinished, 0) AS unfinished,
		       coalesce(r.permanently_failed, 0) AS permanently_failed,
		       CASE WHEN r.complete > 0 AND r.longest IS NOT NULL THEN greatest(r.seconds, 0) / r.complete END AS average_seconds,
		       CASE WHEN r.complete > 0 THEN r.shortest END AS shortest_seconds,
		       CASE WHEN r.complete > 0 THEN r.longest END AS longest_seconds, CASE WHEN r.complete > 0 THEN r.slowest END AS slowest_tip,
		       CASE WHEN r.complete > 0 THEN (SELECT inspection_id FROM noggin_schema.noggin_data WHERE tip = r.slowest) END AS slowest_inspection_id,
		       CASE WHEN r.complete > 0 THEN greatest(r.waited, 0) / r.complete END AS average_wait,
		       coalesce(f.files, 0) AS files, coalesce(f.files_failed, 0) AS files_failed, coalesce(f.bytes, 0) AS bytes,
		       coalesce(greatest(f.seconds, 0), 0) AS download_seconds,
		       coalesce(q.requests, 0) AS requests, coalesce(e.errors, 0) AS errors, coalesce(o.openings, 0) AS openings
		FROM generate_series($1::date::timestamp, $2::date::timestamp, interval '1 day') AS d
		LEFT JOIN r ON r.day = d::date LEFT JOIN f ON f.day = d::date LEFT JOIN q ON q.day = d::date
		LEFT JOIN e ON e.day = d::date LEFT JOIN o ON o.day = d::date ORDER BY d`, first, last)
	return days, err
}

// ErrorCount counts the errors of one type, or of one type and message.
type ErrorCount struct {
	Type        string    `db:"error_type" json:"error_type"`
	Sample      string    `db:"sample" json:"sample_message"` // its first 100 characters
	Occurrences int64     `db:"occurrences" json:"occurrences"`
	Records     int64     `db:"records" json:"records"`
	First       time.Time `db:"first_at" json:"first_occurrence"`
	Last        time.Time `db:"last_at" json:"last_occurrence"`
	LastTip     *string   `db:"last_tip" json:"last_tip"`
}

// ErrorTypes counts the errors from since until before by type, the most frequent
// first.
func (db *DB) ErrorTypes(ctx context.Context, since, before time.Time) ([]ErrorCount, error) {
	return db.errorCounts(ctx, `(array_agg(left(error_message, 100) ORDER BY created_at DESC))[1]`, `1`, since, before, 1000)
}

// ErrorMessages counts the errors by type and the first 100 characters of the message,
// at most limit of them.
func (db *DB) ErrorMessages(ctx context.Context, since, before time.Time, limit int) ([]ErrorCount, error) {
	return db.errorCounts(ctx, `left(error_message, 100)`, `1, 2`, since, before, limit)
}

func (db *DB) errorCounts(ctx context.Context, sample, group string, since, before time.Time, limit int) ([]ErrorCount, error) {
	var counts []ErrorCount
	err := db.selectAll(ctx, "count the errors", &counts, `
		SELECT error_type, `+sample+` AS sample, count(*) AS occurrences, count(DISTINCT tip) AS records,
		       min(created_at) AS first_at, max(created_at) AS last_at, (array_agg(tip ORDER BY created_at DESC))[1] AS last_tip
		FROM noggin_schema.processing_errors WHERE created_at >= $1::timestamptz AND created_at < $2::timestamptz
		GROUP BY `+group+` ORDER BY occurrences DESC, last_at DESC LIMIT $3`,
		since.Format(time.RFC3339Nano), before.Format(time.RFC3339Nano), limit)
	return counts, err
}

// ErrorRow is one error.
type ErrorRow struct {
	At            time.Time `db:"created_at" json:"at"`
	Tip           *string   `db:"tip" json:"tip"`
	AttachmentTip *string   `db:"attachment_tip" json:"attachment_tip"`
	Type          string    `db:"error_type" json:"error_type"`
	Message       string    `db:"error_message" json:"error_message"`
	RunID         *int64    `db:"run_id" json:"run_id"`
	Excerpt       *string   `db:"excerpt" json:"excerpt,omitempty"` // of a broken answer, as it was kept
}

// LatestErrors returns the latest errors, at most limit of them.
func (db *DB) LatestErrors(ctx context.Context, since, before time.Time, limit int) ([]ErrorRow, error) {
	var rows []ErrorRow
	err := db.selectAll(ctx, "list the errors", &rows, `
		SELECT created_at, tip, attachment_tip, error_type, error_message, run_id, error_details->>'excerpt' AS excerpt FROM noggin_schema.processing_errors
		WHERE created_at >= $1::timestamptz AND created_at < $2::timestamptz ORDER BY created_at DESC LIMIT $3`,
		since.Format(time.RFC3339Nano), before.Format(time.RFC3339Nano), limit)
	return rows, err
}

// UnknownNames counts the unknown hashes of one entity type.
type UnknownNames struct {
	EntityType string `db:"entity_type" json:"entity_type"`
	Hashes     int64  `db:"hashes" json:"hashes"`
	References int64  `db:"occurrences" json:"references"` // fields of records that hold one
}

// UnknownNames counts the unknown hashes by entity type.
func (db *DB) UnknownNames(ctx context.Context) ([]UnknownNames, error) {
	var unknown []UnknownNames
	err := db.selectAll(ctx, "count the unknown names", &unknown, `
		SELECT entity_type, count(*) AS hashes, sum(occurrence_count)::bigint AS occurrences FROM noggin_schema.unknown_hashes
		WHERE resolved_at IS NULL GROUP BY 1 ORDER BY 2 DESC, 1`)
	return unknown, err
}
