package storage

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

var testSteps = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// An upgraded record is asked for again at the steps that are still to come, and its
// answer from before becomes version 1 when another comes.
func TestAnUpgradedRecordKeepsItsAnswerAsVersion1(t *testing.T) {
	t.Parallel()
	db := version1(t)
	ctx := t.Context()
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, payload, folder, processed_at, updated_at)
		SELECT 'old-record-' || days, 'LCD', 'complete', '{"id": 1, "$meta": {"sid": "s1", "modifiedDate": "2025-01-01T00:00:00Z"}}', 'f/' || days,
		       now() - days * interval '1 day', now() - days * interval '1 day' FROM unnest(ARRAY[3, 20, 100]) AS days`)
	if _, err := db.Init(ctx, schemaText(t), InitOptions{AskAgain: testSteps}); err != nil {
		t.Fatal(err)
	}
	due := scalar[string](t, db, `SELECT string_agg(record_tip || ' ' || step || ' ' || (due_at > now()), ', ' ORDER BY record_tip) FROM noggin_schema.refreshes WHERE record_tip LIKE 'old%'`)
	if due != "old-record-20 2 true, old-record-3 1 true" {
		t.Errorf("due are %s", due)
	}
	foreign(t, db, `DELETE FROM noggin_schema.pause; UPDATE noggin_schema.noggin_data SET processing_status = 'pending' WHERE tip = 'old-record-100'`)
	claims, err := db.Claim(ctx, ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute, Selector: Selector{Tips: []string{"old-record-100"}}})
	if err != nil || len(claims) != 1 || !claims[0].Completed {
		t.Fatalf("claims %+v, %v", claims, err)
	}
	a := answer(claims[0])
	a.Payload, a.Raw, a.SID = []byte(`{"id": 2}`), []byte(` {"id":2}`), "s2"
	stored, err := db.Store(ctx, 1, []Answer{a})
	if err != nil || stored[a.key()].Outcome != OutcomeChanged || stored[a.key()].Version != 2 {
		t.Fatalf("stored %+v, %v", stored, err)
	}
	finish(t, db, 1, Result{Tip: "old-record-100", Token: a.Token, Status: "complete", HTTPStatus: 200})
	for version, want := range map[int]string{1: `{"id": 1, "$meta": {"sid": "s1", "modifiedDate": "2025-01-01T00:00:00Z"}}`, 2: ` {"id":2}`} {
		if body, found, err := db.VersionBody(ctx, "old-record-100", version); err != nil || !found || string(body) != want {
			t.Errorf("version %d is %q, %t, %v", version, body, found, err)
		}
	}
	if marked := scalar[string](t, db, `SELECT string_agg(version || ' ' || from_row, ', ' ORDER BY version) FROM noggin_schema.record_versions`); marked != "1 true, 2 false" {
		t.Errorf("versions: %s", marked)
	}
	if _, err := db.pool.Exec(`DELETE FROM noggin_schema.noggin_data WHERE tip = 'old-record-100'`); err == nil || !strings.Contains(err.Error(), "foreign key") {
		t.Errorf("a record with versions was deleted: %v", err)
	}
}

// An upgrade without steps leaves the records to those that are set later.
func TestAnUpgradedRecordWithoutStepsIsAskedForWhenThereAreSome(t *testing.T) {
	t.Parallel()
	db := version1(t)
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, payload, folder, processed_at, updated_at)
		SELECT 'old-record-' || days, 'LCD', 'complete', '{"id": 1}', 'f/' || days, now() - days * interval '1 day', now() - days * interval '1 day' FROM unnest(ARRAY[3, 20, 100]) AS days`)
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := db.ResumeAskings(t.Context(), testSteps); err != nil {
		t.Fatal(err)
	}
	if due := scalar[string](t, db, `SELECT string_agg(record_tip || ' ' || step, ', ' ORDER BY record_tip) FROM noggin_schema.refreshes WHERE due_at > now() AND record_tip LIKE 'old%'`); due != "old-record-20 2, old-record-3 1" {
		t.Errorf("due are %s", due)
	}
}

// The same answer in another order of keys is no version, and a chain of sids decides
// before the times do.
func TestVersionsAreToldApartByContentAndChain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	at := func(hour int) *time.Time { t := time.Date(2025, 1, 1, hour, 0, 0, 0, time.UTC); return &t }
	farAhead := time.Now().AddDate(50, 0, 0)
	for i, step := range []struct {
		raw, sid string
		parents  []string
		modified *time.Time
		bare     bool
		want     Outcome
		version  int
	}{
		{`{"a":1,"b":2,"$meta":{"sid":"A"}}`, "A", nil, at(1), false, OutcomeFirst, 1},
		{`{"$meta":{"sid":"A"},"b":2,"a":1}`, "A", nil, at(1), false, OutcomeUnchanged, 1},
		{`{"a":2,"$meta":{"sid":"B"}}`, "B", []string{"A"}, at(1), false, OutcomeChanged, 2},
		{`{"a":1,"b":2,"$meta":{"sid":"A"}}`, "A", nil, at(9), false, OutcomeOlder, 2}, // whatever its time
		{`{"a":0,"$meta":{"sid":"Z"}}`, "Z", nil, at(0), false, OutcomeOlder, 2},
		{`{"$meta":{"sid":"B"}}`, "B", []string{"A"}, at(2), true, OutcomeReduced, 2},
		{`{"a":3,"$meta":{"sid":"C"}}`, "C", []string{"B"}, at(0), false, OutcomeChanged, 5}, // its parent is the current one
		{`{"a":2,"$meta":{"sid":"B"}}`, "B", []string{"A"}, at(9), false, OutcomeOlder, 5},
		{`{"a":1,"b":2,"$meta":{"sid":"A"}}`, "A", nil, nil, false, OutcomeOlder, 5}, // the parent of its parent
		{checklist("Yes"), "D", []string{"C"}, at(9), false, OutcomeChanged, 6},
		{checklist("No"), "D", []string{"C"}, at(9), false, OutcomeChanged, 7},
		{`{"a":4,"$meta":{"sid":"E"}}`, "E", []string{"D"}, &farAhead, false, OutcomeChanged, 8},
		{`{"a":5,"$meta":{"sid":"F"}}`, "F", nil, at(10), false, OutcomeChanged, 9},
	} {
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'pending', claimed_by = NULL, claim_expires_at = NULL`)
		a := answer(claim(t, db, 1, 1)[0])
		a.Payload, a.Raw, a.SID, a.Parents, a.APIModifiedAt, a.Bare = []byte(step.raw), []byte(step.raw), step.sid, step.parents, step.modified, step.bare
		stored, err := db.Store(t.Context(), 1, []Answer{a})
		got := stored[a.key()]
		if err != nil || got.Outcome != step.want || got.Version != step.version {
			t.Errorf("step %d: %s, version %d, %v; want %s, %d", i, got.Outcome, got.Version, err, step.want, step.version)
		}
		if again, err := db.Store(t.Context(), 1, []Answer{a}); err != nil || len(again) != 1 { // a lost COMMIT
			t.Errorf("step %d again: %v, %v", i, again, err)
		}
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.record_versions`); n != 9 {
		t.Errorf("%d versions, want 9", n)
	}
}

// checklist is a payload of 40 fields, in which two that are 16 apart have the same answer.
// jsonb's own hash is the same whatever that answer is.
func checklist(answer string) string {
	fields := make([]string, 40)
	for i := range fields {
		fields[i] = fmt.Sprintf(`"field%02d":"%d"`, i, i)
	}
	fields[3], fields[19] = `"field03":"`+answer+`"`, `"field19":"`+answer+`"`
	return "{" + strings.Join(fields, ",") + "}"
}

// A claim takes due refreshes last, and an asking that changes nothing
// moves only the claim.
func TestRefreshesComeLastAndTouchOnlyTheClaim(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	const records = 3000
	foreign(t, db, fmt.Sprintf(`INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, payload)
		SELECT 'c' || i, 'LCD', 'complete', '{}' FROM generate_series(1, %d) AS i`, records))
	foreign(t, db, `INSERT INTO noggin_schema.refreshes (record_tip, due_at) SELECT tip, now() + (substr(tip, 2)::int - 20) * interval '1 hour' FROM noggin_schema.noggin_data`)
	foreign(t, db, `ANALYZE noggin_schema.noggin_data; ANALYZE noggin_schema.refreshes`)
	insertPending(t, db, 5)
	const unclaimedColumns = `SELECT md5(string_agg((to_jsonb(d) - 'claim_token')::text, '' ORDER BY tip)) FROM noggin_schema.noggin_data d WHERE tip LIKE 'c%'`
	before := scalar[string](t, db, unclaimedColumns)
	claims, err := db.Claim(t.Context(), ClaimRequest{Run: 1, Limit: 12, Lease: time.Minute})
	if err != nil || len(claims) != 12 {
		t.Fatalf("%d claims, %v", len(claims), err)
	}
	var askings []Asking
	for i, c := range claims {
		if isRefresh := c.Status == StatusComplete; isRefresh {
			askings = append(askings, Asking{Tip: c.Tip, Token: c.Token, HTTPStatus: 200})
			if c.RefreshStep != 0 {
				t.Errorf("claim %d: %+v", i, c)
			}
		}
	}
	if len(askings) != 7 {
		t.Errorf("%d refreshes beside 5 new records, want 7", len(askings))
	}
	if asked, err := db.Asked(t.Context(), 1, askings, Backoff{AskAgain: testSteps}); err != nil || len(asked) != 7 {
		t.Errorf("asked %v, %v", asked, err)
	}
	if asked, err := db.Asked(t.Context(), 1, askings, Backoff{AskAgain: testSteps}); err != nil || len(asked) != 7 { // a lost COMMIT
		t.Errorf("asked again %v, %v", asked, err)
	}
	if after := scalar[string](t, db, unclaimedColumns); after != before {
		t.Error("an asking that changed nothing changed more than the claim")
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM noggin_schema.refreshes WHERE asked_at IS NOT NULL AND due_at BETWEEN now() + interval '23 hours' AND now() + interval '29 hours'`); n != 7 {
		t.Errorf("%d records are due after the first step", n)
	}
}

func TestABodyIsNoLongerThanItsRowSays(t *testing.T) {
	t.Parallel()
	stored, err := compress(make([]byte, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := decompress(stored, 1<<20); err != nil || len(body) != 1<<20 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if body, err := decompress(stored, 100); err == nil || body != nil {
		t.Errorf("a body that is longer than its row says: %d bytes, %v", len(body), err)
	}
}

// What an answer names no longer becomes a former file, a doubtful one too, whatever other
// records of the batch name. Its number does not return.
func TestWhatAnAnswerNamesNoLongerIsKeptAsItWas(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	store := func(n string, attachments ...[]PlannedAttachment) (answers []Answer) {
		t.Helper()
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'pending', claimed_by = NULL, claim_expires_at = NULL`)
		claims := claim(t, db, 1, len(attachments))
		slices.SortFunc(claims, func(a, b Claim) int { return strings.Compare(a.Tip, b.Tip) })
		for i, c := range claims {
			a := answer(c)
			a.Payload, a.SID, a.Folders, a.Attachments = []byte(`{"n":`+n+`}`), n, [3]string{"f/" + c.Tip}, attachments[i]
			answers = append(answers, a)
		}
		if stored, err := db.Store(t.Context(), 1, answers); err != nil || len(stored) != len(attachments) {
			t.Fatalf("stored %v, %v", stored, err)
		}
		return answers
	}
	both := []PlannedAttachment{{Tip: "p1", Field: "attachments"}, {Tip: "p2", Field: "attachments"}}
	for _, a := range store("1", both, both) {
		finish(t, db, 1, Result{Tip: a.Tip, Token: a.Token, Status: StatusComplete, Downloads: []Download{
			{RecordTip: a.Tip, Tip: "p1", Status: AttachmentComplete, Validation: ValidationValid, Path: ptr(a.Tip + "/1.jpg"), SHA256: ptr("01"), Size: ptr(int64(1)), ContentType: ptr("image/jpeg")},
			{RecordTip: a.Tip, Tip: "p2", Status: AttachmentComplete, Validation: ValidationSuspect, Path: ptr(a.Tip + "/2.jpg"), SHA256: ptr("02"), Size: ptr(int64(1)), ContentType: ptr("image/jpeg")},
		}})
	}
	edited := store("2", both[:1], both)[0].Tip
	expect := func(query, want string) {
		t.Helper()
		if got := scalar[string](t, db, query+` WHERE record_tip = $1`, edited); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	const current = `SELECT string_agg(attachment_tip || ' ' || attachment_sequence, ', ') FROM noggin_schema.attachments`
	expect(current, "p1 1")
	store("3", nil)
	store("4", []PlannedAttachment{{Tip: "p3", Field: "attachments"}})
	expect(current, "p3 3")
	expect(`SELECT string_agg(attachment_tip || ' ' || kind || ' ' || hash_sha256, ', ' ORDER BY path) FROM noggin_schema.former_files`, "p1 attachment 01, p2 suspect 02")
}

// storeVersion stores an answer of the only record, n its body, and finishes the record.
func storeVersion(t *testing.T, db *DB, n string, attachments []PlannedAttachment, downloads ...Download) {
	t.Helper()
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = 'pending', claimed_by = NULL, claim_expires_at = NULL`)
	a := answer(claim(t, db, 1, 1)[0])
	a.Payload, a.SID, a.Folders, a.Attachments = []byte(`{"n":`+n+`}`), n, [3]string{"f"}, attachments
	if stored, err := db.Store(t.Context(), 1, []Answer{a}); err != nil || len(stored) != 1 {
		t.Fatalf("stored %v, %v", stored, err)
	}
	for i := range downloads {
		downloads[i].RecordTip = a.Tip
	}
	finish(t, db, 1, Result{Tip: a.Tip, Token: a.Token, Status: StatusComplete, Downloads: downloads})
}

// photograph is the file of the attachment p1 with the SHA-256 n.
func photograph(n string, replaces bool) Download {
	return Download{Tip: "p1", Status: AttachmentComplete, Validation: ValidationValid, Path: ptr("f/" + n + ".jpg"), SHA256: ptr(n), Size: ptr(int64(1)), ContentType: ptr("image/jpeg"), Replaces: replaces}
}

// A former file that was lost and came back may be the current one again. When it leaves
// the record once more, one row knows all its versions, and where it is now.
func TestAFileThatBecomesAFormerOneTwiceIsOne(t *testing.T) {
	t.Parallel()
	photo := []PlannedAttachment{{Tip: "p1", Field: "attachments"}}
	for name, test := range map[string]struct{ known, want string }{
		"of earlier versions": {"'01', 1, 1, 3", "01 v1-2 7"},
		"of later versions":   {"'01', 1, 9, 3", "01 v1-9 7"},
		"of other bytes":      {"'ff', 1, 1, 3", "ff v1-1 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testDB(t)
			insertPending(t, db, 1)
			storeVersion(t, db, "1", photo, photograph("01", false))
			foreign(t, db, `UPDATE noggin_schema.attachments SET archive_id = 7;
				INSERT INTO noggin_schema.former_files (hash_sha256, first_version, last_version, archive_id, path, record_tip, kind, attachment_tip, attachment_sequence, field_name, size_bytes)
				SELECT `+test.known+`, 'f/01.jpg', tip, 'attachment', 'p0', 1, 'attachments', 1 FROM noggin_schema.noggin_data`)
			storeVersion(t, db, "2", photo)
			storeVersion(t, db, "3", nil)
			if got := scalar[string](t, db, `SELECT string_agg(concat_ws(' ', hash_sha256, 'v' || first_version || '-' || last_version, archive_id), ', ') FROM noggin_schema.former_files`); got != test.want {
				t.Errorf("former is %s, want %s", got, test.want)
			}
		})
	}
}

// A photograph that an answer names again is the one that was there last. Its other bytes
// stay former files.
func TestWhatAnAnswerNamesAgainGetsItsLastFileBack(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	photo := []PlannedAttachment{{Tip: "p1", Field: "attachments"}}
	store := func(n string, attachments []PlannedAttachment, downloads ...Download) {
		t.Helper()
		storeVersion(t, db, n, attachments, downloads...)
	}
	store("1", photo, photograph("01", false))
	store("1", photo, photograph("02", true)) // one version, other bytes
	// Bytes that were never known to be whole come after it; the file itself is in an archive.
	foreign(t, db, `UPDATE noggin_schema.former_files SET former_since = now() - interval '1 hour'; UPDATE noggin_schema.attachments SET archive_id = 7;
		INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, attachment_sequence, field_name, first_version, last_version, size_bytes, hash_sha256)
		SELECT 'f/03.jpg', tip, 'suspect', 'p1', 1, 'attachments', 1, 9, 1, '03' FROM noggin_schema.noggin_data`)
	for n := 2; n < 6; n += 2 {
		store(strconv.Itoa(n), nil)
		if all := scalar[string](t, db, `SELECT string_agg(concat_ws(' ', path, archive_id), ', ' ORDER BY path) FROM noggin_schema.former_files`); all != "f/01.jpg, f/02.jpg 7, f/03.jpg" {
			t.Errorf("without the photograph, former files are %s", all)
		}
		store(strconv.Itoa(n+1), photo)
		current := scalar[string](t, db, `SELECT string_agg(concat_ws(' ', attachment_sequence, file_path, file_hash_sha256, attachment_status, archive_id), ', ')
			FROM noggin_schema.attachments`)
		former := scalar[string](t, db, `SELECT string_agg(path, ', ' ORDER BY path) FROM noggin_schema.former_files`)
		if current != "1 f/02.jpg 02 complete 7" || former != "f/01.jpg, f/03.jpg" {
			t.Errorf("with the photograph again, it is %s and former is %s", current, former)
		}
	}
}

// A record is gone once the API has not given it on two days, and as often as that happens
// after it came back. What is missing is no witness.
func TestARecordIsGoneFromItsSecondDayUntilItComesBack(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	if _, err := db.Finish(ctx, 1, []Result{{Tip: c.Tip, Token: c.Token, Status: StatusComplete, HTTPStatus: 200}}, Backoff{AskAgain: testSteps}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what   string
		days   int
		status int
		gone   bool
		stale  bool // the text report has to say something else
	}{
		{"an outage", 0, 503, false, false},
		{"another a day later", 1, 503, false, false},
		{"a 404", 0, 404, false, false},
		{"another on that day", 0, 404, false, false},
		{"another a day later", 1, 404, true, true},
		{"and another", 1, 404, true, false},
		{"it came back", 1, 200, false, true},
		{"a 403 after that", 1, 403, false, false},
		{"a 410 a day later", 1, 410, true, true},
		{"it came back again", 0, 200, false, true},
	} {
		foreign(t, db, `UPDATE noggin_schema.refreshes SET last_status = $1, gone_at = gone_at - $2 * interval '1 day', returned_at = returned_at - $2 * interval '1 day',
			missing_since = CASE WHEN missing_since IS NOT NULL THEN now() - CASE $2 WHEN 0 THEN interval '-1 minute' ELSE $2 * interval '1 day' END END -- also at midnight`,
			step.status, step.days)
		if _, err := db.pool.Exec(db.sql(`UPDATE noggin_schema.noggin_data SET names_stale = false, report_path = 'f/1.txt'`)); err != nil {
			t.Fatal(err)
		}
		var err error
		if step.status == 200 {
			err = db.tx(ctx, "test", func(tx *sqlx.Tx) error { return db.noteReturned(ctx, tx, []string{c.Tip}) })
		} else {
			_, err = db.CountFailures(ctx, []CountedFailure{{Tip: c.Tip, Token: c.Token, Kept: true}}, testBackoff)
		}
		if err != nil {
			t.Fatal(err)
		}
		marks, err := db.marksOf(ctx, db.pool, []string{c.Tip})
		if gone := marks[c.Tip].GoneAt != nil; err != nil || gone != step.gone || gone && marks[c.Tip].GoneStatus != step.status {
			t.Errorf("%s: gone %v by %d, %v", step.what, gone, marks[c.Tip].GoneStatus, err)
		}
		if stale := scalar[bool](t, db, `SELECT names_stale FROM noggin_schema.noggin_data`); stale != step.stale {
			t.Errorf("%s: the report is out of date: %v", step.what, stale)
		}
		witnesses, err := db.KnownRecords(ctx, "LCD", nil)
		if isWitness := len(witnesses) == 1; err != nil || isWitness != (step.status == 200 || step.status == 503) {
			t.Errorf("%s: a witness %v, %v", step.what, isWitness, err)
		}
	}
}

// Each new version is asked for at all steps, and one that others know to be gone at none.
func TestTheStepsBeginAnewWithANewVersion(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	insertPending(t, db, 1)
	expect := func(what, want string) {
		t.Helper()
		if got := scalar[string](t, db, `SELECT coalesce(floor(extract(epoch FROM due_at - now() + interval '1 minute') / 86400)::text, 'never') || ' ' || step FROM noggin_schema.refreshes`); got != want {
			t.Errorf("%s: days until it is due, and the step: %s, want %s", what, got, want)
		}
	}
	take := func(r ClaimRequest, want int) (c Claim) {
		t.Helper()
		r.Run, r.Limit, r.Lease = 1, 1, time.Minute
		claims, err := db.Claim(ctx, r)
		if err != nil || len(claims) != want {
			t.Fatalf("claimed %+v, %v, want %d", claims, err, want)
		}
		if want > 0 {
			c = claims[0]
		}
		return c
	}
	stored := func(c Claim, payload string) {
		t.Helper()
		a := answer(c)
		a.Payload = []byte(payload)
		if _, err := db.Store(ctx, 1, []Answer{a}); err != nil {
			t.Fatal(err)
		}
	}
	done := func(c Claim, again bool, steps []time.Duration) {
		t.Helper()
		if _, err := db.Finish(ctx, 1, []Result{{Tip: c.Tip, Token: c.Token, Status: StatusComplete, HTTPStatus: 200, Again: again}}, Backoff{AskAgain: steps}); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(c Claim, failed bool, steps []time.Duration) {
		t.Helper()
		if _, err := db.Asked(ctx, 1, []Asking{{Tip: c.Tip, Token: c.Token, HTTPStatus: 200, Failed: failed}}, Backoff{AskAgain: steps}); err != nil {
			t.Fatal(err)
		}
	}
	lookAgain := func() {
		t.Helper()
		if err := db.LookAgain(ctx, []string{tip(0)}); err != nil {
			t.Fatal(err)
		}
	}
	c := take(ClaimRequest{}, 1)
	stored(c, `{"n":1}`)
	done(c, false, testSteps)
	expect("complete", "1 0")
	if c = take(ClaimRequest{Refresh: true}, 1); c.RefreshStep != -1 {
		t.Errorf("a record that is not due is asked for at step %d", c.RefreshStep)
	}
	asked(c, false, testSteps)
	foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = now(), version_at = now() - interval '40 days';
		UPDATE noggin_schema.record_versions SET fetched_at = now() - interval '40 days'`)
	if c = take(ClaimRequest{}, 1); c.RefreshStep != 0 {
		t.Errorf("a record that is due is asked for at step %d", c.RefreshStep)
	}
	asked(c, false, testSteps)
	expect("40 days later", "never 0")
	lookAgain()
	expect("changed at the platform", "0 0")
	c = take(ClaimRequest{}, 1)
	stored(c, `{"n":2}`)
	done(c, false, testSteps)
	expect("another version", "1 0")
	foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = now(); UPDATE noggin_schema.noggin_data SET crash_count = 2`)
	asked(take(ClaimRequest{}, 1), false, testSteps)
	expect("another version, unchanged", "1 0")
	if n := scalar[int](t, db, `SELECT crash_count FROM noggin_schema.noggin_data`); n != 0 {
		t.Errorf("after it was asked for, it has crashed %d runs", n)
	}
	foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = now(), step = 2; UPDATE noggin_schema.record_versions SET fetched_at = now() - interval '40 days'`)
	done(take(ClaimRequest{}, 1), true, testSteps)
	expect("a part failed", "1 2")
	for _, end := range []func(Claim, bool, []time.Duration){done, asked} {
		foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = now()`)
		end(take(ClaimRequest{}, 1), true, nil)
		expect("failed where nothing is asked for again", "never 2")
	}
	foreign(t, db, `UPDATE noggin_schema.refreshes SET last_status = 404`)
	lookAgain()
	expect("known to be gone", "never 2")
	foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = now(); UPDATE noggin_schema.noggin_data SET processing_status = 'skipped'`)
	take(ClaimRequest{}, 0)
}

// Records that became complete while [refresh] after was empty, or shorter, are asked for
// at the steps that are still to come when there are some.
func TestRecordsWithoutADueTimeGetOneWhenThereAreStepsAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	ctx := t.Context()
	insertPending(t, db, 1)
	claims, err := db.Claim(ctx, ClaimRequest{Run: 1, Limit: 1, Lease: time.Minute})
	if err != nil || len(claims) != 1 {
		t.Fatalf("claimed %+v, %v", claims, err)
	}
	if _, err := db.Store(ctx, 1, []Answer{answer(claims[0])}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Finish(ctx, 1, []Result{{Tip: tip(0), Token: claims[0].Token, Status: StatusComplete, HTTPStatus: 200}}, Backoff{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what, age, status, due string
		steps                  []time.Duration
		want                   string // the days and the step to which it is due; "": never
	}{
		{what: "no steps", age: "3 days"},
		{what: "one step, which is over", age: "3 days", steps: testSteps[:1]},
		{what: "steps again", age: "3 days", steps: testSteps, want: "7 1"},
		{what: "the last step is to come", age: "8 days", steps: testSteps, want: "30 2"},
		{what: "all steps are over", age: "40 days", steps: testSteps},
		{what: "it is in the queue", age: "3 days", status: "partial", steps: testSteps},
		{what: "it is due already", age: "8 days", due: "-5 days", steps: testSteps, want: "3 0"},
	} {
		foreign(t, db, fmt.Sprintf(`UPDATE noggin_schema.noggin_data SET processing_status = '%s';
			UPDATE noggin_schema.refreshes SET step = 0, due_at = now() + nullif('%s', '')::interval, version_at = now() - '%s'::interval`,
			cmp.Or(test.status, "complete"), test.due, test.age))
		if err := db.ResumeAskings(ctx, test.steps); err != nil {
			t.Fatal(err)
		}
		// A fifth of the time at most is added.
		got := scalar[string](t, db, `SELECT coalesce((SELECT d || ' ' || step FROM generate_series(1, 31) AS d
			WHERE due_at BETWEEN version_at + d * interval '1 day' AND version_at + d * 1.2 * interval '1 day' AND d IN (1, 3, 7, 30)), '') FROM noggin_schema.refreshes`)
		if got != test.want {
			t.Errorf("%s: days and step %q, want %q", test.what, got, test.want)
		}
	}
}

// A complete record may end each run that asks for it, as when an attachment is too large for
// the disk.
func TestARecordThatEndsEachRunHoldsUpNoOtherRefresh(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	var results []Result
	for _, c := range claim(t, db, 1, 2) {
		results = append(results, Result{Tip: c.Tip, Token: c.Token, Status: StatusComplete})
	}
	if _, err := db.Finish(t.Context(), 1, results, Backoff{AskAgain: testSteps}); err != nil {
		t.Fatal(err)
	}
	foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = now() - CASE record_tip WHEN $1 THEN interval '2 hours' ELSE interval '1 hour' END`, tip(0))
	for run, want := range []string{tip(0), tip(1), tip(0)} {
		c := claim(t, db, int64(run), 1)
		if len(c) != 1 || c[0].Tip != want {
			t.Fatalf("run %d took %+v, want %s", run, c, want)
		}
		if _, err := db.Asked(t.Context(), int64(run), []Asking{{Tip: c[0].Tip, Token: c[0].Token, Broken: true}}, Backoff{AskAgain: testSteps}); err != nil {
			t.Fatal(err)
		}
	}
}

// The column is JSON that every user of the database may change.
func TestDroppedAttachmentsThatNooneCanReadHoldNothingUp(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	run, err := db.StartRun(t.Context(), "process", "test")
	if err != nil {
		t.Fatal(err)
	}
	c := claim(t, db, run, 1)[0]
	foreign(t, db, `SET noggin.client = on; UPDATE noggin_schema.noggin_data SET dropped = '{"x": [1]}'`)
	stored, err := db.Store(t.Context(), run, []Answer{answer(c)})
	if err != nil || len(stored) != 1 {
		t.Errorf("stored %v, %v", stored, err)
	}
}
