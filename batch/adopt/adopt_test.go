package adopt_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// forget gives the mirror an empty database, as if it had been restored from a
// backup older than all of its records; the files stay.
func forget(m *batchtest.Mirror) {
	m.T.Helper()
	cfg := storage.DefaultConfig()
	cfg.URL = storagetest.Database(m.T)
	db, err := storage.Open(cfg, "process")
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(func() { _ = db.Close() })
	if _, err := db.Init(m.T.Context(), batchtest.Schema(m.T), storage.InitOptions{}); err != nil {
		m.T.Fatal(err)
	}
	m.DB, m.URL = db, cfg.URL
	m.ImportAll()
	m.Server.ResetStats()
}

func TestFilesOnDiskAreAdoptedByTheRecordsOwnReport(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 20, Log: true, MediaBytes: apitest.Range{Min: 500, Max: 4000}})
	m.ImportAll()
	first := m.MustRun(process.Options{UntilEmpty: true})
	before := m.FilesEnding("")
	forget(m)
	s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true})
	if s.Complete != 20 || s.AttachmentsAdopted != first.AttachmentsDownloaded || s.AttachmentsDownloaded != 0 || m.MediaRequests() != 0 {
		t.Errorf("%+v, first %+v\n%s", s, first, m.Logged)
	}
	m.CheckFiles()
	if after := m.FilesEnding(""); !slices.Equal(before, after) {
		t.Errorf("files before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if again := m.MustRun(process.Options{UntilEmpty: true}); again.Claimed != 0 {
		t.Errorf("%+v", again)
	}
}

// watchFlushes notes what is flushed while the query gives 0.
func watchFlushes(m *batchtest.Mirror, query string) (flushed map[string]bool, stop func()) {
	flushed = map[string]bool{}
	return flushed, files.WatchFlushes(m.Output, func(_, path string) {
		if m.Value(query) == "0" {
			flushed[path] = true
		}
	})
}

// Nobody knows when the replaced service, or a backup that was restored, wrote it.
func TestAFileIsOnDiskBeforeItIsAdopted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.MustRun(process.Options{UntilEmpty: true})
	forget(m)
	flushed, stop := watchFlushes(m, `SELECT count(*) FROM noggin_schema.attachments WHERE attachment_status = 'complete'`)
	s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true})
	stop()
	if s.AttachmentsAdopted != 2 {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
	for _, photo := range m.FilesEnding(".jpg") {
		if !flushed[photo] || !flushed[filepath.Dir(photo)] {
			t.Errorf("flushed before %s is recorded is %v", photo, flushed)
		}
	}
}

// An earlier run has kept bytes that never came whole; the platform has nothing better.
func TestASuspectFileIsAdoptedAsSuspect(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	m.Server.AddFault(apitest.Fault{Kind: "cut-picture", On: apitest.OnMedia})
	m.MustRun(process.Options{UntilEmpty: true})
	m.MakeDue()
	const status = `SELECT attachment_status || ' ' || attachment_validation_status FROM noggin_schema.attachments`
	if m.MustRun(process.Options{UntilEmpty: true}); m.Value(status) != "complete suspect" {
		t.Fatalf("before, the attachment is %s\n%s", m.Value(status), m.Logged)
	}
	forget(m)
	if s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true}); s.AttachmentsAdopted != 1 || m.Value(status) != "complete suspect" {
		t.Errorf("adopted, the attachment is %s: %+v\n%s", m.Value(status), s, m.Logged)
	}
}

func TestAFileThatChangedOnDiskIsNotAdopted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 3, Forms: []string{"LCD"}, Photos: apitest.Fixed(3), Log: true})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	photos := m.FilesEnding(".jpg")
	content, err := os.ReadFile(photos[0])
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(content)
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(photos[0], flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	forget(m)
	s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true})
	if s.Complete != 3 || s.AttachmentsDownloaded != 1 || s.AttachmentsAdopted+1 != len(photos) {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
	beside := m.FilesEnding(".jpg")
	if len(beside) != len(photos)+1 {
		t.Errorf("%v", beside)
	}
	if now, err := os.ReadFile(photos[0]); err != nil || !bytes.Equal(now, flipped) {
		t.Errorf("what was found was not left as it is: %v", err)
	}
}

// The name of what came tells so, also when it is not what the report lists: else the damaged
// file would become a former one.
func TestADamagedFileThatTheReportListsStaysUnknown(t *testing.T) {
	t.Parallel()
	for ext, replaced := range map[string]bool{".jpeg": true, ".jpg": false} { // listed with it
		t.Run(ext, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
			m.MustRun(process.Options{UntilEmpty: true})
			photo, report := m.FilesEnding(".jpg")[0], m.FilesEnding(".txt")[0]
			text, err := os.ReadFile(report)
			batchtest.Must(t, err, os.WriteFile(report, bytes.ReplaceAll(text, []byte(".jpg"), []byte(ext)), 0o600))
			damaged := strings.TrimSuffix(photo, ".jpg") + ext
			batchtest.Must(t, os.Rename(photo, damaged), os.Truncate(damaged, 1000))
			forget(m)
			record := m.Server.Record(0)
			if replaced {
				m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}})
			}
			for _, opts := range []process.Options{{UntilEmpty: true, Adopt: true}, {Selector: m.Only(0)}} {
				if s := m.MustRun(opts); s.Complete != 1 {
					t.Errorf("%+v\n%s", s, m.Logged)
				}
				if at := m.Value(`SELECT file_path FROM noggin_schema.attachments`); !strings.HasSuffix(at, "_001-again.jpg") {
					t.Errorf("what came is %s\n%s", at, m.Logged)
				}
				if former := m.Value(`SELECT coalesce(string_agg(kind || ' ' || path, ', '), '') FROM noggin_schema.former_files WHERE kind <> 'report'`); former != "" {
					t.Errorf("former files: %s\n%s", former, m.Logged)
				}
			}
		})
	}
}

func TestWithoutReportsOnlyACompleteSetOfNamesIsAdopted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(4), Log: true})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	for _, report := range m.FilesEnding("_inspection_data.txt") {
		if err := os.WriteFile(report, []byte("Tip of the replaced service\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	photos := m.FilesEnding(".jpg")
	perRecord := len(photos) / 2
	if err := os.Remove(photos[0]); err != nil {
		t.Fatal(err)
	}
	forget(m)
	s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true})
	if s.Complete != 2 || s.AttachmentsAdopted != perRecord || s.AttachmentsDownloaded != perRecord {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
	m.CheckFiles()
}

// TestAWholePictureIsNotAdoptedWhereAnotherHashIsKnown has no report that says so.
func TestAWholePictureIsNotAdoptedWhereAnotherHashIsKnown(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), Log: true})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	if err := os.WriteFile(m.FilesEnding("_inspection_data.txt")[0], []byte("Tip of the replaced service\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	photos := m.FilesEnding(".jpg")
	other, err := os.ReadFile(photos[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(photos[0], other, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending', processed_at = NULL`)
	if s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true}); s.AttachmentsDownloaded != 1 || s.Complete != 1 {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
}

// The files have the right names and are whole, but the text report beside them is another
// record's.
func TestFilesBesideTheReportOfAnotherRecordAreNotAdopted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.MustRun(process.Options{UntilEmpty: true})
	report := m.FilesEnding("_inspection_data.txt")[0]
	text, err := os.ReadFile(report)
	batchtest.Must(t, err, os.WriteFile(report, bytes.ReplaceAll(text, []byte(m.Server.Record(0).Tip), bytes.Repeat([]byte("e"), 64)), 0o600))
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending', processed_at = NULL;
		UPDATE noggin_schema.attachments SET attachment_status = 'pending', filename = NULL, file_path = NULL, file_size_bytes = NULL, file_hash_sha256 = NULL`)
	if s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true}); s.AttachmentsAdopted != 0 || s.AttachmentsDownloaded != 2 {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
}

func TestAFolderOfAnotherRecordIsNotAdoptedNorTaken(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), Log: true})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	report := m.FilesEnding("_inspection_data.txt")[0]
	var tip string
	for record := range m.Server.Records() {
		tip = record.Tip
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.ReplaceAll(string(text), tip, strings.Repeat("e", 64))
	if err := os.WriteFile(report, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	forget(m)
	if s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true}); s.AttachmentsAdopted != 0 || s.Complete != 1 {
		t.Errorf("%+v", s)
	}
	if now, err := os.ReadFile(report); err != nil || string(now) != other {
		t.Errorf("the other record's report was overwritten: %v", err)
	}
	// Its own folder, now with the tip's first digits, is found again.
	forget(m)
	if s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true}); s.AttachmentsAdopted == 0 || s.AttachmentsDownloaded != 0 {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
}
