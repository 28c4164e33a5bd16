package archive

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/process"
)

func TestFormerFilesAreArchivedAndComeBackLikeOthers(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	edit := func(record int, e apitest.Edit) {
		t.Helper()
		s.Server.Edit(s.Server.Record(record).Tip, e)
		if sum := s.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); sum.Changed != 1 || sum.Unsuccessful() != 0 {
			t.Fatalf("summary %+v\n%s", sum, s.Logged)
		}
	}
	first, second := s.Server.Record(0), s.Server.Record(1)
	edit(0, apitest.Edit{Remove: []string{first.Attachments[0].Tip}, Replace: []string{first.Attachments[1].Tip}})
	before := s.onDisk()
	if len(before) != 8 { // two reports and four photographs, other bytes and a former report
		t.Fatalf("on disk: %v", slices.Sorted(maps.Keys(before)))
	}
	if one := s.mustCreate(everything); one.LeftOutCount != 0 || len(s.onDisk()) != 0 {
		t.Fatalf("%+v, left on disk: %v", one, s.onDisk())
	}
	s.mustVerify()
	if n := s.scalar(`SELECT count(*) FROM former_files WHERE archive_id IS NULL`); n != 0 {
		t.Errorf("%d former files are in no archive", n)
	}
	// The archived record gets another version: its archived report becomes a former one.
	edit(1, apitest.Edit{Set: map[string]any{"jobNumber": "J-9"}, Remove: []string{second.Attachments[0].Tip}})
	if one := s.mustCreate(everything); one.LeftOutCount != 0 || len(s.onDisk()) != 0 {
		t.Fatalf("%+v, left on disk: %v", one, s.onDisk())
	}
	for _, name := range []string{"noggin-2025-03", "noggin-2025-03-2"} {
		if _, err := s.Forget(t.Context(), name); err == nil {
			t.Errorf("%s was forgotten while it holds files", name)
		}
		if one, err := s.Restore(t.Context(), RestoreOptions{Target: name, InPlace: true}); err != nil || one.LeftOutCount != 0 {
			t.Errorf("restore %s: %+v, %v", name, one, err)
		}
	}
	after := s.onDisk()
	if len(after) != len(before)+1 {
		t.Errorf("restored: %v", slices.Sorted(maps.Keys(after)))
	}
	former := 0
	for name, sum := range before {
		if after[name] == sum {
			continue
		}
		former++ // it has the name of a former report now
		if v1 := strings.TrimSuffix(name, ".txt") + ".v1.txt"; after[v1] != sum || !strings.HasSuffix(path.Base(name), "_inspection_data.txt") {
			t.Errorf("%s did not come back", name)
		}
	}
	if n := s.scalar(`SELECT count(*) FROM former_files WHERE archive_id IS NOT NULL`) + s.scalar(`SELECT count(*) FROM noggin_data WHERE archived`); n != 0 || former != 1 {
		t.Errorf("%d rows are still archived, %d former reports", n, former)
	}
	// A database from before the edits learns of all files again.
	if again := s.mustCreate(everything); again.LeftOutCount != 0 || len(s.onDisk()) != 0 {
		t.Errorf("archived again: %+v", again)
	}
	known := s.scalar(`SELECT count(*) FROM former_files`)
	s.exec(`DELETE FROM former_files`)
	s.exec(`DELETE FROM seal_due`)
	for _, name := range []string{"noggin-2025-03-3.tar.zst"} {
		if cautious, err := s.Register(t.Context(), RegisterOptions{File: s.Paths.Archive + "/" + name}); err != nil || cautious.UnknownFiles != known ||
			s.scalar(`SELECT count(*) FROM former_files`) != 0 {
			t.Errorf("the archive's word is taken: %+v, %v", cautious, err)
		}
		if _, err := s.Register(t.Context(), RegisterOptions{File: s.Paths.Archive + "/" + name, AddUnknown: true}); err != nil {
			t.Errorf("register %s: %v", name, err)
		}
	}
	if n := s.scalar(`SELECT count(*) FROM former_files WHERE archive_id IS NOT NULL`); n != known {
		t.Errorf("after registering the archive the database knows %d former files, want %d", n, known)
	}
	if n := s.scalar(`SELECT count(*) FROM seal_due`); n != 2 {
		t.Errorf("%d records have files to be sealed, want 2", n)
	}
}
