package storage

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Reference is a field of a record that names another object by its tip.
type Reference struct {
	Field      string `json:"field_name"`
	Position   int    `json:"position"` // in a list
	EntityType string `json:"entity_type"`
	Column     string `json:"column_name,omitempty"` // of noggin_data, that shows the name; "" for none
	Hash       string `json:"hash_value"`
}

// UnusablePrefix begins the key of an attachment whose reference named none.
const UnusablePrefix = "unusable-"

// PlannedAttachment is an attachment that a record's answer names.
type PlannedAttachment struct {
	Tip   string `json:"attachment_tip"`
	Field string `json:"field_name"`
}

// Answer is what one record's answer from the API becomes in the database.
type Answer struct {
	Tip            string             `json:"tip"`
	Token          int64              `json:"token"`
	ObjectType     string             `json:"object_type"`
	InspectionID   *string            `json:"inspection_id"`
	InspectionDate *string            `json:"inspection_date"` // 2025-09-17
	Columns        map[string]*string `json:"columns"`         // further columns of noggin_data, without those shown by References
	APICreatedAt   *time.Time         `json:"api_created_at"`
	APIModifiedAt  *time.Time         `json:"api_modified_at"`
	Payload        json.RawMessage    `json:"payload"` // as jsonb takes it
	// Folders are the names to try for a record that has none yet, best first.
	Folders [3]string `json:"folders"`

	References  []Reference         `json:"-"`
	Attachments []PlannedAttachment `json:"-"`
}

// Attachment is a row of the attachments table.
type Attachment struct {
	RecordTip    string  `db:"record_tip"`
	Tip          string  `db:"attachment_tip"`
	Sequence     int     `db:"attachment_sequence"`
	Field        string  `db:"field_name"`
	Status       string  `db:"attachment_status"`
	Validation   string  `db:"attachment_validation_status"`
	Filename     *string `db:"filename"`
	Path         *string `db:"file_path"`
	Size         *int64  `db:"file_size_bytes"`
	SHA256       *string `db:"file_hash_sha256"`
	ContentType  *string `db:"content_type"`
	RejectedHash *string `db:"rejected_hash_sha256"`
	ArchiveID    *int64  `db:"archive_id"`
	Archive      *string `db:"archive_name"`
	LastError    *string `db:"last_error_message"`
}

// NotLookedAt tells that the replaced service called the attachment complete, and
// that noggin has not looked at its file.
func (a Attachment) NotLookedAt() bool {
	return a.Status == "complete" && a.ContentType == nil && a.ArchiveID == nil
}

func (a Answer) key() ClaimKey { return ClaimKey{a.Tip, a.Token} }

// EntityKey names an object that records refer to.
type EntityKey struct{ Type, Hash string }

// Names are the names known for references.
type Names map[EntityKey]string

// Lookup returns the name of an object, if it is known.
func (n Names) Lookup(entityType, hash string) (string, bool) {
	name, ok := n[EntityKey{entityType, hash}]
	return name, ok
}

// ClaimKey names a claim: a record, and the token under which a run has it. A run
// whose lease ran out may hold two claims on one record, of which only the later is
// good.
type ClaimKey struct {
	Tip   string `db:"tip"`
	Token int64  `db:"claim_token"`
}

// Stored is a record whose answer is in the database.
type Stored struct {
	ClaimKey
	Folder      string `db:"folder"`
	Names       Names
	Attachments []Attachment
}

// attachmentColumns are what an [Attachment] is read from, with a for the table.
const attachmentColumns = `a.record_tip, a.attachment_tip, a.attachment_sequence, a.field_name, a.attachment_status,
	a.attachment_validation_status, a.filename, a.file_path, a.file_size_bytes, a.file_hash_sha256, a.content_type,
	a.rejected_hash_sha256, a.archive_id, a.last_error_message,
	(SELECT v.name FROM noggin_schema.archives v WHERE v.id = a.archive_id) AS archive_name`

// Store puts answers into the database in one transaction: the payload, typed
// columns, resolved names, references, unknown hashes, planned attachments, and
// the status api_success. Answers whose claim was lost are missing from the
// result. It may be repeated.
func (db *DB) Store(ctx context.Context, run int64, answers []Answer) (map[ClaimKey]Stored, error) {
	stored, err := db.storeOnce(ctx, run, answers)
	for range 2 { // a folder that another run chose at the same moment; now it is seen
		if !hasCode(err, "23505") {
			break
		}
		stored, err = db.storeOnce(ctx, run, answers)
	}
	return stored, err
}

func (db *DB) storeOnce(ctx context.Context, run int64, answers []Answer) (map[ClaimKey]Stored, error) {
	stored := make(map[ClaimKey]Stored, len(answers))
	err := db.tx(ctx, "store the answers", func(tx *sqlx.Tx) error {
		clear(stored)
		// An import of names waits for us and we for it: either it sees the
		// references stored here, or we see its names.
		if _, err := tx.ExecContext(ctx, db.sql(`SELECT pg_advisory_xact_lock_shared(`+namesLock+`)`)); err != nil {
			return err
		}
		names, err := db.namesOf(ctx, tx, answers)
		if err != nil {
			return err
		}
		if err := db.updateAnswered(ctx, tx, run, answers, names, stored); err != nil {
			return err
		}
		kept := slices.DeleteFunc(slices.Clone(answers), func(a Answer) bool { _, ok := stored[a.key()]; return !ok })
		if err := db.storeReferences(ctx, tx, kept); err != nil {
			return err
		}
		return db.planAttachments(ctx, tx, kept, stored)
	})
	return stored, err
}

func (db *DB) namesOf(ctx context.Context, tx *sqlx.Tx, answers []Answer) (Names, error) {
	var keys []EntityKey
	for _, a := range answers {
		for _, r := range a.References {
			keys = append(keys, EntityKey{r.EntityType, r.Hash})
		}
	}
	return db.namesFor(ctx, tx, keys)
}

// namesFor returns those names of the keys that are known.
func (db *DB) namesFor(ctx context.Context, q sqlx.QueryerContext, keys []EntityKey) (Names, error) {
	types, hashes := make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		types[i], hashes[i] = k.Type, k.Hash
	}
	var rows []struct {
		Type string `db:"entity_type"`
		Hash string `db:"hash_value"`
		Name string `db:"entity_name"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, db.sql(`
		SELECT e.entity_type, e.hash_value, e.entity_name FROM noggin_schema.entity_hashes e
		JOIN (SELECT DISTINCT t, h FROM unnest($1::text[], $2::text[]) AS k (t, h)) k ON e.hash_value = k.h AND e.entity_type = k.t`),
		pq.Array(types), pq.Array(hashes))
	names := make(Names, len(rows))
	for _, r := range rows {
		names[EntityKey{r.Type, r.Hash}] = r.Name
	}
	return names, err
}

// UnknownName is how a name that is not known is written.
func UnknownName(hash string) string { return "Unknown (" + hash + ")" }

// referenceColumns returns the columns that references fill, names joined where a
// field is a list, and whether any name is unknown.
func referenceColumns(references []Reference, names Names) (columns map[string]*string, unknown bool) {
	joined := map[string][]string{}
	for _, r := range references {
		name, known := names.Lookup(r.EntityType, r.Hash)
		if !known {
			name, unknown = UnknownName(r.Hash), true
		}
		if r.Column != "" {
			joined[r.Column] = append(joined[r.Column], name)
			joined[r.Column+"_hash"] = append(joined[r.Column+"_hash"], r.Hash)
		}
	}
	columns = make(map[string]*string, len(joined))
	for column, values := range joined {
		value := strings.Join(values, ", ")
		columns[column] = &value
	}
	return columns, unknown
}

func (db *DB) updateAnswered(ctx context.Context, tx *sqlx.Tx, run int64, answers []Answer, names Names, stored map[ClaimKey]Stored) error {
	type row struct {
		Answer
		Unknown bool `json:"unknown"`
	}
	rows := make([]row, len(answers))
	references := make(map[ClaimKey][]Reference, len(answers))
	for i, a := range answers {
		columns, unknown := referenceColumns(a.References, names)
		for name, value := range a.Columns {
			columns[name] = value
		}
		a.Columns = columns
		rows[i], references[a.key()] = row{a, unknown}, a.References
	}
	doc, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	var updated []Stored
	if err := tx.SelectContext(ctx, &updated, db.sql(`
		WITH v AS (SELECT * FROM jsonb_to_recordset($2::jsonb) AS v (tip text, token bigint, object_type text, inspection_id text,
				inspection_date date, columns jsonb, api_created_at timestamptz, api_modified_at timestamptz, payload jsonb,
				folders jsonb, unknown boolean) ORDER BY tip)
		UPDATE noggin_schema.noggin_data d SET
			object_type = v.object_type, object_type_assumed = false, processing_status = 'api_success', next_retry_at = now(),
			inspection_id = v.inspection_id, inspection_date = v.inspection_date,
			vehicle = v.columns->>'vehicle', vehicle_hash = v.columns->>'vehicle_hash',
			trailer = v.columns->>'trailer', trailer_hash = v.columns->>'trailer_hash',
			trailer2 = v.columns->>'trailer2', trailer2_hash = v.columns->>'trailer2_hash',
			trailer3 = v.columns->>'trailer3', trailer3_hash = v.columns->>'trailer3_hash',
			department = v.columns->>'department', department_hash = v.columns->>'department_hash',
			team = v.columns->>'team', team_hash = v.columns->>'team_hash',
			inspected_by = v.columns->>'inspected_by', inspected_by_hash = v.columns->>'inspected_by_hash',
			driver_loader_name = v.columns->>'driver_loader_name',
			job_number = v.columns->>'job_number', run_number = v.columns->>'run_number',
			load_compliance = v.columns->>'load_compliance',
			has_unknown_hashes = v.unknown, names_stale = false,
			payload = v.payload, api_created_at = v.api_created_at, api_modified_at = v.api_modified_at,
			folder = coalesce(d.folder, CASE
				WHEN NOT EXISTS (SELECT FROM noggin_schema.noggin_data o WHERE o.folder = v.folders->>0) THEN v.folders->>0
				WHEN NOT EXISTS (SELECT FROM noggin_schema.noggin_data o WHERE o.folder = v.folders->>1) THEN v.folders->>1
				ELSE v.folders->>2 END)
		FROM v WHERE d.tip = v.tip AND d.claim_token = v.token AND d.claimed_by = $1
		RETURNING d.tip, d.claim_token, d.folder`), run, string(doc)); err != nil {
		return err
	}
	for _, s := range updated {
		s.Names = make(Names, len(references[s.ClaimKey]))
		for _, r := range references[s.ClaimKey] {
			if name, ok := names.Lookup(r.EntityType, r.Hash); ok {
				s.Names[EntityKey{r.EntityType, r.Hash}] = name
			}
		}
		stored[s.ClaimKey] = s
	}
	return nil
}

// storeReferences replaces the references of the records and counts the unknown
// hashes among those that are new.
func (db *DB) storeReferences(ctx context.Context, tx *sqlx.Tx, answers []Answer) error {
	type row struct {
		Tip string `json:"record_tip"`
		Reference
	}
	rows, tips := []row{}, make([]string, 0, len(answers))
	for _, a := range answers {
		tips = append(tips, a.Tip)
		for _, r := range a.References {
			rows = append(rows, row{a.Tip, r})
		}
	}
	doc, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, db.sql(`
		DELETE FROM noggin_schema.record_hashes r WHERE r.record_tip = ANY($1::text[]) AND NOT EXISTS (
			SELECT FROM jsonb_to_recordset($2::jsonb) AS v (record_tip text, field_name text, position integer, entity_type text, hash_value text)
			WHERE v.record_tip = r.record_tip AND v.field_name = r.field_name AND v.position = r.position
			  AND v.entity_type = r.entity_type AND v.hash_value = r.hash_value)`), pq.Array(tips), string(doc)); err != nil {
		return err
	}
	if len(rows) == 0 {
		return nil
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		WITH new AS (
			INSERT INTO noggin_schema.record_hashes (record_tip, field_name, position, entity_type, hash_value, column_name)
			SELECT record_tip, field_name, position, entity_type, hash_value, column_name
			FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text, field_name text, position integer, entity_type text, hash_value text, column_name text)
			ORDER BY record_tip, field_name, position
			ON CONFLICT (record_tip, field_name, position) DO NOTHING
			RETURNING record_tip, entity_type, hash_value)
		INSERT INTO noggin_schema.unknown_hashes AS u (hash_value, entity_type, first_seen_tip, occurrence_count)
		SELECT n.hash_value, n.entity_type, min(n.record_tip), count(*) FROM new n
		WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = n.hash_value AND e.entity_type = n.entity_type)
		GROUP BY n.hash_value, n.entity_type ORDER BY n.hash_value, n.entity_type
		ON CONFLICT (hash_value, entity_type) DO UPDATE
		SET occurrence_count = u.occurrence_count + excluded.occurrence_count, last_seen_at = now(),
		    resolved_at = NULL, resolved_name = NULL`), string(doc))
	return err
}

// planAttachments adds rows for attachments that are new, tells those of the replaced
// service their field, and reads all of each record. Those that the platform no longer
// names stay: they are evidence.
func (db *DB) planAttachments(ctx context.Context, tx *sqlx.Tx, answers []Answer, stored map[ClaimKey]Stored) error {
	type row struct {
		Tip   string `json:"record_tip"`
		Order int    `json:"n"`
		PlannedAttachment
	}
	rows, tips, keys := []row{}, make([]string, 0, len(answers)), make(map[string]ClaimKey, len(answers))
	for _, a := range answers {
		tips, keys[a.Tip] = append(tips, a.Tip), a.key()
		for i, p := range a.Attachments {
			rows = append(rows, row{a.Tip, i, p})
		}
	}
	if len(rows) > 0 {
		doc, err := json.Marshal(rows)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			WITH v AS (SELECT v.* FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text, n integer, attachment_tip text, field_name text)
				WHERE NOT EXISTS (SELECT FROM noggin_schema.attachments a
					WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip AND a.field_name <> ''))
			INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name)
			SELECT v.record_tip, v.attachment_tip,
			       coalesce((SELECT max(a.attachment_sequence) FROM noggin_schema.attachments a WHERE a.record_tip = v.record_tip), 0)
			       + row_number() OVER (PARTITION BY v.record_tip ORDER BY v.n), v.field_name
			FROM v ON CONFLICT (record_tip, attachment_tip) DO UPDATE SET field_name = excluded.field_name
				WHERE attachments.field_name = ''`), string(doc)); err != nil {
			return err
		}
	}
	attachments, err := db.attachmentsOf(ctx, tx, tips)
	if err != nil {
		return err
	}
	for _, a := range attachments {
		named := func(r row) bool { return r.Tip == a.RecordTip && r.PlannedAttachment.Tip == a.Tip }
		if strings.HasPrefix(a.Tip, UnusablePrefix) && a.Status != "complete" && !slices.ContainsFunc(rows, named) {
			// The platform has mended its reference: it stood for no file.
			if _, err := tx.ExecContext(ctx, db.sql(`DELETE FROM noggin_schema.attachments WHERE record_tip = $1 AND attachment_tip = $2`), a.RecordTip, a.Tip); err != nil {
				return err
			}
			continue
		}
		s := stored[keys[a.RecordTip]]
		s.Attachments = append(s.Attachments, a)
		stored[keys[a.RecordTip]] = s
	}
	return nil
}

func (db *DB) attachmentsOf(ctx context.Context, q sqlx.QueryerContext, tips []string) (attachments []Attachment, err error) {
	err = sqlx.SelectContext(ctx, q, &attachments, db.sql(`SELECT `+attachmentColumns+`
		FROM noggin_schema.attachments a WHERE a.record_tip = ANY($1::text[]) ORDER BY a.record_tip, a.attachment_sequence`), pq.Array(tips))
	return attachments, err
}
