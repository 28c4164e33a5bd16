package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// RemoteFile is a version of a file on the server of a source: its path, size and time
// of modification in whole seconds, as SFTP tells them.
type RemoteFile struct {
	ID       int64     `db:"id"` // of its row, once it has one
	Path     string    `db:"path"`
	Size     int64     `db:"size_bytes"`
	Modified time.Time `db:"modified_at"`
}

// NotFetched returns those of the files that were not fetched from the source yet.
func (db *DB) NotFetched(ctx context.Context, source string, files []RemoteFile) (missing []RemoteFile, err error) {
	paths, sizes, times := make([]string, len(files)), make([]int64, len(files)), make([]int64, len(files))
	for i, f := range files {
		paths[i], sizes[i], times[i] = f.Path, f.Size, f.Modified.Unix()
	}
	err = db.tx(ctx, "look up fetched exports", func(tx *sqlx.Tx) error {
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		missing = nil
		return tx.SelectContext(ctx, &missing, db.sql(`
		SELECT g.path, g.size_bytes, to_timestamp(g.modified) AS modified_at
		FROM unnest($2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS g (path, size_bytes, modified, place)
		WHERE NOT EXISTS (SELECT FROM noggin_schema.fetched_exports f
			WHERE f.source = $1 AND f.path = g.path AND f.size_bytes = g.size_bytes AND f.modified_at = to_timestamp(g.modified)
			  AND f.fetched_at IS NOT NULL)
		ORDER BY g.place`), source, pq.Array(paths), pq.Array(sizes), pq.Array(times))
	})
	return missing, err
}

// BeginFetch notes that this host begins to fetch the file, and returns the id of its
// row; 0: it was fetched meanwhile.
func (db *DB) BeginFetch(ctx context.Context, source, kind string, file RemoteFile) (id int64, err error) {
	var ids []int64
	err = changeAll(ctx, db, "begin to fetch an export", &ids, `
		INSERT INTO noggin_schema.fetched_exports (source, path, size_bytes, modified_at, kind, host)
		VALUES ($1, $2, $3, to_timestamp($4::bigint), $5, $6)
		ON CONFLICT (source, path, size_bytes, modified_at) DO UPDATE
		SET kind = excluded.kind, host = excluded.host, begun_at = now(), sha256 = NULL, imported_at = NULL, deleted_at = NULL
		WHERE fetched_exports.fetched_at IS NULL
		RETURNING id`, source, file.Path, file.Size, file.Modified.Unix(), kind, db.host)
	if len(ids) > 0 {
		id = ids[0]
	}
	return id, err
}

// SetFetchedContent notes the content of an export before its file gets its name, so
// that whoever imports the file finds the row.
func (db *DB) SetFetchedContent(ctx context.Context, id int64, sha256 string) error {
	return db.change(ctx, "note the content of an export", `UPDATE noggin_schema.fetched_exports SET sha256 = $2 WHERE id = $1`, id, sha256)
}

// FinishFetch notes that the file of the export has its name and is on the disk.
func (db *DB) FinishFetch(ctx context.Context, id int64) error {
	return db.change(ctx, "note a fetched export", `UPDATE noggin_schema.fetched_exports SET fetched_at = now() WHERE id = $1`, id)
}

// DropFetch removes the row of an export that was begun and not fetched.
func (db *DB) DropFetch(ctx context.Context, id int64) error {
	return db.change(ctx, "note that an export was not fetched", `DELETE FROM noggin_schema.fetched_exports WHERE id = $1 AND fetched_at IS NULL`, id)
}

// ImportedContent notes that all rows of a file of this kind and content are in the
// database. It does not matter which host fetched the file, or whether a person copied it.
func (db *DB) ImportedContent(ctx context.Context, kind, sha256 string) error {
	return db.change(ctx, "note an imported export", `
		UPDATE noggin_schema.fetched_exports SET imported_at = now(), deleted_at = NULL WHERE sha256 = $2 AND kind = $1 AND imported_at IS NULL`, kind, sha256)
}

// UnusableContent notes that no row of a file of this kind and content can be used, so that
// nobody takes it for lost. It stays on its server.
func (db *DB) UnusableContent(ctx context.Context, kind, sha256 string) error {
	return db.change(ctx, "note an unusable export", `
		UPDATE noggin_schema.fetched_exports SET deleted_at = now()
		WHERE sha256 = $2 AND kind = $1 AND imported_at IS NULL AND deleted_at IS NULL`, kind, sha256)
}

// FetchedExport is an export that a host fetched.
type FetchedExport struct {
	Path string `db:"path"` // on the server
	Host string `db:"host"`
}

// NeverImported returns exports that were fetched more than a day and less than nine days
// ago, and of which no import has seen the content: they may be lost. It returns at most
// 1,000, the latest first.
func (db *DB) NeverImported(ctx context.Context) (exports []FetchedExport, err error) {
	err = db.selectAll(ctx, "look for exports that were not imported", &exports, `
		SELECT path, host FROM noggin_schema.fetched_exports
		WHERE imported_at IS NULL AND deleted_at IS NULL AND fetched_at BETWEEN now() - interval '9 days' AND now() - interval '1 day'
		ORDER BY fetched_at DESC, id LIMIT 1000`)
	return exports, err
}

// ImportedOnServer returns the next exports of the source, in the order of their ids,
// that are imported and may still be on its server. Where backups are made, they are in
// one, and in one that has a copy where there is a second place: a lost disk takes nothing
// that the server has no more. After eight days an export waits no longer.
func (db *DB) ImportedOnServer(ctx context.Context, source string, after int64, limit int) (files []RemoteFile, err error) {
	err = db.selectAll(ctx, "list imported exports", &files, `
		SELECT id, path, size_bytes, modified_at FROM noggin_schema.fetched_exports
		WHERE source = $1 AND id > $2 AND imported_at IS NOT NULL AND deleted_at IS NULL AND fetched_at IS NOT NULL
		  AND (imported_at < now() - interval '8 days'
			OR NOT EXISTS (SELECT FROM noggin_schema.backups b WHERE b.taken_at > now() - interval '8 days')
			OR EXISTS (SELECT FROM noggin_schema.backups b WHERE b.taken_at BETWEEN imported_at AND now() AND b.removed_at IS NULL
			   AND (NOT EXISTS (SELECT FROM noggin_schema.copy_targets) OR EXISTS (SELECT FROM noggin_schema.copy_targets t
				JOIN noggin_schema.copies c ON c.target_id = t.id AND c.path = b.path AND c.hash_sha256 = b.hash_sha256
				WHERE c.obsolete_at IS NULL AND c.problem IS NULL))))
		ORDER BY id LIMIT $3`, source, after, limit)
	return files, err
}

// GoneFromServer notes that this version of the export is no longer on the server.
func (db *DB) GoneFromServer(ctx context.Context, id int64) error {
	return db.change(ctx, "note a deleted export", `UPDATE noggin_schema.fetched_exports SET deleted_at = now() WHERE id = $1`, id)
}
