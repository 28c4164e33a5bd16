package storage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Copy is a copy in a target, as the database has it.
type Copy struct {
	CopyKey
	Size        int64      `db:"size_bytes"`
	Kind        string     `db:"kind"`
	VersionID   string     `db:"version_id"`
	RetainUntil *time.Time `db:"retain_until"`
}

const copyColumns = `c.path, c.hash_sha256, c.size_bytes, c.kind, c.version_id, c.retain_until`

// CopiesAfter returns up to limit copies of the target, in the order of their keys, after
// the given key: those of one part of parts, or all if parts is 0.
func (db *DB) CopiesAfter(ctx context.Context, target int64, after CopyKey, part, parts, limit int) (copies []Copy, err error) {
	err = db.selectAll(ctx, "list the copies", &copies, `
		SELECT `+copyColumns+` FROM noggin_schema.copies c
		WHERE c.target_id = $1 AND (c.path, c.hash_sha256) > ($2, $3) AND c.obsolete_at IS NULL
		  AND ($5::int = 0 OR ('x' || left(c.hash_sha256, 4))::bit(16)::int % greatest($5::int, 1) = $4::int % greatest($5::int, 1))
		ORDER BY c.path, c.hash_sha256 LIMIT $6`, target, after.Path, after.SHA256, part, parts, limit)
	return copies, err
}

// HasCopyTarget reports whether the target is registered.
func (db *DB) HasCopyTarget(ctx context.Context, place CopyPlace) (registered bool, err error) {
	err = db.get(ctx, "look for a target of copies", &registered, `
		SELECT EXISTS (SELECT FROM noggin_schema.copy_targets WHERE $1 = '' OR url = $1 AND endpoint = $2)`, place.URL, place.Endpoint)
	return registered, err
}

// UncopiedRecords returns the tips of records of which any of the files has no copy in the
// target that the last verification found right, not longer ago than within and since the
// target was registered.
func (db *DB) UncopiedRecords(ctx context.Context, files []File, place CopyPlace, within time.Duration) (tips []string, err error) {
	doc, err := json.Marshal(append([]File{}, files...))
	if err != nil {
		return nil, err
	}
	err = db.tx(ctx, "look for copies of files", func(tx *sqlx.Tx) error {
		tips = nil
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &tips, db.sql(`
			SELECT DISTINCT v.record_tip FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text, path text, hash text)
			WHERE (SELECT true FROM noggin_schema.copy_targets t
				JOIN noggin_schema.copies c ON c.target_id = t.id AND c.path = v.path AND c.hash_sha256 = lower(v.hash)
				WHERE ($2 = '' OR t.url = $2 AND t.endpoint = $3) AND c.problem IS NULL AND c.obsolete_at IS NULL
				  AND c.verified_at BETWEEN greatest(t.registered_at, now() - $4 * interval '1 second') AND now() + interval '1 day'
				LIMIT 1) IS NULL`), string(doc), place.URL, place.Endpoint, within.Seconds())
	})
	return tips, err
}

// KeysOfCopies returns those of the keys that have a row in the target, also an obsolete
// one.
func (db *DB) KeysOfCopies(ctx context.Context, target int64, keys []CopyKey) (copied []CopyKey, err error) {
	doc, err := json.Marshal(append([]CopyKey{}, keys...))
	if err != nil {
		return nil, err
	}
	err = db.tx(ctx, "look for rows of copies", func(tx *sqlx.Tx) error {
		copied = nil
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &copied, db.sql(`
			SELECT c.path, c.hash_sha256 FROM jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text)
			JOIN noggin_schema.copies c ON c.target_id = $1 AND c.path = v.path AND c.hash_sha256 = v.sha256`), target, string(doc))
	})
	return copied, err
}

// TipsOfFolders returns the tips of the records whose folders these are.
func (db *DB) TipsOfFolders(ctx context.Context, folders []string) (tips []string, err error) {
	err = db.selectAll(ctx, "look for the records of folders", &tips, `
		SELECT tip FROM noggin_schema.noggin_data WHERE folder = ANY($1::text[])`, pq.Array(folders))
	return tips, err
}

// CheckedCopy is a copy that a verification looked at.
type CheckedCopy struct {
	CopyKey
	Problem string `json:"problem"` // "": it is as it should be
	Deep    bool   `json:"deep"`    // its content was read
}

// SaveChecked records what a verification found. A copy with a problem is due again; a
// manifest with its backup. A problem stays until the copy is made anew or its content is
// read: presence and size do not show that rotten content is whole again.
func (db *DB) SaveChecked(ctx context.Context, target int64, checked []CheckedCopy) error {
	for i := range checked {
		checked[i].Problem = cleanText(checked[i].Problem)
	}
	doc, err := json.Marshal(append([]CheckedCopy{}, checked...))
	if err != nil {
		return err
	}
	return db.tx(ctx, "record the verification of copies", func(tx *sqlx.Tx) error {
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return db.exec(ctx, tx, []any{target, string(doc)}, `
			UPDATE noggin_schema.copies c SET problem = nullif(v.problem, ''), verified_at = CASE WHEN v.problem = '' THEN now() END
			FROM jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text, problem text, deep boolean)
			WHERE (v.problem <> '' OR v.deep OR c.problem IS NULL) AND c.target_id = $1 AND c.path = v.path AND c.hash_sha256 = v.sha256`, `
			INSERT INTO noggin_schema.copies_due (target_id, path, hash_sha256, size_bytes, kind, record_tip, host)
			SELECT c.target_id, coalesce(b.path, c.path), coalesce(b.hash_sha256, c.hash_sha256), coalesce(b.size_bytes, c.size_bytes),
			       CASE c.kind WHEN 'manifest' THEN 'backup' ELSE c.kind END, c.record_tip, coalesce(b.host, '')
			FROM jsonb_to_recordset($2::jsonb) AS v (path text, sha256 text, problem text)
			JOIN noggin_schema.copies c ON c.target_id = $1 AND c.path = v.path AND c.hash_sha256 = v.sha256 AND c.obsolete_at IS NULL
			LEFT JOIN noggin_schema.backups b ON c.kind = 'backup' AND b.hash_sha256 = c.hash_sha256
				OR c.kind = 'manifest' AND c.path = b.path || '.json'
			WHERE v.problem <> '' AND (c.kind <> 'manifest' OR b.path IS NOT NULL)
			ORDER BY 2, 3 ON CONFLICT DO NOTHING`)
	})
}

// ObsoleteCopies returns up to limit copies that are to be removed, after it made the
// copies of removed backups obsolete. The copy of the newest backup stays, and one whose
// time is ahead makes no other obsolete.
func (db *DB) ObsoleteCopies(ctx context.Context, target int64, after CopyKey, limit int) (copies []Copy, err error) {
	err = db.tx(ctx, "look for obsolete copies", func(tx *sqlx.Tx) error {
		copies = nil
		if err := db.exec(ctx, tx, []any{target}, `
			UPDATE noggin_schema.copies c SET obsolete_at = now()
			FROM noggin_schema.backups b
			WHERE c.target_id = $1 AND c.kind IN ('backup', 'manifest') AND c.obsolete_at IS NULL AND b.removed_at IS NOT NULL
			  AND c.path IN (b.path, b.path || '.json') AND (c.kind = 'manifest' OR c.hash_sha256 = b.hash_sha256)
			  AND EXISTS (SELECT FROM noggin_schema.copies n JOIN noggin_schema.backups k ON k.hash_sha256 = n.hash_sha256
				WHERE n.target_id = $1 AND n.kind = 'backup' AND n.obsolete_at IS NULL AND n.problem IS NULL AND k.taken_at > b.taken_at
				  AND k.taken_at < `+backupAhead+`)`); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &copies, db.sql(`
			SELECT `+copyColumns+` FROM noggin_schema.copies c
			WHERE c.target_id = $1 AND c.obsolete_at IS NOT NULL AND (c.path, c.hash_sha256) > ($2, $3)
			  AND coalesce(c.retain_until, '-infinity') < now()
			  AND (SELECT true FROM noggin_schema.copies_due d WHERE d.target_id = $1 AND d.path = c.path AND d.hash_sha256 = c.hash_sha256) IS NULL
			ORDER BY c.path, c.hash_sha256 LIMIT $4`), target, after.Path, after.SHA256, limit)
	})
	return copies, err
}

// DropObsolete forgets obsolete copies that are removed from the target.
func (db *DB) DropObsolete(ctx context.Context, target int64, keys []CopyKey) error {
	doc, err := json.Marshal(append([]CopyKey{}, keys...))
	if err != nil {
		return err
	}
	return db.tx(ctx, "forget removed copies", func(tx *sqlx.Tx) error {
		return db.dropCopies(ctx, tx, target, string(doc), `c.obsolete_at IS NOT NULL`)
	})
}

// NoteBackupsRemoved notes that backups were removed from their folder.
func (db *DB) NoteBackupsRemoved(ctx context.Context, sums []string) error {
	return db.change(ctx, "note the removed backups", `
		UPDATE noggin_schema.backups SET removed_at = now() WHERE hash_sha256 = ANY($1::text[]) AND removed_at IS NULL`, pq.Array(sums))
}

// SelectedTips returns up to limit tips of records that the selector chooses, in their
// order, after the given tip.
func (db *DB) SelectedTips(ctx context.Context, s Selector, after string, limit int) (tips []string, err error) {
	selected, args := s.where(3)
	err = db.selectAll(ctx, "look for the records", &tips, `
		SELECT d.tip FROM noggin_schema.noggin_data d WHERE d.tip > $1`+selected+` ORDER BY d.tip LIMIT $2`,
		append([]any{after, limit}, args...)...)
	return tips, err
}
