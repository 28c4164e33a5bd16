package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/gate"
	"noggin/batch/process"
)

// fence puts the output folder into one of its own and returns a check that nothing
// appeared beside it.
func fence(m *batchtest.Mirror) (check func()) {
	m.T.Helper()
	around := m.T.TempDir()
	m.Output = filepath.Join(around, "a", "output")
	if err := files.CreateMarker(m.Output); err != nil {
		m.T.Fatal(err)
	}
	return func() {
		m.T.Helper()
		for _, folder := range []string{around, filepath.Join(around, "a")} {
			if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
				m.T.Errorf("%s holds %v, %v", folder, entries, err)
			}
		}
	}
}

func TestReferencesThatAreNotOursAreFailedAttachments(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	checkFence := fence(m)
	m.Server.AddFault(apitest.Fault{Kind: "hostile-media"})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Partial != 1 || s.AttachmentsDownloaded != 2 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.attachments WHERE attachment_status = 'failed'`); n == "0" {
		t.Error("no reference was refused")
	}
	for _, e := range m.Server.Log() {
		if e.Kind != apitest.OnRecord && e.Status != 200 {
			t.Errorf("asked for %s", e.Path)
		}
	}
	if photographs, _ := filesOf(m); len(photographs) != 2 {
		t.Errorf("files: %v", photographs)
	}
	checkFence()
	// Beside a failure that may pass they do not take its time from the record.
	counted := func(want string) {
		t.Helper()
		m.MakeDue()
		m.MustRun(process.Options{UntilEmpty: true})
		if got := m.Value(`SELECT concat_ws(' ', processing_status, retry_count, permanently_failed) FROM noggin_schema.noggin_data`); got != want {
			t.Errorf("the record is %s, want %s\n%s", got, want, m.Logged)
		}
	}
	m.Retry.MaxAttempts = 2
	added := m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Add: []string{"attachments"}}).Attachments[2].Tip
	passing := m.Server.AddFault(apitest.Fault{Status: 503, On: apitest.OnMedia, Tips: []string{added}})
	counted("partial 2 f")
	m.Server.RemoveFault(passing)
	counted("partial 3 t")
}

func TestEachHostileReferenceFailsAloneAndIsAskedOfNobody(t *testing.T) {
	t.Parallel()
	refs := apitest.HostileMedia()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(len(refs), 1))
	checkFence := fence(m)
	for i, ref := range refs {
		if ref == "" {
			continue // the fault's own default
		}
		m.Server.AddFault(apitest.Fault{Kind: "hostile-media", Value: ref, Tips: []string{m.Server.Record(i).Tip}})
	}
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.Complete != 1 || s.Partial != len(refs)-1 {
		t.Errorf("summary %+v", s)
	}
	if n := m.Server.Stats().ByKind[apitest.OnMedia]; n != int64(len(refs))+1 {
		t.Errorf("%d requests for media, want %d and the witness", n, len(refs))
	}
	checkFence()
}

func TestUnusableReferencesThatDifferInTheNamespaceAloneAreOneAttachment(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(1))
	m.Server.AddFault(apitest.Fault{Kind: "body", On: apitest.OnRecord, Value: `{"$meta": {"tip": "` + m.Server.Record(0).Tip + `"},
		"attachments": ["/media/file?ns=aaaaaaaaaaaa&tip=", "/media/file?ns=bbbbbbbbbbbb&tip="]}`})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if n := m.Value(`SELECT (SELECT count(*) FROM noggin_schema.attachments) || ' ' || (SELECT count(*) FROM noggin_schema.record_versions)`); n != "1 1" {
		t.Errorf("attachments and versions: %s, want 1 1", n)
	}
}

func TestARedirectToAForeignHostGetsNoCredentials(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(2, 2))
	foreign := apitest.Start(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), OpenAccess: true, MediaBytes: apitest.Range{Min: 2000, Max: 5000}})
	m.API.MediaRedirectHosts = []string{strings.TrimPrefix(foreign.URL(), "http://")}
	m.Server.AddFault(apitest.Fault{Kind: "redirect", On: apitest.OnMedia, Location: foreign.URL()})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 2 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if n := foreign.Stats(); n.Requests != 4 || n.Authorized != 0 || n.Namespaced != 0 {
		t.Errorf("the foreign host saw %d requests, %d with the token, %d with the namespace", n.Requests, n.Authorized, n.Namespaced)
	}
	// A record that is redirected is a broken answer.
	m.Server.SetFaults(apitest.Fault{Kind: "redirect", On: apitest.OnRecord, Location: foreign.URL()})
	if s, err := m.TryRun(process.Options{Selector: m.Only(0)}); s.AskedAgain != 1 || s.Complete != 1 || !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Errorf("summary %+v, error %v", s, err)
	}
	if n := foreign.Stats().Requests; n != 4 {
		t.Errorf("a record's redirect was followed")
	}
}

func TestHostileAnswersBecomeRecordsInsideTheOutputFolder(t *testing.T) {
	t.Parallel()
	names := apitest.HostileNames()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(3*len(names)+5, 1))
	checkFence := fence(m)
	index := 0
	fault := func(f apitest.Fault) {
		f.Tips = []string{m.Server.Record(index).Tip}
		f.On = apitest.OnRecord
		index++
		m.Server.AddFault(f)
	}
	for _, name := range names {
		fault(apitest.Fault{Kind: "hostile-id", Value: name})
		fault(apitest.Fault{Kind: "hostile-names", Value: name})
		fault(apitest.Fault{Kind: "hostile-field", Value: name})
	}
	for _, kind := range []string{"no-id", "no-date", "nul", "numbers-as-text", "unusual-document"} {
		fault(apitest.Fault{Kind: kind})
	}
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.Complete != index-1 || s.Failed != 1 { // "none" is no photograph
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	_, reports := filesOf(m)
	if len(reports) != index {
		t.Errorf("%d reports, want %d", len(reports), index)
	}
	for _, path := range reports {
		if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == '\u202e' || r == '\u200f' }) {
			t.Errorf("a name that deceives: %q", path)
		}
	}
	checkFence()
}

func TestALargeRecordIsStored(t *testing.T) {
	t.Parallel()
	size := int64(5 << 20)
	if os.Getenv("NOGGIN_FAULTS") == "full" {
		size *= 10
	}
	m := batchtest.NewQueue(t, plainWorld(2))
	m.Server.AddFault(apitest.Fault{Kind: "huge", Tips: []string{m.Server.Record(0).Tip}, On: apitest.OnRecord, Size: size})
	m.API.MaxPayloadBytes = 64 << 20
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 2 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
}

func TestAnAnswerBeyondTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(4))
	m.API.MaxPayloadBytes = 200_000
	for i, fault := range []apitest.Fault{
		{Kind: "huge", Size: 300_000},
		{Kind: "endless"},
		{Kind: "gzip-bomb", Size: 64 << 20},
	} {
		fault.On, fault.Tips = apitest.OnRecord, []string{m.Server.Record(i).Tip}
		m.Server.AddFault(fault)
	}
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.APIFailed != 3 {
		t.Errorf("summary %+v", s)
	}
	if got := m.Value(`SELECT string_agg(error_type, ' ') FROM noggin_schema.processing_errors`); got != "too_large too_large too_large" {
		t.Errorf("recorded: %s\n%s", got, m.Logged)
	}
}
