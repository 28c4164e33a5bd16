package storage

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"
)

// DaysCounted is the number of days, with today, that the counts keep apart.
const DaysCounted = 90

// foldFrom is the number of rows from which [DB.Sample] folds a table of counts.
const foldFrom = 10_000

// foldedSlot is the slot of a delta after folding: its day in the site's time zone, or
// NULL after a quarter of a year. All deltas of a slot fold into one row, so that a
// negative delta meets the positive one that it takes back.
const foldedSlot = `CASE WHEN slot >= current_date - 92 THEN date_trunc('day', slot) END`

// FoldGrown folds the counts when they have grown much, for example after a statement
// that changed very many records or files.
func (db *DB) FoldGrown(ctx context.Context) error {
	const much = 5 * foldFrom
	var grown bool
	if err := db.get(ctx, "look at the counts", &grown, `
		SELECT (SELECT count(*) FROM (SELECT FROM noggin_schema.record_counts LIMIT $1) AS r) = $1
		    OR (SELECT count(*) FROM (SELECT FROM noggin_schema.file_counts LIMIT $1) AS f) = $1`, much); err != nil || !grown {
		return err
	}
	// The first fold writes its rows at the end of the file. The second writes them at
	// the front, so that the file shrinks.
	for range 2 {
		if err := db.Fold(ctx); err != nil {
			return err
		}
		if _, err := db.pool.ExecContext(ctx, db.sql(`VACUUM (ANALYZE) noggin_schema.record_counts, noggin_schema.file_counts`)); err != nil {
			return describe(ctx, "vacuum the counts", err)
		}
	}
	return nil
}

// Fold sums the deltas of the counts into few rows. It does nothing while another
// session folds.
func (db *DB) Fold(ctx context.Context) error {
	return db.fold(ctx, "fold the counts", []string{lockFold}, `
			WITH gone AS (DELETE FROM noggin_schema.record_counts RETURNING *)
			INSERT INTO noggin_schema.record_counts (object_type, processing_status, permanently_failed, slot, records, seconds, waited,
				shortest, longest, longest_tip)
			SELECT object_type, processing_status, permanently_failed, `+foldedSlot+`, sum(records), sum(seconds), sum(waited),
			       min(shortest), max(longest), (array_agg(longest_tip ORDER BY longest DESC NULLS LAST))[1]
			FROM gone GROUP BY 1, 2, 3, 4 HAVING sum(records) <> 0`, `
			WITH gone AS (DELETE FROM noggin_schema.file_counts RETURNING *)
			INSERT INTO noggin_schema.file_counts (month, object_type, kind, status, slot, files, bytes, seconds)
			SELECT month, object_type, kind, status, `+foldedSlot+`, sum(files), sum(bytes), sum(seconds)
			FROM gone GROUP BY 1, 2, 3, 4, 5 HAVING sum(files) <> 0 OR sum(bytes) <> 0`)
}

// CountUnknown adds the references to unknown hashes that came since it did so last to
// occurrence_count. It does nothing while another session folds or imports names: both
// would change the same rows, each in its own order.
func (db *DB) CountUnknown(ctx context.Context) error {
	return db.fold(ctx, "count the unknown hashes", []string{shareNames, lockFold}, `
		WITH gone AS (DELETE FROM noggin_schema.unknown_hash_counts RETURNING *),
			seen AS (SELECT hash_value, entity_type, sum(occurrences) AS n, max(seen_at) AS at FROM gone GROUP BY hash_value, entity_type)
		UPDATE noggin_schema.unknown_hashes u SET occurrence_count = u.occurrence_count + seen.n, last_seen_at = greatest(u.last_seen_at, seen.at)
		FROM seen WHERE u.hash_value = seen.hash_value AND u.entity_type = seen.entity_type`)
}

// fold executes the statements under the locks, unless another session holds one.
func (db *DB) fold(ctx context.Context, what string, locks []string, statements ...string) error {
	err := db.tx(ctx, what, func(tx *sqlx.Tx) error {
		for _, lock := range locks {
			if _, err := tx.ExecContext(ctx, db.sql(lock+` NOWAIT`)); isBusy(err) {
				return errFolding
			} else if err != nil {
				return err
			}
		}
		return db.exec(ctx, tx, nil, statements...)
	})
	if errors.Is(err, errFolding) {
		return nil
	}
	return err
}

var errFolding = errors.New("another session folds or imports names")

const lockFold = `LOCK TABLE noggin_schema.fold_lock IN EXCLUSIVE MODE`

// recount replaces the counts. It reads both tables whole, while others may write to
// them: each table takes one statement, whose snapshot both deletes and counts, so a
// delta that commits later stays.
func (db *DB) recount(ctx context.Context, tx *sqlx.Tx) error {
	return db.exec(ctx, tx, nil, lockFold, `
		WITH gone AS (DELETE FROM noggin_schema.record_counts)
		INSERT INTO noggin_schema.record_counts (object_type, processing_status, permanently_failed, slot, records, seconds, waited,
			shortest, longest, longest_tip)
		SELECT c.object_type, c.processing_status, c.permanently_failed, `+foldedSlot+`, count(*),
		       coalesce(sum(c.seconds), 0), coalesce(sum(c.waited), 0), min(c.seconds), max(c.seconds),
		       (array_agg(c.tip ORDER BY c.seconds DESC) FILTER (WHERE c.seconds IS NOT NULL))[1]
		FROM (SELECT object_type, processing_status, permanently_failed, tip,
		             CASE WHEN processing_status <> 'pending' THEN noggin_schema.count_slot(updated_at) END AS slot,
		             CASE WHEN processing_status = 'complete' THEN processing_seconds END AS seconds,
		             CASE WHEN processing_status = 'complete' THEN extract(epoch FROM updated_at - created_at) END AS waited
		      FROM noggin_schema.noggin_data) AS c
		GROUP BY 1, 2, 3, 4`, `
		WITH gone AS (DELETE FROM noggin_schema.file_counts)
		INSERT INTO noggin_schema.file_counts (month, object_type, kind, status, slot, files, bytes, seconds)
		SELECT month, object_type, kind, status, `+foldedSlot+`, count(*),
		       coalesce(sum(bytes) FILTER (WHERE status IN ('complete', 'former')), 0), coalesce(sum(seconds) FILTER (WHERE status = 'complete'), 0)
		FROM (SELECT noggin_schema.month_of(d.folder, d.inspection_date) AS month, d.object_type, 'attachment' AS kind,
		             a.attachment_status AS status, noggin_schema.count_slot(a.download_started_at) AS slot,
		             a.file_size_bytes AS bytes, a.download_duration_seconds AS seconds
		      FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip
		      UNION ALL
		      SELECT noggin_schema.month_of(d.folder, d.inspection_date), d.object_type, 'report', 'complete', NULL, d.report_size_bytes, 0
		      FROM noggin_schema.noggin_data d WHERE d.report_size_bytes IS NOT NULL
		      UNION ALL
		      SELECT noggin_schema.month_of(d.folder, d.inspection_date), d.object_type, CASE o.kind WHEN 'report' THEN 'report' ELSE 'attachment' END,
		             'former', noggin_schema.count_slot(o.downloaded_at), o.size_bytes, 0
		      FROM noggin_schema.former_files o JOIN noggin_schema.noggin_data d ON d.tip = o.record_tip) AS f
		GROUP BY 1, 2, 3, 4, 5`)
}
