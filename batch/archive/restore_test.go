package archive

import (
	"maps"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive/format"
	"noggin/storage"
)

func TestAnArchiveOfSeveralGroupsIsRestoredAndRegisteredWhole(t *testing.T) {
	t.Parallel()
	const records = 2*format.GroupSize + 1
	s := newShelf(t, apitest.Options{Records: records, Photos: apitest.Range{}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	archive := s.mustCreate(everything).Archives[0]
	if archive.Records != records {
		t.Fatalf("%+v", archive)
	}
	s.forgetArchives()
	if r, err := s.Register(t.Context(), RegisterOptions{File: archive.Path}); err != nil || r.FilesLinked != archive.Files || r.State != storage.ArchiveDone {
		t.Errorf("registered: %+v, %v", r, err)
	}
	if r, err := s.Restore(t.Context(), RestoreOptions{Target: archive.Name, InPlace: true}); err != nil || r.Records != records || !maps.Equal(s.onDisk(), s.originals) {
		t.Errorf("restored: %+v, %v", r, err)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived`); n != 0 {
		t.Errorf("%d records are still archived", n)
	}
}
