package storage

import (
	"context"
	"time"
)

// QueueDepth is how much waits. Due can be taken now; Later is the rest of what
// failed and is tried again, at NextAt at the earliest.
type QueueDepth struct {
	Pending    int64      `db:"pending" json:"pending"` // never tried
	DueRetries int64      `db:"due_retries" json:"due_retries"`
	Due        int64      `db:"due" json:"due"`
	Later      int64      `db:"later" json:"later"`
	NextAt     *time.Time `db:"next_at" json:"next_at"`
	OldestAt   *time.Time `db:"oldest_at" json:"oldest_due_since"`
	Crashing   int64      `db:"crashing" json:"crashing"` // taken last and alone, see CrashLimit
	// DueAtLeast says that there are too many retries to tell apart in time: more of
	// them may be due, and as many fewer later.
	DueAtLeast bool `db:"-" json:"due_at_least"`
}

// toldApart is how many retries on either side of now the view queue_depth counts.
const toldApart = 5000

// QueueDepth reads how much waits, without counting the records.
func (db *DB) QueueDepth(ctx context.Context) (QueueDepth, error) {
	var q QueueDepth
	err := db.get(ctx, "look at the queue", &q, `
		SELECT pending, due_retries, due, later, next_at, oldest_at, crashing FROM noggin_schema.queue_depth`)
	q.DueAtLeast = q.DueRetries == toldApart && q.Later >= toldApart
	return q, err
}

// Worker is a run that has records in hand.
type Worker struct {
	RunID     int64     `db:"run_id" json:"run_id"`
	Command   *string   `db:"command" json:"command"` // nil: the run is no longer known
	Host      *string   `db:"host" json:"host"`
	PID       *int      `db:"pid" json:"pid"`
	Records   int64     `db:"records" json:"records"`
	Expired   int64     `db:"expired" json:"expired"` // of them, whose lease ended: the run seems dead
	FirstTip  string    `db:"first_tip" json:"first_tip"`
	LeaseEnds time.Time `db:"lease_ends" json:"lease_ends"` // the last of them
}

// headOfQueue is how many records of each part of the queue are looked at for
// claims. Claims are in no index, so that claiming stays cheap; but what is claimed
// is at the head of the queue.
const headOfQueue = `1000`

// Workers returns the runs that hold claims on records of the queue.
func (db *DB) Workers(ctx context.Context) ([]Worker, error) {
	var workers []Worker
	err := db.selectAll(ctx, "look at the claims", &workers, `
		WITH head AS (
			(SELECT tip, claimed_by, claim_expires_at FROM noggin_schema.noggin_data
			 WHERE processing_status = 'pending' AND crash_count < 3 ORDER BY queue_order LIMIT `+headOfQueue+`)
			UNION
			(SELECT tip, claimed_by, claim_expires_at FROM noggin_schema.noggin_data
			 WHERE processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed') AND NOT permanently_failed AND crash_count < 3
			 ORDER BY coalesce(next_retry_at, '-infinity'::timestamptz) LIMIT `+headOfQueue+`)
			UNION -- those stored this moment
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

// Waiting is a record that is tried again later.
type Waiting struct {
	Tip          string     `db:"tip" json:"tip"`
	InspectionID *string    `db:"inspection_id" json:"inspection_id"`
	ObjectType   string     `db:"object_type" json:"object_type"`
	Status       string     `db:"processing_status" json:"processing_status"`
	RetryCount   int        `db:"retry_count" json:"retry_count"`
	NextRetryAt  *time.Time `db:"next_retry_at" json:"next_retry_at"`
	LastError    *string    `db:"last_error_message" json:"last_error_message"`
}

// NextRetries returns the retries that come next, those that are overdue first, at
// most limit of them.
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
