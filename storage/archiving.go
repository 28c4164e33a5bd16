package storage

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// File is a file of a record as the database knows it: a photograph, or the text
// report.
type File struct {
	RecordTip     string  `db:"record_tip" json:"record_tip"`
	AttachmentTip string  `db:"attachment_tip" json:"attachment_tip"` // "" for the text report
	Sequence      int     `db:"attachment_sequence" json:"sequence"`
	Field         string  `db:"field_name" json:"field"`
	Path          string  `db:"file_path" json:"path"`   // relative to the output folder
	Size          int64   `db:"size_bytes" json:"size"`  // -1: not known
	SHA256        string  `db:"hash_sha256" json:"hash"` // "": not known
	ContentType   string  `db:"content_type" json:"content_type"`
	Validation    string  `db:"validation" json:"validation"`
	ArchiveID     *int64  `db:"archive_id" json:"-"` // nil: it is in the output folder
	ArchiveName   *string `db:"archive_name" json:"-"`
}

// FiledRecord is a record with all its files.
type FiledRecord struct {
	Tip            string     `db:"tip" json:"tip"`
	ObjectType     string     `db:"object_type" json:"object_type"`
	Status         string     `db:"processing_status" json:"processing_status"`
	InspectionID   string     `db:"inspection_id" json:"inspection_id"`
	InspectionDate string     `db:"inspection_date" json:"inspection_date"` // 2024-03-05, or empty
	Folder         string     `db:"folder" json:"folder"`                   // relative to the output folder
	Archived       bool       `db:"archived" json:"archived"`
	ArchivedAt     *time.Time `db:"archived_at" json:"archived_at"`
	Files          []File     `db:"-" json:"-"` // photographs by number, then the report
}

// ArchiveFilter says which records an archive may take: complete ones, not
// archived, or with new files since.
type ArchiveFilter struct {
	Before     string // inspection date, exclusive: 2024-11-24
	ObjectType string // code; "": every form
}

// where are the filter's conditions; they take the first arguments.
func (f ArchiveFilter) where() (conditions string, args []any) {
	conditions = `d.processing_status = 'complete' AND d.inspection_date IS NOT NULL
		AND (NOT d.archived OR d.report_path IS NOT NULL AND d.report_archive_id IS NULL)
		AND d.inspection_date < $1::date
		AND NOT EXISTS (SELECT FROM noggin_schema.archive_records r JOIN noggin_schema.archives v ON v.id = r.archive_id
			WHERE r.record_tip = d.tip AND v.state = 'kept')`
	args = []any{f.Before}
	if f.ObjectType != "" {
		args = append(args, f.ObjectType)
		conditions += ` AND d.object_type = $2`
	}
	return conditions, args
}

// ArchiveMonth is what there is to archive of a month.
type ArchiveMonth struct {
	Month   string `db:"month" json:"month"` // 2024-03
	Oldest  string `db:"oldest" json:"-"`    // day of its first inspection
	Records int    `db:"records" json:"records"`
	Files   int    `db:"files" json:"files"`
	Bytes   int64  `db:"bytes" json:"bytes"`
	// PhotoBytes are those of photographs, which do not shrink.
	PhotoBytes int64 `db:"photo_bytes" json:"-"`
}

// ArchiveMonths returns the months that have something to archive, oldest first.
func (db *DB) ArchiveMonths(ctx context.Context, f ArchiveFilter) ([]ArchiveMonth, error) {
	conditions, args := f.where()
	months := []ArchiveMonth{}
	err := db.pool.SelectContext(ctx, &months, db.sql(`
		SELECT to_char(d.inspection_date, 'YYYY-MM') AS month, min(d.inspection_date)::text AS oldest, count(*) AS records,
		       coalesce(sum(a.files), 0)::bigint + count(*) FILTER (WHERE d.report_path IS NOT NULL AND d.report_archive_id IS NULL) AS files,
		       (coalesce(sum(a.bytes), 0) + coalesce(sum(d.report_size_bytes) FILTER (WHERE d.report_archive_id IS NULL), 0))::bigint AS bytes,
		       coalesce(sum(a.bytes), 0)::bigint AS photo_bytes
		FROM noggin_schema.noggin_data d
		CROSS JOIN LATERAL (SELECT count(*) AS files, sum(a.file_size_bytes) AS bytes FROM noggin_schema.attachments a
			WHERE a.record_tip = d.tip AND a.attachment_status = 'complete' AND a.archive_id IS NULL) a
		WHERE `+conditions+` GROUP BY 1 ORDER BY 1`), args...)
	return months, describe(ctx, "look for what there is to archive", err)
}

// ArchivePlace is where a walk through the records to archive has come to.
type ArchivePlace struct {
	Date string `db:"date"`
	Tip  string `db:"tip"`
}

// ArchiveCandidates returns the next records of a month that may be archived, by
// day and tip, from behind the place.
func (db *DB) ArchiveCandidates(ctx context.Context, f ArchiveFilter, month string, after ArchivePlace, limit int) ([]ArchivePlace, error) {
	conditions, args := f.where()
	if after.Date == "" {
		after.Date = month + "-01"
	}
	n := len(args)
	args = append(args, month+"-01", after.Date, after.Tip, limit)
	arg := func(i int) string { return "$" + strconv.Itoa(n+i) }
	var found []ArchivePlace
	err := db.pool.SelectContext(ctx, &found, db.sql(`
		SELECT d.inspection_date::text AS date, d.tip FROM noggin_schema.noggin_data d
		WHERE `+conditions+` AND d.inspection_date < (`+arg(1)+`::date + interval '1 month')::date
		  AND (d.inspection_date, d.tip) > (`+arg(2)+`::date, `+arg(3)+`)
		ORDER BY d.inspection_date, d.tip LIMIT `+arg(4)), args...)
	return found, describe(ctx, "look for records to archive", err)
}

// ClaimTips takes those of the records that nobody has, for work that is not
// theirs to fail: it adds nothing to their crash count. With a status only those
// that have it. The caller holds the maintenance lock, so that earlier runs of
// `archive` which did not end are dead, whatever their leases say.
func (db *DB) ClaimTips(ctx context.Context, run int64, tips []string, status string, lease time.Duration) ([]Claim, error) {
	var claims []Claim
	err := db.tx(ctx, "claim records", func(tx *sqlx.Tx) error {
		claims = claims[:0]
		return tx.SelectContext(ctx, &claims, db.sql(`
			WITH chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.tip = ANY($2::text[]) AND ($3 = '' OR d.processing_status = $3)
				  AND (`+unclaimed+` OR d.claimed_by IN (SELECT r.id FROM noggin_schema.runs r
					WHERE r.id < $1 AND r.command IN ('archive create', 'archive register', 'archive restore') AND r.finished_at IS NULL))
				ORDER BY d.tip FOR UPDATE SKIP LOCKED)
			UPDATE noggin_schema.noggin_data d
			SET claimed_by = $1, claim_expires_at = now() + $4 * interval '1 second', claim_token = d.claim_token + 1
			FROM chosen WHERE d.tip = chosen.tip RETURNING d.tip, d.claim_token, d.object_type, d.processing_status`),
			run, pq.Array(tips), status, lease.Seconds())
	})
	return claims, err
}

// FiledRecords returns the records with their files, in no order. Photographs that
// were never downloaded are no files.
func (db *DB) FiledRecords(ctx context.Context, tips []string) ([]FiledRecord, error) {
	var records []FiledRecord
	if err := db.pool.SelectContext(ctx, &records, db.sql(`
		SELECT d.tip, d.object_type, d.processing_status, coalesce(d.inspection_id, '') AS inspection_id,
		       coalesce(d.inspection_date::text, '') AS inspection_date, coalesce(d.folder, '') AS folder, d.archived, d.archived_at
		FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[])`), pq.Array(tips)); err != nil {
		return nil, describe(ctx, "read the records", err)
	}
	byTip := make(map[string]*FiledRecord, len(records))
	for i := range records {
		byTip[records[i].Tip] = &records[i]
	}
	var files []File
	if err := db.pool.SelectContext(ctx, &files, db.sql(`
		SELECT f.*, (SELECT v.name FROM noggin_schema.archives v WHERE v.id = f.archive_id) AS archive_name FROM (
			SELECT a.record_tip, a.attachment_tip, a.attachment_sequence, a.field_name, a.file_path,
			       coalesce(a.file_size_bytes, -1) AS size_bytes, coalesce(a.file_hash_sha256, '') AS hash_sha256,
			       coalesce(a.content_type, '') AS content_type, a.attachment_validation_status AS validation, a.archive_id
			FROM noggin_schema.attachments a
			WHERE a.record_tip = ANY($1::text[]) AND a.attachment_status = 'complete' AND a.file_path IS NOT NULL
			UNION ALL
			SELECT d.tip, '', 2147483647, '', d.report_path, coalesce(d.report_size_bytes, -1),
			       coalesce(d.report_hash_sha256, ''), 'text/plain', '', d.report_archive_id
			FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[]) AND d.report_path IS NOT NULL) f
		ORDER BY f.record_tip, f.attachment_sequence`), pq.Array(tips)); err != nil {
		return nil, describe(ctx, "read the records' files", err)
	}
	for _, f := range files {
		if r, ok := byTip[f.RecordTip]; ok { // else it came between the two statements
			r.Files = append(r.Files, f)
		}
	}
	return records, nil
}

// MarkArchived records that the files of the claimed records are in the archive
// from now on, and returns the records whose claim still held. It may be repeated.
func (db *DB) MarkArchived(ctx context.Context, run, archive int64, claims []Claim, files []File) ([]string, error) {
	return db.noteFiles(ctx, "record what is archived", run, archive, claims, files,
		`UPDATE noggin_schema.attachments a SET archive_id = $1::bigint
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, hash text)
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip AND a.file_hash_sha256 = v.hash
		  AND a.record_tip = ANY($2::text[]) AND a.archive_id IS NULL`,
		`UPDATE noggin_schema.noggin_data d SET archived = true, archived_at = now(),
			report_archive_id = CASE WHEN EXISTS (SELECT FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, hash text)
				WHERE v.record_tip = d.tip AND v.attachment_tip = '' AND v.hash = d.report_hash_sha256) AND d.report_archive_id IS NULL
				THEN $1::bigint ELSE d.report_archive_id END
		WHERE d.tip = ANY($2::text[])`,
		`INSERT INTO noggin_schema.archive_records (record_tip, archive_id)
		SELECT v.record_tip, $1::bigint FROM (SELECT DISTINCT record_tip FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text)) v
		WHERE v.record_tip = ANY($2::text[]) ORDER BY 1 ON CONFLICT DO NOTHING`)
}

// MarkRestored records that the files of the claimed records are in the output
// folder again, and returns the records whose claim still held. A record with no
// file in any archive is not archived any more. It may be repeated.
func (db *DB) MarkRestored(ctx context.Context, run, archive int64, claims []Claim, files []File) ([]string, error) {
	return db.noteFiles(ctx, "record what is restored", run, archive, claims, files,
		`UPDATE noggin_schema.attachments a SET archive_id = NULL
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text)
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip AND a.archive_id = $1 AND a.record_tip = ANY($2::text[])`,
		`UPDATE noggin_schema.noggin_data d SET report_archive_id = NULL
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text)
		WHERE d.tip = v.record_tip AND v.attachment_tip = '' AND d.report_archive_id = $1 AND d.tip = ANY($2::text[])`,
		`UPDATE noggin_schema.noggin_data d SET archived = false, archived_at = NULL
		WHERE d.tip = ANY($2::text[]) AND d.report_archive_id IS NULL AND $3::text IS NOT NULL AND $1::bigint IS NOT NULL
		  AND NOT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id IS NOT NULL)`)
}

// noteFiles runs statements on the files of the claimed records and an archive, and
// returns the records whose claim still held. $1 is the archive, $2 these records,
// $3 the files as a JSON array; each statement uses all of them.
func (db *DB) noteFiles(ctx context.Context, what string, run, archive int64, claims []Claim, files []File, statements ...string) (owned []string, err error) {
	doc, err := json.Marshal(append([]File{}, files...)) // never null
	if err != nil {
		return nil, err
	}
	err = db.tx(ctx, what, func(tx *sqlx.Tx) error {
		if owned, err = db.lockOwned(ctx, tx, run, claims); err != nil {
			return err
		}
		return db.exec(ctx, tx, []any{archive, pq.Array(owned), string(doc)}, statements...)
	})
	return owned, err
}

// AddArchivedFiles records files of the claimed records that only the archive
// knows: photographs that were never heard of, and reports that are nowhere else.
// It may be repeated.
func (db *DB) AddArchivedFiles(ctx context.Context, run, archive int64, claims []Claim, files []File) error {
	_, err := db.noteFiles(ctx, "record what the archive holds", run, archive, claims, files,
		`INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, filename, file_path,
			attachment_status, attachment_validation_status, file_size_bytes, file_hash_sha256, content_type, archive_id)
		SELECT v.record_tip, v.attachment_tip, v.sequence, v.field, regexp_replace(v.path, '^.*/', ''), v.path,
			'complete', coalesce(nullif(v.validation, ''), 'not_validated'), v.size, v.hash, nullif(v.content_type, ''), $1::bigint
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, sequence integer, field text, path text,
			size bigint, hash text, content_type text, validation text)
		WHERE v.attachment_tip <> '' AND v.record_tip = ANY($2::text[]) ON CONFLICT DO NOTHING`,
		`UPDATE noggin_schema.noggin_data d SET report_path = v.path, report_size_bytes = v.size, report_hash_sha256 = v.hash, report_archive_id = $1::bigint
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, path text, size bigint, hash text)
		WHERE d.tip = v.record_tip AND v.attachment_tip = '' AND d.tip = ANY($2::text[]) AND d.report_archive_id IS NULL`,
		`UPDATE noggin_schema.noggin_data d SET archived = true, archived_at = now()
		WHERE d.tip = ANY($2::text[]) AND NOT d.archived AND $1::bigint IS NOT NULL
		  AND EXISTS (SELECT FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text) WHERE v.record_tip = d.tip)`)
	return err
}

// CountFilesIn counts the files of which the database says that the archive holds
// them.
func (db *DB) CountFilesIn(ctx context.Context, archive int64) (int, error) {
	var n int
	err := db.get(ctx, "count the archive's files", &n, `
		SELECT (SELECT count(*) FROM noggin_schema.archive_records r
		        JOIN noggin_schema.attachments a ON a.record_tip = r.record_tip AND a.archive_id = r.archive_id WHERE r.archive_id = $1)
		     + (SELECT count(*) FROM noggin_schema.archive_records r
		        JOIN noggin_schema.noggin_data d ON d.tip = r.record_tip AND d.report_archive_id = r.archive_id WHERE r.archive_id = $1)`, archive)
	return n, err
}
