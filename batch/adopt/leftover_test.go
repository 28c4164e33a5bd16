package adopt_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/forms"
	"noggin/batch/process"
	"noggin/storage"
)

// dieBeforeTheResult runs as a run that is killed after it named a file and before the
// database knew: the database refuses the result at this event, and the lease ends.
func dieBeforeTheResult(m *batchtest.Mirror, event string, opts process.Options) {
	m.T.Helper()
	m.Execute(`CREATE FUNCTION noggin_schema.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'killed' USING ERRCODE = '22000'; END$$;
		CREATE TRIGGER refuse BEFORE ` + event + ` FOR EACH ROW EXECUTE FUNCTION noggin_schema.refuse()`)
	if s := m.MustRun(opts); s.Unrecorded != 1 {
		m.T.Fatalf("the result was recorded: %+v\n%s", s, m.Logged)
	}
	m.Execute(`DROP FUNCTION noggin_schema.refuse CASCADE; UPDATE noggin_schema.noggin_data SET claim_expires_at = now() - interval '1 second'`)
}

// everyFileIsRecorded compares the output folder with the database.
func everyFileIsRecorded(t *testing.T, m *batchtest.Mirror) {
	t.Helper()
	if got, want := m.Value(recordedFiles), strings.Join(slices.Sorted(maps.Keys(contents(t, m))), "\n"); got != want {
		t.Errorf("the database knows\n%s\nand on disk are\n%s\n%s", got, want, m.Logged)
	}
	lost := m.Value(`SELECT coalesce(string_agg(path, ', '), '') FROM noggin_schema.former_files WHERE size_bytes <= 0 OR length(hash_sha256) <> 64 OR attachment_tip = '' AND kind <> 'report'`)
	if lost != "" {
		t.Errorf("former files without size, hash or attachment: %s", lost)
	}
}

func TestAFileThatAKilledRunNamedIsRecordedByTheNext(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(m *batchtest.Mirror, record, attachment string)
		next   process.Options
		former int // attachments that are former files
	}{
		"the bytes are the same":     {next: compare, former: 1},
		"the bytes are not compared": {next: process.Options{Refresh: true, UntilEmpty: true}, former: 1},
		"the bytes change again": {func(m *batchtest.Mirror, record, attachment string) {
			m.Server.Edit(record, apitest.Edit{Replace: []string{attachment}})
		}, compare, 2},
		"a cache serves the former bytes": {func(m *batchtest.Mirror, _, _ string) {
			m.Server.AddFault(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
		}, compare, 1},
		"the attachment is removed": {func(m *batchtest.Mirror, record, attachment string) {
			m.Server.Edit(record, apitest.Edit{Remove: []string{attachment}})
		}, process.Options{Refresh: true, UntilEmpty: true}, 2},
		"the attachment is not found": {func(m *batchtest.Mirror, _, attachment string) {
			m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia, Tips: []string{attachment}})
		}, compare, 1},
		"it is asked for by hand": {next: process.Options{Adopt: true}, former: 1},
		"the record is gone": {func(m *batchtest.Mirror, record, _ string) {
			m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnRecord, Tips: []string{record}})
		}, process.Options{Adopt: true, Refresh: true, UntilEmpty: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(3, 2))
			record := m.Server.Record(0)
			changed := record.Attachments[0].Tip
			m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{changed}})
			m.MustRun(process.Options{Refresh: true, UntilEmpty: true}) // the new version, without a comparison
			dieBeforeTheResult(m, "INSERT ON noggin_schema.former_files", compare)
			before := contents(t, m)
			if test.change != nil {
				test.change(m, record.Tip, changed)
			}
			if test.next.Selector = m.Only(0); test.next.Refresh {
				test.next.Selector = storage.Selector{}
			}
			if s := m.MustRun(test.next); s.Unrecorded != 0 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			everyFileIsRecorded(t, m)
			if n := m.Value(`SELECT count(*) FROM noggin_schema.former_files WHERE kind = 'attachment' AND attachment_tip = '` + changed + `'`); n != string(rune('0'+test.former)) {
				t.Errorf("%s files of the attachment are former ones, want %d", n, test.former)
			}
			if versions := m.Value(`SELECT coalesce(string_agg(concat_ws('-', first_version, last_version), ', '), '2-2') FROM noggin_schema.former_files WHERE path LIKE '%-v2.jpg'`); versions != "2-2" && !test.next.Adopt {
				t.Errorf("what the killed run named is of the versions %s, want 2", versions)
			}
			after := contents(t, m)
			for path, content := range before {
				if after[path] != content && !strings.HasSuffix(path, "_inspection_data.txt") {
					t.Errorf("%s was replaced or removed", path)
				}
			}
		})
	}
}

// Bytes that the platform may still serve are not recorded as former ones: they would never
// become current.
func TestAFileThatAKilledRunNamedWaitsForTheAPI(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(2, 1))
	record := m.Server.Record(0)
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}})
	m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
	dieBeforeTheResult(m, "INSERT ON noggin_schema.former_files", compare)
	recorded := func() []string { // the killed run's text report is kept in any case, and what is suspect
		return slices.DeleteFunc(strings.Split(m.Value(recordedFiles), "\n"), func(path string) bool {
			return strings.HasSuffix(path, ".txt") || strings.HasSuffix(path, "-suspect.jpg")
		})
	}
	known := recorded()
	unavailable := apitest.Fault{Status: 503, On: apitest.OnMedia, Tips: []string{record.Attachments[0].Tip}}
	for _, step := range []struct {
		fault apitest.Fault
		opts  process.Options
	}{
		{apitest.Fault{Kind: "reduced", Tips: []string{record.Tip}}, compare},
		{unavailable, compare},
		{unavailable, process.Options{Adopt: true, Refresh: true, UntilEmpty: true}},
		{apitest.Fault{Kind: "cut-picture", On: apitest.OnMedia}, compare},
	} {
		m.Server.SetFaults(step.fault)
		m.MustRun(step.opts)
		if now := recorded(); !slices.Equal(now, known) {
			t.Errorf("the database knows %s and before %s", now, known)
		}
	}
	m.Server.ClearFaults()
	m.PassDays("2")
	m.MustRun(process.Options{UntilEmpty: true})
	everyFileIsRecorded(t, m)
	if at := m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE record_tip = '` + record.Tip + `'`); !strings.HasSuffix(at, "-v2.jpg") {
		t.Errorf("the attachment is %s", at)
	}
}

// A file that was recorded by its name alone never was current: its bytes become so when the
// platform serves them, whatever it served when the file was recorded.
func TestBytesThatAKilledRunNamedBecomeCurrentWhenTheyAreServed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault apitest.Fault
		adopt bool
	}{
		"a cache served the former bytes":                   {fault: apitest.Fault{Kind: "stale"}},
		"a cache served the former bytes, with --adopt":     {apitest.Fault{Kind: "stale"}, true},
		"the attachment was not found":                      {fault: apitest.Fault{Status: 404}},
		"the attachment was not permitted":                  {fault: apitest.Fault{Status: 403}},
		"a part of the attachment was served":               {fault: apitest.Fault{Kind: "cut-picture"}},
		"a part of the attachment was served, with --adopt": {apitest.Fault{Kind: "cut-picture"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(2, 1))
			record := m.Server.Record(0)
			changed := record.Attachments[0].Tip
			m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{changed}})
			m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
			dieBeforeTheResult(m, "INSERT ON noggin_schema.former_files", compare)
			isServed := func(when string) {
				t.Helper()
				if sum := m.Value(`SELECT file_hash_sha256 FROM noggin_schema.attachments WHERE attachment_tip = '` + changed + `'`); sum != m.Server.MediaSHA256(changed) {
					t.Errorf("%s, the attachment is not the one that is served\n%s", when, m.Logged)
				}
			}
			test.fault.On, test.fault.Tips = apitest.OnMedia, []string{changed}
			m.Server.SetFaults(test.fault)
			for range 2 { // the second time, what comes is known already
				m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true, Adopt: test.adopt})
			}
			m.Server.ClearFaults()
			m.MustRun(compare)
			everyFileIsRecorded(t, m)
			isServed("when it is served")
			m.Server.AddFault(apitest.Fault{Kind: "stale", On: apitest.OnMedia}) // what was current once does not return
			m.MustRun(compare)
			isServed("after a cache served former bytes")
		})
	}
}

// What a restored database does not know, and a former report shows to have been current,
// does not become so again from a cache.
func TestBytesThatAFormerReportListsStayFormer(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	record := m.Server.Record(0)
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}})
	m.MustRun(compare)
	m.Execute(`DELETE FROM noggin_schema.former_files`)
	m.MustRun(process.Options{Adopt: true, Refresh: true, UntilEmpty: true})
	everyFileIsRecorded(t, m)
	m.Server.AddFault(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
	m.MustRun(compare)
	isServed(t, m, record.Attachments[0].Tip, "after a cache served former bytes")
}

func TestAFileOfAKilledFirstDownloadIsRecordedWhenTheBytesChange(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	record := m.Server.Record(0)
	dieBeforeTheResult(m, "UPDATE OF file_path ON noggin_schema.attachments", process.Options{Batch: 1})
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[1].Tip}})
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	everyFileIsRecorded(t, m)
}

// The row of an attachment that leaves the record before it was complete goes. Its file, which
// a killed run named, is known by what the record keeps of the row.
func TestAFileOfAKilledFirstDownloadIsRecordedWhenTheAttachmentIsRemoved(t *testing.T) {
	t.Parallel()
	for name, deaths := range map[string][]string{
		"at once":                               {},
		"after the next run was killed as well": {"UPDATE OF report_path ON noggin_schema.noggin_data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 3))
			record := m.Server.Record(0)
			dieBeforeTheResult(m, "UPDATE OF file_path ON noggin_schema.attachments", process.Options{Batch: 1})
			m.Server.Edit(record.Tip, apitest.Edit{Remove: []string{record.Attachments[1].Tip}})
			second := m.FilesEnding("_002.jpg")[0]
			content, err := os.ReadFile(second)
			anothers := filepath.Join(filepath.Dir(second), "holiday_002.jpg") // its number says nothing
			batchtest.Must(t, err, os.WriteFile(anothers, content, 0o600))
			for _, event := range deaths {
				m.MakeDue()
				dieBeforeTheResult(m, event, process.Options{UntilEmpty: true})
			}
			m.MakeDue()
			if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			batchtest.Must(t, os.Remove(anothers))
			everyFileIsRecorded(t, m)
			if of := m.Value(`SELECT string_agg(concat_ws(' ', kind, attachment_tip, first_version, last_version), ', ') FROM noggin_schema.former_files`); of != "attachment "+record.Attachments[1].Tip+" 1 1" {
				t.Errorf("the former files are %s, want that of version 1", of)
			}
		})
	}
}

// What an operator put beside the files of a record is no evidence, whatever its name
// resembles.
func TestFilesThatNogginDidNotNameAreLeftAlone(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	at := m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_sequence = 1`)
	content, err := os.ReadFile(filepath.Join(m.Output, at))
	if err != nil {
		t.Fatal(err)
	}
	stem := strings.TrimSuffix(at, filepath.Ext(at))
	for _, foreign := range []string{"-edited.jpg", "-2.jpg", "-v7.jpg", "-v1-00000000.jpg", " (copy).jpg", ".xmp", "-v1.tif", "-v1.jpg.bak", ".orig.jpg"} {
		if err := os.WriteFile(filepath.Join(m.Output, stem+foreign), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // only root can give files away
		anothers := filepath.Join(m.Output, stem+"-v1.jpg")
		if err := errors.Join(os.WriteFile(anothers, content, 0o600), os.Chown(anothers, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	known := m.Value(recordedFiles)
	m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
	m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true})
	m.MustRun(process.Options{Selector: m.Only(0)})
	if now := m.Value(recordedFiles); now != known {
		t.Errorf("the database knows\n%s\nand before\n%s", now, known)
	}
	_ = os.Remove(filepath.Join(m.Output, stem+"-v1.jpg"))
	m.MustRun(process.Options{Adopt: true, Selector: m.Only(0)}) // the names that a lost database may have known
	if now := m.Value(`SELECT coalesce(string_agg(path, ', '), '') FROM noggin_schema.former_files`); now != stem+"-v7.jpg" {
		t.Errorf("with --adopt the former files are %s", now)
	}
}

// The names are noggin's, as a lost database may have known them. Bytes of which nobody can
// say that they were the photograph's are suspect.
func TestANameAloneMakesDoubtfulBytesSuspect(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	at := m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_sequence = 1`)
	content, err := os.ReadFile(filepath.Join(m.Output, at))
	batchtest.Must(t, err)
	stem, tip := strings.TrimSuffix(at, ".jpg"), m.Server.Record(0).Attachments[0].Tip
	for name, bytes := range map[string][]byte{"-v1.jpg": content, "-v2.jpg": content[:len(content)-10], "-suspect.jpg": content, "-" + forms.TipSuffix(tip) + ".jpg": content} {
		batchtest.Must(t, os.WriteFile(filepath.Join(m.Output, stem+name), bytes, 0o600))
	}
	m.MustRun(process.Options{Adopt: true, Selector: m.Only(0)})
	const kinds = `SELECT string_agg(replace(path, '%s', '') || ' ' || kind, ', ' ORDER BY path COLLATE "C") FROM noggin_schema.former_files WHERE attachment_tip = '%s'`
	want := "-" + forms.TipSuffix(tip) + ".jpg attachment, -suspect.jpg suspect, -v1.jpg attachment, -v2.jpg suspect"
	if now := m.Value(fmt.Sprintf(kinds, stem, tip)); now != want {
		t.Errorf("former files are %s, want %s\n%s", now, want, m.Logged)
	}
}

// A former report that is another record's says nothing of this one's files.
func TestAFormerReportOfAnotherRecordIsNoneOfThisOne(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	report := m.FilesEnding("_inspection_data.txt")[0]
	photo := m.FilesEnding(".jpg")[0]
	text, err := os.ReadFile(report)
	batchtest.Must(t, err, os.Link(photo, filepath.Join(filepath.Dir(photo), "theirs.jpg")))
	theirs := strings.NewReplacer(m.Server.Record(0).Tip, strings.Repeat("e", 64), filepath.Base(photo), "theirs.jpg").Replace(string(text))
	for name, text := range map[string]string{forms.FormerReportName(filepath.Base(report), 1, 1): theirs, forms.FormerReportName("OTHER_inspection_data.txt", 1, 1): string(text)} {
		batchtest.Must(t, os.WriteFile(filepath.Join(filepath.Dir(report), name), []byte(text), 0o600))
	}
	own := filepath.Join(filepath.Dir(report), forms.FormerReportName(filepath.Base(report), 1, 2)) // it counts with --adopt
	batchtest.Must(t, os.WriteFile(own, text, 0o600))
	for _, adopt := range []bool{false, true} {
		m.MustRun(process.Options{Adopt: adopt, Selector: m.Only(0)})
		if former := m.Value(`SELECT coalesce(string_agg(kind || ' ' || path, ', '), '') FROM noggin_schema.former_files`); former != "" {
			t.Errorf("with --adopt: %t, former files are %s\n%s", adopt, former, m.Logged)
		}
		_ = os.Remove(own)
	}
}
