package storage

import (
	"context"
	"strings"

	"github.com/lib/pq"
)

// Entity is a vehicle, a team or anything else that records refer to by its hash.
type Entity struct {
	Hash string `db:"hash_value"`
	Name string `db:"entity_name"` // "": not known
}

// NamedEntities returns up to limit entities of a type whose name contains the text, in
// any case, those with just this name first. A hash that records refer to as this type,
// and that has a name only under another type, counts too.
func (db *DB) NamedEntities(ctx context.Context, entityType, text string, limit int) (found []Entity, err error) {
	whole, parts := []string{}, []string{}
	for _, spelling := range []string{text, strings.ToLower(text), strings.ToUpper(text)} { // ILIKE may know only the case of ASCII letters
		spelling = escapeLike(spelling)
		whole, parts = append(whole, spelling), append(parts, "%"+spelling+"%")
	}
	err = db.selectAll(ctx, "look for a name", &found, `
		SELECT n.hash_value, n.entity_name FROM (
			SELECT e.hash_value, e.entity_name FROM noggin_schema.entity_hashes e
			WHERE e.entity_type = $1 AND e.entity_name ILIKE ANY ($3::text[])
			UNION ALL
			SELECT r.hash_value, max(e.entity_name) FROM noggin_schema.entity_hashes e
			JOIN (SELECT $1 AS entity_type) t ON e.entity_type <> t.entity_type
			CROSS JOIN LATERAL (SELECT r.hash_value, r.entity_type FROM noggin_schema.record_hashes r
				WHERE r.hash_value = e.hash_value AND r.entity_type = t.entity_type LIMIT 1) r
			WHERE e.entity_name ILIKE ANY ($3::text[]) AND `+withoutOwnName+` GROUP BY r.hash_value) n
		ORDER BY n.entity_name ILIKE ANY ($2::text[]) DESC, n.entity_name, n.hash_value LIMIT $4`,
		entityType, pq.Array(whole), pq.Array(parts), limit)
	return found, err
}

// EntitiesByHash returns up to limit entities of a type whose hash begins with the text,
// named or not, by their hash.
func (db *DB) EntitiesByHash(ctx context.Context, entityType, beginning string, limit int) (found []Entity, err error) {
	err = db.selectAll(ctx, "look for a hash", &found, `
		SELECT h.hash_value, coalesce((SELECT e.entity_name FROM noggin_schema.entity_hashes e WHERE e.hash_value = h.hash_value
			ORDER BY (e.entity_type = $1) DESC, e.updated_at DESC, e.entity_type LIMIT 1), '') AS entity_name
		FROM (SELECT hash_value FROM noggin_schema.entity_hashes WHERE entity_type = $1 AND hash_value LIKE $2
			UNION SELECT hash_value FROM noggin_schema.unknown_hashes WHERE entity_type = $1 AND hash_value LIKE $2
			UNION SELECT hash_value FROM noggin_schema.record_hashes WHERE entity_type = $1 AND hash_value = $3) h
		ORDER BY h.hash_value LIMIT $4`, entityType, escapeLike(beginning)+"%", beginning, limit)
	return found, err
}

// TypesWithName returns the types, other than the given one, of which a name contains the
// text.
func (db *DB) TypesWithName(ctx context.Context, text, except string) (types []string, err error) {
	err = db.selectAll(ctx, "look for a name", &types, `
		SELECT DISTINCT entity_type FROM noggin_schema.entity_hashes
		WHERE entity_type <> $2 AND entity_name ILIKE $1 ORDER BY entity_type LIMIT 5`, "%"+escapeLike(text)+"%", except)
	return types, err
}

// NamesAlike returns up to limit names of a type that begin or end like the text.
func (db *DB) NamesAlike(ctx context.Context, entityType, text string, limit int) (names []string, err error) {
	const same = 3 // characters
	err = db.selectAll(ctx, "look for similar names", &names, `
		SELECT DISTINCT entity_name FROM noggin_schema.entity_hashes WHERE entity_type = $1
			AND (lower(left(entity_name, $3)) = lower(left($2, $3)) OR lower(right(entity_name, $3)) = lower(right($2, $3)))
		ORDER BY entity_name LIMIT $4`, entityType, text, same, limit)
	return names, err
}

// NamesBeginning returns up to limit names of a type that begin with the text, in any case,
// each once and in their order.
func (db *DB) NamesBeginning(ctx context.Context, entityType, text string, limit int) (names []string, err error) {
	err = db.selectAll(ctx, "list names", &names, `
		SELECT DISTINCT entity_name FROM noggin_schema.entity_hashes
		WHERE entity_type = $1 AND entity_name ILIKE $2 ORDER BY entity_name LIMIT $3`, entityType, escapeLike(text)+"%", limit)
	return names, err
}

// escapeLike makes a text mean itself in a LIKE pattern.
func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

// NamesOfHashes returns every name that one of the hashes has or had, of whatever type.
func (db *DB) NamesOfHashes(ctx context.Context, hashes []string) (names []Entity, err error) {
	err = db.selectAll(ctx, "look for the names of hashes", &names, `
		SELECT hash_value, entity_name FROM noggin_schema.entity_hashes WHERE hash_value = ANY($1::text[])
		UNION SELECT hash_value, entity_name FROM noggin_schema.entity_hash_history WHERE hash_value = ANY($1::text[])`, pq.Array(hashes))
	return names, err
}
