package batch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/storage"
)

// only selects one record by its tip.
func (m *mirror) only(index int) storage.Selector {
	return storage.Selector{Tips: []string{m.server.Record(index).Tip}}
}

// fence puts the output folder into one of its own and returns a check that nothing
// appeared beside it.
func (m *mirror) fence() (check func()) {
	m.t.Helper()
	around := m.t.TempDir()
	m.Config.Paths.Output = filepath.Join(around, "a", "output")
	if err := CreateMarker(m.Config.Paths.Output); err != nil {
		m.t.Fatal(err)
	}
	return func() {
		m.t.Helper()
		for _, folder := range []string{around, filepath.Join(around, "a")} {
			if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
				m.t.Errorf("%s holds %v, %v", folder, entries, err)
			}
		}
	}
}

func TestReferencesThatAreNotOursAreFailedAttachments(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(1, 2))
	checkFence := m.fence()
	m.server.AddFault(apitest.Fault{Kind: "hostile-media"})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Partial != 1 || s.AttachmentsDownloaded != 2 {
		t.Errorf("summary %+v\n%s", s, m.log)
	}
	if n := m.value(`SELECT count(*) FROM noggin_schema.attachments WHERE attachment_status = 'failed'`); n == "0" {
		t.Error("no reference was refused")
	}
	for _, e := range m.server.Log() {
		if e.Kind != apitest.OnRecord && e.Status != 200 {
			t.Errorf("asked for %s", e.Path)
		}
	}
	if photographs, _ := m.files(); len(photographs) != 2 {
		t.Errorf("files: %v", photographs)
	}
	checkFence()
}

func TestEachHostileReferenceFailsAloneAndIsAskedOfNobody(t *testing.T) {
	t.Parallel()
	refs := apitest.HostileMedia()
	m := newQueue(t, photoWorld(len(refs), 1))
	checkFence := m.fence()
	for i, ref := range refs {
		if ref == "" {
			continue // the fault's own default
		}
		m.server.AddFault(apitest.Fault{Kind: "hostile-media", Value: ref, Tips: []string{m.server.Record(i).Tip}})
	}
	s := m.mustRun(ProcessOptions{UntilEmpty: true})
	if s.Complete != 1 || s.Partial != len(refs)-1 {
		t.Errorf("summary %+v", s)
	}
	if n := m.server.Stats().ByKind[apitest.OnMedia]; n != int64(len(refs)) {
		t.Errorf("%d requests for media, want %d", n, len(refs))
	}
	checkFence()
}

func TestARedirectToAForeignHostGetsNoCredentials(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(2, 2))
	foreign := apitest.Start(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), OpenAccess: true, MediaBytes: apitest.Range{Min: 2000, Max: 5000}})
	m.server.AddFault(apitest.Fault{Kind: "redirect", On: apitest.OnMedia, Location: foreign.URL()})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 2 {
		t.Errorf("summary %+v\n%s", s, m.log)
	}
	if n := foreign.Stats(); n.Requests != 4 || n.Authorized != 0 || n.Namespaced != 0 {
		t.Errorf("the foreign host saw %d requests, %d with the token, %d with the namespace", n.Requests, n.Authorized, n.Namespaced)
	}
	// A record that is redirected is a broken answer.
	m.server.SetFaults(apitest.Fault{Kind: "redirect", On: apitest.OnRecord, Location: foreign.URL()})
	if s := m.mustRun(ProcessOptions{Selector: m.only(0)}); s.APIFailed != 1 {
		t.Errorf("summary %+v", s)
	}
	if n := foreign.Stats().Requests; n != 4 {
		t.Errorf("a record's redirect was followed")
	}
}

func TestHostileAnswersBecomeRecordsInsideTheOutputFolder(t *testing.T) {
	t.Parallel()
	names := apitest.HostileNames()
	m := newQueue(t, photoWorld(3*len(names)+5, 1))
	checkFence := m.fence()
	index := 0
	fault := func(f apitest.Fault) {
		f.Tips = []string{m.server.Record(index).Tip}
		f.On = apitest.OnRecord
		index++
		m.server.AddFault(f)
	}
	for _, name := range names {
		fault(apitest.Fault{Kind: "hostile-id", Value: name})
		fault(apitest.Fault{Kind: "hostile-names", Value: name})
		fault(apitest.Fault{Kind: "hostile-field", Value: name})
	}
	for _, kind := range []string{"no-id", "no-date", "nul", "numbers-as-text", "unusual-document"} {
		fault(apitest.Fault{Kind: kind})
	}
	s := m.mustRun(ProcessOptions{UntilEmpty: true})
	if s.Complete != index-1 || s.Failed != 1 { // "none" is no photograph
		t.Errorf("summary %+v\n%s", s, m.log)
	}
	_, reports := m.files()
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
	m := newQueue(t, plainWorld(2))
	m.server.AddFault(apitest.Fault{Kind: "huge", Tips: []string{m.server.Record(0).Tip}, On: apitest.OnRecord, Size: size})
	m.API.MaxPayloadBytes = 64 << 20
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 2 {
		t.Errorf("summary %+v\n%s", s, m.log)
	}
}

func TestAnAnswerBeyondTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(4))
	m.API.MaxPayloadBytes = 200_000
	for i, fault := range []apitest.Fault{
		{Kind: "huge", Size: 300_000},
		{Kind: "endless"},
		{Kind: "gzip-bomb", Size: 64 << 20},
	} {
		fault.On, fault.Tips = apitest.OnRecord, []string{m.server.Record(i).Tip}
		m.server.AddFault(fault)
	}
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 1 || s.APIFailed != 3 {
		t.Errorf("summary %+v", s)
	}
	if n := m.value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE error_type = 'too_large'`); n != "3" {
		t.Errorf("%s recorded as too large, want 3", n)
	}
}
