package process_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

const formerAttachments = `SELECT coalesce(string_agg(concat_ws(' ', kind, attachment_tip, 'number', attachment_sequence, field_name, validation, content_type,
	'v' || first_version || '-' || last_version), ', '), '') FROM noggin_schema.former_files WHERE kind <> 'report'`

// oldest makes a complete record whose second photograph was removed before noggin first
// asked. It returns the tips of the record and of the photograph.
func oldest(t *testing.T) (m *batchtest.Mirror, tip, removed string) {
	t.Helper()
	m = batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.Refresh = process.DefaultRefresh()
	record := m.Server.Record(0)
	tip, removed = record.Tip, record.Attachments[1].Tip
	m.Server.Edit(tip, apitest.Edit{Remove: []string{removed}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsDownloaded != 1 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	return m, tip, removed
}

// kept checks that the photograph is a former file that is what the platform served, sealed
// and copied like the others.
func kept(t *testing.T, m *batchtest.Mirror, removed, version string) {
	t.Helper()
	if got, want := m.Value(formerAttachments), "attachment "+removed+" number 2 attachments valid image/jpeg v"+version; got != want {
		t.Errorf("the former attachments are %q, want %q\n%s", got, want, m.Logged)
	}
	if sum := m.Value(`SELECT coalesce(max(hash_sha256), '') FROM noggin_schema.former_files WHERE kind = 'attachment'`); sum != m.Server.MediaSHA256(removed) {
		t.Errorf("the former attachment has SHA-256 %s, want %s", sum, m.Server.MediaSHA256(removed))
	}
	if due := m.Value(`SELECT count(*) FROM noggin_schema.seal_due`); due != "1" {
		t.Errorf("%s records are to be sealed", due)
	}
}

func TestAnAttachmentThatOnlyAnOlderAnswerNamesIsKept(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]struct {
		due  func(m *batchtest.Mirror)
		opts func(m *batchtest.Mirror) process.Options
	}{
		"at a refresh": {func(m *batchtest.Mirror) { m.PassDays("2") }, func(*batchtest.Mirror) process.Options { return process.Options{UntilEmpty: true} }},
		"when an operator asks": {func(*batchtest.Mirror) {}, func(m *batchtest.Mirror) process.Options {
			return process.Options{Selector: m.Only(0)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, tip, removed := oldest(t)
			m.Server.AddFault(apitest.Fault{Kind: "stale"})
			m.Execute(`DELETE FROM noggin_schema.seal_due`)
			ask.due(m)
			if s := m.MustRun(ask.opts(m)); s.Older != 1 || s.Unsuccessful() != 0 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			kept(t, m, removed, "2-2")
			if n := m.Value(`SELECT count(*) FROM noggin_schema.attachments`); n != "1" {
				t.Errorf("%s current attachments", n)
			}
			if state := m.Value(recordState); !strings.HasPrefix(state, "complete v1 0 f t") {
				t.Errorf("the record is %s", state)
			}
			// It is asked for once, and comes back with its number and file.
			m.Server.ResetStats()
			m.PassDays("2")
			m.MustRun(process.Options{UntilEmpty: true})
			if n := m.MediaRequests(); n != 0 {
				t.Errorf("%d requests for what is there", n)
			}
			m.Server.ClearFaults()
			m.Server.Edit(tip, apitest.Edit{Add: []string{"attachments"}})
			if s := m.MustRun(process.Options{Refresh: true, UntilEmpty: true}); s.Changed != 1 || s.AttachmentsDownloaded != 1 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			if numbers := m.Value(`SELECT string_agg(attachment_sequence::text, ' ' ORDER BY attachment_sequence) FROM noggin_schema.attachments`); numbers != "1 3" {
				t.Errorf("the attachments have the numbers %s, want 1 3", numbers)
			}
		})
	}
}

// The API failed to give it when the older answer came, and then answers with the current
// version again.
func TestAnAttachmentOfAnOlderAnswerIsTriedAgainTheNextDay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault apitest.Fault
		later string // "": it is not asked for before its next step
	}{
		"a failure that passes": {apitest.Fault{Status: 503, On: apitest.OnMedia}, "2"},
		"a page":                {apitest.Fault{Kind: "html", On: apitest.OnMedia}, "2"},
		"not found":             {apitest.Fault{Status: 404, On: apitest.OnMedia}, "7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _, removed := oldest(t)
			m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnRecord, Until: 1}, test.fault)
			m.PassDays("2")
			if s := m.MustRun(process.Options{UntilEmpty: true}); s.Older != 1 || s.Unsuccessful() != 0 || (s.NotCompared == 1) != (test.later == "2") {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			if got := m.Value(formerAttachments); got != "" {
				t.Errorf("the former attachments are %s", got)
			}
			if n := m.Value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE attachment_tip = '` + removed + `'`); n == "0" {
				t.Error("nothing says that it failed")
			}
			m.Server.ClearFaults()
			m.Execute(`DELETE FROM noggin_schema.seal_due`)
			m.PassDays(test.later)
			if s := m.MustRun(process.Options{UntilEmpty: true}); s.Unchanged != 1 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			kept(t, m, removed, "2-2")
		})
	}
}

// It is suspect, though its content is that of a whole one: two downloads were not the same.
func TestASuspectAttachmentOfAnOlderAnswerThatReturnsIsCompared(t *testing.T) {
	t.Parallel()
	m, tip, removed := oldest(t)
	long := string(m.Server.Media(removed)) + strings.Repeat("video", 100)
	m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnRecord, Until: 1},
		apitest.Fault{Kind: "cut-close", On: apitest.OnMedia, Value: long, Keep: 0.99, FirstHits: 1}, apitest.Fault{Kind: "cut-close", On: apitest.OnMedia, Value: long, Keep: 1})
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.NotCompared != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	want := "suspect " + removed + " number 2 attachments valid image/jpeg v2-2"
	if got := m.Value(formerAttachments); got != want {
		t.Fatalf("the former attachments are %q, want %q\n%s", got, want, m.Logged)
	}
	m.Server.ClearFaults()
	var answer struct {
		Attachments []string `json:"attachments"`
	}
	batchtest.Must(t, json.Unmarshal(m.Server.Payload(tip), &answer))
	there := answer.Attachments[0]
	m.Server.Edit(tip, apitest.Edit{Set: map[string]any{"attachments": []string{there, strings.Replace(there, m.Server.Record(0).Attachments[0].Tip, removed, 1)}}})
	if s := m.MustRun(process.Options{Refresh: true, UntilEmpty: true}); s.Changed != 1 || s.Complete != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if sum := m.Value(`SELECT file_hash_sha256 FROM noggin_schema.attachments WHERE attachment_tip = '` + removed + `'`); sum != m.Server.MediaSHA256(removed) {
		t.Errorf("the attachment is not the one that is served\n%s", m.Logged)
	}
	if got := m.Value(formerAttachments); !strings.HasPrefix(got, "suspect "+removed) {
		t.Errorf("the former attachments are %q\n%s", got, m.Logged)
	}
}

// An attachment that failed, and that an edit then removed, is still evidence.
func TestAnAttachmentThatIsRemovedBeforeItCameIsKept(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.Refresh = process.DefaultRefresh()
	record := m.Server.Record(0)
	removed := record.Attachments[1].Tip
	m.Server.AddFault(apitest.Fault{Status: 503, On: apitest.OnMedia, Tips: []string{removed}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Partial != 1 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	m.Server.ClearFaults()
	m.Server.Edit(record.Tip, apitest.Edit{Remove: []string{removed}})
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	kept(t, m, removed, "1-1")
}

// The record is complete without it.
func TestAnAttachmentOfAFormerVersionThatDoesNotComeIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault   apitest.Fault
		refresh process.Refresh
		due     string
	}{
		"a failure that passes":              {apitest.Fault{Status: 503}, process.DefaultRefresh(), "true"},
		"a pause that the API asks for":      {apitest.Fault{Status: 429, RetryAfter: "1"}, process.DefaultRefresh(), "true"},
		"complete records are not asked for": {apitest.Fault{Status: 503}, process.Refresh{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
			m.Refresh = test.refresh
			record := m.Server.Record(0)
			removed := record.Attachments[1].Tip
			m.Server.AddFault(apitest.Fault{Status: 503, On: apitest.OnMedia, Tips: []string{removed}})
			m.MustRun(process.Options{UntilEmpty: true})
			test.fault.On, test.fault.Tips = apitest.OnMedia, []string{removed}
			m.Server.SetFaults(test.fault)
			m.Server.Edit(record.Tip, apitest.Edit{Remove: []string{removed}})
			m.MakeDue()
			if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.Unsuccessful() != 0 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			if due := m.Value(`SELECT coalesce((due_at < now() + interval '2 days')::text, '') FROM noggin_schema.refreshes`); due != test.due {
				t.Errorf("it is due the next day: %q, want %q", due, test.due)
			}
			m.Server.ClearFaults()
			if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			kept(t, m, removed, "1-1")
		})
	}
}

// Bytes that are not whole are evidence too. They end no asking for whole ones.
func TestABrokenAttachmentOfAnOlderAnswerIsKeptAsSuspectUntilAWholeOneComes(t *testing.T) {
	t.Parallel()
	m, _, removed := oldest(t)
	ask := func(opts process.Options, want string, faults ...apitest.Fault) {
		t.Helper()
		m.Server.SetFaults(faults...)
		if s := m.MustRun(opts); s.AskedAgain != 1 || s.Unsuccessful() != 0 {
			t.Errorf("summary %+v\n%s", s, m.Logged)
		}
		photographs, _ := filesOf(m)
		got := m.Value(`SELECT concat_ws(' ', count(*) FILTER (WHERE kind = 'suspect'), count(*) FILTER (WHERE kind = 'attachment'),
			(SELECT count(*) FROM noggin_schema.processing_errors WHERE attachment_tip = '` + removed + `' AND error_type = 'validation'),
			(SELECT due_at < now() + interval '2 days' FROM noggin_schema.refreshes)) FROM noggin_schema.former_files`)
		if got = fmt.Sprint(got, " ", len(photographs)); got != want {
			t.Errorf("suspect ones, whole ones, failures, due soon, files on disk: %s, want %s\n%s", got, want, m.Logged)
		}
	}
	due, tip := process.Options{UntilEmpty: true}, process.Options{Selector: m.Only(0)}
	m.PassDays("2")
	ask(due, "1 0 1 t 2", apitest.Fault{Kind: "stale", On: apitest.OnRecord}, apitest.Fault{Kind: "cut-picture"})
	if got, want := m.Value(formerAttachments), "suspect "+removed+" number 2 attachments validation_failed image/jpeg v2-2"; got != want {
		t.Errorf("the former attachments are %q, want %q\n%s", got, want, m.Logged)
	}
	m.PassDays("2")
	ask(due, "1 0 1 f 2", apitest.Fault{Kind: "cut-picture"}) // the same bytes
	ask(tip, "2 0 2 f 3", apitest.Fault{Kind: "cut-picture", Keep: 0.7})
	ask(tip, "2 1 2 f 4")
	if sum := m.Value(`SELECT hash_sha256 FROM noggin_schema.former_files WHERE kind = 'attachment'`); sum != m.Server.MediaSHA256(removed) {
		t.Errorf("the former attachment has SHA-256 %s, want %s", sum, m.Server.MediaSHA256(removed))
	}
	m.Server.ResetStats()
	ask(tip, "2 1 2 f 4")
	if n := m.MediaRequests(); n != 0 {
		t.Errorf("%d requests for what is there", n)
	}
}

// The file of a photograph is lost and an edit removes it before it came again. The platform
// still serves it: the file is back under its name.
func TestALostFileOfAnAttachmentThatIsRemovedComesBack(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	record := m.Server.Record(0)
	removed := record.Attachments[1].Tip
	at := m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_tip = '` + removed + `'`)
	batchtest.Must(t, os.Remove(filepath.Join(m.Output, at)))
	m.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'pending' WHERE attachment_tip = '` + removed + `';
		UPDATE noggin_schema.noggin_data SET processing_status = 'interrupted', next_retry_at = now(); DELETE FROM noggin_schema.seal_due`)
	m.Server.Edit(record.Tip, apitest.Edit{Remove: []string{removed}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.Unsuccessful() != 0 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	kept(t, m, removed, "1-1")
	if sum, err := batchtest.HashFile(filepath.Join(m.Output, at)); sum != m.Server.MediaSHA256(removed) {
		t.Errorf("%s has SHA-256 %q, %v", at, sum, err)
	}
	m.Server.ResetStats()
	m.PassDays("2")
	m.MustRun(process.Options{UntilEmpty: true})
	if n := m.MediaRequests(); n != 0 {
		t.Errorf("%d requests for what is there", n)
	}
}
