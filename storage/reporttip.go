package storage

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/lib/pq"
)

// RecordStory is everything about one record except its payload.
type RecordStory struct {
	Tip               string     `db:"tip" json:"tip"`
	ObjectType        string     `db:"object_type" json:"object_type"`
	ObjectTypeAssumed bool       `db:"object_type_assumed" json:"object_type_assumed"`
	Status            Status     `db:"processing_status" json:"processing_status"`
	InspectionID      *string    `db:"inspection_id" json:"inspection_id"`
	InspectionDate    *string    `db:"inspection_date" json:"inspection_date"`
	ExpectedID        *string    `db:"expected_inspection_id" json:"expected_inspection_id"`
	ExpectedDate      *string    `db:"expected_inspection_date" json:"expected_inspection_date"`
	Vehicle           *string    `db:"vehicle" json:"vehicle"`
	Trailer           *string    `db:"trailer" json:"trailer"`
	Trailer2          *string    `db:"trailer2" json:"trailer2"`
	Trailer3          *string    `db:"trailer3" json:"trailer3"`
	Department        *string    `db:"department" json:"department"`
	Team              *string    `db:"team" json:"team"`
	InspectedBy       *string    `db:"inspected_by" json:"inspected_by"`
	DriverLoader      *string    `db:"driver_loader_name" json:"driver_loader_name"`
	JobNumber         *string    `db:"job_number" json:"job_number"`
	RunNumber         *string    `db:"run_number" json:"run_number"`
	LoadCompliance    *string    `db:"load_compliance" json:"load_compliance"`
	HasUnknownHashes  bool       `db:"has_unknown_hashes" json:"has_unknown_hashes"`
	TotalAttachments  int        `db:"total_attachments" json:"total_attachments"`
	CompletedCount    int        `db:"completed_attachment_count" json:"completed_attachment_count"`
	RetryCount        int        `db:"retry_count" json:"retry_count"`
	NextRetryAt       *time.Time `db:"next_retry_at" json:"next_retry_at"`
	LastError         *string    `db:"last_error_message" json:"last_error_message"`
	PermanentlyFailed bool       `db:"permanently_failed" json:"permanently_failed"`
	CrashCount        int        `db:"crash_count" json:"crash_count"`
	Archived          bool       `db:"archived" json:"archived"`
	ArchivedAt        *time.Time `db:"archived_at" json:"archived_at"`
	Folder            *string    `db:"folder" json:"folder"`
	ReportPath        *string    `db:"report_path" json:"report_path"`
	ReportSize        *int64     `db:"report_size_bytes" json:"report_size_bytes"`
	ReportArchive     *string    `db:"report_archive" json:"report_archive"`
	SourceFilename    *string    `db:"source_filename" json:"source_filename"`
	CSVImportedAt     *time.Time `db:"csv_imported_at" json:"csv_imported_at"`
	APICreatedAt      *time.Time `db:"api_created_at" json:"api_created_at"`
	APIModifiedAt     *time.Time `db:"api_modified_at" json:"api_modified_at"`
	CreatedAt         time.Time  `db:"created_at" json:"created_at"`
	UpdatedAt         time.Time  `db:"updated_at" json:"updated_at"`
	ProcessedAt       *time.Time `db:"processed_at" json:"processed_at"`
	ProcessingSeconds *float64   `db:"processing_seconds" json:"processing_seconds"`
	ClaimedBy         *int64     `db:"claimed_by" json:"claimed_by_run"`
	ClaimExpiresAt    *time.Time `db:"claim_expires_at" json:"claim_expires_at"`
	ClaimHost         *string    `db:"claim_host" json:"claim_host"`
	PayloadBytes      int64      `db:"payload_bytes" json:"payload_bytes"`
	Version           *int       `db:"version" json:"version"` // the current one; null: no answer
	CompletedAt       *time.Time `db:"completed_at" json:"completed_at"`
	AskedAgainAt      *time.Time `db:"asked_at" json:"asked_again_at"`
	AskAgainAt        *time.Time `db:"due_at" json:"ask_again_at"` // null: it is not asked for again by itself
	MissingSince      *time.Time `db:"missing_since" json:"missing_since"`
	GoneAt            *time.Time `db:"gone_at" json:"gone_at"`
	GoneStatus        *int       `db:"gone_status" json:"gone_status"`
	ReturnedAt        *time.Time `db:"returned_at" json:"returned_at"`
}

// FindRecords returns up to limit tips of records that have text as their tip or one of
// the spellings as their inspection id. If there are none, it returns the records whose
// tip begins with text: only for 8 hexadecimal digits or more, and only tips of the
// platform. Other tips are short and may begin alike: "load-0001" is not "load-00012".
func (db *DB) FindRecords(ctx context.Context, text string, spellings []string, limit int) ([]string, error) {
	var tips []string
	err := db.selectAll(ctx, "look for the record", &tips, `
		SELECT tip FROM noggin_schema.noggin_data WHERE tip = ANY(ARRAY[$1, lower($1)])
		UNION SELECT tip FROM noggin_schema.noggin_data WHERE lcd_inspection_id IS NOT NULL AND lcd_inspection_id = ANY($2::text[])
		UNION SELECT tip FROM noggin_schema.noggin_data
			WHERE inspection_id IS NULL AND expected_inspection_id IS NOT NULL AND expected_inspection_id = ANY($2::text[])
		ORDER BY 1 LIMIT $3`, text, pq.Array(spellings), limit)
	if err != nil || len(tips) > 0 || len(text) < 8 || strings.Trim(text, "0123456789abcdefABCDEF") != "" {
		return tips, err
	}
	// A literal, so that the planner sees the prefix and uses the primary key.
	err = db.selectAll(ctx, "look for the record", &tips, `
		SELECT tip FROM noggin_schema.noggin_data WHERE tip LIKE `+pq.QuoteLiteral(strings.ToLower(text)+"%")+` AND octet_length(tip) = 64
		ORDER BY tip LIMIT $1`, limit)
	return tips, err
}

// RecordStory reads everything about a record. found is false when it does not exist.
func (db *DB) RecordStory(ctx context.Context, tip string) (r RecordStory, found bool, err error) {
	err = db.get(ctx, "read the record", &r, `
		SELECT d.tip, d.object_type, d.object_type_assumed, d.processing_status, d.inspection_id, d.inspection_date::text AS inspection_date,
		       d.expected_inspection_id, d.expected_inspection_date::text AS expected_inspection_date,
		       d.vehicle, d.trailer, d.trailer2, d.trailer3, d.department, d.team, d.inspected_by, d.driver_loader_name,
		       d.job_number, d.run_number, d.load_compliance, d.has_unknown_hashes, d.total_attachments, d.completed_attachment_count,
		       d.retry_count, d.next_retry_at, d.last_error_message, d.permanently_failed, d.crash_count, d.archived, d.archived_at,
		       d.folder, d.report_path, d.report_size_bytes, v.name AS report_archive, d.source_filename, d.csv_imported_at,
		       d.api_created_at, d.api_modified_at, d.created_at, d.updated_at, d.processed_at, d.processing_seconds,
		       d.claimed_by, d.claim_expires_at, r.host || ', process ' || r.pid AS claim_host,
		       coalesce(length(d.payload::text), 0) AS payload_bytes,
		       CASE WHEN d.payload IS NOT NULL THEN coalesce(d.version, 1) END AS version,
		       coalesce(d.completed_at, CASE WHEN d.processing_status = 'complete' THEN d.updated_at END) AS completed_at,
		       f.asked_at, f.due_at, f.missing_since, f.gone_at, f.gone_status, f.returned_at
		FROM noggin_schema.noggin_data d
		LEFT JOIN noggin_schema.refreshes f ON f.record_tip = d.tip
		LEFT JOIN noggin_schema.archives v ON v.id = d.report_archive_id
		LEFT JOIN noggin_schema.runs r ON r.id = d.claimed_by
		WHERE d.tip = $1`, tip)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

// AttachmentStory is everything about one attachment.
type AttachmentStory struct {
	Tip          string           `db:"attachment_tip" json:"attachment_tip"`
	Sequence     int              `db:"attachment_sequence" json:"attachment_sequence"`
	Field        string           `db:"field_name" json:"field_name"`
	Filename     *string          `db:"filename" json:"filename"`
	Path         *string          `db:"file_path" json:"file_path"`
	Status       AttachmentStatus `db:"attachment_status" json:"attachment_status"`
	Validation   Validation       `db:"attachment_validation_status" json:"attachment_validation_status"`
	Size         *int64           `db:"file_size_bytes" json:"file_size_bytes"`
	SHA256       *string          `db:"file_hash_sha256" json:"file_hash_sha256"`
	ContentType  *string          `db:"content_type" json:"content_type"`
	StartedAt    *time.Time       `db:"download_started_at" json:"download_started_at"`
	CompletedAt  *time.Time       `db:"download_completed_at" json:"download_completed_at"`
	Seconds      *float64         `db:"download_duration_seconds" json:"download_duration_seconds"`
	RetryCount   int              `db:"retry_count" json:"retry_count"`
	LastError    *string          `db:"last_error_message" json:"last_error_message"`
	Archive      *string          `db:"archive_name" json:"archive"`
	RecordTip    string           `db:"record_tip" json:"record_tip"`
	InspectionID *string          `db:"inspection_id" json:"inspection_id"`
}

const attachmentStory = `a.attachment_tip, a.attachment_sequence, a.field_name, a.filename, a.file_path, a.attachment_status,
	a.attachment_validation_status, a.file_size_bytes, a.file_hash_sha256, a.content_type, a.download_started_at, a.download_completed_at,
	a.download_duration_seconds, a.retry_count, a.last_error_message, a.record_tip,
	(SELECT v.name FROM noggin_schema.archives v WHERE v.id = a.archive_id) AS archive_name,
	(SELECT d.inspection_id FROM noggin_schema.noggin_data d WHERE d.tip = a.record_tip) AS inspection_id`

// AttachmentsOf returns a record's attachments in the order of their numbers.
func (db *DB) AttachmentsOf(ctx context.Context, tip string) ([]AttachmentStory, error) {
	var attachments []AttachmentStory
	err := db.selectAll(ctx, "read the record's attachments", &attachments, `
		SELECT `+attachmentStory+` FROM noggin_schema.attachments a WHERE a.record_tip = $1 ORDER BY a.attachment_sequence`, tip)
	return attachments, err
}

// ErrorsOf returns up to limit errors of a record, the latest first, and their total
// number.
func (db *DB) ErrorsOf(ctx context.Context, tip string, limit int) (rows []ErrorRow, total int64, err error) {
	if err := db.selectAll(ctx, "read the record's errors", &rows, `
		SELECT created_at, tip, attachment_tip, error_type, error_message, run_id, error_details->>'excerpt' AS excerpt FROM noggin_schema.processing_errors
		WHERE tip = $1 ORDER BY created_at DESC LIMIT $2`, tip, limit); err != nil {
		return nil, 0, err
	}
	err = db.get(ctx, "count the record's errors", &total, `SELECT count(*) FROM noggin_schema.processing_errors WHERE tip = $1`, tip)
	return rows, total, err
}
