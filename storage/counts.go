package storage

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// DaysCounted is for how many days, today included, the counts tell the days
// apart.
const DaysCounted = 90

// foldFrom is how many rows a table of counts may hold before it is folded.
const foldFrom = 10_000

// foldedSlot is the slot under which a delta is folded: its day, in the site's time
// zone; none after a quarter of a year. Every delta of a slot goes the same way, so
// that a later one that takes back an earlier one meets it.
const foldedSlot = `CASE WHEN slot >= current_date - 92 THEN date_trunc('day', slot) END`

// FoldGrown folds the counts where they have grown much, after a statement that
// changed very many records or files, say.
func (db *DB) FoldGrown(ctx context.Context) error {
	const much = 5 * foldFrom
	var grown bool
	if err := db.get(ctx, "look at the counts", &grown, `
		SELECT (SELECT count(*) FROM (SELECT FROM noggin_schema.record_counts LIMIT $1) AS r) = $1
		    OR (SELECT count(*) FROM (SELECT FROM noggin_schema.file_counts LIMIT $1) AS f) = $1`, much); err != nil || !grown {
		return err
	}
	// What remains lies at the end of the file; folded once more it lies in front,
	// and the file shrinks.
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

// Fold adds the deltas of the counts together, many rows to few. Where another
// session does so at the moment it does nothing.
func (db *DB) Fold(ctx context.Context) error {
	return db.tx(ctx, "fold the counts", func(tx *sqlx.Tx) error {
		var locked bool
		if err := tx.GetContext(ctx, &locked, db.sql(`SELECT pg_try_advisory_xact_lock(hashtext('noggin_schema.fold'))`)); err != nil || !locked {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			WITH gone AS (DELETE FROM noggin_schema.record_counts RETURNING *)
			INSERT INTO noggin_schema.record_counts (object_type, processing_status, permanently_failed, slot, records, seconds, waited,
				shortest, longest, longest_tip)
			SELECT object_type, processing_status, permanently_failed, `+foldedSlot+`, sum(records), sum(seconds), sum(waited),
			       min(shortest), max(longest), (array_agg(longest_tip ORDER BY longest DESC NULLS LAST))[1]
			FROM gone GROUP BY 1, 2, 3, 4 HAVING sum(records) <> 0`)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, db.sql(`
			WITH gone AS (DELETE FROM noggin_schema.file_counts RETURNING *)
			INSERT INTO noggin_schema.file_counts (month, object_type, kind, status, slot, files, bytes, seconds)
			SELECT month, object_type, kind, status, `+foldedSlot+`, sum(files), sum(bytes), sum(seconds)
			FROM gone GROUP BY 1, 2, 3, 4, 5 HAVING sum(files) <> 0 OR sum(bytes) <> 0`))
		return err
	})
}

// Recount counts all records and files anew, in place of what the counts say. It
// reads both tables whole; nothing has to stand still for it.
func (db *DB) Recount(ctx context.Context) error {
	return db.tx(ctx, "count everything anew", func(tx *sqlx.Tx) error { return db.recount(ctx, tx) })
}

// recount is one statement a table: what commits meanwhile is in neither its
// deletion nor its count.
func (db *DB) recount(ctx context.Context, tx *sqlx.Tx) error {
	if _, err := tx.ExecContext(ctx, db.sql(`SELECT pg_advisory_xact_lock(hashtext('noggin_schema.fold'))`)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, db.sql(`
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
		GROUP BY 1, 2, 3, 4`)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, db.sql(`
		WITH gone AS (DELETE FROM noggin_schema.file_counts)
		INSERT INTO noggin_schema.file_counts (month, object_type, kind, status, slot, files, bytes, seconds)
		SELECT month, object_type, kind, status, `+foldedSlot+`, count(*),
		       coalesce(sum(bytes) FILTER (WHERE status = 'complete'), 0), coalesce(sum(seconds) FILTER (WHERE status = 'complete'), 0)
		FROM (SELECT noggin_schema.month_of(d.folder, d.inspection_date) AS month, d.object_type, 'attachment' AS kind,
		             a.attachment_status AS status, noggin_schema.count_slot(a.download_started_at) AS slot,
		             a.file_size_bytes AS bytes, a.download_duration_seconds AS seconds
		      FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip
		      UNION ALL
		      SELECT noggin_schema.month_of(d.folder, d.inspection_date), d.object_type, 'report', 'complete', NULL, d.report_size_bytes, 0
		      FROM noggin_schema.noggin_data d WHERE d.report_size_bytes IS NOT NULL) AS f
		GROUP BY 1, 2, 3, 4, 5`))
	return err
}
