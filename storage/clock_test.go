package storage

import (
	"errors"
	"net/url"
	"testing"
	"time"
)

func TestTimesThatAClockSetWhileItWasAheadAreBroughtBack(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	if _, err := db.EnsureRecords(t.Context(), []string{"retry", "patient", "claimed", "held", "late"}, "LCD", false); err != nil {
		t.Fatal(err)
	}
	standing := func() Standing {
		t.Helper()
		s, err := db.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if standing().ClockSetBack {
		t.Error("a clock that is right is taken for one that was set back")
	}
	foreign(t, db, `
		UPDATE noggin_schema.noggin_data SET processing_status = 'failed', next_retry_at = now() + interval '3 days' WHERE tip = 'retry';
		UPDATE noggin_schema.noggin_data SET processing_status = 'failed', next_retry_at = now() + interval '1 hour' WHERE tip = 'patient';
		UPDATE noggin_schema.noggin_data SET processing_status = 'failed', next_retry_at = now() + interval '2 hours' WHERE tip = 'late';
		UPDATE noggin_schema.circuit SET state = 'open', updated_at = now() + interval '3 days', open_until = now() + interval '3 days',
			paused_until = now() + interval '3 days', rate_next_at = now() + interval '3 days';
		INSERT INTO noggin_schema.runs (command, host, pid, started_at, seen_at) VALUES ('process', 'x', 1, now() + interval '3 days', now() + interval '3 days')`)
	if _, err := db.pool.ExecContext(t.Context(), `UPDATE noggin_schema.noggin_data SET claimed_by = 1, claim_expires_at = now() + interval '3 days' WHERE tip = 'claimed'`); err != nil {
		t.Fatal(err)
	}
	if wait, err := db.ReserveRequests(t.Context(), 1, 10); err != nil || wait > time.Second {
		t.Errorf("the next request waits %s: %v", wait, err)
	}
	if !standing().ClockSetBack {
		t.Fatal("the clock that was set back is not noticed")
	}
	if err := db.BringTimesBack(t.Context(), time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	s := standing()
	if s.ClockSetBack || s.CircuitOpen() || s.Circuit.PausedUntil.After(s.Now) {
		t.Errorf("standing %+v", s)
	}
	var waits []string
	if err := db.pool.SelectContext(t.Context(), &waits, `
		SELECT tip || ' ' || round(extract(epoch FROM coalesce(claim_expires_at, next_retry_at, now()) - now()) / 60) FROM noggin_schema.noggin_data ORDER BY tip`); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"claimed 1", "held 0", "late 0", "patient 60", "retry 0"} {
		if waits[i] != want {
			t.Errorf("minutes to wait: %s, want %s", waits[i], want)
		}
	}
}

// What was stored and asked for while the clock was ahead goes on with the steps; a copy
// is due again.
func TestTheScheduleOfAClockThatWasAheadIsBroughtBack(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	tips := []string{"asked", "stored", "right", "failing", "waiting"}
	if _, err := db.EnsureRecords(t.Context(), tips, "LCD", false); err != nil {
		t.Fatal(err)
	}
	target := register(t, db, "/copy")
	foreign(t, db, `
		INSERT INTO noggin_schema.refreshes (record_tip, due_at, step, version_at, asked_at) VALUES
			('asked', NULL, 0, now() - interval '1 hour', now() + interval '40 days'),
			('stored', now() + interval '41 days', 0, now() + interval '40 days', NULL),
			('right', now() + interval '20 days', 2, now() - interval '10 days', now() - interval '3 days')`)
	for tip, wait := range map[string]string{"failing": "24 hours", "waiting": "40 days"} {
		foreign(t, db, `INSERT INTO noggin_schema.copies_due (target_id, path, hash_sha256, size_bytes, kind, due_at)
			SELECT id, '`+tip+`', '', 1, 'report', now() + interval '`+wait+`' FROM noggin_schema.copy_targets`)
	}
	foreign(t, db, `UPDATE noggin_schema.copy_targets SET registered_at = now() + interval '40 days'`)
	day := 24 * time.Hour
	if err := db.BringTimesBack(t.Context(), time.Minute, []time.Duration{2 * day, 30 * day}); err != nil {
		t.Fatal(err)
	}
	got := scalar[string](t, db, `SELECT string_agg(record_tip || ' ' || step || ' ' || (due_at BETWEEN now() + interval '46 hours' AND now() + interval '58 hours')
		|| ' ' || (greatest(version_at, asked_at) <= now()), ', ' ORDER BY record_tip) FROM noggin_schema.refreshes`)
	if want := "asked 0 true true, right 2 false true, stored 0 true true"; got != want {
		t.Errorf("askings: %s, want %s", got, want)
	}
	if status := theTarget(t, db); time.Until(status.RegisteredAt) > time.Hour {
		t.Errorf("the target is registered %s", status.RegisteredAt)
	}
	if due := claimCopies(t, db, target, 10); len(due) != 1 || due[0].Path != "waiting" {
		t.Errorf("due to be copied: %+v", due)
	}
}

// A record that was to be asked again the next day has no step left.
func TestADailyAskingOfAClockThatWasAheadIsMadeTheNextDay(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	tips := []string{"gone", "over", "looked", "later"}
	if _, err := db.EnsureRecords(t.Context(), tips, "LCD", false); err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `
		INSERT INTO noggin_schema.refreshes (record_tip, due_at, step, version_at, asked_at, last_status, missing_since) VALUES
			('gone', now() + interval '32 hours', 2, now() - interval '60 days', now() + interval '8 hours', 404, now() + interval '8 hours'),
			('over', NULL, 0, now() - interval '60 days', now() + interval '8 hours', 200, NULL),
			('looked', now() + interval '300 days', 0, now() - interval '60 days', NULL, NULL, NULL),
			('later', now() + interval '20 days', 1, now() - interval '9 days', now() + interval '8 hours', 200, NULL)`)
	day := 24 * time.Hour
	if err := db.BringTimesBack(t.Context(), time.Minute, []time.Duration{day, 7 * day, 30 * day}); err != nil {
		t.Fatal(err)
	}
	got := scalar[string](t, db, `SELECT string_agg(concat_ws(' ', record_tip, step, coalesce(round(extract(epoch FROM due_at - now()) / 86400 / 20)::text, 'never'),
		due_at <= now() + interval '25 hours', missing_since <= now()), ', ' ORDER BY record_tip) FROM noggin_schema.refreshes`)
	if want := "gone 2 0 t t, later 2 1 f, looked 0 0 t, over 0 never"; got != want {
		t.Errorf("askings: %s, want %s", got, want)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.refreshes WHERE asked_at IS NULL`); n != 1 {
		t.Errorf("%d records were never asked again, want 1", n)
	}
}

// Ages begin now, and not when the clock reaches those times again.
func TestAgesOfAClockThatWasAheadBeginNow(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	if _, err := db.EnsureRecords(t.Context(), []string{"done", "healed", "queued"}, "LCD", false); err != nil {
		t.Fatal(err)
	}
	const ahead = `now() + interval '300 days'`
	foreign(t, db, `
		UPDATE noggin_schema.noggin_data SET processing_status = 'complete' WHERE tip IN ('done', 'healed');
		UPDATE noggin_schema.noggin_data SET updated_at = `+ahead+` WHERE tip = 'done';
		UPDATE noggin_schema.noggin_data SET created_at = `+ahead+`, csv_imported_at = `+ahead+`, failing_since = `+ahead+`, first_failed_at = `+ahead+`, retry_count = 1
			WHERE tip = 'queued';
		INSERT INTO noggin_schema.record_versions (record_tip, version, payload_sha256, answer, size_bytes, hash_sha256, fetched_at)
			VALUES ('done', 1, '', '', 0, '', `+ahead+`);
		INSERT INTO noggin_schema.runs (command, host, pid, seen_at) VALUES ('process', 'x', 1, `+ahead+`);
		INSERT INTO noggin_schema.circuit_transitions (from_state, to_state, reason, created_at) VALUES ('closed', 'open', 'x', `+ahead+`);
		INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, asked_at) VALUES ('a', 'vehicle', `+ahead+`), ('b', 'vehicle', NULL);
		INSERT INTO noggin_schema.pause (paused_at, paused_until, reason) VALUES (`+ahead+`, `+ahead+` + interval '2 hours', 'x');
		INSERT INTO noggin_schema.archives (name, path, month, created_at, verified_at, checked_at, seen_at) VALUES
			('ahead', '', '', `+ahead+`, `+ahead+`, `+ahead+`, `+ahead+`), ('right', '', '', now(), NULL, NULL, NULL)`)
	if _, err := db.pool.ExecContext(t.Context(), `UPDATE noggin_schema.noggin_data SET claimed_by = 1, claim_expires_at = `+ahead+` WHERE tip = 'healed'`); err != nil {
		t.Fatal(err)
	}
	if err := db.BringTimesBack(t.Context(), time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.LookAgain(t.Context(), []string{"done"}); err != nil {
		t.Fatal(err)
	}
	for what, query := range map[string]string{
		"a record":              `SELECT max(greatest(created_at, csv_imported_at, failing_since, first_failed_at, updated_at)) FROM noggin_schema.noggin_data`,
		"a claim":               `SELECT claim_expires_at - interval '1 minute' FROM noggin_schema.noggin_data WHERE tip = 'healed'`,
		"the steps":             `SELECT version_at FROM noggin_schema.refreshes`,
		"a run":                 `SELECT seen_at FROM noggin_schema.runs`,
		"a transition":          `SELECT created_at FROM noggin_schema.circuit_transitions`,
		"an unknown hash":       `SELECT asked_at FROM noggin_schema.unknown_hashes WHERE hash_value = 'a'`,
		"a pause of two hours":  `SELECT paused_until - interval '2 hours' FROM noggin_schema.pause`,
		"an archive's creation": `SELECT max(created_at) FROM noggin_schema.archives`,
		"an archive's check":    `SELECT max(greatest(verified_at, checked_at)) FROM noggin_schema.archives`,
		"an archive's sight":    `SELECT max(seen_at) FROM noggin_schema.archives`,
	} {
		if at := scalar[time.Time](t, db, query); at.After(scalarNow(t, db)) {
			t.Errorf("%s begins on %s", what, at)
		}
	}
	for what, query := range map[string]string{
		"no end of a run":     `SELECT count(*) FROM noggin_schema.runs WHERE finished_at IS NULL`,
		"a hash not asked":    `SELECT count(*) FROM noggin_schema.unknown_hashes WHERE asked_at IS NULL`,
		"an archive not seen": `SELECT count(*) FROM noggin_schema.archives WHERE seen_at IS NULL AND checked_at IS NULL AND verified_at IS NULL`,
		"a record not failed": `SELECT count(*) FROM noggin_schema.noggin_data WHERE tip = 'done' AND failing_since IS NULL AND csv_imported_at IS NULL`,
	} {
		if n := scalar[int](t, db, query); n != 1 {
			t.Errorf("%s: %d, want 1", what, n)
		}
	}
}

func TestAServerThatDoesNotLetUsInIsUnavailable(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for name, spoil := range map[string]func(u *url.URL){
		"no such database": func(u *url.URL) { u.Path = "/nothing" },
		"wrong password":   func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") },
	} {
		cfg := db.cfg
		u, err := url.Parse(cfg.URL)
		if err != nil {
			t.Fatal(err)
		}
		spoil(u)
		cfg.URL = u.String()
		started := time.Now()
		if _, err := openDB(t, cfg).StartRun(t.Context(), "test", ""); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: error %v", name, err)
		}
		if took := time.Since(started); took > cfg.RetryFor/2 {
			t.Errorf("%s: tried again for %s", name, took)
		}
	}
}
