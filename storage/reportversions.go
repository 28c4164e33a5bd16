package storage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Versions returns the versions of a record, the oldest first.
func (db *DB) Versions(ctx context.Context, tip string) ([]VersionMark, error) {
	var versions []VersionMark
	err := db.selectAll(ctx, "read the versions", &versions, `
		SELECT `+versionMark+` FROM noggin_schema.record_versions v WHERE v.record_tip = $1 ORDER BY v.version`, tip)
	return versions, err
}

// VersionBody returns the body of a version as it was received. found is false when
// there is no such version.
func (db *DB) VersionBody(ctx context.Context, tip string, version int) (body []byte, found bool, err error) {
	var row struct {
		Answer []byte `db:"answer"`
		Size   int64  `db:"size_bytes"`
		SHA256 string `db:"hash_sha256"`
	}
	err = db.get(ctx, "read a version", &row, `
		SELECT answer, size_bytes, hash_sha256 FROM noggin_schema.record_versions WHERE record_tip = $1 AND version = $2`, tip, version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if body, err = decompress(row.Answer, row.Size); err != nil {
		return nil, true, err
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != row.SHA256 {
		return nil, true, fmt.Errorf("version %d of %s in the database is damaged: its SHA-256 is %x", version, tip, sum)
	}
	return body, true, nil
}

// StoredVersion returns what the text report of a version shows: the attachments that
// the record had then, and the names that are known now.
func (db *DB) StoredVersion(ctx context.Context, tip string, version int, references []Reference) (Stored, error) {
	const what = "read what a version had"
	s := Stored{ClaimKey: ClaimKey{Tip: tip}}
	marks, err := db.marksOf(ctx, db.pool, []string{tip})
	if err != nil {
		return s, describe(ctx, what, err)
	}
	s.Marks = marks[tip]
	s.Version = version
	keys := make([]EntityKey, len(references))
	for i, r := range references {
		keys[i] = EntityKey{r.EntityType, r.Hash}
	}
	if s.Names, err = db.namesFor(ctx, db.pool, keys); err != nil {
		return s, describe(ctx, what, err)
	}
	if err := db.get(ctx, what, &s.Folder, `SELECT coalesce(folder, '') FROM noggin_schema.noggin_data WHERE tip = $1`, tip); err != nil {
		return s, err
	}
	err = db.selectAll(ctx, what, &s.Attachments, `
		SELECT `+attachmentColumns+` FROM noggin_schema.attachments a WHERE a.record_tip = $1 AND coalesce(a.first_version, 1) <= $2
		UNION ALL
		SELECT o.record_tip, o.attachment_tip, o.attachment_sequence, o.field_name, 'complete', coalesce(nullif(o.validation, ''), 'not_validated'),
		       regexp_replace(o.path, '^.*/', ''), o.path, o.size_bytes, o.hash_sha256, o.content_type, NULL, o.archive_id, NULL, NULL,
		       (SELECT v.name FROM noggin_schema.archives v WHERE v.id = o.archive_id)
		FROM noggin_schema.former_files o WHERE o.record_tip = $1 AND o.kind <> 'report' AND $2 BETWEEN o.first_version AND o.last_version
		ORDER BY attachment_sequence, file_path`, tip, version)
	return s, err
}

// Change is something that the platform changed in a mirrored record.
type Change struct {
	At           time.Time `db:"at" json:"at"`
	Tip          string    `db:"tip" json:"tip"`
	ObjectType   string    `db:"object_type" json:"object_type"`
	InspectionID *string   `db:"inspection_id" json:"inspection_id"`
	// Change is edited, older, reduced, gone, no longer permitted, or back.
	Change  string `db:"change" json:"change"`
	Version int    `db:"version" json:"version"` // 0: none came
}

// EachChange hands the changes since then to each, the latest first, at most limit of
// them (0: all).
func (db *DB) EachChange(ctx context.Context, since time.Time, limit int, each func(Change) error) error {
	return eachRow(ctx, db, "list the changes", each, `
		SELECT c.at, d.tip, d.object_type, coalesce(d.inspection_id, d.expected_inspection_id) AS inspection_id, c.change, c.version
		FROM (SELECT v.fetched_at AS at, v.record_tip, CASE v.kind WHEN 'version' THEN 'edited' ELSE v.kind END AS change, v.version
			FROM noggin_schema.record_versions v WHERE v.version > 1 AND v.fetched_at >= $1::timestamptz
			UNION ALL
			SELECT r.gone_at, r.record_tip, CASE r.gone_status WHEN 403 THEN 'no longer permitted' ELSE 'gone' END, 0
			FROM noggin_schema.refreshes r WHERE r.gone_at IS NOT NULL AND r.gone_at >= $1::timestamptz
			UNION ALL
			SELECT r.returned_at, r.record_tip, 'back', 0
			FROM noggin_schema.refreshes r WHERE r.gone_at IS NOT NULL AND r.returned_at >= $1::timestamptz) AS c
		JOIN noggin_schema.noggin_data d ON d.tip = c.record_tip ORDER BY c.at DESC, d.tip, c.version DESC LIMIT nullif($2::bigint, 0)`,
		since.Format(time.RFC3339Nano), limit)
}

// CountGone counts the records that the platform has no longer, or does not permit.
func (db *DB) CountGone(ctx context.Context) (n int64, err error) {
	err = db.get(ctx, "count the records that are gone", &n, `
		SELECT count(*) FROM noggin_schema.refreshes WHERE gone_at IS NOT NULL AND returned_at IS NULL`)
	return n, err
}
