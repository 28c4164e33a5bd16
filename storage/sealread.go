package storage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// SealLogs returns the logs, the oldest first.
func (db *DB) SealLogs(ctx context.Context) (logs []SealLog, err error) {
	err = db.read(ctx, "read the logs", func(ctx context.Context) (err error) { logs, err = db.sealLogs(ctx, db.pool); return err })
	return logs, err
}

func (db *DB) sealLogs(ctx context.Context, q sqlx.QueryerContext) (logs []SealLog, err error) {
	err = sqlx.SelectContext(ctx, q, &logs, db.sql(`SELECT id, origin, verifier, begun_at, reason FROM noggin_schema.seal_logs ORDER BY id`))
	return logs, err
}

// SealHead returns the newest checkpoint of a log, or a head without a note.
func (db *DB) SealHead(ctx context.Context, log int) (head SealHead, err error) {
	err = db.read(ctx, "read the checkpoint", func(ctx context.Context) (err error) { head, err = db.sealHead(ctx, db.pool, log); return err })
	return head, err
}

func (db *DB) sealHead(ctx context.Context, q sqlx.QueryerContext, log int) (head SealHead, err error) {
	err = sqlx.GetContext(ctx, q, &head, db.sql(`
		SELECT log_id, tree_size, note, made_at, published_at, publish_error FROM noggin_schema.seal_checkpoints
		WHERE log_id = $1 ORDER BY tree_size DESC LIMIT 1`), log)
	if errors.Is(err, sql.ErrNoRows) {
		return SealHead{LogID: log}, nil
	}
	return head, err
}

// SealHeads returns all checkpoints of a log, the smallest first.
func (db *DB) SealHeads(ctx context.Context, log int) (heads []SealHead, err error) {
	err = db.selectAll(ctx, "read the checkpoints", &heads, `
		SELECT log_id, tree_size, note, made_at, published_at, publish_error FROM noggin_schema.seal_checkpoints
		WHERE log_id = $1 ORDER BY tree_size`, log)
	return heads, err
}

// SealPublished tells whether a checkpoint of the log was in the folder of checkpoints, as
// the database knows it: a run that wrote one ended, or [seal] publish took it.
func (db *DB) SealPublished(ctx context.Context, log SealLog) (published bool, err error) {
	err = db.get(ctx, "look whether a checkpoint was published", &published, `
		SELECT EXISTS (SELECT FROM noggin_schema.seal_checkpoints WHERE log_id = $1 AND published_at IS NOT NULL)
		    OR EXISTS (SELECT FROM noggin_schema.runs WHERE command = 'seal' AND exit_code IN (0, 3)
		               AND summary->>'log' = $2 AND summary->>'checkpoint' <> '')`, log.ID, log.Origin)
	return published, err
}

// SealTiles reads tiles of a log. Missing ones are left out.
func (db *DB) SealTiles(ctx context.Context, log int, wanted []SealTile) (tiles []SealTile, err error) {
	err = db.read(ctx, "read the tree", func(ctx context.Context) (err error) {
		tiles, err = db.sealTiles(ctx, db.pool, log, wanted)
		return err
	})
	return tiles, err
}

func (db *DB) sealTiles(ctx context.Context, q sqlx.QueryerContext, log int, wanted []SealTile) (tiles []SealTile, err error) {
	levels, numbers := make([]int64, len(wanted)), make([]int64, len(wanted))
	for i, t := range wanted {
		levels[i], numbers[i] = int64(t.Level), t.Number
	}
	err = sqlx.SelectContext(ctx, q, &tiles, db.sql(`
		SELECT t.level, t.number, t.hashes FROM unnest($2::integer[], $3::bigint[]) AS v (level, number)
		JOIN noggin_schema.seal_tiles t ON t.log_id = $1 AND t.level = v.level AND t.number = v.number`), log, pq.Array(levels), pq.Array(numbers))
	return tiles, err
}

// EachLeaf hands the leaves of a log from a first position to a last one to each, in their
// order.
func (db *DB) EachLeaf(ctx context.Context, log int, first, last int64, each func(SealedLeaf) error) error {
	return eachRow(ctx, db, "read the leaves", each, `
		SELECT log_id, position, record_tip, claim, leaf FROM noggin_schema.seal_leaves
		WHERE log_id = $1 AND position BETWEEN $2 AND $3 ORDER BY position`, log, first, last)
}

// LeavesOf returns the leaves of records in a log, by position.
func (db *DB) LeavesOf(ctx context.Context, log int, tips []string) (leaves []SealedLeaf, err error) {
	err = db.selectAll(ctx, "look for the records' leaves", &leaves, `
		SELECT log_id, position, record_tip, claim, leaf FROM noggin_schema.seal_leaves
		WHERE record_tip = ANY($2::text[]) AND log_id = $1 ORDER BY position`, log, pq.Array(tips))
	return leaves, err
}

// SealedBefore returns those of the records that have a leaf in one of the logs, before the
// leaf at a position of one of them.
func (db *DB) SealedBefore(ctx context.Context, logs []SealLog, at SealedLeaf, tips []string) (before []string, err error) {
	ids := make([]int64, len(logs))
	for i, l := range logs {
		ids[i] = int64(l.ID)
	}
	// The LIMIT makes the planner look for each record by itself, and the look ends at the
	// first leaf.
	err = db.selectAll(ctx, "look for the records' earlier leaves", &before, `
		SELECT v.tip FROM unnest($4::text[]) AS v (tip), LATERAL (SELECT FROM noggin_schema.seal_leaves l
			WHERE l.record_tip = v.tip AND l.position >= 0 AND l.log_id = ANY($1::integer[]) AND (l.log_id, l.position) < ($2::integer, $3::bigint) LIMIT 1) AS one`,
		pq.Array(ids), at.LogID, at.Position, pq.Array(tips))
	return before, err
}

// SealDue returns those of the records of which a version may not be in the log yet.
func (db *DB) SealDue(ctx context.Context, tips []string) (due []string, err error) {
	err = db.selectAll(ctx, "look for the records' marks", &due, `
		SELECT record_tip FROM noggin_schema.seal_due WHERE record_tip = ANY($1::text[])`, pq.Array(tips))
	return due, err
}

// SealRecord is what the database has of a record, as it was at one moment.
type SealRecord struct {
	Due      bool          // the next run seals it
	Leaves   []SealedLeaf  // in every log, the oldest first
	Versions []SealVersion // with the body of the current one
	Files    []SealFile    // of attachments, the former ones too
}

// SealRecords reads what there is of records, by tip. A mark goes with the leaves that take
// it off, so a record that is as noggin left it is due or has a leaf.
func (db *DB) SealRecords(ctx context.Context, tips []string) (records map[string]*SealRecord, err error) {
	err = db.snapshot(ctx, "read what was sealed", func(tx *sqlx.Tx) error {
		records = make(map[string]*SealRecord, len(tips))
		for _, tip := range tips {
			records[tip] = &SealRecord{}
		}
		var due []string
		if err := tx.SelectContext(ctx, &due, db.sql(`
			SELECT record_tip FROM noggin_schema.seal_due WHERE record_tip = ANY($1::text[])`), pq.Array(tips)); err != nil {
			return err
		}
		leaves, err := db.claims(ctx, tx, tips)
		if err != nil {
			return err
		}
		versions, err := db.sealVersions(ctx, tx, tips, func(v *SealVersion) bool { return v.Current })
		if err != nil {
			return err
		}
		files, err := db.sealFiles(ctx, tx, tips)
		for _, tip := range due {
			records[tip].Due = true
		}
		for _, l := range leaves {
			records[l.Tip].Leaves = append(records[l.Tip].Leaves, l)
		}
		for _, v := range versions {
			records[v.Tip].Versions = append(records[v.Tip].Versions, v)
		}
		for _, f := range files {
			records[f.RecordTip].Files = append(records[f.RecordTip].Files, f)
		}
		return err
	})
	return records, err
}

// claims returns what is sealed of records, in every log, the oldest first: the leaves that
// EachLeaf hands out too, from position 0 on.
func (db *DB) claims(ctx context.Context, q sqlx.QueryerContext, tips []string) (leaves []SealedLeaf, err error) {
	err = sqlx.SelectContext(ctx, q, &leaves, db.sql(`
		SELECT log_id, position, record_tip, claim, leaf FROM noggin_schema.seal_leaves
		WHERE record_tip = ANY($1::text[]) AND position >= 0 AND log_id IN (SELECT id FROM noggin_schema.seal_logs)
		ORDER BY log_id, position`), pq.Array(tips))
	return leaves, err
}

// sealVersions reads the versions of records. It keeps the bodies that are wanted, so that a
// record with many versions takes little memory.
func (db *DB) sealVersions(ctx context.Context, q sqlx.QueryerContext, tips []string, wanted func(*SealVersion) bool) (versions []SealVersion, err error) {
	rows, err := q.QueryxContext(ctx, db.sql(`
		SELECT v.record_tip, coalesce(d.inspection_id, d.expected_inspection_id, '') AS inspection_id, d.object_type, v.version, v.kind, v.from_row, coalesce(v.sid, '') AS sid, v.api_modified_at, v.fetched_at, v.size_bytes, v.hash_sha256,
		       v.version = coalesce(d.version, 1) AS current, d.processing_status = 'complete' AS complete, v.answer
		FROM noggin_schema.record_versions v JOIN noggin_schema.noggin_data d ON d.tip = v.record_tip
		WHERE v.record_tip = ANY($1::text[]) ORDER BY v.record_tip, v.version`), pq.Array(tips))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err returns what went wrong
	for rows.Next() {
		var v SealVersion
		if err := rows.StructScan(&v); err != nil {
			return nil, err
		}
		body, err := decompress(v.Body, v.Size)
		sum := sha256.Sum256(body)
		v.Body, v.Whole, v.BodySHA256 = body, err == nil, hex.EncodeToString(sum[:])
		if !wanted(&v) {
			v.Body = nil
		}
		versions = append(versions, v)
	}
	return versions, rows.Err()
}

// lostWith names the archive with which a file was given up, and why; ”: none.
func lostWith(file string) string {
	return `coalesce((SELECT concat(v.name, ': ', v.lost_reason) FROM noggin_schema.archives v WHERE v.id = ` + file + `.archive_id AND v.lost_at IS NOT NULL), '')`
}

// heldBy tells whether the archive that a file is said to be in holds anything of its record.
func heldBy(file string) string {
	return `EXISTS (SELECT FROM noggin_schema.archive_records h JOIN noggin_schema.archives v ON v.id = h.archive_id
		WHERE h.record_tip = ` + file + `.record_tip AND h.archive_id = ` + file + `.archive_id AND v.state <> 'writing')`
}

func (db *DB) sealFiles(ctx context.Context, q sqlx.QueryerContext, tips []string) (files []SealFile, err error) {
	err = sqlx.SelectContext(ctx, q, &files, db.sql(`
		SELECT a.record_tip, a.attachment_tip, coalesce(a.file_path, '') AS path, coalesce(a.file_size_bytes, -1) AS size_bytes,
		       lower(a.file_hash_sha256) AS hash_sha256, a.download_completed_at AS downloaded_at, coalesce(a.first_version, 1) AS first_version,
		       NULL::integer AS last_version, a.archive_id, a.attachment_status = 'complete' AS complete, `+heldBy("a")+` AS held, `+lostWith("a")+` AS lost
		FROM noggin_schema.attachments a
		WHERE a.record_tip = ANY($1::text[]) AND a.file_hash_sha256 <> ''
		UNION ALL
		SELECT f.record_tip, f.attachment_tip, f.path, f.size_bytes, lower(f.hash_sha256), f.downloaded_at, f.first_version, f.last_version, f.archive_id, true, `+heldBy("f")+`, `+lostWith("f")+`
		FROM noggin_schema.former_files f WHERE f.record_tip = ANY($1::text[]) AND f.kind <> 'report' AND f.hash_sha256 <> ''
		ORDER BY record_tip, attachment_tip, path`), pq.Array(tips))
	return files, err
}

// BodyBytes returns how many bytes the bodies of each record have, about.
func (db *DB) BodyBytes(ctx context.Context, tips []string) (sizes map[string]int64, err error) {
	err = db.read(ctx, "read the sizes of bodies", func(ctx context.Context) (err error) {
		sizes, err = db.bodyBytes(ctx, db.pool, tips)
		return err
	})
	return sizes, err
}

func (db *DB) bodyBytes(ctx context.Context, q sqlx.QueryerContext, tips []string) (map[string]int64, error) {
	var rows []struct {
		Tip   string `db:"tip"`
		Bytes int64  `db:"bytes"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, db.sql(`
		SELECT d.tip, coalesce((SELECT sum(v.size_bytes)::bigint FROM noggin_schema.record_versions v WHERE v.record_tip = d.tip),
		       pg_column_size(d.payload), 0) AS bytes
		FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[])`), pq.Array(tips))
	sizes := make(map[string]int64, len(rows))
	for _, r := range rows {
		sizes[r.Tip] = r.Bytes
	}
	return sizes, err
}

// UnlikeBodies returns the records among answers whose payload is not equal to the one
// given here, by tip.
func (db *DB) UnlikeBodies(ctx context.Context, answers map[string]json.RawMessage) (tips []string, err error) {
	type row struct {
		Tip     string          `json:"tip"`
		Payload json.RawMessage `json:"payload"`
	}
	rows := make([]row, 0, len(answers))
	for tip, payload := range answers {
		rows = append(rows, row{tip, payload})
	}
	doc, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	err = db.selectAll(ctx, "compare the payloads", &tips, `
		SELECT d.tip FROM jsonb_to_recordset($1::jsonb) AS v (tip text, payload jsonb)
		JOIN noggin_schema.noggin_data d ON d.tip = v.tip WHERE d.payload IS DISTINCT FROM v.payload ORDER BY d.tip`, string(doc))
	return tips, err
}

// UnlikeColumns returns the columns of records that have not the value given here, by tip.
// A column that is not given counts for nothing.
func (db *DB) UnlikeColumns(ctx context.Context, columns map[string]map[string]*string) (unlike map[string][]string, err error) {
	doc, err := json.Marshal(columns)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Tip    string `db:"tip"`
		Column string `db:"name"`
	}
	err = db.selectAll(ctx, "compare the columns", &rows, `
		SELECT d.tip, e.key AS name FROM jsonb_each($1::jsonb) AS v (tip, columns)
		JOIN noggin_schema.noggin_data d ON d.tip = v.tip
		CROSS JOIN LATERAL (SELECT to_jsonb(c) AS has FROM (SELECT d.inspection_id, d.inspection_date, d.vehicle, d.vehicle_hash, d.trailer, d.trailer_hash,
			d.trailer2, d.trailer2_hash, d.trailer3, d.trailer3_hash, d.department, d.department_hash, d.team, d.team_hash, d.inspected_by,
			d.inspected_by_hash, d.driver_loader_name, d.job_number, d.run_number, d.load_compliance) AS c) AS r
		CROSS JOIN LATERAL jsonb_each_text(v.columns) AS e
		WHERE r.has->>e.key IS DISTINCT FROM e.value ORDER BY d.tip, e.key`, string(doc))
	unlike = make(map[string][]string, len(rows))
	for _, r := range rows {
		unlike[r.Tip] = append(unlike[r.Tip], r.Column)
	}
	return unlike, err
}

// UnsealedRecord is a complete record that no leaf names, although no mark says that it is
// due.
type UnsealedRecord struct {
	Tip          string  `db:"tip"`
	InspectionID *string `db:"inspection_id"`
}

// Unsealed returns the first limit such records with an answer, and how many there are.
func (db *DB) Unsealed(ctx context.Context, limit int) (records []UnsealedRecord, count int64, err error) {
	const unsealed = `FROM noggin_schema.noggin_data d WHERE d.processing_status = 'complete' AND d.payload IS NOT NULL
		AND NOT EXISTS (SELECT FROM noggin_schema.seal_leaves l WHERE l.record_tip = d.tip)
		AND NOT EXISTS (SELECT FROM noggin_schema.seal_due s WHERE s.record_tip = d.tip)`
	if err = db.get(ctx, "count the records without a leaf", &count, `SELECT count(*) `+unsealed); err != nil || count == 0 {
		return nil, count, err
	}
	err = db.selectAll(ctx, "list the records without a leaf", &records,
		`SELECT d.tip, coalesce(d.inspection_id, d.expected_inspection_id) AS inspection_id `+unsealed+` ORDER BY d.tip LIMIT $1`, limit)
	return records, count, err
}

// Published records how [seal] publish ended for a checkpoint; problem is "" when it
// succeeded.
func (db *DB) Published(ctx context.Context, head SealHead, problem string) error {
	return db.change(ctx, "record the publication", `
		UPDATE noggin_schema.seal_checkpoints SET publish_error = nullif($3, ''), published_at = CASE WHEN $3 = '' THEN now() ELSE published_at END
		WHERE log_id = $1 AND tree_size = $2`, head.LogID, head.Size, cleanText(problem))
}

// SealState is how far sealing has come.
type SealState struct {
	Logs         int        `db:"logs" json:"logs"` // 0: `noggin seal` never ran
	Origin       string     `db:"origin" json:"log"`
	Size         int64      `db:"tree_size" json:"tree_size"`
	Reason       string     `db:"reason" json:"reason"` // why the last log began after another one
	BegunAt      *time.Time `db:"begun_at" json:"begun_at"`
	SealedAt     *time.Time `db:"sealed_at" json:"sealed_at"`
	PublishedAt  *time.Time `db:"published_at" json:"published_at"` // of the newest checkpoint
	PublishError *string    `db:"publish_error" json:"publish_error"`
	Due          int64      `db:"due" json:"due"` // records; at most [SealDueMost]
	DueSince     *time.Time `db:"due_since" json:"due_since"`
}

// SealDueMost is how far the records that are due are counted.
const SealDueMost = 10_000

// SealState reads how far sealing has come.
func (db *DB) SealState(ctx context.Context) (s SealState, err error) {
	err = db.get(ctx, "read how far sealing has come", &s, `
		SELECT (SELECT count(*) FROM noggin_schema.seal_logs) AS logs, coalesce(c.tree_size, 0) AS tree_size, coalesce(l.origin, '') AS origin,
		       coalesce(l.reason, '') AS reason, l.begun_at, c.made_at AS sealed_at, c.published_at, c.publish_error,
		       (SELECT count(*) FROM (SELECT FROM noggin_schema.seal_due ORDER BY since LIMIT $1) AS d) AS due,
		       (SELECT since FROM noggin_schema.seal_due ORDER BY since LIMIT 1) AS due_since
		FROM (SELECT) AS one
		LEFT JOIN LATERAL (SELECT * FROM noggin_schema.seal_logs ORDER BY id DESC LIMIT 1) AS l ON true
		LEFT JOIN LATERAL (SELECT * FROM noggin_schema.seal_checkpoints k WHERE k.log_id = l.id ORDER BY k.tree_size DESC LIMIT 1) AS c ON true`, SealDueMost)
	return s, err
}
