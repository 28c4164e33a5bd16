package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// AskOutcome says why the API gave no name for a hash.
type AskOutcome string

// The outcomes that are remembered. But for the last, the API is not asked again soon.
const (
	AskRefused  AskOutcome = "refused"   // 403: not permitted for this object
	AskNotFound AskOutcome = "not_found" // no such object
	AskNameless AskOutcome = "nameless"  // an object without any of the fields that hold names
	// AskFailed is no answer about the object: the API is asked again soon, but about the
	// others first.
	AskFailed AskOutcome = "failed"
)

// AskableHash is an unknown hash that the API may be asked about.
type AskableHash struct {
	Hash string `db:"hash_value"`
	Type string `db:"entity_type"` // under which most records refer to it
}

// AskableHashes returns unknown hashes of a type, or of every type for "", that the API
// was not asked about for again, the most frequent first, up to limit (0: all). Those whose
// last asking failed come last and in any order, as they may fail each time.
func (db *DB) AskableHashes(ctx context.Context, entityType string, again time.Duration, limit int) ([]AskableHash, error) {
	var hashes []AskableHash
	err := db.selectAll(ctx, "list the hashes to ask about", &hashes, `
		SELECT u.hash_value, (array_agg(u.entity_type ORDER BY u.occurrence_count DESC, u.entity_type))[1] AS entity_type
		FROM noggin_schema.unknown_hashes u WHERE u.resolved_at IS NULL AND ($1 = '' OR u.entity_type = $1)
		GROUP BY u.hash_value HAVING coalesce(max(u.asked_at) < now() - $2 * interval '1 second', true)
		ORDER BY CASE WHEN bool_or(u.ask_outcome = 'failed') THEN random() ELSE -1 END, sum(u.occurrence_count) DESC, u.hash_value LIMIT nullif($3::bigint, 0)`, entityType, again.Seconds(), limit)
	return hashes, err
}

// RememberAsked keeps that the API gave no name for the hashes, and why.
func (db *DB) RememberAsked(ctx context.Context, outcomes map[string]AskOutcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	var hashes, why []string
	for hash, outcome := range outcomes {
		hashes, why = append(hashes, hash), append(why, string(outcome))
	}
	return db.tx(ctx, "remember the hashes without a name at the API", func(tx *sqlx.Tx) error {
		if err := db.exec(ctx, tx, nil, shareNames); err != nil {
			return err
		}
		return db.exec(ctx, tx, []any{pq.Array(hashes), pq.Array(why)}, `
			UPDATE noggin_schema.unknown_hashes u SET ask_outcome = v.outcome,
				asked_at = CASE v.outcome WHEN 'failed' THEN u.asked_at ELSE now() END
			FROM unnest($1::text[], $2::text[]) AS v (hash, outcome) WHERE u.hash_value = v.hash`)
	})
}
