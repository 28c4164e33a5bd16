package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// farAhead is further ahead than a record ever waits: for its retry 1 h with its
// jitter, for a lease to end 1 h.
const farAhead = `now() + interval '70 minutes'`

// BringTimesBack puts an end to waiting times that the server's clock set while it
// was ahead: after it was set right ([Standing.ClockSetBack]) they would hold records,
// claims and the circuit until it gets there again. Claims get one more lease, in
// which a run that lives renews them.
func (db *DB) BringTimesBack(ctx context.Context, lease time.Duration) error {
	return db.tx(ctx, "bring times back", func(tx *sqlx.Tx) error {
		for _, statement := range []struct {
			sql  string
			args []any
		}{
			{`UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE tip = ANY (ARRAY(
				SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
				  AND NOT d.permanently_failed AND coalesce(d.next_retry_at, '-infinity'::timestamptz) > ` + farAhead + `
				FOR NO KEY UPDATE SKIP LOCKED))`, nil},
			{`UPDATE noggin_schema.noggin_data SET claim_expires_at = now() + $1 * interval '1 second' WHERE tip = ANY (ARRAY(
				SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.processing_status IN ('pending', 'api_success', 'interrupted', 'partial', 'failed', 'api_failed')
				  AND d.claim_expires_at > ` + farAhead + ` FOR NO KEY UPDATE SKIP LOCKED))`, []any{lease.Seconds()}},
			{`UPDATE noggin_schema.circuit SET open_until = least(open_until, now()), paused_until = least(paused_until, now()),
				probes_expire_at = least(probes_expire_at, now()), rate_next_at = NULL, updated_at = now()`, nil},
			{`UPDATE noggin_schema.runs SET started_at = least(started_at, now()), seen_at = least(seen_at, now()),
				finished_at = least(finished_at, now()) WHERE started_at > now() OR seen_at > now()`, nil},
			{`DELETE FROM noggin_schema.samples WHERE taken_at > now()`, nil}, // none would be taken until then
		} {
			if _, err := tx.ExecContext(ctx, db.sql(statement.sql), statement.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
