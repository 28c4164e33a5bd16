package storage

import (
	"context"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq/pqerror"
)

// TipImport says what holds for every row of an import.
type TipImport struct {
	Source     string // the file's name
	ObjectType string // code of the form
	Assumed    bool   // nothing named the form
	Update     bool   // fill what known records lack of source and expected values
}

// ImportedTip is a row of an import.
type ImportedTip struct {
	Tip          string
	ExpectedID   string // inspection id; empty when not known
	ExpectedDate string // YYYY-MM-DD; empty when not known
}

// ImportCounts tells what became of rows. New and Known together are all of them:
// a tip that stands twice is known from its second row on.
type ImportCounts struct {
	New       int64 `db:"new" json:"new"`
	Known     int64 `db:"-" json:"known"`
	Corrected int64 `db:"corrected" json:"corrected"` // known ones whose assumed form was wrong
	Updated   int64 `db:"updated" json:"updated"`     // known ones that got expected values or a source
}

// Add adds what became of further rows.
func (c *ImportCounts) Add(more ImportCounts) {
	c.New += more.New
	c.Known += more.Known
	c.Corrected += more.Corrected
	c.Updated += more.Updated
}

// given joins the rows with what is known of their tips. $4 is the form, $5 and $6
// say whether it may correct one and whether values are filled, $7 is the source.
const (
	correctable = `(d.object_type_assumed AND d.payload IS NULL AND ` + unclaimed + ` AND $5::boolean)`
	fillable    = `($6::boolean AND d.tip IS NOT NULL AND (d.expected_inspection_id IS NULL AND g.id <> '' OR d.expected_inspection_date IS NULL AND g.day <> ''
		OR d.source_filename IS NULL AND $7 <> ''))`
	given = `WITH given AS MATERIALIZED (
		SELECT g.tip, g.id, g.day, d.tip IS NULL AS new, ` + correctable + ` AS correctable, ` + fillable + ` AS fillable,
		       d.object_type <> $4 AS differs
		FROM unnest($1::text[], $2::text[], $3::text[]) AS g (tip, id, day)
		LEFT JOIN noggin_schema.noggin_data d ON d.tip = g.tip)`
)

// importStatement inserts, corrects and fills. The rows to change are locked in the
// order of their tips and looked at again once they are.
const importStatement = given + `,
		inserted AS (INSERT INTO noggin_schema.noggin_data (tip, object_type, object_type_assumed, source_filename,
				expected_inspection_id, expected_inspection_date, csv_imported_at)
			SELECT g.tip, $4, NOT $5::boolean, nullif($7, ''), nullif(g.id, ''), nullif(g.day, '')::date, now()
			FROM given g WHERE g.new RETURNING 1),
		counted AS (INSERT INTO noggin_schema.record_counts (object_type, processing_status, permanently_failed, records)
			SELECT $4, 'pending', false, count(*) FROM inserted HAVING count(*) > 0),
		locked AS (SELECT d.tip, g.id, g.day, ` + correctable + ` AS correctable, ` + fillable + ` AS fillable, d.object_type <> $4 AS differs
			FROM given g JOIN noggin_schema.noggin_data d ON d.tip = g.tip
			WHERE (g.correctable OR g.fillable) AND (` + correctable + ` OR ` + fillable + `) ORDER BY d.tip FOR UPDATE OF d),
		changed AS (UPDATE noggin_schema.noggin_data d SET
				object_type = CASE WHEN l.correctable THEN $4 ELSE d.object_type END,
				object_type_assumed = d.object_type_assumed AND NOT l.correctable,
				expected_inspection_id = CASE WHEN l.fillable THEN coalesce(d.expected_inspection_id, nullif(l.id, '')) ELSE d.expected_inspection_id END,
				expected_inspection_date = CASE WHEN l.fillable THEN coalesce(d.expected_inspection_date, nullif(l.day, '')::date) ELSE d.expected_inspection_date END,
				source_filename = CASE WHEN l.fillable THEN coalesce(d.source_filename, nullif($7, '')) ELSE d.source_filename END,
				csv_imported_at = CASE WHEN l.fillable THEN coalesce(d.csv_imported_at, now()) ELSE d.csv_imported_at END
			FROM locked l WHERE d.tip = l.tip
			RETURNING l.correctable AND l.differs AS corrected, l.fillable AS updated)
		SELECT (SELECT count(*) FROM inserted) AS new, count(*) FILTER (WHERE corrected) AS corrected, count(*) FILTER (WHERE updated) AS updated
		FROM changed`

// ImportTips makes the tips that are new pending records, in one transaction and in
// the order of their tips. Known ones are left as they are, but for a form that was
// only assumed, and not fetched by, when the import names it, and for what
// [TipImport.Update] fills. Doing it again changes nothing; after a COMMIT whose
// answer was lost that is what happens, and counts new tips as known.
//
// A chunk of some thousand rows costs little memory and is soon written. The rows
// are sorted on the way.
func (db *DB) ImportTips(ctx context.Context, imp TipImport, rows []ImportedTip) (ImportCounts, error) {
	n, args := importArguments(imp, rows)
	var counts ImportCounts
	for {
		err := db.tx(ctx, "import tips", func(tx *sqlx.Tx) error {
			if err := planForLookups(ctx, tx); err != nil {
				return err
			}
			return tx.GetContext(ctx, &counts, db.sql(importStatement), args...)
		})
		// Another import inserted one of the tips at the same time: by now it is known.
		// ON CONFLICT would say so too, but costs a second look at the index a row.
		if hasCode(err, pqerror.UniqueViolation) {
			continue
		}
		counts.Known = int64(n) - counts.New
		return counts, err
	}
}

// PreviewImport tells what [DB.ImportTips] would do with the rows, and changes
// nothing.
func (db *DB) PreviewImport(ctx context.Context, imp TipImport, rows []ImportedTip) (ImportCounts, error) {
	n, args := importArguments(imp, rows)
	var counts ImportCounts
	err := db.tx(ctx, "look up tips", func(tx *sqlx.Tx) error {
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return tx.GetContext(ctx, &counts, db.sql(given+`
			SELECT count(*) FILTER (WHERE new) AS new, count(*) FILTER (WHERE correctable AND differs) AS corrected,
			       count(*) FILTER (WHERE fillable) AS updated
			FROM given`), args...)
	})
	counts.Known = int64(n) - counts.New
	return counts, err
}

// importArguments returns the number of rows and the arguments of given: each tip
// once, and sorted, so that neighbours in the index follow each other and two
// imports lock in the same order. It sorts rows.
func importArguments(imp TipImport, rows []ImportedTip) (n int, args []any) {
	slices.SortStableFunc(rows, func(a, b ImportedTip) int { return strings.Compare(a.Tip, b.Tip) })
	return len(rows), []any{
		arrayOf(rows, func(r ImportedTip) string { return r.Tip }),
		arrayOf(rows, func(r ImportedTip) string { return r.ExpectedID }),
		arrayOf(rows, func(r ImportedTip) string { return r.ExpectedDate }),
		imp.ObjectType, !imp.Assumed, imp.Update, cleanText(imp.Source),
	}
}

var arrayEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// arrayOf writes a text array of one field of the rows, which are sorted; of those
// with one tip only the first counts. pq.Array would need a slice of its own for
// each field, and several times the memory.
func arrayOf(rows []ImportedTip, field func(ImportedTip) string) string {
	size := 2
	for _, r := range rows {
		size += len(field(r)) + 3
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteByte('{')
	for i, r := range rows {
		if i > 0 && r.Tip == rows[i-1].Tip {
			continue
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		_, _ = arrayEscapes.WriteString(&b, field(r)) // a Builder has no errors
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// planForLookups has this transaction look each tip up by the index. A chunk is
// large enough for the planner to read the whole table instead, again for each; and
// before the table is first analysed it expects next to nothing behind a condition,
// and would go through the table for every row.
func planForLookups(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `
		SELECT set_config(name, 'off', true)
		FROM unnest(ARRAY['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan', 'enable_bitmapscan', 'enable_material', 'jit']) AS name`)
	return err
}
