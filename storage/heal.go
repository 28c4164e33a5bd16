package storage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// StaleRecord is a record in the hands of a healer, with what its columns and its
// text report are renewed from.
type StaleRecord struct {
	Tip          string  `db:"tip"`
	Token        int64   `db:"claim_token"`
	ObjectType   string  `db:"object_type"`
	InspectionID *string `db:"inspection_id"`
	Folder       *string `db:"folder"`
	ReportPath   *string `db:"report_path"`
	PayloadSize  int64   `db:"payload_size"` // in bytes as the database keeps it; 0 without one

	References  []Reference
	Attachments []Attachment // of a record that has a report
}

// HasReport tells whether there is a text report to be renewed.
func (r *StaleRecord) HasReport() bool {
	return r.ReportPath != nil && r.Folder != nil && r.PayloadSize > 0
}

// StaleBatch are records whose names changed, claimed, and the names as they are
// now.
type StaleBatch struct {
	Records []StaleRecord
	Names   Names
}

// ClaimStale takes up to limit unclaimed records behind the tip after that refer to
// a name which changed. A claim of this kind adds nothing to a record's crash count.
func (db *DB) ClaimStale(ctx context.Context, run int64, after string, limit int, lease time.Duration) (StaleBatch, error) {
	var batch StaleBatch
	err := db.tx(ctx, "claim records whose names changed", func(tx *sqlx.Tx) error {
		batch = StaleBatch{}
		return tx.SelectContext(ctx, &batch.Records, db.sql(`
			WITH chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.names_stale AND d.tip > $2 AND `+unclaimed+` ORDER BY d.tip LIMIT $3 FOR UPDATE SKIP LOCKED),
			claimed AS (UPDATE noggin_schema.noggin_data d
				SET claimed_by = $1, claim_expires_at = now() + $4 * interval '1 second', claim_token = d.claim_token + 1
				FROM chosen WHERE d.tip = chosen.tip
				RETURNING d.tip, d.claim_token, d.object_type, d.inspection_id, d.folder, d.report_path,
				          coalesce(pg_column_size(d.payload), 0) AS payload_size)
			SELECT * FROM claimed ORDER BY tip`), run, after, limit, lease.Seconds())
	})
	if err != nil || len(batch.Records) == 0 {
		return batch, err
	}
	return batch, db.fillStale(ctx, &batch)
}

// fillStale reads the references of the records, the names of those, and the
// attachments.
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
	if err := db.pool.SelectContext(ctx, &references, db.sql(`
		SELECT record_tip, field_name, position, entity_type, hash_value, coalesce(column_name, '') AS column_name
		FROM noggin_schema.record_hashes WHERE record_tip = ANY($1::text[]) ORDER BY record_tip, field_name, position`), pq.Array(tips)); err != nil {
		return describe(ctx, what, err)
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
	return describe(ctx, what, err)
}

// Payloads returns the stored answers of the records.
func (db *DB) Payloads(ctx context.Context, tips []string) (map[string][]byte, error) {
	var rows []struct {
		Tip     string `db:"tip"`
		Payload []byte `db:"payload"`
	}
	err := db.pool.SelectContext(ctx, &rows, db.sql(`
		SELECT tip, payload FROM noggin_schema.noggin_data WHERE tip = ANY($1::text[]) AND payload IS NOT NULL`), pq.Array(tips))
	payloads := make(map[string][]byte, len(rows))
	for _, r := range rows {
		payloads[r.Tip] = r.Payload
	}
	return payloads, describe(ctx, "read stored answers", err)
}

// Healed is a record as a healer leaves it.
type Healed struct {
	Record *StaleRecord
	Report *Report // the renewed text report, if it was written
	Done   bool    // false keeps the record marked: its report is still to be renewed
}

// Report is a text report on disk.
type Report struct {
	Path   string
	Size   int64 // in bytes
	SHA256 string
}

// SaveHealed renews the columns of the records from the batch's names and frees
// their claims. It returns how many of them are healed: not those whose claim was
// lost, and not those one of whose names changed again meanwhile, which stay marked.
func (db *DB) SaveHealed(ctx context.Context, run int64, names Names, healed []Healed) (done int, err error) {
	if len(healed) == 0 {
		return 0, nil
	}
	err = db.tx(ctx, "renew the names in records", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, db.sql(`SELECT pg_advisory_xact_lock_shared(`+namesLock+`)`)); err != nil {
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
		if done, err = db.writeHealed(ctx, tx, owned, healed, names, now); err != nil || len(owned) == len(claims) {
			return err
		}
		// An earlier try, whose COMMIT's reply was lost, may have done it.
		done, err = db.countHealed(ctx, tx, claims)
		return err
	})
	return done, err
}

// countHealed counts those of the claimed records that are healed and free.
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

// healedRow is what writeHealed sends of a record. One whose names are no longer
// those that it was healed with only gets its claim freed.
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

// StaleCounts tell what healing is left to do.
type StaleCounts struct {
	Free     int64    `db:"free"`     // records that can be claimed
	Held     int64    `db:"held"`     // records that a run is at work on
	FreeIn   *float64 `db:"free_in"`  // seconds until the first of those claims ends, unless it is renewed
	Reported int64    `db:"reported"` // of all these, the ones with a text report
}

// CountStale counts the records that refer to a name which changed.
func (db *DB) CountStale(ctx context.Context) (StaleCounts, error) {
	var c StaleCounts
	err := db.get(ctx, "count the records whose names changed", &c, `
		SELECT count(*) FILTER (WHERE `+unclaimed+`) AS free, count(*) FILTER (WHERE NOT `+unclaimed+`) AS held,
		       extract(epoch FROM min(d.claim_expires_at) FILTER (WHERE NOT `+unclaimed+`) - now())::float8 AS free_in,
		       count(d.report_path) AS reported
		FROM noggin_schema.noggin_data d WHERE d.names_stale`)
	return c, err
}
