package process_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// Answers without times and sids do not tell their order.
func TestTheReportOfALaterVersionIsKeptWhenAFormerOneIsCurrentAgain(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(1))
	for _, job := range []string{"J-1", "J-2", "J-1"} {
		m.Server.SetFaults(apitest.Fault{Kind: "body", On: apitest.OnRecord, Value: fmt.Sprintf(
			`{"$meta": {"tip": "%s"}, "lcdInspectionId": "LCD - 000001", "date": "2025-08-20", "jobNumber": "%s"}`, m.Server.Record(0).Tip, job)})
		if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 {
			t.Errorf("summary %+v\n%s", s, m.Logged)
		}
	}
	if state := m.Value(recordState); state != "complete v1 0 f t" {
		t.Fatalf("the record is %s", state)
	}
	for _, former := range m.FilesEnding(".v2.txt") {
		if text, err := os.ReadFile(former); err == nil && strings.Contains(string(text), "J-2") {
			return
		}
	}
	t.Errorf("no file has the answers of version 2\n%s", m.Logged)
}

// A run is frozen while it downloads. Another one takes the record over and mirrors a later
// version; then the first one goes on.
func TestTheReportOfARunThatLostItsClaimDoesNotStay(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	tip := m.Server.Record(0).Tip
	m.Server.Edit(tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-2"}, Add: []string{"attachments"}})
	held := make(chan struct{})
	m.Server.AddFault(apitest.Fault{Kind: "delay", On: apitest.OnMedia, Held: held, Until: 2}) // the frozen run's second request
	m.Server.ResetStats()
	frozen := make(chan process.Summary)
	go func() {
		s, err := m.Run(t.Context(), process.Options{Selector: m.Only(0)})
		if err != nil {
			t.Error(err)
		}
		frozen <- s
	}()
	for m.MediaRequests() == 0 {
		time.Sleep(time.Millisecond)
	}
	m.Execute(`UPDATE noggin_schema.noggin_data SET claim_expires_at = now() - interval '1 second'`)
	m.Server.Edit(tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-3"}})
	if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Changed != 1 || s.Complete != 1 {
		t.Errorf("the new owner: %+v\n%s", s, m.Logged)
	}
	close(held)
	if s := <-frozen; s.Lost != 1 {
		t.Errorf("the frozen run: %+v\n%s", s, m.Logged)
	}
	at, recorded := m.Value(`SELECT report_path FROM noggin_schema.noggin_data`), m.Value(`SELECT report_hash_sha256 FROM noggin_schema.noggin_data`)
	if sum, err := batchtest.HashFile(filepath.Join(m.Output, at)); err != nil || sum != recorded {
		t.Errorf("the text report is not the recorded one: %v\n%s", err, m.Logged)
	}
	if state := m.Value(recordState); !strings.HasPrefix(state, "complete v3 ") {
		t.Errorf("the record is %s", state)
	}
}

// No run writes the report of such a record again, so that somebody has to be told.
func TestTheReportOfALostClaimIsToldWhereNobodyFinishesTheRecord(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	record := m.Server.Record(0)
	removed := record.Attachments[1].Tip
	m.Server.AddFault(apitest.Fault{Status: 503, On: apitest.OnMedia, Tips: []string{removed}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Partial != 1 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	m.Server.Edit(record.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-2"}, Remove: []string{removed}})
	held := make(chan struct{})
	m.Server.SetFaults(apitest.Fault{Kind: "delay", On: apitest.OnMedia, Held: held})
	m.Server.ResetStats()
	ended := make(chan process.Summary)
	go func() {
		s, err := m.Run(t.Context(), process.Options{Selector: m.Only(0)})
		if err != nil {
			t.Error(err)
		}
		ended <- s
	}()
	for m.MediaRequests() == 0 { // the report is written, and what the edit removed is fetched
		time.Sleep(time.Millisecond)
	}
	m.Query(`UPDATE noggin_schema.noggin_data SET processing_status = 'skipped'`, nil)
	close(held)
	if s := <-ended; s.Lost != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if !strings.Contains(m.Logged.String(), "the text report may be of another version than the record") {
		t.Errorf("nobody is told\n%s", m.Logged)
	}
}
