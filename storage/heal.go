package storage

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// StaleRecord is a claimed record whose names changed, with what healing needs to
// write its columns and its text report again.
type StaleRecord struct {
	Tip          string  `db:"tip"`
	Token        int64   `db:"claim_token"`
	ObjectType   string  `db:"object_type"`
	InspectionID *string `db:"inspection_id"`
	Folder       *string `db:"folder"`
	ReportPath   *string `db:"report_path"`  // nil also while it shows a former version
	PayloadSize  int64   `db:"payload_size"` // bytes in the database, compressed; 0 without an answer

	References  []Reference
	Attachments []Attachment // only of a record with a report
	Marks       Marks        // likewise
}

// HasReport reports whether the record has a text report to write again.
func (r *StaleRecord) HasReport() bool {
	return r.ReportPath != nil && r.Folder != nil && r.PayloadSize > 0
}

// StaleBatch holds claimed records whose names changed, and the current names.
type StaleBatch struct {
	Records []StaleRecord
	Names   Names
}

// ClaimStale claims up to limit unclaimed records that refer to a changed name, in the
// order of their tips, after the given tip. It does not change their crash count.
func (db *DB) ClaimStale(ctx context.Context, run int64, after string, limit int, lease time.Duration) (StaleBatch, error) {
	var batch StaleBatch
	err := changeAll(ctx, db, "claim records whose names changed", &batch.Records, `
		WITH chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d
			WHERE d.names_stale AND d.tip > $2 AND `+unclaimed+` ORDER BY d.tip LIMIT $3 FOR UPDATE SKIP LOCKED),
		claimed AS (UPDATE noggin_schema.noggin_data d
			SET claimed_by = $1, claim_expires_at = now() + $4 * interval '1 second', claim_token = d.claim_token + 1
			FROM chosen WHERE d.tip = chosen.tip
			RETURNING d.tip, d.claim_token, d.object_type, d.inspection_id, d.folder, CASE WHEN coalesce(d.report_version, 1) = coalesce(d.version, 1) THEN d.report_path END AS report_path,
			          coalesce(pg_column_size(d.payload), 0) AS payload_size)
		SELECT * FROM claimed ORDER BY tip`, run, after, limit, lease.Seconds())
	if err != nil || len(batch.Records) == 0 {
		return batch, err
	}
	return batch, db.fillStale(ctx, &batch)
}

// fillStale reads the records' references, their names and the attachments.
func (db *DB) fillStale(ctx context.Context, batch *StaleBatch) error {
	const what = "read records whose names changed"
	byTip := make(map[string]*StaleRecord, len(batch.Records))
	var tips, withReport []string
	for i := range batch.Records {
		r := &batch.Records[i]
		byTip[r.Tip] = r
		tips = append(tips, r.Tip)
		if r.HasReport() {
			withReport = append(withReport, r.Tip)
		}
	}
	var references []struct {
		Tip        string `db:"record_tip"`
		Field      string `db:"field_name"`
		Position   int    `db:"position"`
		EntityType string `db:"entity_type"`
		Column     string `db:"column_name"`
		Hash       string `db:"hash_value"`
	}
	if err := db.selectAll(ctx, what, &references, `
		SELECT record_tip, field_name, position, entity_type, hash_value, coalesce(column_name, '') AS column_name
		FROM noggin_schema.record_hashes WHERE record_tip = ANY($1::text[]) ORDER BY record_tip, field_name, position`, pq.Array(tips)); err != nil {
		return err
	}
	keys := make([]EntityKey, len(references))
	for i, r := range references {
		record := byTip[r.Tip]
		record.References = append(record.References, Reference{r.Field, r.Position, r.EntityType, r.Column, r.Hash})
		keys[i] = EntityKey{r.EntityType, r.Hash}
	}
	var err error
	if batch.Names, err = db.namesFor(ctx, db.pool, keys); err != nil {
		return describe(ctx, what, err)
	}
	attachments, err := db.attachmentsOf(ctx, db.pool, withReport)
	for _, a := range attachments {
		record := byTip[a.RecordTip]
		record.Attachments = append(record.Attachments, a)
	}
	if err != nil {
		return describe(ctx, what, err)
	}
	marks, err := db.marksOf(ctx, db.pool, withReport)
	for tip, m := range marks {
		byTip[tip].Marks = m
	}
	return describe(ctx, what, err)
}

// Payloads returns the stored answers of the records.
func (db *DB) Payloads(ctx context.Context, tips []string) (map[string][]byte, error) {
	var rows []struct {
		Tip     string `db:"tip"`
		Payload []byte `db:"payload"`
	}
	err := db.selectAll(ctx, "read stored answers", &rows, `
		SELECT tip, payload FROM noggin_schema.noggin_data WHERE tip = ANY($1::text[]) AND payload IS NOT NULL`, pq.Array(tips))
	payloads := make(map[string][]byte, len(rows))
	for _, r := range rows {
		payloads[r.Tip] = r.Payload
	}
	return payloads, err
}

// MarkStale marks a record, so that healing writes its columns and its text report again.
func (db *DB) MarkStale(ctx context.Context, tip string) error {
	return db.change(ctx, "mark a record to be healed", `
		UPDATE noggin_schema.noggin_data SET names_stale = true WHERE tip = $1 AND NOT names_stale`, tip)
}

// Healed is a healed record.
type Healed struct {
	Record *StaleRecord
	Report *Report // the new text report; nil: none was written
	Done   bool    // false: the record stays marked, as its report is still old
	// Document are the words by which the record is found, with blanks between them; "": as
	// they are.
	Document string
}

// Report is a text report on disk.
type Report struct {
	Path   string
	Size   int64 // in bytes
	SHA256 string
}

// SaveHealed writes the columns of the records with the current names and frees the
// claims. It returns how many are healed. A record whose claim was lost is not, and
// a record with a name that changed since the claim stays marked.
func (db *DB) SaveHealed(ctx context.Context, run int64, names Names, healed []Healed) (done int, err error) {
	if len(healed) == 0 {
		return 0, nil
	}
	err = db.tx(ctx, "renew the names in records", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, db.sql(shareNames)); err != nil {
			return err
		}
		now, err := db.namesFor(ctx, tx, keysOf(healed))
		if err != nil {
			return err
		}
		claims := make([]Claim, len(healed))
		for i, h := range healed {
			claims[i] = Claim{Tip: h.Record.Tip, Token: h.Record.Token}
		}
		owned, err := db.lockOwned(ctx, tx, run, claims)
		if err != nil {
			return err
		}
		var found, documents []string
		for _, h := range healed {
			if h.Document != "" && slices.Contains(owned, h.Record.Tip) {
				found, documents = append(found, h.Record.Tip), append(documents, h.Document)
			}
		}
		if err := db.writeSearch(ctx, tx, found, documents); err != nil {
			return err
		}
		if done, err = db.writeHealed(ctx, tx, owned, healed, names, now); err != nil || len(owned) == len(claims) {
			return err
		}
		// An earlier try, whose COMMIT's reply was lost, may have healed them.
		done, err = db.countHealed(ctx, tx, claims)
		return err
	})
	return done, err
}

// countHealed counts the claimed records that are healed and free.
func (db *DB) countHealed(ctx context.Context, tx *sqlx.Tx, claims []Claim) (int, error) {
	tips, _ := tipsAndTokens(claims)
	var free []ClaimKey
	err := tx.SelectContext(ctx, &free, db.sql(`
		SELECT d.tip, d.claim_token FROM noggin_schema.noggin_data d
		WHERE d.tip = ANY($1::text[]) AND d.claimed_by IS NULL AND NOT d.names_stale`), tips)
	return len(sameToken(free, claims)), err
}

func keysOf(healed []Healed) []EntityKey {
	seen := map[EntityKey]bool{}
	var keys []EntityKey
	for _, h := range healed {
		for _, r := range h.Record.References {
			if key := (EntityKey{r.EntityType, r.Hash}); !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// healedRow is what writeHealed sends of a record. A record whose names changed since
// its claim is not Done.
type healedRow struct {
	Tip        string             `json:"tip"`
	Columns    map[string]*string `json:"columns"`
	Unknown    bool               `json:"unknown"`
	Current    bool               `json:"-"`
	Done       bool               `json:"done"`
	ReportPath *string            `json:"report_path"`
	ReportSize *int64             `json:"report_size"`
	ReportHash *string            `json:"report_hash"`
}

func (db *DB) writeHealed(ctx context.Context, tx *sqlx.Tx, owned []string, healed []Healed, names, now Names) (done int, err error) {
	rows := make([]healedRow, len(healed))
	for i, h := range healed {
		row := healedRow{Tip: h.Record.Tip, Current: true}
		for _, r := range h.Record.References {
			key := EntityKey{r.EntityType, r.Hash}
			was, wasKnown := names[key]
			is, isKnown := now[key]
			row.Current = row.Current && was == is && wasKnown == isKnown
		}
		row.Columns, row.Unknown = referenceColumns(h.Record.References, now)
		row.Done = h.Done && row.Current
		if h.Report != nil {
			row.ReportPath, row.ReportSize, row.ReportHash = &h.Report.Path, &h.Report.Size, &h.Report.SHA256
		}
		rows[i] = row
	}
	doc, err := json.Marshal(rows)
	if err != nil {
		return 0, err
	}
	err = tx.GetContext(ctx, &done, db.sql(`
		WITH written AS (UPDATE noggin_schema.noggin_data d SET
			vehicle = coalesce(v.columns->>'vehicle', d.vehicle), trailer = coalesce(v.columns->>'trailer', d.trailer),
			trailer2 = coalesce(v.columns->>'trailer2', d.trailer2), trailer3 = coalesce(v.columns->>'trailer3', d.trailer3),
			department = coalesce(v.columns->>'department', d.department), team = coalesce(v.columns->>'team', d.team),
			inspected_by = coalesce(v.columns->>'inspected_by', d.inspected_by),
			has_unknown_hashes = v.unknown, names_stale = d.names_stale AND NOT v.done,
			report_path = coalesce(v.report_path, d.report_path),
			report_size_bytes = coalesce(v.report_size, d.report_size_bytes),
			report_hash_sha256 = coalesce(v.report_hash, d.report_hash_sha256),
			report_archive_id = CASE WHEN v.report_path IS NULL THEN d.report_archive_id END,
			claimed_by = NULL, claim_expires_at = NULL
		FROM jsonb_to_recordset($1::jsonb) AS v (tip text, columns jsonb, unknown boolean, done boolean,
			report_path text, report_size bigint, report_hash text)
		WHERE d.tip = v.tip AND d.tip = ANY($2::text[]) RETURNING d.names_stale)
		SELECT count(*) FROM written WHERE NOT names_stale`), string(doc), pq.Array(owned))
	return done, err
}

// StaleCounts counts the records to heal.
type StaleCounts struct {
	Free   int64    `db:"free"`    // unclaimed records
	Held   int64    `db:"held"`    // claimed records
	FreeIn *float64 `db:"free_in"` // seconds until the first claim ends, unless it is renewed
}

// CountStale counts the records that refer to a changed name.
func (db *DB) CountStale(ctx context.Context) (StaleCounts, error) {
	var c StaleCounts
	err := db.get(ctx, "count the records whose names changed", &c, `
		SELECT count(*) FILTER (WHERE `+unclaimed+`) AS free, count(*) FILTER (WHERE NOT `+unclaimed+`) AS held,
		       extract(epoch FROM min(d.claim_expires_at) FILTER (WHERE NOT `+unclaimed+`) - now())::float8 AS free_in
		FROM noggin_schema.noggin_data d WHERE d.names_stale`)
	return c, err
}
