package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// testDB returns a database with the schema applied.
func testDB(t testing.TB) *DB {
	t.Helper()
	cfg := DefaultConfig()
	schema := schemaText(t)
	cfg.URL = storagetest.Prepared(t, schema, func(url string) error {
		cfg := cfg
		cfg.URL = url
		db, err := Open(cfg, "test")
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		_, err = db.Init(context.Background(), schema, InitOptions{})
		return err
	})
	cfg.RetryFor = 5 * time.Second
	db := openDB(t, cfg)
	if _, err := db.Init(t.Context(), schema, InitOptions{}); err != nil { // sets the role's search_path
		t.Fatal(err)
	}
	return db
}

func openDB(t testing.TB, cfg Config) *DB {
	t.Helper()
	db, err := Open(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func schemaText(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// foreign runs a statement as somebody who is not noggin: an operator in psql.
func foreign(t testing.TB, db *DB, query string, args ...any) {
	t.Helper()
	conn, err := db.pool.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, setting := range []string{"off", "on"} {
		if _, err := conn.ExecContext(t.Context(), "SET noggin.client = "+setting); err != nil {
			t.Fatal(err)
		}
		if setting == "on" {
			break
		}
		if _, err := conn.ExecContext(t.Context(), db.sql(query), args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

func scalar[T any](t testing.TB, db *DB, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.pool.GetContext(t.Context(), &v, db.sql(query), args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func tip(n int) string { return fmt.Sprintf("%064x", n) }

func insertPending(t testing.TB, db *DB, n int) {
	t.Helper()
	tips := make([]string, n)
	for i := range tips {
		tips[i] = tip(i)
	}
	if _, err := db.EnsureRecords(t.Context(), tips, "LCD", false); err != nil {
		t.Fatal(err)
	}
}

func claim(t testing.TB, db *DB, run int64, limit int) []Claim {
	t.Helper()
	claims, err := db.Claim(t.Context(), ClaimRequest{Run: run, Limit: limit, Retries: (limit + 1) / 2, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

var testBackoff = Backoff{Multiplier: 2, MaxAttempts: 5}

func finish(t testing.TB, db *DB, run int64, results ...Result) []Finished {
	t.Helper()
	finished, err := db.Finish(t.Context(), run, results, testBackoff)
	if err != nil {
		t.Fatal(err)
	}
	return finished
}

func ptr[T any](v T) *T { return &v }

func answer(c Claim) Answer {
	return Answer{
		Tip: c.Tip, Token: c.Token, ObjectType: "LCD", InspectionID: ptr("LCD - 1"), InspectionDate: ptr("2025-09-17"),
		Columns: map[string]*string{"job_number": ptr("6000")}, Payload: []byte(`{"a":1}`),
		Folders:     [3]string{"2025/09/2025-09-17 LCD-1", "2025/09/2025-09-17 LCD-1 " + c.Tip[:8], "2025/09/2025-09-17 LCD-1 " + c.Tip},
		References:  []Reference{{Field: "vehicle", EntityType: "vehicle", Column: "vehicle", Hash: "aa"}, {Field: "team", EntityType: "team", Column: "team", Hash: "bb"}},
		Attachments: []PlannedAttachment{{Tip: "p1", Field: "attachments"}, {Tip: "p2", Field: "attachments"}},
	}
}

func TestARecordGoesFromPendingToComplete(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	insertPending(t, db, 2)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('aa', 'vehicle', 'TRUCK 1')`)
	run, err := db.StartRun(ctx, "process", "test")
	if err != nil {
		t.Fatal(err)
	}
	claims := claim(t, db, run, 2)
	if len(claims) != 2 {
		t.Fatalf("claimed %d records, want 2", len(claims))
	}
	stored, err := db.Store(ctx, run, []Answer{answer(claims[0]), answer(claims[1])})
	if err != nil {
		// Two records with one folder in one batch collide; the caller stores them
		// one by one then.
		stored = map[ClaimKey]Stored{}
		for _, c := range claims {
			one, err := db.Store(ctx, run, []Answer{answer(c)})
			if err != nil {
				t.Fatal(err)
			}
			stored[ClaimKey{c.Tip, c.Token}] = one[ClaimKey{c.Tip, c.Token}]
		}
	}
	first, second := stored[ClaimKey{claims[0].Tip, claims[0].Token}], stored[ClaimKey{claims[1].Tip, claims[1].Token}]
	if first.Folder == second.Folder || first.Folder == "" || second.Folder == "" {
		t.Errorf("folders %q and %q: want two different ones", first.Folder, second.Folder)
	}
	if len(first.Attachments) != 2 || first.Attachments[1].Sequence != 2 {
		t.Errorf("attachments %+v", first.Attachments)
	}
	if name, ok := first.Names.Lookup("vehicle", "aa"); !ok || name != "TRUCK 1" {
		t.Errorf("vehicle is %q", name)
	}
	if got := scalar[string](t, db, `SELECT vehicle || '|' || team || '|' || has_unknown_hashes FROM noggin_schema.noggin_data WHERE tip = $1`, claims[0].Tip); got != "TRUCK 1|Unknown (bb)|true" {
		t.Errorf("columns are %q", got)
	}
	if err := db.CountUnknown(ctx); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, db, `SELECT occurrence_count FROM noggin_schema.unknown_hashes WHERE hash_value = 'bb'`); n != 2 {
		t.Errorf("the unknown team was counted %d times, want 2", n)
	}
	done := finish(t, db, run, Result{
		Tip: claims[0].Tip, Token: claims[0].Token, Status: "complete", Seconds: 1.5,
		Downloads: []Download{
			{RecordTip: claims[0].Tip, Tip: "p1", Status: "complete", Validation: "valid", Filename: "a.jpg", Path: ptr("x/a.jpg"), Size: ptr(int64(3)), SHA256: ptr("00"), Seconds: 0.1},
			{RecordTip: claims[0].Tip, Tip: "p2", Status: "failed", Validation: "not_validated", Filename: "b", Error: ptr("no\x00pe")},
		},
		Failures: []Failure{{Tip: claims[0].Tip, Type: "timeout", Message: "bad \xff"}},
	})
	if len(done) != 1 || done[0].Status != "complete" {
		t.Fatalf("finished %+v", done)
	}
	if got := scalar[string](t, db, `SELECT total_attachments || '/' || completed_attachment_count FROM noggin_schema.noggin_data WHERE tip = $1`, claims[0].Tip); got != "2/1" {
		t.Errorf("attachment counts are %s", got)
	}
	again := finish(t, db, run, Result{Tip: claims[0].Tip, Token: claims[0].Token, Status: "complete"})
	if len(again) != 1 {
		t.Error("a result repeated after a lost reply is not recognised as done")
	}
	if n := scalar[int](t, db, `SELECT sum(records)::int FROM noggin_schema.record_counts WHERE processing_status = 'complete'`); n != 1 {
		t.Errorf("the counter of complete records is %d, want 1", n)
	}
}

func TestALostClaimCannotOverwriteTheNewOwner(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	old := claim(t, db, 1, 1)[0]
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET claim_expires_at = now()`)
	// An operator's UPDATE freed the claim at once.
	newer := claim(t, db, 2, 1)[0]
	if stored, err := db.Store(t.Context(), 1, []Answer{answer(old)}); err != nil || len(stored) != 0 {
		t.Errorf("the old owner stored %v, %v", stored, err)
	}
	if done := finish(t, db, 1, Result{Tip: old.Tip, Token: old.Token, Status: "failed"}); len(done) != 0 {
		t.Errorf("the old owner finished %v", done)
	}
	if kept, err := db.Renew(t.Context(), 1, []Claim{old}, time.Minute); err != nil || len(kept) != 0 {
		t.Errorf("the old owner renewed %v, %v", kept, err)
	}
	if kept, err := db.Renew(t.Context(), 2, []Claim{newer}, time.Minute); err != nil || len(kept) != 1 {
		t.Errorf("the new owner renewed %v, %v", kept, err)
	}
}

func TestOnlyTheLastClaimIsRenewedAndReleased(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	old := claim(t, db, 1, 1)[0]
	expire(t, db)
	newer := claim(t, db, 1, 1)[0]
	for _, step := range []struct {
		run   int64
		claim Claim
		held  bool
	}{{1, old, true}, {2, newer, true}, {1, newer, false}} {
		if kept, err := db.Renew(t.Context(), step.run, []Claim{step.claim}, time.Minute); err != nil || len(kept) > 0 == step.held {
			t.Errorf("run %d renewed the claim %d of %d: %v, %v", step.run, step.claim.Token, newer.Token, kept, err)
		}
		if err := db.Release(t.Context(), step.run, []Claim{step.claim}); err != nil {
			t.Fatal(err)
		}
		if held := scalar[bool](t, db, `SELECT claimed_by IS NOT NULL FROM noggin_schema.noggin_data`); held != step.held {
			t.Errorf("run %d gave back the claim %d of %d: held %v", step.run, step.claim.Token, newer.Token, held)
		}
	}
}

func TestARecordThatARunClaimedMeanwhileIsNotSkipped(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	rows, err := db.Skippable(t.Context(), Selector{}, "", 10)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	claim(t, db, 1, 1)
	if n, err := db.Skip(t.Context(), rows, "why"); err != nil || n != 0 {
		t.Errorf("%d skipped in the hands of a run, %v", n, err)
	}
	expire(t, db)
	if n, err := db.Skip(t.Context(), rows, "why"); err != nil || n != 1 {
		t.Errorf("%d skipped, %v", n, err)
	}
}

func TestARecordThatCompletedMeanwhileIsNotSkipped(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	rows, err := db.Skippable(t.Context(), Selector{}, "", 10)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	c := claim(t, db, 1, 1)[0]
	finish(t, db, 1, Result{Tip: c.Tip, Token: c.Token, Status: StatusComplete})
	if n, err := db.Skip(t.Context(), rows, "why"); err != nil || n != 0 {
		t.Errorf("%d skipped, %v", n, err)
	}
	if got := scalar[Status](t, db, `SELECT processing_status FROM noggin_schema.noggin_data`); got != StatusComplete {
		t.Errorf("the record is %s", got)
	}
}

func TestLostFilesOfARecordThatChangedSinceAreNotQueued(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	finish(t, db, 1, Result{Tip: c.Tip, Token: c.Token, Status: StatusComplete})
	held := func(until string) {
		t.Helper()
		if _, err := db.pool.ExecContext(t.Context(), db.sql(`UPDATE noggin_schema.noggin_data SET claimed_by = 2, claim_expires_at = now() + $1::interval`), until); err != nil {
			t.Fatal(err)
		}
	}
	queue := func(when string, token int64, want int, status Status) {
		t.Helper()
		n, err := db.QueueLost(t.Context(), []LostFiles{{Tip: c.Tip, Token: token, Attachments: []string{}}})
		if got := scalar[Status](t, db, `SELECT processing_status FROM noggin_schema.noggin_data`); err != nil || n != want || got != status {
			t.Errorf("%s: %d queued, %v; it is %s", when, n, err, got)
		}
	}
	queue("compared before it was claimed", c.Token-1, 0, StatusComplete)
	held("1 minute")
	queue("claimed", c.Token, 0, StatusComplete)
	held("-1 second")
	queue("as it was compared", c.Token, 1, StatusInterrupted)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'skipped'`)
	token := scalar[int64](t, db, `SELECT claim_token FROM noggin_schema.noggin_data`)
	queue("skipped by an operator", token, 0, "skipped")
}

func TestALeaseThatRanOutAddsToTheCrashCount(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	for want := range crashLimit {
		c := claim(t, db, int64(want+1), 1)
		if len(c) != 1 || c[0].CrashCount != want {
			t.Fatalf("claim %d: %+v", want, c)
		}
		expire(t, db)
	}
	// The third crash is counted by the claim that finds it; from then on it is
	// taken only alone.
	if c := claim(t, db, 9, 1); len(c) != 1 || c[0].CrashCount != crashLimit {
		t.Fatalf("claim after three crashes: %+v", c)
	}
	expire(t, db)
	if c := claim(t, db, 10, 1); len(c) != 0 {
		t.Errorf("a crashing record was taken among others: %+v", c)
	}
	alone, err := db.Claim(t.Context(), ClaimRequest{Run: 11, Limit: 1, Lease: time.Minute, Crashing: true})
	if err != nil || len(alone) != 1 {
		t.Errorf("a crashing record taken alone: %+v, %v", alone, err)
	}
	if others, err := db.Claim(t.Context(), ClaimRequest{Run: 12, Limit: 1, Lease: time.Minute, Crashing: true}); err != nil || len(others) != 0 {
		t.Errorf("another run took %+v, %v", others, err)
	}
}

// Alone is also how a complete record is asked for again that ends every run.
func TestACompleteRecordThatCrashesRunsIsAskedForAlone(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	if _, err := db.Finish(t.Context(), 1, []Result{{Tip: c.Tip, Token: c.Token, Status: StatusComplete}}, Backoff{AskAgain: testSteps}); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		due      string
		crashing bool
		want     int
	}{{"1 hour", true, 0}, {"-1 hour", false, 0}, {"-1 hour", true, 1}} {
		foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = now() + $1::interval`, step.due)
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET crash_count = 3`)
		claims, err := db.Claim(t.Context(), ClaimRequest{Run: int64(i + 2), Limit: 1, Lease: time.Minute, Crashing: step.crashing})
		if err != nil || len(claims) != step.want {
			t.Errorf("due in %s, crashing %v: claimed %+v, %v", step.due, step.crashing, claims, err)
		}
	}
}

func TestARecordThatCrashesRunsIsTakenOnlyWhenItIsDue(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	for i, step := range []struct {
		due     string
		givenUp bool
		want    int
	}{{"1 hour", false, 0}, {"-1 hour", true, 0}, {"-1 hour", false, 1}} {
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', crash_count = 3, next_retry_at = now() + $1::interval, permanently_failed = $2`, step.due, step.givenUp)
		claims, err := db.Claim(t.Context(), ClaimRequest{Run: int64(i + 1), Limit: 1, Lease: time.Minute, Crashing: true})
		if err != nil || len(claims) != step.want {
			t.Errorf("%+v: claimed %+v, %v", step, claims, err)
		}
	}
}

// What merely was in hand beside a record that ends every run has crashed fewer of them. It
// does not wait behind that one, however much longer that is due.
func TestARecordThatEndsEveryRunHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET crash_count = 3, processing_status = 'api_failed',
		next_retry_at = now() - CASE tip WHEN $1 THEN interval '1 day' ELSE interval '1 hour' END`, tip(0))
	taken := map[string]bool{}
	for run := int64(1); run <= 3; run++ { // each dies
		claims, err := db.Claim(t.Context(), ClaimRequest{Run: run, Limit: 1, Lease: time.Minute, Crashing: true})
		if err != nil || len(claims) != 1 {
			t.Fatalf("run %d claimed %+v, %v", run, claims, err)
		}
		taken[claims[0].Tip] = true
		expire(t, db)
	}
	if !taken[tip(1)] {
		t.Error("three runs died of the same record, and none took the other one")
	}
}

func TestAClaimTellsWhatItsRecordHasBeenThrough(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for _, want := range []int64{1, 0} {
		if n, err := db.EnsureRecords(t.Context(), []string{tip(0), tip(0)}, "LCD", true); err != nil || n != want {
			t.Errorf("%d records are new, want %d, %v", n, want, err)
		}
	}
	for _, step := range []struct {
		set               string
		failed, completed bool
	}{
		{`processing_status = 'pending'`, false, false},
		{`processing_status = 'api_failed', failing_since = now()`, true, false},
		{`retry_count = 1, failing_since = NULL`, true, false},
		{`retry_count = 0, processing_status = 'complete'`, false, true},
		{`processing_status = 'partial'`, false, true},
	} {
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET `+step.set)
		claims, err := db.Claim(t.Context(), ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute, Selector: Selector{Tips: []string{tip(0)}}})
		if err != nil || len(claims) != 1 || claims[0].FailedBefore != step.failed || claims[0].Completed != step.completed || !claims[0].ObjectTypeAssumed {
			t.Errorf("with %s: claimed %+v, %v", step.set, claims, err)
		}
	}
}

func TestWhatARunWouldTakeIsCounted(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	insertPending(t, db, 6)
	foreign(t, db, `
		UPDATE noggin_schema.noggin_data SET processing_status = CASE WHEN right(tip, 1) IN ('2', '3', '5') THEN 'complete' ELSE 'api_failed' END,
			failing_since = CASE right(tip, 1) WHEN '4' THEN now() END, crash_count = CASE right(tip, 1) WHEN '5' THEN 3 ELSE 0 END WHERE right(tip, 1) > '1';
		INSERT INTO noggin_schema.refreshes (record_tip, due_at) SELECT tip, now() + CASE right(tip, 1) WHEN '3' THEN interval '1 day' ELSE '-1 day' END
			FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	if _, err := db.Claim(ctx, ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute, Selector: Selector{Tips: []string{tip(1)}}}); err != nil {
		t.Fatal(err)
	}
	free, busy, err1 := db.CountNamed(ctx, Selector{Tips: []string{tip(0), tip(1), "new", "new"}})
	left, err2 := db.LeftOut(ctx, Selector{Tips: []string{tip(0), tip(2)}, Statuses: []Status{StatusPending}})
	due, err3 := db.CountRefreshes(ctx, Selector{})
	complete, err4 := db.CountComplete(ctx, Selector{})
	fresh, err5 := db.CountNew(ctx, Selector{}, 9)
	got := fmt.Sprint(free, busy, left, due, complete, fresh, errors.Join(err1, err2, err3, err4, err5))
	if want := fmt.Sprint(2, 1, []LeftOut{{tip(2), "LCD", StatusComplete}}, 1, 3, 1, nil); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

// Whoever locks a row in psql holds up nobody.
func TestALockedRowIsPassedOver(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	target := register(t, db, "/mnt/b")
	filed(t, db, 1, 2)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET names_stale = true, processing_status = 'api_failed'`)
	tips := []string{tip(1), tip(2)}
	rows, err := db.Skippable(ctx, Selector{Tips: tips}, "", 9)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%+v, %v", rows, err)
	}
	tx := db.pool.MustBegin()
	defer func() { _ = tx.Rollback() }()
	tx.MustExec(`SELECT FROM noggin_schema.noggin_data WHERE tip = $1 FOR UPDATE`, tip(1))
	tx.MustExec(`SELECT FROM noggin_schema.copies_due WHERE record_tip = $1 FOR UPDATE`, tip(1))
	for _, step := range []struct {
		what string
		want int
		do   func() (int, error)
	}{
		{"a claim", 1, func() (int, error) {
			claims, err := db.Claim(ctx, ClaimRequest{Run: 1, Limit: 9, Retries: 9, Lease: time.Minute})
			return len(claims), err
		}},
		{"a claim to heal", 1, func() (int, error) {
			batch, err := db.ClaimStale(ctx, 1, "", 9, time.Minute)
			return len(batch.Records), err
		}},
		{"a claim to archive", 1, func() (int, error) {
			claims, err := db.ClaimTips(ctx, 1, tips, "", time.Minute)
			return len(claims), err
		}},
		{"a claim to copy", 2, func() (int, error) { due, err := db.ClaimCopies(ctx, target, 9, time.Minute); return len(due), err }},
		{"skipping", 1, func() (int, error) { return db.Skip(ctx, rows, "why") }},
		{"bringing back to retry", 1, func() (int, error) {
			n, err := db.ResetForRetry(ctx, 1, Selector{Tips: tips, Statuses: []Status{StatusAPIFailed, StatusSkipped}})
			return int(n), err
		}},
	} {
		if n, err := step.do(); err != nil || n != step.want {
			t.Errorf("%s took %d, want %d, %v", step.what, n, step.want, err)
		}
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET claimed_by = NULL WHERE tip = $1`, tip(2))
	}
}

// Two runs with --refresh divide the records between them.
func TestARecordIsAskedForAgainByOneRun(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	finish(t, db, 1, Result{Tip: c.Tip, Token: c.Token, Status: StatusComplete})
	for i, want := range []int{1, 0} {
		claims, err := db.Claim(t.Context(), ClaimRequest{Run: int64(i + 2), Limit: 1, Lease: time.Minute, Refresh: true})
		if err != nil || len(claims) != want {
			t.Errorf("run %d took %+v, %v", i+2, claims, err)
		}
	}
}

func TestARecordThatIsSkippedCrashesNoRunAnyMore(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET crash_count = 3`)
	crashing := func(when string, want int64) {
		t.Helper()
		q, err := db.QueueDepth(t.Context())
		if err != nil || q.Crashing != want {
			t.Errorf("%s: %d records crash runs, want %d, %v", when, q.Crashing, want, err)
		}
	}
	crashing("at first", 1)
	rows, err := db.Skippable(t.Context(), Selector{Tips: []string{tip(0)}}, "", 1)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%+v, %v", rows, err)
	}
	if n, err := db.Skip(t.Context(), rows, "it kills runs"); err != nil || n != 1 {
		t.Fatalf("%d skipped, %v", n, err)
	}
	crashing("skipped", 0)
	if n, err := db.Unskip(t.Context(), rows); err != nil || n != 1 {
		t.Fatalf("%d brought back, %v", n, err)
	}
	crashing("brought back", 1)
}

func TestARunTakesItsClaimsAgainThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 4)
	claims := claim(t, db, 1, 4)
	request := ClaimRequest{Run: 1, Limit: 9, Retries: 5, Lease: time.Minute}
	if again, err := db.Claim(t.Context(), request); err != nil || len(again) != 0 {
		t.Errorf("a run that says nothing of its claims took %+v, %v", again, err)
	}
	request.InHand = []string{claims[0].Tip, claims[1].Tip}
	again, err := db.Claim(t.Context(), request)
	if err != nil || len(again) != 2 {
		t.Fatalf("took %+v, %v", again, err)
	}
	for _, c := range again {
		if slices.Contains(request.InHand, c.Tip) || c.Token != 2 || c.CrashCount != 0 {
			t.Errorf("took %+v", c)
		}
	}
	request.Run, request.InHand = 2, []string{}
	if others, err := db.Claim(t.Context(), request); err != nil || len(others) != 0 {
		t.Errorf("another run took %+v, %v", others, err)
	}
}

// Whoever claims by tips holds the maintenance lock: it takes its own claims again after a
// lost reply, and those of a run before it, which is dead.
func TestTheHolderOfTheMaintenanceLockTakesTheClaimsOfDeadOnes(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	token := int64(0)
	for _, command := range []string{"archive create", "archive register", "archive restore", "archive forget", "copy restore", "archive create"} {
		run, err := db.StartRun(t.Context(), command, "test")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			claims, err := db.ClaimTips(t.Context(), run, []string{tip(0)}, "", time.Minute)
			if token++; err != nil || len(claims) != 1 || claims[0].Token != token {
				t.Fatalf("%s claimed %+v, %v", command, claims, err)
			}
		}
	}
	process, err := db.StartRun(t.Context(), "process", "test")
	if err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET claimed_by = NULL`) // which frees it
	claim(t, db, process, 1)
	run, err := db.StartRun(t.Context(), "archive create", "test")
	if err != nil {
		t.Fatal(err)
	}
	if claims, err := db.ClaimTips(t.Context(), run, []string{tip(0)}, "", time.Minute); err != nil || len(claims) != 0 {
		t.Errorf("claimed %+v of a run that processes, %v", claims, err)
	}
}

// Until its lease ends, a dead run keeps what it took from all others.
func TestALeaseLastsAsLongAsItsRunSays(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	target := register(t, db, "/mnt/b")
	filed(t, db, 1, 1)
	const (
		record = `SELECT round(extract(epoch FROM claim_expires_at - now()) / 60)::int FROM noggin_schema.noggin_data`
		file   = `SELECT round(extract(epoch FROM max(due_at) - now()) / 60)::int FROM noggin_schema.copies_due`
	)
	var claims []Claim
	for _, step := range []struct {
		what, left string
		take       func(lease time.Duration) error
	}{
		{"a claim", record, func(lease time.Duration) (err error) {
			claims, err = db.Claim(ctx, ClaimRequest{Run: 1, Limit: 1, Lease: lease, Selector: Selector{Tips: []string{tip(1)}}})
			return err
		}},
		{"a renewal", record, func(lease time.Duration) error { _, err := db.Renew(ctx, 1, claims, 2*lease); return err }},
		{"a claim to heal", record, func(lease time.Duration) error { _, err := db.ClaimStale(ctx, 1, "", 1, lease); return err }},
		{"a claim to archive", record, func(lease time.Duration) error {
			_, err := db.ClaimTips(ctx, 1, []string{tip(1)}, "", lease)
			return err
		}},
		{"a copy", file, func(lease time.Duration) error { _, err := db.ClaimCopies(ctx, target, 9, lease); return err }},
		{"a copy that takes long", file, func(lease time.Duration) error {
			return db.PostponeCopies(ctx, target, []CopyKey{{"2025/09/1/1.jpg", sum(1)}}, 2*lease)
		}},
	} {
		want := 3
		if step.what == "a renewal" || step.what == "a copy that takes long" {
			want = 6
		} else {
			foreign(t, db, `UPDATE noggin_schema.noggin_data SET names_stale = true`) // which frees it
		}
		if err := step.take(3 * time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := scalar[int](t, db, step.left); got != want {
			t.Errorf("%s lasts %d minutes, want %d", step.what, got, want)
		}
	}
}

// expire ends every lease without anybody having finished.
func expire(t testing.TB, db *DB) {
	t.Helper()
	if _, err := db.pool.ExecContext(context.Background(), db.sql(`UPDATE noggin_schema.noggin_data SET claim_expires_at = now() - interval '1 second' WHERE claimed_by IS NOT NULL`)); err != nil {
		t.Fatal(err)
	}
}

func TestRetriesComeFirstButNeverStarveNewRecords(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 20)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', next_retry_at = now() - interval '1 minute' WHERE tip < $1`, tip(10))
	retries := 0
	for _, c := range claim(t, db, 1, 10) {
		if c.Status == "api_failed" {
			retries++
		}
	}
	if retries != 5 {
		t.Errorf("%d of 10 claimed are retries, want 5", retries)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'skipped' WHERE processing_status = 'pending'`)
	if n := len(claim(t, db, 1, 4)); n != 4 {
		t.Errorf("claimed %d, want 4 retries when nothing new waits", n)
	}
}

func TestWhatIsDueCountsEveryRecordOfTheQueueOnce(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 10)
	foreign(t, db, `UPDATE noggin_schema.noggin_data d SET processing_status = v.status, crash_count = v.crashes,
			next_retry_at = now() + v.minutes * interval '1 minute', permanently_failed = v.permanent
		FROM (VALUES (1, 'pending', 0, NULL, false), (2, 'pending', 3, NULL, false), (3, 'partial', 0, -1, false), (4, 'failed', 4, -1, false),
			(5, 'api_failed', 0, 9, false), (6, 'interrupted', 3, 5, false), (7, 'api_failed', 0, -1, true), (8, 'skipped', 3, NULL, false), (9, 'failed', 3, -1, true))
			AS v (n, status, crashes, minutes, permanent) WHERE d.tip = lpad(v.n::text, 64, '0')`)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'complete' WHERE tip = $1`, tip(0))
	due, err := db.CountDue(t.Context(), Selector{})
	if err != nil || due.Due != 4 || due.Later != 2 || due.NextAt == nil || due.NextAt.Sub(scalarNow(t, db)) > 5*time.Minute {
		t.Errorf("%+v, %v, want 4 due and 2 later, the first within 5 minutes", due, err)
	}
	if q, err := db.QueueDepth(t.Context()); err != nil || q.Crashing != 3 {
		t.Errorf("%+v, %v, want 3 on which runs died: of those given up and skipped none", q, err)
	}
}

func TestCountedFailuresGiveUpAfterTheLastAttempt(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	for n := 1; n <= testBackoff.MaxAttempts; n++ {
		c := claim(t, db, 1, 1)[0]
		done := finish(t, db, 1, Result{Tip: c.Tip, Token: c.Token, Status: "api_failed"})
		if done[0].PermanentlyFailed {
			t.Fatal("an uncounted failure gave the record up")
		}
		counted, err := db.CountFailures(t.Context(), []CountedFailure{{Tip: c.Tip, Token: c.Token}}, testBackoff)
		if err != nil || len(counted) != 1 {
			t.Fatalf("count: %v, %v", counted, err)
		}
		if want := n == testBackoff.MaxAttempts; counted[0].PermanentlyFailed != want {
			t.Errorf("after %d attempts permanently failed is %v", n, counted[0].PermanentlyFailed)
		}
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET next_retry_at = now() - interval '1 second'`)
	}
}

func TestAFailureOfAnEarlierClaimIsNotCounted(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	finish(t, db, 1, Result{Tip: c.Tip, Token: c.Token, Status: "api_failed"})
	for _, want := range []int{1, 0} { // the record has changed since: the failure is counted
		counted, err := db.CountFailures(t.Context(), []CountedFailure{{Tip: c.Tip, Token: c.Token}}, testBackoff)
		if err != nil || len(counted) != want {
			t.Errorf("counted %+v, %v, want %d", counted, err, want)
		}
	}
}

// A record may have failed a thousand times: [retry] allows it.
func TestTheBackoffOfManyFailuresIsNoOverflow(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET retry_count = 1000 WHERE tip = $1`, tip(1))
	claims := claim(t, db, 1, 2)
	var results []Result
	for _, c := range claims {
		results = append(results, Result{Tip: c.Tip, Token: c.Token, Status: "api_failed"})
	}
	before := scalarNow(t, db)
	done, err := db.Finish(t.Context(), 1, results, Backoff{Multiplier: 100, MaxAttempts: 1000})
	if err != nil || len(done) != 2 {
		t.Fatalf("finished %+v, %v", done, err)
	}
	for _, f := range done {
		wait := f.NextRetryAt.Sub(before)
		least, most := 54*time.Second, 67*time.Second
		if f.Tip == tip(1) {
			least, most = 54*time.Minute, 67*time.Minute
		}
		if wait < least || wait > most {
			t.Errorf("%s is due after %s", f.Tip, wait)
		}
	}
}

// What interrupts a record does not hide for how long it fails. Once complete, it begins anew.
func TestARecordThatFailsForLongWaitsATenthOfThatTime(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', crash_count = 2, retry_count = 1, permanently_failed = true,
		failing_since = now() - interval '5 hours', first_failed_at = now() - interval '5 hours'`)
	for _, step := range []struct {
		status Status
		wait   time.Duration
	}{{StatusInterrupted, 0}, {StatusAPIFailed, 30 * time.Minute}, {StatusAPIFailed, 30 * time.Minute}, {StatusComplete, 0}} {
		claims, err := db.Claim(t.Context(), ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute, Selector: Selector{Tips: []string{tip(0)}}})
		if err != nil || len(claims) != 1 {
			t.Fatalf("claimed %+v, %v", claims, err)
		}
		before := scalarNow(t, db)
		done := finish(t, db, 1, Result{Tip: tip(0), Token: claims[0].Token, Status: step.status})
		if at := ValueOf(done[0].NextRetryAt); step.status != StatusComplete && (at.Sub(before) < step.wait*9/10 || at.Sub(before) > step.wait*11/10+time.Minute) {
			t.Errorf("%s: it is due after %s, want %s", step.status, at.Sub(before), step.wait)
		}
	}
	if got := scalar[string](t, db, `SELECT concat_ws(' ', permanently_failed, failing_since, first_failed_at, next_retry_at, crash_count) FROM noggin_schema.noggin_data`); got != "f 0" {
		t.Errorf("the complete record still has %s", got)
	}
}

// What a result does not tell of stays as it was. A new file is in no archive.
func TestAResultChangesOnlyWhatItTellsOf(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	a := answer(claim(t, db, 1, 1)[0])
	a.Attachments = a.Attachments[:1]
	if _, err := db.Store(t.Context(), 1, []Answer{a}); err != nil {
		t.Fatal(err)
	}
	download := func(path, sum string) Download {
		return Download{RecordTip: a.Tip, Tip: "p1", Status: AttachmentComplete, Validation: ValidationValid, Path: &path, Size: ptr(int64(3)), SHA256: &sum, ContentType: ptr("image/jpeg")}
	}
	report := func(sum string) Result {
		return Result{Status: StatusComplete, ReportPath: ptr("r.txt"), ReportSize: ptr(int64(9)), ReportHash: &sum}
	}
	anew, replacing := report("1b"), download("c.jpg", "bb")
	replacing.Replaces, anew.FormerReport = true, &FormerFile{Path: "r.v1.txt", RecordTip: a.Tip, FirstVersion: 1, LastVersion: 1, Size: 9, SHA256: "1a"}
	failed := Download{RecordTip: a.Tip, Tip: "p1", Status: AttachmentFailed, Validation: ValidationFailed, RejectedHash: ptr("ff")}
	for _, step := range []struct {
		what      string
		result    Result
		downloads []Download
		want      string
		then      string // the archive into which it goes; NULL: an operator marks it
	}{
		{"the first", report("1a"), []Download{download("a.jpg", "AA")}, "r.txt 9 1a 0 v1 f f, a.jpg 3 AA image/jpeg - 0 v1", "7"},
		{"a failure", Result{Status: StatusAPIFailed}, []Download{failed}, "r.txt 9 1a 7 v1 t t, a.jpg 3 AA image/jpeg ff 7 v1", "7"},
		{"the same bytes", Result{Status: StatusComplete}, []Download{download("b.jpg", "aa")}, "r.txt 9 1a 7 v1 t t, b.jpg 3 aa image/jpeg - 0 v1", "7"},
		{"all anew", anew, []Download{replacing}, "r.txt 9 1b 0 v2 t t, c.jpg 3 bb image/jpeg - 0 v2, attachment b.jpg 7 v1-2, report r.v1.txt 7 v1-1", "NULL"},
		{"a failure of what is in no archive", Result{Status: StatusAPIFailed}, nil, "r.txt 9 1b 0 v2 t t, c.jpg 3 bb image/jpeg - 0 v2, attachment b.jpg v1-2, report r.v1.txt v1-1", "NULL"},
		{"nothing new", Result{Status: StatusComplete}, nil, "r.txt 9 1b 0 v2 f f, c.jpg 3 bb image/jpeg - 0 v2, attachment b.jpg v1-2, report r.v1.txt v1-1", "NULL"},
	} {
		step.result.Tip, step.result.Token, step.result.Downloads = a.Tip, a.Token, step.downloads
		finish(t, db, 1, step.result)
		if got := scalar[string](t, db, `
			SELECT concat_ws(' ', d.report_path, d.report_size_bytes, d.report_hash_sha256, coalesce(d.report_archive_id, 0), 'v' || d.report_version, d.archived, d.archived_at IS NOT NULL)
				|| ', ' || concat_ws(' ', a.file_path, a.file_size_bytes, a.file_hash_sha256, a.content_type, coalesce(a.rejected_hash_sha256, '-'), coalesce(a.archive_id, 0), 'v' || a.first_version)
				|| coalesce((SELECT ', ' || string_agg(concat_ws(' ', f.kind, f.path, f.archive_id, 'v' || f.first_version || '-' || f.last_version), ', ' ORDER BY f.path) FROM noggin_schema.former_files f), '')
			FROM noggin_schema.noggin_data d JOIN noggin_schema.attachments a ON a.record_tip = d.tip`); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
		foreign(t, db, `UPDATE noggin_schema.attachments SET archive_id = `+step.then+`; UPDATE noggin_schema.former_files SET archive_id = `+step.then)
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'pending', version = 2, archived = true, archived_at = now(), report_archive_id = `+step.then)
		a.Token = claim(t, db, 1, 1)[0].Token
	}
}

func testURL(db *DB) string { return db.cfg.URL }

func scalarNow(t testing.TB, db *DB) time.Time { return scalar[time.Time](t, db, `SELECT now()`) }

func TestTwoClaimsOnOneRecordInOneBatchAreToldApart(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	old := claim(t, db, 1, 1)[0]
	expire(t, db)
	newer := claim(t, db, 1, 1)[0] // the same run, after its lease ran out
	stored, err := db.Store(t.Context(), 1, []Answer{answer(old), answer(newer)})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := stored[ClaimKey{newer.Tip, newer.Token}]; !ok || len(stored) != 1 {
		t.Errorf("stored %v, want just the newer claim", stored)
	}
	done := finish(t, db, 1, Result{Tip: old.Tip, Token: old.Token, Status: "failed", Failures: []Failure{{Tip: old.Tip, Type: "timeout", Message: "late"}}},
		Result{Tip: newer.Tip, Token: newer.Token, Status: "complete"})
	if len(done) != 1 || done[0].Token != newer.Token || done[0].Status != "complete" {
		t.Errorf("finished %+v, want just the newer claim", done)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.processing_errors`); n != 0 {
		t.Errorf("the lost claim left %d errors", n)
	}
}
