package storage

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// CopyTarget is a second place to which files are copied, and how far it is.
type CopyTarget struct {
	ID           int64      `db:"id" json:"id"`
	URL          string     `db:"url" json:"url"`           // an absolute folder, or s3://bucket/prefix
	Endpoint     string     `db:"endpoint" json:"endpoint"` // of S3; "": a folder, or the endpoint of the region
	RegisteredAt time.Time  `db:"registered_at" json:"registered_at"`
	Walking      bool       `db:"walking" json:"walking"`     // the walk that finds files without a copy is not at its end
	WalkedAt     *time.Time `db:"walked_at" json:"walked_at"` // when a walk last ended
	Files        int64      `db:"copied_files" json:"files"`  // copies of files of the output folder
	Bytes        int64      `db:"copied_bytes" json:"bytes"`
	Backups      int64      `db:"backups" json:"backups"` // copies of backups
	// Due counts at most 100,001 files to copy.
	Due      int64      `db:"due" json:"due"`
	DueSince *time.Time `db:"due_since" json:"due_since"` // since when the oldest of them is due; nil: nothing is
	Failing  int64      `db:"failing" json:"failing"`     // files that could not be copied at the last try
	Damaged  int64      `db:"damaged" json:"damaged"`     // copies with a problem
	// VerifiedSince is when the copy was verified whose verification is the oldest. A copy
	// that never was counts from when it was made. nil: there is no copy.
	VerifiedSince *time.Time `db:"verified_since" json:"verified_since"`
	LastCopied    *time.Time `db:"last_copied" json:"last_copied"`
}

// CopyPlace is where a target is. Without a URL it is any target.
type CopyPlace struct {
	URL      string `db:"url"`
	Endpoint string `db:"endpoint"`
}

// Name is the target as people name it.
func (p CopyPlace) Name() string {
	if p.Endpoint == "" {
		return p.URL
	}
	return p.URL + " at " + p.Endpoint
}

// Name is the target as people name it.
func (t CopyTarget) Name() string { return CopyPlace{t.URL, t.Endpoint}.Name() }

// maxDueCounted bounds what a look at the targets reads.
const maxDueCounted = "100001"

// CopyTargets returns the registered targets, the oldest first.
func (db *DB) CopyTargets(ctx context.Context) ([]CopyTarget, error) {
	var targets []CopyTarget
	err := db.selectAll(ctx, "read the targets of copies", &targets, `
		SELECT t.id, t.url, t.endpoint, t.registered_at, t.walk_after IS NOT NULL AS walking, t.walked_at, t.copied_files, t.copied_bytes, t.last_copied,
		       (SELECT count(*) FROM noggin_schema.copies c WHERE c.target_id = t.id AND c.kind = 'backup' AND c.obsolete_at IS NULL) AS backups,
		       (SELECT count(*) FROM (SELECT FROM noggin_schema.copies_due d WHERE d.target_id = t.id LIMIT `+maxDueCounted+`) AS d) AS due,
		       (SELECT min(d.due_since) FROM noggin_schema.copies_due d WHERE d.target_id = t.id) AS due_since,
		       (SELECT count(*) FROM (SELECT FROM noggin_schema.copies_due d WHERE d.target_id = t.id AND d.problem IS NOT NULL LIMIT `+maxDueCounted+`) AS d) AS failing,
		       (SELECT count(*) FROM (SELECT FROM noggin_schema.copies c WHERE c.target_id = t.id AND c.problem IS NOT NULL LIMIT `+maxDueCounted+`) AS c) AS damaged,
		       (SELECT min(coalesce(c.verified_at, c.copied_at)) FROM noggin_schema.copies c WHERE c.target_id = t.id AND c.obsolete_at IS NULL) AS verified_since
		FROM noggin_schema.copy_targets t ORDER BY t.id`)
	return targets, err
}

// HasCopies tells whether any target has copies.
func (db *DB) HasCopies(ctx context.Context) (has bool, err error) {
	err = db.get(ctx, "look for targets of copies", &has, `SELECT EXISTS (SELECT FROM noggin_schema.copy_targets WHERE copied_files > 0)`)
	return has, err
}

// FilesToHave returns how many files the database has, of which every target should have
// a copy.
func (db *DB) FilesToHave(ctx context.Context) (files int64, err error) {
	err = db.get(ctx, "count the files", &files, `
		SELECT coalesce(sum(files), 0)::bigint FROM noggin_schema.file_counts WHERE status IN ('complete', 'former')`)
	return files, err
}

// CopyTargetID finds a registered target. ok is false when it is not registered.
func (db *DB) CopyTargetID(ctx context.Context, url, endpoint string) (id int64, ok bool, err error) {
	err = db.get(ctx, "look for the target", &id, `SELECT id FROM noggin_schema.copy_targets WHERE url = $1 AND endpoint = $2`, url, endpoint)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return id, err == nil, err
}

// RegisterCopyTarget registers a target. From then on files become due for it when the
// database gets to know them, and the walk makes the older ones due. The lock waits for
// the transactions whose triggers did not see the target.
func (db *DB) RegisterCopyTarget(ctx context.Context, url, endpoint string) (id int64, err error) {
	err = db.tx(ctx, "register the target", func(tx *sqlx.Tx) error {
		if err := db.exec(ctx, tx, nil, `LOCK TABLE noggin_schema.copy_targets IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		if err := db.exec(ctx, tx, []any{url, endpoint}, `
			INSERT INTO noggin_schema.copy_targets (url, endpoint) VALUES ($1, $2) ON CONFLICT DO NOTHING`); err != nil {
			return err
		}
		if err := tx.GetContext(ctx, &id, db.sql(`SELECT id FROM noggin_schema.copy_targets WHERE url = $1 AND endpoint = $2`), url, endpoint); err != nil {
			return err
		}
		return db.exec(ctx, tx, []any{id}, `
			INSERT INTO noggin_schema.copies_due (target_id, path, hash_sha256, size_bytes, kind, host)
			SELECT $1::bigint, b.path, b.hash_sha256, b.size_bytes, 'backup', b.host FROM noggin_schema.backups b
			WHERE b.removed_at IS NULL ON CONFLICT DO NOTHING`)
	})
	return id, err
}

// DistrustCopies makes the earlier verifications of a target's copies count for nothing:
// they are older than the registration.
func (db *DB) DistrustCopies(ctx context.Context, target int64) error {
	return db.change(ctx, "make the verifications of copies count for nothing", `
		UPDATE noggin_schema.copy_targets SET registered_at = now() WHERE id = $1`, target)
}

// ForgetCopyTarget forgets a target and its copies, which stay where they are. Nothing
// becomes due for it any more.
func (db *DB) ForgetCopyTarget(ctx context.Context, id int64) error {
	return db.tx(ctx, "forget the target", func(tx *sqlx.Tx) error {
		return db.exec(ctx, tx, []any{id},
			`DELETE FROM noggin_schema.copy_targets WHERE id = $1`,
			`DELETE FROM noggin_schema.copies_due WHERE target_id = $1`,
			`DELETE FROM noggin_schema.copies WHERE target_id = $1`)
	})
}

// WalkAgain begins the walk over the records anew, so that files without a copy become
// due that no trigger made due.
func (db *DB) WalkAgain(ctx context.Context, target int64) error {
	return db.change(ctx, "begin the walk over the records", `
		UPDATE noggin_schema.copy_targets SET walk_after = '' WHERE id = $1 AND walk_after IS NULL`, target)
}

// WalkForCopies makes due the files without a copy of the next records, at most limit of
// them. It returns how many files became due. done says that the walk is at its end, or
// that another run walks.
func (db *DB) WalkForCopies(ctx context.Context, target int64, limit int) (due int64, done bool, err error) {
	err = db.tx(ctx, "look for files without a copy", func(tx *sqlx.Tx) error {
		due, done = 0, true
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		var after string
		err := tx.GetContext(ctx, &after, db.sql(`
			SELECT walk_after FROM noggin_schema.copy_targets WHERE id = $1 AND walk_after IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED`), target)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		var tips []string
		if err == nil {
			err = tx.SelectContext(ctx, &tips, db.sql(`SELECT tip FROM noggin_schema.noggin_data WHERE tip > $1 ORDER BY tip LIMIT $2`), after, limit)
		}
		if err != nil {
			return err
		}
		if done = len(tips) < limit; done {
			err = db.exec(ctx, tx, []any{target}, `UPDATE noggin_schema.copy_targets SET walk_after = NULL, walked_at = now() WHERE id = $1`)
		} else {
			err = db.exec(ctx, tx, []any{target, tips[len(tips)-1]}, `UPDATE noggin_schema.copy_targets SET walk_after = $2 WHERE id = $1`)
		}
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, db.sql(`
			INSERT INTO noggin_schema.copies_due (target_id, path, hash_sha256, size_bytes, kind, record_tip)
			SELECT $1::bigint, f.path, lower(f.hash), f.size, f.kind, f.tip FROM (
				SELECT a.file_path AS path, a.file_hash_sha256 AS hash, a.file_size_bytes AS size, 'attachment' AS kind, a.record_tip AS tip
				FROM noggin_schema.attachments a WHERE a.record_tip = ANY($2::text[]) AND a.attachment_status = 'complete'
				UNION ALL
				SELECT o.path, o.hash_sha256, o.size_bytes, 'former', o.record_tip
				FROM noggin_schema.former_files o WHERE o.record_tip = ANY($2::text[])
				UNION ALL
				SELECT d.report_path, d.report_hash_sha256, d.report_size_bytes, 'report', d.tip
				FROM noggin_schema.noggin_data d WHERE d.tip = ANY($2::text[])) AS f
			WHERE f.path IS NOT NULL AND f.size >= 0 AND f.hash ~* '^[0-9a-f]{64}$'
			  AND (SELECT true FROM noggin_schema.copies p WHERE p.target_id = $1 AND p.path = f.path
			       AND p.hash_sha256 = lower(f.hash) AND p.obsolete_at IS NULL) IS NULL
			ORDER BY 2, 3 ON CONFLICT DO NOTHING`), target, pq.Array(tips))
		if err == nil {
			due, err = result.RowsAffected()
		}
		return err
	})
	return due, done, err
}

// AnalyzeCopies tells the planner how many copies there are, until there are so many that
// autovacuum does: by default it takes a target for a small part of the table, and reads
// all of its rows for each batch. A role that does not own the tables leaves it to
// autovacuum.
func (db *DB) AnalyzeCopies(ctx context.Context) error {
	var small bool
	err := db.get(ctx, "look whether the copies are analysed", &small, `
		SELECT coalesce(min(c.reltuples), 0) < 1000 FROM pg_class c WHERE c.oid = to_regclass($1)`, db.quoted("copies"))
	if err != nil || !small {
		return err
	}
	return db.maintain(ctx, "analyse the copies", db.sql(`ANALYZE noggin_schema.copies, noggin_schema.copies_due`))
}
