package storage

import (
	"context"
	"time"
)

// AttachmentTotal counts the attachments of one status.
type AttachmentTotal struct {
	Status AttachmentStatus `db:"status" json:"attachment_status"`
	Files  int64            `db:"files" json:"attachments"`
	Bytes  int64            `db:"bytes" json:"bytes"`
	Today  int64            `db:"today" json:"today"` // downloads that began today
}

// AttachmentTotals returns the attachments by status, from the counts.
func (db *DB) AttachmentTotals(ctx context.Context) ([]AttachmentTotal, error) {
	var totals []AttachmentTotal
	err := db.selectAll(ctx, "count the attachments", &totals, `
		SELECT status, sum(files)::bigint AS files, sum(bytes)::bigint AS bytes,
		       coalesce(sum(files) FILTER (WHERE slot >= current_date), 0)::bigint AS today
		FROM noggin_schema.file_counts WHERE kind = 'attachment' GROUP BY 1 HAVING sum(files) <> 0 ORDER BY 1`)
	return totals, err
}

// FailedAttachments returns the attachments that failed, the latest download first, at
// most limit of them.
func (db *DB) FailedAttachments(ctx context.Context, limit int) ([]AttachmentStory, error) {
	var failed []AttachmentStory
	err := db.selectAll(ctx, "list the failed attachments", &failed, `
		SELECT `+attachmentStory+` FROM noggin_schema.attachments a
		WHERE a.attachment_status = 'failed' ORDER BY a.download_started_at DESC LIMIT $1`, limit)
	return failed, err
}

// LargestAttachments returns the largest files, at most limit of them.
func (db *DB) LargestAttachments(ctx context.Context, limit int) ([]AttachmentStory, error) {
	var largest []AttachmentStory
	err := db.selectAll(ctx, "list the largest files", &largest, `
		SELECT `+attachmentStory+` FROM noggin_schema.attachments a
		WHERE a.file_size_bytes IS NOT NULL ORDER BY a.file_size_bytes DESC LIMIT $1`, limit)
	return largest, err
}

// DownloadSpeed is the speed of the last downloads.
type DownloadSpeed struct {
	Downloads int64      `db:"downloads" json:"downloads"`
	Since     *time.Time `db:"since" json:"since"`
	Bytes     int64      `db:"bytes" json:"bytes"`
	Seconds   float64    `db:"seconds" json:"seconds"`              // sum over all downloads
	Average   *float64   `db:"average" json:"average_bytes_second"` // of one download
	Slowest   *float64   `db:"slowest" json:"slowest_bytes_second"`
	Fastest   *float64   `db:"fastest" json:"fastest_bytes_second"`
	Longest   *float64   `db:"longest" json:"longest_seconds"`
}

// DownloadSpeed measures the last downloads, at most limit of them.
func (db *DB) DownloadSpeed(ctx context.Context, limit int) (DownloadSpeed, error) {
	var speed DownloadSpeed
	err := db.get(ctx, "measure the downloads", &speed, `
		SELECT count(*) AS downloads, min(at) AS since, coalesce(sum(bytes), 0)::bigint AS bytes, coalesce(sum(seconds), 0) AS seconds,
		       (sum(bytes) / nullif(sum(seconds), 0))::float8 AS average, min(bytes / seconds)::float8 AS slowest,
		       max(bytes / seconds)::float8 AS fastest, max(seconds) AS longest
		FROM (SELECT download_started_at AS at, file_size_bytes AS bytes, download_duration_seconds AS seconds
		      FROM noggin_schema.attachments
		      WHERE download_started_at IS NOT NULL AND attachment_status = 'complete' AND download_duration_seconds > 0
		      ORDER BY download_started_at DESC LIMIT $1) AS last`, limit)
	return speed, err
}

// MonthUsage counts the files of one month, in the output folder or in archives.
type MonthUsage struct {
	Month           string `db:"month" json:"month"` // 2025-09, or unknown-date
	Attachments     int64  `db:"attachments" json:"attachments"`
	AttachmentBytes int64  `db:"attachment_bytes" json:"attachment_bytes"`
	Reports         int64  `db:"reports" json:"reports"`
	ReportBytes     int64  `db:"report_bytes" json:"report_bytes"`
	ArchivedFiles   int64  `db:"archived_files" json:"archived_files"`
	ArchivedBytes   int64  `db:"archived_bytes" json:"archived_bytes"` // bytes that left the output folder
}

// DiskBytes is the size of the month in the output folder.
func (m MonthUsage) DiskBytes() int64 {
	return max(0, m.AttachmentBytes+m.ReportBytes-m.ArchivedBytes)
}

// StorageByMonth returns the files of every month, the oldest first.
func (db *DB) StorageByMonth(ctx context.Context) ([]MonthUsage, error) {
	var months []MonthUsage
	err := db.selectAll(ctx, "add up the storage by month", &months, `
		SELECT month, attachments, attachment_bytes, reports, report_bytes, archived_files, archived_bytes
		FROM noggin_schema.storage_by_month ORDER BY month`)
	return months, err
}

// FormUsage counts the files of one form.
type FormUsage struct {
	ObjectType  string `db:"object_type" json:"object_type"`
	Records     int64  `db:"records" json:"records"` // complete records
	Attachments int64  `db:"attachments" json:"attachments"`
	Bytes       int64  `db:"bytes" json:"attachment_bytes"`
	ReportBytes int64  `db:"report_bytes" json:"report_bytes"`
}

// StorageByForm returns the files of every form, with archived files.
func (db *DB) StorageByForm(ctx context.Context) ([]FormUsage, error) {
	var forms []FormUsage
	err := db.selectAll(ctx, "add up the storage by form", &forms, `
		SELECT f.object_type, coalesce((SELECT sum(r.records) FROM noggin_schema.record_totals r
		           WHERE r.object_type = f.object_type AND r.processing_status = 'complete'), 0)::bigint AS records,
		       coalesce(sum(f.files) FILTER (WHERE f.kind = 'attachment' AND f.status IN ('complete', 'former')), 0)::bigint AS attachments,
		       coalesce(sum(f.bytes) FILTER (WHERE f.kind = 'attachment'), 0)::bigint AS bytes,
		       coalesce(sum(f.bytes) FILTER (WHERE f.kind = 'report'), 0)::bigint AS report_bytes
		FROM noggin_schema.file_counts f GROUP BY 1 ORDER BY 4 DESC, 1`)
	return forms, err
}

// FailingFilter chooses the records of `report failed`. The zero value chooses all that
// failed since they were complete, whether they are tried again or not.
type FailingFilter struct {
	Permanent  bool // only permanently failed records
	ObjectType string
	Limit      int // 0: no limit
}

// EachFailing hands the failing records to each, the latest failure first.
func (db *DB) EachFailing(ctx context.Context, f FailingFilter, each func(FailedRecord) error) error {
	// Literals, so that each condition uses its partial index.
	which := `(d.processing_status IN ('partial', 'failed', 'api_failed') OR d.failing_since IS NOT NULL AND d.processing_status NOT IN ('complete', 'skipped'))`
	if f.Permanent {
		which = `d.permanently_failed`
	}
	return eachRow(ctx, db, "list the failed records", each, `
		SELECT d.tip, d.object_type, coalesce(d.inspection_id, d.expected_inspection_id) AS inspection_id, d.processing_status,
		       d.retry_count, d.next_retry_at, d.permanently_failed, d.last_error_message, d.updated_at, d.failing_since
		FROM noggin_schema.noggin_data d WHERE `+which+` AND ($1 = '' OR d.object_type = $1)
		ORDER BY d.updated_at DESC LIMIT nullif($2::bigint, 0)`, f.ObjectType, f.Limit)
}
