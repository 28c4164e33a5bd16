package storage

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// crashLimit is the crash_count from which a run takes a record last and alone.
const crashLimit = 3

// Claim is a record that a run has claimed. Token is the fencing token: a write with
// an older token changes nothing.
type Claim struct {
	Tip               string `db:"tip" json:"tip"`
	Token             int64  `db:"claim_token" json:"token"`
	ObjectType        string `db:"object_type" json:"-"`
	ObjectTypeAssumed bool   `db:"object_type_assumed" json:"-"`
	Status            Status `db:"processing_status" json:"-"` // when it was claimed
	RetryCount        int    `db:"retry_count" json:"-"`
	CrashCount        int    `db:"crash_count" json:"-"`
	FailedBefore      bool   `db:"failed_before" json:"-"` // since it was complete
	Renewed           bool   `db:"renewed" json:"-"`       // by [DB.Renew]
	Completed         bool   `db:"completed" json:"-"`     // it was complete once
	// RefreshStep is the step of the refresh that is due; -1: none is.
	RefreshStep int `db:"refresh_step" json:"-"`
}

// ClaimRequest says which records a run wants to claim.
type ClaimRequest struct {
	Run      int64
	Limit    int           // records
	Retries  int           // of them retries, unless there are too few new records
	Lease    time.Duration // how long the claim holds, unless it is renewed
	Selector Selector      // Tips makes any record claimable, whatever its status
	Crashing bool          // take records past crashLimit instead, one at a time; first what crashed the fewest runs
	Refresh  bool          // take complete records that the selector chooses instead, due or not, in the order of their tips
	After    string        // with Refresh: the tip after which to go on
	Reached  *Reached      // of the run; nil: the claim begins at the queue's first entry
	// InHand are the tips of all claims that the run knows. Claim takes other records
	// that the run has claimed again. nil: it takes none again.
	InHand []string
}

// The conditions under which a run takes a record. The statuses are literals, so that
// the planner can use the partial indexes.
const (
	unclaimed = `(d.claim_expires_at IS NULL OR d.claim_expires_at < now())`
	// claimable also holds for a record that run $1 claimed without knowing it.
	claimable = `(` + unclaimed + ` OR d.claimed_by = $1 AND d.tip <> ALL ($4::text[]))`
	// unfinished are all retries, due or later.
	unfinished = `d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
		AND NOT d.permanently_failed AND d.crash_count < 3`
	dueRetry = unfinished + ` AND coalesce(d.next_retry_at, '-infinity'::timestamptz) <= now()`
	// firstInQueue comes before every queue_order.
	firstInQueue = `'-9223372036854775808'::bigint`
	// paused holds during `noggin maintain pause`.
	paused = `EXISTS (SELECT FROM noggin_schema.pause p WHERE p.paused_until IS NULL OR p.paused_until > now())`

	dueFresh   = `d.processing_status = 'pending' AND d.crash_count < 3`
	dueCrashed = `d.crash_count >= 3 AND coalesce(d.next_retry_at, '-infinity'::timestamptz) <= now()
		AND (d.processing_status = 'pending' OR NOT d.permanently_failed
			AND d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
			OR d.processing_status = 'complete' AND EXISTS (SELECT FROM noggin_schema.refreshes r WHERE r.record_tip = d.tip AND r.due_at <= now()))`
	// crashing are the records past crashLimit that a run takes, now or later.
	crashing = `d.crash_count >= 3 AND (d.processing_status = 'pending' OR NOT d.permanently_failed
			AND d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
		OR d.processing_status = 'complete' AND EXISTS (SELECT FROM noggin_schema.refreshes r WHERE r.record_tip = d.tip AND r.due_at IS NOT NULL))`
	// dueRefreshes are complete records that are asked for again. f is their refresh.
	dueRefreshes = `noggin_schema.refreshes f JOIN noggin_schema.noggin_data d ON d.tip = f.record_tip
		WHERE f.due_at <= now() AND d.processing_status = 'complete' AND d.crash_count < 3`
)

// Claim claims up to r.Limit due records: first r.Retries retries, then new records,
// then further retries, then complete records that are to be asked for again. A record whose last claim ran out gets a higher crash count,
// because its run vanished. A run does not know its claims when the reply to their
// COMMIT is lost. As they are not in r.InHand, this or a later Claim takes them again.
func (db *DB) Claim(ctx context.Context, r ClaimRequest) ([]Claim, error) {
	if r.Reached == nil || len(r.Selector.Tips) > 0 || r.Refresh || r.Crashing {
		claims, _, err := db.claimFrom(ctx, r, position{})
		return claims, err
	}
	from := r.Reached.start()
	claims, to, err := db.claimFrom(ctx, r, from)
	if err == nil && len(claims) == 0 && from != (position{}) {
		claims, to, err = db.claimFrom(ctx, r, position{})
	}
	if err == nil {
		r.Reached.advance(to, len(claims) < r.Limit)
	}
	return claims, err
}

// claimFrom claims records from a position in the queue on, and returns the position that
// it reached.
func (db *DB) claimFrom(ctx context.Context, r ClaimRequest, from position) ([]Claim, position, error) {
	args := []any{r.Run, r.Lease.Seconds(), r.Limit, pq.Array(r.InHand)}
	selected, selectedArgs := r.Selector.where(len(args) + 1)
	args = append(args, selectedArgs...)
	var chosen string
	reached := `NULL::text AS reached_retry, NULL::bigint AS reached_fresh, NULL::text AS reached_refresh`
	switch {
	case len(r.Selector.Tips) > 0:
		chosen = `chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + claimable + selected + `
			ORDER BY d.tip LIMIT $3 FOR UPDATE SKIP LOCKED)`
	case r.Refresh:
		args = append(args, r.After)
		chosen = `chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE d.processing_status = 'complete' AND ` + claimable + selected + `
			AND d.tip > ` + placeholder(len(args)) + ` ORDER BY d.tip LIMIT $3 FOR UPDATE SKIP LOCKED)`
	case r.Crashing:
		chosen = `chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + dueCrashed + ` AND ` + claimable + selected + `
			ORDER BY d.crash_count, coalesce(d.next_retry_at, '-infinity'::timestamptz) LIMIT $3 FOR UPDATE SKIP LOCKED)`
	default:
		args = append(args, r.Retries, from.Retry, from.Fresh, from.Refresh)
		n := len(args)
		retries := placeholder(n - 3)
		due := `d.tip, coalesce(d.next_retry_at, '-infinity'::timestamptz) AS at FROM noggin_schema.noggin_data d WHERE ` + dueRetry + `
			AND coalesce(d.next_retry_at, '-infinity'::timestamptz) >= coalesce(` + placeholder(n-2) + `::timestamptz, '-infinity') AND ` + claimable + selected
		chosen = `first_retries AS (SELECT ` + due + `
				ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz) LIMIT ` + retries + ` FOR UPDATE SKIP LOCKED),
			fresh AS (SELECT d.tip, d.queue_order AS at FROM noggin_schema.noggin_data d WHERE ` + dueFresh + `
				AND d.queue_order >= coalesce(` + placeholder(n-1) + `::bigint, ` + firstInQueue + `) AND ` + claimable + selected + `
				ORDER BY d.queue_order LIMIT $3 - (SELECT count(*) FROM first_retries) FOR UPDATE SKIP LOCKED),
			more_retries AS (SELECT ` + due + `
				AND d.tip NOT IN (SELECT tip FROM first_retries)
				ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz)
				LIMIT $3 - (SELECT count(*) FROM first_retries) - (SELECT count(*) FROM fresh) FOR UPDATE SKIP LOCKED),
			refreshes AS (SELECT d.tip, f.due_at AS at FROM ` + dueRefreshes + ` AND f.due_at >= coalesce(` + placeholder(n) + `::timestamptz, '-infinity')
				AND ` + claimable + selected + `
				ORDER BY f.due_at LIMIT $3 - (SELECT count(*) FROM first_retries) - (SELECT count(*) FROM fresh) - (SELECT count(*) FROM more_retries)
				FOR UPDATE OF d SKIP LOCKED),
			chosen AS (SELECT tip FROM first_retries UNION ALL SELECT tip FROM fresh UNION ALL SELECT tip FROM more_retries
				UNION ALL SELECT tip FROM refreshes)`
		// With fewer retries than wanted, all that are due by now were seen.
		reached = `(SELECT CASE WHEN count(*) < ` + retries + ` THEN now() ELSE max(at) END FROM first_retries)::text AS reached_retry,
			(SELECT max(at) FROM fresh) AS reached_fresh, (SELECT max(at) FROM refreshes)::text AS reached_refresh`
	}
	var rows []struct {
		Claim
		position
	}
	// The pause is part of the statement: no record is claimed after it began.
	// The planner expects few rows from an array. From a join it expects a tenth of the
	// queue and reads the whole table.
	err := changeAll(ctx, db, "claim records", &rows, `WITH `+chosen+`, claimed AS (
		UPDATE noggin_schema.noggin_data d
		SET claimed_by = $1, claim_expires_at = now() + $2 * interval '1 second', claim_token = d.claim_token + 1,
		    crash_count = d.crash_count + (d.claimed_by IS NOT NULL AND `+unclaimed+`)::int
		WHERE d.tip = ANY (ARRAY(SELECT tip FROM chosen WHERE NOT `+paused+`))
		RETURNING d.tip, d.claim_token, d.object_type, d.object_type_assumed, d.processing_status, d.retry_count, d.crash_count,
		          d.retry_count > 0 OR d.failing_since IS NOT NULL AS failed_before,
		          d.completed_at IS NOT NULL OR d.processing_status = 'complete' AS completed,
		          CASE WHEN d.processing_status = 'complete' THEN coalesce((SELECT f.step FROM noggin_schema.refreshes f
		              WHERE f.record_tip = d.tip AND f.due_at <= now()), -1) ELSE -1 END AS refresh_step)
		SELECT *, `+reached+` FROM claimed`, args...)
	if err != nil || len(rows) == 0 {
		return nil, position{}, err
	}
	claims := make([]Claim, len(rows))
	for i := range rows {
		claims[i] = rows[i].Claim
	}
	return claims, rows[0].position, nil
}

// Renew extends the lease of every claim and returns the claims that the run still
// has. A record whose row another session has locked keeps its lease as it is: nobody can
// claim it either. Its claim is returned without Renewed.
func (db *DB) Renew(ctx context.Context, run int64, claims []Claim, lease time.Duration) (kept []Claim, err error) {
	tips, tokens := tipsAndTokens(claims)
	err = changeAll(ctx, db, "renew the claims", &kept, `
		-- free asks for the owner again: Finish may have ended the claim since the snapshot, and leaves the token.
		WITH ours AS MATERIALIZED (SELECT n.tip, n.claim_token FROM noggin_schema.noggin_data n
			JOIN unnest($2::text[], $3::bigint[]) AS v (tip, token) ON n.tip = v.tip AND n.claim_token = v.token AND n.claimed_by = $1),
		free AS (SELECT n.tip FROM ours JOIN noggin_schema.noggin_data n ON n.tip = ours.tip AND n.claim_token = ours.claim_token AND n.claimed_by = $1
			ORDER BY n.tip FOR UPDATE OF n SKIP LOCKED),
		renewed AS (UPDATE noggin_schema.noggin_data d SET claim_expires_at = now() + $4 * interval '1 second'
			FROM free WHERE d.tip = free.tip RETURNING d.tip)
		SELECT ours.tip, ours.claim_token, renewed.tip IS NOT NULL AS renewed FROM ours LEFT JOIN renewed ON renewed.tip = ours.tip`,
		run, tips, tokens, lease.Seconds())
	return kept, err
}

// Release frees claims on which no work was done.
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

// EnsureRecords inserts the new tips as pending records of the given form and returns
// how many were new. assumed says that only a default named the form.
func (db *DB) EnsureRecords(ctx context.Context, tips []string, objectType string, assumed bool) (inserted int64, err error) {
	err = db.changeGet(ctx, "insert the named records", &inserted, `
		WITH new AS (INSERT INTO noggin_schema.noggin_data (tip, object_type, object_type_assumed)
			SELECT DISTINCT tip, $2, $3::boolean FROM unnest($1::text[]) AS tip ORDER BY tip ON CONFLICT DO NOTHING RETURNING 1),
		counted AS (INSERT INTO noggin_schema.record_counts
			SELECT $2, 'pending', false, count(*) FROM new HAVING count(*) > 0)
		SELECT count(*) FROM new`, pq.Array(tips), objectType, assumed)
	return inserted, err
}

func tipsAndTokens(claims []Claim) (tips, tokens any) {
	t, n := make([]string, len(claims)), make([]int64, len(claims))
	for i, c := range claims {
		t[i], n[i] = c.Tip, c.Token
	}
	return pq.Array(t), pq.Array(n)
}

// DueCounts counts waiting records: Due can be taken now, Later from NextAt on.
type DueCounts struct {
	Due    int64      `db:"due" json:"due"`
	Later  int64      `db:"later" json:"later"`
	NextAt *time.Time `db:"next_at" json:"next_at"`
}

// CountDue counts the records that a run takes now or later, without complete ones. It
// reads the queue and no finished record.
func (db *DB) CountDue(ctx context.Context, s Selector) (DueCounts, error) {
	selected, args := s.where(1)
	var c DueCounts
	err := db.get(ctx, "count what is due", &c, `
		SELECT count(*) FILTER (WHERE coalesce(q.at, '-infinity'::timestamptz) <= now()) AS due,
		       count(*) FILTER (WHERE q.at > now()) AS later, min(q.at) FILTER (WHERE q.at > now()) AS next_at
		FROM (SELECT NULL::timestamptz AS at FROM noggin_schema.noggin_data d WHERE `+dueFresh+selected+`
			UNION ALL
			SELECT d.next_retry_at FROM noggin_schema.noggin_data d WHERE `+unfinished+selected+`
			UNION ALL
			SELECT CASE WHEN d.processing_status <> 'pending' THEN d.next_retry_at END FROM noggin_schema.noggin_data d
			WHERE d.crash_count >= 3 AND (d.processing_status = 'pending' OR NOT d.permanently_failed
				AND d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed'))`+selected+`) AS q`, args...)
	return c, err
}

// CountNamed counts the records named by tip that a run can claim now, whatever their
// status, new ones included, and those that another run is at work on.
func (db *DB) CountNamed(ctx context.Context, s Selector) (free, busy int64, err error) {
	var n struct {
		Free int64 `db:"free"`
		Busy int64 `db:"busy"`
	}
	err = db.get(ctx, "count the named records", &n, `
		SELECT count(*) FILTER (WHERE d.tip IS NULL OR `+unclaimed+`) AS free, count(*) FILTER (WHERE NOT `+unclaimed+`) AS busy
		FROM (SELECT DISTINCT unnest($1::text[]) AS tip) AS named LEFT JOIN noggin_schema.noggin_data d USING (tip)`, pq.Array(s.Tips))
	return n.Free, n.Busy, err
}

// LeftOut is a record that a selector names by tip and its other conditions leave out.
type LeftOut struct {
	Tip        string `db:"tip"`
	ObjectType string `db:"object_type"`
	Status     Status `db:"processing_status"`
}

// LeftOut returns the records that the selector names by tip and leaves out.
func (db *DB) LeftOut(ctx context.Context, s Selector) (left []LeftOut, err error) {
	selected, args := s.where(2)
	err = db.selectAll(ctx, "look for named records that are left out", &left, `
		SELECT n.tip, n.object_type, n.processing_status FROM noggin_schema.noggin_data n WHERE n.tip = ANY ($1::text[])
		AND NOT EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.tip = n.tip`+selected+`) ORDER BY n.tip`,
		append([]any{pq.Array(s.Tips)}, args...)...)
	return left, err
}

// CountRefreshes counts the complete records that a run asks for again now.
func (db *DB) CountRefreshes(ctx context.Context, s Selector) (n int64, err error) {
	selected, args := s.where(1)
	err = db.get(ctx, "count what is to be asked for again", &n, `SELECT count(*) FROM `+dueRefreshes+selected, args...)
	return n, err
}

// CountComplete counts the complete records that the selector chooses.
func (db *DB) CountComplete(ctx context.Context, s Selector) (int64, error) {
	selected, args := s.where(1)
	var n int64
	err := db.get(ctx, "count the complete records", &n, `
		SELECT count(*) FROM noggin_schema.noggin_data d WHERE d.processing_status = 'complete'`+selected, args...)
	return n, err
}
