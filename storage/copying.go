package storage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jmoiron/sqlx"
)

// The kinds of files that are copied.
const (
	CopyAttachment = "attachment"
	CopyFormer     = "former"
	CopyReport     = "report"
	CopyBackup     = "backup"
	CopyManifest   = "manifest"
)

// CopyKey names one content of one file.
type CopyKey struct {
	Path   string `db:"path" json:"path"`          // in the output folder; of a backup and its manifest: absolute
	SHA256 string `db:"hash_sha256" json:"sha256"` // in lower-case hex
}

// DueCopy is a file to copy.
type DueCopy struct {
	CopyKey
	Size      int64  `db:"size_bytes"`
	Kind      string `db:"kind"`
	RecordTip string `db:"record_tip"` // "": a backup
	Damaged   bool   `db:"damaged"`    // a verification found a problem with its copy
	Host      string `db:"host"`       // of a backup that another host made; "" otherwise
	Outdated  bool   `db:"outdated"`   // the target has a newer backup than this one of another host, whose time is not ahead
}

// dueKeys names the rows of copies_due among the keys in $2.
const dueKeys = `noggin_schema.copies_due d USING jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text)
	WHERE d.target_id = $1 AND d.path = v.path AND d.hash_sha256 = v.sha256`

// backupAhead is later than the time of any backup that was made while the clock was right.
const backupAhead = `now() + interval '1 day'`

// ClaimCopies takes up to limit files that are due for the target, those that wait
// longest first. They are due again when the lease ends. A backup is left to the host
// that made it for a day: then that host is gone, or has another name.
func (db *DB) ClaimCopies(ctx context.Context, target int64, limit int, lease time.Duration) (due []DueCopy, err error) {
	err = db.tx(ctx, "claim files to copy", func(tx *sqlx.Tx) error {
		due = nil
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &due, db.sql(`
			WITH chosen AS (SELECT d.path, d.hash_sha256 FROM noggin_schema.copies_due d
				WHERE d.target_id = $1 AND d.due_at <= now() AND (d.host IN ('', $4) OR d.due_since < now() - interval '25 hours') ORDER BY d.due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
			UPDATE noggin_schema.copies_due d SET due_at = now() + $3 * interval '1 second'
			FROM chosen WHERE d.target_id = $1 AND d.path = chosen.path AND d.hash_sha256 = chosen.hash_sha256
			RETURNING d.path, d.hash_sha256, d.size_bytes, d.kind, d.record_tip,
			          EXISTS (SELECT FROM noggin_schema.copies c WHERE c.target_id = d.target_id AND c.path = d.path AND c.hash_sha256 = d.hash_sha256
			                  AND c.problem IS NOT NULL) AS damaged,
			          CASE d.host WHEN $4 THEN '' ELSE d.host END AS host,
			          CASE WHEN d.host NOT IN ('', $4) THEN EXISTS (SELECT FROM noggin_schema.backups b
			                  JOIN noggin_schema.backups k ON k.taken_at > b.taken_at
			                  JOIN noggin_schema.copies n ON n.path = k.path AND n.hash_sha256 = k.hash_sha256 AND n.target_id = $1
			                  WHERE b.hash_sha256 = d.hash_sha256 AND k.taken_at < `+backupAhead+` AND n.kind = 'backup' AND n.obsolete_at IS NULL AND n.problem IS NULL)
			               ELSE false END AS outdated`), target, limit, lease.Seconds(), db.host)
	})
	return due, err
}

// PostponeCopies makes claimed files due after the given time: at the end of a longer
// lease, or at once.
func (db *DB) PostponeCopies(ctx context.Context, target int64, keys []CopyKey, after time.Duration) error {
	doc, err := json.Marshal(append([]CopyKey{}, keys...))
	if err != nil {
		return err
	}
	return db.tx(ctx, "keep the claims of files to copy", func(tx *sqlx.Tx) error {
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return db.exec(ctx, tx, []any{target, string(doc), after.Seconds()}, `
			UPDATE noggin_schema.copies_due d SET due_at = now() + $3 * interval '1 second'
			FROM jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text)
			WHERE d.target_id = $1 AND d.path = v.path AND d.hash_sha256 = v.sha256`)
	})
}

// Copied is a copy that is whole in the target.
type Copied struct {
	CopyKey
	Size        int64      `json:"size"`
	Kind        string     `json:"kind"`
	RecordTip   string     `json:"record_tip"`
	VersionID   string     `json:"version_id"`
	RetainUntil *time.Time `json:"retain_until"`
}

// CopyFailure is a file that could not be copied.
type CopyFailure struct {
	CopyKey
	Problem string `json:"problem"`
}

// CopyResults are what became of claimed files.
type CopyResults struct {
	Copied []Copied
	Gone   []CopyKey // the database does not have this content of the file any more
	Failed []CopyFailure
}

// outputKinds are the kinds that the counts of a target count.
const outputKinds = `('attachment', 'former', 'report')`

// FinishCopies records the results. Once the current report of a record is copied, its
// other reports are obsolete, in whatever order hosts end their copies; a manifest makes
// the earlier ones of its backup obsolete. It may be repeated.
func (db *DB) FinishCopies(ctx context.Context, target int64, r CopyResults) error {
	for i := range r.Failed {
		r.Failed[i].Problem = cleanText(r.Failed[i].Problem)
	}
	copied, err := json.Marshal(append([]Copied{}, r.Copied...))
	if err != nil {
		return err
	}
	gone, err := json.Marshal(append([]CopyKey{}, r.Gone...))
	if err != nil {
		return err
	}
	failed, err := json.Marshal(append([]CopyFailure{}, r.Failed...))
	if err != nil {
		return err
	}
	return db.tx(ctx, "record the copies", func(tx *sqlx.Tx) error {
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		if len(r.Copied) > 0 {
			if err := db.addCopies(ctx, tx, target, string(copied)); err != nil {
				return err
			}
		}
		if len(r.Gone) > 0 { // a copy with a problem cannot be made anew
			if err := db.dropCopies(ctx, tx, target, string(gone), `c.problem IS NOT NULL`); err != nil {
				return err
			}
			if err := db.exec(ctx, tx, []any{target, string(gone)}, `DELETE FROM `+dueKeys); err != nil {
				return err
			}
		}
		if len(r.Failed) == 0 {
			return nil
		}
		return db.exec(ctx, tx, []any{target, string(failed)}, `
			UPDATE noggin_schema.copies_due d SET problem = v.problem, failures = d.failures + 1,
				due_at = now() + least(300 * power(2, least(d.failures, 20)), 86400) * interval '1 second'
			FROM jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text, problem text)
			WHERE d.target_id = $1 AND d.path = v.path AND d.hash_sha256 = v.sha256`)
	})
}

// addCopies records copies. A copy that was obsolete counts again.
func (db *DB) addCopies(ctx context.Context, tx *sqlx.Tx, target int64, copied string) error {
	const given = `jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text, size bigint, kind text, record_tip text, version_id text, retain_until timestamptz)`
	// The row of the target is locked first, so that a file that two runs copied counts once.
	// The records are locked before their copies become obsolete: a report that changes at
	// this moment to one of them makes it due, or is seen here as the current one.
	return db.exec(ctx, tx, []any{target, copied}, `
		SELECT FROM noggin_schema.copy_targets WHERE id = $1 AND $2::jsonb IS NOT NULL FOR NO KEY UPDATE`, `
		WITH new AS (SELECT v.kind, v.size FROM `+given+` WHERE v.kind IN `+outputKinds+`
			AND (SELECT true FROM noggin_schema.copies c WHERE c.target_id = $1 AND c.path = v.path AND c.hash_sha256 = v.sha256
			     AND c.obsolete_at IS NULL) IS NULL)
		UPDATE noggin_schema.copy_targets t SET copied_files = t.copied_files + n.files, copied_bytes = t.copied_bytes + n.bytes, last_copied = now()
		FROM (SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes FROM new) AS n WHERE t.id = $1`, `
		INSERT INTO noggin_schema.copies AS c (target_id, path, hash_sha256, size_bytes, kind, record_tip, version_id, retain_until)
		SELECT $1::bigint, v.path, v.sha256, v.size, v.kind, v.record_tip, v.version_id, v.retain_until FROM `+given+` ORDER BY v.path, v.sha256
		ON CONFLICT (target_id, path, hash_sha256) DO UPDATE SET version_id = excluded.version_id, retain_until = excluded.retain_until,
			copied_at = now(), verified_at = NULL, problem = NULL, obsolete_at = NULL`, `
		WITH old AS (UPDATE noggin_schema.copies c SET obsolete_at = now()
			FROM `+given+` JOIN (SELECT n.tip, n.report_path, n.report_hash_sha256 FROM noggin_schema.noggin_data n
				WHERE n.tip IN (SELECT v.record_tip FROM `+given+` WHERE v.kind = 'report') ORDER BY n.tip FOR SHARE) d ON d.tip = v.record_tip
			JOIN noggin_schema.copies k ON k.target_id = $1 AND k.path = d.report_path AND k.hash_sha256 = lower(d.report_hash_sha256) AND k.obsolete_at IS NULL
			WHERE v.kind = 'report' AND c.target_id = $1 AND c.record_tip = v.record_tip AND c.kind = 'report'
			  AND (c.path <> k.path OR c.hash_sha256 <> k.hash_sha256) AND c.obsolete_at IS NULL RETURNING c.size_bytes)
		UPDATE noggin_schema.copy_targets t SET copied_files = t.copied_files - n.files, copied_bytes = t.copied_bytes - n.bytes
		FROM (SELECT count(*) AS files, sum(size_bytes) AS bytes FROM old) AS n WHERE t.id = $1 AND n.files > 0`, `
		UPDATE noggin_schema.copies c SET obsolete_at = now() FROM `+given+`
		WHERE v.kind = 'manifest' AND c.target_id = $1 AND c.path = v.path AND c.kind = 'manifest' AND c.hash_sha256 <> v.sha256 AND c.obsolete_at IS NULL`,
		`DELETE FROM `+dueKeys)
}

// dropCopies forgets the copies with the keys that fulfil the condition on c.
func (db *DB) dropCopies(ctx context.Context, tx *sqlx.Tx, target int64, keys, condition string) error {
	return db.exec(ctx, tx, []any{target, keys}, `
		WITH gone AS (DELETE FROM noggin_schema.copies c USING jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text)
			WHERE c.target_id = $1 AND c.path = v.path AND c.hash_sha256 = v.sha256 AND `+condition+` RETURNING c.size_bytes, c.kind, c.obsolete_at)
		UPDATE noggin_schema.copy_targets t SET copied_files = t.copied_files - n.files, copied_bytes = t.copied_bytes - n.bytes
		FROM (SELECT count(*) AS files, sum(size_bytes) AS bytes FROM gone WHERE kind IN `+outputKinds+` AND obsolete_at IS NULL) AS n
		WHERE t.id = $1 AND n.files > 0`)
}
