package storage

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Outcome is how an answer compares with what is stored of its record.
type Outcome string

// The outcomes.
const (
	OutcomeFirst     Outcome = "first"     // the record had no answer yet
	OutcomeUnchanged Outcome = "unchanged" // equal to the current version
	OutcomeChanged   Outcome = "changed"   // a version that is current now
	OutcomeOlder     Outcome = "older"     // a version from before the current one, which stays current
	OutcomeReduced   Outcome = "reduced"   // nothing but $meta; the current version stays current
)

// met is a claimed record whose answer came.
type met struct {
	ClaimKey
	N          int        `db:"n"` // of the answer
	Status     Status     `db:"processing_status"`
	Version    int        `db:"version"` // the current one
	Fetched    bool       `db:"fetched"` // it has an answer
	Same       bool       `db:"same"`    // which is equal to this one
	Full       bool       `db:"full"`    // which has more than $meta
	SID        *string    `db:"sid"`     // of the current version
	ModifiedAt *time.Time `db:"api_modified_at"`
	Hash       []byte     `db:"payload_sha256"` // of this answer
	Folder     *string    `db:"folder"`

	Outcome Outcome `db:"-"`
	Settled bool    `db:"-"` // the record is complete and stays as it is
	Number  int     `db:"-"` // of this answer's version
}

// meet locks the records of the answers whose claim still holds and compares the
// answers with the current versions.
func (db *DB) meet(ctx context.Context, tx *sqlx.Tx, run int64, answers []Answer) ([]met, error) {
	type row struct {
		N       int             `json:"n"`
		Tip     string          `json:"tip"`
		Token   int64           `json:"token"`
		Payload json.RawMessage `json:"payload"`
	}
	rows := make([]row, len(answers))
	for i, a := range answers {
		rows[i] = row{i, a.Tip, a.Token, a.Payload}
	}
	doc, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	var records []met
	err = tx.SelectContext(ctx, &records, db.sql(`
		SELECT v.n, d.tip, d.claim_token, d.processing_status, coalesce(d.version, 1) AS version, d.payload IS NOT NULL AS fetched,
		       coalesce(d.payload = v.payload, false) AS same, coalesce(d.payload - '$meta' <> '{}'::jsonb, false) AS full,
		       d.payload->'$meta'->>'sid' AS sid, sha256(convert_to(v.payload::text, 'UTF8')) AS payload_sha256, d.folder,
		       CASE WHEN d.api_modified_at < now() + interval '1 day' THEN d.api_modified_at END AS api_modified_at
		FROM jsonb_to_recordset($2::jsonb) AS v (n integer, tip text, token bigint, payload jsonb)
		JOIN noggin_schema.noggin_data d ON d.tip = v.tip AND d.claim_token = v.token
		WHERE d.claimed_by = $1 ORDER BY d.tip FOR NO KEY UPDATE OF d`), run, string(doc))
	return records, err
}

// storedVersion is what the comparison of versions needs of one.
type storedVersion struct {
	Tip        string         `db:"record_tip"`
	Version    int            `db:"version"`
	SID        *string        `db:"sid"`
	Parents    pq.StringArray `db:"parent_sids"`
	ModifiedAt *time.Time     `db:"api_modified_at"`
	Hash       []byte         `db:"payload_sha256"`
}

// storeVersions keeps every answer that is a version of its own, and decides which
// answers are current from now on.
func (db *DB) storeVersions(ctx context.Context, tx *sqlx.Tx, run int64, answers []Answer, records []met) error {
	var known []string // records that have versions, or may have
	for _, m := range records {
		if m.Fetched {
			known = append(known, m.Tip)
		}
	}
	versions := map[string][]storedVersion{}
	if len(known) > 0 {
		var all []storedVersion
		if err := tx.SelectContext(ctx, &all, db.sql(`
			SELECT record_tip, version, sid, parent_sids, api_modified_at, payload_sha256 FROM noggin_schema.record_versions
			WHERE record_tip = ANY($1::text[]) ORDER BY record_tip, version`), pq.Array(known)); err != nil {
			return err
		}
		for _, v := range all {
			versions[v.Tip] = append(versions[v.Tip], v)
		}
	}
	var fromRow []string
	for i := range records {
		if m := &records[i]; m.Fetched && !m.Same && len(versions[m.Tip]) == 0 {
			fromRow = append(fromRow, m.Tip)
		}
	}
	rows, err := db.versionsFromRows(ctx, tx, fromRow)
	if err != nil {
		return err
	}
	for i := range records {
		m := &records[i]
		a := answers[m.N]
		m.judge(a, versions[m.Tip])
		if m.Number == 0 {
			m.Number = m.Version
			if m.Fetched && !m.Same {
				m.Number++
			}
			for _, v := range versions[m.Tip] {
				m.Number = max(m.Number, v.Version+1)
			}
			rows = append(rows, newVersion(a, *m))
		}
		m.Settled = a.Refresh && m.Status == StatusComplete && m.Outcome != OutcomeChanged && m.Outcome != OutcomeFirst
	}
	return db.insertVersions(ctx, tx, run, rows)
}

// judge sets the outcome, and the number of the version that the answer is equal to, if
// there is one.
func (m *met) judge(a Answer, versions []storedVersion) {
	for _, v := range versions {
		if bytes.Equal(v.Hash, m.Hash) {
			m.Number = v.Version
		}
	}
	switch {
	case !m.Fetched:
		m.Outcome = OutcomeFirst
	case m.Same:
		m.Outcome = OutcomeUnchanged
		if len(versions) > 0 { // else the answer is version 1, from before the upgrade
			m.Number = m.Version
		}
	case a.Bare && m.Full:
		m.Outcome = OutcomeReduced
	case m.older(a, versions):
		m.Outcome = OutcomeOlder
	default:
		m.Outcome = OutcomeChanged
	}
}

// older reports whether the answer is from before the current version. The chain of
// versions decides, where it is known, before the clock. A time far ahead decides nothing:
// every later answer would be from before it.
func (m *met) older(a Answer, versions []storedVersion) bool {
	current := ValueOf(m.SID)
	if current != "" && slices.Contains(a.Parents, current) {
		return false
	}
	if a.SID != "" && a.SID != current && slices.Contains(ancestors(current, m.Version, versions), a.SID) {
		return true
	}
	return a.APIModifiedAt != nil && m.ModifiedAt != nil && a.APIModifiedAt.Before(*m.ModifiedAt)
}

// ancestors returns the sids before the current version, as far as the versions tell.
func ancestors(current string, number int, versions []storedVersion) []string {
	parents := map[string][]string{}
	var found []string
	for _, v := range versions {
		if sid := ValueOf(v.SID); sid != "" {
			parents[sid] = append(parents[sid], v.Parents...)
		} else if v.Version == number {
			found = append(found, v.Parents...)
		}
	}
	seen := map[string]bool{current: true}
	for at := slices.Concat(found, parents[current]); len(at) > 0; at = at[1:] {
		if !seen[at[0]] {
			seen[at[0]] = true
			found = append(found, at[0])
			at = append(at, parents[at[0]]...)
		}
	}
	return found
}

// versionRow is a row of record_versions to insert.
type versionRow struct {
	Tip        string
	Number     int
	Kind       string
	FromRow    bool
	SID        *string
	Parents    []string
	ModifiedAt *time.Time
	Hash       []byte
	Raw        []byte
	FetchedAt  *time.Time // nil: now
}

func newVersion(a Answer, m met) versionRow {
	kind := "version"
	if m.Outcome == OutcomeOlder || m.Outcome == OutcomeReduced {
		kind = string(m.Outcome)
	}
	raw := a.Raw
	if raw == nil {
		raw = a.Payload
	}
	return versionRow{Tip: a.Tip, Number: m.Number, Kind: kind, SID: Optional(a.SID), Parents: a.Parents, ModifiedAt: a.APIModifiedAt, Hash: m.Hash, Raw: raw}
}

// versionsFromRows makes version 1 of records whose answer came before the upgrade to
// version 2 of the schema.
func (db *DB) versionsFromRows(ctx context.Context, tx *sqlx.Tx, tips []string) ([]versionRow, error) {
	if len(tips) == 0 {
		return nil, nil
	}
	var found []struct {
		Tip        string         `db:"tip"`
		Version    int            `db:"version"`
		Payload    []byte         `db:"payload"`
		Hash       []byte         `db:"payload_sha256"`
		SID        *string        `db:"sid"`
		Parents    pq.StringArray `db:"parents"`
		ModifiedAt *time.Time     `db:"api_modified_at"`
		FetchedAt  *time.Time     `db:"processed_at"`
	}
	err := tx.SelectContext(ctx, &found, db.sql(`
		SELECT d.tip, coalesce(d.version, 1) AS version, convert_to(d.payload::text, 'UTF8') AS payload, sha256(convert_to(d.payload::text, 'UTF8')) AS payload_sha256,
		       d.payload->'$meta'->>'sid' AS sid, d.api_modified_at, d.processed_at,
		       ARRAY(SELECT jsonb_array_elements_text(CASE jsonb_typeof(d.payload->'$meta'->'parent') WHEN 'array'
		           THEN d.payload->'$meta'->'parent' ELSE '[]' END)) AS parents
		FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[])`), pq.Array(tips))
	rows := make([]versionRow, len(found))
	for i, f := range found {
		rows[i] = versionRow{
			Tip: f.Tip, Number: f.Version, Kind: "version", FromRow: true, SID: f.SID, Parents: f.Parents, ModifiedAt: f.ModifiedAt,
			Hash: f.Hash, Raw: f.Payload, FetchedAt: f.FetchedAt,
		}
	}
	return rows, err
}

func (db *DB) insertVersions(ctx context.Context, tx *sqlx.Tx, run int64, rows []versionRow) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortStableFunc(rows, func(a, b versionRow) int { return strings.Compare(a.Tip, b.Tip) })
	type line struct {
		Tip        string     `json:"tip"`
		Number     int        `json:"version"`
		Kind       string     `json:"kind"`
		FromRow    bool       `json:"from_row"`
		SID        *string    `json:"sid"`
		Parents    []string   `json:"parents"`
		ModifiedAt *time.Time `json:"modified_at"`
		Hash       string     `json:"hash"`
		Size       int        `json:"size"`
		SHA256     string     `json:"sha256"`
		FetchedAt  *time.Time `json:"fetched_at"`
	}
	lines, bodies := make([]line, len(rows)), make(pq.ByteaArray, len(rows))
	for i, r := range rows {
		sum := sha256.Sum256(r.Raw)
		lines[i] = line{r.Tip, r.Number, r.Kind, r.FromRow, r.SID, append([]string{}, r.Parents...), r.ModifiedAt, hex.EncodeToString(r.Hash), len(r.Raw), hex.EncodeToString(sum[:]), r.FetchedAt}
		var err error
		if bodies[i], err = compress(r.Raw); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(lines)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.record_versions (record_tip, version, kind, from_row, sid, parent_sids, api_modified_at, payload_sha256, answer,
			size_bytes, hash_sha256, fetched_at, run_id)
		SELECT v.tip, v.version, v.kind, v.from_row, v.sid, ARRAY(SELECT jsonb_array_elements_text(v.parents)), v.modified_at, decode(v.hash, 'hex'), v.answer,
		       v.size, v.sha256, coalesce(v.fetched_at, now()), CASE WHEN NOT v.from_row THEN $3::bigint END
		FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (tip text, version integer, kind text, from_row boolean, sid text, parents jsonb,
				modified_at timestamptz, hash text, size bigint, sha256 text, fetched_at timestamptz),
			unnest($2::bytea[])) AS v (tip, version, kind, from_row, sid, parents, modified_at, hash, size, sha256, fetched_at, answer)
		ON CONFLICT DO NOTHING`), string(doc), bodies, run)
	return err
}

var compressors = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}

// compress returns data in gzip.
func compress(data []byte) ([]byte, error) {
	w := compressors.Get().(*gzip.Writer)
	defer compressors.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("compress an answer: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress an answer: %w", err)
	}
	return out.Bytes(), nil
}

// decompress undoes compress, for an answer of that size. Whoever changed the row may have
// put something in its place that fills the memory.
func decompress(data []byte, size int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompress an answer: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, size+1))
	if err == nil && int64(len(out)) > size {
		err = fmt.Errorf("it has more than %d bytes", size)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress an answer: %w", err)
	}
	return out, nil
}
