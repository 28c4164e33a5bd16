package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// SchemaVersion is the version of schema.sql, which records it in schema_version. It
// rises with every release that changes the schema, so that `noggin init-db` upgrades
// older databases.
const SchemaVersion = 2

// InitOptions say what [DB.Init] does with an existing schema.
type InitOptions struct {
	// MigrateLegacy renames a schema of the replaced service to noggin_legacy and
	// copies its records, attachments and hashes.
	MigrateLegacy bool
	// ObjectTypeCodes maps what a legacy object_type column may hold (codes, API
	// names, full names, lower-cased) to codes.
	ObjectTypeCodes map[string]string
	// Output is the absolute path of the output folder. Paths of the replaced service
	// begin with it.
	Output string
	// Repair applies the schema even if its version is current. It puts back columns,
	// indexes and triggers that somebody removed.
	Repair bool
	// AskAgain are the times after which a complete record is asked for again. An upgrade
	// makes old records due only for those that are still to come.
	AskAgain []time.Duration
}

// InitResult is what [DB.Init] did.
type InitResult struct {
	FromVersion  int            `json:"from_version"` // 0: no schema
	ToVersion    int            `json:"to_version"`
	AddedColumns []string       `json:"added_columns,omitempty"`
	Repaired     []string       `json:"repaired,omitempty"`  // objects that were missing or different
	Remaining    []string       `json:"remaining,omitempty"` // objects that differ and that only a person can mend
	SearchPath   bool           `json:"search_path_set"`
	Timezone     string         `json:"timezone_set,omitempty"` // empty: the role had it
	Creators     []string       `json:"creators,omitempty"`     // who else may create functions: "PUBLIC in public"
	Legacy       []LegacyCopied `json:"legacy,omitempty"`
	Schema       string         `json:"schema"`
}

// CheckSchema returns an error that wraps [ErrSchema] unless this program may run on
// the schema.
func (db *DB) CheckSchema(ctx context.Context) error {
	v, err := db.schemaVersion(ctx, db.pool)
	if err != nil {
		return describe(ctx, "read the schema's version", err)
	}
	return v.check()
}

// versions are what the table schema_version says.
type versions struct {
	Version       int `db:"version"`        // of the schema; 0: it is missing
	OldestProgram int `db:"oldest_program"` // the least SchemaVersion of a program that may run
	// Known says that the session still has noggin.client and noggin.schema, which it set
	// when it connected. Without them the triggers take noggin for an operator, or for an
	// older program.
	Known bool `db:"known"`
}

// known is the SQL of versions.Known.
const known = `coalesce(current_setting('noggin.client', true), '') = 'on' AND coalesce(current_setting('noggin.schema', true), '') <> ''`

// check returns an error that wraps [ErrSchema] or [ErrPooler] unless this program may
// run on this connection.
func (v versions) check() error {
	switch {
	case v.Version == 0:
		return fmt.Errorf("%w: it is missing: run `noggin init-db`", ErrSchema)
	case v.Version < SchemaVersion:
		return fmt.Errorf("%w: it has version %d, this program needs %d: run `noggin init-db`", ErrSchema, v.Version, SchemaVersion)
	case v.OldestProgram > SchemaVersion:
		return fmt.Errorf("%w: version %d needs a program that knows version %d, this one knows %d: %w",
			ErrSchema, v.Version, v.OldestProgram, SchemaVersion, ErrOldProgram)
	case !v.Known:
		return ErrPooler
	}
	return nil
}

// schemaVersion reads the versions of the schema.
func (db *DB) schemaVersion(ctx context.Context, q sqlx.QueryerContext) (v versions, err error) {
	var exists bool
	err = sqlx.GetContext(ctx, q, &exists, db.sql(`SELECT to_regclass('noggin_schema.schema_version') IS NOT NULL`))
	if err != nil || !exists {
		return v, err
	}
	// In JSON, because version 1 has no column oldest_program.
	err = sqlx.GetContext(ctx, q, &v, db.sql(`
		SELECT `+known+` AS known, coalesce(max(s.version), 0) AS version, coalesce(max((to_jsonb(s)->>'oldest_program')::int), 0) AS oldest_program
		FROM noggin_schema.schema_version s`))
	return v, err
}

// Init creates or upgrades the schema with the text of schema.sql, in one transaction
// under a lock. When the schema's version is current it does nothing, unless something is
// missing without which statements fail: then it repairs the schema. It never changes a
// schema of the replaced service without MigrateLegacy. An error that wraps [ErrBusy] means
// that another session holds a lock on the schema.
func (db *DB) Init(ctx context.Context, schemaSQL string, opts InitOptions) (InitResult, error) {
	result := InitResult{ToVersion: SchemaVersion, Schema: db.cfg.Schema}
	v, err := db.schemaVersion(ctx, db.pool)
	if err != nil {
		return result, describe(ctx, "read the schema's version", err)
	}
	if v.Version == SchemaVersion && !opts.Repair && v.check() == nil {
		if opts.Repair, err = db.isIncomplete(ctx, schemaSQL); err != nil {
			return result, err
		}
	}
	if v.Version > SchemaVersion || v.Version == SchemaVersion && !opts.Repair {
		if err := v.check(); err != nil {
			return result, err
		}
		result.FromVersion, result.ToVersion = v.Version, v.Version
		return result, db.settle(ctx, &result)
	}
	apply := func() error {
		return db.tx(ctx, "apply the schema", func(tx *sqlx.Tx) error {
			result.AddedColumns, result.Legacy, result.Repaired = nil, nil, nil
			if _, err := tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'`); err != nil {
				return err
			}
			if err := db.lockSchema(ctx, tx); err != nil {
				return err
			}
			v, err := db.schemaVersion(ctx, tx)
			if result.FromVersion = v.Version; err != nil || v.Version >= SchemaVersion && !opts.Repair {
				return err
			}
			return db.build(ctx, tx, schemaSQL, opts, &result)
		})
	}
	// Of two that make the same schema, one waits and then gets this code.
	if err = apply(); hasCode(err, "23505") {
		err = apply()
	}
	if err != nil {
		return result, err
	}
	return result, db.settle(ctx, &result)
}

// isIncomplete tells whether the schema lacks what statements name: somebody dropped it, or
// an earlier build of this version made the schema. A role that may not create schemas
// cannot tell.
func (db *DB) isIncomplete(ctx context.Context, schemaSQL string) (bool, error) {
	differences, err := db.CompareSchema(ctx, schemaSQL)
	if hasCode(err, "42501") { // insufficient_privilege
		return false, nil
	}
	return slices.ContainsFunc(differences, func(d SchemaDifference) bool {
		return d.State == SchemaMissing && slices.Contains([]string{"table", "column", "function", "view"}, d.Kind)
	}), err
}

// settle does what is due whenever init-db ran.
func (db *DB) settle(ctx context.Context, result *InitResult) (err error) {
	if err = db.setRole(ctx, result); err != nil {
		return err
	}
	result.Creators, err = db.creators(ctx)
	return err
}

// lockSchema lets only one session change the schema. Where there is no schema yet,
// PostgreSQL itself lets only one session make it.
func (db *DB) lockSchema(ctx context.Context, tx *sqlx.Tx) error {
	v, err := db.schemaVersion(ctx, tx)
	if err != nil || v.Version == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, db.sql(`LOCK TABLE noggin_schema.schema_version IN SHARE ROW EXCLUSIVE MODE`))
	return err
}

func (db *DB) build(ctx context.Context, tx *sqlx.Tx, schemaSQL string, opts InitOptions, result *InitResult) error {
	legacy, err := db.isLegacy(ctx, tx)
	if err != nil {
		return err
	}
	if legacy {
		if !opts.MigrateLegacy {
			return fmt.Errorf("%w: schema %s holds a noggin_data that noggin did not create, probably the replaced service's; nothing was changed: "+
				"`noggin init-db --migrate-legacy` renames that schema to %s and copies its records, or set [database] schema to another name",
				ErrSchema, db.cfg.Schema, legacySchema)
		}
		if _, err := tx.ExecContext(ctx, "ALTER SCHEMA "+pq.QuoteIdentifier(db.cfg.Schema)+" RENAME TO "+legacySchema); err != nil {
			return fmt.Errorf("rename the replaced service's schema: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pq.QuoteIdentifier(db.cfg.Schema)); err != nil {
		return fmt.Errorf("create schema %s: %w", db.cfg.Schema, err)
	}
	if opts.Repair && !legacy {
		err = db.repair(ctx, tx, schemaSQL, result)
	} else {
		err = db.apply(ctx, tx, schemaSQL, result)
	}
	if err != nil {
		return err
	}
	if legacy {
		result.Legacy, err = db.copyLegacy(ctx, tx, opts)
	} else if result.FromVersion == 1 {
		if err = db.seedRefreshes(ctx, tx, opts.AskAgain); err == nil {
			err = db.seedSeals(ctx, tx)
		}
	}
	return err
}

// apply adds what schema.sql has and the schema lacks.
func (db *DB) apply(ctx context.Context, tx *sqlx.Tx, schemaSQL string, result *InitResult) (err error) {
	if result.AddedColumns, err = db.addMissingColumns(ctx, tx, schemaSQL); err != nil {
		return fmt.Errorf("add missing columns: %w", err)
	}
	if _, err := tx.ExecContext(ctx, db.sql(schemaSQL)); err != nil {
		return fmt.Errorf("apply schema.sql: %w", err)
	}
	return nil
}

// repair is apply. It also records what apply put back and what still differs from
// schema.sql.
func (db *DB) repair(ctx context.Context, tx *sqlx.Tx, schemaSQL string, result *InitResult) error {
	before, err := db.compareSchema(ctx, tx, schemaSQL)
	if err != nil {
		return fmt.Errorf("compare with schema.sql: %w", err)
	}
	if err := db.apply(ctx, tx, schemaSQL, result); err != nil {
		return err
	}
	after, err := db.compareSchema(ctx, tx, schemaSQL)
	result.Remaining = labels(after)
	result.Repaired = slices.DeleteFunc(labels(before), func(l string) bool { return slices.Contains(result.Remaining, l) })
	return err
}

func (db *DB) isLegacy(ctx context.Context, tx *sqlx.Tx) (legacy bool, err error) {
	err = tx.GetContext(ctx, &legacy, `SELECT to_regclass(format('%I.noggin_data', $1::text)) IS NOT NULL
		AND to_regclass(format('%I.schema_version', $1::text)) IS NULL`, db.cfg.Schema)
	return legacy, err
}

// addMissingColumns adds new columns to the tables of an older version, so that
// schema.sql stays one declarative text. It applies the text to a scratch schema and
// adds the columns that the real tables lack. Indexes and constraints of new columns
// follow when the text is applied to the real schema.
func (db *DB) addMissingColumns(ctx context.Context, tx *sqlx.Tx, schemaSQL string) ([]string, error) {
	var missing []struct {
		Table      string `db:"table_name"`
		Column     string `db:"column_name"`
		Definition string `db:"definition"`
	}
	err := withScratch(ctx, tx, schemaSQL, func(scratch string) error {
		return tx.SelectContext(ctx, &missing, `
		SELECT c.relname AS table_name, a.attname AS column_name,
		       format_type(a.atttypid, a.atttypmod)
		       || CASE WHEN a.attidentity <> '' THEN ' GENERATED BY DEFAULT AS IDENTITY'
		               WHEN a.attgenerated <> '' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
		               ELSE coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
		                    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
		          END AS definition
		FROM pg_attribute a
		JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
		JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1
		JOIN pg_class t ON t.relname = c.relname AND t.relkind = 'r'
		JOIN pg_namespace tn ON tn.oid = t.relnamespace AND tn.nspname = $2
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attnum > 0 AND NOT a.attisdropped
		  AND NOT EXISTS (SELECT FROM pg_attribute ta WHERE ta.attrelid = t.oid AND ta.attname = a.attname AND NOT ta.attisdropped)
		ORDER BY c.relname, a.attnum`, scratch, db.cfg.Schema)
	})
	if err != nil {
		return nil, err
	}
	var added []string
	for _, m := range missing {
		table := pq.QuoteIdentifier(db.cfg.Schema) + "." + pq.QuoteIdentifier(m.Table)
		if _, err := tx.ExecContext(ctx, "ALTER TABLE "+table+" ADD COLUMN "+pq.QuoteIdentifier(m.Column)+" "+m.Definition); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", m.Table, m.Column, err)
		}
		added = append(added, m.Table+"."+m.Column)
	}
	return added, nil
}

// setRole sets the role's search_path and time zone in this database, so that psql finds
// the tables by their short names and has the site's days. The path is the schema alone:
// PostgreSQL adds its own functions, and others may be able to create functions in the
// schema public. It reads the settings first, because two ALTER ROLE at the same time
// fail.
func (db *DB) setRole(ctx context.Context, result *InitResult) error {
	return db.tx(ctx, "set the role's search_path and time zone", func(tx *sqlx.Tx) error {
		if err := db.lockSchema(ctx, tx); err != nil {
			return err
		}
		var path, zone, database string
		err := tx.QueryRowxContext(ctx, `
			WITH settings AS (SELECT lower(split_part(option, '=', 1)) AS name, substr(option, strpos(option, '=') + 1) AS value
				FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database()
				JOIN pg_roles r ON r.oid = s.setrole AND r.rolname = current_user, unnest(s.setconfig) AS option)
			SELECT current_database(), coalesce((SELECT value FROM settings WHERE name = 'search_path'), ''),
			       coalesce((SELECT value FROM settings WHERE name = 'timezone'), '')`).Scan(&database, &path, &zone)
		if err != nil {
			return err
		}
		alter := "ALTER ROLE CURRENT_USER IN DATABASE " + pq.QuoteIdentifier(database)
		if result.SearchPath = path != db.cfg.Schema; result.SearchPath {
			if _, err := tx.ExecContext(ctx, alter+" SET search_path = "+pq.QuoteIdentifier(db.cfg.Schema)); err != nil {
				return err
			}
		}
		if db.cfg.Timezone == "" || zone == db.cfg.Timezone {
			return nil
		}
		result.Timezone = db.cfg.Timezone
		_, err = tx.ExecContext(ctx, alter+" SET timezone = "+pq.QuoteLiteral(db.cfg.Timezone))
		return err
	})
}
