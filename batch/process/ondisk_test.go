package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// photographOf is the path of the photograph of a record that has one.
func photographOf(m *batchtest.Mirror, record int) string {
	m.T.Helper()
	return m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE record_tip = '` + m.Server.Record(record).Tip + `'`)
}

// statusOf is the status of a record and of its attachment.
func statusOf(m *batchtest.Mirror, record int) string {
	m.T.Helper()
	return m.Value(`SELECT concat_ws(' ', processing_status, permanently_failed, attachment_status, attachment_validation_status, filename = regexp_replace(file_path, '.*/', ''))
		FROM noggin_schema.noggin_data d JOIN noggin_schema.attachments ON record_tip = d.tip WHERE d.tip = '` + m.Server.Record(record).Tip + `'`)
}

// Whoever follows the advice and brings a lost file back is done, also when the platform
// does not serve it any more.
func TestAFileThatIsBackIsCompleteAlthoughItCannotBeDownloaded(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	// As noggin validate files --fix does.
	m.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'pending';
		UPDATE noggin_schema.noggin_data SET processing_status = 'interrupted', next_retry_at = now()`)
	at := filepath.Join(m.Output, photographOf(m, 0))
	batchtest.Must(t, os.Rename(at, at+".away"))
	m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != 1 {
		t.Errorf("summary %+v", s)
	}
	if got := statusOf(m, 0); got != "failed f failed not_validated t" {
		t.Errorf("without its file: %s", got)
	}
	// Other bytes in its place are not it.
	batchtest.Must(t, os.WriteFile(at, []byte("other"), 0o600))
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != 1 {
		t.Errorf("with another file: %+v", s)
	}
	batchtest.Must(t, os.Rename(at+".away", at))
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsAdopted != 1 {
		t.Errorf("with its file: %+v\n%s", s, m.Logged)
	}
	if got := statusOf(m, 0); got != "complete f complete valid t" {
		t.Errorf("with its file: %s", got)
	}
}

func TestAFileOrFolderThatCannotBeReadEndsNoRun(t *testing.T) {
	t.Parallel()
	if batchtest.RanWithoutRights(t) {
		return
	}
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(4, 1))
	unreadable, onlyCopy := filepath.Join(m.Output, photographOf(m, 0)), filepath.Join(m.Output, photographOf(m, 1))
	folder := filepath.Dir(filepath.Join(m.Output, photographOf(m, 2)))
	for _, name := range []string{unreadable, onlyCopy, folder} {
		batchtest.Must(t, os.Chmod(name, 0))
	}
	t.Cleanup(func() { _ = os.Chmod(folder, 0o700) })
	before := photographOf(m, 0)
	for i := range 4 {
		m.Server.Edit(m.Server.Record(i).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-1"}})
	}
	m.Server.AddFault(apitest.Fault{Status: 404, Tips: []string{m.Server.Record(1).Attachments[0].Tip}})
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 3 || s.APIFailed != 1 || s.Changed != 4 || s.NotCompared != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	for i, want := range []string{"complete f complete valid t", "complete f complete valid t", "api_failed f complete valid t", "complete f complete valid t"} {
		if got := statusOf(m, i); got != want {
			t.Errorf("record %d: %s, want %s\n%s", i, got, want, m.Logged)
		}
	}
	if now := photographOf(m, 0); now == before || !strings.HasSuffix(now, ".jpg") {
		t.Errorf("the photograph is %s, before %s", now, before)
	}
	if got := m.Value(`SELECT string_agg(error_type, ' ') FROM noggin_schema.processing_errors WHERE attachment_tip IS NULL OR attachment_tip = ''`); got != "disk" {
		t.Errorf("errors of records: %s", got)
	}
	nothingCounted(m)
	// Nobody knows whether the only copy is damaged. When the download may succeed the next day, it is tried then.
	const nextDay = `SELECT due_at < now() + interval '32 hours' FROM noggin_schema.refreshes WHERE record_tip = '`
	m.Execute(`UPDATE noggin_schema.record_versions SET fetched_at = now() - interval '2 days'`) // the next step is on the seventh day
	for status, want := range map[int]string{404: "false", 503: "true"} {
		m.Server.SetFaults(apitest.Fault{Status: status, On: apitest.OnMedia, Tips: []string{m.Server.Record(1).Attachments[0].Tip}})
		if s := m.MustRun(process.Options{Selector: m.Only(1)}); s.Complete != 1 || s.NotCompared != 1 || s.Unsuccessful() != 0 {
			t.Errorf("its download ends with %d: summary %+v\n%s", status, s, m.Logged)
		}
		if got := m.Value(nextDay + m.Server.Record(1).Tip + `'`); got != want {
			t.Errorf("its download ends with %d: asked for again the next day: %s, want %s", status, got, want)
		}
	}
	batchtest.Must(t, os.Chmod(folder, 0o700))
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("with the right to its folder: %+v", s)
	}
}

// Else it would be downloaded again at each try, until somebody gives the right.
func TestWhatCannotBeKeptIsNotDownloaded(t *testing.T) {
	t.Parallel()
	if batchtest.RanWithoutRights(t) {
		return
	}
	forbid := func(t *testing.T, m *batchtest.Mirror, folder string) (allow func()) {
		t.Helper()
		batchtest.Must(t, os.Chmod(folder, 0o500))
		m.Server.ResetStats()
		allow = func() { batchtest.Must(t, os.Chmod(folder, 0o700)) }
		t.Cleanup(allow)
		return allow
	}
	t.Run("a record whose folder cannot be made", func(t *testing.T) {
		t.Parallel()
		world := batchtest.PhotoWorld(2, 3)
		world.Days = 1
		m := batchtest.NewQueue(t, world)
		if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 {
			t.Fatalf("summary %+v\n%s", s, m.Logged)
		}
		allow := forbid(t, m, filepath.Dir(filepath.Dir(m.FilesEnding(".jpg")[0])))
		if s := m.MustRun(process.Options{UntilEmpty: true}); s.APIFailed != 1 || m.MediaRequests() != 0 {
			t.Errorf("%d requests for attachments, summary %+v\n%s", m.MediaRequests(), s, m.Logged)
		}
		nothingCounted(m)
		allow()
		m.MakeDue()
		if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsDownloaded != 3 {
			t.Errorf("with the right to its folder: %+v", s)
		}
	})
	t.Run("an attachment of a former version", func(t *testing.T) {
		t.Parallel()
		m, _, removed := oldest(t)
		m.Server.AddFault(apitest.Fault{Kind: "stale"})
		m.Execute(`DELETE FROM noggin_schema.seal_due`)
		m.PassDays("2")
		allow := forbid(t, m, filepath.Dir(m.FilesEnding(".jpg")[0]))
		if s := m.MustRun(process.Options{UntilEmpty: true}); s.Claimed != 1 || m.MediaRequests() != 0 {
			t.Errorf("%d requests for attachments, summary %+v\n%s", m.MediaRequests(), s, m.Logged)
		}
		if state := m.Value(recordState); !strings.HasPrefix(state, "complete v1 0 f t") {
			t.Errorf("the record is %s", state)
		}
		allow()
		m.MustRun(process.Options{Selector: m.Only(0)})
		kept(t, m, removed, "2-2")
	})
}
