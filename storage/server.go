package storage

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// Server describes the database server and the rights of noggin's role.
type Server struct {
	Version       string   `db:"version"` // 15.8
	VersionNumber int      `db:"version_number"`
	Database      string   `db:"database"`
	Role          string   `db:"role"`
	Encoding      string   `db:"encoding"`
	Standby       bool     `db:"standby"`     // it follows another server and is read-only
	ReadOnly      bool     `db:"read_only"`   // the default of new transactions
	ClockAhead    float64  `db:"clock_ahead"` // seconds; negative: behind this host's clock
	CanCreate     bool     `db:"can_create"`  // the role may create schemas, as init-db does
	NoRights      []string `db:"-"`           // rights the role lacks: "UPDATE on attachments"
	NotOwned      []string `db:"-"`           // tables the role cannot maintain
	Creators      []string `db:"-"`           // who else may create functions: "PUBLIC in public"
}

// Server reads the server's version and settings and the role's rights.
func (db *DB) Server(ctx context.Context) (Server, error) {
	row := struct {
		Server
		NoRights pq.StringArray `db:"no_rights"`
		NotOwned pq.StringArray `db:"not_owned"`
	}{}
	asked := time.Now()
	err := db.get(ctx, "ask the server about itself", &row, `
		WITH ours AS (SELECT oid, relname, relowner FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace($1))
		SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_number,
		       current_database()::text AS database, current_user::text AS role, current_setting('server_encoding') AS encoding,
		       pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only,
		       extract(epoch FROM clock_timestamp())::float8 AS clock_ahead,
		       has_database_privilege(current_database(), 'CREATE') AS can_create,
		       ARRAY(SELECT p || ' on ' || relname FROM ours, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
		             WHERE NOT has_table_privilege(oid, p) ORDER BY relname, p) AS no_rights,
		       ARRAY(SELECT relname::text FROM ours WHERE NOT pg_has_role(relowner, 'USAGE') ORDER BY relname) AS not_owned`,
		pq.QuoteIdentifier(db.cfg.Schema))
	s := row.Server
	s.NoRights, s.NotOwned = row.NoRights, row.NotOwned
	// The server read its clock between the start and the end of the statement.
	s.ClockAhead -= float64(asked.Add(time.Since(asked)/2).UnixNano()) / 1e9
	if err == nil {
		s.Creators, err = db.creators(ctx)
	}
	return s, err
}

// creators lists who else may create functions in noggin's schema or in public, on which
// the search_path of many sessions ends.
func (db *DB) creators(ctx context.Context) (creators []string, err error) {
	err = db.selectAll(ctx, "ask who may create functions", &creators, `
		SELECT coalesce(r.rolname::text, 'PUBLIC') || ' in ' || n.nspname
		FROM pg_namespace n
		CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
		LEFT JOIN pg_roles r ON r.oid = a.grantee
		WHERE n.nspname IN ('public', $1) AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
		  AND (a.grantee = 0 OR r.rolname <> current_user AND NOT r.rolsuper)
		ORDER BY 1`, db.cfg.Schema)
	return creators, err
}

// Plain holds the settings of a session that noggin did not set up, such as psql's.
type Plain struct {
	Zone       string   `db:"zone"`
	SameZone   bool     `db:"same_zone"` // it shows the same time as noggin's zone, now and in half a year
	SearchPath []string `db:"-"`
}

// Plain reads the settings that a session of psql with noggin's role has. zone is
// noggin's time zone.
func (db *DB) Plain(ctx context.Context, zone string) (Plain, error) {
	cfg := db.cfg
	cfg.Timezone, cfg.plain = "", true
	other, err := Open(cfg, "validate")
	if err != nil {
		return Plain{}, err
	}
	defer func() { _ = other.Close() }() // it only reads
	row := struct {
		Plain
		SearchPath pq.StringArray `db:"search_path"`
	}{}
	err = other.get(ctx, "look at the role's settings", &row, `
		SELECT z.zone, current_schemas(false)::text[] AS search_path,
		       NOT EXISTS (SELECT FROM (VALUES (now()), (now() + interval '6 months')) AS v (at)
		                   WHERE v.at AT TIME ZONE z.zone <> v.at AT TIME ZONE coalesce(nullif($1::text, ''), z.zone)) AS same_zone
		FROM (SELECT current_setting('TimeZone') AS zone) AS z`, zone)
	p := row.Plain
	p.SearchPath = row.SearchPath
	return p, err
}
