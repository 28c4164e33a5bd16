package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// SealLog is a log of sealed versions. The last one grows.
type SealLog struct {
	ID       int       `db:"id"`
	Origin   string    `db:"origin"`
	Verifier string    `db:"verifier"` // its public key
	BegunAt  time.Time `db:"begun_at"`
	Reason   string    `db:"reason"` // why it began, after another one
}

// SealHead is a signed checkpoint of a log.
type SealHead struct {
	LogID        int        `db:"log_id"`
	Size         int64      `db:"tree_size"`
	Note         string     `db:"note"`
	MadeAt       time.Time  `db:"made_at"`
	PublishedAt  *time.Time `db:"published_at"`
	PublishError *string    `db:"publish_error"`
}

// SealedLeaf is a leaf of a log.
type SealedLeaf struct {
	LogID    int    `db:"log_id"`
	Position int64  `db:"position"`
	Tip      string `db:"record_tip"`
	Claim    []byte `db:"claim"`
	Leaf     string `db:"leaf"`
}

// SealMark says that a record is due to be sealed.
type SealMark struct {
	Tip   string    `db:"record_tip"`
	Since time.Time `db:"since"`
}

// SealTile holds the hashes of a tile of a log's tree.
type SealTile struct {
	Level  int    `db:"level"`
	Number int64  `db:"number"`
	Hashes []byte `db:"hashes"`
}

// SealVersion is a version of a record that can be sealed, or is.
type SealVersion struct {
	Tip        string     `db:"record_tip"`
	Inspection string     `db:"inspection_id"` // "": it has none
	Form       string     `db:"object_type"`
	Version    int        `db:"version"`
	Kind       string     `db:"kind"`
	FromRow    bool       `db:"from_row"`
	SID        string     `db:"sid"`
	ModifiedAt *time.Time `db:"api_modified_at"`
	FetchedAt  time.Time  `db:"fetched_at"`
	Size       int64      `db:"size_bytes"`  // of the body, as the row says
	SHA256     string     `db:"hash_sha256"` // the same
	Current    bool       `db:"current"`
	Complete   bool       `db:"complete"` // the record is
	Body       []byte     `db:"answer"`   // nil: it cannot be decompressed, or was not wanted
	Whole      bool       `db:"-"`        // the body can be decompressed
	BodySHA256 string     `db:"-"`        // of the body as it is
}

// SealFile is a file of an attachment of a record, of its current version or a former one.
type SealFile struct {
	RecordTip    string     `db:"record_tip"`
	Tip          string     `db:"attachment_tip"`
	Path         string     `db:"path"`
	Size         int64      `db:"size_bytes"`
	SHA256       string     `db:"hash_sha256"`
	DownloadedAt *time.Time `db:"downloaded_at"`
	First        int        `db:"first_version"`
	Last         *int       `db:"last_version"` // nil: it belongs to the current version
	ArchiveID    *int64     `db:"archive_id"`
	Held         bool       `db:"held"`     // its archive was written and holds something of the record
	Lost         string     `db:"lost"`     // the archive with which it was given up, and why
	Complete     bool       `db:"complete"` // false: it is fetched again
}

// SealTx appends to a log, in one transaction that holds the lock of the logs.
type SealTx struct {
	ctx context.Context
	db  *DB
	tx  *sqlx.Tx
}

// Append runs fn in a transaction in which nobody else appends. As the reply to a COMMIT
// may be lost, fn may run again after it took effect.
func (db *DB) Append(ctx context.Context, fn func(*SealTx) error) error {
	return db.tx(ctx, "append to the log", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, db.sql(`LOCK TABLE noggin_schema.seal_lock IN EXCLUSIVE MODE`)); err != nil {
			return err
		}
		return fn(&SealTx{ctx, db, tx})
	})
}

// Now is the time of the transaction, by the server.
func (s *SealTx) Now() (now time.Time, err error) {
	err = s.tx.GetContext(s.ctx, &now, `SELECT now()`)
	return now, err
}

// Logs returns the logs, the oldest first.
func (s *SealTx) Logs() ([]SealLog, error) { return s.db.sealLogs(s.ctx, s.tx) }

// Head returns the newest checkpoint of a log, or a head without a note.
func (s *SealTx) Head(log int) (SealHead, error) { return s.db.sealHead(s.ctx, s.tx, log) }

// Tiles reads tiles of a log. Missing ones are left out.
func (s *SealTx) Tiles(log int, wanted []SealTile) ([]SealTile, error) {
	return s.db.sealTiles(s.ctx, s.tx, log, wanted)
}

// Begin adds a log.
func (s *SealTx) Begin(log SealLog) error {
	return s.db.exec(s.ctx, s.tx, []any{log.ID, log.Origin, log.Verifier, log.Reason},
		`INSERT INTO noggin_schema.seal_logs (id, origin, verifier, reason) VALUES ($1, $2, $3, $4)`)
}

// TakeDue takes the marks off up to limit records whose tips come after the given one, and
// returns them. It leaves out records that a run changes at this moment.
func (s *SealTx) TakeDue(after string, limit int) (marks []SealMark, err error) {
	err = s.tx.SelectContext(s.ctx, &marks, s.db.sql(`
		DELETE FROM noggin_schema.seal_due WHERE record_tip = ANY(ARRAY(
			SELECT record_tip FROM noggin_schema.seal_due WHERE record_tip > $1 ORDER BY record_tip LIMIT $2 FOR UPDATE SKIP LOCKED))
		RETURNING record_tip, since`), after, limit)
	return marks, err
}

// PutBack puts a mark back.
func (s *SealTx) PutBack(mark SealMark) error {
	return s.db.exec(s.ctx, s.tx, []any{mark.Tip, mark.Since.Format(time.RFC3339Nano)},
		`INSERT INTO noggin_schema.seal_due (record_tip, since) VALUES ($1, $2::timestamptz) ON CONFLICT DO NOTHING`)
}

// Versions returns the versions of records. A record from before the schema kept versions
// gets its first one from its row.
func (s *SealTx) Versions(tips []string) ([]SealVersion, error) {
	var without []string
	if err := s.tx.SelectContext(s.ctx, &without, s.db.sql(`
		SELECT d.tip FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[]) AND d.payload IS NOT NULL
		  AND NOT EXISTS (SELECT FROM noggin_schema.record_versions v WHERE v.record_tip = d.tip)`), pq.Array(tips)); err != nil {
		return nil, err
	}
	rows, err := s.db.versionsFromRows(s.ctx, s.tx, without)
	if err != nil {
		return nil, err
	}
	if err := s.db.insertVersions(s.ctx, s.tx, 0, rows); err != nil {
		return nil, err
	}
	return s.db.sealVersions(s.ctx, s.tx, tips, func(*SealVersion) bool { return true })
}

// BodyBytes returns how many bytes the bodies of each record have, about.
func (s *SealTx) BodyBytes(tips []string) (map[string]int64, error) {
	return s.db.bodyBytes(s.ctx, s.tx, tips)
}

// Files returns the files of the attachments of records, the former ones too.
func (s *SealTx) Files(tips []string) ([]SealFile, error) { return s.db.sealFiles(s.ctx, s.tx, tips) }

// Claims returns what is sealed of records, in every log, the oldest first.
func (s *SealTx) Claims(tips []string) ([]SealedLeaf, error) { return s.db.claims(s.ctx, s.tx, tips) }

// Add appends leaves with the tiles and the checkpoint that follow from them.
func (s *SealTx) Add(log int, leaves []SealedLeaf, tiles []SealTile, head SealHead) error {
	positions, tips, claims, texts := make([]int64, len(leaves)), make([]string, len(leaves)), make(pq.ByteaArray, len(leaves)), make([]string, len(leaves))
	for i, l := range leaves {
		positions[i], tips[i], claims[i], texts[i] = l.Position, l.Tip, l.Claim, l.Leaf
	}
	if _, err := s.tx.ExecContext(s.ctx, s.db.sql(`
		INSERT INTO noggin_schema.seal_leaves (log_id, position, record_tip, claim, leaf)
		SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bytea[], $5::text[])`), log, pq.Array(positions), pq.Array(tips), claims, pq.Array(texts)); err != nil {
		return err
	}
	levels, numbers, hashes := make([]int64, len(tiles)), make([]int64, len(tiles)), make(pq.ByteaArray, len(tiles))
	for i, t := range tiles {
		levels[i], numbers[i], hashes[i] = int64(t.Level), t.Number, t.Hashes
	}
	if _, err := s.tx.ExecContext(s.ctx, s.db.sql(`
		INSERT INTO noggin_schema.seal_tiles AS t (log_id, level, number, hashes)
		SELECT $1, * FROM unnest($2::integer[], $3::bigint[], $4::bytea[])
		ON CONFLICT (log_id, level, number) DO UPDATE SET hashes = excluded.hashes`), log, pq.Array(levels), pq.Array(numbers), hashes); err != nil {
		return err
	}
	return s.db.exec(s.ctx, s.tx, []any{log, head.Size, head.Note},
		`INSERT INTO noggin_schema.seal_checkpoints (log_id, tree_size, note) VALUES ($1, $2, $3)`)
}

// seedSeals makes the complete records of an older schema due.
func (db *DB) seedSeals(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.seal_due (record_tip) SELECT tip FROM noggin_schema.noggin_data
		WHERE processing_status = 'complete' ORDER BY tip ON CONFLICT DO NOTHING`))
	return err
}
