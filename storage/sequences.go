package storage

import "context"

// behind finds the sequences whose next number is taken already. Logical replication
// copies rows and no sequences, so they are behind when the replica is promoted.
const behind = `SELECT s.oid::regclass AS sequence, t.relname || '.' || a.attname AS numbered, m.taken, q.last_value
	FROM pg_class t
	JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = t.oid AND p.classid = 'pg_class'::regclass AND p.deptype IN ('a', 'i')
	JOIN pg_class s ON s.oid = p.objid AND s.relkind = 'S'
	JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = p.refobjsubid
	JOIN pg_namespace n ON n.oid = s.relnamespace
	JOIN pg_sequences q ON q.schemaname = n.nspname AND q.sequencename = s.relname
	CROSS JOIN LATERAL (SELECT substring(query_to_xml(format('SELECT max(%I) AS m FROM %s', a.attname, t.oid::regclass), false, true, '')::text
		FROM '<m>(-?[0-9]+)</m>')::bigint AS taken) AS m
	WHERE t.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'noggin_schema.noggin_data'::regclass)
	  AND m.taken > coalesce(q.last_value, q.start_value - 1)`

var sequencesBehind = Check{
	Name: "sequences_behind", Message: "sequences are behind their tables, so that new rows collide with old ones", Fixable: true,
	query: `SELECT NULL::text AS tip, numbered || ': ' || taken || ' is taken, the sequence is at ' || coalesce(last_value, 0) AS example FROM (` + behind + `) AS behind`,
}

// SequencesBehind returns the sequences that `noggin validate data --fix` has to mend
// before anything can be inserted.
func (db *DB) SequencesBehind(ctx context.Context) (Violations, error) {
	return db.Violations(ctx, sequencesBehind)
}
