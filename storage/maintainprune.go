package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// pruning deletes old rows of one table in batches. $1 is the age to keep as an
// interval, $2 the place where the last batch ended ("" at first), $3 the batch's size.
// Without the place each batch would read the rows that the last ones deleted. Locked
// rows stay until the next pruning.
type pruning struct{ what, query string }

// The prunings, with their names in results.
var (
	oldErrors = pruning{"errors", `
		WITH old AS (SELECT e.id, e.created_at FROM noggin_schema.processing_errors e
				WHERE e.created_at < current_date - $1::interval AND e.created_at >= coalesce(nullif($2, '')::timestamptz, '-infinity')
				ORDER BY e.created_at LIMIT $3 FOR UPDATE SKIP LOCKED),
			gone AS (DELETE FROM noggin_schema.processing_errors e USING old WHERE e.id = old.id RETURNING 1)
		SELECT (SELECT count(*) FROM gone) AS deleted, coalesce(max(old.created_at)::text, '') AS place FROM old`}
	resolvedHashes = pruning{"resolved_hashes", `
		WITH old AS (SELECT u.hash_value, u.entity_type FROM noggin_schema.unknown_hashes u
				WHERE u.resolved_at < current_date - $1::interval AND u.hash_value >= $2
				ORDER BY u.hash_value, u.entity_type LIMIT $3 FOR UPDATE SKIP LOCKED),
			gone AS (DELETE FROM noggin_schema.unknown_hashes u USING old
				WHERE u.hash_value = old.hash_value AND u.entity_type = old.entity_type RETURNING 1)
		SELECT (SELECT count(*) FROM gone) AS deleted, coalesce(max(old.hash_value), '') AS place FROM old`}
	// The newest run and the newest successful run of each command stay, for reports.
	oldRuns = pruning{"runs", `
		WITH old AS (SELECT r.id FROM noggin_schema.runs r
				WHERE r.started_at < current_date - $1::interval AND r.seen_at < current_date - $1::interval
				  AND r.id > coalesce(nullif($2, '')::bigint, 0)
				  AND EXISTS (SELECT FROM noggin_schema.runs newer WHERE newer.command = r.command AND newer.started_at > r.started_at
				      AND (newer.exit_code = 0 OR r.exit_code IS DISTINCT FROM 0))
				ORDER BY r.id LIMIT $3 FOR UPDATE SKIP LOCKED),
			gone AS (DELETE FROM noggin_schema.runs r USING old WHERE r.id = old.id RETURNING 1)
		SELECT (SELECT count(*) FROM gone) AS deleted, coalesce(max(old.id)::text, '') AS place FROM old`}
	oldTransitions = pruning{"circuit_transitions", `
		WITH old AS (SELECT t.id FROM noggin_schema.circuit_transitions t
				WHERE t.created_at < current_date - $1::interval AND t.id > coalesce(nullif($2, '')::bigint, 0)
				ORDER BY t.id LIMIT $3 FOR UPDATE SKIP LOCKED),
			gone AS (DELETE FROM noggin_schema.circuit_transitions t USING old WHERE t.id = old.id RETURNING 1)
		SELECT (SELECT count(*) FROM gone) AS deleted, coalesce(max(old.id)::text, '') AS place FROM old`}
)

// PruneBatch is the number of rows that one statement deletes.
const PruneBatch = 5000

// Pruner deletes old rows in batches, each in a transaction of its own. After a batch
// it pauses for as long as the batch took, so that it hardly slows other runs.
type Pruner struct {
	DB      *DB
	Deleted func(what string, rows int64) // called after each batch; nil is harmless
}

// Errors deletes errors older than keep, an interval such as "6 months", and returns
// how many.
func (p Pruner) Errors(ctx context.Context, keep string) (int64, error) {
	return p.run(ctx, oldErrors, keep)
}

// ResolvedHashes deletes unknown hashes that were resolved longer ago than keep.
func (p Pruner) ResolvedHashes(ctx context.Context, keep string) (int64, error) {
	return p.run(ctx, resolvedHashes, keep)
}

// Runs deletes runs older than keep and the circuit's transitions of that time. Each
// command's newest run and newest successful run stay.
func (p Pruner) Runs(ctx context.Context, keep string) (runs, transitions int64, err error) {
	if runs, err = p.run(ctx, oldRuns, keep); err != nil {
		return runs, 0, err
	}
	transitions, err = p.run(ctx, oldTransitions, keep)
	return runs, transitions, err
}

func (p Pruner) run(ctx context.Context, what pruning, keep string) (total int64, err error) {
	place := ""
	for {
		var batch struct {
			Deleted int64
			Place   string
		}
		started := time.Now()
		err := p.DB.tx(ctx, "prune "+what.what, func(tx *sqlx.Tx) error {
			return tx.GetContext(ctx, &batch, p.DB.sql(what.query), keep, place, PruneBatch)
		})
		if err != nil {
			return total, err
		}
		total += batch.Deleted
		if p.Deleted != nil {
			p.Deleted(what.what, batch.Deleted)
		}
		if batch.Deleted == 0 {
			return total, nil
		}
		place = batch.Place
		select {
		case <-ctx.Done():
			return total, context.Cause(ctx)
		case <-time.After(min(time.Since(started), time.Second)):
		}
	}
}

// CountOldErrors counts the errors older than keep, and all errors.
func (db *DB) CountOldErrors(ctx context.Context, keep string) (old, all int64, err error) {
	var counts struct {
		Old int64 `db:"old_rows"`
		All int64 `db:"all_rows"`
	}
	err = db.get(ctx, "count the old errors", &counts, `
		SELECT count(*) FILTER (WHERE created_at < current_date - $1::interval) AS old_rows, count(*) AS all_rows
		FROM noggin_schema.processing_errors`, keep)
	return counts.Old, counts.All, err
}
