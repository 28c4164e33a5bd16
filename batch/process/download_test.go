package process_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// attachmentsOf is status and validation of every attachment, in order.
func attachmentsOf(m *batchtest.Mirror) string {
	m.T.Helper()
	return m.Value(`SELECT string_agg(attachment_status || ' ' || attachment_validation_status, ', ' ORDER BY record_tip, attachment_sequence) FROM noggin_schema.attachments`)
}

func TestACutPhotographIsKeptAsSuspectOnlyWhenALaterRunGetsTheSame(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	m.Server.AddFault(apitest.Fault{Kind: "cut-picture"})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != 1 {
		t.Errorf("summary %+v", s)
	}
	if kept, _ := filesOf(m); len(kept) > 0 {
		t.Errorf("kept at once: %v", kept)
	}
	// Other bytes are no confirmation.
	m.Server.SetFaults(apitest.Fault{Kind: "cut-picture", Keep: 0.7})
	m.MakeDue()
	m.MustRun(process.Options{UntilEmpty: true})
	if got := attachmentsOf(m); got != "failed validation_failed" {
		t.Errorf("after other bytes: %s", got)
	}
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("summary %+v", s)
	}
	if got := attachmentsOf(m); got != "complete suspect" {
		t.Errorf("after the same bytes: %s", got)
	}
	if kept, _ := filesOf(m); len(kept) != 1 {
		t.Errorf("kept: %v", kept)
	}
}

func TestWhatIsNoPhotographIsNeverKept(t *testing.T) {
	t.Parallel()
	faults := []apitest.Fault{
		{Kind: "html-picture"},
		{Kind: "html"},
		{Kind: "empty-picture"},
		{Kind: "cut-close"},
		{Kind: "cut"},
		{Kind: "endless"},
		{Kind: "huge", Size: 300_000},
		{Kind: "gzip-bomb", Size: 8 << 20},
		{Kind: "drip", Pause: 10 * time.Millisecond},
		{Kind: "hang-body"},
		{Kind: "redirect-loop"},
	}
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(len(faults), 1))
	m.API.MaxAttachmentBytes, m.API.Timeout = 100_000, time.Second
	for i, fault := range faults {
		fault.On, fault.Tips = apitest.OnMedia, []string{m.Server.Record(i).Tip}
		m.Server.AddFault(fault)
	}
	for range 2 {
		m.MakeDue()
		if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != len(faults) {
			t.Errorf("summary %+v", s)
		}
	}
	if kept, _ := filesOf(m); len(kept) > 0 {
		t.Errorf("kept: %v", kept)
	}
}

func TestOnlyWhatIsMissingIsFetchedAgain(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 3))
	broken := m.Server.Record(0).Attachments[1].Tip
	m.Server.AddFault(apitest.Fault{Status: 500, Tips: []string{broken}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Partial != 1 || s.AttachmentsDownloaded != 2 {
		t.Errorf("summary %+v", s)
	}
	m.Server.ClearFaults()
	m.Server.ResetStats()
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsDownloaded != 1 {
		t.Errorf("summary %+v", s)
	}
	for _, e := range m.Server.Log() {
		if e.Kind == apitest.OnMedia && e.Tip != broken {
			t.Errorf("fetched again: %s", e.Tip)
		}
	}
	// A file that was damaged on disk is.
	kept, _ := filesOf(m)
	if err := os.WriteFile(filepath.Join(m.Output, kept[0]), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := m.MustRun(process.Options{Selector: m.Only(0)})
	if s.Complete != 1 || s.AttachmentsDownloaded != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestTheSameAttachmentTwiceIsOneFile(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.Server.AddFault(apitest.Fault{Kind: "double-media"})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsDownloaded != 2 {
		t.Errorf("summary %+v", s)
	}
	m.CheckFiles()
}

func TestRecordsOfOneIDAndDayGetFoldersOfTheirOwn(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(12, 1))
	m.Server.AddFault(apitest.Fault{Kind: "repeated-id"})
	for _, err := range inTwoRuns(m) {
		if err != nil {
			t.Error(err)
		}
	}
	if n := m.Value(`SELECT count(DISTINCT folder) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`); n != "12" {
		t.Errorf("%s folders\n%s", n, m.Logged)
	}
	m.CheckFiles()
}

func TestThePauseIsBetweenTheAttachmentsOfARecord(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 3))
	m.Processing.AttachmentPause = 150 * time.Millisecond
	s := m.MustRun(process.Options{UntilEmpty: true})
	log := slices.DeleteFunc(m.Server.Log(), func(e apitest.Entry) bool { return e.Kind != apitest.OnMedia })
	for i := 1; i < len(log); i++ {
		if wait := log[i].Start.Sub(log[i-1].End); wait < 100*time.Millisecond {
			t.Errorf("attachment %d came %s after the one before it", i+1, wait)
		}
	}
	if s.Complete != 1 || len(log) != 3 {
		t.Errorf("%d requests, summary %+v", len(log), s)
	}
}

func TestARecordWithManyAttachmentsOpensFewFiles(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 120))
	m.Processing.Concurrency = 3
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.AttachmentsDownloaded != 120 {
		t.Errorf("summary %+v", s)
	}
	if peak := m.Server.Stats().Peak; peak > 3 {
		t.Errorf("%d requests in flight, 3 are allowed", peak)
	}
	m.CheckFiles()
}
