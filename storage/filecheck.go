package storage

import (
	"context"
	"encoding/json"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Filed is a record with files in the output folder.
type Filed struct {
	Tip    string `db:"tip"`
	Folder string `db:"folder"` // "": a record of the replaced service, which has no folder of its own
}

// CountFiled counts the records with a folder.
func (db *DB) CountFiled(ctx context.Context) (n int64, err error) {
	err = db.get(ctx, "count the folders", &n, `SELECT count(*) FROM noggin_schema.noggin_data WHERE folder IS NOT NULL`)
	return n, err
}

// FiledAfter returns up to limit records in the order of their folders, after the
// given folder.
func (db *DB) FiledAfter(ctx context.Context, after string, limit int) (page []Filed, err error) {
	err = db.selectAll(ctx, "list the folders", &page, `
		SELECT tip, folder FROM noggin_schema.noggin_data WHERE folder IS NOT NULL AND folder > $1 ORDER BY folder LIMIT $2`, after, limit)
	return page, err
}

// UnfiledAfter returns up to limit records that have files and no folder, in the order
// of their tips, after the given tip.
func (db *DB) UnfiledAfter(ctx context.Context, after string, limit int) (page []Filed, err error) {
	err = db.selectAll(ctx, "list the records without a folder", &page, `
		SELECT d.tip, '' AS folder FROM noggin_schema.noggin_data d WHERE d.folder IS NULL AND d.tip > $1
		  AND EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.file_path IS NOT NULL)
		ORDER BY d.tip LIMIT $2`, after, limit)
	return page, err
}

// KnownFolders returns the folders that belong to a record.
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

// LostFiles are files of a record that are missing on disk or differ.
type LostFiles struct {
	Tip         string         `db:"tip" json:"tip"`
	Token       int64          `db:"claim_token" json:"token"`       // when the files were compared
	Attachments pq.StringArray `db:"attachments" json:"attachments"` // tips; a lost report adds none
}

// QueueLost queues records with lost files again, with those attachments pending. It
// returns how many and may be repeated. It leaves alone records that changed since the
// comparison, and skipped and permanently failed ones.
func (db *DB) QueueLost(ctx context.Context, lost []LostFiles) (int, error) {
	return db.queueFiles(ctx, lost, "the file was not on disk as it should be")
}

// queueFiles is QueueLost with the reason that the attachments and their records get.
func (db *DB) queueFiles(ctx context.Context, lost []LostFiles, why string) (int, error) {
	doc, err := json.Marshal(lost)
	if err != nil {
		return 0, err
	}
	queued := map[string]bool{} // over all tries: the reply to a COMMIT may be lost
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
			UPDATE noggin_schema.attachments a SET attachment_status = 'pending', last_error_message = $3
			FROM jsonb_to_recordset($1::jsonb) AS v (tip text, attachments jsonb)
			WHERE a.record_tip = v.tip AND v.attachments ? a.attachment_tip AND a.record_tip = ANY($2::text[])
			  AND a.attachment_status = 'complete'`), string(doc), pq.Array(tips), why); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.noggin_data d SET `+queueAgain+`, `+countAgain+`, claim_token = d.claim_token + 1,
				last_error_message = $2 WHERE d.tip = ANY($1::text[])`), pq.Array(tips), why)
		if err == nil {
			for _, tip := range tips {
				queued[tip] = true
			}
		}
		return err
	})
	return len(queued), err
}
