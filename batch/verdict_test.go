package batch

import (
	"errors"
	"strings"
	"testing"

	"noggin/api/apitest"
)

func TestRejectedCredentialsStopEverythingInFlightApart(t *testing.T) {
	t.Parallel()
	for status, limit := range map[int]int64{401: 4, 403: 10 + 4} {
		m := newQueue(t, plainWorld(60))
		m.Config.Processing.Concurrency = 4
		m.server.AddFault(apitest.Fault{Status: status})
		if _, err := m.run(ProcessOptions{UntilEmpty: true}); !errors.Is(err, ErrCredentials) {
			t.Errorf("%d: error %v", status, err)
		}
		if n := m.server.Stats().Requests; n > limit {
			t.Errorf("%d requests after a %d", n, status)
		}
		m.nothingCounted()
	}
}

func TestASingleForbiddenRecordIsGivenUp(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(12))
	m.server.AddFault(apitest.Fault{Status: 403, Tips: []string{m.server.Record(3).Tip}})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 11 || s.PermanentlyFailed != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestABadRecordAmongGoodOnesIsGivenUpAfterItsAttempts(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(12))
	m.Config.Retry.MaxAttempts = 3
	bad := m.server.Record(0).Tip
	m.server.AddFault(apitest.Fault{Status: 500, Tips: []string{bad}})
	for attempt := range 3 {
		if attempt > 0 { // others keep coming
			m.execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending' WHERE tip = '` + m.server.Record(attempt).Tip + `'`)
		}
		m.makeDue()
		s := m.mustRun(ProcessOptions{UntilEmpty: true})
		if given := s.PermanentlyFailed; (given == 1) != (attempt == 2) {
			t.Errorf("attempt %d: %d given up", attempt+1, given)
		}
	}
	// Alone it could be the API: then nothing is counted.
	m.execute(`UPDATE noggin_schema.noggin_data SET permanently_failed = false, next_retry_at = now() WHERE tip = '` + bad + `'`)
	m.mustRun(ProcessOptions{UntilEmpty: true})
	if n := m.value(`SELECT retry_count FROM noggin_schema.noggin_data WHERE tip = '` + bad + `'`); n != "3" {
		t.Errorf("retry count %s", n)
	}
}

func TestBrokenAnswersAreKeptAsAnExcerptWithoutSecrets(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(8))
	kinds := []string{"html", "malformed", "wrong-tip", "no-tip", "empty-object", "array", "cut", "body"}
	for i, kind := range kinds {
		f := apitest.Fault{Kind: kind, Tips: []string{m.server.Record(i).Tip}, On: apitest.OnRecord}
		if kind == "body" {
			f.Value = "<html>" + m.server.Token() + strings.Repeat("é\x00", 4000)
		}
		m.server.AddFault(f)
	}
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.APIFailed != len(kinds) {
		t.Errorf("summary %+v", s)
	}
	m.nothingCounted()
	if n := m.value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE octet_length(error_details->>'excerpt') BETWEEN 1 AND 2048`); n != "8" && n != "7" { // of a cut body nothing may be left
		t.Errorf("%s excerpts", n)
	}
	for what, text := range map[string]string{
		"the database": m.value(`SELECT string_agg(error_message || coalesce(error_details::text, ''), ' ') FROM noggin_schema.processing_errors`),
		"the log":      m.log.String(),
	} {
		if strings.Contains(text, m.server.Token()) {
			t.Errorf("the token is in %s", what)
		}
	}
}

func TestPhotographsThatNobodyServesAreNotTheRecordsFault(t *testing.T) {
	t.Parallel()
	m := newQueue(t, apitest.Options{Records: 6, Forms: []string{"LCD"}, Photos: apitest.Fixed(2)})
	m.server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Failed != 6 {
		t.Errorf("summary %+v", s)
	}
	m.nothingCounted()
	m.server.SetFaults(apitest.Fault{Status: 404, On: apitest.OnMedia, Tips: []string{m.server.Record(0).Attachments[0].Tip}})
	m.makeDue()
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 5 || s.Partial != 1 {
		t.Errorf("summary %+v", s)
	}
	if n := m.value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count = 1`); n != "1" {
		t.Errorf("%s records were counted against, want the one alone", n)
	}
}

func TestATipOfAnAssumedFormIsTriedAsTheOthers(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 1, Forms: []string{"SO"}, Photos: apitest.None, Log: true})
	tip := m.server.Record(0).Tip
	if _, err := m.DB.EnsureRecords(t.Context(), []string{tip}, "LCD", true); err != nil {
		t.Fatal(err)
	}
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("summary %+v", s)
	}
	if form := m.value(`SELECT object_type || object_type_assumed FROM noggin_schema.noggin_data`); form != "SOfalse" {
		t.Errorf("form %s", form)
	}
}
