package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The states of an archive; schema.sql says what each leaves to do.
const (
	ArchiveWriting  = "writing"
	ArchiveVerified = "verified"
	ArchiveRemoving = "removing"
	ArchiveDone     = "done"
	ArchiveKept     = "kept"
)

// ErrNoArchive says that no archive has the given name.
var ErrNoArchive = errors.New("no archive is recorded under this name")

// Archive is a row of the archives table.
type Archive struct {
	ID          int64      `db:"id" json:"id"`
	Name        string     `db:"name" json:"name"`
	Path        string     `db:"path" json:"path"`
	Host        string     `db:"host" json:"host"`
	Month       string     `db:"month" json:"month"`
	ObjectType  string     `db:"object_type" json:"object_type"` // "": every form
	LastDate    *string    `db:"last_date" json:"last_date"`     // the latest inspection date in it
	State       string     `db:"state" json:"state"`
	Records     int        `db:"record_count" json:"records"`
	Files       int        `db:"file_count" json:"files"`
	SourceBytes int64      `db:"source_bytes" json:"source_bytes"`
	SizeBytes   int64      `db:"size_bytes" json:"size_bytes"`
	SHA256      string     `db:"hash_sha256" json:"sha256"`
	Problem     *string    `db:"problem" json:"problem"` // what the last verification found
	CreatedAt   time.Time  `db:"created_at" json:"created_at"`
	RemovedAt   *time.Time `db:"removed_at" json:"removed_at"`
	VerifiedAt  *time.Time `db:"verified_at" json:"verified_at"`
}

const archiveColumns = `v.id, v.name, v.path, v.host, v.month, v.object_type, v.last_date::text AS last_date, v.state, v.record_count,
	v.file_count, v.source_bytes, v.size_bytes, v.hash_sha256, v.problem, v.created_at, v.removed_at, v.verified_at`

// Archives returns every archive, oldest month first.
func (db *DB) Archives(ctx context.Context) ([]Archive, error) {
	return db.archives(ctx, "list the archives", `ORDER BY v.month, v.id`)
}

// UnfinishedArchives returns those whose originals are not dealt with to the end,
// oldest month first.
func (db *DB) UnfinishedArchives(ctx context.Context) ([]Archive, error) {
	return db.archives(ctx, "look for unfinished archives", `WHERE v.state <> 'done' ORDER BY v.month, v.id`)
}

// ArchivesOf returns the archives that hold files of the record, newest first.
func (db *DB) ArchivesOf(ctx context.Context, tip string) ([]Archive, error) {
	return db.archives(ctx, "look for the record's archives",
		`JOIN noggin_schema.archive_records r ON r.archive_id = v.id WHERE r.record_tip = $1 ORDER BY v.id DESC`, tip)
}

// ArchiveByName returns the archive of that name, or [ErrNoArchive].
func (db *DB) ArchiveByName(ctx context.Context, name string) (Archive, error) {
	found, err := db.archives(ctx, "look for the archive", `WHERE v.name = $1`, name)
	if err == nil && len(found) == 0 {
		return Archive{}, fmt.Errorf("%w: %s", ErrNoArchive, name)
	}
	if err != nil {
		return Archive{}, err
	}
	return found[0], nil
}

func (db *DB) archives(ctx context.Context, what, rest string, args ...any) ([]Archive, error) {
	found := []Archive{}
	err := db.pool.SelectContext(ctx, &found, db.sql(`SELECT `+archiveColumns+` FROM noggin_schema.archives v `+rest), args...)
	return found, describe(ctx, what, err)
}

// BeginArchive records that an archive is being written and returns its id. When
// the name is taken, ok is false.
func (db *DB) BeginArchive(ctx context.Context, a Archive) (id int64, ok bool, err error) {
	err = db.tx(ctx, "record the archive", func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &id, db.sql(`
			INSERT INTO noggin_schema.archives (name, path, host, month, object_type) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (name) DO NOTHING RETURNING id`), a.Name, a.Path, db.host, a.Month, a.ObjectType)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return id, err == nil, err
}

// DropArchive forgets an archive from which nothing was removed.
func (db *DB) DropArchive(ctx context.Context, id int64) error {
	return db.change(ctx, "forget the unfinished archive", `
		DELETE FROM noggin_schema.archives WHERE id = $1 AND state IN ('writing', 'verified', 'kept')`, id)
}

// ForgetArchive forgets an archive, unless files are known to be in it: how many
// says held.
func (db *DB) ForgetArchive(ctx context.Context, id int64) (held int, err error) {
	err = db.tx(ctx, "forget the archive", func(tx *sqlx.Tx) error {
		if err := tx.GetContext(ctx, &held, db.sql(`
			SELECT (SELECT count(*) FROM noggin_schema.attachments WHERE archive_id = $1)
			     + (SELECT count(*) FROM noggin_schema.noggin_data WHERE report_archive_id = $1)`), id); err != nil || held > 0 {
			return err
		}
		return db.exec(ctx, tx, []any{id}, `DELETE FROM noggin_schema.archives WHERE id = $1`)
	})
	return held, err
}

// SaveVerified records that the archive was read back and found to be right, and
// what it holds; a new one becomes [ArchiveVerified].
func (db *DB) SaveVerified(ctx context.Context, a Archive) error {
	return db.change(ctx, "record the archive's verification", `
		UPDATE noggin_schema.archives SET record_count = $2, file_count = $3, source_bytes = $4, size_bytes = $5,
			hash_sha256 = $6, last_date = $7::date, problem = NULL, verified_at = now(),
			state = CASE state WHEN 'writing' THEN 'verified' ELSE state END
		WHERE id = $1`, a.ID, a.Records, a.Files, a.SourceBytes, a.SizeBytes, a.SHA256, a.LastDate)
}

// SaveProblem records what a verification found wrong.
func (db *DB) SaveProblem(ctx context.Context, id int64, problem string) error {
	return db.change(ctx, "record what is wrong with the archive", `UPDATE noggin_schema.archives SET problem = $2 WHERE id = $1`, id, cleanText(problem))
}

// SetArchiveState moves an archive to another state.
func (db *DB) SetArchiveState(ctx context.Context, id int64, state string) error {
	return db.change(ctx, "record the archive's state", `
		UPDATE noggin_schema.archives SET state = $2, removed_at = CASE $2 WHEN 'done' THEN now() ELSE removed_at END
		WHERE id = $1`, id, state)
}

// RegisterArchive records an archive that was made elsewhere or before the
// database was restored, or where a known one is now, and returns its id.
func (db *DB) RegisterArchive(ctx context.Context, a Archive) (id int64, err error) {
	err = db.tx(ctx, "register the archive", func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &id, db.sql(`
			INSERT INTO noggin_schema.archives AS v (name, path, host, month, last_date, state, record_count, file_count,
				source_bytes, size_bytes, hash_sha256, verified_at)
			VALUES ($1, $2, $3, $4, $5::date, 'kept', $6, $7, $8, $9, $10, now())
			ON CONFLICT (name) DO UPDATE SET path = excluded.path, host = excluded.host, problem = NULL, verified_at = now()
			WHERE v.hash_sha256 = excluded.hash_sha256
			RETURNING id`), a.Name, a.Path, db.host, a.Month, a.LastDate, a.Records, a.Files, a.SourceBytes, a.SizeBytes, a.SHA256)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("register the archive: another archive is recorded as %s, with another content", a.Name)
	}
	return id, err
}

// AddArchiveRecords records that the archive holds files of the records. Tips that
// are no record's are left out.
func (db *DB) AddArchiveRecords(ctx context.Context, id int64, tips []string) error {
	return db.change(ctx, "record what the archive holds", `
		INSERT INTO noggin_schema.archive_records (record_tip, archive_id)
		SELECT d.tip, $1::bigint FROM noggin_schema.noggin_data d WHERE d.tip = ANY($2::text[]) ORDER BY d.tip
		ON CONFLICT DO NOTHING`, id, pq.Array(tips))
}

// DropArchiveRecords undoes [DB.AddArchiveRecords] for records that changed since
// and are left to another archive. What left the disk stays recorded.
func (db *DB) DropArchiveRecords(ctx context.Context, id int64, tips []string) error {
	return db.change(ctx, "record what the archive holds", `
		DELETE FROM noggin_schema.archive_records r USING noggin_schema.noggin_data d
		WHERE r.archive_id = $1 AND r.record_tip = ANY($2::text[]) AND d.tip = r.record_tip
		  AND d.report_archive_id IS DISTINCT FROM $1
		  AND NOT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id = $1)`, id, pq.Array(tips))
}

// RecordsIn returns up to limit records of the archive, by tip, from behind after.
func (db *DB) RecordsIn(ctx context.Context, id int64, after string, limit int) ([]FiledRecord, error) {
	var tips []string
	if err := db.pool.SelectContext(ctx, &tips, db.sql(`
		SELECT record_tip FROM noggin_schema.archive_records WHERE archive_id = $1 AND record_tip > $2
		ORDER BY record_tip LIMIT $3`), id, after, limit); err != nil {
		return nil, describe(ctx, "list the archive's records", err)
	}
	return db.FiledRecords(ctx, tips)
}
