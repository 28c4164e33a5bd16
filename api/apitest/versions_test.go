package apitest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// meta is what the tests read of a $meta.
type meta struct {
	Tip, SID                  string
	Parent                    []string
	CreatedDate, ModifiedDate time.Time
}

func parsed(t *testing.T, payload []byte) (*document, meta) {
	t.Helper()
	doc, err := parseDocument(payload)
	if err != nil {
		t.Fatalf("%v: %s", err, payload)
	}
	var m meta
	if err := json.Unmarshal(doc.get("$meta"), &m); err != nil {
		t.Fatal(err)
	}
	return doc, m
}

func mustGet(t *testing.T, s *Server, path string, status int) []byte {
	t.Helper()
	got, err := s.get(t, path)
	if err != nil || got.status != status {
		t.Fatalf("%s: %d, %v, want %d", path, got.status, err, status)
	}
	return got.body
}

func TestEditsAddVersions(t *testing.T) {
	s := Start(t, Options{Records: 6, Forms: []string{"LCD"}, Photos: Fixed(3)})
	first := s.Record(0)
	before, old := parsed(t, mustGet(t, s, pathOf(first), 200))
	gone, replaced := first.Attachments[0], first.Attachments[1]
	bytesBefore := s.Media(replaced.Tip)

	r := s.Edit(first.Tip, Edit{
		Set: map[string]any{"jobNumber": "a/b", "team": nil}, Add: []string{"attachments"},
		Remove: []string{gone.Tip}, Replace: []string{replaced.Tip},
	})
	after, now := parsed(t, mustGet(t, s, pathOf(first), 200))
	if now.SID == old.SID || now.SID != r.SID || !slices.Equal(now.Parent, []string{old.SID}) || now.Tip != old.Tip {
		t.Errorf("$meta %+v follows %+v", now, old)
	}
	if !now.ModifiedDate.After(old.ModifiedDate) || !now.CreatedDate.Equal(old.CreatedDate) {
		t.Errorf("dates %+v follow %+v", now, old)
	}
	if after.text("jobNumber") != "a/b" || after.get("team") != nil || before.get("team") == nil || after.text("date") != before.text("date") {
		t.Errorf("fields %s", after.encode())
	}
	if !slices.EqualFunc(s.Record(0).Attachments, r.Attachments, func(a, b Attachment) bool { return a == b }) || len(r.Attachments) != 3 {
		t.Errorf("attachments %+v, then %+v", r.Attachments, s.Record(0).Attachments)
	}
	var refs, want []string
	eachMedia(after, func(_ string, list []string) { refs = append(refs, list...) })
	for _, a := range r.Attachments {
		want = append(want, a.Ref)
		if body := mustGet(t, s, a.Ref, 200); len(body) != a.Bytes {
			t.Errorf("attachment %+v has %d bytes", a, len(body))
		}
	}
	if !slices.Equal(refs, want) || slices.Contains(refs, gone.Ref) || !slices.Contains(refs, replaced.Ref) {
		t.Errorf("shows %v, want %v", refs, want)
	}
	if now := mustGet(t, s, replaced.Ref, 200); bytes.Equal(now, bytesBefore) {
		t.Error("the replaced attachment has the same bytes")
	}
	mustGet(t, s, gone.Ref, 200)
}

func TestEveryVersionStaysUnderItsSID(t *testing.T) {
	s := Start(t, Options{Records: 3, Forms: []string{"LCD"}, Photos: Fixed(2)})
	tip := s.Record(1).Tip
	served := [][]byte{s.Payload(tip)}
	for _, e := range []Edit{{Add: []string{"attachments"}}, {Set: map[string]any{"jobNumber": 7}}, {}} {
		s.Edit(tip, e)
		served = append(served, s.Payload(tip))
	}
	sid := s.Record(1).SID
	for _, want := range slices.Backward(served) {
		got := mustGet(t, s, "/sid/"+sid, 200)
		if !bytes.Equal(got, want) {
			t.Fatalf("sid %s: %s, want %s", sid, got, want)
		}
		_, m := parsed(t, got)
		sid = m.Parent[0]
	}
	created, m := parsed(t, mustGet(t, s, "/sid/"+sid, 200))
	if m.SID != sid || len(m.Parent) != 0 || !m.ModifiedDate.Equal(m.CreatedDate) || created.get("attachments") != nil || created.get("lcdInspectionId") == nil {
		t.Errorf("the first version is %s", created.encode())
	}
	for _, wrong := range []string{tip, strings.Repeat("0", 64), s.sid(1, 5), s.sid(3, 1)} {
		mustGet(t, s, "/sid/"+wrong, 404)
	}
	if other := s.Record(0); s.version(0, versionEdited) != nil || bytes.Equal(s.Payload(other.Tip), served[0]) {
		t.Error("the edits show in another record")
	}
}

func TestWrongEditsPanic(t *testing.T) {
	w := newWorld(Options{Records: 2, Photos: Fixed(1), Forms: []string{"LCD"}})
	foreign := w.Record(1).Attachments[0].Tip
	for name, edit := range map[string]func(){
		"tip":        func() { w.Edit("x", Edit{}) },
		"field":      func() { w.Edit(w.Record(0).Tip, Edit{Add: []string{"team"}}) },
		"attachment": func() { w.Edit(w.Record(0).Tip, Edit{Remove: []string{foreign}}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			edit()
		})
	}
	if w.Record(0).SID != w.sid(0, versionServed) {
		t.Error("a wrong edit left a version")
	}
}

func TestRecordsAreEditedDuringARun(t *testing.T) {
	s := Start(t, Options{Records: 6, Photos: Fixed(2)})
	id := s.AddFault(Fault{Kind: "edit", FirstHits: 4})
	for r := range s.Records() {
		photos := []int{}
		served := map[string]bool{}
		for range 5 {
			want := s.Payload(r.Tip)
			if got := mustGet(t, s, pathOf(r), 200); !bytes.Equal(got, want) {
				t.Fatalf("%s: the answer is not of the version before", r.Code)
			}
			served[string(want)] = true
			photos = append(photos, len(s.Record(r.Index).Attachments))
		}
		if len(served) != 5 {
			t.Errorf("%s was served in %d versions, want 5", r.Code, len(served))
		}
		if want := []int{2, 3, 3, 2, 2}; len(r.Attachments) > 0 && !slices.Equal(photos, want) {
			t.Errorf("%s shows %v attachments, want %v", r.Code, photos, want)
		}
	}
	s.RemoveFault(id)
	r := s.Record(0)
	s.AddFault(Fault{Kind: "edit", Value: "replace", Tips: []string{r.Tip}, Until: 1})
	before := s.Media(r.Attachments[0].Tip)
	mustGet(t, s, pathOf(r), 200)
	if got := s.Record(0); got.Attachments[0].Tip != r.Attachments[0].Tip || bytes.Equal(s.Media(r.Attachments[0].Tip), before) {
		t.Error("the attachment was not replaced")
	}
}

func TestACacheAnswersWithTheVersionBefore(t *testing.T) {
	s := Start(t, Options{Records: 2, Forms: []string{"LCD"}, Photos: Fixed(1)})
	r := s.Record(0)
	photo := r.Attachments[0]
	old, oldPhoto := s.Payload(r.Tip), s.Media(photo.Tip)
	s.Edit(r.Tip, Edit{Replace: []string{photo.Tip}})
	now, nowPhoto := s.Payload(r.Tip), s.Media(photo.Tip)
	for path, want := range map[string][2][]byte{
		pathOf(r): {old, now}, "/tip/" + r.Tip: {old, now}, photo.Ref: {oldPhoto, nowPhoto},
		pathOf(s.Record(1)): {s.version(1, versionCreated), s.Payload(s.Record(1).Tip)},
	} {
		s.SetFaults(Fault{Kind: "stale", Until: 1})
		for i := range 2 {
			if got := mustGet(t, s, path, 200); !bytes.Equal(got, want[i]) {
				t.Errorf("answer %d of %s is of the wrong version", i+1, path)
			}
		}
	}
	s.SetFaults(Fault{Kind: "stale"})
	if got := mustGet(t, s, "/sid/"+s.Record(0).SID, 200); !bytes.Equal(got, now) {
		t.Error("a version by its sid is stale")
	}
}

func TestReducedAnswersHoldNothingButMeta(t *testing.T) {
	s := Start(t, Options{Records: 6, Photos: Fixed(1)})
	s.AddFault(Fault{Kind: "reduced", FirstHits: 1})
	for r := range s.Records() {
		doc, m := parsed(t, mustGet(t, s, pathOf(r), 200))
		if m.Tip != r.Tip || m.SID != r.SID || !slices.Equal(doc.fields(), []string{"$meta"}) {
			t.Errorf("answer %s", doc.encode())
		}
		if got := mustGet(t, s, pathOf(r), 200); !bytes.Equal(got, s.Payload(r.Tip)) {
			t.Error("the next answer is reduced too")
		}
	}
}

func TestDeletedRecordsReturn(t *testing.T) {
	s := Start(t, Options{Records: 2, Forms: []string{"LCD"}, Photos: Fixed(1)})
	r, other := s.Record(0), s.Record(1)
	all := []string{pathOf(r), r.Attachments[0].Ref, "/tip/" + r.Tip, "/sid/" + r.SID}
	for _, status := range []int{404, 410} {
		id := s.AddFault(Fault{Status: status, Tips: []string{r.Tip}})
		for _, path := range all {
			mustGet(t, s, path, status)
		}
		mustGet(t, s, pathOf(other), 200)
		s.RemoveFault(id)
		for _, path := range all {
			mustGet(t, s, path, 200)
		}
	}
	s.AddFault(Fault{Status: 410, On: OnRecord, Tips: []string{r.Tip}})
	mustGet(t, s, pathOf(r), 410)
	mustGet(t, s, r.Attachments[0].Ref, 200)
}

func TestOneRecordOrAttachmentIsRefused(t *testing.T) {
	s := Start(t, Options{Records: 2, Forms: []string{"LCD"}, Photos: Fixed(2)})
	r := s.Record(0)
	for _, status := range []int{401, 403} {
		s.SetFaults(Fault{Status: status, On: OnRecord, Tips: []string{r.Tip}})
		mustGet(t, s, pathOf(r), status)
		mustGet(t, s, r.Attachments[0].Ref, 200)
		mustGet(t, s, pathOf(s.Record(1)), 200)
		s.SetFaults(Fault{Status: status, Tips: []string{r.Attachments[0].Tip}})
		mustGet(t, s, r.Attachments[0].Ref, status)
		mustGet(t, s, r.Attachments[1].Ref, 200)
		mustGet(t, s, pathOf(r), 200)
	}
}

// tally sends two requests for each of n records and returns how many records met a
// fault, and whether both requests of each fared alike.
func tally(b *faultBoard, w *World) (met int, alike bool) {
	alike = true
	for i := range w.Len() {
		tip := w.heading(i).Tip
		switch hits(meet(b, call{kind: OnRecord, tip: tip, record: tip}, 2)) {
		case 2:
			met++
		case 1:
			alike = false
		}
	}
	return met, alike
}

func TestHalfOfAllRecordsFailForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Options{Records: 1000})
		b := board(t, Fault{Status: http.StatusInternalServerError, On: OnRecord, Share: 0.5, ByTip: true, For: time.Minute})
		if met, alike := tally(b, w); met < 430 || met > 570 || !alike {
			t.Errorf("%d of 1000 records fail, each the same way: %v", met, alike)
		}
		time.Sleep(time.Minute)
		if met, _ := tally(b, w); met != 0 {
			t.Errorf("%d records fail after their time", met)
		}
	})
}

func TestMediaAreNoPicturesForATime(t *testing.T) {
	s := Start(t, Options{Records: 1, Forms: []string{"LCD"}, Photos: Fixed(2)})
	r := s.Record(0)
	for _, kind := range []string{"html", "html-picture", "error-object", "empty-picture", "cut-picture"} {
		s.SetFaults(Fault{Kind: kind, On: OnMedia, Until: 2})
		for i := range 4 {
			a := r.Attachments[i%2]
			whole := bytes.Equal(mustGet(t, s, a.Ref, 200), s.Media(a.Tip))
			if whole != (i >= 2) {
				t.Errorf("%s: answer %d is whole: %v", kind, i+1, whole)
			}
		}
	}
}

func TestEditsAtTheSameTimeMakeOneChainOfVersions(t *testing.T) {
	const n = 20
	s := Start(t, Options{Records: 1, Forms: []string{"LCD"}, Photos: Fixed(1)})
	s.AddFault(Fault{Kind: "edit", Until: n})
	r := s.Record(0)
	var clients sync.WaitGroup
	for range n {
		q := s.request(t, pathOf(r))
		clients.Go(func() {
			if got, err := do(q); err != nil || got.status != http.StatusOK {
				t.Errorf("answered %d, %v", got.status, err)
			}
		})
	}
	clients.Wait()
	sid, versions := s.Record(0).SID, 0
	for ; sid != ""; versions++ {
		_, m := parsed(t, s.objectBySID(sid))
		sid = ""
		if len(m.Parent) > 0 {
			sid = m.Parent[0]
		}
	}
	if versions != n+2 {
		t.Errorf("%d versions after %d edits", versions, n)
	}
}
