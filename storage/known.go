package storage

import (
	"context"

	"github.com/lib/pq"
)

// witnesses is how many objects that are known to be there are asked for at most.
const witnesses = 3

// recentFiles is how many of the attachments that came last are looked at for witnesses.
const recentFiles = 200

// KnownAttachment is an attachment whose content is known.
type KnownAttachment struct {
	RecordTip string `db:"record_tip"`
	Tip       string `db:"attachment_tip"`
	Field     string `db:"field_name"`
	SHA256    string `db:"file_hash_sha256"`
	// ObjectType and Payload are those of its record, which holds its media reference.
	ObjectType string `db:"object_type"`
	Payload    []byte `db:"payload"`
}

// KnownRecords returns the tips of the records of a form that were completed last,
// without those in except.
func (db *DB) KnownRecords(ctx context.Context, objectType string, except []string) ([]string, error) {
	var tips []string
	err := db.selectAll(ctx, "look for records that are complete", &tips, `
		SELECT d.tip FROM noggin_schema.noggin_data d
		WHERE d.object_type = $1 AND d.processing_status = 'complete' AND d.tip <> ALL ($2::text[])
		  AND NOT EXISTS (SELECT FROM noggin_schema.refreshes r WHERE r.record_tip = d.tip AND r.missing_since IS NOT NULL)
		ORDER BY d.updated_at DESC LIMIT $3`, objectType, pq.Array(append([]string{}, except...)), witnesses)
	return tips, err
}

// KnownAttachments returns the smallest of the valid attachments that came last, without
// those in except. It prefers attachments of different records, and of records without one in
// except: of a record that was deleted, all are gone.
func (db *DB) KnownAttachments(ctx context.Context, except []string) ([]KnownAttachment, error) {
	var known []KnownAttachment
	err := db.selectAll(ctx, "look for attachments that are valid", &known, `
		WITH last AS (SELECT a.record_tip, a.attachment_tip, a.field_name, a.file_size_bytes, a.file_hash_sha256 FROM noggin_schema.attachments a
			WHERE a.download_started_at IS NOT NULL AND a.attachment_status = 'complete' AND a.attachment_validation_status = 'valid'
			  AND a.file_hash_sha256 IS NOT NULL AND a.attachment_tip <> ALL ($1::text[])
			  AND NOT EXISTS (SELECT FROM noggin_schema.refreshes r WHERE r.record_tip = a.record_tip AND r.missing_since IS NOT NULL)
			ORDER BY a.download_started_at DESC LIMIT $2),
		ranked AS (SELECT last.*, row_number() OVER (PARTITION BY record_tip ORDER BY file_size_bytes) AS nth,
			EXISTS (SELECT FROM noggin_schema.attachments e WHERE e.record_tip = last.record_tip AND e.attachment_tip = ANY ($1::text[])) AS changed
			FROM last),
		smallest AS (SELECT * FROM ranked ORDER BY changed, nth, file_size_bytes LIMIT $3)
		SELECT s.record_tip, s.attachment_tip, s.field_name, s.file_hash_sha256, d.object_type, d.payload
		FROM smallest s JOIN noggin_schema.noggin_data d ON d.tip = s.record_tip WHERE d.payload IS NOT NULL
		ORDER BY s.changed, s.nth, s.file_size_bytes`, pq.Array(append([]string{}, except...)), recentFiles, witnesses)
	return known, err
}

// CountNew counts the records that wait and have not failed before, up to limit.
func (db *DB) CountNew(ctx context.Context, s Selector, limit int) (int, error) {
	selected, args := s.where(2)
	var n int
	err := db.get(ctx, "count the records that have not failed before", &n, `
		SELECT count(*) FROM (
			(SELECT FROM noggin_schema.noggin_data d WHERE `+dueFresh+` AND `+unclaimed+` AND d.retry_count = 0 AND d.failing_since IS NULL`+selected+`
			 ORDER BY d.queue_order LIMIT $1)
			UNION ALL
			(SELECT FROM noggin_schema.noggin_data d WHERE `+dueRetry+` AND `+unclaimed+` AND d.retry_count = 0 AND d.failing_since IS NULL`+selected+`
			 ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz) LIMIT $1)) AS n`, append([]any{limit}, args...)...)
	return min(n, limit), err
}
