package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// farAhead is later than any time that a right clock sets. A retry waits 1 h and its
// jitter at most, a lease holds 1 h at most. A copy that failed waits a day at most.
const farAhead = `now() + interval '70 minutes'`

// back sets a time of the future to now, and leaves any other one, and none, as it is.
func back(column string) string {
	return column + ` = CASE WHEN ` + column + ` > now() THEN now() ELSE ` + column + ` END`
}

// BringTimesBack ends waiting times that the server set while its clock was ahead, and ages
// that would begin only when the clock reaches those times again; see
// [Standing.ClockSetBack]. Claims get one more lease, and their run renews them if it lives.
// Complete records that were stored or asked for meanwhile go on with the steps of askAgain;
// those that were to be asked again the next day are. Samples of the future are deleted:
// they would prevent new ones. What says when something was mirrored stays as it is.
func (db *DB) BringTimesBack(ctx context.Context, lease time.Duration, askAgain []time.Duration) error {
	return db.tx(ctx, "bring times back", func(tx *sqlx.Tx) error {
		if err := db.exec(ctx, tx, nil, shareNames); err != nil {
			return err
		}
		if err := db.exec(ctx, tx, []any{lease.Seconds()}, `
			UPDATE noggin_schema.noggin_data SET claim_expires_at = CASE WHEN claim_expires_at > `+farAhead+` THEN now() + $1 * interval '1 second' ELSE claim_expires_at END,
				created_at = least(created_at, now()), updated_at = least(updated_at, now()),
				`+back("csv_imported_at")+`, `+back("failing_since")+`, `+back("first_failed_at")+`
			WHERE tip = ANY (ARRAY(SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.claim_expires_at > `+farAhead+` OR d.updated_at > now()
				   OR d.processing_status <> 'complete' AND greatest(d.created_at, d.csv_imported_at, d.failing_since, d.first_failed_at) > now()
				FOR NO KEY UPDATE SKIP LOCKED))`); err != nil {
			return err
		}
		// An asking that failed is repeated within 29 hours.
		if err := db.exec(ctx, tx, []any{seconds(askAgain)}, `
			UPDATE noggin_schema.refreshes r SET version_at = f.version_at,
				`+back("asked_at")+`, `+back("missing_since")+`,
				due_at = CASE WHEN f.daily THEN now() + (r.due_at - r.asked_at) ELSE coalesce(next.due_at, CASE WHEN r.due_at > now() THEN now() ELSE r.due_at END) END,
				step = CASE WHEN f.daily THEN r.step ELSE coalesce(next.step, 0) END
			FROM (SELECT o.record_tip, least(o.version_at, now()) AS version_at, coalesce(o.asked_at > now() AND o.due_at < o.asked_at + interval '29 hours', false) AS daily
				FROM noggin_schema.refreshes o
				WHERE o.version_at > now() OR o.asked_at > now()
				   OR o.due_at > now() + (SELECT max(s) FROM unnest($1::float8[]) AS s) * 1.2 * interval '1 second' + interval '1 day'
				FOR NO KEY UPDATE SKIP LOCKED) AS f `+nextStep+`
			WHERE r.record_tip = f.record_tip`); err != nil {
			return err
		}
		if err := db.exec(ctx, tx, nil, `
			UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE tip = ANY (ARRAY(
				SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
				  AND NOT d.permanently_failed AND coalesce(d.next_retry_at, '-infinity'::timestamptz) > `+farAhead+`
				FOR NO KEY UPDATE SKIP LOCKED))`,
			`UPDATE noggin_schema.circuit SET open_until = least(open_until, now()), paused_until = least(paused_until, now()),
				probes_expire_at = least(probes_expire_at, now()), question_until = least(question_until, now()), answered = '{}',
				rate_next_at = NULL, updated_at = now()`,
			`UPDATE noggin_schema.runs SET `+back("started_at")+`, `+back("seen_at")+`, `+back("finished_at")+` WHERE started_at > now() OR seen_at > now()`,
			`UPDATE noggin_schema.unknown_hashes SET asked_at = now() WHERE asked_at > now()`); err != nil {
			return err
		}
		return db.bringBackOthers(ctx, tx)
	})
}

// bringBackOthers brings back times in tables that a run does not change otherwise. A role
// that has only the rights of a run leaves them.
func (db *DB) bringBackOthers(ctx context.Context, tx *sqlx.Tx) error {
	for _, o := range []struct{ table, right, statement string }{
		{"copies_due", "UPDATE", `UPDATE noggin_schema.copies_due SET due_at = now(), due_since = least(due_since, now()) WHERE (target_id, path, hash_sha256) IN (
			SELECT d.target_id, d.path, d.hash_sha256 FROM noggin_schema.copies_due d WHERE d.due_at > now() + interval '25 hours' FOR UPDATE SKIP LOCKED)`},
		{"copy_targets", "UPDATE", `UPDATE noggin_schema.copy_targets SET registered_at = now() WHERE registered_at > now()`},
		{"samples", "DELETE", `DELETE FROM noggin_schema.samples WHERE taken_at > now()`},
		{"circuit_transitions", "UPDATE", `UPDATE noggin_schema.circuit_transitions SET created_at = now() WHERE created_at > now()`},
		{"archives", "UPDATE", `UPDATE noggin_schema.archives SET ` + back("created_at") + `, ` + back("verified_at") + `, ` + back("checked_at") + `, ` + back("seen_at") + `, ` + back("losing_since") + `
			WHERE greatest(created_at, verified_at, checked_at, seen_at, losing_since) > now()`},
		{"pause", "UPDATE", `UPDATE noggin_schema.pause SET paused_at = now(), paused_until = paused_until - (paused_at - now()) WHERE paused_at > now()`},
	} {
		var may bool
		if err := tx.GetContext(ctx, &may, `SELECT has_table_privilege(quote_ident($1) || '.' || $2, $3)`, db.cfg.Schema, o.table, o.right); err != nil {
			return err
		}
		if may {
			if err := db.exec(ctx, tx, nil, o.statement); err != nil {
				return err
			}
		}
	}
	return nil
}
