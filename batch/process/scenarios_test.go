package process_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/gate"
	"noggin/batch/process"
	"noggin/storage"
)

// mirrored is a mirror of which the first records are complete. The others wait.
func mirrored(t testing.TB, o apitest.Options, complete int) *batchtest.Mirror {
	t.Helper()
	m := batchtest.NewMirror(t, o)
	m.API.MaxRetries = 0
	queueFrom(m, 0, complete)
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != complete {
		t.Fatalf("only %d complete", s.Complete)
	}
	queueFrom(m, complete, m.Server.Len())
	return m
}

// queueFrom puts the records from first to last into the queue.
func queueFrom(m *batchtest.Mirror, first, last int) {
	m.T.Helper()
	for i := first; i < last; i++ {
		record := m.Server.Record(i)
		if _, err := m.DB.EnsureRecords(m.T.Context(), []string{record.Tip}, record.Code, false); err != nil {
			m.T.Fatal(err)
		}
	}
}

func tipsFrom(m *batchtest.Mirror, first, last int) (tips []string) {
	for i := first; i < last; i++ {
		tips = append(tips, m.Server.Record(i).Tip)
	}
	return tips
}

// ends checks records by status, the permanently failed, and that the circuit is closed.
func ends(m *batchtest.Mirror, complete, failing, permanent int) {
	m.T.Helper()
	got := m.Value(`SELECT concat_ws(' ', count(*) FILTER (WHERE processing_status = 'complete'), count(*) FILTER (WHERE failing_since IS NOT NULL),
		count(*) FILTER (WHERE permanently_failed), (SELECT state FROM noggin_schema.circuit)) FROM noggin_schema.noggin_data`)
	if want := fmt.Sprintf("%d %d %d closed", complete, failing, permanent); got != want {
		m.T.Errorf("complete, failing, permanently failed, circuit: %s; want %s", got, want)
	}
}

// openTimePasses lets the time pass for which the circuit is open, and makes every record
// due.
func openTimePasses(m *batchtest.Mirror) {
	m.T.Helper()
	m.Execute(`UPDATE noggin_schema.circuit SET open_until = now()`)
	m.MakeDue()
}

// asRole returns the URL of a database for another role.
func asRole(t testing.TB, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "x")
	return u.String()
}

func reason(m *batchtest.Mirror) string {
	m.T.Helper()
	return m.Value(`SELECT coalesce((SELECT reason FROM noggin_schema.circuit_transitions ORDER BY id DESC LIMIT 1), '')`)
}

func TestAFewBadRecordsHoldUpNoHealthyOne(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, plainWorld(400))
	m.API.MaxRetries = 1
	queueFrom(m, 0, 10)
	m.MustRun(process.Options{UntilEmpty: true}) // for the witness
	queueFrom(m, 10, 200)
	m.Server.AddFault(apitest.Fault{Status: 500, Tips: tipsFrom(m, 10, 22)}) // the first in the queue
	m.MustRun(process.Options{UntilEmpty: true})
	ends(m, 188, 12, 0)
	queueFrom(m, 200, 400)
	m.MakeDue()
	m.MustRun(process.Options{UntilEmpty: true})
	ends(m, 388, 12, 0)
	counted := ""
	for runs := 3; runs < 9 && counted != "12"; runs++ { // a failure that comes soon after the witness was asked waits for another run
		m.MakeDue() // a quiet night
		m.MustRun(process.Options{UntilEmpty: true})
		ends(m, 388, 12, 0)
		counted = m.Value(fmt.Sprintf(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count BETWEEN 1 AND %d`, runs))
	}
	if counted != "12" {
		t.Errorf("%s of 12 were counted", counted)
	}
}

func TestAMediaServiceThatFailsBurnsNoRecord(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]apitest.Fault{
		"page":  {Kind: "html", On: apitest.OnMedia},
		"JSON":  {Kind: "error-object", On: apitest.OnMedia},
		"empty": {Kind: "empty-picture", On: apitest.OnMedia},
		"cut":   {Kind: "cut-picture", On: apitest.OnMedia}, // twice alike: suspect
		"500":   {Status: 500, On: apitest.OnMedia},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mirrored(t, batchtest.PhotoWorld(30, 2), 10)
			m.Retry.MaxAttempts = 2
			fault := m.Server.AddFault(fault)
			for range 4 {
				_, _ = m.TryRun(process.Options{UntilEmpty: true}) // the circuit may open
				openTimePasses(m)
				failsForADay(m)
			}
			nothingCounted(m)
			if n := m.Value(`SELECT count(media_failing_since) FROM noggin_schema.circuit`); n != "1" {
				t.Error("nothing tells that attachments fail")
			}
			if !strings.Contains(m.Logged.String(), "media_service_url") && !strings.Contains(reason(m), "media") {
				t.Errorf("nothing names the media service: %s", m.Logged)
			}
			m.Server.RemoveFault(fault)
			for range 2 {
				openTimePasses(m)
				_, _ = m.TryRun(process.Options{UntilEmpty: true})
			}
			ends(m, 30, 0, 0)
			if n := m.Value(`SELECT count(media_failing_since) FROM noggin_schema.circuit`); n != "0" && name != "cut" { // no run asked for anything
				t.Error("the flag stays")
			}
		})
	}
}

func TestAHalfBrokenAPIOpensTheCircuit(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(300), 20)
	m.Server.AddFault(apitest.Fault{Status: 500, Share: 0.6, ByTip: true})
	_, err := m.TryRun(process.Options{UntilEmpty: true})
	if !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Errorf("error %v", err)
	}
	for range 3 {
		openTimePasses(m)
		failsForADay(m)
		_, _ = m.TryRun(process.Options{UntilEmpty: true})
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE permanently_failed`); n != "0" {
		t.Errorf("%s permanently failed", n)
	}
}

func TestATotalOutageOpensTheCircuitAndCountsNothing(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]apitest.Fault{"503": {Status: 503}, "reset": {Kind: "reset"}, "page": {Kind: "html"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mirrored(t, plainWorld(200), 10)
			before := m.Server.Stats().Requests
			m.Server.AddFault(fault)
			if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, gate.ErrAPIUnavailable) {
				t.Errorf("error %v", err)
			}
			if n := m.Server.Stats().Requests - before; n > 20+8+3 {
				t.Errorf("%d requests: 20, those in flight and the witness are enough", n)
			}
			if !strings.Contains(reason(m), "so did the witness for records of form LCD") {
				t.Errorf("reason %q", reason(m))
			}
			for range 5 { // a day
				openTimePasses(m)
				failsForADay(m)
				before = m.Server.Stats().Requests
				if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, gate.ErrAPIUnavailable) {
					t.Errorf("error %v", err)
				}
				if n := m.Server.Stats().Requests - before; n > 3 {
					t.Errorf("%d requests, want only the witness's", n)
				}
			}
			nothingCounted(m)
			m.Server.ClearFaults()
			openTimePasses(m)
			m.MustRun(process.Options{UntilEmpty: true})
			ends(m, 200, 0, 0)
		})
	}
}

func TestATokenThatExpiresInMidRunEndsIt(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(300), 10)
	// A bad record has the witness asked just before.
	m.Server.AddFault(apitest.Fault{Status: 401, Tips: tipsFrom(m, 10, 11)})
	m.Server.AddFault(apitest.Fault{Status: 401, From: 60})
	_, err := m.TryRun(process.Options{UntilEmpty: true})
	if !errors.Is(err, gate.ErrCredentials) {
		t.Errorf("error %v", err)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE (retry_count > 0 OR permanently_failed) AND tip <> '` + m.Server.Record(10).Tip + `'`); n != "0" {
		t.Errorf("%s records were counted against", n)
	}
	if n := m.Server.Stats().Requests; n > 10+60+10+2*8+3+2 {
		t.Errorf("%d requests", n)
	}
}

func TestOneAttachmentThatIsAlways401IsItsOwnFault(t *testing.T) {
	t.Parallel()
	m := mirrored(t, batchtest.PhotoWorld(20, 2), 8)
	m.Server.AddFault(apitest.Fault{Status: 401, Tips: []string{m.Server.Record(9).Attachments[1].Tip}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Partial != 1 || s.Complete != 11 {
		t.Errorf("summary %+v", s)
	}
	if n := retryCount(m, 9); n != "1" {
		t.Errorf("retry count %s", n)
	}
	ends(m, 19, 1, 0)
}

func TestAWrongPathIsToldInOneLine(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(300), 10)
	before := m.Server.Stats().Requests
	m.Server.AddFault(apitest.Fault{Status: 404})
	_, err := m.TryRun(process.Options{UntilEmpty: true})
	if !errors.Is(err, gate.ErrAPIUnavailable) || !strings.Contains(err.Error(), "base_url") {
		t.Errorf("error %v", err)
	}
	nothingCounted(m)
	if n := m.Server.Stats().Requests - before; n > 80 {
		t.Errorf("%d requests", n)
	}
}

func TestALoneMissingRecordIsGivenUp(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(6), 5)
	m.Server.AddFault(apitest.Fault{Status: 404, Tips: tipsFrom(m, 5, 6)})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.PermanentlyFailed != 1 {
		t.Errorf("summary %+v", s)
	}
	ends(m, 5, 1, 1)
	asked := map[string]bool{}
	for _, e := range m.Server.Log() {
		if strings.HasSuffix(e.Path, m.Server.Record(5).Tip) {
			asked[e.Path] = true
		}
	}
	if len(asked) != len(m.Types.All()) {
		t.Errorf("asked under %d forms, there are %d", len(asked), len(m.Types.All()))
	}
}

// TestNotFoundThatPassesGivesNothingUp has the API answer 404 for new records under every
// form, and serve them by the time that the witness is asked.
func TestNotFoundThatPassesGivesNothingUp(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(8), 5)
	m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnRecord, Tips: tipsFrom(m, 5, 8), FirstHits: len(m.Types.All())})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.APIFailed != 3 {
		t.Errorf("summary %+v", s)
	}
	nothingCounted(m)
	m.Execute(`UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE next_retry_at IS NOT NULL`)
	m.MustRun(process.Options{UntilEmpty: true})
	ends(m, 8, 0, 0)
}

// TestRecordsThatWaitForAProbeDoNotKeepTheQueueStill has the places of a run taken by
// records that failed before, while a half-open circuit waits for new ones; or its batch has
// no more of these.
func TestRecordsThatWaitForAProbeDoNotKeepTheQueueStill(t *testing.T) {
	t.Parallel()
	for name, complete := range map[string]int{"all of them": 50, "a batch": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mirrored(t, plainWorld(60), 10)
			m.Processing.Concurrency = 1
			tips := tipsFrom(m, 10, 60)
			slices.Sort(tips)
			for _, tip := range tips[:3] {
				m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', retry_count = 1, failing_since = now(), next_retry_at = now() WHERE tip = '` + tip + `'`)
			}
			m.Execute(`UPDATE noggin_schema.circuit SET state = 'half_open'`)
			opts := process.Options{Selector: storage.Selector{Tips: tips}, MaxTime: 30 * time.Second}
			if name == "a batch" {
				opts.Selector, opts.Batch = storage.Selector{}, complete
			}
			if s := m.MustRun(opts); s.Complete != complete || s.Stopped != "" {
				t.Errorf("summary %+v", s)
			}
			if name != "a batch" {
				ends(m, 60, 0, 0)
			}
		})
	}
}

func TestADeletedWitnessIsReplaced(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(12), 10)
	last := m.Value(`SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ORDER BY updated_at DESC LIMIT 1`)
	m.Server.AddFault(apitest.Fault{Status: 404, Tips: []string{last}})
	m.Server.AddFault(apitest.Fault{Status: 500, Tips: tipsFrom(m, 11, 12)})
	m.Execute(`UPDATE noggin_schema.noggin_data SET updated_at = now() + interval '1 minute' WHERE tip = '` + last + `'`)
	m.MustRun(process.Options{UntilEmpty: true})
	if n := retryCount(m, 11); n != "1" {
		t.Errorf("retry count %s: the witness did not answer", n)
	}
	log := m.Server.Log()
	if n := len(log); log[n-2].Status != 404 || log[n-1].Status != 200 {
		t.Errorf("the last requests: %+v", log[n-2:])
	}
}

func TestARecordIsFoundUnderItsTrueForm(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 8, Forms: []string{"SO"}, Photos: apitest.None, Log: true})
	queueFrom(m, 0, 7)
	m.MustRun(process.Options{UntilEmpty: true})
	if _, err := m.DB.EnsureRecords(t.Context(), tipsFrom(m, 7, 8), "LCD", false); err != nil {
		t.Fatal(err)
	}
	m.MustRun(process.Options{UntilEmpty: true})
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE object_type = 'SO' AND processing_status = 'complete'`); n != "8" {
		t.Errorf("%s of 8 found", n)
	}
	if !strings.Contains(m.Logged.String(), "of another form than the export says") {
		t.Error("no warning")
	}
}

func TestAHostWithoutNetworkHasNoVote(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(100), 10)
	m.Server.AddFault(apitest.Fault{Kind: "reset"})
	m.Execute(`UPDATE noggin_schema.circuit SET answered = jsonb_build_object('another-host', now() + interval '10 minutes')`)
	_, err := m.TryRun(process.Options{UntilEmpty: true})
	if !errors.Is(err, gate.ErrAPIUnavailable) || !strings.Contains(err.Error(), "network of this host") {
		t.Errorf("error %v", err)
	}
	if got := m.Value(`SELECT state || ' ' || length(replace(recent, '0', '')) FROM noggin_schema.circuit`); got != "closed 0" {
		t.Errorf("circuit and failures: %s", got)
	}
	nothingCounted(m)
}

func TestTheQuestionOfADeadRunIsAskedByAnother(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(100), 10)
	m.Server.AddFault(apitest.Fault{Status: 503})
	m.Execute(`UPDATE noggin_schema.circuit SET recent = repeat('1', 20), question_run = 4711, question_until = now() + interval '2 seconds'`)
	before := m.Server.Stats().Requests
	started := time.Now()
	if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(started); took < 1500*time.Millisecond {
		t.Errorf("it asked after %s, while the other run did", took)
	}
	if n := m.Server.Stats().Requests - before; n > 8+3 {
		t.Errorf("%d requests went out during the question", n)
	}
	nothingCounted(m)
	if got := m.Value(`SELECT state FROM noggin_schema.circuit`); got != "open" {
		t.Errorf("the circuit is %s", got)
	}
}

func TestTwoRunsAskOnce(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(200), 10)
	m.Server.AddFault(apitest.Fault{Status: 503, Delay: 20 * time.Millisecond})
	known := map[string]bool{}
	for _, tip := range tipsFrom(m, 0, 10) {
		known[tip] = true
	}
	for _, err := range inTwoRuns(m) {
		if !errors.Is(err, gate.ErrAPIUnavailable) {
			t.Errorf("error %v", err)
		}
	}
	asked := 0
	for _, e := range m.Server.Log() {
		if e.Status == 503 && known[e.Path[strings.LastIndex(e.Path, "/")+1:]] {
			asked++
		}
	}
	if asked > 2*3 {
		t.Errorf("the witness was asked %d times", asked)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.circuit_transitions WHERE to_state = 'open'`); n != "1" {
		t.Errorf("opened %s times", n)
	}
	nothingCounted(m)
}

func TestAnswersBeyondMeasureAreStored(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(7), 3)
	refs := func(n int, format string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(format, i)
		}
		return `["` + strings.Join(list, `","`) + `"]`
	}
	longID := strings.Repeat("LCD - 1 ", 700)
	tips := tipsFrom(m, 3, 7)
	var words strings.Builder // more of them than PostgreSQL can search
	for i := range 6000 {
		fmt.Fprintf(&words, "%s%d ", strings.Repeat("w", 180), i)
	}
	m.Server.AddFault(apitest.Fault{Kind: "set", Field: "comments", Value: words.String(), Tips: tips[3:], On: apitest.OnRecord})
	m.Server.AddFault(apitest.Fault{Kind: "hostile-id", Value: longID, Tips: tips[:1], On: apitest.OnRecord})
	m.Server.AddFault(apitest.Fault{Kind: "set", Field: "attachments", Value: refs(40_000, "/media/file?tip=no tip %d"), Tips: tips[1:2], On: apitest.OnRecord})
	m.Server.AddFault(apitest.Fault{Kind: "set", Field: "attachments", Value: refs(600, "/media/file?ns="+strings.Repeat("ab", 32)+"&size=big&tip=none%d"), Tips: tips[2:3], On: apitest.OnRecord})
	logged := strings.Count(m.Logged.String(), "\n")
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.Complete != 2 || s.Failed != 2 {
		t.Errorf("summary %+v", s)
	}
	if t.Failed() {
		t.Log(m.Value(`SELECT string_agg(left(last_error_message, 300), ' | ') FROM noggin_schema.noggin_data`))
	}
	stored := m.Value(`SELECT length(inspection_id) || ' ' || (payload->>'lcdInspectionId' = '` + strings.TrimSpace(longID) + `' OR payload->>'lcdInspectionId' = '` + longID + `') FROM noggin_schema.noggin_data WHERE tip = '` + tips[0] + `'`)
	if stored != "199 true" {
		t.Errorf("length of the id, and whether the answer has it whole: %s", stored)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.attachments WHERE record_tip = '` + tips[1] + `'`); n != "40000" {
		t.Errorf("%s references are listed", n)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE tip = '` + tips[1] + `'`); n != "1" {
		t.Errorf("%s errors for references that cannot be used", n)
	}
	if n := m.MediaRequests(); n != 600 {
		t.Errorf("%d references with an extra parameter were asked for", n)
	}
	if n := strings.Count(m.Logged.String(), "unusable") + strings.Count(m.Logged.String(), "without a usable tip"); n > 2 {
		t.Errorf("%d log lines about unusable references (%d lines before)", n, logged)
	}
}

func TestAMissingRightStopsARunBeforeItTouchesARecord(t *testing.T) {
	t.Parallel()
	m := mirrored(t, plainWorld(20), 5)
	m.Execute(`CREATE ROLE clerk_` + m.Value(`SELECT current_database()`) + ` LOGIN PASSWORD 'x'`)
	role := "clerk_" + m.Value(`SELECT current_database()`)
	m.Execute(`GRANT USAGE ON SCHEMA noggin_schema TO ` + role + `; GRANT ALL ON ALL TABLES IN SCHEMA noggin_schema TO ` + role + `;
		REVOKE INSERT ON noggin_schema.processing_errors FROM ` + role)
	cfg := storage.DefaultConfig()
	cfg.URL = asRole(t, m.URL, role)
	db, err := storage.Open(cfg, "process")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	m.DB = db
	before := m.Server.Stats().Requests
	_, err = m.TryRun(process.Options{UntilEmpty: true})
	if !errors.Is(err, storage.ErrNoRight) || !strings.Contains(err.Error(), "GRANT INSERT ON") || !strings.Contains(err.Error(), "processing_errors") {
		t.Errorf("error %v", err)
	}
	if n := m.Server.Stats().Requests - before; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE crash_count > 0 OR claimed_by IS NOT NULL OR processing_status NOT IN ('pending', 'complete')`); n != "0" {
		t.Errorf("%s records were touched", n)
	}
}
