package storage

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// File is a file of a record in the database: an attachment or the text report.
type File struct {
	RecordTip     string     `db:"record_tip" json:"record_tip"`
	AttachmentTip string     `db:"attachment_tip" json:"attachment_tip"` // "" for the text report
	Sequence      int        `db:"attachment_sequence" json:"sequence"`
	Field         string     `db:"field_name" json:"field"`
	Path          string     `db:"file_path" json:"path"`   // relative to the output folder
	Size          int64      `db:"size_bytes" json:"size"`  // -1: not known
	SHA256        string     `db:"hash_sha256" json:"hash"` // "": not known
	ContentType   string     `db:"content_type" json:"content_type"`
	Complete      bool       `db:"complete" json:"-"` // false: the file need not exist
	Validation    Validation `db:"validation" json:"validation"`
	// Former is the kind of a former file: attachment, suspect, report; "": the file is of
	// the current version. The versions are those of the record that had it.
	Former       string  `db:"former" json:"former"`
	FirstVersion int     `db:"first_version" json:"first_version"`
	LastVersion  int     `db:"last_version" json:"last_version"`
	ArchiveID    *int64  `db:"archive_id" json:"-"` // nil: it is in the output folder
	ArchiveName  *string `db:"archive_name" json:"-"`
	ArchiveLost  bool    `db:"archive_lost" json:"-"` // an operator gave the archive up
}

// FiledRecord is a record with all its files.
type FiledRecord struct {
	Tip            string     `db:"tip" json:"tip"`
	ObjectType     string     `db:"object_type" json:"object_type"`
	Status         Status     `db:"processing_status" json:"processing_status"`
	InspectionID   string     `db:"inspection_id" json:"inspection_id"`
	InspectionDate string     `db:"inspection_date" json:"inspection_date"` // 2024-03-05, or empty
	Folder         string     `db:"folder" json:"folder"`                   // relative to the output folder
	Token          int64      `db:"claim_token" json:"-"`
	Claimed        bool       `db:"claimed" json:"-"`
	Archived       bool       `db:"archived" json:"archived"` // its files may have left the disk
	ArchivedAt     *time.Time `db:"archived_at" json:"archived_at"`
	// ArchivedByHand means that an operator marked it as archived and that no archive of
	// noggin holds anything of it.
	ArchivedByHand bool   `db:"archived_by_hand" json:"-"`
	Files          []File `db:"-" json:"-"` // attachments by number, the report, then former files
}

// ArchiveFilter chooses the records that an archive may take: complete records that
// are not archived, or have new files since.
type ArchiveFilter struct {
	Selector
	Before string // inspection date, exclusive: 2024-11-24
}

// where returns the filter's conditions and their arguments, which are the first.
func (f ArchiveFilter) where() (conditions string, args []any) {
	conditions = `d.processing_status = 'complete' AND d.inspection_date IS NOT NULL
		AND (NOT d.archived OR d.report_path IS NOT NULL AND d.report_archive_id IS NULL)
		AND d.inspection_date < $1::date
		AND NOT EXISTS (SELECT FROM noggin_schema.archive_records r JOIN noggin_schema.archives v ON v.id = r.archive_id
			WHERE r.record_tip = d.tip AND v.state = 'kept')`
	chosen, args := f.whereFetched(2)
	return conditions + chosen, append([]any{f.Before}, args...)
}

// ArchiveMonth is what can be archived of a month.
type ArchiveMonth struct {
	Month   string `db:"month" json:"month"` // 2024-03
	Oldest  string `db:"oldest" json:"-"`    // day of its first inspection
	Records int    `db:"records" json:"records"`
	Files   int    `db:"files" json:"files"`
	Bytes   int64  `db:"bytes" json:"bytes"`
	// PhotoBytes are the bytes of attachments, which compression does not shrink.
	PhotoBytes int64 `db:"photo_bytes" json:"-"`
}

// ArchiveMonths returns the months with records to archive, oldest first.
func (db *DB) ArchiveMonths(ctx context.Context, f ArchiveFilter) ([]ArchiveMonth, error) {
	conditions, args := f.where()
	var months []ArchiveMonth
	err := db.selectAll(ctx, "look for records to archive", &months, `
		SELECT to_char(d.inspection_date, 'YYYY-MM') AS month, min(d.inspection_date)::text AS oldest, count(*) AS records,
		       coalesce(sum(a.files + o.files), 0)::bigint + count(*) FILTER (WHERE d.report_path IS NOT NULL AND d.report_archive_id IS NULL) AS files,
		       (coalesce(sum(a.bytes), 0) + coalesce(sum(o.bytes), 0) + coalesce(sum(d.report_size_bytes) FILTER (WHERE d.report_archive_id IS NULL), 0))::bigint AS bytes,
		       (coalesce(sum(a.bytes), 0) + coalesce(sum(o.bytes), 0))::bigint AS photo_bytes
		FROM noggin_schema.noggin_data d
		CROSS JOIN LATERAL (SELECT count(*) AS files, sum(a.file_size_bytes) AS bytes FROM noggin_schema.attachments a
			WHERE a.record_tip = d.tip AND a.attachment_status = 'complete' AND a.archive_id IS NULL) a
		CROSS JOIN LATERAL (SELECT count(*) AS files, sum(o.size_bytes) AS bytes FROM noggin_schema.former_files o
			WHERE o.record_tip = d.tip AND o.archive_id IS NULL) o
		WHERE `+conditions+` GROUP BY 1 ORDER BY 1`, args...)
	return months, err
}

// ArchivePlace is a place in the list of records to archive.
type ArchivePlace struct {
	Date string `db:"date"`
	Tip  string `db:"tip"`
}

// ArchiveCandidates returns the next records of a month that may be archived, in the
// order of day and tip, after the place.
func (db *DB) ArchiveCandidates(ctx context.Context, f ArchiveFilter, month string, after ArchivePlace, limit int) ([]ArchivePlace, error) {
	conditions, args := f.where()
	if after.Date == "" {
		after.Date = month + "-01"
	}
	n := len(args)
	args = append(args, month+"-01", after.Date, after.Tip, limit)
	arg := func(i int) string { return placeholder(n + i) }
	var found []ArchivePlace
	err := db.selectAll(ctx, "look for records to archive", &found, `
		SELECT d.inspection_date::text AS date, d.tip FROM noggin_schema.noggin_data d
		WHERE `+conditions+` AND d.inspection_date < (`+arg(1)+`::date + interval '1 month')::date
		  AND (d.inspection_date, d.tip) > (`+arg(2)+`::date, `+arg(3)+`)
		ORDER BY d.inspection_date, d.tip LIMIT `+arg(4), args...)
	return found, err
}

// byTips are the commands that claim by [DB.ClaimTips].
const byTips = `'archive create', 'archive register', 'archive restore', 'archive forget', 'copy restore'`

// ClaimTips claims the unclaimed records among the tips; with a status, only those that
// have it. It does not change their crash count: a crash of this work says nothing
// about the record. The caller holds the maintenance lock, so an earlier run of its kind
// that did not end is dead, and its claims are free before their leases end. The caller has
// no other claims: a claim of its own run is one whose reply was lost.
func (db *DB) ClaimTips(ctx context.Context, run int64, tips []string, status Status, lease time.Duration) ([]Claim, error) {
	var claims []Claim
	err := changeAll(ctx, db, "claim records", &claims, `
		WITH chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d
			WHERE d.tip = ANY($2::text[]) AND ($3 = '' OR d.processing_status = $3)
			  AND (`+unclaimed+` OR d.claimed_by IN (SELECT r.id FROM noggin_schema.runs r
				WHERE r.id <= $1 AND r.command IN (`+byTips+`) AND r.finished_at IS NULL))
			ORDER BY d.tip FOR UPDATE SKIP LOCKED)
		UPDATE noggin_schema.noggin_data d
		SET claimed_by = $1, claim_expires_at = now() + $4 * interval '1 second', claim_token = d.claim_token + 1
		FROM chosen WHERE d.tip = chosen.tip RETURNING d.tip, d.claim_token, d.object_type, d.processing_status`,
		run, pq.Array(tips), status, lease.Seconds())
	return claims, err
}

// FiledRecords returns the records with their complete files, in no order.
func (db *DB) FiledRecords(ctx context.Context, tips []string) ([]FiledRecord, error) {
	records, err := db.RecordFiles(ctx, tips)
	for i := range records {
		records[i].Files = slices.DeleteFunc(records[i].Files, func(f File) bool { return f.AttachmentTip != "" && !f.Complete })
	}
	return records, err
}

// RecordFiles returns the records with all files that have a path, in no order.
func (db *DB) RecordFiles(ctx context.Context, tips []string) ([]FiledRecord, error) {
	var records []FiledRecord
	if err := db.selectAll(ctx, "read the records", &records, `
		SELECT d.tip, d.object_type, d.processing_status, coalesce(d.inspection_id, '') AS inspection_id,
		       coalesce(d.inspection_date::text, '') AS inspection_date, coalesce(d.folder, '') AS folder, d.archived, d.archived_at,
		       d.claim_token, NOT `+unclaimed+` AS claimed, d.archived AND NOT `+inArchive+` AS archived_by_hand
		FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[])`, pq.Array(tips)); err != nil {
		return nil, err
	}
	byTip := make(map[string]*FiledRecord, len(records))
	for i := range records {
		byTip[records[i].Tip] = &records[i]
	}
	var files []File
	if err := db.selectAll(ctx, "read the records' files", &files, `
		SELECT f.*, (SELECT v.name FROM noggin_schema.archives v WHERE v.id = f.archive_id) AS archive_name,
		       EXISTS (SELECT FROM noggin_schema.archives v WHERE v.id = f.archive_id AND v.lost_at IS NOT NULL) AS archive_lost FROM (
			SELECT a.record_tip, a.attachment_tip, a.attachment_sequence, a.field_name, a.file_path,
			       coalesce(a.file_size_bytes, -1) AS size_bytes, coalesce(a.file_hash_sha256, '') AS hash_sha256,
			       coalesce(a.content_type, '') AS content_type, a.attachment_validation_status AS validation, a.archive_id,
			       a.attachment_status = 'complete' AS complete, '' AS former, 0 AS first_version, 0 AS last_version
			FROM noggin_schema.attachments a WHERE a.record_tip = ANY($1::text[]) AND a.file_path IS NOT NULL
			UNION ALL
			SELECT d.tip, '', 2147483647, '', d.report_path, coalesce(d.report_size_bytes, -1),
			       coalesce(d.report_hash_sha256, ''), 'text/plain', '', d.report_archive_id,
			       d.processing_status IN ('complete', 'partial', 'failed', 'skipped'), '', 0, 0
			FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[]) AND d.report_path IS NOT NULL
			UNION ALL
			SELECT o.record_tip, o.attachment_tip, o.attachment_sequence, o.field_name, o.path, o.size_bytes, o.hash_sha256, o.content_type,
			       o.validation, o.archive_id, true, o.kind, o.first_version, o.last_version
			FROM noggin_schema.former_files o WHERE o.record_tip = ANY($1::text[])) f
		ORDER BY f.record_tip, f.former <> '', f.attachment_sequence, f.file_path`, pq.Array(tips)); err != nil {
		return nil, err
	}
	for _, f := range files {
		if r, ok := byTip[f.RecordTip]; ok { // a record may come between the two statements
			r.Files = append(r.Files, f)
		}
	}
	return records, nil
}

// MarkArchived records that the archive holds the files of the claimed records. It
// returns the records whose claim still held and may be repeated.
func (db *DB) MarkArchived(ctx context.Context, run, archive int64, claims []Claim, files []File) ([]string, error) {
	return db.noteFiles(ctx, "record the archived files", run, archive, claims, files,
		`UPDATE noggin_schema.attachments a SET archive_id = $1::bigint, attachment_status = 'complete',
			last_error_message = CASE a.attachment_status WHEN 'complete' THEN a.last_error_message END
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, hash text, former text)
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip AND a.file_hash_sha256 = v.hash
		  AND a.record_tip = ANY($2::text[]) AND a.archive_id IS NULL AND v.former = ''`,
		`UPDATE noggin_schema.former_files o SET archive_id = $1::bigint
		FROM jsonb_to_recordset($3::jsonb) AS v (path text, hash text, former text)
		WHERE v.former <> '' AND o.path = v.path AND o.hash_sha256 = v.hash AND o.record_tip = ANY($2::text[]) AND o.archive_id IS NULL`,
		`UPDATE noggin_schema.noggin_data d SET archived = true, archived_at = now(),
			report_archive_id = CASE WHEN EXISTS (SELECT FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, hash text, former text)
				WHERE v.record_tip = d.tip AND v.attachment_tip = '' AND v.former = '' AND v.hash = d.report_hash_sha256) AND d.report_archive_id IS NULL
				THEN $1::bigint ELSE d.report_archive_id END
		WHERE d.tip = ANY($2::text[])`,
		`INSERT INTO noggin_schema.archive_records (record_tip, archive_id)
		SELECT v.record_tip, $1::bigint FROM (SELECT DISTINCT record_tip FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text)) v
		WHERE v.record_tip = ANY($2::text[]) ORDER BY 1 ON CONFLICT DO NOTHING`)
}

// MarkRestored records that the files of the claimed records are in the output folder
// again. It returns the records whose claim still held and may be repeated. A record
// with no file in any archive is no longer archived.
func (db *DB) MarkRestored(ctx context.Context, run, archive int64, claims []Claim, files []File) ([]string, error) {
	return db.noteFiles(ctx, "record the restored files", run, archive, claims, files,
		`UPDATE noggin_schema.attachments a SET archive_id = NULL
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, former text)
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip AND v.former = '' AND a.archive_id = $1 AND a.record_tip = ANY($2::text[])`,
		`UPDATE noggin_schema.noggin_data d SET report_archive_id = NULL
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, former text)
		WHERE d.tip = v.record_tip AND v.attachment_tip = '' AND v.former = '' AND d.report_archive_id = $1 AND d.tip = ANY($2::text[])`,
		`UPDATE noggin_schema.former_files o SET archive_id = NULL
		FROM jsonb_to_recordset($3::jsonb) AS v (path text, former text)
		WHERE o.path = v.path AND v.former <> '' AND o.archive_id = $1 AND o.record_tip = ANY($2::text[])`,
		`UPDATE noggin_schema.noggin_data d SET archived = false, archived_at = NULL
		WHERE d.tip = ANY($2::text[]) AND d.report_archive_id IS NULL AND $3::text IS NOT NULL AND $1::bigint IS NOT NULL
		  AND NOT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id IS NOT NULL)
		  AND NOT EXISTS (SELECT FROM noggin_schema.former_files o WHERE o.record_tip = d.tip AND o.archive_id IS NOT NULL)`)
}

// noteFiles runs statements on the files of the claimed records and returns the
// records whose claim still held. $1 is the archive, $2 those records, $3 the files as
// a JSON array. Each statement must use all three.
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

// AddArchivedFiles records files of the claimed records that the database does not
// know and the archive holds. They are sealed. It may be repeated.
func (db *DB) AddArchivedFiles(ctx context.Context, run, archive int64, claims []Claim, files []File) error {
	_, err := db.noteFiles(ctx, "record the archive's files", run, archive, claims, files,
		`INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, filename, file_path,
			attachment_status, attachment_validation_status, file_size_bytes, file_hash_sha256, content_type, archive_id)
		SELECT v.record_tip, v.attachment_tip, v.sequence, v.field, regexp_replace(v.path, '^.*/', ''), v.path,
			'complete', coalesce(nullif(v.validation, ''), 'not_validated'), v.size, v.hash, nullif(v.content_type, ''), $1::bigint
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, sequence integer, field text, path text,
			size bigint, hash text, content_type text, validation text, former text)
		WHERE v.attachment_tip <> '' AND v.former = '' AND v.record_tip = ANY($2::text[]) ON CONFLICT DO NOTHING`,
		`WITH v AS (SELECT * FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, sequence integer, field text, path text,
			size bigint, hash text, content_type text, validation text, former text, first_version integer, last_version integer)
			WHERE v.former <> '' AND v.record_tip = ANY($2::text[])),
		due AS (INSERT INTO noggin_schema.seal_due AS s (record_tip) SELECT DISTINCT v.record_tip FROM v WHERE v.former = 'attachment' ORDER BY 1
			ON CONFLICT (record_tip) DO UPDATE SET marks = s.marks + 1)
		INSERT INTO noggin_schema.former_files AS f (`+formerColumns+`)
		SELECT v.path, v.record_tip, v.former, v.attachment_tip, v.sequence, v.field, v.validation, v.size, v.hash, v.content_type, $1::bigint, NULL::timestamptz,
			v.first_version, v.last_version
		FROM v ON CONFLICT DO NOTHING`,
		`UPDATE noggin_schema.noggin_data d SET report_path = v.path, report_size_bytes = v.size, report_hash_sha256 = v.hash, report_archive_id = $1::bigint
		FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text, attachment_tip text, path text, size bigint, hash text, former text)
		WHERE d.tip = v.record_tip AND v.attachment_tip = '' AND v.former = '' AND d.tip = ANY($2::text[]) AND d.report_archive_id IS NULL`,
		`UPDATE noggin_schema.noggin_data d SET archived = true, archived_at = now()
		WHERE d.tip = ANY($2::text[]) AND NOT d.archived AND $1::bigint IS NOT NULL
		  AND EXISTS (SELECT FROM jsonb_to_recordset($3::jsonb) AS v (record_tip text) WHERE v.record_tip = d.tip)`)
	return err
}

// CountFilesIn counts the files that the archive holds, as the database has it.
func (db *DB) CountFilesIn(ctx context.Context, archive int64) (int, error) {
	var n int
	err := db.get(ctx, "count the archive's files", &n, `
		SELECT (SELECT count(*) FROM noggin_schema.archive_records r
		        JOIN noggin_schema.attachments a ON a.record_tip = r.record_tip AND a.archive_id = r.archive_id WHERE r.archive_id = $1)
		     + (SELECT count(*) FROM noggin_schema.archive_records r
		        JOIN noggin_schema.noggin_data d ON d.tip = r.record_tip AND d.report_archive_id = r.archive_id WHERE r.archive_id = $1)
		     + (SELECT count(*) FROM noggin_schema.archive_records r
		        JOIN noggin_schema.former_files o ON o.record_tip = r.record_tip AND o.archive_id = r.archive_id WHERE r.archive_id = $1)`, archive)
	return n, err
}
