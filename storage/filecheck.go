package storage

import (
	"context"
	"encoding/json"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Filed is a record with a place in the output folder.
type Filed struct {
	Tip    string `db:"tip"`
	Folder string `db:"folder"` // "": from the replaced service, with files somewhere
}

// CountFiled counts the records with a folder.
func (db *DB) CountFiled(ctx context.Context) (n int64, err error) {
	err = db.get(ctx, "count the folders", &n, `SELECT count(*) FROM noggin_schema.noggin_data WHERE folder IS NOT NULL`)
	return n, err
}

// FiledAfter returns up to limit records in the order of their folders, from behind
// the folder after.
func (db *DB) FiledAfter(ctx context.Context, after string, limit int) (page []Filed, err error) {
	err = db.selectAll(ctx, "list the folders", &page, `
		SELECT tip, folder FROM noggin_schema.noggin_data WHERE folder IS NOT NULL AND folder > $1 ORDER BY folder LIMIT $2`, after, limit)
	return page, err
}

// UnfiledAfter is FiledAfter for the records without a folder that have files, in
// the order of their tips.
func (db *DB) UnfiledAfter(ctx context.Context, after string, limit int) (page []Filed, err error) {
	err = db.selectAll(ctx, "list the records without a folder", &page, `
		SELECT d.tip, '' AS folder FROM noggin_schema.noggin_data d WHERE d.folder IS NULL AND d.tip > $1
		  AND EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.file_path IS NOT NULL)
		ORDER BY d.tip LIMIT $2`, after, limit)
	return page, err
}

// KnownFolders returns those of the folders that are a record's.
func (db *DB) KnownFolders(ctx context.Context, folders []string) (map[string]bool, error) {
	var found []string
	err := db.selectAll(ctx, "look for the folders' records", &found, `
		SELECT folder FROM noggin_schema.noggin_data WHERE folder = ANY($1::text[])`, pq.Array(folders))
	known := make(map[string]bool, len(folders))
	for _, folder := range found {
		known[folder] = true
	}
	if err != nil || len(found) == len(folders) {
		return known, err
	}
	// Files of the replaced service.
	err = db.selectAll(ctx, "look for the folders' records", &found, `
		SELECT DISTINCT regexp_replace(a.file_path, '/[^/]*$', '') FROM noggin_schema.noggin_data d
		JOIN noggin_schema.attachments a ON a.record_tip = d.tip
		WHERE d.folder IS NULL AND regexp_replace(a.file_path, '/[^/]*$', '') = ANY($1::text[])`, pq.Array(folders))
	for _, folder := range found {
		known[folder] = true
	}
	return known, err
}

// RecordFiles are the files that a record should have.
type RecordFiles struct {
	Tip          string `db:"tip"`
	Folder       string `db:"folder"`
	InspectionID string `db:"inspection_id"`
	Status       string `db:"processing_status"`
	Token        int64  `db:"claim_token"`
	Claimed      bool   `db:"claimed"`  // a run is at work on it
	Archived     bool   `db:"archived"` // then its files may be gone
	Files        []RecordFile
}

// RecordFile is a file of a record: an attachment, or its text report.
type RecordFile struct {
	RecordTip     string `db:"record_tip"`
	AttachmentTip string `db:"attachment_tip"` // "": the report
	Path          string `db:"file_path"`
	Size          int64  `db:"size_bytes"`  // -1: not known
	SHA256        string `db:"hash_sha256"` // "": not known
	Complete      bool   `db:"complete"`    // else the file need not be there
	Archived      bool   `db:"archived"`
}

// RecordFiles returns what the database knows of the records' files, in no order.
func (db *DB) RecordFiles(ctx context.Context, tips []string) ([]RecordFiles, error) {
	const what = "read the records' files"
	var records []RecordFiles
	err := db.selectAll(ctx, what, &records, `
		SELECT d.tip, coalesce(d.folder, '') AS folder, coalesce(d.inspection_id, '') AS inspection_id, d.processing_status, d.claim_token,
		       NOT `+unclaimed+` AS claimed, d.archived
		FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[])`, pq.Array(tips))
	if err != nil {
		return nil, err
	}
	var files []RecordFile
	err = db.selectAll(ctx, what, &files, `
		SELECT a.record_tip, a.attachment_tip, a.file_path, coalesce(a.file_size_bytes, -1) AS size_bytes,
		       coalesce(a.file_hash_sha256, '') AS hash_sha256, a.attachment_status = 'complete' AS complete, a.archive_id IS NOT NULL AS archived
		FROM noggin_schema.attachments a WHERE a.record_tip = ANY($1::text[]) AND a.file_path IS NOT NULL
		UNION ALL
		SELECT d.tip, '', d.report_path, coalesce(d.report_size_bytes, -1), coalesce(d.report_hash_sha256, ''),
		       d.processing_status IN ('complete', 'partial', 'failed', 'skipped'), d.report_archive_id IS NOT NULL
		FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[]) AND d.report_path IS NOT NULL`, pq.Array(tips))
	byTip := make(map[string]*RecordFiles, len(records))
	for i := range records {
		byTip[records[i].Tip] = &records[i]
	}
	for _, f := range files {
		if r, ok := byTip[f.RecordTip]; ok { // the record may have come since
			r.Files = append(r.Files, f)
		}
	}
	return records, err
}

// LostFiles are files of a record that are not on disk as they should be.
type LostFiles struct {
	Tip         string         `db:"tip" json:"tip"`
	Token       int64          `db:"claim_token" json:"token"`       // of the record as it was looked at
	Attachments pq.StringArray `db:"attachments" json:"attachments"` // their tips; a report needs none
}

// QueueLost puts records into the queue again whose files were lost, with those
// attachments pending, and returns how many. A record that anybody touched since it
// was looked at, one that is skipped or permanently failed, is left alone. It may be
// repeated.
func (db *DB) QueueLost(ctx context.Context, lost []LostFiles) (int, error) {
	doc, err := json.Marshal(lost)
	if err != nil {
		return 0, err
	}
	queued := map[string]bool{} // also by a try whose COMMIT's reply was lost
	err = db.tx(ctx, "queue records whose files were lost", func(tx *sqlx.Tx) error {
		var tips []string
		if err := tx.SelectContext(ctx, &tips, db.sql(`
			SELECT d.tip FROM noggin_schema.noggin_data d
			JOIN jsonb_to_recordset($1::jsonb) AS v (tip text, token bigint) ON d.tip = v.tip AND d.claim_token = v.token
			WHERE `+unclaimed+` AND d.processing_status <> 'skipped' AND NOT d.permanently_failed
			ORDER BY d.tip FOR UPDATE OF d`), string(doc)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.attachments a SET attachment_status = 'pending', last_error_message = 'the file was not on disk as it should be'
			FROM jsonb_to_recordset($1::jsonb) AS v (tip text, attachments jsonb)
			WHERE a.record_tip = v.tip AND v.attachments ? a.attachment_tip AND a.record_tip = ANY($2::text[])
			  AND a.attachment_status = 'complete'`), string(doc), pq.Array(tips)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.noggin_data d SET `+queueAgain+`, `+countAgain+`, claim_token = d.claim_token + 1,
				last_error_message = 'a file was not on disk as it should be' WHERE d.tip = ANY($1::text[])`), pq.Array(tips))
		if err == nil {
			for _, tip := range tips {
				queued[tip] = true
			}
		}
		return err
	})
	return len(queued), err
}
