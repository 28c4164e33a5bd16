package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// SchemaVersion is the version of schema.sql. It moves with every change of that
// file, so that `noggin init-db` knows that there is something to add.
const SchemaVersion = 1

// InitOptions say how [DB.Init] is to deal with what it finds.
type InitOptions struct {
	// MigrateLegacy renames a schema of the replaced service to noggin_legacy and
	// copies its records, attachments and hashes.
	MigrateLegacy bool
	// ObjectTypeCodes maps what a legacy object_type column may hold (codes, API
	// names, full names, lower-cased) to codes.
	ObjectTypeCodes map[string]string
	// Output is the absolute path of the output folder, with which the replaced
	// service's paths begin.
	Output string
	// Repair applies the schema although its version is current, and puts back what
	// somebody removed or changed.
	Repair bool
}

// InitResult tells what [DB.Init] did.
type InitResult struct {
	FromVersion  int            `json:"from_version"` // 0: there was none
	ToVersion    int            `json:"to_version"`
	AddedColumns []string       `json:"added_columns,omitempty"`
	Repaired     []string       `json:"repaired,omitempty"`  // what was missing or not as it should be
	Remaining    []string       `json:"remaining,omitempty"` // what is not, and only a person can mend
	SearchPath   bool           `json:"search_path_set"`
	Legacy       []LegacyCopied `json:"legacy,omitempty"`
	Schema       string         `json:"schema"`
}

// CheckSchema returns an error wrapping [ErrSchema] unless the schema is there and
// not older than this program needs.
func (db *DB) CheckSchema(ctx context.Context) error {
	version, err := db.schemaVersion(ctx, db.pool)
	if err != nil {
		return describe(ctx, "read the schema's version", err)
	}
	return checkVersion(version)
}

func checkVersion(version int) error {
	if version < SchemaVersion {
		if version == 0 {
			return fmt.Errorf("%w: it is missing: run `noggin init-db`", ErrSchema)
		}
		return fmt.Errorf("%w: it has version %d, this program needs %d: run `noggin init-db`", ErrSchema, version, SchemaVersion)
	}
	return nil
}

// schemaVersion returns the recorded version, 0 when there is none.
func (db *DB) schemaVersion(ctx context.Context, q sqlx.QueryerContext) (int, error) {
	var exists bool
	err := sqlx.GetContext(ctx, q, &exists, db.sql(`SELECT to_regclass('noggin_schema.schema_version') IS NOT NULL`))
	if err != nil || !exists {
		return 0, err
	}
	var version int
	return version, sqlx.GetContext(ctx, q, &version, db.sql(`SELECT coalesce(max(version), 0) FROM noggin_schema.schema_version`))
}

// Init creates or completes the schema from the text of schema.sql, in one
// transaction under an advisory lock; it does nothing when the recorded version is
// current. A schema of the replaced service is never built over.
func (db *DB) Init(ctx context.Context, schemaSQL string, opts InitOptions) (InitResult, error) {
	result := InitResult{ToVersion: SchemaVersion, Schema: db.cfg.Schema}
	version, err := db.schemaVersion(ctx, db.pool)
	if err != nil {
		return result, describe(ctx, "read the schema's version", err)
	}
	if version > SchemaVersion || version == SchemaVersion && !opts.Repair {
		result.FromVersion, result.ToVersion = version, version
		result.SearchPath, err = db.setSearchPath(ctx)
		return result, err
	}
	err = db.tx(ctx, "apply the schema", func(tx *sqlx.Tx) error {
		result.AddedColumns, result.Legacy, result.Repaired = nil, nil, nil
		if _, err := tx.ExecContext(ctx, db.sql(`SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s';
			SELECT pg_advisory_xact_lock(hashtext('noggin_schema.init'))`)); err != nil {
			return err
		}
		if result.FromVersion, err = db.schemaVersion(ctx, tx); err != nil || result.FromVersion >= SchemaVersion && !opts.Repair {
			return err
		}
		return db.build(ctx, tx, schemaSQL, opts, &result)
	})
	if errors.Is(err, ErrBusy) {
		return result, fmt.Errorf("%w: try again when it is done (`noggin report database` shows it)", err)
	}
	if err != nil {
		return result, err
	}
	result.SearchPath, err = db.setSearchPath(ctx)
	return result, err
}

func (db *DB) build(ctx context.Context, tx *sqlx.Tx, schemaSQL string, opts InitOptions, result *InitResult) error {
	legacy, err := db.isLegacy(ctx, tx)
	if err != nil {
		return err
	}
	if legacy {
		if !opts.MigrateLegacy {
			return fmt.Errorf("%w: schema %s holds a noggin_data that is not ours (the replaced service's?); nothing was changed: "+
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
	if _, err := tx.ExecContext(ctx, db.sql(`INSERT INTO noggin_schema.schema_version (version) VALUES ($1) ON CONFLICT DO NOTHING`), SchemaVersion); err != nil {
		return err
	}
	if legacy {
		result.Legacy, err = db.copyLegacy(ctx, tx, opts)
	}
	return err
}

// apply adds what the schema lacks against schema.sql.
func (db *DB) apply(ctx context.Context, tx *sqlx.Tx, schemaSQL string, result *InitResult) (err error) {
	if result.AddedColumns, err = db.addMissingColumns(ctx, tx, schemaSQL); err != nil {
		return fmt.Errorf("add missing columns: %w", err)
	}
	if _, err := tx.ExecContext(ctx, db.sql(schemaSQL)); err != nil {
		return fmt.Errorf("apply schema.sql: %w", err)
	}
	return nil
}

// repair is apply, and puts back what is there in another way than schema.sql makes
// it.
func (db *DB) repair(ctx context.Context, tx *sqlx.Tx, schemaSQL string, result *InitResult) error {
	before, err := db.compareSchema(ctx, tx, schemaSQL)
	if err != nil {
		return fmt.Errorf("compare with schema.sql: %w", err)
	}
	err = db.clearForRepair(ctx, tx, before)
	if err == nil {
		err = db.apply(ctx, tx, schemaSQL, result)
	}
	if err == nil {
		err = db.repairConstraints(ctx, tx, before)
	}
	if err != nil {
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

// addMissingColumns brings the tables of an older version up to schema.sql, which
// stays one declarative text: it is applied to a scratch schema first, and what
// the real tables lack against that is added. Indexes and constraints of the new
// columns follow when the text is applied to the real schema.
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

// setSearchPath makes unqualified names work in psql for this role in this
// database. It looks first: a concurrent ALTER ROLE fails.
func (db *DB) setSearchPath(ctx context.Context) (changed bool, err error) {
	want := db.cfg.Schema + ", public"
	err = db.tx(ctx, "set the role's search_path", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, db.sql(`SELECT pg_advisory_xact_lock(hashtext('noggin_schema.init'))`)); err != nil {
			return err
		}
		var have, database string
		err := tx.QueryRowxContext(ctx, `
			SELECT current_database(), coalesce((SELECT substr(option, length('search_path=') + 1)
				FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database()
				JOIN pg_roles r ON r.oid = s.setrole AND r.rolname = current_user, unnest(s.setconfig) AS option
				WHERE option LIKE 'search\_path=%'), '')`).Scan(&database, &have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if changed = have != want; !changed {
			return nil
		}
		_, err = tx.ExecContext(ctx, "ALTER ROLE CURRENT_USER IN DATABASE "+pq.QuoteIdentifier(database)+
			" SET search_path = "+pq.QuoteIdentifier(db.cfg.Schema)+", public")
		return err
	})
	return changed, err
}
