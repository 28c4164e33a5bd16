package storage

import (
	"context"
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// runRights are what a run of process does to the tables, itself and by triggers. A test
// does all that a run may do with these alone, and knows every table of schema.sql.
const runRights = `VALUES ('noggin_data', 'SELECT,INSERT,UPDATE'), ('attachments', 'SELECT,INSERT,UPDATE,DELETE'),
	('record_versions', 'SELECT,INSERT'), ('former_files', 'SELECT,INSERT,UPDATE,DELETE'), ('refreshes', 'SELECT,INSERT,UPDATE'),
	('record_hashes', 'SELECT,INSERT,DELETE'), ('record_search', 'SELECT,INSERT,UPDATE'), ('entity_hashes', 'SELECT'), ('unknown_hashes', 'SELECT,INSERT,UPDATE'),
	('unknown_hash_counts', 'SELECT,INSERT,DELETE'), ('fold_lock', 'UPDATE'),
	('processing_errors', 'INSERT'), ('runs', 'SELECT,INSERT,UPDATE'), ('circuit', 'SELECT,UPDATE'), ('circuit_transitions', 'INSERT'),
	('record_counts', 'SELECT,INSERT'), ('file_counts', 'SELECT,INSERT'), ('archives', 'SELECT'), ('archive_records', 'SELECT'),
	('copy_targets', 'SELECT'), ('copies', 'SELECT'), ('copies_due', 'SELECT,INSERT'), ('seal_due', 'SELECT,INSERT,UPDATE'),
	('schema_version', 'SELECT'), ('pause', 'SELECT'), ('names_recheck', 'SELECT,UPDATE'), ('names_lock', 'UPDATE'), ('search_fill', 'SELECT,UPDATE')`

// CheckRights returns an [ErrNoRight] if the role lacks a right that a run needs. A run
// that learns it later has fetched records in vain and leaves claims behind.
func (db *DB) CheckRights(ctx context.Context) error {
	var lacks []struct {
		Role   string         `db:"role"`
		Rights string         `db:"rights"`
		Tables pq.StringArray `db:"tables"`
	}
	err := db.selectAll(ctx, "look at the role's rights", &lacks, `
		WITH lacking AS (SELECT t.relname::text AS name, string_agg(p.privilege, ', ' ORDER BY p.n) AS rights
			FROM (`+runRights+`) AS n (name, privileges)
			JOIN pg_class t ON t.relname = n.name AND t.relnamespace = to_regnamespace($1)
			CROSS JOIN unnest(string_to_array(n.privileges, ',')) WITH ORDINALITY AS p (privilege, n)
			WHERE NOT has_table_privilege(t.oid, p.privilege) GROUP BY t.relname)
		SELECT current_user::text AS role, rights, array_agg(name ORDER BY name) AS tables FROM lacking GROUP BY rights ORDER BY rights`,
		pq.QuoteIdentifier(db.cfg.Schema))
	if err != nil || len(lacks) == 0 {
		return err
	}
	grants := make([]string, len(lacks))
	for i, l := range lacks {
		for n, table := range l.Tables {
			l.Tables[n] = pq.QuoteIdentifier(db.cfg.Schema) + "." + pq.QuoteIdentifier(table)
		}
		grants[i] = fmt.Sprintf("GRANT %s ON %s TO %s", l.Rights, strings.Join(l.Tables, ", "), pq.QuoteIdentifier(l.Role))
	}
	return fmt.Errorf("%w; nothing was fetched: as the tables' owner, %s", ErrNoRight, strings.Join(grants, "; "))
}
