package storage

import (
	"context"
	"strings"

	"github.com/lib/pq"
)

// A text and what is near it have characters in common at the beginning, or at the end:
// nearEnough of them, or the whole of a shorter text of at least leastNear.
const (
	nearEnough = 6
	leastNear  = 4
)

// NearRecords returns the names of records that somebody may have meant by text, which
// names none: tips and inspection ids that begin like it, one from either side of its
// place in their order. A whole tip may be wrong at its beginning: then a few tips that
// end like it, for which all are read.
func (db *DB) NearRecords(ctx context.Context, text string) ([]string, error) {
	var near []string
	err := db.selectAll(ctx, "look for records with a similar name", &near, `
		(SELECT tip FROM noggin_schema.noggin_data WHERE tip >= lower($1) ORDER BY tip LIMIT 1)
		UNION ALL (SELECT tip FROM noggin_schema.noggin_data WHERE tip < lower($1) ORDER BY tip DESC LIMIT 1)
		UNION ALL (SELECT lcd_inspection_id FROM noggin_schema.noggin_data WHERE lcd_inspection_id IS NOT NULL AND lcd_inspection_id >= upper($1)
			ORDER BY lcd_inspection_id LIMIT 1)
		UNION ALL (SELECT lcd_inspection_id FROM noggin_schema.noggin_data WHERE lcd_inspection_id IS NOT NULL AND lcd_inspection_id < upper($1)
			ORDER BY lcd_inspection_id DESC LIMIT 1)`, text)
	near = alike(text, near)
	if err == nil && len(near) == 0 && len(text) == tipLength {
		err = db.selectAll(ctx, "look for records with a similar tip", &near, `
			SELECT tip FROM noggin_schema.noggin_data WHERE right(tip, $2) = right(lower($1), $2) ORDER BY tip LIMIT 3`, text, 2*nearEnough)
	}
	return near, err
}

// tipLength is that of the platform's tips.
const tipLength = 64

// KnowsHash tells whether a hash has or had a name, or is in a record.
func (db *DB) KnowsHash(ctx context.Context, hash string) (known bool, err error) {
	err = db.get(ctx, "look for a hash", &known, `
		SELECT EXISTS (SELECT FROM noggin_schema.entity_hashes WHERE hash_value = $1)
		       OR EXISTS (SELECT FROM noggin_schema.unknown_hashes WHERE hash_value = $1)
		       OR EXISTS (SELECT FROM noggin_schema.record_hashes WHERE hash_value = $1)
		       OR EXISTS (SELECT FROM noggin_schema.entity_hash_history WHERE hash_value = $1)`, hash)
	return known, err
}

// HashesBeginning returns the known hashes of 64 digits that begin with digits, up to
// limit of them.
func (db *DB) HashesBeginning(ctx context.Context, digits string, limit int) ([]string, error) {
	var found []string
	err := db.selectAll(ctx, "look for hashes by their beginning", &found, `
		SELECT hash_value FROM noggin_schema.entity_hashes
		WHERE hash_value BETWEEN $1 AND $1 || repeat('f', 64) AND starts_with(hash_value, $1) AND octet_length(hash_value) = 64
		UNION SELECT hash_value FROM noggin_schema.unknown_hashes
		WHERE hash_value BETWEEN $1 AND $1 || repeat('f', 64) AND starts_with(hash_value, $1) AND octet_length(hash_value) = 64
		ORDER BY 1 LIMIT $2`, digits, limit)
	return found, err
}

// NearHashes returns known hashes that begin or end like text, a few of them.
func (db *DB) NearHashes(ctx context.Context, text string) ([]string, error) {
	if len(text) < leastNear {
		return nil, nil
	}
	var near []string
	err := db.selectAll(ctx, "look for similar hashes", &near, `
		SELECT hash_value FROM noggin_schema.entity_hashes WHERE left(hash_value, $2) = left($1, $2) OR right(hash_value, $2) = right($1, $2)
		UNION SELECT hash_value FROM noggin_schema.unknown_hashes WHERE left(hash_value, $2) = left($1, $2) OR right(hash_value, $2) = right($1, $2)
		ORDER BY 1 LIMIT 3`, strings.ToLower(text), min(nearEnough, len(text)))
	return near, err
}

// alike returns the names that begin like text, each once.
func alike(text string, names []string) []string {
	if len(text) < leastNear {
		return nil
	}
	var found []string
	seen := map[string]bool{}
	n := min(nearEnough, len(text))
	for _, name := range names {
		if len(name) >= n && strings.EqualFold(name[:n], text[:n]) && !seen[name] {
			found, seen[name] = append(found, name), true
		}
	}
	return found
}

// TipNeighbours returns the tips and hashes that stand next to each of tips in their
// order. A beginning that none of these shares is unique in the database.
func (db *DB) TipNeighbours(ctx context.Context, tips []string) ([]string, error) {
	var near []string
	err := db.selectAll(ctx, "look for neighbours of tips", &near, `
		SELECT DISTINCT n.near FROM unnest($1::text[]) AS t(tip), LATERAL (VALUES
			((SELECT d.tip FROM noggin_schema.noggin_data d WHERE d.tip < t.tip ORDER BY d.tip DESC LIMIT 1)),
			((SELECT d.tip FROM noggin_schema.noggin_data d WHERE d.tip > t.tip ORDER BY d.tip LIMIT 1)),
			((SELECT e.hash_value FROM noggin_schema.entity_hashes e WHERE e.hash_value < t.tip ORDER BY e.hash_value DESC LIMIT 1)),
			((SELECT e.hash_value FROM noggin_schema.entity_hashes e WHERE e.hash_value > t.tip ORDER BY e.hash_value LIMIT 1)),
			((SELECT u.hash_value FROM noggin_schema.unknown_hashes u WHERE u.hash_value < t.tip ORDER BY u.hash_value DESC LIMIT 1)),
			((SELECT u.hash_value FROM noggin_schema.unknown_hashes u WHERE u.hash_value > t.tip ORDER BY u.hash_value LIMIT 1))
		) AS n(near) WHERE n.near IS NOT NULL`, pq.Array(tips))
	return near, err
}
