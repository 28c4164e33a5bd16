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

// ErrNoArchive means that no archive has the given name.
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
	CheckedAt   *time.Time `db:"checked_at" json:"checked_at"` // the last verification ended, whatever it found
	SeenAt      *time.Time `db:"seen_at" json:"seen_at"`       // an hourly look saw the whole file
	LostAt      *time.Time `db:"lost_at" json:"lost_at"`       // an operator gave it up; its former files stay recorded in it
	LostReason  *string    `db:"lost_reason" json:"lost_reason"`
}

const archiveColumns = `v.id, v.name, v.path, v.host, v.month, v.object_type, v.last_date::text AS last_date, v.state, v.record_count,
	v.file_count, v.source_bytes, v.size_bytes, v.hash_sha256, v.problem, v.created_at, v.removed_at, v.verified_at,
	v.checked_at, v.seen_at, v.lost_at, v.lost_reason`

// Archives returns every archive, oldest month first.
func (db *DB) Archives(ctx context.Context) ([]Archive, error) {
	return db.archives(ctx, "list the archives", `ORDER BY v.month, v.id`)
}

// UnfinishedArchives returns the archives that are not done, oldest month first.
func (db *DB) UnfinishedArchives(ctx context.Context) ([]Archive, error) {
	return db.archives(ctx, "look for unfinished archives", `WHERE v.state <> 'done' AND v.lost_at IS NULL ORDER BY v.month, v.id`)
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
	var found []Archive
	err := db.selectAll(ctx, what, &found, `SELECT `+archiveColumns+` FROM noggin_schema.archives v `+rest, args...)
	return found, err
}

// BeginArchive records that a run writes an archive and returns its id. ok is false
// when another archive has the name, or had it before it was forgotten.
func (db *DB) BeginArchive(ctx context.Context, a Archive) (id int64, ok bool, err error) {
	err = db.changeGet(ctx, "record the archive", &id, `
		INSERT INTO noggin_schema.archives (name, path, host, month, object_type)
		SELECT $1::text, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM noggin_schema.forgotten_archives f WHERE f.name = $1)
		ON CONFLICT (name) DO NOTHING RETURNING id`, a.Name, a.Path, db.host, a.Month, a.ObjectType)
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

// ForgetArchive forgets an archive that holds no file. Its name stays taken. held is how
// many files it holds.
func (db *DB) ForgetArchive(ctx context.Context, id int64) (held int, err error) {
	err = db.tx(ctx, "forget the archive", func(tx *sqlx.Tx) error {
		if err := tx.GetContext(ctx, &held, db.sql(`
			SELECT (SELECT count(*) FROM noggin_schema.attachments WHERE archive_id = $1)
			     + (SELECT count(*) FROM noggin_schema.noggin_data WHERE report_archive_id = $1)
			     + (SELECT count(*) FROM noggin_schema.former_files WHERE archive_id = $1)`), id); err != nil || held > 0 {
			return err
		}
		return db.exec(ctx, tx, []any{id}, `
			WITH gone AS (DELETE FROM noggin_schema.archives WHERE id = $1 RETURNING name)
			INSERT INTO noggin_schema.forgotten_archives (name) SELECT name FROM gone ON CONFLICT DO NOTHING`)
	})
	return held, err
}

// SaveVerified records what the archive holds, after it was read back and is whole. An
// archive in state [ArchiveWriting] becomes [ArchiveVerified].
func (db *DB) SaveVerified(ctx context.Context, a Archive) error {
	return db.change(ctx, "record the archive's verification", `
		UPDATE noggin_schema.archives SET record_count = $2, file_count = $3, source_bytes = $4, size_bytes = $5,
			hash_sha256 = $6, last_date = $7::date, problem = NULL, verified_at = now(), checked_at = now(),
			state = CASE state WHEN 'writing' THEN 'verified' ELSE state END
		WHERE id = $1`, a.ID, a.Records, a.Files, a.SourceBytes, a.SizeBytes, a.SHA256, a.LastDate)
}

// SaveProblem records the problem that a verification found.
func (db *DB) SaveProblem(ctx context.Context, id int64, problem string) error {
	return db.change(ctx, "record the archive's problem", `UPDATE noggin_schema.archives SET problem = $2, checked_at = now() WHERE id = $1`, id, cleanText(problem))
}

// SawArchives records that this host saw the whole files of the archives. It changes a row
// at most twice an hour.
func (db *DB) SawArchives(ctx context.Context, ids []int64) error {
	return db.change(ctx, "record which archives are there", `
		UPDATE noggin_schema.archives SET seen_at = now()
		WHERE id = ANY($1::bigint[]) AND (seen_at IS NULL OR seen_at < now() - interval '30 minutes')`, pq.Array(ids))
}

// SetArchiveState changes the state of an archive.
func (db *DB) SetArchiveState(ctx context.Context, id int64, state string) error {
	return db.change(ctx, "record the archive's state", `
		UPDATE noggin_schema.archives SET state = $2, removed_at = CASE $2 WHEN 'done' THEN now() ELSE removed_at END
		WHERE id = $1`, id, state)
}

// RegisterArchive records an archive that the database does not know, such as one
// made before the database was restored, and returns its id. It records the new place
// of a known archive. The caller holds the maintenance lock: no run writes an archive.
func (db *DB) RegisterArchive(ctx context.Context, a Archive) (id int64, err error) {
	err = db.changeGet(ctx, "register the archive", &id, `
		INSERT INTO noggin_schema.archives AS v (name, path, host, month, last_date, state, record_count, file_count,
			source_bytes, size_bytes, hash_sha256, verified_at, checked_at)
		VALUES ($1, $2, $3, $4, $5::date, 'kept', $6, $7, $8, $9, $10, now(), now())
		ON CONFLICT (name) DO UPDATE SET path = excluded.path, host = excluded.host, problem = NULL, verified_at = now(), checked_at = now(), losing_since = NULL, lost_at = NULL, lost_reason = NULL,
			last_date = excluded.last_date, record_count = excluded.record_count, file_count = excluded.file_count,
			source_bytes = excluded.source_bytes, size_bytes = excluded.size_bytes, hash_sha256 = excluded.hash_sha256,
			state = CASE v.state WHEN 'writing' THEN 'kept' ELSE v.state END
		WHERE v.hash_sha256 IN (excluded.hash_sha256, '')
		RETURNING id`, a.Name, a.Path, db.host, a.Month, a.LastDate, a.Records, a.Files, a.SourceBytes, a.SizeBytes, a.SHA256)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("register the archive: another archive named %s, with other content, is recorded", a.Name)
	}
	return id, err
}

// ArchivesHolding returns those of the archives that hold any file, as the database has it.
// It stops at the first file of each.
func (db *DB) ArchivesHolding(ctx context.Context, ids []int64) (holding []int64, err error) {
	err = db.tx(ctx, "look which archives hold files", func(tx *sqlx.Tx) error {
		holding = nil
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &holding, db.sql(`
			SELECT v.id FROM unnest($1::bigint[]) AS v (id) WHERE (
				SELECT true FROM noggin_schema.archive_records r JOIN noggin_schema.noggin_data d ON d.tip = r.record_tip
				WHERE r.archive_id = v.id AND (d.report_archive_id = v.id
					OR EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id = v.id)
					OR EXISTS (SELECT FROM noggin_schema.former_files o WHERE o.record_tip = d.tip AND o.archive_id = v.id)) LIMIT 1)`), pq.Array(ids))
	})
	return holding, err
}

// AddArchiveRecords records that the archive holds files of the records. It leaves
// out tips that have no record.
func (db *DB) AddArchiveRecords(ctx context.Context, id int64, tips []string) error {
	return db.change(ctx, "record the archive's records", `
		INSERT INTO noggin_schema.archive_records (record_tip, archive_id)
		SELECT d.tip, $1::bigint FROM noggin_schema.noggin_data d WHERE d.tip = ANY($2::text[]) ORDER BY d.tip
		ON CONFLICT DO NOTHING`, id, pq.Array(tips))
}

// DropArchiveRecords undoes [DB.AddArchiveRecords] for records that changed since then
// and go into a later archive. Files that left the disk stay recorded.
func (db *DB) DropArchiveRecords(ctx context.Context, id int64, tips []string) error {
	return db.change(ctx, "record the archive's records", `
		DELETE FROM noggin_schema.archive_records r USING noggin_schema.noggin_data d
		WHERE r.archive_id = $1 AND r.record_tip = ANY($2::text[]) AND d.tip = r.record_tip
		  AND d.report_archive_id IS DISTINCT FROM $1
		  AND NOT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id = $1)
		  AND NOT EXISTS (SELECT FROM noggin_schema.former_files o WHERE o.record_tip = d.tip AND o.archive_id = $1)`, id, pq.Array(tips))
}

// RecordsIn returns up to limit records of the archive, in the order of their tips,
// after the given tip.
func (db *DB) RecordsIn(ctx context.Context, id int64, after string, limit int) ([]FiledRecord, error) {
	var tips []string
	if err := db.selectAll(ctx, "list the archive's records", &tips, `
		SELECT record_tip FROM noggin_schema.archive_records WHERE archive_id = $1 AND record_tip > $2
		ORDER BY record_tip LIMIT $3`, id, after, limit); err != nil {
		return nil, err
	}
	return db.FiledRecords(ctx, tips)
}
