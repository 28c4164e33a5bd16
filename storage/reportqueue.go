package storage

import (
	"context"
	"time"
)

// QueueDepth counts the waiting records. Due can be taken now; Later are retries that
// are not due before NextAt.
type QueueDepth struct {
	Pending    int64      `db:"pending" json:"pending"` // never tried
	DueRetries int64      `db:"due_retries" json:"due_retries"`
	Due        int64      `db:"due" json:"due"`
	Later      int64      `db:"later" json:"later"`
	NextAt     *time.Time `db:"next_at" json:"next_at"`
	OldestAt   *time.Time `db:"oldest_at" json:"oldest_due_since"`
	Crashing   int64      `db:"crashing" json:"crashing"` // taken last and alone, see crashLimit
	// DueAtLeast means that there are too many retries to count which are due: more may
	// be due, and as many fewer later.
	DueAtLeast bool `db:"-" json:"due_at_least"`
}

// toldApart is the number of retries up to which the view queue_depth counts, both for
// due and for later ones.
const toldApart = 5000

// QueueDepth counts the waiting records without reading them all. Of the records that runs
// died on, it leaves out those that no run takes any more, which the view counts.
func (db *DB) QueueDepth(ctx context.Context) (QueueDepth, error) {
	var q QueueDepth
	err := db.get(ctx, "count the queue", &q, `
		SELECT pending, due_retries, due, later, next_at, oldest_at,
		       (SELECT count(*) FROM noggin_schema.noggin_data d WHERE `+crashing+`) AS crashing
		FROM noggin_schema.queue_depth`)
	q.DueAtLeast = q.DueRetries == toldApart && q.Later >= toldApart
	return q, err
}

// Worker is a run with claims.
type Worker struct {
	RunID     int64     `db:"run_id" json:"run_id"`
	Command   *string   `db:"command" json:"command"` // nil: the run is pruned
	Host      *string   `db:"host" json:"host"`
	PID       *int      `db:"pid" json:"pid"`
	Records   int64     `db:"records" json:"records"`
	Expired   int64     `db:"expired" json:"expired"` // records whose lease ended: the run is probably dead
	FirstTip  string    `db:"first_tip" json:"first_tip"`
	LeaseEnds time.Time `db:"lease_ends" json:"lease_ends"` // the last lease
}

// headOfQueue is the number of records that Workers reads of each part of the queue.
// Claims are in no index, so that claiming stays cheap, but claimed records are at the
// head of the queue.
const headOfQueue = `1000`

// Workers returns the runs that hold claims on records of the queue.
func (db *DB) Workers(ctx context.Context) ([]Worker, error) {
	var workers []Worker
	err := db.selectAll(ctx, "list the claims", &workers, `
		WITH head AS (
			(SELECT tip, claimed_by, claim_expires_at FROM noggin_schema.noggin_data
			 WHERE processing_status = 'pending' AND crash_count < 3 ORDER BY queue_order LIMIT `+headOfQueue+`)
			UNION
			(SELECT tip, claimed_by, claim_expires_at FROM noggin_schema.noggin_data
			 WHERE processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed') AND NOT permanently_failed AND crash_count < 3
			 ORDER BY coalesce(next_retry_at, '-infinity'::timestamptz) LIMIT `+headOfQueue+`)
			UNION -- records stored this moment
			(SELECT tip, claimed_by, claim_expires_at FROM noggin_schema.noggin_data
			 WHERE processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed') AND NOT permanently_failed AND crash_count < 3
			   AND coalesce(next_retry_at, '-infinity'::timestamptz) <= now()
			 ORDER BY coalesce(next_retry_at, '-infinity'::timestamptz) DESC LIMIT `+headOfQueue+`)
			UNION
			(SELECT tip, claimed_by, claim_expires_at FROM noggin_schema.noggin_data WHERE crash_count >= 3 LIMIT `+headOfQueue+`))
		SELECT h.claimed_by AS run_id, r.command, r.host, r.pid, count(*) AS records,
		       count(*) FILTER (WHERE h.claim_expires_at <= now()) AS expired, min(h.tip) AS first_tip, max(h.claim_expires_at) AS lease_ends
		FROM head h LEFT JOIN noggin_schema.runs r ON r.id = h.claimed_by
		WHERE h.claimed_by IS NOT NULL AND h.claim_expires_at IS NOT NULL
		GROUP BY 1, 2, 3, 4 ORDER BY 1`)
	return workers, err
}

// Waiting is a record that waits for its retry.
type Waiting struct {
	Tip          string     `db:"tip" json:"tip"`
	InspectionID *string    `db:"inspection_id" json:"inspection_id"`
	ObjectType   string     `db:"object_type" json:"object_type"`
	Status       Status     `db:"processing_status" json:"processing_status"`
	RetryCount   int        `db:"retry_count" json:"retry_count"`
	NextRetryAt  *time.Time `db:"next_retry_at" json:"next_retry_at"`
	LastError    *string    `db:"last_error_message" json:"last_error_message"`
}

// NextRetries returns the next retries, overdue ones first, at most limit of them.
func (db *DB) NextRetries(ctx context.Context, limit int) ([]Waiting, error) {
	var next []Waiting
	err := db.selectAll(ctx, "list the next retries", &next, `
		SELECT tip, coalesce(inspection_id, expected_inspection_id) AS inspection_id, object_type, processing_status, retry_count,
		       next_retry_at, last_error_message
		FROM noggin_schema.noggin_data
		WHERE processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed') AND NOT permanently_failed AND crash_count < 3
		ORDER BY coalesce(next_retry_at, '-infinity'::timestamptz) LIMIT $1`, limit)
	return next, err
}
