package batch

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
)

// photoWorld has n photographs in each record.
func photoWorld(records, n int) apitest.Options {
	return apitest.Options{
		Records: records, Forms: []string{"LCD"}, Photos: apitest.Fixed(n),
		MediaBytes: apitest.Range{Min: 2000, Max: 5000}, Log: true,
	}
}

// files are the photographs and reports on disk, relative to the output folder.
func (m *mirror) files() (photographs, reports []string) {
	m.t.Helper()
	root := os.DirFS(m.Config.Paths.Output)
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir() || path == MarkerName:
		case strings.HasSuffix(path, "_inspection_data.txt"):
			reports = append(reports, path)
		default:
			photographs = append(photographs, path)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return photographs, reports
}

// attachments is status and validation of every attachment, in order.
func (m *mirror) attachments() string {
	m.t.Helper()
	return m.value(`SELECT string_agg(attachment_status || ' ' || attachment_validation_status, ', ' ORDER BY record_tip, attachment_sequence) FROM noggin_schema.attachments`)
}

func TestACutPhotographIsKeptAsSuspectOnlyWhenALaterRunGetsTheSame(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(1, 1))
	m.server.AddFault(apitest.Fault{Kind: "cut-picture"})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Failed != 1 {
		t.Errorf("summary %+v", s)
	}
	if kept, _ := m.files(); len(kept) > 0 {
		t.Errorf("kept at once: %v", kept)
	}
	// Other bytes are no confirmation.
	m.server.SetFaults(apitest.Fault{Kind: "cut-picture", Keep: 0.7})
	m.makeDue()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	if got := m.attachments(); got != "failed validation_failed" {
		t.Errorf("after other bytes: %s", got)
	}
	m.makeDue()
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("summary %+v", s)
	}
	if got := m.attachments(); got != "complete suspect" {
		t.Errorf("after the same bytes: %s", got)
	}
	if kept, _ := m.files(); len(kept) != 1 {
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
	m := newQueue(t, photoWorld(len(faults), 1))
	m.API.MaxAttachmentBytes, m.API.Timeout = 100_000, time.Second
	for i, fault := range faults {
		fault.On, fault.Tips = apitest.OnMedia, []string{m.server.Record(i).Tip}
		m.server.AddFault(fault)
	}
	for range 2 {
		m.makeDue()
		if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Failed != len(faults) {
			t.Errorf("summary %+v", s)
		}
	}
	if kept, _ := m.files(); len(kept) > 0 {
		t.Errorf("kept: %v", kept)
	}
}

func TestOnlyWhatIsMissingIsFetchedAgain(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(1, 3))
	broken := m.server.Record(0).Attachments[1].Tip
	m.server.AddFault(apitest.Fault{Status: 500, Tips: []string{broken}})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Partial != 1 || s.AttachmentsDownloaded != 2 {
		t.Errorf("summary %+v", s)
	}
	m.server.ClearFaults()
	m.server.ResetStats()
	m.makeDue()
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsDownloaded != 1 {
		t.Errorf("summary %+v", s)
	}
	for _, e := range m.server.Log() {
		if e.Kind == apitest.OnMedia && e.Tip != broken {
			t.Errorf("fetched again: %s", e.Tip)
		}
	}
	// A file that was damaged on disk is.
	kept, _ := m.files()
	if err := os.WriteFile(filepath.Join(m.Config.Paths.Output, kept[0]), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := m.mustRun(ProcessOptions{Selector: m.only(0)})
	if s.Complete != 1 || s.AttachmentsDownloaded != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestTheSameAttachmentTwiceIsOneFile(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(1, 2))
	m.server.AddFault(apitest.Fault{Kind: "double-media"})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsDownloaded != 2 {
		t.Errorf("summary %+v", s)
	}
	m.checkFiles()
}

func TestRecordsOfOneIDAndDayGetFoldersOfTheirOwn(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(12, 1))
	m.server.AddFault(apitest.Fault{Kind: "repeated-id"})
	for _, err := range m.inTwoRuns() {
		if err != nil {
			t.Error(err)
		}
	}
	if n := m.value(`SELECT count(DISTINCT folder) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`); n != "12" {
		t.Errorf("%s folders\n%s", n, m.log)
	}
	m.checkFiles()
}

func TestThePauseIsBetweenTheAttachmentsOfARecord(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(1, 3))
	m.Config.Processing.AttachmentPause = 150 * time.Millisecond
	s := m.mustRun(ProcessOptions{UntilEmpty: true})
	log := slices.DeleteFunc(m.server.Log(), func(e apitest.Entry) bool { return e.Kind != apitest.OnMedia })
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
	m := newQueue(t, photoWorld(1, 120))
	m.Config.Processing.Concurrency = 3
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.AttachmentsDownloaded != 120 {
		t.Errorf("summary %+v", s)
	}
	if peak := m.server.Stats().Peak; peak > 3 {
		t.Errorf("%d requests in flight, 3 are allowed", peak)
	}
	m.checkFiles()
}
