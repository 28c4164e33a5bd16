package shelf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
)

func TestEveryArchivedFileIsReadByItself(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{
		Records: 3, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000},
		Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC),
	})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	paths := files.Paths{Output: m.Output, Archive: filepath.Join(t.TempDir(), "archive")}
	archiver := &archive.Archiver{DB: m.DB, Paths: paths, ClaimLease: m.Processing.ClaimLease, Log: m.Log}
	create := func() {
		t.Helper()
		if made, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01"}); err != nil || made.LeftOutCount != 0 {
			t.Fatalf("%+v, %v", made, err)
		}
	}
	create()
	// Its archived report becomes a former one, under another name.
	first := m.Server.Record(0)
	m.Server.Edit(first.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-9"}, Remove: []string{first.Attachments[0].Tip}})
	m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
	create()

	s := &Shelf{DB: m.DB, Paths: paths}
	defer s.Close()
	var tips []string
	for record := range m.Server.Records() {
		tips = append(tips, record.Tip)
	}
	records, err := m.DB.FiledRecords(t.Context(), tips)
	batchtest.Must(t, err)
	var group sync.WaitGroup
	found := make([]int, len(records))
	for i, record := range records {
		group.Go(func() {
			wanted := map[string][]storage.File{}
			for _, f := range record.Files {
				wanted[*f.ArchiveName] = append(wanted[*f.ArchiveName], f)
			}
			for name, inIt := range wanted {
				err := s.Read(t.Context(), name, record.Tip, inIt, func(f storage.File, content io.Reader) error {
					text, err := io.ReadAll(content)
					if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != f.SHA256 {
						t.Errorf("%s has other content", f.Path)
					}
					found[i]++
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for i, record := range records {
		if found[i] != len(record.Files) || found[i] < 3 {
			t.Errorf("%s: %d of %d files were read", record.Folder, found[i], len(record.Files))
		}
	}
}

func TestAnArchiveThatCannotBeReadIsToldFromOtherErrors(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(1)})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	paths := files.Paths{Output: m.Output, Archive: filepath.Join(t.TempDir(), "archive")}
	archiver := &archive.Archiver{DB: m.DB, Paths: paths, ClaimLease: m.Processing.ClaimLease, Log: m.Log}
	made, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2100-01-01"})
	batchtest.Must(t, err)
	at, tip := made.Archives[0].Path, m.Server.Record(0).Tip
	records, err := m.DB.FiledRecords(t.Context(), []string{tip})
	batchtest.Must(t, err)
	s := &Shelf{DB: m.DB, Paths: paths}
	defer s.Close()
	read := func(each func(storage.File, io.Reader) error) error {
		return s.Read(t.Context(), filepath.Base(at), tip, records[0].Files, each)
	}
	drain := func(_ storage.File, content io.Reader) error { _, err := io.Copy(io.Discard, content); return err }
	own := errors.New("own")
	if err := read(func(storage.File, io.Reader) error { return own }); !errors.Is(err, own) || archive.IsUnreadable(err) {
		t.Errorf("an error of the reader: %v", err)
	}
	whole, err := os.ReadFile(at)
	batchtest.Must(t, err)
	batchtest.Must(t, os.Rename(at, at+".away"))
	s.Close()
	if err := read(drain); !archive.IsUnreadable(err) {
		t.Errorf("a missing archive: %v", err)
	}
	damaged := bytes.Clone(whole)
	copy(damaged[40:], make([]byte, 200))
	batchtest.Must(t, os.WriteFile(at, damaged, 0o644))
	if err := read(drain); !archive.IsUnreadable(err) {
		t.Errorf("a damaged archive: %v", err)
	}
	s.Close()
	batchtest.Must(t, os.WriteFile(at, whole, 0o644))
	if err := read(drain); err != nil {
		t.Errorf("the archive is back: %v", err)
	}
}

func TestOnlyArchivesThatNobodyReadsAreClosed(t *testing.T) {
	t.Parallel()
	s := &Shelf{}
	for i := range mostOpen + 1 {
		a := &shelved{name: strconv.Itoa(i)}
		a.ready.Do(func() {})
		s.open = append(s.open, a)
	}
	s.open[0].users = 1
	if _, err := s.take(t.Context(), "5"); err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, a := range s.open {
		open = append(open, a.name)
	}
	if got := strings.Join(open, " "); got != "0 2 3 4 6 7 8 5" {
		t.Errorf("open are %s", got)
	}
}
