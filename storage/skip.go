package storage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// SkipRow is a record before `noggin skip` takes it out of the queue. It holds what
// an operator needs to recognise the record and what Unskip needs to bring it back.
type SkipRow struct {
	Tip               string     `db:"tip" json:"tip"`
	ObjectType        string     `db:"object_type" json:"object_type"`
	InspectionID      *string    `db:"inspection_id" json:"inspection_id"`
	ExpectedID        *string    `db:"expected_inspection_id" json:"expected_inspection_id"`
	InspectionDate    *string    `db:"inspection_date" json:"inspection_date"` // 2025-09-17
	ExpectedDate      *string    `db:"expected_inspection_date" json:"expected_inspection_date"`
	Status            Status     `db:"processing_status" json:"processing_status"`
	RetryCount        int        `db:"retry_count" json:"retry_count"`
	NextRetryAt       *time.Time `db:"next_retry_at" json:"next_retry_at"`
	PermanentlyFailed bool       `db:"permanently_failed" json:"permanently_failed"`
	LastError         *string    `db:"last_error_message" json:"last_error_message"`
}

// ChosenCount is the number of records of a form and status that a command chooses.
type ChosenCount struct {
	ObjectType string `db:"object_type" json:"object_type"`
	Status     Status `db:"processing_status" json:"processing_status"`
	Records    int64  `db:"records" json:"records"`
	Claimed    int64  `db:"claimed" json:"claimed"` // by a run, so left alone
}

// skippable are the unfinished records that the selector chooses to skip. Without a
// filter for failed records it chooses only records that never failed.
func (s Selector) skippable() (conditions string, args []any) {
	conditions, args = s.where(1)
	conditions += " AND d.processing_status NOT IN ('complete', 'skipped')"
	switch {
	case len(s.Tips) > 0, len(s.Statuses) > 0, s.Permanent:
	case s.ErrorType != "":
		conditions += " AND d.processing_status IN ('partial', 'failed', 'api_failed', 'interrupted')"
	default:
		conditions += " AND d.processing_status = 'pending'"
	}
	return conditions, args
}

// CountSkippable counts the records that the selector chooses to skip.
func (db *DB) CountSkippable(ctx context.Context, s Selector) ([]ChosenCount, error) {
	conditions, args := s.skippable()
	return db.countChosen(ctx, "count the records to skip", conditions, args)
}

func (db *DB) countChosen(ctx context.Context, what, conditions string, args []any) ([]ChosenCount, error) {
	var counts []ChosenCount
	err := db.selectAll(ctx, what, &counts, `
		SELECT d.object_type, d.processing_status, count(*) AS records, count(*) FILTER (WHERE NOT `+unclaimed+`) AS claimed
		FROM noggin_schema.noggin_data d WHERE true`+conditions+` GROUP BY 1, 2 ORDER BY 1, 2`, args...)
	return counts, err
}

// Skippable returns up to limit unclaimed records that the selector chooses to skip,
// in the order of their tips, after the given tip.
func (db *DB) Skippable(ctx context.Context, s Selector, after string, limit int) ([]SkipRow, error) {
	conditions, args := s.skippable()
	args = append(args, after, limit)
	var rows []SkipRow
	err := db.selectAll(ctx, "list the records to skip", &rows, `
		SELECT d.tip, d.object_type, d.inspection_id, d.expected_inspection_id, d.inspection_date::text AS inspection_date,
		       d.expected_inspection_date::text AS expected_inspection_date, d.processing_status, d.retry_count, d.next_retry_at,
		       d.permanently_failed, d.last_error_message
		FROM noggin_schema.noggin_data d
		WHERE `+unclaimed+conditions+` AND d.tip > `+placeholder(len(args)-1)+` ORDER BY d.tip LIMIT `+placeholder(len(args)), args...)
	return rows, err
}

// Skip takes the records out of the queue and stores the reason as their last error.
// It leaves claimed records alone, and those whose status changed. It returns how many
// are skipped and may be repeated.
func (db *DB) Skip(ctx context.Context, rows []SkipRow, reason string) (int, error) {
	tips, statuses := make([]string, len(rows)), make([]Status, len(rows))
	for i, r := range rows {
		tips[i], statuses[i] = r.Tip, r.Status
	}
	reason = cleanText(reason)
	var skipped int
	err := db.tx(ctx, "skip records", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, db.sql(`
			WITH chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d
				JOIN unnest($1::text[], $2::text[]) AS v (tip, status) ON d.tip = v.tip AND d.processing_status = v.status
				WHERE `+unclaimed+` ORDER BY d.tip FOR UPDATE OF d SKIP LOCKED)
			UPDATE noggin_schema.noggin_data d
			SET processing_status = 'skipped', last_error_message = $3, next_retry_at = NULL, permanently_failed = false,
			    retry_requested_by = NULL, claimed_by = NULL, claim_expires_at = NULL, claim_token = d.claim_token + 1
			FROM chosen WHERE d.tip = chosen.tip`), pq.Array(tips), pq.Array(statuses), reason); err != nil {
			return err
		}
		// Counted separately: an earlier try, whose COMMIT's reply was lost, may have
		// skipped them.
		return tx.GetContext(ctx, &skipped, db.sql(`SELECT count(*) FROM noggin_schema.noggin_data d
			WHERE d.tip = ANY($1::text[]) AND d.processing_status = 'skipped' AND d.last_error_message = $2`), pq.Array(tips), reason)
	})
	return skipped, err
}

// Unskip restores the state in the rows to records that are still skipped, and returns
// how many it restored.
func (db *DB) Unskip(ctx context.Context, rows []SkipRow) (int, error) {
	doc, err := json.Marshal(rows)
	if err != nil {
		return 0, err
	}
	restored := map[string]bool{} // over all tries: the reply to a COMMIT may be lost
	err = db.tx(ctx, "bring back skipped records", func(tx *sqlx.Tx) error {
		var tips []string
		if err := tx.SelectContext(ctx, &tips, db.sql(`
			WITH v AS (SELECT v.* FROM jsonb_to_recordset($1::jsonb) AS v (tip text, processing_status text, retry_count integer,
					next_retry_at timestamptz, permanently_failed boolean, last_error_message text)
				JOIN noggin_schema.noggin_data d ON d.tip = v.tip
				WHERE d.processing_status = 'skipped' AND `+unclaimed+` ORDER BY d.tip FOR UPDATE OF d)
			UPDATE noggin_schema.noggin_data d
			SET processing_status = v.processing_status, retry_count = v.retry_count, next_retry_at = v.next_retry_at,
			    permanently_failed = v.permanently_failed, last_error_message = v.last_error_message, claim_token = d.claim_token + 1
			FROM v WHERE d.tip = v.tip RETURNING d.tip`), string(doc)); err != nil {
			return err
		}
		for _, tip := range tips {
			restored[tip] = true
		}
		return nil
	})
	return len(restored), err
}
