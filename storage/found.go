package storage

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/jmoiron/sqlx"
)

// FoundFile is a file that is on disk and that the database does not know: a killed run
// named it, the database was restored, or the run got an attachment of another version than
// the current one.
type FoundFile struct {
	Path          string `json:"path"`
	RecordTip     string `json:"record_tip"`
	Kind          string `json:"kind"` // attachment, suspect, report
	AttachmentTip string `json:"attachment_tip"`
	Sequence      int    `json:"sequence"`
	Highest       int    `json:"highest"` // number of an attachment in the folder
	Version       int    `json:"first_version"`
	LastVersion   int    `json:"last_version"`
	Size          int64  `json:"size_bytes"`
	SHA256        string `json:"sha256"`
	ContentType   string `json:"content_type"` // of an attachment; empty: nothing shows that it ever was current
	// These are known of a file that came from the API.
	Field      string     `json:"field_name"`
	Validation Validation `json:"validation"`
}

// writeFound records files that are on disk. Their numbers do not return. They are sealed.
func (db *DB) writeFound(ctx context.Context, tx *sqlx.Tx, found []FoundFile) error {
	if len(found) == 0 {
		return nil
	}
	doc, err := json.Marshal(found)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		WITH v AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS v (path text, record_tip text, kind text, attachment_tip text, sequence integer,
				highest integer, first_version integer, last_version integer, size_bytes bigint, sha256 text, field_name text, validation text,
				content_type text)),
		due AS (INSERT INTO noggin_schema.seal_due AS s (record_tip) SELECT DISTINCT v.record_tip FROM v WHERE v.kind = 'attachment' ORDER BY 1
			ON CONFLICT (record_tip) DO UPDATE SET marks = s.marks + 1),
		numbered AS (UPDATE noggin_schema.noggin_data d SET last_sequence = greatest(d.last_sequence,
				(SELECT max(greatest(v.sequence, v.highest)) FROM v WHERE v.record_tip = d.tip))
			WHERE d.tip = ANY(ARRAY(SELECT DISTINCT v.record_tip FROM v)))
		INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, attachment_sequence, field_name, first_version, last_version,
			validation, size_bytes, hash_sha256, content_type, downloaded_at)
		SELECT v.path, v.record_tip, v.kind, v.attachment_tip, v.sequence, v.field_name, v.first_version, v.last_version,
		       v.validation, v.size_bytes, v.sha256, v.content_type, CASE WHEN v.validation <> '' THEN now() END
		FROM v ORDER BY v.path ON CONFLICT DO NOTHING`), string(doc))
	return err
}

// dropUnseen gives numbers to the attachments that answers name and that their records never
// had, and adds them to those that left the record before they were complete: the answers
// are not current. The records are locked.
func (db *DB) dropUnseen(ctx context.Context, tx *sqlx.Tx, answers []Answer) error {
	type row struct {
		Tip        string `json:"record_tip"`
		Order      int    `json:"n"`
		Attachment string `json:"attachment_tip"`
	}
	var rows []row
	for _, a := range answers {
		for n, p := range a.Attachments {
			if !strings.HasPrefix(p.Tip, UnusablePrefix) {
				rows = append(rows, row{a.Tip, n, p.Tip})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	doc, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		WITH v AS MATERIALIZED (SELECT v.record_tip, v.attachment_tip, min(v.n) AS n
			FROM jsonb_to_recordset($1::jsonb) AS v (record_tip text, n integer, attachment_tip text) GROUP BY 1, 2),
		unseen AS (SELECT v.record_tip, v.attachment_tip, row_number() OVER (PARTITION BY v.record_tip ORDER BY v.n) AS n FROM v
			WHERE NOT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = v.record_tip AND a.attachment_tip = v.attachment_tip)
			  AND NOT EXISTS (SELECT FROM noggin_schema.former_files f WHERE f.record_tip = v.record_tip AND f.attachment_tip = v.attachment_tip)
			  AND NOT EXISTS (SELECT FROM noggin_schema.noggin_data o, jsonb_each_text(CASE jsonb_typeof(o.dropped) WHEN 'object' THEN o.dropped ELSE '{}' END) AS e
				WHERE o.tip = v.record_tip AND e.value = v.attachment_tip)),
		last AS (SELECT d.tip, greatest(d.last_sequence, (SELECT max(a.attachment_sequence) FROM noggin_schema.attachments a
				WHERE a.record_tip = d.tip)) AS sequence
			FROM noggin_schema.noggin_data d WHERE d.tip IN (SELECT u.record_tip FROM unseen u)),
		numbered AS (SELECT l.tip, max(l.sequence + u.n) AS highest, jsonb_object_agg(l.sequence + u.n, u.attachment_tip) AS named
			FROM last l JOIN unseen u ON u.record_tip = l.tip GROUP BY 1)
		UPDATE noggin_schema.noggin_data d SET last_sequence = n.highest, dropped = coalesce(d.dropped, '{}') || n.named
		FROM numbered n WHERE d.tip = n.tip`), string(doc))
	return err
}
