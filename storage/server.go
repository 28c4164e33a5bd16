package storage

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// Server is what the database server says of itself and of our role.
type Server struct {
	Version       string   `db:"version"` // 15.8
	VersionNumber int      `db:"version_number"`
	Database      string   `db:"database"`
	Role          string   `db:"role"`
	Encoding      string   `db:"encoding"`
	Standby       bool     `db:"standby"`   // read-only: it follows another server
	ReadOnly      bool     `db:"read_only"` // transactions are, by default
	ClockAhead    float64  `db:"clock_ahead"`
	CanCreate     bool     `db:"can_create"` // schemas, as init-db must
	NoRights      []string `db:"-"`          // what the role may not do to our tables: "UPDATE on attachments"
	NotOwned      []string `db:"-"`          // tables that it cannot maintain
}

// Server asks the server what it is and what it lets us do.
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
	// The server looked at its clock between our two looks at ours.
	ours := float64(asked.Add(time.Since(asked)/2).UnixNano()) / 1e9
	s.ClockAhead -= ours
	return s, err
}

// Plain is how a session looks that noggin did not set up: psql's.
type Plain struct {
	Zone       string   `db:"zone"`
	SameZone   bool     `db:"same_zone"` // now and in half a year it is as late there as here
	SearchPath []string `db:"-"`
}

// Plain tells how a session of psql with our role would look. zone is the one that
// noggin works in.
func (db *DB) Plain(ctx context.Context, zone string) (Plain, error) {
	cfg := db.cfg
	cfg.Timezone = ""
	other, err := Open(cfg, "validate")
	if err != nil {
		return Plain{}, err
	}
	defer func() { _ = other.Close() }() // only read from
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
