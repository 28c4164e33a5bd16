package storage

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The states of an object that differs from schema.sql.
const (
	SchemaMissing     = "missing"
	SchemaDifferent   = "different"
	SchemaDisabled    = "disabled"      // a trigger that does not fire
	SchemaInvalid     = "invalid"       // an index that a failed build left
	SchemaUnvalidated = "not validated" // a constraint that was never checked
)

// SchemaDifference is an object of the schema that differs from schema.sql. Objects
// that schema.sql does not have are an operator's own and are no difference.
type SchemaDifference struct {
	Kind  string // table, column, index, constraint, trigger, function, view
	Name  string // "attachments.filename", "noggin_data CHECK (…)"
	State string // one of the Schema constants

	object schemaObject // as schema.sql makes it
}

// schemaObject is an object as the catalogue describes it, without the schema's
// name.
type schemaObject struct {
	Kind       string `db:"kind"`
	Relation   string `db:"relation"` // the table it belongs to, or ""
	Name       string `db:"name"`
	Definition string `db:"definition"`
	State      string `db:"state"`
}

// key finds the same object in the other schema. A constraint is found by its
// definition, as its name may differ.
func (o schemaObject) key() string {
	if o.Kind == "constraint" {
		return o.Kind + " " + o.Relation + " " + o.Definition
	}
	return o.Kind + " " + o.Relation + " " + o.Name
}

func (o schemaObject) label() string {
	switch {
	case o.Kind == "constraint":
		return o.Relation + " " + o.Definition
	case o.Relation != "":
		return o.Relation + "." + o.Name
	default:
		return o.Name
	}
}

var errRollback = errors.New("roll back")

// CompareSchema compares the schema with the text of schema.sql. It applies the text
// to a scratch schema in a transaction that it rolls back, so the role needs the right
// to create schemas.
func (db *DB) CompareSchema(ctx context.Context, schemaSQL string) ([]SchemaDifference, error) {
	var differences []SchemaDifference
	err := db.txOnce(ctx, func(tx *sqlx.Tx) (err error) {
		if differences, err = db.compareSchema(ctx, tx, schemaSQL); err != nil {
			return err
		}
		return errRollback
	})
	if errors.Is(err, errRollback) {
		err = nil
	}
	return differences, describe(ctx, "compare the schema with schema.sql", err)
}

func (db *DB) compareSchema(ctx context.Context, tx *sqlx.Tx, schemaSQL string) (differences []SchemaDifference, err error) {
	err = withScratch(ctx, tx, schemaSQL, func(scratch string) error {
		// The catalogue qualifies every name that is not in the search path.
		if _, err := tx.ExecContext(ctx, "SET LOCAL search_path = pg_catalog"); err != nil {
			return err
		}
		want, err := db.schemaObjects(ctx, tx, scratch)
		if err != nil {
			return err
		}
		have, err := db.schemaObjects(ctx, tx, db.cfg.Schema)
		if err != nil {
			return err
		}
		differences = differencesOf(want, have)
		return nil
	})
	return differences, err
}

// withScratch applies schema.sql to a scratch schema, runs fn and drops the schema.
func withScratch(ctx context.Context, tx *sqlx.Tx, schemaSQL string, fn func(scratch string) error) error {
	var scratch string // one for each session, so that none waits for another
	if err := tx.GetContext(ctx, &scratch, `SELECT 'noggin_scratch_' || pg_backend_pid()`); err != nil {
		return err
	}
	scratchSQL := strings.ReplaceAll(schemaSQL, defaultSchema+".", scratch+".")
	if _, err := tx.ExecContext(ctx, "CREATE SCHEMA "+scratch+";"+scratchSQL); err != nil {
		return err
	}
	if err := fn(scratch); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "SET LOCAL client_min_messages = warning; DROP SCHEMA "+scratch+" CASCADE")
	return err
}

// differencesOf compares the objects that schema.sql makes with those that exist.
func differencesOf(want, have []schemaObject) []SchemaDifference {
	found := make(map[string]schemaObject, len(have))
	for _, o := range have {
		found[o.key()] = o
	}
	var differences []SchemaDifference
	missing := map[string]bool{}
	for _, w := range want {
		h, ok := found[w.key()]
		state := h.State
		switch {
		case !ok && missing[w.Relation]:
			continue // its table is reported
		case !ok:
			state = SchemaMissing
			if w.Kind == "table" {
				missing[w.Name] = true
			}
		case h.Definition != w.Definition:
			state = SchemaDifferent
		case state == "":
			continue
		}
		differences = append(differences, SchemaDifference{Kind: w.Kind, Name: w.label(), State: state, object: w})
	}
	// Invalid indexes that schema.sql does not have, such as those of a failed rebuild.
	for _, h := range have {
		known := slices.ContainsFunc(differences, func(d SchemaDifference) bool { return d.object.key() == h.key() })
		if h.Kind == "index" && h.State == SchemaInvalid && !known {
			differences = append(differences, SchemaDifference{Kind: h.Kind, Name: h.label(), State: h.State, object: h})
		}
	}
	return differences
}

// schemaObjects lists the objects of a schema, tables first.
func (db *DB) schemaObjects(ctx context.Context, tx *sqlx.Tx, schema string) ([]schemaObject, error) {
	var objects []schemaObject
	err := tx.SelectContext(ctx, &objects, `
		WITH ours AS (SELECT oid, relname, relkind FROM pg_class WHERE relnamespace = to_regnamespace($1))
		SELECT 'table' AS kind, '' AS relation, relname::text AS name, '' AS definition, '' AS state FROM ours WHERE relkind = 'r'
		UNION ALL
		SELECT 'column', o.relname, a.attname, format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
		       || a.attidentity::text || a.attgenerated::text || CASE WHEN a.attcollation = 0 THEN '' ELSE ' ' || a.attcollation::regcollation::text END, ''
		FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid WHERE o.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
		UNION ALL
		SELECT 'index', t.relname, i.relname, pg_get_indexdef(i.oid), CASE WHEN x.indisvalid THEN '' ELSE 'invalid' END
		FROM pg_index x JOIN ours t ON t.oid = x.indrelid AND t.relkind = 'r' JOIN pg_class i ON i.oid = x.indexrelid
		WHERE NOT x.indisvalid OR NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = x.indexrelid AND c.conrelid = x.indrelid)
		UNION ALL
		SELECT 'constraint', t.relname, c.conname, pg_get_constraintdef(c.oid), CASE WHEN c.convalidated THEN '' ELSE 'not validated' END
		FROM pg_constraint c JOIN ours t ON t.oid = c.conrelid WHERE c.contype IN ('p', 'u', 'f', 'c')
		UNION ALL
		SELECT 'trigger', t.relname, g.tgname, pg_get_triggerdef(g.oid), CASE WHEN g.tgenabled IN ('D', 'R') THEN 'disabled' ELSE '' END
		FROM pg_trigger g JOIN ours t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal
		UNION ALL
		SELECT 'function', '', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) || p.provolatile::text || coalesce(' ' || p.proconfig::text, ''), ''
		FROM pg_proc p WHERE p.pronamespace = to_regnamespace($1)
		UNION ALL
		SELECT 'view', '', relname, pg_get_viewdef(oid), '' FROM ours WHERE relkind = 'v'`, pq.QuoteIdentifier(schema))
	qualified := regexp.MustCompile(`\b` + schema + `\.|"` + schema + `"\.`)
	for i := range objects {
		o := &objects[i]
		o.Definition = qualified.ReplaceAllString(o.Definition, "")
		if o.Kind == "constraint" && o.State == SchemaUnvalidated {
			o.Definition = strings.TrimSuffix(o.Definition, " NOT VALID")
		}
	}
	order := []string{"table", "column", "constraint", "index", "function", "trigger", "view"}
	slices.SortStableFunc(objects, func(a, b schemaObject) int {
		return cmp.Or(slices.Index(order, a.Kind)-slices.Index(order, b.Kind), cmp.Compare(a.Relation, b.Relation), cmp.Compare(a.Name, b.Name))
	})
	return objects, err
}

// labels describes the differences: "missing trigger noggin_data.break_claim".
func labels(differences []SchemaDifference) []string {
	var all []string
	for _, d := range differences {
		all = append(all, d.String())
	}
	return all
}

func (d SchemaDifference) String() string { return d.State + " " + d.Kind + " " + d.Name }
