package archive

import (
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
)

var threeDays = apitest.Options{Records: 3, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)}

func TestARecordWhoseClaimIsLostAtTheLastMomentStays(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	var tip string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT min(tip) FROM noggin_data`).Scan(&tip))
	s.step = func(step string) {
		if step == "looked again" {
			s.exec(`UPDATE noggin_data SET claimed_by = NULL, claim_expires_at = NULL, claim_token = claim_token + 1 WHERE tip = $1`, tip)
		}
	}
	if summary := s.mustCreate(everything); summary.Busy != 1 || summary.RecordsRemoved != 2 {
		t.Errorf("summary %+v", summary)
	}
	s.step = nil
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived AND tip = $1`, tip); n != 0 {
		t.Error("it is archived")
	}
	s.mustHaveAll("beside an operator", s.inArchives())
	if len(s.onDisk()) == 0 {
		t.Error("its files were removed")
	}
	if again := s.mustCreate(everything); again.RecordsRemoved != 1 || len(s.onDisk()) != 0 {
		t.Errorf("the next run: %+v", again)
	}
}

func TestAFileThatChangesWhileItsFolderIsAsideComesBack(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	changed := ""
	s.step = func(step string) {
		if aside := glob(filepath.Join(s.Paths.Output, files.RemovingFolder, "*", "*.txt")); step == "aside" && changed == "" {
			changed = filepath.Base(aside[0])
			flipBit(t, aside[0], 40)
		}
	}
	if summary := s.mustCreate(everything); summary.RecordsRemoved != 2 || summary.LeftOutCount != 1 {
		t.Errorf("summary %+v", summary)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(s.onDisk())), func(name string) bool { return path.Base(name) == changed }) {
		t.Errorf("%s was removed with what somebody wrote into it", changed)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived`); n != 2 {
		t.Errorf("%d records are archived", n)
	}
}

func TestAnArchiveThatAfterCreateCutTakesNoOriginal(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	s.Config.AfterCreate = `truncate -s -1 "$1"`
	if summary, err := s.create(everything); err == nil || summary.FilesRemoved != 0 || !maps.Equal(s.onDisk(), s.originals) {
		t.Errorf("%+v, %v", summary, err)
	}
}

// A database whose rows were changed, or an archive that was written by another one.
func TestAnArchiveLacksWhatOnlyTheDatabaseHasInIt(t *testing.T) {
	t.Parallel()
	s := newShelf(t, threeDays)
	s.mustCreate(everything)
	s.mustVerify()
	s.exec(`INSERT INTO noggin_data (tip, object_type, processing_status, report_path, report_archive_id)
		SELECT repeat('f', 64), 'LCD', 'complete', 'elsewhere/report.txt', id FROM archives`)
	s.exec(`INSERT INTO archive_records (record_tip, archive_id) SELECT tip, report_archive_id FROM noggin_data WHERE tip = repeat('f', 64)`)
	found, err := s.Verify(t.Context(), VerifyOptions{})
	batchtest.Must(t, err)
	if one := found.Archives[0]; one.OK || !strings.Contains(one.Problem, "of which it holds") {
		t.Errorf("%+v", one)
	}
}
