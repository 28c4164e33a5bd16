package adopt_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// recordedFiles are the paths of all files that the database knows.
const recordedFiles = `SELECT coalesce(string_agg(path, E'\n' ORDER BY path COLLATE "C"), '') FROM (
	SELECT file_path FROM noggin_schema.attachments WHERE file_path IS NOT NULL UNION ALL SELECT report_path FROM noggin_schema.noggin_data WHERE report_path IS NOT NULL
	UNION ALL SELECT path FROM noggin_schema.former_files) AS f (path)`

func TestFilesOfFormerVersionsAreRecognisedAfterTheDatabaseIsLost(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 3))
	record := m.Server.Record(0)
	compare := process.Options{Refresh: true, Media: true, UntilEmpty: true}
	m.Server.Edit(record.Tip, apitest.Edit{Add: []string{"attachments"}, Remove: []string{record.Attachments[1].Tip}})
	m.MustRun(compare)
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}})
	m.MustRun(compare)
	m.Server.AddFault(apitest.Fault{Kind: "cut-picture", Tips: []string{record.Attachments[2].Tip}})
	m.MustRun(compare)
	m.Server.ClearFaults()
	before := contents(t, m)
	kinds := `SELECT string_agg(kind || ' ' || attachment_tip, ', ' ORDER BY kind, path) FROM noggin_schema.former_files WHERE kind <> 'report'`
	lost := m.Value(kinds)

	forget(m)
	if s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true}); s.Complete != 1 || s.AttachmentsDownloaded != 0 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if got, want := m.Value(recordedFiles), strings.Join(slices.Sorted(maps.Keys(contents(t, m))), "\n"); got != want {
		t.Errorf("the database knows\n%s\nand on disk are\n%s", got, want)
	}
	if found := m.Value(kinds); found != lost {
		t.Errorf("found\n%s\nwant\n%s", found, lost)
	}
	if versions := m.Value(`SELECT first_version || '-' || last_version FROM noggin_schema.former_files WHERE kind = 'attachment' AND attachment_tip = '` + record.Attachments[0].Tip + `'`); versions != "1-2" {
		t.Errorf("the reports of the versions 1 and 2 list it, and it is of the versions %s", versions)
	}
	// The next version takes neither names nor numbers of what was found.
	m.Server.Edit(record.Tip, apitest.Edit{Add: []string{"attachments"}})
	if s := m.MustRun(compare); s.Changed != 1 || s.Complete != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	after := contents(t, m)
	for name, content := range before {
		if after[name] != content && !strings.HasSuffix(name, "_inspection_data.txt") {
			t.Errorf("%s was replaced or removed", name)
		}
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.former_files WHERE kind = 'report'`); n != "4" {
		t.Errorf("%s former reports, want those of three lost versions and of one since", n)
	}
	if got, want := m.Value(recordedFiles), strings.Join(slices.Sorted(maps.Keys(after)), "\n"); got != want {
		t.Errorf("after an edit the database knows\n%s\nand on disk are\n%s", got, want)
	}
	if n := m.Value(`SELECT max(attachment_sequence) FROM noggin_schema.attachments`); n != "5" {
		t.Errorf("the new attachment has number %s, want 5", n)
	}
}

// As after the restore of an older backup: the record is complete, the database does not
// know what came later, and the platform does not give the record any more.
func TestFilesOfFormerVersionsAreRecognisedOfARecordThatIsGone(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(2, 2))
	record := m.Server.Record(0)
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}})
	m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true})
	known := m.Value(recordedFiles)
	m.Execute(`DELETE FROM noggin_schema.former_files`)
	m.Server.SetFaults(apitest.Fault{Status: 404, Tips: []string{record.Tip}})
	flushed, stop := watchFlushes(m, `SELECT count(*) FROM noggin_schema.former_files`)
	if s := m.MustRun(process.Options{Adopt: true, Refresh: true, UntilEmpty: true}); s.Gone != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	stop()
	former := filepath.Join(m.Output, m.Value(`SELECT min(path) FROM noggin_schema.former_files WHERE kind = 'attachment'`))
	if !flushed[former] || !flushed[filepath.Dir(former)] {
		t.Errorf("flushed before %s is recorded is %v", former, flushed)
	}
	if now := m.Value(recordedFiles); now != known {
		t.Errorf("the database knows\n%s\nwant\n%s", now, known)
	}
}

// backUp keeps the rows of all tables. The function that it returns restores them.
func backUp(m *batchtest.Mirror) (restore func()) {
	m.T.Helper()
	eachTable := func(statement string) {
		m.T.Helper()
		m.Execute(`DO $$ DECLARE t text; c text; BEGIN
			SET LOCAL session_replication_role = replica; -- no trigger, no foreign key
			FOR t, c IN SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
				FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
				WHERE table_schema = 'noggin_schema' AND table_type = 'BASE TABLE' AND is_generated = 'NEVER' GROUP BY 1
			LOOP EXECUTE format('` + statement + `', t, c); END LOOP; END $$`)
	}
	m.Execute(`CREATE SCHEMA backup`)
	eachTable(`CREATE TABLE backup.%1$I AS TABLE noggin_schema.%1$I`)
	return func() {
		m.T.Helper()
		eachTable(`DELETE FROM noggin_schema.%1$I; INSERT INTO noggin_schema.%1$I (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM backup.%1$I`)
	}
}

// The record was edited after the backup, and noggin had that version when the database was
// lost. The restored one calls the record complete.
func TestAVersionAfterTheBackupIsFoundAgain(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"the platform still has it": false, "the platform has changed the record once more": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
			m.PassDays("400")
			m.MustRun(process.Options{UntilEmpty: true}) // the last asking by itself
			first := m.Server.Record(0)
			restore := backUp(m)
			second := m.Server.Edit(first.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-2"}, Add: []string{"attachments"}, Remove: []string{first.Attachments[0].Tip}})
			refresh := process.Options{Refresh: true, Adopt: true, UntilEmpty: true}
			if s := m.MustRun(refresh); s.Changed != 1 || s.AttachmentsDownloaded != 1 {
				t.Fatalf("summary %+v\n%s", s, m.Logged)
			}
			before := contents(t, m)
			restore()
			m.Server.ResetStats()
			added, newer := second.Attachments[len(second.Attachments)-1].Tip, 0
			if again { // the number of what is added was that of what is removed
				m.Server.Edit(first.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-3"}, Add: []string{"attachments"}, Remove: []string{added, first.Attachments[1].Tip}})
				newer = 1
			}
			m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true`)
			if s := m.MustRun(process.Options{Adopt: true, UntilEmpty: true}); s.Claimed != 0 || s.RecordsRenewed != 0 {
				t.Errorf("it is due without --refresh, or healed: %+v", s)
			}
			if s := m.MustRun(refresh); s.Changed != 1 || s.Complete != 1 || s.AttachmentsDownloaded != newer || m.MediaRequests() != newer || s.RecordsRenewed != 0 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			if v := m.Value(`SELECT concat_ws(' ', version, processing_status, (SELECT count(*) FROM noggin_schema.record_versions)) FROM noggin_schema.noggin_data`); v != "2 complete 2" {
				t.Errorf("the record is %s", v)
			}
			after := contents(t, m)
			for path, content := range before {
				if after[path] != content && !strings.HasSuffix(path, "_inspection_data.txt") {
					t.Errorf("%s was replaced or removed", path)
				}
			}
			everyFileIsRecorded(t, m)
			lostVersionIsKept(t, m)
			photographs := `(SELECT attachment_tip, file_hash_sha256 FROM noggin_schema.attachments
				UNION ALL SELECT attachment_tip, hash_sha256 FROM noggin_schema.former_files WHERE kind = 'attachment') AS f (tip, sum)`
			if n := m.Value(`SELECT count(*) FROM ` + photographs); n != strconv.Itoa(3+newer) {
				t.Errorf("the database knows %s photographs, want %d", n, 3+newer)
			}
			if of := m.Value(`SELECT coalesce(string_agg(tip, ', '), '') FROM ` + photographs + ` WHERE sum = '` + m.Server.MediaSHA256(added) + `'`); of != added {
				t.Errorf("the photograph of the lost version is one of %q, want %s", of, added)
			}
		})
	}
}

// lostVersionIsKept checks that a text report has the job number J-2.
func lostVersionIsKept(t *testing.T, m *batchtest.Mirror) {
	t.Helper()
	if kept := slices.ContainsFunc(slices.Collect(maps.Values(contents(t, m))), func(text string) bool { return strings.Contains(text, "J-2") }); !kept {
		t.Errorf("no text report shows the version that was lost\n%s", m.Logged)
	}
}

// The platform does not give the version that came after the backup, so its text report is
// all that is left of it.
func TestTheReportOfALostVersionIsKeptWhateverThePlatformSays(t *testing.T) {
	t.Parallel()
	adopt := process.Options{Adopt: true, Refresh: true, UntilEmpty: true}
	for name, test := range map[string]struct {
		pending bool // at the backup; else complete
		passing bool // nothing else of the record is looked at
		says    func(m *batchtest.Mirror, tip string)
		adopt   process.Options
	}{
		"the record is gone": {says: func(m *batchtest.Mirror, tip string) {
			m.Server.SetFaults(apitest.Fault{Status: 404, Tips: []string{tip}})
		}, adopt: adopt},
		"it is not permitted": {says: func(m *batchtest.Mirror, tip string) {
			m.Server.SetFaults(apitest.Fault{Status: 403, Tips: []string{tip}})
		}, adopt: adopt},
		"the answer is reduced": {says: func(m *batchtest.Mirror, tip string) {
			m.Server.SetFaults(apitest.Fault{Kind: "reduced", Tips: []string{tip}})
		}, adopt: adopt},
		"the version of the backup is back": {says: func(m *batchtest.Mirror, tip string) {
			m.Server.SetFaults(apitest.Fault{Kind: "stale", Tips: []string{tip}})
		}, adopt: adopt},
		"the API fails": {passing: true, says: func(m *batchtest.Mirror, tip string) {
			m.Server.SetFaults(apitest.Fault{Status: 503, Tips: []string{tip}})
		}, adopt: adopt},
		"the record was pending": {pending: true, says: func(m *batchtest.Mirror, tip string) {
			m.Server.Edit(tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-3"}})
		}, adopt: process.Options{Adopt: true, UntilEmpty: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world, start := batchtest.PhotoWorld(2, 1), batchtest.NewComplete
			if test.pending {
				start = batchtest.NewQueue
			}
			m := start(t, world)
			m.Refresh = process.DefaultRefresh()
			restore := backUp(m)
			tip := m.Server.Record(0).Tip
			m.MustRun(process.Options{UntilEmpty: true})
			m.Server.Edit(tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-2"}})
			if s := m.MustRun(process.Options{Refresh: true, UntilEmpty: true}); s.Changed != 1 {
				t.Fatalf("summary %+v\n%s", s, m.Logged)
			}
			restore()
			test.says(m, tip)
			for range 2 { // the second time finds what the first has kept
				m.MustRun(test.adopt)
				lostVersionIsKept(t, m)
				if !test.passing {
					everyFileIsRecorded(t, m)
				}
			}
			for range 3 { // of them, two askings on other days make it gone
				m.PassDays("2")
				m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true`)
				if s := m.MustRun(process.Options{UntilEmpty: true}); s.RecordsRenewed == 0 {
					t.Errorf("nothing was healed: %+v\n%s", s, m.Logged)
				}
			}
			lostVersionIsKept(t, m)
			if n := m.Value(`SELECT count(*) FROM noggin_schema.former_files WHERE record_tip <> '` + tip + `'`); n != "0" {
				t.Errorf("%s former files of a record that nothing happened to", n)
			}
		})
	}
}

// contents are the files of the output folder, by their paths in it.
func contents(t *testing.T, m *batchtest.Mirror) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, file := range m.FilesEnding("") {
		name, err := filepath.Rel(m.Output, file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(filepath.Base(name), ".") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(content)
	}
	return found
}
