package storage

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Backoff says when a failed record is due again, and when it is given up. It is due
// after min(60 s × Multiplier^retry_count, 1 h), or after a tenth of the time for which
// it fails, if that is longer; at most after 1 h; plus or minus a tenth.
type Backoff struct {
	Multiplier  float64
	MaxAttempts int // counted failures after which a record is permanently failed
	// GiveUpAfter is how long a record must fail as well, if its failures may pass.
	GiveUpAfter time.Duration
	// AskAgain are the times after which a complete record is asked for again, counted
	// from when its current version was stored. Empty: never.
	AskAgain []time.Duration
}

// Download is the result of one attachment in this run.
type Download struct {
	RecordTip    string           `json:"record_tip"`
	Tip          string           `json:"attachment_tip"`
	Status       AttachmentStatus `json:"status"` // complete or failed
	Validation   Validation       `json:"validation"`
	Filename     string           `json:"filename"`
	Path         *string          `json:"path"`
	Size         *int64           `json:"size"`
	SHA256       *string          `json:"sha256"`
	ContentType  *string          `json:"content_type"`
	RejectedHash *string          `json:"rejected_hash"`
	Error        *string          `json:"error"`
	Planned      int              `json:"planned"`   // attachments that were stored; a complete record has as many rows
	Seconds      float64          `json:"seconds"`   // its duration
	Ago          float64          `json:"ago"`       // seconds since its end
	Attempted    bool             `json:"attempted"` // false: adopted from disk, without a request
	Replaces     bool             `json:"-"`         // the former bytes are whole and become a former file
}

// Failure is a row for processing_errors.
type Failure struct {
	Tip           string          `json:"tip"`
	AttachmentTip string          `json:"attachment_tip,omitempty"`
	Type          string          `json:"error_type"`
	Message       string          `json:"error_message"`
	Details       json.RawMessage `json:"error_details,omitempty"`
}

// Result is the result of a run's work on one record.
type Result struct {
	Tip        string     `json:"tip"`
	Token      int64      `json:"token"`
	ObjectType string     `json:"object_type"` // "": unchanged
	Status     Status     `json:"status"`
	Error      string     `json:"error"`
	Planned    int        `json:"planned"` // attachments of the stored answer; a complete record has a row for each
	Seconds    float64    `json:"seconds"`
	ReportPath *string    `json:"report_path"`
	ReportSize *int64     `json:"report_size"`
	ReportHash *string    `json:"report_hash"`
	Downloads  []Download `json:"-"`
	Failures   []Failure  `json:"-"`
	// FormerReport is the copy of the text report that the new one replaced.
	FormerReport *FormerFile `json:"-"`
	// Document are the words by which the record is found, with blanks between them; "": as
	// they are.
	Document string      `json:"-"`
	Suspects []Suspect   `json:"-"`
	Served   []Served    `json:"-"`
	Found    []FoundFile `json:"-"`
	// Again makes a record that failed due again the next day, as one that was complete
	// once; false: by the backoff.
	Again bool `json:"again"`
	// HTTPStatus is that of the answer; 0: none came.
	HTTPStatus int `json:"http_status"`
}

// Finished is the state of a record after [DB.Finish].
type Finished struct {
	ClaimKey
	Status            Status     `db:"processing_status"`
	PermanentlyFailed bool       `db:"permanently_failed"`
	InspectionID      *string    `db:"inspection_id"` // by the answer, or by the import
	NextRetryAt       *time.Time `db:"next_retry_at"`
}

// finishedColumns are those of [Finished], but for the token.
const finishedColumns = "d.tip, d.processing_status, d.permanently_failed, coalesce(d.inspection_id, d.expected_inspection_id) AS inspection_id, d.next_retry_at"

// Finish writes results in one transaction and frees the claims: attachments, status,
// counts, the time of the next retry, errors. It returns the records whose claim still
// held. It may be repeated: the token finds a result that an earlier try wrote. It
// returns [ErrBusy] soon when another session holds a lock.
func (db *DB) Finish(ctx context.Context, run int64, results []Result, backoff Backoff) ([]Finished, error) {
	return settle(ctx, db, "record the results", run, results, func(tx *sqlx.Tx, owned []Result) error {
		var downloads []Download
		var failures []Failure
		var suspects []Suspect
		var served []Served
		var onDisk []FoundFile
		var found, documents []string
		for i := range owned {
			if owned[i].Document != "" {
				found, documents = append(found, owned[i].Tip), append(documents, owned[i].Document)
			}
			owned[i].Error = cleanText(owned[i].Error)
			downloads, failures = append(downloads, owned[i].Downloads...), append(failures, owned[i].Failures...)
			suspects, onDisk = append(suspects, owned[i].Suspects...), append(onDisk, owned[i].Found...)
			served = append(served, owned[i].Served...)
		}
		doc, err := json.Marshal(owned)
		if err != nil {
			return err
		}
		if err := db.writeFormer(ctx, tx, owned); err != nil {
			return err
		}
		if err := db.writeSuspects(ctx, tx, suspects); err != nil {
			return err
		}
		if err := db.writeFound(ctx, tx, onDisk); err != nil {
			return err
		}
		if err := db.writeServed(ctx, tx, served); err != nil {
			return err
		}
		if err := db.writeDownloads(ctx, tx, downloads); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.noggin_data d SET
				processing_status = v.status, last_error_message = nullif(v.error, ''),
				object_type = coalesce(nullif(v.object_type, ''), d.object_type),
				permanently_failed = d.permanently_failed AND v.status <> 'complete',
				failing_since = CASE WHEN v.status IN ('partial', 'failed', 'api_failed') THEN coalesce(d.failing_since, now())
					WHEN v.status <> 'complete' THEN d.failing_since END,
				first_failed_at = CASE WHEN v.status <> 'complete' THEN d.first_failed_at END,
				next_retry_at = CASE v.status WHEN 'complete' THEN NULL WHEN 'interrupted' THEN now()
					ELSE CASE WHEN v.again THEN now() + interval '1 day' ELSE now() + least(greatest(60 * exp(least(ln(greatest($3::float8, 1)) * d.retry_count, 10)), extract(epoch FROM now() - d.failing_since) / 10), 3600)
						* (0.9 + 0.2 * random()) * interval '1 second' END END,
				`+countAgain+`,
				report_path = coalesce(v.report_path, d.report_path),
				report_size_bytes = coalesce(v.report_size, d.report_size_bytes),
				report_hash_sha256 = coalesce(v.report_hash, d.report_hash_sha256),
				report_archive_id = CASE WHEN v.report_path IS NULL THEN d.report_archive_id END,
				report_version = CASE WHEN v.report_path IS NULL THEN d.report_version ELSE d.version END,
				archived = d.archived AND (v.status <> 'complete' OR `+inArchive+`), -- an operator may have set it
				archived_at = CASE WHEN NOT d.archived OR v.status <> 'complete' OR `+inArchive+` THEN d.archived_at END,
				processed_at = CASE WHEN v.status IN ('complete', 'partial', 'failed') THEN now() ELSE d.processed_at END,
				processing_seconds = v.seconds, crash_count = 0, claimed_by = NULL, claim_expires_at = NULL,
				retry_requested_by = NULL
			FROM (SELECT g.tip, g.token, g.object_type, g.seconds, g.report_path, g.report_size, g.report_hash, g.again,
					CASE WHEN c.lost THEN 'interrupted' ELSE g.status END AS status,
					CASE WHEN c.lost THEN 'interrupted: somebody deleted rows of its attachments meanwhile' ELSE g.error END AS error
				FROM jsonb_to_recordset($2::jsonb) AS g (tip text, token bigint, object_type text, status text, error text, planned int,
					seconds float8, report_path text, report_size bigint, report_hash text, again boolean),
				LATERAL (SELECT g.status = 'complete' AND g.planned > (SELECT count(*) FROM noggin_schema.attachments a
					WHERE a.record_tip = g.tip) AS lost) AS c) AS v
			WHERE d.tip = v.tip AND d.claim_token = v.token AND d.claimed_by = $1`),
			run, string(doc), backoff.Multiplier); err != nil {
			return err
		}
		if err := db.writeSearch(ctx, tx, found, documents); err != nil {
			return err
		}
		if err := db.writeFailures(ctx, tx, run, failures); err != nil {
			return err
		}
		return db.scheduleRefreshes(ctx, tx, owned, backoff.AskAgain)
	})
}

// claimed is the outcome of work under a claim.
type claimed interface{ key() ClaimKey }

func (r Result) key() ClaimKey { return ClaimKey{r.Tip, r.Token} }

func (a Asking) key() ClaimKey { return ClaimKey{a.Tip, a.Token} }

// settle has write record the outcomes whose claims the run still has, in one transaction,
// and end those claims. It returns the records of all outcomes whose claims ended so, also
// in an earlier try, whose COMMIT's reply was lost: their tokens tell.
func settle[O claimed](ctx context.Context, db *DB, what string, run int64, outcomes []O, write func(*sqlx.Tx, []O) error) ([]Finished, error) {
	claims := make([]Claim, len(outcomes))
	for i, o := range outcomes {
		claims[i] = Claim{Tip: o.key().Tip, Token: o.key().Token}
	}
	var ended []Finished
	err := db.txUnlessBusy(ctx, what, func(tx *sqlx.Tx) error {
		ended = ended[:0]
		keys, err := db.lockOwnedKeys(ctx, tx, run, claims)
		if err != nil {
			return err
		}
		owned := slices.DeleteFunc(slices.Clone(outcomes), func(o O) bool { return !slices.Contains(keys, o.key()) })
		if err := write(tx, owned); err != nil {
			return err
		}
		tips, tokens := tipsAndTokens(claims)
		return tx.SelectContext(ctx, &ended, db.sql(`
			SELECT d.claim_token, `+finishedColumns+` FROM noggin_schema.noggin_data d
			JOIN unnest($1::text[], $2::bigint[]) AS v (tip, token) ON d.tip = v.tip AND d.claim_token = v.token
			WHERE d.claimed_by IS NULL`), tips, tokens)
	})
	return ended, err
}

// lockOwned locks the records whose claims the run still has, and returns their tips.
func (db *DB) lockOwned(ctx context.Context, tx *sqlx.Tx, run int64, claims []Claim) ([]string, error) {
	keys, err := db.lockOwnedKeys(ctx, tx, run, claims)
	owned := make([]string, len(keys))
	for i, k := range keys {
		owned[i] = k.Tip
	}
	return owned, err
}

// lockOwnedKeys is lockOwned for claims that may name a record twice. Go compares the
// tokens, because PostgreSQL plans a join of the tokens badly: it does not know how
// many records are claimed.
func (db *DB) lockOwnedKeys(ctx context.Context, tx *sqlx.Tx, run int64, claims []Claim) (owned []ClaimKey, err error) {
	tips, _ := tipsAndTokens(claims)
	err = tx.SelectContext(ctx, &owned, db.sql(`
		SELECT d.tip, d.claim_token FROM noggin_schema.noggin_data d
		WHERE d.tip = ANY($2::text[]) AND d.claimed_by = $1 ORDER BY d.tip FOR NO KEY UPDATE OF d`), run, tips)
	return sameToken(owned, claims), err
}

// sameToken returns the rows that have the token of a claim.
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
			rejected_hash_sha256 = v.rejected_hash, last_error_message = v.error, former_served_at = NULL,
			download_started_at = CASE WHEN v.adopted AND a.download_started_at IS NOT NULL THEN a.download_started_at
				ELSE clock_timestamp() - (v.ago + v.seconds) * interval '1 second' END,
			download_completed_at = CASE WHEN v.adopted AND a.download_completed_at IS NOT NULL THEN a.download_completed_at
				WHEN v.status = 'complete' THEN clock_timestamp() - v.ago * interval '1 second' END,
			download_duration_seconds = CASE WHEN v.adopted THEN coalesce(a.download_duration_seconds, 0) ELSE v.seconds END,
			retry_count = a.retry_count + (v.status = 'failed')::int,
			archive_id = CASE WHEN v.path IS NULL THEN a.archive_id END,
			first_version = CASE WHEN v.path <> a.file_path AND v.sha256 IS DISTINCT FROM lower(a.file_hash_sha256)
				THEN (SELECT d.version FROM noggin_schema.noggin_data d WHERE d.tip = a.record_tip) ELSE a.first_version END
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

// CountedFailure is a failure that counts against its record.
type CountedFailure struct {
	Tip     string `json:"tip"`
	Token   int64  `json:"token"`   // of the claim under which the record failed
	Final   bool   `json:"final"`   // the record is given up at once
	Passing bool   `json:"passing"` // the failure may pass: see [Backoff.GiveUpAfter]
	// Kept says that the record was complete once and the API does not give it any more. It
	// does not count against the record, which is missing from then on.
	Kept bool `json:"kept"`
}

// CountFailures counts failures against records. [DB.Finish] does not, as at that time
// nothing shows whose fault they are. It leaves alone records that changed since.
func (db *DB) CountFailures(ctx context.Context, failures []CountedFailure, backoff Backoff) ([]Finished, error) {
	if len(failures) == 0 {
		return nil, nil
	}
	doc, err := json.Marshal(failures)
	if err != nil {
		return nil, err
	}
	tips := make([]string, len(failures)) // the planner knows how many they are, and takes the index
	for i := range failures {
		tips[i] = failures[i].Tip
	}
	counted := map[string]Finished{} // over all tries: the reply to a COMMIT may be lost
	err = db.tx(ctx, "count the failures", func(tx *sqlx.Tx) error {
		if err := db.noteMissing(ctx, tx, string(doc), tips); err != nil {
			return err
		}
		// The token changes, so that a repeated try counts nothing twice.
		var rows []Finished
		if err := tx.SelectContext(ctx, &rows, db.sql(`
			WITH v AS (SELECT d.tip, v.final, v.passing FROM noggin_schema.noggin_data d
				JOIN jsonb_to_recordset($1::jsonb) AS v (tip text, token bigint, final boolean, passing boolean, kept boolean)
				ON d.tip = v.tip AND d.claim_token = v.token AND NOT v.kept
				WHERE d.tip = ANY($4) AND d.claimed_by IS NULL ORDER BY d.tip FOR NO KEY UPDATE OF d)
			UPDATE noggin_schema.noggin_data d SET retry_count = d.retry_count + 1, claim_token = d.claim_token + 1,
				first_failed_at = coalesce(d.first_failed_at, now()),
				permanently_failed = v.final OR d.retry_count + 1 >= $2::int
					AND (NOT v.passing OR coalesce(d.first_failed_at, now()) <= now() - $3 * interval '1 second')
			FROM v WHERE d.tip = v.tip AND d.tip = ANY($4) RETURNING `+finishedColumns),
			string(doc), backoff.MaxAttempts, backoff.GiveUpAfter.Seconds(), pq.Array(tips)); err != nil {
			return err
		}
		for _, r := range rows {
			counted[r.Tip] = r
		}
		return nil
	})
	return slices.Collect(maps.Values(counted)), err
}

// cleanText makes text fit for a text column: valid UTF-8 without NUL, at most 4000
// bytes and an ellipsis.
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
