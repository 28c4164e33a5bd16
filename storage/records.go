package storage

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Reference is a field of a record that refers to another entity by its hash.
type Reference struct {
	Field      string `json:"field_name"`
	Position   int    `json:"position"` // in a list
	EntityType string `json:"entity_type"`
	Column     string `json:"column_name,omitempty"` // the column of noggin_data with the name; "": none
	Hash       string `json:"hash_value"`
}

// UnusablePrefix begins the key of an attachment whose media reference has no tip.
const UnusablePrefix = "unusable-"

// PlannedAttachment is an attachment that a record's answer names.
type PlannedAttachment struct {
	Tip   string `json:"attachment_tip"`
	Field string `json:"field_name"`
}

// Answer is an answer from the API about one record, as the database stores it.
type Answer struct {
	Tip            string             `json:"tip"`
	Token          int64              `json:"token"`
	ObjectType     string             `json:"object_type"`
	InspectionID   *string            `json:"inspection_id"`
	InspectionDate *string            `json:"inspection_date"` // 2025-09-17
	Columns        map[string]*string `json:"columns"`         // further columns of noggin_data; References fill the others
	APICreatedAt   *time.Time         `json:"api_created_at"`
	APIModifiedAt  *time.Time         `json:"api_modified_at"`
	Payload        json.RawMessage    `json:"payload"` // as jsonb takes it
	// Folders are the names to try for a record without a folder, best first.
	Folders [3]string `json:"folders"`

	References  []Reference         `json:"-"`
	Attachments []PlannedAttachment `json:"-"`
	Raw         []byte              `json:"-"` // the body as it was received
	SID         string              `json:"-"` // of this version
	Parents     []string            `json:"-"` // sids of the versions before
	Bare        bool                `json:"-"` // it has nothing but $meta
	// Refresh leaves a complete record as it is, unless the answer is a newer version.
	Refresh bool `json:"-"`

	version int // of record_versions
}

// Attachment is a row of the attachments table.
type Attachment struct {
	RecordTip    string           `db:"record_tip"`
	Tip          string           `db:"attachment_tip"`
	Sequence     int              `db:"attachment_sequence"`
	Field        string           `db:"field_name"`
	Status       AttachmentStatus `db:"attachment_status"`
	Validation   Validation       `db:"attachment_validation_status"`
	Filename     *string          `db:"filename"`
	Path         *string          `db:"file_path"`
	Size         *int64           `db:"file_size_bytes"`
	SHA256       *string          `db:"file_hash_sha256"`
	ContentType  *string          `db:"content_type"`
	RejectedHash *string          `db:"rejected_hash_sha256"`
	ArchiveID    *int64           `db:"archive_id"`
	Archive      *string          `db:"archive_name"`
	LastError    *string          `db:"last_error_message"`
	FormerDays   *int             `db:"former_days"` // since the API served former bytes in its place; nil: then it served its own
}

// NotLookedAt reports that the replaced service called the attachment complete and
// that noggin has not checked its file yet.
func (a Attachment) NotLookedAt() bool {
	return a.Status == AttachmentComplete && a.ContentType == nil && a.ArchiveID == nil
}

func (a Answer) key() ClaimKey { return ClaimKey{a.Tip, a.Token} }

// EntityKey identifies an entity that records refer to.
type EntityKey struct{ Type, Hash string }

// Names are the names known for references.
type Names map[EntityKey]string

// Lookup returns the name of an entity, if it is known.
func (n Names) Lookup(entityType, hash string) (string, bool) {
	name, ok := n[EntityKey{entityType, hash}]
	return name, ok
}

// ClaimKey identifies a claim: a record and the claim's token. A run whose lease ended
// may claim the record again and then hold two claims, of which only the later counts.
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
	Outcome     Outcome
	// Settled says that the record is complete and nothing of it changed.
	Settled bool
	// Payload is the current answer, if it is not the one that came.
	Payload []byte
	Marks
}

// attachmentColumns are the columns of an [Attachment]; a is the table.
const attachmentColumns = `a.record_tip, a.attachment_tip, a.attachment_sequence, a.field_name, a.attachment_status,
	a.attachment_validation_status, a.filename, a.file_path, a.file_size_bytes, a.file_hash_sha256, a.content_type,
	a.rejected_hash_sha256, a.archive_id, a.last_error_message, current_date - a.former_served_at::date AS former_days,
	(SELECT v.name FROM noggin_schema.archives v WHERE v.id = a.archive_id) AS archive_name`

// Store writes answers in one transaction. Every answer that differs from the known
// versions of its record becomes a version. An answer that is current fills the row:
// the payload, typed columns, names, references, unknown hashes, planned attachments and
// the status api_success. Of an older or a reduced answer only attachments that the record
// never had are noted, see [Marks.Dropped]. The result lacks answers whose claim was lost.
// It may be repeated.
func (db *DB) Store(ctx context.Context, run int64, answers []Answer) (map[ClaimKey]Stored, error) {
	stored, err := db.storeOnce(ctx, run, answers)
	for range 2 { // another run chose the same folder at the same moment; now Store sees it
		if !hasCode(err, "23505") {
			break
		}
		stored, err = db.storeOnce(ctx, run, answers)
	}
	return stored, err
}

func (db *DB) storeOnce(ctx context.Context, run int64, answers []Answer) (map[ClaimKey]Stored, error) {
	stored := make(map[ClaimKey]Stored, len(answers))
	var first map[ClaimKey]Outcome // of the first try: its COMMIT may have taken effect
	err := db.txUnlessBusy(ctx, "store the answers", func(tx *sqlx.Tx) error {
		clear(stored)
		// Either an import of names sees these references, or Store sees its names.
		if _, err := tx.ExecContext(ctx, db.sql(shareNames)); err != nil {
			return err
		}
		names, err := db.namesOf(ctx, tx, answers)
		if err != nil {
			return err
		}
		records, err := db.meet(ctx, tx, run, answers)
		if err != nil {
			return err
		}
		if err := db.storeVersions(ctx, tx, run, answers, records); err != nil {
			return err
		}
		var current []Answer // whose records get these answers, or had them before
		var older []Answer   // whose records keep their own
		var kept []string    // records that keep their own answers and are worked on
		for i := range records {
			m := &records[i]
			s := Stored{ClaimKey: m.ClaimKey, Folder: ValueOf(m.Folder), Outcome: m.Outcome, Settled: m.Settled, Names: namesIn(answers[m.N], names)}
			if was, ok := first[m.ClaimKey]; ok {
				s.Outcome = was
			}
			stored[m.ClaimKey] = s
			switch {
			case m.Outcome == OutcomeOlder || m.Outcome == OutcomeReduced:
				older = append(older, answers[m.N])
				if !m.Settled {
					kept = append(kept, m.Tip)
				}
			case !m.Settled:
				a := answers[m.N]
				a.version = m.Number
				current = append(current, a)
			}
		}
		if first == nil {
			first = map[ClaimKey]Outcome{}
			for key, s := range stored {
				first[key] = s.Outcome
			}
		}
		if err := db.updateAnswered(ctx, tx, run, current, names, stored); err != nil {
			return err
		}
		if err := db.keepAnswers(ctx, tx, kept, stored); err != nil {
			return err
		}
		if err := db.dropUnseen(ctx, tx, older); err != nil {
			return err
		}
		if err := db.storeReferences(ctx, tx, current, names); err != nil {
			return err
		}
		if err := db.planAttachments(ctx, tx, current); err != nil {
			return err
		}
		return db.fillStored(ctx, tx, stored)
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

// namesFor returns those names of the keys that are known. A hash means one object
// whatever its type: without a name of its own type, it has the one that was updated
// last.
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
		SELECT k.t AS entity_type, k.h AS hash_value, n.entity_name
		FROM (SELECT DISTINCT t, h FROM unnest($1::text[], $2::text[]) AS k (t, h)) k
		CROSS JOIN LATERAL (SELECT e.entity_name FROM noggin_schema.entity_hashes e WHERE e.hash_value = k.h
			ORDER BY (e.entity_type = k.t) DESC, e.updated_at DESC, e.entity_type LIMIT 1) n`),
		pq.Array(types), pq.Array(hashes))
	names := make(Names, len(rows))
	for _, r := range rows {
		names[EntityKey{r.Type, r.Hash}] = r.Name
	}
	return names, err
}

// UnknownName returns the text that stands in place of an unknown name.
func UnknownName(hash string) string { return "Unknown (" + hash + ")" }

// referenceColumns returns the columns that references fill and whether any name is
// unknown. The names of a list are joined.
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

// namesIn returns the names of an answer's references.
func namesIn(a Answer, names Names) Names {
	own := make(Names, len(a.References))
	for _, r := range a.References {
		if name, ok := names.Lookup(r.EntityType, r.Hash); ok {
			own[EntityKey{r.EntityType, r.Hash}] = name
		}
	}
	return own
}

func (db *DB) updateAnswered(ctx context.Context, tx *sqlx.Tx, run int64, answers []Answer, names Names, stored map[ClaimKey]Stored) error {
	if len(answers) == 0 {
		return nil
	}
	type row struct {
		Answer
		Version int  `json:"version"`
		Unknown bool `json:"unknown"`
	}
	rows := make([]row, len(answers))
	for i, a := range answers {
		columns, unknown := referenceColumns(a.References, names)
		for name, value := range a.Columns {
			columns[name] = value
		}
		a.Columns = columns
		rows[i] = row{a, a.version, unknown}
	}
	doc, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	var updated []Stored
	if err := tx.SelectContext(ctx, &updated, db.sql(`
		WITH v AS (SELECT * FROM jsonb_to_recordset($2::jsonb) AS v (tip text, token bigint, object_type text, inspection_id text,
				inspection_date date, columns jsonb, api_created_at timestamptz, api_modified_at timestamptz, payload jsonb,
				folders jsonb, version integer, unknown boolean) ORDER BY tip)
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
			payload = v.payload, version = v.version, api_created_at = v.api_created_at, api_modified_at = v.api_modified_at,
			folder = coalesce(d.folder, CASE
				WHEN NOT EXISTS (SELECT FROM noggin_schema.noggin_data o WHERE o.folder = v.folders->>0) THEN v.folders->>0
				WHEN NOT EXISTS (SELECT FROM noggin_schema.noggin_data o WHERE o.folder = v.folders->>1) THEN v.folders->>1
				ELSE v.folders->>2 END)
		FROM v WHERE d.tip = v.tip AND d.claim_token = v.token AND d.claimed_by = $1
		RETURNING d.tip, d.claim_token, d.folder`), run, string(doc)); err != nil {
		return err
	}
	for _, u := range updated {
		s := stored[u.ClaimKey]
		s.Folder = u.Folder
		stored[u.ClaimKey] = s
	}
	return nil
}

// storeReferences replaces the references of the records and counts the unknown hashes
// among the new ones.
func (db *DB) storeReferences(ctx context.Context, tx *sqlx.Tx, answers []Answer, names Names) error {
	if len(answers) == 0 {
		return nil
	}
	type row struct {
		Tip string `json:"record_tip"`
		Reference
	}
	rows, tips, unknown := []row{}, make([]string, 0, len(answers)), []string{}
	for _, a := range answers {
		tips = append(tips, a.Tip)
		for _, r := range a.References {
			rows = append(rows, row{a.Tip, r})
			if _, known := names.Lookup(r.EntityType, r.Hash); !known {
				unknown = append(unknown, r.Hash)
			}
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
			RETURNING record_tip, entity_type, hash_value),
		seen AS (SELECT n.hash_value, n.entity_type, min(n.record_tip) AS tip, count(*) AS n, coalesce((SELECT u.resolved_at IS NULL
				FROM noggin_schema.unknown_hashes u WHERE u.hash_value = n.hash_value AND u.entity_type = n.entity_type), false) AS listed
			FROM new n WHERE n.hash_value = ANY($2::text[]) GROUP BY n.hash_value, n.entity_type),
		counted AS (INSERT INTO noggin_schema.unknown_hash_counts (hash_value, entity_type, occurrences)
			SELECT hash_value, entity_type, n FROM seen WHERE listed)
		INSERT INTO noggin_schema.unknown_hashes AS u (hash_value, entity_type, first_seen_tip, occurrence_count)
		SELECT hash_value, entity_type, tip, n FROM seen WHERE NOT listed ORDER BY hash_value, entity_type
		ON CONFLICT (hash_value, entity_type) DO UPDATE
		SET occurrence_count = u.occurrence_count + excluded.occurrence_count, last_seen_at = now(),
		    resolved_at = NULL, resolved_name = NULL`), string(doc), pq.Array(unknown))
	return err
}

func (db *DB) attachmentsOf(ctx context.Context, q sqlx.QueryerContext, tips []string) (attachments []Attachment, err error) {
	err = sqlx.SelectContext(ctx, q, &attachments, db.sql(`SELECT `+attachmentColumns+`
		FROM noggin_schema.attachments a WHERE a.record_tip = ANY($1::text[]) ORDER BY a.record_tip, a.attachment_sequence`), pq.Array(tips))
	return attachments, err
}
