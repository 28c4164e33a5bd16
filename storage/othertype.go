package storage

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// OtherTypeError says that most names of an import belong to another type than the one
// that somebody chose for them. Nothing was imported.
type OtherTypeError struct {
	Type      string // that was chosen
	Hashes    int64  `db:"hashes"`    // of the import
	Other     int64  `db:"other"`     // of them, those that are known or used as another type alone
	Example   string `db:"example"`   // one of these
	ExampleAs string `db:"exampleas"` // and its type
}

// Error says how many they are, and names one.
func (e *OtherTypeError) Error() string {
	return fmt.Sprintf("%d of %d hashes are known, or used by records, as another type than %s, such as %s (%s)",
		e.Other, e.Hashes, e.Type, e.Example, e.ExampleAs)
}

// compareTypes returns an [OtherTypeError] when most of the staged names have a hash that
// is known, or referred to, as another type and not as the chosen one. References are
// looked up in two ranges: a hash may have a million of them of one type.
func (db *DB) compareTypes(ctx context.Context, tx *sqlx.Tx, chosen string) (*OtherTypeError, error) {
	e := &OtherTypeError{Type: chosen}
	err := tx.GetContext(ctx, e, db.sql(`
		WITH typed AS (SELECT n.hash_value, n.line, coalesce(
				(SELECT min(e.entity_type) FROM noggin_schema.entity_hashes e WHERE e.hash_value = n.hash_value AND e.entity_type <> $1),
				(SELECT min(u.entity_type) FROM noggin_schema.unknown_hashes u WHERE u.hash_value = n.hash_value AND u.entity_type <> $1),
				(SELECT r.entity_type FROM noggin_schema.record_hashes r WHERE r.hash_value = n.hash_value AND r.entity_type < $1 LIMIT 1),
				(SELECT r.entity_type FROM noggin_schema.record_hashes r WHERE r.hash_value = n.hash_value AND r.entity_type > $1 LIMIT 1)) AS other
			FROM pg_temp.noggin_names n
			WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = n.hash_value AND e.entity_type = $1)
			  AND NOT EXISTS (SELECT FROM noggin_schema.unknown_hashes u WHERE u.hash_value = n.hash_value AND u.entity_type = $1)
			  AND NOT EXISTS (SELECT FROM noggin_schema.record_hashes r WHERE r.hash_value = n.hash_value AND r.entity_type = $1)),
		first AS (SELECT hash_value, other FROM typed WHERE other IS NOT NULL ORDER BY line LIMIT 1)
		SELECT (SELECT count(*) FROM pg_temp.noggin_names) AS hashes, (SELECT count(other) FROM typed) AS other,
		       coalesce((SELECT hash_value FROM first), '') AS example, coalesce((SELECT other FROM first), '') AS exampleas`), chosen)
	if err != nil || 2*e.Other <= e.Hashes {
		return nil, err
	}
	return e, nil
}
