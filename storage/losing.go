package storage

import (
	"context"
	"encoding/json"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// ErrorLost is the type of the errors that record lost files.
const ErrorLost = "lost"

// filesInArchive are the files that the archive $1 holds, of records in $2; all: every one.
func filesInArchive(all bool) string {
	of := func(tip string) string {
		if all {
			return ""
		}
		return " AND " + tip + " = ANY($2::text[])"
	}
	return `(SELECT a.record_tip AS tip, a.file_path AS path, a.file_hash_sha256 AS hash, a.file_size_bytes AS size, '' AS former
		FROM noggin_schema.attachments a WHERE a.archive_id = $1` + of("a.record_tip") + `
		UNION ALL SELECT d.tip, d.report_path, d.report_hash_sha256, d.report_size_bytes, ''
		FROM noggin_schema.noggin_data d WHERE d.report_archive_id = $1` + of("d.tip") + `
		UNION ALL SELECT o.record_tip, o.path, o.hash_sha256, o.size_bytes, o.kind
		FROM noggin_schema.former_files o WHERE o.archive_id = $1` + of("o.record_tip") + `)`
}

// CopiedTo counts files that have a copy in a target.
type CopiedTo struct {
	CopyPlace
	Files int64 `db:"files"`
}

// CopiedOfArchive counts the files of the archive that have a copy, for each target that
// has any.
func (db *DB) CopiedOfArchive(ctx context.Context, archive int64) (copied []CopiedTo, err error) {
	err = db.selectAll(ctx, "look for copies of the archive's files", &copied, `
		SELECT t.url, t.endpoint, count(*) AS files FROM `+filesInArchive(true)+` AS f CROSS JOIN noggin_schema.copy_targets t
		JOIN noggin_schema.copies c ON c.target_id = t.id AND c.path = f.path AND c.hash_sha256 = lower(f.hash)
		WHERE c.obsolete_at IS NULL AND c.problem IS NULL GROUP BY t.id, t.url, t.endpoint ORDER BY t.id`, archive)
	return copied, err
}

// BeginLoss records that an archive is being given up, and why, before anything in it is. It
// returns the first reason, which stays until the archive is registered again.
func (db *DB) BeginLoss(ctx context.Context, archive int64, reason string) (first string, err error) {
	err = db.changeGet(ctx, "begin to give the archive up", &first, `
		UPDATE noggin_schema.archives SET losing_since = CASE WHEN lost_at IS NULL THEN coalesce(losing_since, now()) ELSE losing_since END,
			lost_reason = CASE WHEN coalesce(losing_since, lost_at) IS NULL THEN $2 ELSE lost_reason END
		WHERE id = $1 RETURNING coalesce(lost_reason, '')`, archive, cleanText(reason))
	return first, err
}

// MarkLost records that an archive is lost with all that was in it.
func (db *DB) MarkLost(ctx context.Context, archive int64) error {
	return db.change(ctx, "record the loss of the archive", `
		UPDATE noggin_schema.archives SET lost_at = now() WHERE id = $1 AND lost_at IS NULL`, archive)
}

// LostOfArchive counts what was lost with an archive.
type LostOfArchive struct {
	Records int `db:"records" json:"records"`
	Files   int `db:"files" json:"files"`   // of the current version: to be fetched again
	Former  int `db:"former" json:"former"` // of former versions: the platform has them no more
	Queued  int `db:"queued" json:"queued"` // records that are due again
}

// LoseFiles records for each of the claimed records what it lost with the archive, and
// queues it again to fetch what the platform still has. Former files stay recorded in the
// lost archive. It may be repeated: each loss that [DB.BeginLoss] began is noted once.
func (db *DB) LoseFiles(ctx context.Context, run, archive int64, claims []Claim, why string) (lost LostOfArchive, err error) {
	err = db.tx(ctx, "record the lost files", func(tx *sqlx.Tx) error {
		owned, err := db.lockOwned(ctx, tx, run, claims)
		if err != nil {
			return err
		}
		var counted LostOfArchive
		if err := tx.GetContext(ctx, &counted, db.sql(`
			SELECT count(DISTINCT f.tip) AS records, count(*) FILTER (WHERE f.former = '') AS files, count(*) FILTER (WHERE f.former <> '') AS former,
			       count(DISTINCT f.tip) FILTER (WHERE f.former = '' AND NOT `+notQueued+`) AS queued
			FROM `+filesInArchive(false)+` AS f JOIN noggin_schema.noggin_data d ON d.tip = f.tip`), archive, pq.Array(owned)); err != nil {
			return err
		}
		if lost == (LostOfArchive{}) { // else an earlier try, whose COMMIT's reply was lost, may have recorded them
			lost = counted
		}
		doc, err := json.Marshal(map[string]any{"run": run, "why": cleanText(why), "type": ErrorLost})
		if err != nil {
			return err
		}
		return db.exec(ctx, tx, []any{archive, pq.Array(owned), string(doc)}, `
			INSERT INTO noggin_schema.processing_errors (tip, run_id, error_type, error_message, error_details)
			SELECT f.tip, ($3::jsonb->>'run')::bigint, $3::jsonb->>'type', $3::jsonb->>'why',
			       jsonb_build_object('files', jsonb_agg(jsonb_build_object('path', f.path, 'size', f.size, 'sha256', f.hash, 'former', f.former) ORDER BY f.path))
			FROM `+filesInArchive(false)+` AS f
			WHERE NOT EXISTS (SELECT FROM noggin_schema.processing_errors e
				WHERE e.tip = f.tip AND e.error_type = $3::jsonb->>'type' AND e.error_message = $3::jsonb->>'why'
				  AND e.created_at >= coalesce((SELECT v.losing_since FROM noggin_schema.archives v WHERE v.id = $1), '-infinity')) GROUP BY f.tip ORDER BY f.tip`, `
			UPDATE noggin_schema.noggin_data d SET `+queueAgain+`, last_error_message = $3::jsonb->>'why'
			WHERE d.tip = ANY($2::text[]) AND (d.report_archive_id = $1
				OR EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id = $1))`, `
			UPDATE noggin_schema.attachments a SET archive_id = NULL, attachment_status = 'pending', last_error_message = $3::jsonb->>'why'
			WHERE a.record_tip = ANY($2::text[]) AND a.archive_id = $1`, `
			UPDATE noggin_schema.noggin_data d SET report_archive_id = NULLIF(d.report_archive_id, $1), `+countAgain+`
			WHERE d.tip = ANY($2::text[]) AND $3::text IS NOT NULL`, `
			DELETE FROM noggin_schema.archive_records r WHERE r.archive_id = $1 AND r.record_tip = ANY($2::text[]) AND $3::text IS NOT NULL
			  AND NOT EXISTS (SELECT FROM noggin_schema.former_files o WHERE o.record_tip = r.record_tip AND o.archive_id = $1)`, `
			UPDATE noggin_schema.noggin_data d SET archived = false, archived_at = NULL
			WHERE d.tip = ANY($2::text[]) AND d.archived AND NOT `+inArchive+` AND $1::bigint IS NOT NULL AND $3::text IS NOT NULL`)
	})
	return lost, err
}
