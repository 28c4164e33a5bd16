package archive

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/storage"
)

// copies records a copy of each file of the records, with the given values.
func (s *shelf) copies(where, verified, problem, obsolete string) {
	s.T.Helper()
	s.exec(`INSERT INTO copies (target_id, path, hash_sha256, size_bytes, kind, record_tip, verified_at, problem, obsolete_at)
		SELECT (SELECT max(id) FROM copy_targets), f.path, f.hash, f.size, f.kind, f.tip, ` + verified + `, ` + problem + `, ` + obsolete + ` FROM (
			SELECT record_tip AS tip, file_path AS path, lower(file_hash_sha256) AS hash, file_size_bytes AS size, 'attachment' AS kind FROM attachments
			UNION ALL SELECT tip, report_path, lower(report_hash_sha256), report_size_bytes, 'report' FROM noggin_data) f WHERE ` + where + `
		ON CONFLICT (target_id, path, hash_sha256) DO UPDATE SET verified_at = excluded.verified_at, problem = excluded.problem, obsolete_at = excluded.obsolete_at`)
}

func TestOriginalsStayUntilTheirCopiesAreVerified(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 6, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	s.Config.RequireCopy = true
	untouched := func(when string) {
		t.Helper()
		if !maps.Equal(s.onDisk(), s.originals) {
			t.Errorf("%s: originals were removed", when)
		}
	}
	if _, err := s.create(everything); !errors.Is(err, ErrNoTarget) {
		t.Errorf("without a target: %v", err)
	}
	untouched("without a target")
	s.exec(`INSERT INTO copy_targets (url) VALUES ('/mnt/backup')`)
	const none, now = "NULL", "now()"
	for name, row := range map[string][3]string{ // verified, problem, obsolete
		"not verified":         {none, none, none},
		"found different":      {now, "'it differs'", none},
		"obsolete":             {now, none, now},
		"found right long ago": {"now() - interval '16 days'", none, none},
		"found right before a volume was replaced": {"(SELECT max(registered_at) FROM copy_targets) - interval '1 second'", none, none},
		"found right by a clock that was ahead":    {"now() + interval '2 days'", none, none},
	} {
		s.copies("true", row[0], row[1], row[2])
		if summary := s.mustCreate(everything); summary.Uncopied != 6 || summary.RecordsRemoved != 0 || len(summary.Archives) != 0 || summary.LeftOutCount != 0 {
			t.Errorf("%s: %+v", name, summary)
		}
		untouched(name)
	}
	// Those in another place count only where this host has none.
	s.Second = storage.CopyPlace{URL: "/mnt/new"}
	if _, err := s.create(everything); !errors.Is(err, ErrNoTarget) {
		t.Errorf("with a new place, to which nothing is copied: %v", err)
	}
	s.copies("true", now, none, none)
	s.exec(`INSERT INTO copy_targets (url) VALUES ('/mnt/new')`)
	if summary := s.mustCreate(everything); summary.Uncopied != 6 || summary.RecordsRemoved != 0 {
		t.Errorf("with copies in a former place only: %+v", summary)
	}
	untouched("with copies in a former place only")
	s.exec(`DELETE FROM copy_targets WHERE url = '/mnt/new'`)
	s.Second = storage.CopyPlace{}
	// Copies of other content do not count, nor does a record of which one file has none.
	s.copies("true", now, none, none)
	var tips []string
	batchtest.Must(t, s.sql.QueryRowContext(t.Context(), `SELECT jsonb_agg(tip ORDER BY tip) FROM noggin_data`).Scan(jsonList{&tips}))
	s.exec(`UPDATE copies SET hash_sha256 = repeat('0', 64) WHERE path = (SELECT report_path FROM noggin_data WHERE tip = $1)`, tips[0])
	s.exec(`DELETE FROM copies WHERE path = (SELECT file_path FROM attachments WHERE record_tip = $1 AND attachment_sequence = 2)`, tips[1])
	planned, err := s.create(CreateOptions{Before: everything.Before, DryRun: true})
	batchtest.Must(t, err)
	if planned.Uncopied != 2 || planned.Archives[0].Records != 4 {
		t.Errorf("planned: %+v", planned)
	}
	kept := s.mustCreate(CreateOptions{Before: everything.Before, Keep: true})
	if kept.Archives[0].Records != 6 || kept.Uncopied != 0 {
		t.Errorf("kept: %+v", kept)
	}
	untouched("with --keep")
	// What has its copies leaves the disk. The rest stays in the same archive, and waits.
	for range 2 {
		first := s.mustCreate(everything)
		if first.Uncopied != 2 || len(first.Archives) != 1 || first.Archives[0].State != storage.ArchiveKept || first.LeftOutCount+first.Busy != 0 {
			t.Errorf("two are not copied: %+v", first)
		}
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived`) + s.scalar(`SELECT count(*) FROM archives`); n != 4+1 {
		t.Errorf("%d records and archives", n)
	}
	s.copies("f.tip IN ('"+tips[0]+"', '"+tips[1]+"')", now, none, none)
	last := s.mustCreate(everything)
	if last.Uncopied != 0 || last.RecordsRemoved != 2 || last.Archives[0].State != storage.ArchiveDone || len(s.onDisk()) != 0 {
		t.Errorf("all are copied: %+v", last)
	}
	s.mustHaveAll("at the end", s.readArchives("at the end"))
}

// jsonList scans a list of strings.
type jsonList struct{ to *[]string }

func (l jsonList) Scan(value any) error {
	text, ok := value.([]byte)
	if !ok {
		return errors.New("no list")
	}
	return json.Unmarshal(text, l.to)
}
