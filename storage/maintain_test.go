package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lib/pq"

	"noggin/storage/storagetest"
)

// insertErrors makes n errors, each a minute older than the one before.
func insertErrors(t *testing.T, db *DB, n int, newest string) {
	t.Helper()
	if _, err := db.pool.ExecContext(t.Context(), db.sql(`
		INSERT INTO noggin_schema.processing_errors (tip, error_type, error_message, created_at)
		SELECT 'x', 'timeout', 'no answer', now() - $2::interval - i * interval '1 minute' FROM generate_series(1, $1::int) AS i`), n, newest); err != nil {
		t.Fatal(err)
	}
}

func TestPruningDeletesWhatIsTooOldAndNothingElse(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertErrors(t, db, 3*PruneBatch/2, "7 months")
	insertErrors(t, db, 10, "5 months")
	foreign(t, db, `INSERT INTO noggin_schema.processing_errors (tip, error_type, error_message, created_at)
		SELECT 'same', 'timeout', 'at one moment', date '2020-01-01' FROM generate_series(1, 6000)`)
	foreign(t, db, `INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, resolved_at) VALUES
		('old', 'vehicle', now() - interval '4 months'), ('old', 'team', now() - interval '4 months'),
		('new', 'vehicle', now() - interval '1 month'), ('open', 'vehicle', NULL)`)
	var batches int
	p := Pruner{DB: db, Deleted: func(string, int64) { batches++ }}
	if n, err := p.Errors(t.Context(), "6 months"); err != nil || n != 3*PruneBatch/2+6000 || batches < 3 {
		t.Errorf("%d errors in %d batches, %v", n, batches, err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.processing_errors`); n != 10 {
		t.Errorf("%d errors are left", n)
	}
	if n, err := p.ResolvedHashes(t.Context(), "3 months"); err != nil || n != 2 {
		t.Errorf("%d hashes, %v", n, err)
	}
	if left := scalar[string](t, db, `SELECT string_agg(hash_value, ' ' ORDER BY hash_value) FROM noggin_schema.unknown_hashes`); left != "new open" {
		t.Errorf("left: %s", left)
	}
}

func TestTheReviewCountsWhatItNames(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 5)
	insertErrors(t, db, 2, "1 hour")
	insertErrors(t, db, 3, "9 days")
	foreign(t, db, `
		UPDATE noggin_schema.noggin_data SET processing_status = CASE right(tip, 1) WHEN '4' THEN 'failed' ELSE 'complete' END, permanently_failed = right(tip, 1) = '4',
			processing_seconds = 2 * right(tip, 1)::int WHERE right(tip, 1) > '0';
		UPDATE noggin_schema.noggin_data SET updated_at = now() - interval '9 days' WHERE right(tip, 1) = '3';
		INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name) SELECT min(tip), 'a', 1, 'f' FROM noggin_schema.noggin_data;
		INSERT INTO noggin_schema.circuit_transitions (from_state, to_state, reason, created_at) VALUES
			('closed', 'open', 'x', now()), ('open', 'half_open', 'x', now()), ('closed', 'open', 'x', now() - interval '9 days');
		INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('d', 'vehicle', 'TRUCK 1');
		INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, resolved_at) VALUES
			('a', 'vehicle', NULL), ('b', 'team', NULL), ('c', 'team', NULL), ('d', 'vehicle', now())`)
	unknown, err1 := db.CountUnknownHashes(t.Context())
	failures, err2 := db.CountErrors(t.Context(), 7)
	throughput, err3 := db.Throughput(t.Context(), 7)
	rows, err4 := db.RowCounts(t.Context())
	old, all, err5 := db.CountOldErrors(t.Context(), "1 week")
	got := fmt.Sprint(unknown, failures, throughput, rows, old, all, errors.Join(err1, err2, err3, err4, err5))
	if want := "[{team 2} {vehicle 1}] [{timeout 2}] {7 2 3 4 1} {5 1 1 1} 3 5 <nil>"; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

func TestPruningKeepsEachCommandsNewestAndNewestGoodRun(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `INSERT INTO noggin_schema.runs (command, host, pid, started_at, seen_at, exit_code)
		SELECT command, 'h', id, now() - months * interval '1 month', now() - months * interval '1 month', exit_code FROM (VALUES
			('process', 1, 40, 0), ('process', 2, 30, 0), ('process', 3, 20, 5), ('process', 4, 15, 5),
			('maintain backup', 5, 30, 0), ('report', 6, 13, 0), ('report', 7, 1, 0)) AS v (command, id, months, exit_code)`)
	foreign(t, db, `INSERT INTO noggin_schema.circuit_transitions (from_state, to_state, reason, created_at)
		VALUES ('closed', 'open', 'x', now() - interval '13 months'), ('open', 'half_open', 'x', now())`)
	runs, transitions, err := Pruner{DB: db}.Runs(t.Context(), "1 year")
	if err != nil || runs != 3 || transitions != 1 {
		t.Errorf("deleted %d runs, %d transitions, %v", runs, transitions, err)
	}
	if left := scalar[string](t, db, `SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM noggin_schema.runs`); left != "2 4 5 7" {
		t.Errorf("left: %s", left)
	}
}

func TestPruningLeavesRowsThatSomebodyHolds(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertErrors(t, db, 5, "1 year")
	tx, err := db.pool.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(db.sql(`SELECT FROM noggin_schema.processing_errors WHERE id = 3 FOR UPDATE`)); err != nil {
		t.Fatal(err)
	}
	if n, err := (Pruner{DB: db}).Errors(t.Context(), "6 months"); err != nil || n != 4 {
		t.Errorf("deleted %d, %v", n, err)
	}
}

func TestPruningGoesOnBesideClaims(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertErrors(t, db, 2*PruneBatch, "1 year")
	insertPending(t, db, 300)
	run, err := db.StartRun(t.Context(), "process", "")
	if err != nil {
		t.Fatal(err)
	}
	var during atomic.Int64
	done := make(chan error, 1)
	pruning := make(chan struct{})
	go func() {
		started := false
		_, err := Pruner{DB: db, Deleted: func(string, int64) {
			if !started {
				started = true
				close(pruning)
			}
		}}.Errors(context.WithoutCancel(t.Context()), "6 months")
		done <- err
	}()
	<-pruning
	for {
		claims, err := db.Claim(t.Context(), ClaimRequest{Run: run, Limit: 10, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(claims) == 0 {
			break
		}
		during.Add(int64(len(claims)))
		results := make([]Result, len(claims))
		for i, c := range claims {
			results[i] = Result{Tip: c.Tip, Token: c.Token, Status: "api_failed", Error: "x", Failures: []Failure{{Tip: c.Tip, Type: "timeout", Message: "new"}}}
		}
		if _, err := db.Finish(t.Context(), run, results, Backoff{Multiplier: 2, MaxAttempts: 5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.processing_errors`); n != 300 || during.Load() != 300 {
		t.Errorf("%d errors are left, %d records were claimed", n, during.Load())
	}
}

func TestARebuildClearsUpAfterOneThatFailed(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	// A duplicate makes a concurrent build fail and leave an invalid index.
	foreign(t, db, `CREATE TABLE noggin_schema.twice (n int)`)
	foreign(t, db, `INSERT INTO noggin_schema.twice VALUES (1), (1)`)
	foreign(t, db, `CREATE INDEX innocent_ccnew ON noggin_schema.twice (n)`)
	conn, err := db.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), db.sql(`CREATE UNIQUE INDEX CONCURRENTLY twice_n_ccnew1 ON noggin_schema.twice (n)`)); err == nil {
		t.Fatal("the build did not fail")
	}
	var left []string
	for _, index := range indexesOf(t, db) {
		if index.Leftover() {
			left = append(left, index.Index)
		}
	}
	if len(left) != 1 || left[0] != "twice_n_ccnew1" {
		t.Fatalf("left over: %v", left)
	}
	if err := db.DropLeftover(t.Context(), left[0]); err != nil {
		t.Fatal(err)
	}
	if err := db.DropLeftover(t.Context(), "noggin_data_pkey"); err == nil {
		t.Error("it would have dropped an index in use")
	}
	for _, index := range indexesOf(t, db) {
		if err := db.Reindex(t.Context(), index.Index); err != nil {
			t.Errorf("%s: %v", index.Index, err)
		}
	}
}

func indexesOf(t *testing.T, db *DB) []IndexSize {
	t.Helper()
	indexes, err := db.Indexes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return indexes
}

func TestMaintenanceGivesUpWaitingForATable(t *testing.T) {
	t.Parallel()
	holder := testDB(t)
	cfg := holder.cfg
	cfg.StatementTimeout, cfg.LockTimeout = 0, 50*time.Millisecond
	db := openDB(t, cfg)
	tx, err := holder.pool.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	// As VACUUM FULL does, which may take an hour.
	if _, err := tx.Exec(db.sql(`LOCK TABLE noggin_schema.attachments IN ACCESS EXCLUSIVE MODE`)); err != nil {
		t.Fatal(err)
	}
	_, counted := Pruner{DB: db}.run(t.Context(), pruning{"attachments", `SELECT count(*) AS deleted, '' AS place FROM noggin_schema.attachments`}, "")
	for what, err := range map[string]error{
		"analyze": db.Analyze(t.Context(), "attachments"),
		"vacuum":  db.Vacuum(t.Context(), "attachments", false),
		"reindex": db.Reindex(t.Context(), "attachments_pkey"),
		"prune":   counted,
	} {
		if !errors.Is(err, ErrBusy) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The other tables are not to wait for this one: their sizes are asked first.
	sizes, err := db.TableSizes(t.Context())
	if err != nil || !slices.ContainsFunc(sizes, func(s TableSize) bool { return s.Table == "attachments" }) {
		t.Errorf("%d tables, %v", len(sizes), err)
	}
	if indexes := indexesOf(t, db); !slices.ContainsFunc(indexes, func(i IndexSize) bool { return i.Index == "attachments_pkey" }) {
		t.Errorf("the indexes of the table are missing: %v", indexes)
	}
}

func TestMaintenanceInAnotherSchema(t *testing.T) {
	t.Parallel()
	cfg := testDB(t).cfg
	cfg.Schema = "other"
	db := openDB(t, cfg)
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	sizes, err := db.TableSizes(t.Context())
	if err != nil || len(sizes) < 10 {
		t.Fatalf("%d tables, %v", len(sizes), err)
	}
	for _, table := range sizes {
		if err := db.Vacuum(t.Context(), table.Table, true); err != nil {
			t.Errorf("%s: %v", table.Table, err)
		}
	}
	if scalar[bool](t, db, `SELECT bool_or(last_vacuum IS NOT NULL) FROM pg_stat_user_tables WHERE schemaname = 'noggin_schema'`) {
		t.Error("the other schema's tables were vacuumed")
	}
}

func TestAPauseHoldsUntilItsTimeOrResume(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	paused := func() bool {
		t.Helper()
		s, err := db.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Paused
	}
	if p, err := db.Pause(t.Context(), 0, "replacing the disk"); err != nil || p.Until != nil || !paused() {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := db.Pause(t.Context(), time.Hour, "longer"); err != nil || p.Until == nil || p.Reason != "longer" || !paused() {
		t.Errorf("%+v, %v", p, err)
	}
	ended := func() *time.Time {
		t.Helper()
		s, err := db.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.PauseEnded
	}
	if at := ended(); at != nil {
		t.Errorf("a pause that holds ended at %s", at)
	}
	foreign(t, db, `UPDATE noggin_schema.pause SET paused_until = now() - interval '1 second'`)
	if paused() {
		t.Error("its time is over")
	}
	if at := ended(); at == nil || time.Since(*at) > time.Minute {
		t.Errorf("a pause whose time is over ended at %v", at)
	}
	if p, err := db.Resume(t.Context()); err != nil || p == nil || p.Reason != "longer" || paused() {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := db.Resume(t.Context()); err != nil || p != nil {
		t.Errorf("%+v, %v", p, err)
	}
	foreign(t, db, `INSERT INTO noggin_schema.runs (command, host, pid, started_at, finished_at, exit_code, summary) VALUES
		('maintain resume', 'x', 1, now() - interval '1 hour', now() - interval '1 hour', 0, '{"was_paused": true}'),
		('maintain resume', 'x', 1, now(), now(), 0, '{"was_paused": false}')`)
	if at := ended(); at == nil || time.Since(*at).Round(time.Minute) != time.Hour {
		t.Errorf("a pause that was resumed an hour ago ended at %v", at)
	}
}

func TestASnapshotCountsOneMoment(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 3)
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	insertErrors(t, db, 5, "0")
	c, err := db.Contents(t.Context(), s)
	if err != nil || c.Rows["noggin_data"] != 3 || c.Rows["processing_errors"] != 0 || c.SchemaVersion != SchemaVersion || s.ID == "" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestAScratchDatabaseNeedsTheRightAndLeavesNothing(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	scratches := func() int {
		return scalar[int](t, db, `SELECT count(*) FROM pg_database WHERE starts_with(datname, 'noggin_verify_'
			|| (SELECT oid FROM pg_database WHERE datname = current_database()) || '_')`)
	}
	first, err := db.NewScratch(t.Context(), defaultSchema)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	// As if the process had been killed: the next one clears up.
	second, err := db.NewScratch(t.Context(), defaultSchema)
	if err != nil || scratches() != 1 {
		t.Fatalf("%d, %v", scratches(), err)
	}
	// A database that somebody else named so that a part of it is the name of another one.
	victim := fmt.Sprintf("victim_%d", time.Now().UnixNano())
	prefix := strings.TrimRight(second.Name, "0123456789")
	others := []string{victim, prefix + " " + victim, prefix + "1 " + victim, prefix + "1\n", prefix + "x"}
	for _, name := range others {
		foreign(t, db, `CREATE DATABASE `+pq.QuoteIdentifier(name)+` TEMPLATE template0`)
		t.Cleanup(func() { _, _ = db.pool.Exec(`DROP DATABASE IF EXISTS ` + pq.QuoteIdentifier(name)) })
	}
	second, err = db.NewScratch(t.Context(), defaultSchema)
	if err != nil || scratches() != len(others) {
		t.Fatalf("%d, %v", scratches(), err)
	}
	if left := scalar[int](t, db, `SELECT count(*) FROM pg_database WHERE datname = ANY ($1)`, pq.Array(others)); left != len(others) {
		t.Errorf("%d of %d databases of others are left", left, len(others))
	}
	for _, name := range others {
		foreign(t, db, `DROP DATABASE IF EXISTS `+pq.QuoteIdentifier(name))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := second.Drop(ended); err != nil || scratches() != 0 {
		t.Errorf("%d left, %v", scratches(), err)
	}
	role := fmt.Sprintf("poor_%d", time.Now().UnixNano())
	foreign(t, db, `CREATE ROLE `+pq.QuoteIdentifier(role)+` LOGIN PASSWORD 'x'`)
	t.Cleanup(func() { _, _ = db.pool.Exec(`DROP ROLE ` + pq.QuoteIdentifier(role)) })
	cfg := db.cfg
	_, rest, _ := strings.Cut(cfg.URL, "@")
	cfg.URL = "postgres://" + role + ":x@" + rest
	if _, err := openDB(t, cfg).NewScratch(t.Context(), defaultSchema); err == nil || !strings.Contains(err.Error(), "CREATEDB") {
		t.Errorf("without the right: %v", err)
	}
}

func TestProgramsGetThePasswordInTheirEnvironment(t *testing.T) {
	cfg := DefaultConfig()
	cfg.URL = "postgres://noggin:s3cret@db.example.com:5433/noggin_db?sslmode=require"
	environ, err := cfg.Environment([]string{"PATH=/bin"}, "")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(environ, " ")
	for _, want := range []string{
		"PATH=/bin", "PGHOST=db.example.com", "PGPORT=5433", "PGUSER=noggin", "PGDATABASE=noggin_db", "PGPASSWORD=s3cret", "PGSSLMODE=require",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "PGREQUIREAUTH") {
		t.Errorf("TLS hides a password: %s", got)
	}
	cfg.URL = "postgres://noggin:s3cret@db.example.com:5433/noggin_db?sslmode=prefer"
	if environ, err = cfg.Environment(nil, ""); err != nil || !slices.Contains(environ, "PGREQUIREAUTH=!password") {
		t.Errorf("a password may go out in the clear: %s, %v", environ, err)
	}
}

// pg_dump says that it failed. Whether that is because the server is gone, noggin asks the
// server.
func TestAProgramThatFailsAsTheServerIsGoneIsTold(t *testing.T) {
	t.Parallel()
	failed := errors.New("the program failed")
	for name, test := range map[string]struct {
		fault func(*storagetest.Proxy) // nil: the server is well
		gone  bool
	}{
		"the server is well":         {nil, false},
		"the server is gone":         {(*storagetest.Proxy).Refuse, true},
		"the server was gone":        {(*storagetest.Proxy).Cut, true}, // and the snapshot with it
		"the server is going":        {(*storagetest.Proxy).RefuseNew, true},
		"the server does not answer": {(*storagetest.Proxy).Stall, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := testDB(t)
			proxy := storagetest.NewProxy(t, direct.cfg.URL)
			cfg := direct.cfg
			cfg.URL, cfg.StatementTimeout, cfg.silence = proxy.URL(cfg.URL), 0, 2*time.Second
			s, err := openDB(t, cfg).Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = within(t, 20*time.Second, func() error {
				return s.While(t.Context(), func(ctx context.Context) error {
					if test.fault != nil {
						test.fault(proxy)
					}
					if strings.HasSuffix(name, "answer") {
						<-ctx.Done() // the program waits for ever
						return context.Cause(ctx)
					}
					return failed
				})
			})
			if errors.Is(err, ErrUnavailable) != test.gone || errors.Is(err, failed) == strings.HasSuffix(name, "answer") {
				t.Error(err)
			}
		})
	}
}
