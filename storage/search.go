package storage

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// searchBytes bounds the stored answers, as the database stores them, that one step of
// [DB.FillSearch] reads, except for one that alone is larger.
const searchBytes = 4 << 20

// writeSearch writes the words by which records are found: documents[i] are those of
// tips[i], with blanks between them.
func (db *DB) writeSearch(ctx context.Context, tx *sqlx.Tx, tips, documents []string) error {
	if len(tips) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.record_search AS s (record_tip, inspection_date, document)
		SELECT DISTINCT ON (v.tip) v.tip, d.inspection_date, v.document::tsvector FROM unnest($1::text[], $2::text[]) AS v (tip, document)
		JOIN noggin_schema.noggin_data d ON d.tip = v.tip WHERE d.tip = ANY($1::text[]) ORDER BY v.tip
		ON CONFLICT (record_tip) DO UPDATE SET inspection_date = excluded.inspection_date, document = excluded.document
		WHERE s.document <> excluded.document OR s.inspection_date IS DISTINCT FROM excluded.inspection_date`), pq.Array(tips), pq.Array(documents))
	return err
}

// indexedWords is up to how many words of a search the index looks for. It looks for each
// before it knows that one has no record.
const indexedWords = 30

// splitSearch returns the longest words of a search, for the index, and the others, which
// only the records that these find are asked for.
func splitSearch(words string) (indexed, others string) {
	const and = " & "
	all := strings.Split(words, and)
	if len(all) <= indexedWords {
		return words, ""
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return strings.Join(all[:indexedWords], and), strings.Join(all[indexedWords:], and)
}

// Unsearchable is a record whose words are not written yet.
type Unsearchable struct {
	Tip        string  `db:"tip"`
	ObjectType string  `db:"object_type"`
	Date       *string `db:"inspection_date"`
	Payload    []byte  `db:"payload"`
}

// FillSearch takes one step after an upgrade from a version without record_search: it looks
// at the next limit records. document returns the words of each record that has none, "" if it cannot tell. It returns how many
// records it wrote and whether there is more to do. What a run writes meanwhile stays.
func (db *DB) FillSearch(ctx context.Context, limit int, document func(Unsearchable, Names) string) (written int, more bool, err error) {
	err = db.tx(ctx, "write the words of records", func(tx *sqlx.Tx) error {
		written, more = 0, false
		var after string
		err := tx.GetContext(ctx, &after, db.sql(`SELECT after FROM noggin_schema.search_fill WHERE after IS NOT NULL FOR UPDATE SKIP LOCKED`))
		if errors.Is(err, sql.ErrNoRows) { // it is done, or another host is at it
			return nil
		}
		if err != nil {
			return err
		}
		var page struct {
			Tips pq.StringArray `db:"tips"`
			Last *string        `db:"last"`
			More bool           `db:"more"`
		}
		if err := tx.GetContext(ctx, &page, db.sql(`
			WITH page AS MATERIALIZED (SELECT d.tip, CASE WHEN NOT EXISTS (SELECT FROM noggin_schema.record_search s WHERE s.record_tip = d.tip)
					THEN pg_column_size(d.payload) END AS size
				FROM noggin_schema.noggin_data d WHERE d.tip > $1 ORDER BY d.tip LIMIT $2),
			taken AS (SELECT * FROM (SELECT p.*, coalesce(sum(p.size) OVER (ORDER BY p.tip ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
				FROM page p) AS sized WHERE before < $3)
			SELECT ARRAY(SELECT tip FROM taken WHERE size IS NOT NULL ORDER BY tip) AS tips, (SELECT max(tip) FROM taken) AS last,
			       (SELECT count(*) FROM taken) < (SELECT count(*) FROM page) OR (SELECT count(*) FROM page) = $2::bigint AS more`),
			after, limit, searchBytes); err != nil {
			return err
		}
		if written, err = db.fillPage(ctx, tx, page.Tips, document); err != nil {
			return err
		}
		if more = page.More; !more {
			page.Last = nil
		}
		_, err = tx.ExecContext(ctx, db.sql(`UPDATE noggin_schema.search_fill SET after = $1`), page.Last)
		return err
	})
	return written, more, err
}

func (db *DB) fillPage(ctx context.Context, tx *sqlx.Tx, tips []string, document func(Unsearchable, Names) string) (int, error) {
	var records []Unsearchable
	if err := tx.SelectContext(ctx, &records, db.sql(`
		SELECT d.tip, d.object_type, d.inspection_date::text AS inspection_date, d.payload FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[]) AND d.payload IS NOT NULL`), pq.Array(tips)); err != nil {
		return 0, err
	}
	var keys []EntityKey
	rows, err := tx.QueryContext(ctx, db.sql(`SELECT DISTINCT entity_type, hash_value FROM noggin_schema.record_hashes WHERE record_tip = ANY($1::text[])`), pq.Array(tips))
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	for rows.Next() {
		var key EntityKey
		if err := rows.Scan(&key.Type, &key.Hash); err != nil {
			return 0, err
		}
		keys = append(keys, key)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	names, err := db.namesFor(ctx, tx, keys)
	if err != nil {
		return 0, err
	}
	var written, documents []string
	var days []*string
	for _, r := range records {
		if words := document(r, names); words != "" {
			written, days, documents = append(written, r.Tip), append(days, r.Date), append(documents, words)
		}
	}
	_, err = tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.record_search (record_tip, inspection_date, document)
		SELECT v.tip, v.day, v.document::tsvector FROM unnest($1::text[], $2::date[], $3::text[]) AS v (tip, day, document) ORDER BY v.tip
		ON CONFLICT DO NOTHING`), pq.Array(written), pq.Array(days), pq.Array(documents))
	return len(written), err
}

// NotSearchable counts the fetched records that no search finds yet. Between an upgrade and
// the end of [DB.FillSearch] there are some.
func (db *DB) NotSearchable(ctx context.Context) (n int64, err error) {
	err = db.get(ctx, "count the records that no search finds yet", &n, `
		SELECT CASE WHEN EXISTS (SELECT FROM noggin_schema.search_fill WHERE after IS NOT NULL) THEN greatest(0,
			(SELECT count(*) FROM noggin_schema.noggin_data d WHERE d.folder IS NOT NULL) - (SELECT count(*) FROM noggin_schema.record_search)) ELSE 0 END`)
	return n, err
}
