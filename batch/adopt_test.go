package batch

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// forget gives the mirror an empty database, as if it had been restored from a
// backup older than all of its records; the files stay.
func (m *mirror) forget() {
	m.t.Helper()
	cfg := storage.DefaultConfig()
	cfg.URL = storagetest.Database(m.t)
	db, err := storage.Open(cfg, "process")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = db.Close() })
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := db.Init(m.t.Context(), string(schema), storage.InitOptions{}); err != nil {
		m.t.Fatal(err)
	}
	m.DB = db
	m.importAll()
	m.server.ResetStats()
}

// find returns the files of the output folder whose names end so.
func (m *mirror) find(end string) []string {
	m.t.Helper()
	var found []string
	err := filepath.WalkDir(m.Config.Paths.Output, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, end) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return found
}

func (m *mirror) mediaRequests() int {
	n := 0
	for _, entry := range m.server.Log() {
		if entry.Kind == apitest.OnMedia {
			n++
		}
	}
	return n
}

func TestFilesOnDiskAreAdoptedByTheRecordsOwnReport(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 20, Log: true, MediaBytes: apitest.Range{Min: 500, Max: 4000}})
	m.importAll()
	first := m.mustRun(ProcessOptions{UntilEmpty: true})
	before := m.find("")
	m.forget()
	s := m.mustRun(ProcessOptions{UntilEmpty: true, Adopt: true})
	if s.Complete != 20 || s.AttachmentsAdopted != first.AttachmentsDownloaded || s.AttachmentsDownloaded != 0 || m.mediaRequests() != 0 {
		t.Errorf("%+v, first %+v\n%s", s, first, m.log)
	}
	m.checkFiles()
	if after := m.find(""); !slices.Equal(before, after) {
		t.Errorf("files before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if again := m.mustRun(ProcessOptions{UntilEmpty: true}); again.Claimed != 0 {
		t.Errorf("%+v", again)
	}
}

func TestAFileThatChangedOnDiskIsNotAdopted(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 3, Forms: []string{"LCD"}, Photos: apitest.Fixed(3), Log: true})
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	photos := m.find(".jpg")
	content, err := os.ReadFile(photos[0])
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(content)
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(photos[0], flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	m.forget()
	s := m.mustRun(ProcessOptions{UntilEmpty: true, Adopt: true})
	if s.Complete != 3 || s.AttachmentsDownloaded != 1 || s.AttachmentsAdopted+1 != len(photos) {
		t.Errorf("%+v\n%s", s, m.log)
	}
	beside := m.find(".jpg")
	if len(beside) != len(photos)+1 {
		t.Errorf("%v", beside)
	}
	if now, err := os.ReadFile(photos[0]); err != nil || !bytes.Equal(now, flipped) {
		t.Errorf("what was found was not left as it is: %v", err)
	}
}

func TestWithoutReportsOnlyACompleteSetOfNamesIsAdopted(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(4), Log: true})
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	for _, report := range m.find("_inspection_data.txt") {
		if err := os.WriteFile(report, []byte("Tip of the replaced service\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	photos := m.find(".jpg")
	perRecord := len(photos) / 2
	if err := os.Remove(photos[0]); err != nil {
		t.Fatal(err)
	}
	m.forget()
	s := m.mustRun(ProcessOptions{UntilEmpty: true, Adopt: true})
	if s.Complete != 2 || s.AttachmentsAdopted != perRecord || s.AttachmentsDownloaded != perRecord {
		t.Errorf("%+v\n%s", s, m.log)
	}
	m.checkFiles()
}

func TestAFolderOfAnotherRecordIsNotAdoptedNorTaken(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), Log: true})
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	report := m.find("_inspection_data.txt")[0]
	var tip string
	for record := range m.server.Records() {
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
	m.forget()
	if s := m.mustRun(ProcessOptions{UntilEmpty: true, Adopt: true}); s.AttachmentsAdopted != 0 || s.Complete != 1 {
		t.Errorf("%+v", s)
	}
	if now, err := os.ReadFile(report); err != nil || string(now) != other {
		t.Errorf("the other record's report was overwritten: %v", err)
	}
	// Its own folder, now with the tip's first digits, is found again.
	m.forget()
	if s := m.mustRun(ProcessOptions{UntilEmpty: true, Adopt: true}); s.AttachmentsAdopted == 0 || s.AttachmentsDownloaded != 0 {
		t.Errorf("%+v\n%s", s, m.log)
	}
}

func TestNamesAreTakenOnlyAsAWholeSet(t *testing.T) {
	t.Parallel()
	stems := map[string]string{"a_20250917_photo_001": "t1", "a_20250917_photo_002": "t2"}
	for name, c := range map[string]struct {
		names []string
		want  int
	}{
		"all":           {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_002.png", "a_inspection_data.txt"}, 2},
		"one missing":   {[]string{"a_20250917_photo_001.jpg"}, 0},
		"one too many":  {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_002.png", "a_20250917_photo_003.jpg"}, 0},
		"one twice":     {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_001.png", "a_20250917_photo_002.png"}, 0},
		"other strays":  {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_002.png", "notes.txt"}, 2},
		"another field": {[]string{"a_20250917_load_001.jpg", "a_20250917_photo_002.png"}, 0},
	} {
		if got := byStem(stems, c.names); len(got) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// FuzzReportFiles looks for a text that makes the reader panic or give a path out
// of the record's folder.
func FuzzReportFiles(f *testing.F) {
	for _, name := range []string{"LCD.txt", "FPI.txt", "hostile.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", "reports", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, files := readReportFiles(strings.NewReader(text), "2025/09/x")
		for tip, file := range files {
			if !strings.HasPrefix(file.path, "2025/09/x/") || validPath(file.path) != nil || tip == "" {
				t.Errorf("%q: %+v", tip, file)
			}
		}
	})
}
