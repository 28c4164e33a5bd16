package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/gate"
	"noggin/batch/process"
	"noggin/storage"
)

func TestRejectedCredentialsStopEverythingInFlightApart(t *testing.T) {
	t.Parallel()
	for status, limit := range map[int]int64{401: 4, 403: 10 + 4} {
		m := batchtest.NewQueue(t, plainWorld(60))
		m.Processing.Concurrency = 4
		m.Server.AddFault(apitest.Fault{Status: status})
		if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, gate.ErrCredentials) {
			t.Errorf("%d: error %v", status, err)
		}
		if n := m.Server.Stats().Requests; n > limit {
			t.Errorf("%d requests after a %d", n, status)
		}
		nothingCounted(m)
	}
}

// retryCount returns how often a record's failures were counted.
func retryCount(m *batchtest.Mirror, index int) string {
	m.T.Helper()
	return m.Value(`SELECT retry_count FROM noggin_schema.noggin_data WHERE tip = '` + m.Server.Record(index).Tip + `'`)
}

// failsForADay lets a day pass for records that fail.
func failsForADay(m *batchtest.Mirror) {
	m.T.Helper()
	m.Execute(`UPDATE noggin_schema.noggin_data SET first_failed_at = first_failed_at - interval '1 day'`)
}

func TestASingleForbiddenRecordIsCountedLikeAFailureThatPasses(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(12))
	m.Server.AddFault(apitest.Fault{Status: 403, Tips: []string{m.Server.Record(3).Tip}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 11 || s.PermanentlyFailed != 0 {
		t.Errorf("summary %+v", s)
	}
	if n := retryCount(m, 3); n != "1" {
		t.Errorf("retry count %s", n)
	}
}

func TestARecordIsGivenUpAfterItsAttemptsAndItsTime(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(12))
	m.Retry.MaxAttempts = 3
	m.Server.AddFault(apitest.Fault{Status: 500, Tips: []string{m.Server.Record(0).Tip}})
	for attempt := range 5 {
		if attempt == 4 {
			failsForADay(m)
		}
		m.MakeDue()
		s := m.MustRun(process.Options{UntilEmpty: true})
		if given := s.PermanentlyFailed; (given == 1) != (attempt == 4) {
			t.Errorf("attempt %d: %d given up", attempt+1, given)
		}
	}
	if n := retryCount(m, 0); n != "5" {
		t.Errorf("retry count %s: each run asks the witness", n)
	}
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending', retry_count = 0, permanently_failed = false WHERE permanently_failed`)
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE first_failed_at IS NOT NULL OR failing_since IS NOT NULL`); n != "0" {
		t.Error("the manual's UPDATE leaves the time of the first failure")
	}
}

func TestBrokenAnswersAreKeptAsAnExcerptWithoutSecrets(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(8))
	kinds := []string{"html", "malformed", "wrong-tip", "no-tip", "empty-object", "array", "cut", "body"}
	for i, kind := range kinds {
		f := apitest.Fault{Kind: kind, Tips: []string{m.Server.Record(i).Tip}, On: apitest.OnRecord}
		if kind == "body" {
			f.Value = "<html>" + m.Server.Token() + strings.Repeat("é\x00", 4000)
		}
		m.Server.AddFault(f)
	}
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.APIFailed != len(kinds) {
		t.Errorf("summary %+v", s)
	}
	nothingCounted(m)
	if n := m.Value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE octet_length(error_details->>'excerpt') BETWEEN 1 AND 2048`); n != "8" && n != "7" { // of a cut body nothing may be left
		t.Errorf("%s excerpts", n)
	}
	for what, text := range map[string]string{
		"the database": m.Value(`SELECT string_agg(error_message || coalesce(error_details::text, ''), ' ') FROM noggin_schema.processing_errors`),
		"the log":      m.Logged.String(),
	} {
		if strings.Contains(text, m.Server.Token()) {
			t.Errorf("the token is in %s", what)
		}
	}
}

func TestPhotographsThatNobodyServesAreNotTheRecordsFault(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, apitest.Options{Records: 6, Forms: []string{"LCD"}, Photos: apitest.Fixed(2)})
	m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != 6 {
		t.Errorf("summary %+v", s)
	}
	nothingCounted(m)
	m.Server.SetFaults(apitest.Fault{Status: 404, On: apitest.OnMedia, Tips: []string{m.Server.Record(0).Attachments[0].Tip}})
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 5 || s.Partial != 1 {
		t.Errorf("summary %+v", s)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count = 1`); n != "1" {
		t.Errorf("%s records were counted against, want the one alone", n)
	}
}

func TestATipOfAnAssumedFormIsTriedAsTheOthers(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1, Forms: []string{"SO"}, Photos: apitest.None, Log: true})
	tip := m.Server.Record(0).Tip
	if _, err := m.DB.EnsureRecords(t.Context(), []string{tip}, "LCD", true); err != nil {
		t.Fatal(err)
	}
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("summary %+v", s)
	}
	if form := m.Value(`SELECT object_type || object_type_assumed FROM noggin_schema.noggin_data`); form != "SOfalse" {
		t.Errorf("form %s", form)
	}
}

// onMessage calls a function with each message before the run goes on.
type onMessage struct {
	slog.Handler
	call func(message string)
}

func (h onMessage) Handle(ctx context.Context, r slog.Record) error {
	h.call(r.Message)
	return h.Handler.Handle(ctx, r)
}

func TestAFileWhoseFolderCouldNotBeFlushedIsNotRecorded(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	m.MustRun(process.Options{UntilEmpty: true})
	const recorded = `SELECT file_path FROM noggin_schema.attachments`
	before := m.Value(recorded)
	// Another file has the name, so the photograph gets a new one. Its folder is gone then.
	batchtest.Must(t, os.WriteFile(filepath.Join(m.Output, before), []byte("another"), 0o600))
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'interrupted', next_retry_at = now()`)
	removed, when := false, "another file has this attachment's name"
	m.Log = slog.New(onMessage{m.Log.Handler(), func(message string) {
		if strings.HasPrefix(message, when) {
			removed = true
			batchtest.Must(t, os.RemoveAll(filepath.Join(m.Output, strings.Split(before, "/")[0])))
		}
	}})
	if _, err := m.TryRun(process.Options{UntilEmpty: true}); !files.IsDiskError(err) || !removed {
		t.Errorf("error %v, the folder was removed: %v", err, removed)
	}
	if after := m.Value(recorded); after != before {
		t.Errorf("%s is recorded, which is not on disk", after)
	}
	// Now the report of a former version, suspect bytes, and an attachment that only a former
	// version names are in the folder.
	record := m.Server.Record(0)
	dropped := m.Server.Edit(record.Tip, apitest.Edit{Add: []string{"attachments"}}).Attachments[1].Tip
	m.MakeDue()
	if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	batchtest.Must(t, os.Remove(filepath.Join(m.Output, m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_tip = '`+dropped+`'`))))
	m.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'failed', file_path = NULL, file_hash_sha256 = NULL WHERE attachment_tip = '` + dropped + `'`)
	m.Server.Edit(record.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-77"}, Remove: []string{dropped}})
	m.Server.AddFault(apitest.Fault{Kind: "cut-picture", Tips: []string{record.Attachments[0].Tip}})
	removed, when = false, "an attachment of a former version is kept"
	if _, err := m.TryRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); !files.IsDiskError(err) || !removed {
		t.Errorf("error %v, the folder was removed: %v\n%s", err, removed, m.Logged)
	}
	if former := m.Value(`SELECT coalesce(string_agg(kind || ' ' || path, ', ' ORDER BY kind), '') FROM noggin_schema.former_files`); former != "" {
		t.Errorf("%s are recorded, which are not on disk", former)
	}
}

// A form that did not answer may be the record's: the others are asked again.
func TestAFormThatFailsIsNotRuledOut(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 8, Forms: []string{"SO"}, Photos: apitest.None, Log: true})
	m.API.MaxRetries = 0
	queueFrom(m, 0, 7)
	m.MustRun(process.Options{UntilEmpty: true})
	if _, err := m.DB.EnsureRecords(t.Context(), tipsFrom(m, 7, 8), "LCD", false); err != nil {
		t.Fatal(err)
	}
	m.Server.AddFault(apitest.Fault{Status: 503, From: 2, Tips: tipsFrom(m, 7, 8)}) // behind the 404 of the form that was named
	m.MustRun(process.Options{UntilEmpty: true})
	if status := m.Value(`SELECT processing_status FROM noggin_schema.noggin_data WHERE object_type = 'LCD'`); status != "api_failed" {
		t.Errorf("the record is %s", status)
	}
	m.Server.ClearFaults()
	m.MakeDue()
	m.MustRun(process.Options{UntilEmpty: true})
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE object_type = 'SO' AND processing_status = 'complete'`); n != "8" {
		t.Errorf("%s of 8 found", n)
	}
}

// wronglyAssumed is a mirror with complete records of two forms. A record of form SO
// waits, of which it is assumed that it is of form LCD. Its first request is for that form,
// the fifth for its own.
func wronglyAssumed(t *testing.T) (m *batchtest.Mirror, tip string) {
	t.Helper()
	m = batchtest.NewMirror(t, apitest.Options{Records: 12, Forms: []string{"LCD", "SO"}, Photos: apitest.None, Log: true})
	m.API.MaxRetries = 0
	for record := range m.Server.Records() {
		if record.Code == "SO" && tip == "" {
			tip = record.Tip
		} else if _, err := m.DB.EnsureRecords(t.Context(), []string{record.Tip}, record.Code, false); err != nil {
			t.Fatal(err)
		}
	}
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 11 {
		t.Fatalf("summary %+v", s)
	}
	if _, err := m.DB.EnsureRecords(t.Context(), []string{tip}, "LCD", true); err != nil {
		t.Fatal(err)
	}
	return m, tip
}

// foundAsSO checks that the next run finds the record of wronglyAssumed.
func foundAsSO(m *batchtest.Mirror, tip string) {
	m.T.Helper()
	m.Server.ClearFaults()
	m.MakeDue()
	m.MustRun(process.Options{UntilEmpty: true})
	if got := m.Value(`SELECT object_type || ' ' || processing_status FROM noggin_schema.noggin_data WHERE tip = '` + tip + `'`); got != "SO complete" {
		m.T.Errorf("the record is %s", got)
	}
}

func TestAnOutageOf404sRulesNoFormOut(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]apitest.Fault{
		"outage that outlives the run":        {Status: 404, On: apitest.OnRecord},
		"outage that ends before the witness": {Status: 404, Until: 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, tip := wronglyAssumed(t)
			m.Server.AddFault(fault)
			if _, err := m.TryRun(process.Options{UntilEmpty: true}); err != nil && !errors.Is(err, gate.ErrAPIUnavailable) {
				t.Errorf("error %v", err)
			}
			nothingCounted(m)
			foundAsSO(m, tip)
		})
	}
}

// The token may have no right to another form.
func TestAFormThatFailsHidesNoOther(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{403: "SO complete 0", 503: "SO complete 0", 429: "LCD api_failed 0"} {
		m, tip := wronglyAssumed(t)
		m.Server.AddFault(apitest.Fault{Status: status, RetryAfter: "1", From: 2, Until: 2}) // the first that is tried
		m.MustRun(process.Options{UntilEmpty: true})
		if got := m.Value(`SELECT concat_ws(' ', object_type, processing_status, retry_count) FROM noggin_schema.noggin_data WHERE tip = '` + tip + `'`); got != want {
			t.Errorf("%d: the record is %s, want %s", status, got, want)
		}
		foundAsSO(m, tip)
	}
}

func TestARecordWhoseFormFailsHasADay(t *testing.T) {
	t.Parallel()
	m, tip := wronglyAssumed(t)
	for attempt := 1; attempt <= m.Retry.MaxAttempts+1; attempt++ {
		m.Server.SetFaults(apitest.Fault{Status: 503, From: 5, Until: 5})
		m.MakeDue()
		m.MustRun(process.Options{UntilEmpty: true})
		want := fmt.Sprintf("api_failed %d f", attempt)
		if got := m.Value(`SELECT concat_ws(' ', processing_status, retry_count, permanently_failed) FROM noggin_schema.noggin_data WHERE tip = '` + tip + `'`); got != want {
			t.Fatalf("the record is %s, want %s", got, want)
		}
	}
	foundAsSO(m, tip)
}

func TestARecordThatWasGivenUpIsLookedForUnderEveryFormAgain(t *testing.T) {
	t.Parallel()
	m, tip := wronglyAssumed(t)
	m.Server.AddFault(apitest.Fault{Status: 404, Tips: []string{tip}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.PermanentlyFailed != 1 {
		t.Errorf("summary %+v", s)
	}
	if n, err := m.DB.ResetForRetry(t.Context(), 1, storage.Selector{Tips: []string{tip}}); n != 1 || err != nil {
		t.Errorf("%d reset, error %v", n, err)
	}
	foundAsSO(m, tip)
}
