package storage

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
)

// Backoff says when a record that did not succeed is due again:
// min(60 s × Multiplier^retry_count, 1 h), give or take a tenth.
type Backoff struct {
	Multiplier  float64
	MaxAttempts int // counted failures after which a record is permanently failed
}

// Download is how one attachment of a record ended in this run.
type Download struct {
	RecordTip    string  `json:"record_tip"`
	Tip          string  `json:"attachment_tip"`
	Status       string  `json:"status"` // complete or failed
	Validation   string  `json:"validation"`
	Filename     string  `json:"filename"`
	Path         *string `json:"path"`
	Size         *int64  `json:"size"`
	SHA256       *string `json:"sha256"`
	ContentType  *string `json:"content_type"`
	RejectedHash *string `json:"rejected_hash"`
	Error        *string `json:"error"`
	Seconds      float64 `json:"seconds"`   // how long it took
	Ago          float64 `json:"ago"`       // seconds since it ended
	Attempted    bool    `json:"attempted"` // false: adopted from disk, nothing was requested
}

// Failure is a row for processing_errors.
type Failure struct {
	Tip           string          `json:"tip"`
	AttachmentTip string          `json:"attachment_tip,omitempty"`
	Type          string          `json:"error_type"`
	Message       string          `json:"error_message"`
	Details       json.RawMessage `json:"error_details,omitempty"`
}

// Result is how a run's work on one record ended.
type Result struct {
	Tip        string     `json:"tip"`
	Token      int64      `json:"token"`
	ObjectType string     `json:"object_type"` // "" leaves it as it is
	Status     string     `json:"status"`
	Error      string     `json:"error"`
	Counted    bool       `json:"counted"`   // the failure counts against the record
	Permanent  bool       `json:"permanent"` // and is final at once
	Seconds    float64    `json:"seconds"`
	ReportPath *string    `json:"report_path"`
	ReportSize *int64     `json:"report_size"`
	ReportHash *string    `json:"report_hash"`
	Downloads  []Download `json:"-"`
	Failures   []Failure  `json:"-"`
}

// Finished is what became of a record.
type Finished struct {
	ClaimKey
	Status            string `db:"processing_status"`
	PermanentlyFailed bool   `db:"permanently_failed"`
}

// Finish writes results in one transaction: attachments, status, counts, when the
// record is due again, errors; and frees the claims. Results whose claim was lost
// are left out of what it returns. It may be repeated: a result that a lost COMMIT
// had written already is found by its token.
func (db *DB) Finish(ctx context.Context, run int64, results []Result, backoff Backoff) ([]Finished, error) {
	claims := make([]Claim, len(results))
	for i, r := range results {
		claims[i] = Claim{Tip: r.Tip, Token: r.Token}
	}
	var finished []Finished
	err := db.tx(ctx, "record the results", func(tx *sqlx.Tx) error {
		finished = finished[:0]
		keys, err := db.lockOwnedKeys(ctx, tx, run, claims)
		if err != nil {
			return err
		}
		owned := slices.DeleteFunc(slices.Clone(results), func(r Result) bool {
			return !slices.Contains(keys, ClaimKey{r.Tip, r.Token})
		})
		var downloads []Download
		var failures []Failure
		for i := range owned {
			owned[i].Error = cleanText(owned[i].Error)
			downloads, failures = append(downloads, owned[i].Downloads...), append(failures, owned[i].Failures...)
		}
		doc, err := json.Marshal(owned)
		if err != nil {
			return err
		}
		if err := db.writeDownloads(ctx, tx, downloads); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.noggin_data d SET
				processing_status = v.status, last_error_message = nullif(v.error, ''),
				object_type = coalesce(nullif(v.object_type, ''), d.object_type),
				retry_count = d.retry_count + v.counted::int,
				permanently_failed = CASE WHEN v.status = 'complete' THEN false
					WHEN v.counted THEN v.permanent OR d.retry_count + 1 >= $4::int ELSE d.permanently_failed END,
				next_retry_at = CASE v.status WHEN 'complete' THEN NULL WHEN 'interrupted' THEN now()
					ELSE now() + least(60 * power($3::float8, d.retry_count), 3600) * (0.9 + 0.2 * random()) * interval '1 second' END,
				total_attachments = (SELECT count(*) FROM noggin_schema.attachments a WHERE a.record_tip = d.tip),
				completed_attachment_count = (SELECT count(*) FROM noggin_schema.attachments a
					WHERE a.record_tip = d.tip AND a.attachment_status = 'complete'),
				report_path = coalesce(v.report_path, d.report_path),
				report_size_bytes = coalesce(v.report_size, d.report_size_bytes),
				report_hash_sha256 = coalesce(v.report_hash, d.report_hash_sha256),
				report_archive_id = CASE WHEN v.report_path IS NULL THEN d.report_archive_id END,
				archived = d.archived AND (v.status <> 'complete' OR `+inArchive+`), -- else an operator only said so
				archived_at = CASE WHEN NOT d.archived OR v.status <> 'complete' OR `+inArchive+` THEN d.archived_at END,
				processed_at = CASE WHEN v.status IN ('complete', 'partial', 'failed') THEN now() ELSE d.processed_at END,
				processing_seconds = v.seconds, crash_count = 0, claimed_by = NULL, claim_expires_at = NULL,
				retry_requested_by = NULL
			FROM jsonb_to_recordset($2::jsonb) AS v (tip text, token bigint, object_type text, status text, error text, counted boolean,
				permanent boolean, seconds float8, report_path text, report_size bigint, report_hash text)
			WHERE d.tip = v.tip AND d.claim_token = v.token AND d.claimed_by = $1`),
			run, string(doc), backoff.Multiplier, backoff.MaxAttempts); err != nil {
			return err
		}
		if err := db.writeFailures(ctx, tx, run, failures); err != nil {
			return err
		}
		// By token rather than from the UPDATE: an earlier try, whose COMMIT's
		// reply was lost, may have done it already.
		tips, tokens := tipsAndTokens(claims)
		return tx.SelectContext(ctx, &finished, db.sql(`
			SELECT d.tip, d.claim_token, d.processing_status, d.permanently_failed FROM noggin_schema.noggin_data d
			JOIN unnest($1::text[], $2::bigint[]) AS v (tip, token) ON d.tip = v.tip AND d.claim_token = v.token
			WHERE d.claimed_by IS NULL`), tips, tokens)
	})
	return finished, err
}

// lockOwned locks the records of those claims that are still the run's, and returns
// their tips.
func (db *DB) lockOwned(ctx context.Context, tx *sqlx.Tx, run int64, claims []Claim) ([]string, error) {
	keys, err := db.lockOwnedKeys(ctx, tx, run, claims)
	owned := make([]string, len(keys))
	for i, k := range keys {
		owned[i] = k.Tip
	}
	return owned, err
}

// lockOwnedKeys is lockOwned for claims that may name a record twice. The tokens are
// compared here: PostgreSQL cannot know how many records are claimed at a time, and
// plans a join of the tokens badly where it guesses none.
func (db *DB) lockOwnedKeys(ctx context.Context, tx *sqlx.Tx, run int64, claims []Claim) (owned []ClaimKey, err error) {
	tips, _ := tipsAndTokens(claims)
	err = tx.SelectContext(ctx, &owned, db.sql(`
		SELECT d.tip, d.claim_token FROM noggin_schema.noggin_data d
		WHERE d.tip = ANY($2::text[]) AND d.claimed_by = $1 ORDER BY d.tip FOR NO KEY UPDATE OF d`), run, tips)
	return sameToken(owned, claims), err
}

// sameToken returns those of the rows whose token is a claim's.
func sameToken(rows []ClaimKey, claims []Claim) []ClaimKey {
	tokens := make(map[ClaimKey]bool, len(claims))
	for _, c := range claims {
		tokens[ClaimKey{Tip: c.Tip, Token: c.Token}] = true
	}
	return slices.DeleteFunc(rows, func(k ClaimKey) bool { return !tokens[k] })
}

func (db *DB) writeDownloads(ctx context.Context, tx *sqlx.Tx, downloads []Download) error {
	if len(downloads) == 0 {
		return nil
	}
	for i := range downloads {
		if e := downloads[i].Error; e != nil {
			clean := cleanText(*e)
			downloads[i].Error = &clean
		}
	}
	doc, err := json.Marshal(downloads)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		UPDATE noggin_schema.attachments a SET
			attachment_status = v.status, attachment_validation_status = v.validation, filename = v.filename,
			file_path = coalesce(v.path, a.file_path), file_size_bytes = coalesce(v.size, a.file_size_bytes),
			file_hash_sha256 = coalesce(v.sha256, a.file_hash_sha256), content_type = coalesce(v.content_type, a.content_type),
			rejected_hash_sha256 = v.rejected_hash, last_error_message = v.error,
			download_started_at = CASE WHEN v.adopted AND a.download_started_at IS NOT NULL THEN a.download_started_at
				ELSE clock_timestamp() - (v.ago + v.seconds) * interval '1 second' END,
			download_completed_at = CASE WHEN v.adopted AND a.download_completed_at IS NOT NULL THEN a.download_completed_at
				WHEN v.status = 'complete' THEN clock_timestamp() - v.ago * interval '1 second' END,
			download_duration_seconds = CASE WHEN v.adopted THEN coalesce(a.download_duration_seconds, 0) ELSE v.seconds END,
			retry_count = a.retry_count + (v.status = 'failed')::int,
			archive_id = CASE WHEN v.path IS NULL THEN a.archive_id END
		FROM (SELECT *, status = 'complete' AND NOT attempted AS adopted FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text,
			attachment_tip text, status text, validation text, filename text, path text, size bigint, sha256 text, content_type text,
			rejected_hash text, error text, seconds float8, ago float8, attempted boolean)) AS v
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip`), string(doc))
	return err
}

func (db *DB) writeFailures(ctx context.Context, tx *sqlx.Tx, run int64, failures []Failure) error {
	if len(failures) == 0 {
		return nil
	}
	for i := range failures {
		failures[i].Message = cleanText(failures[i].Message)
	}
	doc, err := json.Marshal(failures)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.processing_errors (tip, attachment_tip, run_id, error_type, error_message, error_details)
		SELECT v.tip, v.attachment_tip, $1::bigint, v.error_type, v.error_message, v.error_details
		FROM jsonb_to_recordset($2::jsonb) AS v (tip text, attachment_tip text, error_type text, error_message text, error_details jsonb)`), run, string(doc))
	return err
}

// CountFailures counts failures against records after all: they ended uncounted
// because nothing had shown yet that the API was answering. A record that anybody
// touched since is left alone.
func (db *DB) CountFailures(ctx context.Context, results []Result, backoff Backoff) ([]Finished, error) {
	if len(results) == 0 {
		return nil, nil
	}
	doc, err := json.Marshal(results)
	if err != nil {
		return nil, err
	}
	var counted []Finished
	err = db.tx(ctx, "count the failures", func(tx *sqlx.Tx) error {
		counted = counted[:0]
		// The token moves, so that a repeated try finds nothing left to count.
		return tx.SelectContext(ctx, &counted, db.sql(`
			WITH v AS (SELECT d.tip, v.permanent FROM noggin_schema.noggin_data d
				JOIN jsonb_to_recordset($1::jsonb) AS v (tip text, token bigint, permanent boolean) ON d.tip = v.tip AND d.claim_token = v.token
				WHERE d.claimed_by IS NULL ORDER BY d.tip FOR NO KEY UPDATE OF d)
			UPDATE noggin_schema.noggin_data d SET retry_count = d.retry_count + 1, claim_token = d.claim_token + 1,
				permanently_failed = v.permanent OR d.retry_count + 1 >= $2::int
			FROM v WHERE d.tip = v.tip RETURNING d.tip, d.processing_status, d.permanently_failed`),
			string(doc), backoff.MaxAttempts)
	})
	return counted, err
}

// cleanText makes text fit for a PostgreSQL text column: valid UTF-8 without NUL,
// of a bearable length.
func cleanText(s string) string {
	const limit = 4000
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	cut := limit
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
