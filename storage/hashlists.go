package storage

import (
	"context"
	"time"
)

// HashCounts counts the hashes of one type.
type HashCounts struct {
	Type     string `db:"entity_type" json:"entity_type"`
	Known    int64  `db:"known" json:"known"`
	Unknown  int64  `db:"unknown" json:"unknown"`
	Resolved int64  `db:"resolved" json:"resolved_last_7_days"`
	Records  int64  `db:"records" json:"records_affected"` // records with an unknown hash of the type
}

// HashStats is what `noggin hashes stats` shows.
type HashStats struct {
	Types   []HashCounts `json:"types"`
	Records int64        `json:"records_with_unknown_hashes"`
	Stale   int64        `json:"records_to_renew"`
}

// HashStats counts names and unknown hashes; the types are those that occur.
func (db *DB) HashStats(ctx context.Context) (HashStats, error) {
	const what = "count the hashes"
	var s HashStats
	if err := db.selectAll(ctx, what, &s.Types, `
		SELECT entity_type, coalesce(sum(known), 0)::bigint AS known, coalesce(sum(unknown), 0)::bigint AS unknown,
		       coalesce(sum(resolved), 0)::bigint AS resolved, coalesce(sum(records), 0)::bigint AS records
		FROM (SELECT entity_type, count(*) AS known, 0 AS unknown, 0 AS resolved, 0 AS records
				FROM noggin_schema.entity_hashes GROUP BY entity_type
			UNION ALL SELECT entity_type, 0, count(*) FILTER (WHERE resolved_at IS NULL),
				count(*) FILTER (WHERE resolved_at > now() - interval '7 days'), 0
				FROM noggin_schema.unknown_hashes GROUP BY entity_type
			UNION ALL SELECT r.entity_type, 0, 0, 0, count(DISTINCT r.record_tip) FROM noggin_schema.record_hashes r
				JOIN noggin_schema.unknown_hashes u USING (hash_value, entity_type) WHERE u.resolved_at IS NULL GROUP BY r.entity_type
		) AS counts GROUP BY entity_type ORDER BY entity_type`); err != nil {
		return s, err
	}
	err := db.pool.QueryRowContext(ctx, db.sql(`
		SELECT (SELECT count(*) FROM noggin_schema.noggin_data WHERE has_unknown_hashes),
		       (SELECT count(*) FROM noggin_schema.noggin_data WHERE names_stale)`)).Scan(&s.Records, &s.Stale)
	return s, describe(ctx, what, err)
}

// HashRow is a hash of one type and its name, if known.
type HashRow struct {
	Hash        string     `db:"hash_value"`
	Type        string     `db:"entity_type"`
	Name        *string    `db:"entity_name"`
	Source      *string    `db:"source"`
	Since       *time.Time `db:"since"`            // since when it has the name
	Occurrences *int64     `db:"occurrence_count"` // how often it was seen while it was unknown
	LastSeen    *time.Time `db:"last_seen_at"`     // the last time that it was seen while it was unknown
}

// HashFilter chooses hashes to list.
type HashFilter struct {
	Type    string // "": any
	Known   bool   // only hashes with a name
	Unknown bool   // only hashes without a name
	Unused  bool   // only hashes to which no record refers, whatever the type
	Text    string // a part of the name or the beginning of the hash
	Hash    string // only this hash
	Limit   int    // 0: all
}

// EachHash hands the hashes that the filter chooses to each: first the named ones in
// the order of their names, then the unknown ones, the most frequent first.
func (db *DB) EachHash(ctx context.Context, f HashFilter, each func(HashRow) error) error {
	like := escapeLike(f.Text)
	return eachRow(ctx, db, "list the hashes", each, `
		SELECT hash_value, entity_type, e.entity_name, e.source, e.updated_at AS since, u.occurrence_count, u.last_seen_at
		FROM noggin_schema.entity_hashes e
		FULL JOIN (SELECT * FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL) u USING (hash_value, entity_type)
		WHERE ($1 = '' OR entity_type = $1) AND (NOT $2::boolean OR e.entity_name IS NOT NULL) AND (NOT $3::boolean OR e.entity_name IS NULL)
		  AND ($4 = '' OR e.entity_name ILIKE '%' || $4 || '%' OR hash_value LIKE lower($4) || '%' OR hash_value LIKE $4 || '%')
		  AND ($5 = '' OR hash_value = $5)
		  AND (NOT $7::boolean OR NOT EXISTS (SELECT FROM noggin_schema.record_hashes r WHERE r.hash_value = coalesce(e.hash_value, u.hash_value)))
		ORDER BY e.entity_name NULLS LAST, u.occurrence_count DESC, hash_value, entity_type LIMIT nullif($6::bigint, 0)`,
		f.Type, f.Known, f.Unknown, like, f.Hash, f.Limit, f.Unused)
}

// UnknownHash is a hash without a name, as a row of the export that a person fills in.
type UnknownHash struct {
	Hash         string    `db:"hash_value"`
	Type         string    `db:"entity_type"`
	FirstSeenTip *string   `db:"first_seen_tip"`
	InspectionID *string   `db:"inspection_id"` // of that record
	Occurrences  int64     `db:"occurrence_count"`
	LastSeen     time.Time `db:"last_seen_at"`
}

// EachUnknown hands the unknown hashes of a type, "" for every type, to each, the most
// frequent first.
func (db *DB) EachUnknown(ctx context.Context, entityType string, each func(UnknownHash) error) error {
	return eachRow(ctx, db, "list the unknown hashes", each, `
		SELECT u.hash_value, u.entity_type, u.first_seen_tip, d.inspection_id, u.occurrence_count, u.last_seen_at
		FROM noggin_schema.unknown_hashes u LEFT JOIN noggin_schema.noggin_data d ON d.tip = u.first_seen_tip
		WHERE u.resolved_at IS NULL AND ($1 = '' OR u.entity_type = $1)
		ORDER BY u.occurrence_count DESC, u.entity_type, u.hash_value`, entityType)
}

// FormerName is a name that another name replaced.
type FormerName struct {
	Type   string    `db:"entity_type" json:"entity_type"`
	Name   string    `db:"entity_name" json:"name"`
	Source string    `db:"source" json:"source"`
	From   time.Time `db:"valid_from" json:"valid_from"`
	Until  time.Time `db:"replaced_at" json:"replaced_at"`
}

// HashUse is a record that refers to a hash.
type HashUse struct {
	Tip          string     `db:"tip" json:"tip"`
	ObjectType   string     `db:"object_type" json:"object_type"`
	InspectionID *string    `db:"inspection_id" json:"inspection_id"`
	Date         *time.Time `db:"inspection_date" json:"-"`
	Status       Status     `db:"processing_status" json:"processing_status"`
	Field        string     `db:"field_name" json:"field_name"`
	Type         string     `db:"entity_type" json:"entity_type"`
}

// HashHistory returns the former names of a hash, the latest first.
func (db *DB) HashHistory(ctx context.Context, hash string) (former []FormerName, err error) {
	err = db.selectAll(ctx, "read the history of a hash", &former, `
		SELECT entity_type, entity_name, source, valid_from, replaced_at FROM noggin_schema.entity_hash_history
		WHERE hash_value = $1 ORDER BY replaced_at DESC, entity_type`, hash)
	return former, err
}

// HashUses returns up to limit (0: all) records that refer to a hash, the latest
// inspections first, and their total number.
func (db *DB) HashUses(ctx context.Context, hash string, limit int) (uses []HashUse, total int64, err error) {
	const what = "find the records that use a hash"
	if err := db.get(ctx, what, &total, `
		SELECT count(DISTINCT record_tip) FROM noggin_schema.record_hashes WHERE hash_value = $1`, hash); err != nil {
		return nil, 0, err
	}
	err = db.selectAll(ctx, what, &uses, `
		SELECT d.tip, d.object_type, d.inspection_id, d.inspection_date, d.processing_status, r.field_name, r.entity_type
		FROM noggin_schema.record_hashes r JOIN noggin_schema.noggin_data d ON d.tip = r.record_tip
		WHERE r.hash_value = $1 ORDER BY d.inspection_date DESC NULLS LAST, d.tip, r.field_name LIMIT nullif($2::bigint, 0)`, hash, limit)
	return uses, total, err
}
