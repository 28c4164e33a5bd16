package storage

import (
	"context"
	"encoding/json"

	"github.com/lib/pq"
)

// LegacyFile is an attachment that the replaced service downloaded and whose file noggin
// has not checked yet.
type LegacyFile struct {
	RecordTip string  `db:"record_tip" json:"record_tip"`
	Tip       string  `db:"attachment_tip" json:"attachment_tip"`
	Filename  string  `db:"filename" json:"-"`
	Path      string  `db:"file_path" json:"path"` // relative to the output folder; "": unknown
	Size      *int64  `db:"file_size_bytes" json:"-"`
	SHA256    *string `db:"file_hash_sha256" json:"-"`
	Namesakes int     `db:"namesakes" json:"-"` // how many legacy files have this name
}

const (
	legacyFileColumns = `a.record_tip, a.attachment_tip, coalesce(a.filename, '') AS filename, coalesce(a.file_path, '') AS file_path,
		a.file_size_bytes, a.file_hash_sha256`
	notLookedAt = `a.attachment_status = 'complete' AND a.content_type IS NULL AND a.archive_id IS NULL`
	// waiting are retries without an answer, due or not, as migrated records are.
	waiting = unfinished + ` AND d.payload IS NULL`
)

// LegacyFilesAfter returns up to limit files of waiting records, in the order of their
// attachments' keys, after the given file.
func (db *DB) LegacyFilesAfter(ctx context.Context, s Selector, after LegacyFile, limit int) (files []LegacyFile, err error) {
	selected, args := s.where(4)
	err = db.selectAll(ctx, "list the files of the replaced service", &files, `
		SELECT `+legacyFileColumns+` FROM noggin_schema.noggin_data d JOIN noggin_schema.attachments a ON a.record_tip = d.tip
		WHERE `+waiting+selected+` AND `+notLookedAt+` AND (a.record_tip, a.attachment_tip) > ($1, $2) AND d.tip >= $1
		ORDER BY a.record_tip, a.attachment_tip LIMIT $3`, append([]any{after.RecordTip, after.Tip, limit}, args...)...)
	return files, err
}

// LegacyFilesNamed returns the files of waiting records with one of the names.
func (db *DB) LegacyFilesNamed(ctx context.Context, s Selector, names []string) (files []LegacyFile, err error) {
	selected, args := s.where(2)
	err = db.selectAll(ctx, "look for the files of the replaced service", &files, `
		WITH a AS (SELECT a.*, count(*) OVER (PARTITION BY a.filename) AS namesakes FROM noggin_schema.attachments a
			WHERE a.filename = ANY($1::text[]) AND `+notLookedAt+`)
		SELECT `+legacyFileColumns+`, a.namesakes FROM a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip
		WHERE `+waiting+selected, append([]any{pq.Array(names)}, args...)...)
	return files, err
}

// SetLegacyPaths records the paths of files that were found. It leaves files of claimed
// records alone.
func (db *DB) SetLegacyPaths(ctx context.Context, files []LegacyFile) error {
	doc, err := json.Marshal(files)
	if err != nil {
		return err
	}
	return db.change(ctx, "record the paths of files of the replaced service", `
		WITH v AS (SELECT v.* FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text, attachment_tip text, path text)),
		free AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE d.tip IN (SELECT record_tip FROM v) AND `+unclaimed+`
			ORDER BY d.tip FOR NO KEY UPDATE OF d SKIP LOCKED)
		UPDATE noggin_schema.attachments a SET file_path = v.path FROM v JOIN free ON free.tip = v.record_tip
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip AND `+notLookedAt, string(doc))
}

// HasFiled reports whether any record should have files in the output folder, written by
// noggin or by the replaced service.
func (db *DB) HasFiled(ctx context.Context) (bool, error) {
	var filed bool
	err := db.get(ctx, "look for records with files", &filed, `
		SELECT EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.report_path IS NOT NULL AND d.report_archive_id IS NULL
			AND (NOT d.archived OR `+inArchive+`))
		    OR EXISTS (SELECT FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip
			WHERE a.attachment_status = 'complete' AND a.archive_id IS NULL AND (NOT d.archived OR `+inArchive+`))`)
	return filed, err
}
