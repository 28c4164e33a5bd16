package storage

import (
	"context"
	"encoding/json"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// planAttachments makes the attachments of the records those that their answers name. An
// attachment that is named no longer becomes a former file, or goes if it never had one. Of
// one without a file, or whose file was lost, the record keeps number and tip. One that is
// named again comes back with its file and number. One that is named in another field than
// before moves to it and keeps its file.
// Attachments of the replaced service get their field here, too; their files are left to
// the run, which looks at them first.
func (db *DB) planAttachments(ctx context.Context, tx *sqlx.Tx, answers []Answer) error {
	if len(answers) == 0 {
		return nil
	}
	type row struct {
		Tip   string `json:"record_tip"`
		Order int    `json:"n"`
		PlannedAttachment
	}
	type record struct {
		Tip     string `json:"record_tip"`
		Version int    `json:"version"`
	}
	rows, records, tips := []row{}, make([]record, len(answers)), make([]string, len(answers))
	for i, a := range answers {
		records[i], tips[i] = record{a.Tip, a.version}, a.Tip
		for n, p := range a.Attachments {
			rows = append(rows, row{a.Tip, n, p})
		}
	}
	named, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	of, err := json.Marshal(records)
	if err != nil {
		return err
	}
	const (
		namedRows  = `jsonb_to_recordset($1::jsonb) AS v (record_tip text, n integer, attachment_tip text, field_name text)`
		hasFile    = `(g.attachment_status = 'complete' AND g.file_path IS NOT NULL)`
		hadFile    = `(g.file_path IS NOT NULL AND (g.attachment_status = 'complete' OR length(g.file_hash_sha256) = 64))` // it may be lost
		recordRows = `jsonb_to_recordset($2::jsonb) AS r (record_tip text, version integer)`
	)
	// A new record has neither, and both statements take long even where they change nothing.
	var has struct{ Attachments, Former bool }
	if err := tx.GetContext(ctx, &has, db.sql(`
		SELECT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = ANY($1::text[])) AS attachments,
		       EXISTS (SELECT FROM noggin_schema.former_files f WHERE f.record_tip = ANY($1::text[])) AS former`), pq.Array(tips)); err != nil {
		return err
	}
	if has.Attachments {
		if _, err := tx.ExecContext(ctx, db.sql(`
		WITH v AS MATERIALIZED (SELECT v.record_tip, v.attachment_tip FROM `+namedRows+`),
		gone AS (DELETE FROM noggin_schema.attachments a USING `+recordRows+`
			WHERE a.record_tip = r.record_tip AND NOT (`+notLookedAt+`)
			  AND NOT EXISTS (SELECT FROM v WHERE v.record_tip = a.record_tip AND v.attachment_tip = a.attachment_tip)
			RETURNING a.*, r.version),
		numbered AS (UPDATE noggin_schema.noggin_data d SET last_sequence = greatest(d.last_sequence,
				(SELECT max(g.attachment_sequence) FROM gone g WHERE g.record_tip = d.tip)),
				dropped = coalesce(coalesce(d.dropped, '{}') || (SELECT jsonb_object_agg(g.attachment_sequence, g.attachment_tip) FROM gone g
					WHERE g.record_tip = d.tip AND NOT `+hasFile+`), d.dropped)
			WHERE d.tip = ANY(ARRAY(SELECT DISTINCT g.record_tip FROM gone g)))
		INSERT INTO noggin_schema.former_files AS f (`+formerColumns+`)
		SELECT `+formerOf+`, greatest(g.version - 1, coalesce(g.first_version, 1))
		FROM gone g WHERE `+hadFile+` `+onFormerTwice), string(named), string(of)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
		UPDATE noggin_schema.attachments a SET field_name = v.field_name FROM `+namedRows+`
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip AND a.field_name <> v.field_name`), string(named)); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if has.Former {
		if _, err := tx.ExecContext(ctx, db.sql(`
		WITH v AS MATERIALIZED (SELECT DISTINCT ON (v.record_tip, v.attachment_tip) v.field_name AS named, f.*
			FROM `+namedRows+` JOIN noggin_schema.former_files f
			  ON f.record_tip = v.record_tip AND f.attachment_tip = v.attachment_tip AND f.kind <> 'report'
			WHERE NOT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip)
			ORDER BY v.record_tip, v.attachment_tip, f.kind = 'suspect', f.content_type = '', f.last_version DESC, f.former_since DESC),
		back AS (DELETE FROM noggin_schema.former_files f USING v WHERE f.path = v.path)
		INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, filename, file_path, attachment_status,
			attachment_validation_status, file_size_bytes, file_hash_sha256, content_type, archive_id, download_started_at, download_completed_at,
			download_duration_seconds, first_version)
		SELECT v.record_tip, v.attachment_tip, v.attachment_sequence, v.named, regexp_replace(v.path, '^.*/', ''), v.path, 'complete',
		       CASE WHEN v.kind = 'suspect' AND v.validation <> 'validation_failed' THEN 'suspect' ELSE coalesce(nullif(v.validation, ''), 'not_validated') END,
		       v.size_bytes, v.hash_sha256, nullif(v.content_type, ''), v.archive_id,
		       v.downloaded_at, v.downloaded_at, 0, v.first_version
		FROM v`), string(named)); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		WITH v AS (SELECT v.*, r.version FROM `+namedRows+` JOIN `+recordRows+` ON r.record_tip = v.record_tip
			WHERE NOT EXISTS (SELECT FROM noggin_schema.attachments a
				WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip)),
		-- Once a record: looking for each row goes past all that this statement inserts.
		last AS MATERIALIZED (SELECT d.tip, greatest(d.last_sequence, (SELECT max(a.attachment_sequence) FROM noggin_schema.attachments a
				WHERE a.record_tip = d.tip)) AS sequence
			FROM noggin_schema.noggin_data d WHERE d.tip = ANY(ARRAY(SELECT r.record_tip FROM `+recordRows+`)))
		INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, first_version)
		SELECT v.record_tip, v.attachment_tip, (SELECT l.sequence FROM last l WHERE l.tip = v.record_tip)
		       + row_number() OVER (PARTITION BY v.record_tip ORDER BY v.n), v.field_name, v.version
		FROM v`), string(named), string(of))
	return err
}

// formerColumns are the columns of a former file, and formerOf their values of an
// attachment g. last_version follows.
const (
	formerColumns = `path, record_tip, kind, attachment_tip, attachment_sequence, field_name, validation, size_bytes, hash_sha256, content_type,
		archive_id, downloaded_at, first_version, last_version`
	formerOf = `g.file_path, g.record_tip, CASE g.attachment_validation_status WHEN 'suspect' THEN 'suspect' ELSE 'attachment' END,
		g.attachment_tip, g.attachment_sequence, g.field_name, g.attachment_validation_status, coalesce(g.file_size_bytes, -1),
		coalesce(g.file_hash_sha256, ''), coalesce(nullif(g.content_type, ''), 'application/octet-stream'), g.archive_id, g.download_started_at,
		coalesce(g.first_version, 1)`
	onFormerTwice = `ON CONFLICT (path) DO UPDATE SET last_version = greatest(f.last_version, excluded.last_version), archive_id = excluded.archive_id
		WHERE f.hash_sha256 = excluded.hash_sha256`
)

// FormerFile is a file of a former version, or of other bytes of a current attachment.
type FormerFile struct {
	Path          string  `db:"path" json:"path"`
	RecordTip     string  `db:"record_tip" json:"record_tip"`
	Kind          string  `db:"kind" json:"kind"` // attachment, suspect, report
	AttachmentTip string  `db:"attachment_tip" json:"attachment_tip"`
	FirstVersion  int     `db:"first_version" json:"first_version"`
	LastVersion   int     `db:"last_version" json:"last_version"`
	Size          int64   `db:"size_bytes" json:"size_bytes"`
	SHA256        string  `db:"hash_sha256" json:"sha256"`
	ArchiveID     *int64  `db:"archive_id" json:"-"`
	Archive       *string `db:"archive_name" json:"archive"`
}

// FormerFiles returns the former files of a record, by path.
func (db *DB) FormerFiles(ctx context.Context, tip string) ([]FormerFile, error) {
	var former []FormerFile
	err := db.selectAll(ctx, "read the former files", &former, `
		SELECT path, record_tip, kind, attachment_tip, first_version, last_version, size_bytes, hash_sha256, archive_id,
		       (SELECT v.name FROM noggin_schema.archives v WHERE v.id = archive_id) AS archive_name
		FROM noggin_schema.former_files WHERE record_tip = $1 ORDER BY path`, tip)
	return former, err
}

// writeFormer records former reports, and attachments whose bytes the downloads replace.
func (db *DB) writeFormer(ctx context.Context, tx *sqlx.Tx, results []Result) error {
	reports, replaced := []FormerFile{}, []Download{}
	for _, r := range results {
		if r.FormerReport != nil {
			reports = append(reports, *r.FormerReport)
		}
		for _, d := range r.Downloads {
			if d.Replaces {
				replaced = append(replaced, d)
			}
		}
	}
	if len(reports) > 0 {
		doc, err := json.Marshal(reports)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			INSERT INTO noggin_schema.former_files AS f (path, record_tip, kind, first_version, last_version, size_bytes, hash_sha256, content_type, archive_id)
			SELECT v.path, v.record_tip, 'report', v.first_version, v.last_version, v.size_bytes, v.sha256, 'text/plain',
			       (SELECT d.report_archive_id FROM noggin_schema.noggin_data d WHERE d.tip = v.record_tip)
			FROM jsonb_to_recordset($1::jsonb) AS v (path text, record_tip text, first_version integer, last_version integer, size_bytes bigint, sha256 text)
			ORDER BY v.path ON CONFLICT DO NOTHING`), string(doc)); err != nil {
			return err
		}
	}
	if len(replaced) == 0 {
		return nil
	}
	doc, err := json.Marshal(replaced)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		WITH g AS (SELECT a.*, coalesce(d.version, 1) AS version FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text, attachment_tip text)
			JOIN noggin_schema.attachments a ON a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip
			JOIN noggin_schema.noggin_data d ON d.tip = v.record_tip WHERE a.file_path IS NOT NULL)
		INSERT INTO noggin_schema.former_files AS f (`+formerColumns+`)
		SELECT `+formerOf+`, g.version FROM g ORDER BY g.file_path `+onFormerTwice), string(doc))
	return err
}

// Suspect are bytes that the API served in the place of an attachment that is whole, and
// that are not known to be whole. They become a former file of their own.
type Suspect struct {
	Path          string     `json:"path"`
	RecordTip     string     `json:"record_tip"`
	AttachmentTip string     `json:"attachment_tip"`
	Version       int        `json:"version"` // of the record, when they came
	Validation    Validation `json:"validation"`
	Size          int64      `json:"size_bytes"`
	SHA256        string     `json:"sha256"`
	ContentType   string     `json:"content_type"`
}

func (db *DB) writeSuspects(ctx context.Context, tx *sqlx.Tx, suspects []Suspect) error {
	if len(suspects) == 0 {
		return nil
	}
	doc, err := json.Marshal(suspects)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.former_files AS f (`+formerColumns+`)
		SELECT v.path, v.record_tip, 'suspect', v.attachment_tip, a.attachment_sequence, a.field_name, v.validation, v.size_bytes, v.sha256,
		       v.content_type, NULL, now(), v.version, v.version
		FROM jsonb_to_recordset($1::jsonb) AS v (path text, record_tip text, attachment_tip text, version integer, validation text, size_bytes bigint,
			sha256 text, content_type text)
		JOIN noggin_schema.attachments a ON a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip
		ORDER BY v.path ON CONFLICT DO NOTHING`), string(doc))
	return err
}

// FormerOf returns the former files of an attachment that have this SHA-256: those that were
// current, then those that were only kept as suspect. Those of which nothing shows that they
// were current are left out: a killed run may have named them to make them current.
func (db *DB) FormerOf(ctx context.Context, record, attachment, sum string) (same []FormerFile, err error) {
	err = db.selectAll(ctx, "look for former files", &same, `
		SELECT f.path, f.kind, f.attachment_tip, f.size_bytes, f.hash_sha256, f.archive_id FROM noggin_schema.former_files f
		WHERE f.record_tip = $1 AND f.attachment_tip = $2 AND f.hash_sha256 = $3
		  AND (f.kind = 'suspect' OR f.content_type <> '') ORDER BY f.kind, f.path`, record, attachment, sum)
	return same, err
}

// Served is what the API served of an attachment that stays as it is.
type Served struct {
	RecordTip     string `json:"record_tip"`
	AttachmentTip string `json:"attachment_tip"`
	Former        bool   `json:"former"` // former bytes; false: its own again
}

func (db *DB) writeServed(ctx context.Context, tx *sqlx.Tx, served []Served) error {
	if len(served) == 0 {
		return nil
	}
	doc, err := json.Marshal(served)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		UPDATE noggin_schema.attachments a SET former_served_at = CASE WHEN v.former THEN now() END
		FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text, attachment_tip text, former boolean)
		WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip`), string(doc))
	return err
}

// keepAnswers makes records whose answer was older or reduced ready for the run's further
// work on their current answers.
func (db *DB) keepAnswers(ctx context.Context, tx *sqlx.Tx, tips []string, stored map[ClaimKey]Stored) error {
	if len(tips) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, db.sql(`
		UPDATE noggin_schema.noggin_data d SET processing_status = 'api_success', next_retry_at = now() WHERE d.tip = ANY($1::text[])`),
		pq.Array(tips)); err != nil {
		return err
	}
	return db.currentAnswers(ctx, tx, tips, stored)
}

// currentAnswers reads the answers of the records, and the names in them.
func (db *DB) currentAnswers(ctx context.Context, q sqlx.QueryerContext, tips []string, stored map[ClaimKey]Stored) error {
	var rows []struct {
		Stored
		Current []byte `db:"payload"`
	}
	if err := sqlx.SelectContext(ctx, q, &rows, db.sql(`
		SELECT d.tip, d.claim_token, coalesce(d.folder, '') AS folder, d.payload FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[])`),
		pq.Array(tips)); err != nil {
		return err
	}
	var references []struct {
		Tip  string `db:"record_tip"`
		Type string `db:"entity_type"`
		Hash string `db:"hash_value"`
	}
	if err := sqlx.SelectContext(ctx, q, &references, db.sql(`
		SELECT record_tip, entity_type, hash_value FROM noggin_schema.record_hashes WHERE record_tip = ANY($1::text[])`), pq.Array(tips)); err != nil {
		return err
	}
	keys := make([]EntityKey, len(references))
	for i, r := range references {
		keys[i] = EntityKey{r.Type, r.Hash}
	}
	names, err := db.namesFor(ctx, q, keys)
	if err != nil {
		return err
	}
	for _, row := range rows {
		s := stored[row.ClaimKey]
		s.ClaimKey, s.Folder, s.Payload, s.Names = row.ClaimKey, row.Folder, row.Current, Names{}
		for _, r := range references {
			if name, ok := names.Lookup(r.Type, r.Hash); ok && r.Tip == row.Tip {
				s.Names[EntityKey{r.Type, r.Hash}] = name
			}
		}
		stored[row.ClaimKey] = s
	}
	return nil
}

// fillStored reads the attachments and the marks of stored records.
func (db *DB) fillStored(ctx context.Context, q sqlx.QueryerContext, stored map[ClaimKey]Stored) error {
	tips, keys := make([]string, 0, len(stored)), make(map[string]ClaimKey, len(stored))
	for key := range stored {
		tips, keys[key.Tip] = append(tips, key.Tip), key
	}
	attachments, err := db.attachmentsOf(ctx, q, tips)
	if err != nil {
		return err
	}
	marks, err := db.marksOf(ctx, q, tips)
	if err != nil {
		return err
	}
	for key, s := range stored {
		s.Marks = marks[key.Tip]
		stored[key] = s
	}
	for _, a := range attachments {
		s := stored[keys[a.RecordTip]]
		s.Attachments = append(s.Attachments, a)
		stored[keys[a.RecordTip]] = s
	}
	return nil
}

// CurrentAnswer reads what is stored of a claimed record. ok is false when it has no
// answer, or another claim.
func (db *DB) CurrentAnswer(ctx context.Context, key ClaimKey) (s Stored, ok bool, err error) {
	stored := map[ClaimKey]Stored{}
	if err := db.currentAnswers(ctx, db.pool, []string{key.Tip}, stored); err != nil {
		return s, false, describe(ctx, "read the stored answer", err)
	}
	if stored[key].Payload == nil {
		return s, false, nil
	}
	err = db.fillStored(ctx, db.pool, stored)
	return stored[key], err == nil, describe(ctx, "read the stored answer", err)
}
