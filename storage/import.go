package storage

import (
	"context"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// TipImport holds what is the same for every row of an import.
type TipImport struct {
	Source     string // the file's name
	ObjectType string // code of the form
	Assumed    bool   // only a default named the form
	Update     bool   // add source and expected values to known records that lack them
	// OtherID hears of rows that [ImportCounts.OtherID] counts; of those that differ from what
	// the database has, of five for each call. nil is harmless.
	OtherID func(ImportedTip)
}

// ImportedTip is a row of an import.
type ImportedTip struct {
	Tip          string
	ExpectedID   string // inspection id; empty when not known
	ExpectedDate string // YYYY-MM-DD; empty when not known
	Line         int    // of the file
}

// ImportCounts counts rows. Each is New or Known; the second row of a tip is Known.
type ImportCounts struct {
	New       int64 `db:"new" json:"new"`
	Known     int64 `db:"-" json:"known"`
	Corrected int64 `db:"corrected" json:"corrected"` // known records whose assumed form was wrong
	Updated   int64 `db:"updated" json:"updated"`     // known records that got expected values or a source
	// AskAgain are complete records that are due again, as the row differs from what is
	// mirrored and from what the last export said.
	AskAgain int64 `db:"ask_again" json:"ask_again"`
	// Conflicting are known records for which an earlier export named another form. They
	// keep it.
	Conflicting int64 `db:"conflicting" json:"conflicting"`
	// OtherID are rows whose inspection id is not the one that an earlier row gave the
	// record, which was not fetched yet and keeps that one.
	OtherID int64 `db:"other_id" json:"other_id"`
}

// Add adds the counts of further rows.
func (c *ImportCounts) Add(more ImportCounts) {
	c.New += more.New
	c.Known += more.Known
	c.Corrected += more.Corrected
	c.Updated += more.Updated
	c.AskAgain += more.AskAgain
	c.Conflicting += more.Conflicting
	c.OtherID += more.OtherID
}

// given joins the rows with the records of their tips. $4 is the form, $5 says whether
// it may correct an assumed one, $6 whether missing values are added, $7 is the source.
const (
	correctable = `(d.object_type_assumed AND d.payload IS NULL AND ` + unclaimed + ` AND $5::boolean)`
	fillable    = `($6::boolean AND d.tip IS NOT NULL AND (d.expected_inspection_id IS NULL AND g.id <> '' OR d.expected_inspection_date IS NULL AND g.day <> ''
		OR d.source_filename IS NULL AND $7 <> ''))`
	// altered is a row that differs from what is mirrored of its complete record.
	altered = `coalesce(d.processing_status = 'complete' AND (g.id <> '' AND replace(g.id, ' ', '') <> replace(d.inspection_id, ' ', '')
		OR g.day <> '' AND nullif(g.day, '')::date <> d.inspection_date), false)`
	// again is such a row that the last export did not have either.
	again = `CASE WHEN ` + altered + ` THEN (SELECT coalesce(g.id <> '' AND replace(g.id, ' ', '') <> replace(d.inspection_id, ' ', '')
		        AND replace(g.id, ' ', '') IS DISTINCT FROM replace(coalesce(o.export_id, d.expected_inspection_id), ' ', '')
		    OR nullif(g.day, '')::date <> d.inspection_date AND nullif(g.day, '')::date IS DISTINCT FROM coalesce(o.export_date, d.expected_inspection_date), false)
		FROM (SELECT) AS one LEFT JOIN noggin_schema.refreshes o ON o.record_tip = d.tip) ELSE false END`
	given = `WITH given AS MATERIALIZED (
		SELECT g.tip, g.id, g.day, ` + again + ` AS again, d.tip IS NULL AS new, ` + correctable + ` AS correctable, ` + fillable + ` AS fillable,
		       d.object_type <> $4 AS differs, d.object_type <> $4 AND NOT d.object_type_assumed AND $5::boolean AS conflicting,
		       coalesce(d.inspection_id IS NULL AND g.id <> '' AND replace(g.id, ' ', '') <> replace(d.expected_inspection_id, ' ', ''), false) AS other_id
		FROM unnest($1::text[], $2::text[], $3::text[]) AS g (tip, id, day)
		LEFT JOIN noggin_schema.noggin_data d ON d.tip = g.tip)`
)

// filled is what an import sets in the record d of the locked row l.
const filled = `object_type = CASE WHEN l.correctable THEN $4 ELSE d.object_type END,
				object_type_assumed = d.object_type_assumed AND NOT l.correctable,
				expected_inspection_id = CASE WHEN l.fillable THEN coalesce(d.expected_inspection_id, nullif(l.id, '')) ELSE d.expected_inspection_id END,
				expected_inspection_date = CASE WHEN l.fillable THEN coalesce(d.expected_inspection_date, nullif(l.day, '')::date) ELSE d.expected_inspection_date END,
				source_filename = CASE WHEN l.fillable THEN coalesce(d.source_filename, nullif($7, '')) ELSE d.source_filename END,
				csv_imported_at = CASE WHEN l.fillable THEN coalesce(d.csv_imported_at, now()) ELSE d.csv_imported_at END`

// otherIDs count the rows with another id, and name some of them.
const otherIDs = `(SELECT count(*) FROM given WHERE other_id) AS other_id, ARRAY(SELECT tip FROM given WHERE other_id LIMIT 5) AS others`

// importStatement inserts, corrects and fills. It locks the rows to change in the order
// of their tips and checks them again under the lock. A record that failed under a form
// that was wrong begins anew.
const importStatement = given + `,
		inserted AS (INSERT INTO noggin_schema.noggin_data (tip, object_type, object_type_assumed, source_filename,
				expected_inspection_id, expected_inspection_date, csv_imported_at)
			SELECT g.tip, $4, NOT $5::boolean, nullif($7, ''), nullif(g.id, ''), nullif(g.day, '')::date, now()
			FROM given g WHERE g.new RETURNING 1),
		counted AS (INSERT INTO noggin_schema.record_counts (object_type, processing_status, permanently_failed, records)
			SELECT $4, 'pending', false, count(*) FROM inserted HAVING count(*) > 0),
		locked AS (SELECT d.tip, g.id, g.day, ` + correctable + ` AS correctable, ` + fillable + ` AS fillable, d.object_type <> $4 AS differs,
			       ` + correctable + ` AND d.object_type <> $4 AND d.processing_status IN ('api_failed', 'interrupted') AS anew
			FROM given g JOIN noggin_schema.noggin_data d ON d.tip = g.tip
			WHERE (g.correctable OR g.fillable) AND (` + correctable + ` OR ` + fillable + `) ORDER BY d.tip FOR UPDATE OF d),
		changed AS (UPDATE noggin_schema.noggin_data d SET ` + filled + `
			FROM locked l WHERE d.tip = l.tip AND NOT l.anew
			RETURNING l.correctable AND l.differs AS corrected, l.fillable AS updated),
		renewed AS (UPDATE noggin_schema.noggin_data d SET ` + filled + `,
				processing_status = 'pending', retry_count = 0, next_retry_at = NULL, permanently_failed = false, claim_token = d.claim_token + 1
			FROM locked l WHERE d.tip = l.tip AND l.anew
			RETURNING true AS corrected, l.fillable AS updated),
		again AS (INSERT INTO noggin_schema.refreshes AS r (record_tip, due_at, version_at, export_id, export_date)
			SELECT g.tip, now(), coalesce(d.processed_at, now()), nullif(g.id, ''), nullif(g.day, '')::date
			FROM given g JOIN noggin_schema.noggin_data d ON d.tip = g.tip WHERE g.again
			ORDER BY g.tip ON CONFLICT (record_tip) DO UPDATE SET due_at = now(), export_id = excluded.export_id, export_date = excluded.export_date
			RETURNING 1)
		SELECT (SELECT count(*) FROM inserted) AS new, (SELECT count(*) FROM again) AS ask_again, (SELECT count(*) FROM given WHERE conflicting) AS conflicting, ` + otherIDs + `,
			count(*) FILTER (WHERE corrected) AS corrected, count(*) FILTER (WHERE updated) AS updated
		FROM (SELECT * FROM changed UNION ALL SELECT * FROM renewed) AS done`

// mostImports is more than ever import the same tips at once. A chunk that collides more
// often than that collides with something else, such as an index of an operator.
const mostImports = 100

// ImportTips inserts new tips as pending records, in one transaction. It changes known
// records in two cases only: the form was assumed, no answer was fetched with it and
// the import names the form; or [TipImport.Update] adds missing values. A record that
// failed under another form is pending then, without failures. A row that differs from
// what is mirrored, and from what the last export said, makes its complete record due to
// be asked for again. It may be repeated, but then counts new tips as known.
//
// The caller passes some thousand rows at a time, to keep memory and locks small.
// ImportTips sorts the rows.
func (db *DB) ImportTips(ctx context.Context, imp TipImport, rows []ImportedTip) (ImportCounts, error) {
	n, args := importArguments(imp, rows)
	var counts importCounts
	for try := 1; ; try++ {
		err := db.tx(ctx, "import tips", func(tx *sqlx.Tx) error {
			if err := planForLookups(ctx, tx); err != nil {
				return err
			}
			return tx.GetContext(ctx, &counts, db.sql(importStatement), args...)
		})
		// Another import inserted one of the tips at the same time; now it is known. ON
		// CONFLICT would do too, but reads the index twice for each row.
		if hasCode(err, pqerror.UniqueViolation) && try < mostImports {
			continue
		}
		return counts.of(n, imp, rows), err
	}
}

// importCounts are the counts of the distinct tips of an import.
type importCounts struct {
	ImportCounts
	Others pq.StringArray `db:"others"`
}

// of completes the counts of n sorted rows. Of the rows of one tip the database saw only
// the first.
func (c importCounts) of(n int, imp TipImport, rows []ImportedTip) ImportCounts {
	c.Known = int64(n) - c.New
	other := func(r ImportedTip) {
		if imp.OtherID != nil {
			imp.OtherID(r)
		}
	}
	for _, tip := range c.Others {
		if i, found := slices.BinarySearchFunc(rows, tip, func(r ImportedTip, tip string) int { return strings.Compare(r.Tip, tip) }); found {
			other(rows[i])
		}
	}
	for first, i := 0, 1; i < len(rows); i++ {
		switch r := rows[i]; {
		case r.Tip != rows[first].Tip:
			first = i
		case r.ExpectedID != "" && rows[first].ExpectedID != "" && strings.ReplaceAll(r.ExpectedID, " ", "") != strings.ReplaceAll(rows[first].ExpectedID, " ", ""):
			c.OtherID++
			other(r)
		}
	}
	return c.ImportCounts
}

// PreviewImport returns what [DB.ImportTips] would do with the rows. It changes nothing.
func (db *DB) PreviewImport(ctx context.Context, imp TipImport, rows []ImportedTip) (ImportCounts, error) {
	n, args := importArguments(imp, rows)
	var counts importCounts
	err := db.tx(ctx, "look up tips", func(tx *sqlx.Tx) error {
		if err := planForLookups(ctx, tx); err != nil {
			return err
		}
		return tx.GetContext(ctx, &counts, db.sql(given+`
			SELECT count(*) FILTER (WHERE new) AS new, count(*) FILTER (WHERE correctable AND differs) AS corrected,
			       count(*) FILTER (WHERE fillable) AS updated, count(*) FILTER (WHERE again) AS ask_again,
			       count(*) FILTER (WHERE conflicting) AS conflicting, `+otherIDs+`
			FROM given`), args...)
	})
	return counts.of(n, imp, rows), err
}

// importArguments returns the number of rows and the arguments of given. It sorts the
// rows, so that neighbours in the index follow each other and two imports lock in the
// same order, and passes each tip once.
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

// arrayOf writes one field of the sorted rows as a text array. Only the first row of a
// tip counts. pq.Array would need a slice for each field, and several times the memory.
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

// planForLookups makes this transaction find each tip by the index. For so many tips
// the planner would rather read the whole table, for each chunk of rows again. Before
// the first ANALYZE it would even read the table for every row.
func planForLookups(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `
		SELECT set_config(name, 'off', true)
		FROM unnest(ARRAY['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan', 'enable_bitmapscan', 'enable_material']) AS name`)
	return err
}
