package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Names change under a lock on names_lock. An import of names takes it alone. Whatever else
// changes unknown_hashes or writes names into records shares it, so that no deadlock ends an
// import, which cannot be tried again. Pruning does not: it waits for no row.
const (
	lockNames  = `LOCK TABLE noggin_schema.names_lock IN EXCLUSIVE MODE`
	shareNames = `LOCK TABLE noggin_schema.names_lock IN ROW EXCLUSIVE MODE`
)

// maxRepeats bounds the contradictions that an import returns.
const maxRepeats = 100

// NamedHash is a hash with its name, from a file or an operator.
type NamedHash struct {
	Line int    `db:"line"` // of the file
	Type string `db:"entity_type"`
	Hash string `db:"hash_value"`
	Name string `db:"entity_name"`
}

// TypeCounts counts the names of one type in an import.
type TypeCounts struct {
	Type      string `db:"entity_type" json:"entity_type"`
	New       int64  `db:"new" json:"new"`
	Changed   int64  `db:"changed" json:"changed"`
	Unchanged int64  `db:"unchanged" json:"unchanged"`
}

// Contradiction is a row whose hash has another name in a later row. The later row
// counts.
type Contradiction struct {
	Line  int `db:"line"`
	Later int `db:"later"`
}

// NameImport is the result of an import of names; in a dry run the expected result.
type NameImport struct {
	Types          []TypeCounts
	Repeated       int64           // rows that a later row repeats
	Contradicted   int64           // rows whose name a later row replaces
	Contradictions []Contradiction // the first contradicted rows
	Resolved       int64           // unknown hashes that get a name
	Marked         int64           // records that refer to a new or changed name
	OtherType      *OtherTypeError // of a dry run: why the import would fail
}

// ImportOptions say how names are imported.
type ImportOptions struct {
	Source string // where they come from: a file's name
	DryRun bool   // change nothing
	// Only is the type of every name, when somebody chose it for the whole file. Then an
	// import of names most of which belong to another type fails with an
	// [OtherTypeError]; a dry run returns it in its result.
	Only string
}

// ImportNames imports the names that next returns until io.EOF. In one transaction it
// writes them, keeps replaced names in the history, resolves unknown hashes and marks
// every record that refers to a new or changed name, so that healing renews it. The
// last of several rows for one hash counts. Memory stays flat. When the connection is
// lost, or another session holds the names for too long, the import ends and nothing is
// imported.
func (db *DB) ImportNames(ctx context.Context, opts ImportOptions, next func() (NamedHash, error)) (NameImport, error) {
	var result NameImport
	var source error // an error of next is not the database's
	write := func(tx *sqlx.Tx) (err error) {
		if err, source = stageNames(ctx, tx, next); err != nil || source != nil {
			return errors.Join(err, source)
		}
		if result.Repeated, result.Contradicted, result.Contradictions, err = pickNames(ctx, tx); err != nil {
			return err
		}
		if opts.Only != "" {
			if result.OtherType, err = db.compareTypes(ctx, tx, opts.Only); err != nil {
				return err
			}
			if result.OtherType != nil && !opts.DryRun {
				return result.OtherType
			}
		}
		if !opts.DryRun {
			// Either a run that stores an answer sees these names, or this import sees
			// the answer's references.
			if _, err := tx.ExecContext(ctx, db.sql(lockNames)); err != nil {
				return err
			}
		}
		if result.Types, result.Resolved, result.Marked, err = db.compareNames(ctx, tx); err != nil || opts.DryRun {
			return err
		}
		return db.applyNames(ctx, tx, opts.Source)
	}
	began := time.Now()
	err := db.watched(ctx, func(ctx context.Context) error { return db.txOnce(ctx, write) })
	if source != nil {
		return NameImport{}, source
	}
	return result, describe(ctx, "import the names", db.withHolders(err, began))
}

// stageNames copies the rows into a temporary table.
func stageNames(ctx context.Context, tx *sqlx.Tx, next func() (NamedHash, error)) (err, source error) {
	if _, err := tx.ExecContext(ctx, `
		CREATE TEMP TABLE noggin_rows (line bigint, entity_type text, hash_value text, entity_name text) ON COMMIT DROP`); err != nil {
		return err, nil
	}
	rows, err := tx.PrepareContext(ctx, `COPY pg_temp.noggin_rows (line, entity_type, hash_value, entity_name) FROM STDIN`)
	if err != nil {
		return err, nil
	}
	defer func() { _ = rows.Close() }() // the last Exec returns what went wrong
	for {
		n, source := next()
		if errors.Is(source, io.EOF) {
			_, err := rows.ExecContext(ctx)
			return err, nil
		}
		if source != nil {
			return nil, source
		}
		if _, err := rows.ExecContext(ctx, n.Line, n.Type, n.Hash, n.Name); err != nil {
			return err, nil
		}
	}
}

// pickNames keeps the last row of each hash and type, and counts the others.
func pickNames(ctx context.Context, tx *sqlx.Tx) (repeated, contradicted int64, contradictions []Contradiction, err error) {
	if _, err = tx.ExecContext(ctx, `
		CREATE TEMP TABLE noggin_names ON COMMIT DROP AS
		SELECT DISTINCT ON (entity_type COLLATE "C", hash_value COLLATE "C") line, entity_type, hash_value, entity_name
		FROM pg_temp.noggin_rows ORDER BY entity_type COLLATE "C", hash_value COLLATE "C", line DESC;
		ANALYZE pg_temp.noggin_names`); err != nil {
		return 0, 0, nil, err
	}
	const others = ` FROM pg_temp.noggin_rows r JOIN pg_temp.noggin_names n USING (entity_type, hash_value) WHERE r.line <> n.line`
	if err = tx.QueryRowxContext(ctx, `SELECT count(*) FILTER (WHERE r.entity_name = n.entity_name),
		count(*) FILTER (WHERE r.entity_name <> n.entity_name)`+others).Scan(&repeated, &contradicted); err != nil || contradicted == 0 {
		return repeated, contradicted, nil, err
	}
	err = tx.SelectContext(ctx, &contradictions, `SELECT r.line, n.line AS later`+others+
		fmt.Sprintf(` AND r.entity_name <> n.entity_name ORDER BY r.line LIMIT %d`, maxRepeats))
	return repeated, contradicted, contradictions, err
}

// compareNames finds new and changed names, and the records that refer to them.
func (db *DB) compareNames(ctx context.Context, tx *sqlx.Tx) (types []TypeCounts, resolved, marked int64, err error) {
	if _, err = tx.ExecContext(ctx, db.sql(`
		CREATE TEMP TABLE noggin_changed ON COMMIT DROP AS
		SELECT n.entity_type, n.hash_value, n.entity_name, e.entity_name AS old_name, e.source AS old_source, e.updated_at AS valid_from
		FROM pg_temp.noggin_names n LEFT JOIN noggin_schema.entity_hashes e USING (hash_value, entity_type)
		WHERE e.entity_name IS DISTINCT FROM n.entity_name;
		ANALYZE pg_temp.noggin_changed;
		CREATE TEMP TABLE noggin_marked ON COMMIT DROP AS
		SELECT DISTINCT r.record_tip FROM noggin_schema.record_hashes r JOIN pg_temp.noggin_changed c USING (hash_value)
		WHERE r.entity_type = c.entity_type OR `+withoutOwnName+`;
		ANALYZE pg_temp.noggin_marked`)); err != nil {
		return nil, 0, 0, err
	}
	if err = tx.SelectContext(ctx, &types, `
		SELECT n.entity_type, count(*) FILTER (WHERE c.hash_value IS NOT NULL AND c.old_name IS NULL) AS new,
		       count(*) FILTER (WHERE c.old_name IS NOT NULL) AS changed, count(*) FILTER (WHERE c.hash_value IS NULL) AS unchanged
		FROM pg_temp.noggin_names n LEFT JOIN pg_temp.noggin_changed c USING (hash_value, entity_type)
		GROUP BY n.entity_type ORDER BY n.entity_type`); err != nil {
		return nil, 0, 0, err
	}
	err = tx.QueryRowxContext(ctx, db.sql(`
		SELECT (SELECT count(*) FROM noggin_schema.unknown_hashes u WHERE u.resolved_at IS NULL
			AND u.hash_value IN (SELECT hash_value FROM pg_temp.noggin_names)), (SELECT count(*) FROM pg_temp.noggin_marked)`)).Scan(&resolved, &marked)
	return types, resolved, marked, err
}

// applyNames writes what compareNames found.
func (db *DB) applyNames(ctx context.Context, tx *sqlx.Tx, source string) error {
	if _, err := tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.entity_hash_history (hash_value, entity_type, entity_name, source, valid_from)
		SELECT hash_value, entity_type, old_name, old_source, valid_from FROM pg_temp.noggin_changed WHERE old_name IS NOT NULL
		ORDER BY hash_value, entity_type`)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.entity_hashes AS e (hash_value, entity_type, entity_name, source)
		SELECT hash_value, entity_type, entity_name, $1 FROM pg_temp.noggin_changed ORDER BY hash_value, entity_type
		ON CONFLICT (hash_value, entity_type) DO UPDATE
		SET entity_name = excluded.entity_name, source = excluded.source, updated_at = now()`), cleanText(source)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, db.sql(resolveFrom("pg_temp.noggin_names", "n.entity_type"))); err != nil {
		return err
	}
	return db.markStale(ctx, tx, `SELECT record_tip FROM pg_temp.noggin_marked`)
}

// Forget chooses names to remove: those of the hashes and those from the source.
type Forget struct {
	Type   string // "": any
	Hashes []string
	Source string // a file's name; "": none
	DryRun bool   // change nothing
}

// Forgotten is the result of [DB.ForgetNames]; in a dry run the expected result.
type Forgotten struct {
	Names   int64 `db:"names" json:"names_forgotten"`
	Unknown int64 `db:"unknown" json:"unknown_hashes"` // hashes among them that records refer to
	Marked  int64 `db:"marked" json:"records_to_renew"`
}

// ForgetNames removes names and keeps them in the history. Hashes that records refer
// to become unknown again, and these records are marked to be healed.
func (db *DB) ForgetNames(ctx context.Context, f Forget) (Forgotten, error) {
	var done Forgotten
	err := db.tx(ctx, "forget the names", func(tx *sqlx.Tx) error {
		var found Forgotten
		if !f.DryRun {
			if _, err := tx.ExecContext(ctx, db.sql(lockNames)); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `
			CREATE TEMP TABLE noggin_forgotten (hash_value text, entity_type text) ON COMMIT DROP;
			CREATE TEMP TABLE noggin_marked (record_tip text) ON COMMIT DROP`); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			INSERT INTO pg_temp.noggin_forgotten SELECT hash_value, entity_type FROM noggin_schema.entity_hashes
			WHERE ($1 = '' OR entity_type = $1) AND (hash_value = ANY($2::text[]) OR $3 <> '' AND source = $3)`), f.Type, pq.Array(f.Hashes), f.Source); err != nil {
			return err
		}
		err := tx.GetContext(ctx, &found, db.sql(`
			WITH used AS (SELECT r.record_tip, r.hash_value, r.entity_type
					FROM noggin_schema.record_hashes r JOIN pg_temp.noggin_forgotten f USING (hash_value)
					WHERE r.entity_type = f.entity_type OR `+withoutOwnName+`),
				marked AS (INSERT INTO pg_temp.noggin_marked SELECT DISTINCT record_tip FROM used RETURNING 1)
			SELECT (SELECT count(*) FROM pg_temp.noggin_forgotten) AS names,
			       (SELECT count(DISTINCT (u.hash_value, u.entity_type)) FROM used u WHERE NOT EXISTS (
					SELECT FROM noggin_schema.entity_hashes e LEFT JOIN pg_temp.noggin_forgotten f USING (hash_value, entity_type)
					WHERE e.hash_value = u.hash_value AND f.hash_value IS NULL)) AS unknown,
			       (SELECT count(*) FROM marked) AS marked`))
		if found.Names > 0 { // else an earlier try, whose COMMIT's reply was lost, may have forgotten them
			done = found
		}
		if err != nil || f.DryRun {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`
			WITH gone AS (DELETE FROM noggin_schema.entity_hashes e USING pg_temp.noggin_forgotten f
				WHERE e.hash_value = f.hash_value AND e.entity_type = f.entity_type RETURNING e.*)
			INSERT INTO noggin_schema.entity_hash_history (hash_value, entity_type, entity_name, source, valid_from)
			SELECT hash_value, entity_type, entity_name, source, updated_at FROM gone ORDER BY hash_value, entity_type;
			INSERT INTO noggin_schema.unknown_hashes AS u (hash_value, entity_type, first_seen_tip, occurrence_count)
			SELECT r.hash_value, r.entity_type, min(r.record_tip), count(*)
			FROM noggin_schema.record_hashes r WHERE r.hash_value IN (SELECT f.hash_value FROM pg_temp.noggin_forgotten f
				WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = f.hash_value))
			GROUP BY r.hash_value, r.entity_type ORDER BY r.hash_value, r.entity_type
			ON CONFLICT (hash_value, entity_type) DO UPDATE SET resolved_at = NULL, resolved_name = NULL,
				occurrence_count = greatest(u.occurrence_count, excluded.occurrence_count)`)); err != nil {
			return err
		}
		return db.markStale(ctx, tx, `SELECT record_tip FROM pg_temp.noggin_marked`)
	})
	return done, err
}

// withoutOwnName says of the reference r that no name of its own type is known, so that
// one of another type stands in.
const withoutOwnName = `NOT EXISTS (SELECT FROM noggin_schema.entity_hashes own
	WHERE own.hash_value = r.hash_value AND own.entity_type = r.entity_type)`

// resolveFrom is a statement that resolves the unknown hashes whose name is in the table.
// Of names of other types than their own, the first in the given order counts.
func resolveFrom(table, order string) string {
	return `
		UPDATE noggin_schema.unknown_hashes x SET resolved_at = now(), resolved_name = k.entity_name
		FROM (SELECT DISTINCT ON (u.hash_value, u.entity_type) u.hash_value, u.entity_type, n.entity_name
			FROM noggin_schema.unknown_hashes u JOIN ` + table + ` n ON n.hash_value = u.hash_value
			WHERE u.resolved_at IS NULL
			ORDER BY u.hash_value, u.entity_type, (n.entity_type = u.entity_type) DESC, ` + order + `) k
		WHERE x.hash_value = k.hash_value AND x.entity_type = k.entity_type`
}

// markStale marks the records whose tips the query returns, so that healing renews
// them. A run keeps its claim on such a record.
func (db *DB) markStale(ctx context.Context, tx *sqlx.Tx, tips string) error {
	_, err := tx.ExecContext(ctx, db.sql(`
		WITH stale AS (SELECT d.tip FROM noggin_schema.noggin_data d
			WHERE d.tip IN (`+tips+`) AND NOT d.names_stale ORDER BY d.tip FOR NO KEY UPDATE OF d)
		UPDATE noggin_schema.noggin_data d SET names_stale = true FROM stale WHERE d.tip = stale.tip`))
	return err
}

// ResolveKnown resolves unknown hashes whose names did not come from an import, but
// from an operator's INSERT or a copied schema. It marks the records that refer to
// them, and the records whose has_unknown_hashes is wrong, to be healed.
func (db *DB) ResolveKnown(ctx context.Context) (resolved int64, err error) {
	err = db.tx(ctx, "resolve the unknown hashes", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, db.sql(lockNames)); err != nil {
			return err
		}
		if err := db.markStale(ctx, tx, `
			SELECT r.record_tip FROM noggin_schema.record_hashes r
			WHERE r.hash_value IN (SELECT u.hash_value FROM noggin_schema.unknown_hashes u
				JOIN noggin_schema.entity_hashes e USING (hash_value) WHERE u.resolved_at IS NULL)
			UNION
			SELECT h.tip FROM noggin_schema.noggin_data h WHERE h.has_unknown_hashes AND NOT EXISTS (
				SELECT FROM noggin_schema.record_hashes r LEFT JOIN noggin_schema.entity_hashes e USING (hash_value)
				WHERE r.record_tip = h.tip AND e.hash_value IS NULL)
			UNION
			SELECT h.tip FROM noggin_schema.noggin_data h, noggin_schema.names_recheck c
			WHERE c.after IS NOT NULL AND h.tip > c.after AND h.has_unknown_hashes AND `+knownOtherwise("h.tip")); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, db.sql(`UPDATE noggin_schema.names_recheck SET after = NULL WHERE after IS NOT NULL`)); err != nil {
			return err
		}
		return tx.GetContext(ctx, &resolved, db.sql(`WITH resolved AS (`+resolveFrom("noggin_schema.entity_hashes", "n.updated_at DESC, n.entity_type")+` RETURNING 1)
			SELECT count(*) FROM resolved`))
	})
	return resolved, err
}
