package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// farAhead is later than any time that a right clock sets. A retry waits 1 h and its
// jitter at most, a lease holds 1 h at most. A copy that failed waits a day at most.
const farAhead = `now() + interval '70 minutes'`

// BringTimesBack ends waiting times that the server set while its clock was ahead.
// Without it, records, claims and the circuit wait until the clock reaches those times
// again; see [Standing.ClockSetBack]. Claims get one more lease, and their run renews
// them if it lives. Complete records that were stored or asked for meanwhile go on with
// the steps of askAgain. Samples of the future are deleted: they would prevent new ones.
func (db *DB) BringTimesBack(ctx context.Context, lease time.Duration, askAgain []time.Duration) error {
	return db.tx(ctx, "bring times back", func(tx *sqlx.Tx) error {
		if err := db.exec(ctx, tx, []any{lease.Seconds()}, `
			UPDATE noggin_schema.noggin_data SET claim_expires_at = now() + $1 * interval '1 second' WHERE tip = ANY (ARRAY(
				SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.processing_status IN ('pending', 'api_success', 'interrupted', 'partial', 'failed', 'api_failed')
				  AND d.claim_expires_at > `+farAhead+` FOR NO KEY UPDATE SKIP LOCKED))`); err != nil {
			return err
		}
		if err := db.exec(ctx, tx, []any{seconds(askAgain)}, `
			UPDATE noggin_schema.refreshes r SET version_at = f.version_at, asked_at = least(r.asked_at, now()),
				due_at = next.due_at, step = coalesce(next.step, 0)
			FROM (SELECT o.record_tip, least(o.version_at, now()) AS version_at FROM noggin_schema.refreshes o
				WHERE o.version_at > now() OR o.asked_at > now() FOR NO KEY UPDATE SKIP LOCKED) AS f `+nextStep+`
			WHERE r.record_tip = f.record_tip`); err != nil {
			return err
		}
		return db.exec(ctx, tx, nil, `
			UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE tip = ANY (ARRAY(
				SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
				  AND NOT d.permanently_failed AND coalesce(d.next_retry_at, '-infinity'::timestamptz) > `+farAhead+`
				FOR NO KEY UPDATE SKIP LOCKED))`,
			`UPDATE noggin_schema.circuit SET open_until = least(open_until, now()), paused_until = least(paused_until, now()),
				probes_expire_at = least(probes_expire_at, now()), question_until = least(question_until, now()), answered = '{}',
				rate_next_at = NULL, updated_at = now()`,
			`UPDATE noggin_schema.runs SET started_at = least(started_at, now()), seen_at = least(seen_at, now()),
				finished_at = least(finished_at, now()) WHERE started_at > now() OR seen_at > now()`,
			`UPDATE noggin_schema.copies_due SET due_at = now(), due_since = least(due_since, now()) WHERE (target_id, path, hash_sha256) IN (
				SELECT d.target_id, d.path, d.hash_sha256 FROM noggin_schema.copies_due d WHERE d.due_at > now() + interval '25 hours' FOR UPDATE SKIP LOCKED)`,
			`UPDATE noggin_schema.copy_targets SET registered_at = now() WHERE registered_at > now()`,
			`DELETE FROM noggin_schema.samples WHERE taken_at > now()`)
	})
}
