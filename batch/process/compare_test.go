package process_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// suspectFiles are the files that were kept beside whole attachments.
const suspectFiles = `SELECT coalesce(string_agg(validation || ' ' || path, ', ' ORDER BY path), '') FROM noggin_schema.former_files WHERE kind = 'suspect'`

func TestBytesThatAreNotKnownToBeWholeAreKeptBesideTheAttachment(t *testing.T) {
	t.Parallel()
	photograph := strings.Repeat("video", 100) // what follows a photograph's end proves nothing
	for name, test := range map[string]struct {
		faults []apitest.Fault
		want   string // the validation of what is kept beside; "": nothing
		whole  bool   // the bytes become the attachment's
		asked  int
	}{
		"broken":                           {faults: []apitest.Fault{{Kind: "cut-picture"}}, want: "validation_failed", asked: 1},
		"without a length, twice the same": {faults: []apitest.Fault{{Kind: "cut-close", Value: photograph, Keep: 1}}, whole: true, asked: 2},
		"without a length, never the same": {faults: []apitest.Fault{{Kind: "cut-close", Value: photograph, Keep: 0.99, FirstHits: 1}, {Kind: "cut-close", Value: photograph, Keep: 1}}, want: "not_validated", asked: 2},
		"of a kind that proves nothing":    {faults: []apitest.Fault{{Kind: "body", Value: song}}, want: "not_validated", asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
			path := m.Value(`SELECT file_path FROM noggin_schema.attachments`)
			before, err := os.ReadFile(filepath.Join(m.Output, path))
			if err != nil {
				t.Fatal(err)
			}
			whole := string(m.Server.Media(m.Server.Record(0).Attachments[0].Tip))
			for _, f := range test.faults {
				if f.On = apitest.OnMedia; f.Kind == "cut-close" {
					f.Value = whole + f.Value
				}
				m.Server.AddFault(f)
			}
			m.Server.ResetStats()
			compare := process.Options{Refresh: true, Media: true, UntilEmpty: true}
			if s := m.MustRun(compare); s.Unchanged != 1 || s.Complete != 1 || m.MediaRequests() != test.asked || (s.NotCompared == 1) != (test.want != "") {
				t.Errorf("%d requests, summary %+v\n%s", m.MediaRequests(), s, m.Logged)
			}
			if now, err := os.ReadFile(filepath.Join(m.Output, path)); err != nil || string(now) != string(before) {
				t.Errorf("the file that was there: %v", err)
			}
			if now := m.Value(`SELECT file_path FROM noggin_schema.attachments`); (now != path) != test.whole {
				t.Errorf("the attachment is %s, before %s", now, path)
			}
			kept, at, _ := strings.Cut(m.Value(suspectFiles), " ")
			if kept != test.want {
				t.Fatalf("kept beside: %q %s, want %q\n%s", kept, at, test.want, m.Logged)
			}
			if test.want == "" {
				return
			}
			if _, err := os.Stat(filepath.Join(m.Output, at)); err != nil {
				t.Error(err)
			}
			if n := m.Value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE error_type = 'validation' AND attachment_tip <> ''`); n != "1" {
				t.Errorf("%s errors are listed", n)
			}
			files, _ := filesOf(m)
			m.MustRun(compare) // the same again is kept once
			if again, _ := filesOf(m); test.asked == 1 && len(again) != len(files) {
				t.Errorf("files %v, then %v", files, again)
			}
		})
	}
}

func TestAComparisonThatTheAPIFailedIsMadeTheNextDay(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	whole := string(m.Server.Media(m.Server.Record(0).Attachments[0].Tip))
	lastStep := func() {
		m.Execute(`UPDATE noggin_schema.refreshes SET step = 2, due_at = now() - interval '1 hour', version_at = now() - interval '40 days'`)
		m.Server.ResetStats()
	}
	const nextDay = `SELECT concat_ws(' ', step, due_at BETWEEN now() + interval '20 hours' AND now() + interval '32 hours') FROM noggin_schema.refreshes`
	for name, faults := range map[string][]apitest.Fault{
		"the first download":  {{Status: 503, On: apitest.OnMedia}},
		"the second download": {{Kind: "cut-close", Value: whole + strings.Repeat("video", 100), Keep: 1, On: apitest.OnMedia, FirstHits: 1}, {Status: 503, On: apitest.OnMedia}},
	} {
		m.Server.SetFaults(faults...)
		lastStep()
		if s := m.MustRun(process.Options{UntilEmpty: true}); s.Unchanged != 1 || s.Complete != 1 || m.MediaRequests() == 0 || s.NotCompared != 1 {
			t.Errorf("%s fails: %d requests, summary %+v\n%s", name, m.MediaRequests(), s, m.Logged)
		}
		if got := m.Value(nextDay); got != "2 t" {
			t.Errorf("%s fails: step and due the next day: %s", name, got)
		}
		if kept := m.Value(suspectFiles); kept != "" {
			t.Errorf("%s fails: %s is kept as suspect", name, kept)
		}
	}
	m.Server.SetFaults(apitest.Fault{Kind: "cut-picture"})
	for _, want := range []string{"2 t", "0"} { // the same again is all that the platform has
		lastStep()
		if s := m.MustRun(process.Options{UntilEmpty: true}); s.NotCompared != 1 {
			t.Errorf("a part comes: summary %+v\n%s", s, m.Logged)
		}
		if got := m.Value(nextDay); got != want {
			t.Errorf("a part comes: step and due the next day: %s, want %s", got, want)
		}
	}
	m.Server.ClearFaults()
	lastStep()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Unchanged != 1 || m.MediaRequests() != 1 || s.NotCompared != 0 {
		t.Errorf("%d requests, summary %+v\n%s", m.MediaRequests(), s, m.Logged)
	}
	if got := m.Value(`SELECT count(due_at) FROM noggin_schema.refreshes`); got != "0" {
		t.Error("after the last step the record is due again")
	}
}

// One attachment has other bytes, so that the record is written; the other one fails.
func TestAComparisonOfWhichAPartFailedIsMadeTheNextDay(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(2, 2))
	tip, attachments := m.Server.Record(0).Tip, m.Server.Record(0).Attachments
	otherBytes := func(n int) apitest.Fault {
		other := m.Server.Media(m.Server.Record(1).Attachments[n].Tip)
		return apitest.Fault{Kind: "body", On: apitest.OnMedia, Tips: []string{attachments[n].Tip}, Value: string(other)}
	}
	m.Server.SetFaults(otherBytes(0), apitest.Fault{Status: 503, On: apitest.OnMedia, Tips: []string{attachments[1].Tip}})
	m.Execute(`UPDATE noggin_schema.record_versions SET fetched_at = now() - interval '40 days'`)
	m.Execute(`UPDATE noggin_schema.refreshes SET step = 2, due_at = now() - interval '1 hour', version_at = now() - interval '40 days' WHERE record_tip = '` + tip + `'`)
	formerFiles := func() string {
		return m.Value(`SELECT count(*) FROM noggin_schema.former_files WHERE kind = 'attachment'`)
	}
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || formerFiles() != "1" {
		t.Fatalf("%s former files, summary %+v\n%s", formerFiles(), s, m.Logged)
	}
	const due = `SELECT concat_ws(' ', step, coalesce((due_at BETWEEN now() + interval '20 hours' AND now() + interval '32 hours')::text, 'never')) FROM noggin_schema.refreshes WHERE record_tip = `
	if got := m.Value(due + `'` + tip + `'`); got != "2 true" {
		t.Errorf("step and due the next day: %s", got)
	}
	m.Server.SetFaults(otherBytes(0), otherBytes(1))
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); formerFiles() != "2" {
		t.Errorf("%s former files, summary %+v\n%s", formerFiles(), s, m.Logged)
	}
	if got := m.Value(due + `'` + tip + `'`); got != "0 never" {
		t.Errorf("step and due after the last step: %s", got)
	}
}

// A fault of our own is no failure of the record, which stays complete; but the run says
// that it did not do its work.
func TestAnAnswerThatCannotBeStoredFailsTheRunOfACompleteRecord(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, plainWorld(3))
	tip := m.Server.Record(0).Tip
	m.Execute(`CREATE FUNCTION noggin_schema.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
			IF NEW.record_tip = '` + tip + `' THEN RAISE 'no room for this one' USING ERRCODE = '22000'; END IF; RETURN NEW; END$$;
		CREATE TRIGGER refuse BEFORE INSERT ON noggin_schema.record_versions FOR EACH ROW EXECUTE FUNCTION noggin_schema.refuse()`)
	for i := range 3 {
		m.Server.Edit(m.Server.Record(i).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-1"}})
	}
	m.PassDays("2")
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.Unsuccessful() != 1 || s.Unrecorded != 1 || s.Changed != 2 || s.Complete != 2 || s.AskedAgain != 3 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if got := m.Value(`SELECT concat_ws(' ', processing_status, retry_count, permanently_failed) FROM noggin_schema.noggin_data WHERE tip = '` + tip + `'`); got != "complete 0 f" {
		t.Errorf("the record is %s", got)
	}
	m.Execute(`DROP TRIGGER refuse ON noggin_schema.record_versions`)
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Changed != 1 || s.Unsuccessful() != 0 {
		t.Errorf("afterwards: %+v", s)
	}
}

// An archive takes files off the disk. Their names do not return: two files of one name
// could not both be recorded.
func TestTheNameOfAnArchivedFileDoesNotReturn(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	whole := string(m.Server.Media(m.Server.Record(0).Attachments[0].Tip))
	current := func() string { return m.Value(`SELECT file_path FROM noggin_schema.attachments`) }
	paths := []string{current()}
	for _, tail := range []string{"other", "third", "fourth"} {
		m.Server.SetFaults(apitest.Fault{Kind: "cut-close", Value: whole + strings.Repeat(tail, 100), Keep: 1, On: apitest.OnMedia})
		m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true})
		paths = append(paths, current())
		m.Execute(`INSERT INTO noggin_schema.archives (name, path, month) VALUES ('` + tail + `', '/` + tail + `', '2025-01');
			UPDATE noggin_schema.attachments SET archive_id = (SELECT max(id) FROM noggin_schema.archives);
			UPDATE noggin_schema.former_files SET archive_id = coalesce(archive_id, (SELECT max(id) FROM noggin_schema.archives));
			UPDATE noggin_schema.noggin_data SET archived = true`)
		for _, path := range paths {
			_ = os.Remove(filepath.Join(m.Output, path))
		}
	}
	if n := m.Value(`SELECT count(DISTINCT path) || ' ' || count(DISTINCT hash_sha256) FROM noggin_schema.former_files`); n != "3 3" {
		t.Errorf("former paths and their hashes: %s, of %v\n%s", n, paths, m.Logged)
	}
	if slices.Sort(paths); len(slices.Compact(paths)) != 4 {
		t.Errorf("a name returned: %v", paths)
	}
}

// Other bytes do not take the name of recorded ones, though that file is lost: it may come
// back from a copy.
func TestOtherBytesDoNotTakeTheNameOfALostFile(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]string{"it is compared": "complete", "it is to come again": "pending"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
			record := m.Server.Record(0)
			m.Server.Edit(record.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-2"}})
			m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
			m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}})
			m.MustRun(process.Options{Refresh: true, UntilEmpty: true}) // the new version, without a comparison
			// The name that the new bytes would get.
			m.Execute(`UPDATE noggin_schema.attachments SET file_path = replace(file_path, '.jpg', '-v3.jpg'), attachment_status = '` + status + `'`)
			at := m.Value(`SELECT file_path || ' ' || file_hash_sha256 FROM noggin_schema.attachments`)
			for _, photograph := range m.FilesEnding(".jpg") {
				batchtest.Must(t, os.Remove(photograph))
			}
			opts := process.Options{Refresh: true, Media: true, UntilEmpty: true}
			if status == "pending" {
				opts = process.Options{Selector: m.Only(0)}
			}
			if s := m.MustRun(opts); s.AttachmentsDownloaded != 1 || s.Unsuccessful() != 0 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			if former := m.Value(`SELECT path || ' ' || hash_sha256 FROM noggin_schema.former_files WHERE kind = 'attachment'`); former != at {
				t.Errorf("the former file is %s, want %s", former, at)
			}
			if now := m.Value(`SELECT file_path || ' ' || file_hash_sha256 FROM noggin_schema.attachments`); strings.HasPrefix(now, strings.Split(at, ".jpg")[0]+".jpg") {
				t.Errorf("the file of %s is that of %s", now, at)
			}
		})
	}
}
