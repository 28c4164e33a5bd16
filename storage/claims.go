package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// CrashLimit is the crash_count from which a record is taken last and alone.
const CrashLimit = 3

// Claim is a record in the hands of a run. Token is the fencing token: a write
// that carries an older one changes nothing.
type Claim struct {
	Tip               string `db:"tip" json:"tip"`
	Token             int64  `db:"claim_token" json:"token"`
	ObjectType        string `db:"object_type" json:"-"`
	ObjectTypeAssumed bool   `db:"object_type_assumed" json:"-"`
	Status            string `db:"processing_status" json:"-"` // when it was claimed
	RetryCount        int    `db:"retry_count" json:"-"`
	CrashCount        int    `db:"crash_count" json:"-"`
}

// ClaimRequest says what a run wants to take.
type ClaimRequest struct {
	Run      int64
	Limit    int           // records
	Retries  int           // of them retries, unless there are too few new records
	Lease    time.Duration // until the claim is free again, unless renewed
	Selector Selector      // Tips makes any record claimable, whatever its status
	Crashing bool          // take those past CrashLimit instead, one at a time
}

// due are the conditions under which a record is taken. The statuses are literals
// so that the planner can use the partial indexes of the same words.
const (
	unclaimed = `(d.claim_expires_at IS NULL OR d.claim_expires_at < now())`
	dueRetry  = `d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
		AND NOT d.permanently_failed AND d.crash_count < 3
		AND coalesce(d.next_retry_at, '-infinity'::timestamptz) <= now()`
	dueFresh   = `d.processing_status = 'pending' AND d.crash_count < 3`
	dueCrashed = `d.crash_count >= 3 AND coalesce(d.next_retry_at, '-infinity'::timestamptz) <= now()
		AND (d.processing_status = 'pending' OR NOT d.permanently_failed
			AND d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed'))`
)

// Claim takes up to r.Limit due records for the run. Retries come first, but new
// records get the rest of the limit before further retries do. A record whose
// last owner vanished with it adds to its crash count.
func (db *DB) Claim(ctx context.Context, r ClaimRequest) ([]Claim, error) {
	args := []any{r.Run, r.Lease.Seconds(), r.Limit}
	selected, selectedArgs := r.Selector.where(len(args) + 1)
	args = append(args, selectedArgs...)
	var chosen string
	switch {
	case len(r.Selector.Tips) > 0:
		chosen = `chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + unclaimed + selected + `
			ORDER BY d.tip LIMIT $3 FOR UPDATE SKIP LOCKED)`
	case r.Crashing:
		chosen = `chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + dueCrashed + ` AND ` + unclaimed + selected + `
			ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz) LIMIT $3 FOR UPDATE SKIP LOCKED)`
	default:
		args = append(args, r.Retries)
		chosen = `first_retries AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + dueRetry + ` AND ` + unclaimed + selected + `
				ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz) LIMIT ` + placeholder(len(args)) + ` FOR UPDATE SKIP LOCKED),
			fresh AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + dueFresh + ` AND ` + unclaimed + selected + `
				ORDER BY d.queue_order LIMIT $3 - (SELECT count(*) FROM first_retries) FOR UPDATE SKIP LOCKED),
			more_retries AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + dueRetry + ` AND ` + unclaimed + selected + `
				AND d.tip NOT IN (SELECT tip FROM first_retries)
				ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz)
				LIMIT $3 - (SELECT count(*) FROM first_retries) - (SELECT count(*) FROM fresh) FOR UPDATE SKIP LOCKED),
			chosen AS (SELECT tip FROM first_retries UNION ALL SELECT tip FROM fresh UNION ALL SELECT tip FROM more_retries)`
	}
	var claims []Claim
	err := db.tx(ctx, "claim records", func(tx *sqlx.Tx) error {
		claims = claims[:0]
		// As an array the planner takes the chosen for a handful, which they are; joined
		// it expects a tenth of the queue and reads the whole table.
		return tx.SelectContext(ctx, &claims, db.sql(`WITH `+chosen+`
			UPDATE noggin_schema.noggin_data d
			SET claimed_by = $1, claim_expires_at = now() + $2 * interval '1 second', claim_token = d.claim_token + 1,
			    crash_count = d.crash_count + CASE WHEN d.claimed_by IS NULL THEN 0 ELSE 1 END
			WHERE d.tip = ANY (ARRAY(SELECT tip FROM chosen))
			RETURNING d.tip, d.claim_token, d.object_type, d.object_type_assumed, d.processing_status, d.retry_count, d.crash_count`), args...)
	})
	return claims, err
}

// Renew moves the lease of every claim and returns those that are still ours.
func (db *DB) Renew(ctx context.Context, run int64, claims []Claim, lease time.Duration) (kept []Claim, err error) {
	tips, tokens := tipsAndTokens(claims)
	err = db.tx(ctx, "renew the claims", func(tx *sqlx.Tx) error {
		kept = kept[:0]
		if err := tx.SelectContext(ctx, &kept, db.sql(`
			UPDATE noggin_schema.noggin_data d SET claim_expires_at = now() + $4 * interval '1 second'
			FROM (SELECT n.tip FROM noggin_schema.noggin_data n JOIN unnest($2::text[], $3::bigint[]) AS v (tip, token)
			      ON n.tip = v.tip AND n.claim_token = v.token AND n.claimed_by = $1 ORDER BY n.tip FOR UPDATE OF n) AS ours
			WHERE d.tip = ours.tip RETURNING d.tip, d.claim_token`), run, tips, tokens, lease.Seconds()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, db.sql(`UPDATE noggin_schema.runs SET seen_at = now() WHERE id = $1`), run)
		return err
	})
	return kept, err
}

// Release gives back claims on which no work was done.
func (db *DB) Release(ctx context.Context, run int64, claims []Claim) error {
	if len(claims) == 0 {
		return nil
	}
	tips, tokens := tipsAndTokens(claims)
	return db.change(ctx, "release the claims", `
		UPDATE noggin_schema.noggin_data d SET claimed_by = NULL, claim_expires_at = NULL
		FROM (SELECT n.tip FROM noggin_schema.noggin_data n JOIN unnest($2::text[], $3::bigint[]) AS v (tip, token)
		      ON n.tip = v.tip AND n.claim_token = v.token AND n.claimed_by = $1 ORDER BY n.tip FOR UPDATE OF n) AS ours
		WHERE d.tip = ours.tip`, run, tips, tokens)
}

// EnsureRecords inserts those of the tips that are new, as pending records of the
// given form, and returns how many there were. assumed says that nothing but a
// default named the form.
func (db *DB) EnsureRecords(ctx context.Context, tips []string, objectType string, assumed bool) (int64, error) {
	var inserted int64
	err := db.tx(ctx, "insert the named records", func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &inserted, db.sql(`
			WITH new AS (INSERT INTO noggin_schema.noggin_data (tip, object_type, object_type_assumed)
				SELECT DISTINCT tip, $2, $3::boolean FROM unnest($1::text[]) AS tip ORDER BY tip ON CONFLICT DO NOTHING RETURNING 1),
			counted AS (INSERT INTO noggin_schema.record_counts
				SELECT $2, 'pending', false, count(*) FROM new HAVING count(*) > 0)
			SELECT count(*) FROM new`), pq.Array(tips), objectType, assumed)
	})
	return inserted, err
}

func tipsAndTokens(claims []Claim) (tips, tokens any) {
	t, n := make([]string, len(claims)), make([]int64, len(claims))
	for i, c := range claims {
		t[i], n[i] = c.Tip, c.Token
	}
	return pq.Array(t), pq.Array(n)
}

// DueCounts tells how many records wait: Due can be taken now, Later at NextAt.
type DueCounts struct {
	Due    int64      `db:"due" json:"due"`
	Later  int64      `db:"later" json:"later"`
	NextAt *time.Time `db:"next_at" json:"next_at"`
}

// CountDue counts the records that a run would take now or later.
func (db *DB) CountDue(ctx context.Context, s Selector) (DueCounts, error) {
	selected, args := s.where(1)
	var c DueCounts
	err := db.get(ctx, "count what is due", &c, `
		SELECT (SELECT count(*) FROM noggin_schema.noggin_data d WHERE d.processing_status = 'pending' `+selected+`)
		     + count(*) FILTER (WHERE coalesce(d.next_retry_at, '-infinity'::timestamptz) <= now()) AS due,
		       count(*) FILTER (WHERE d.next_retry_at > now()) AS later,
		       min(d.next_retry_at) FILTER (WHERE d.next_retry_at > now()) AS next_at
		FROM noggin_schema.noggin_data d
		WHERE d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
		  AND NOT d.permanently_failed `+selected, args...)
	return c, err
}
