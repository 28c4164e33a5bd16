package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// FailedRecord is a record as `retry-failed` and `report failed` list it.
type FailedRecord struct {
	Tip               string     `db:"tip" json:"tip"`
	ObjectType        string     `db:"object_type" json:"object_type"`
	InspectionID      *string    `db:"inspection_id" json:"inspection_id"`
	Status            Status     `db:"processing_status" json:"processing_status"`
	RetryCount        int        `db:"retry_count" json:"retry_count"`
	NextRetryAt       *time.Time `db:"next_retry_at" json:"next_retry_at"`
	PermanentlyFailed bool       `db:"permanently_failed" json:"permanently_failed"`
	LastError         *string    `db:"last_error_message" json:"last_error_message"`
	UpdatedAt         time.Time  `db:"updated_at" json:"updated_at"`
	FailingSince      *time.Time `db:"failing_since" json:"failing_since"` // its first failure since it was complete
}

// retryable are the records that the selector chooses to retry. Without a filter it
// chooses all failed records, except the permanently failed ones. A record that is named, or
// chosen as permanently failed, may have any status of the queue.
func (s Selector) retryable() (conditions string, args []any) {
	conditions, args = s.where(1)
	switch {
	case len(s.Statuses) > 0 || s.UnknownHashes:
	case len(s.Tips) > 0, s.Permanent: // one that was given up may have been begun again
		conditions += " AND d.processing_status NOT IN ('complete', 'skipped')"
	default:
		conditions += " AND d.processing_status IN ('partial', 'failed', 'api_failed', 'interrupted')"
	}
	if len(s.Tips) == 0 && !s.Permanent {
		conditions += " AND NOT d.permanently_failed"
	}
	return conditions, args
}

// EachRetryable hands the records that the selector chooses to retry to each, the
// latest failure first, limit of them; 0: all.
func (db *DB) EachRetryable(ctx context.Context, s Selector, limit int, each func(FailedRecord) error) error {
	conditions, args := s.retryable()
	args = append(args, limit)
	return eachRow(ctx, db, "list the records to retry", each, `
		SELECT d.tip, d.object_type, coalesce(d.inspection_id, d.expected_inspection_id) AS inspection_id, d.processing_status,
		       d.retry_count, d.next_retry_at, d.permanently_failed, d.last_error_message, d.updated_at, d.failing_since
		FROM noggin_schema.noggin_data d WHERE true`+conditions+` ORDER BY d.updated_at DESC, d.tip LIMIT nullif(`+placeholder(len(args))+`::bigint, 0)`, args...)
}

// CountRetryable counts the records that the selector chooses to retry.
func (db *DB) CountRetryable(ctx context.Context, s Selector) ([]ChosenCount, error) {
	conditions, args := s.retryable()
	return db.countChosen(ctx, "count the records to retry", conditions, args)
}

// ResetForRetry makes the records that the selector chooses pending, without failures.
// It stores the run in retry_requested_by, so that the run can process only these. It
// leaves claimed records alone. It may be repeated with the same run.
func (db *DB) ResetForRetry(ctx context.Context, run int64, s Selector) (int64, error) {
	conditions, args := s.retryable()
	args = append(args, run)
	var reset int64
	err := db.unbounded().tx(ctx, "reset the records", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			WITH chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE `+unclaimed+conditions+`
				ORDER BY d.tip FOR UPDATE SKIP LOCKED)
			UPDATE noggin_schema.noggin_data d
			SET processing_status = 'pending', retry_count = 0, next_retry_at = NULL, permanently_failed = false,
			    crash_count = 0, claimed_by = NULL, claim_expires_at = NULL, claim_token = d.claim_token + 1,
			    retry_requested_by = `+placeholder(len(args))+`
			FROM chosen WHERE d.tip = chosen.tip`), args...); err != nil {
			return err
		}
		// Counted separately: an earlier try, whose COMMIT's reply was lost, may have reset
		// them.
		return tx.GetContext(ctx, &reset, db.sql(`
			SELECT count(*) FROM noggin_schema.noggin_data d WHERE d.retry_requested_by = $1`), run)
	})
	return reset, err
}
