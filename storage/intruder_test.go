package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
)

// intruder makes a login and returns a connection of it to db's database.
func intruder(t *testing.T, db *DB) (conn *sql.DB, role string) {
	t.Helper()
	role = "intruder_" + strings.TrimPrefix(scalar[string](t, db, "SELECT current_database()"), "noggin_test_")
	for _, statement := range []string{"CREATE ROLE " + role + " LOGIN PASSWORD 'intruder'", "GRANT CONNECT ON DATABASE " + scalar[string](t, db, "SELECT current_database()") + " TO " + role} {
		if _, err := db.pool.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_, err := db.pool.ExecContext(context.Background(), "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role)
		if err != nil {
			t.Error(err)
		}
	})
	address, err := url.Parse(db.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "intruder")
	conn, err = sql.Open("postgres", address.String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetMaxOpenConns(1) // each statement runs in the same session
	t.Cleanup(func() { _ = conn.Close() })
	return conn, role
}

func execAll(t *testing.T, conn *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// trap is the body of a function that notes who ran it.
const trap = ` LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user); RETURN NULL; END $$`

// Functions and operators in public that fit better than PostgreSQL's own never run in
// noggin's sessions, nor in those of an operator who has public first in the search_path.
func TestNoFunctionOfOthersRunsInThePlaceOfPostgreSQLs(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	conn, role := intruder(t, db)
	if _, err := db.pool.Exec("GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC"); err != nil {
		t.Fatal(err)
	}
	execAll(t, conn, "CREATE TABLE public.caught (role name)", "GRANT ALL ON public.caught TO PUBLIC")
	for _, f := range []string{
		"date_bin(text, timestamptz, text) RETURNS timestamptz",
		"date_bin(interval, timestamptz, timestamptz) RETURNS timestamptz",
		"to_char(date, text) RETURNS text", "to_char(timestamp, text) RETURNS text", "now() RETURNS timestamptz",
		`"left"(text, int) RETURNS text`, "substr(text, int, int) RETURNS text", "concat(text, text, text) RETURNS text",
		"current_setting(text, boolean) RETURNS text", "to_regclass(text) RETURNS regclass", "format(text, text) RETURNS text",
		"hashtext(text) RETURNS int", "jsonb_build_object(text, text) RETURNS jsonb",
	} {
		execAll(t, conn, "CREATE FUNCTION public."+f+trap)
	}
	for i, operator := range []struct{ name, left, right, result string }{
		{"*", "int", "numeric", "numeric"},
		{"*", "int", "float8", "float8"},
		{"*", "int", "bigint", "bigint"},
		{"+", "bigint", "int", "bigint"},
		{"-", "timestamptz", "timestamptz", "interval"},
		{"||", "text", "text", "text"},
		{"~", "text", "text", "boolean"},
		{"=", "text", "text", "boolean"},
		{"<>", "text", "text", "boolean"},
	} {
		function := fmt.Sprintf("public.trap_%d", i)
		execAll(t, conn, "CREATE FUNCTION "+function+"("+operator.left+", "+operator.right+") RETURNS "+operator.result+trap,
			"CREATE OPERATOR public."+operator.name+" (FUNCTION = "+function+", LEFTARG = "+operator.left+", RIGHTARG = "+operator.right+")")
	}

	insertPending(t, db, 3)
	for _, c := range claim(t, db, 1, 2) {
		if _, err := db.Store(t.Context(), 1, []Answer{answer(c)}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Finish(t.Context(), 1, []Result{{Tip: c.Tip, Token: c.Token, Status: "complete"}}, testBackoff); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Sample(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{Repair: true}); err != nil {
		t.Fatal(err)
	}
	// An operator with the worst of search paths. His own expressions are his own.
	operator, err := sql.Open("postgres", db.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	operator.SetMaxOpenConns(1)
	execAll(t, operator, "SET search_path = public, pg_catalog, noggin_schema",
		"UPDATE noggin_schema.noggin_data SET processing_status = 'skipped', report_size_bytes = 3, folder = '2025/02/'::text OPERATOR(pg_catalog.||) tip",
		"INSERT INTO noggin_schema.noggin_data (tip, object_type, inspection_date, report_size_bytes) VALUES ('zz', 'LCD', '2025-03-04', 7)",
		"UPDATE noggin_schema.attachments SET file_size_bytes = 8, download_started_at = updated_at",
		"DELETE FROM noggin_schema.noggin_data WHERE tip OPERATOR(pg_catalog.=) 'zz'")
	var caught []string
	if err := db.pool.Select(&caught, "SELECT role FROM public.caught"); err != nil || len(caught) > 0 {
		t.Errorf("functions of %s ran as %v, %v", role, caught, err)
	}

	server, err := db.Server(t.Context())
	if err != nil || !slices.Contains(server.Creators, "PUBLIC in public") {
		t.Errorf("who may create functions is told as %v, %v", server.Creators, err)
	}
	if _, err := db.pool.Exec("REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA noggin_schema TO " + role); err != nil {
		t.Fatal(err)
	}
	result, err := db.Init(t.Context(), schemaText(t), InitOptions{})
	if err != nil || !slices.Equal(result.Creators, []string{role + " in noggin_schema"}) {
		t.Errorf("init-db tells of %v, %v", result.Creators, err)
	}
}

// Every function of the schema says what it sees.
func TestEveryFunctionOfTheSchemaIsBoundOrHasItsOwnSearchPath(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	var loose []string
	err := db.pool.Select(&loose, `SELECT proname FROM pg_proc WHERE pronamespace = 'noggin_schema'::regnamespace
		AND prosqlbody IS NULL AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)`)
	if err != nil || len(loose) > 0 {
		t.Errorf("%v see what the session sees, %v", loose, err)
	}
}

// A login without rights on noggin's tables, or with SELECT alone, holds up nobody.
func TestALoginWithoutRightsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	conn, role := intruder(t, db)
	if _, err := db.pool.Exec("GRANT USAGE ON SCHEMA noggin_schema TO " + role + "; GRANT SELECT ON ALL TABLES IN SCHEMA noggin_schema TO " + role); err != nil {
		t.Fatal(err)
	}
	execAll(t, conn, "BEGIN")
	for _, work := range []string{"names", "maintenance", "fold", "sample", "init", "validate", "validation"} {
		for _, key := range []string{"noggin_schema." + work, work} {
			execAll(t, conn, "SELECT pg_advisory_lock(hashtext("+pq.QuoteLiteral(key)+"))", "SELECT pg_advisory_xact_lock(hashtext("+pq.QuoteLiteral(key)+"))")
		}
	}
	var tables []string
	if err := db.pool.Select(&tables, "SELECT 'noggin_schema.' || relname FROM pg_class WHERE relnamespace = 'noggin_schema'::regnamespace AND relkind = 'r'"); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		execAll(t, conn, "SAVEPOINT s")
		for _, mode := range []string{"ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"} {
			if _, err := conn.Exec("LOCK TABLE " + table + " IN " + mode + " MODE NOWAIT"); err == nil {
				t.Errorf("%s may be locked in mode %s", table, mode)
			}
			execAll(t, conn, "ROLLBACK TO s")
		}
		execAll(t, conn, "LOCK TABLE "+table+" IN ACCESS SHARE MODE")
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	if _, err := db.Store(ctx, 1, []Answer{answer(c)}); err != nil {
		t.Errorf("storing: %v", err)
	}
	importNames(t, db, ImportOptions{}, NamedHash{2, "vehicle", "aa", "TRUCK 1"})
	for what, lock := range map[string]func() (func(), error){
		"the maintenance lock": func() (func(), error) { return db.Lock(ctx, "archive create") },
		"the turn to validate": func() (func(), error) { return db.Turn(ctx) },
	} {
		release, err := lock()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		release()
	}
	if taken, err := db.Sample(ctx, nil); err != nil || !taken {
		t.Errorf("a sample: %v, %v", taken, err)
	}
	if err := db.Fold(ctx); err != nil {
		t.Error(err)
	}
	if _, err := db.Init(ctx, schemaText(t), InitOptions{}); err != nil {
		t.Errorf("init: %v", err)
	}
}

// lockByCron has a session that calls itself "a cron job" hold a lock until the test ends.
func lockByCron(t *testing.T, db *DB, lock string) {
	t.Helper()
	tx, err := db.pool.Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	if _, err := tx.Exec("SET LOCAL application_name = 'a cron job'; LOCK TABLE " + lock); err != nil {
		t.Fatal(err)
	}
}

func TestTheMaintenanceLockNamesAHolderThatIsNoNoggin(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	lockByCron(t, db, "noggin_schema.maintenance_lock IN ACCESS EXCLUSIVE MODE")
	_, err := db.Lock(t.Context(), "maintain vacuum")
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), `"a cron job" of role `) {
		t.Errorf("the holder is told as %v", err)
	}
}

func TestAnImportOfNamesThatHasToWaitNamesTheHolder(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	lockByCron(t, db, "noggin_schema.names_lock IN ROW EXCLUSIVE MODE")
	_, err := db.ImportNames(t.Context(), ImportOptions{Source: "test"}, func() (NamedHash, error) { return NamedHash{}, io.EOF })
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "(a cron job)") {
		t.Errorf("the import ends with %v", err)
	}
}

// A held lock keeps no dead rows: its transaction has neither a snapshot nor a number.
func TestAHeldLockHoldsNoRowsBack(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	release, err := db.Lock(t.Context(), "archive create")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if n := scalar[int](t, db, `SELECT count(*) FROM pg_stat_activity WHERE pid = (SELECT backend_pid FROM noggin_schema.maintenance_lock)
		AND backend_xmin IS NULL AND backend_xid IS NULL AND state = 'idle in transaction'`); n != 1 {
		t.Error("the transaction of the lock has a snapshot or a number")
	}
	for _, table := range []string{"noggin_data", "names_lock"} {
		if err := db.Vacuum(t.Context(), table, false); err != nil {
			t.Error(err)
		}
	}
}

// A backup says which rights are missing before it begins.
func TestABackupSaysWhichSelectIsMissing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	conn, role := intruder(t, db)
	if _, err := db.pool.Exec("GRANT USAGE ON SCHEMA noggin_schema TO " + role + `; CREATE TABLE noggin_schema."an operator's" (id serial);
		GRANT SELECT ON ALL TABLES IN SCHEMA noggin_schema TO ` + role + `; GRANT SELECT ON ALL SEQUENCES IN SCHEMA noggin_schema TO ` + role + `;
		REVOKE SELECT ON noggin_schema."an operator's", noggin_schema.runs FROM ` + role + `; REVOKE SELECT ON SEQUENCE noggin_schema.runs_id_seq FROM ` + role); err != nil {
		t.Fatal(err)
	}
	execAll(t, conn, "SELECT 1")
	cfg := db.cfg
	address, err := url.Parse(cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "intruder")
	cfg.URL = address.String()
	missing, err := openDB(t, cfg).Unreadable(t.Context())
	want := []string{"SEQUENCE noggin_schema.runs_id_seq", `TABLE noggin_schema."an operator's"`, "TABLE noggin_schema.runs"}
	for i, object := range want {
		want[i] = "GRANT SELECT ON " + object + " TO " + role
	}
	if err != nil || !slices.Equal(missing, want) {
		t.Errorf("got %v, %v, want %v", missing, err, want)
	}
	if _, err := db.pool.Exec(strings.Join(missing, "; ")); err != nil {
		t.Errorf("what the backup says is no SQL: %v", err)
	}
}

// An upgrade knows the dumps that version 1 made from its runs.
func TestTheBackupsOfOlderRunsAreRecorded(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	sum := strings.Repeat("a1", 32)
	if _, err := db.pool.Exec(`INSERT INTO noggin_schema.runs (command, host, pid, summary) VALUES
		('maintain backup', 'h', 1, '{"path": "/b/noggin_x.dump", "bytes": 7, "sha256": "` + sum + `"}'),
		('maintain backup', 'h', 1, '{"path": "/b/noggin_y.dump", "bytes": "many", "sha256": "` + strings.Repeat("b2", 32) + `"}'),
		('maintain backup', 'h', 1, '{"made_already": true}'), ('maintain backup', 'h', 1, NULL), ('process', 'h', 1, '{"sha256": "` + strings.Repeat("c3", 32) + `"}')`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{Repair: true}); err != nil {
		t.Fatal(err)
	}
	if recorded, err := db.RecordedBackups(t.Context()); err != nil || len(recorded) != 1 || !recorded[sum] {
		t.Errorf("got %v, %v", recorded, err)
	}
}
