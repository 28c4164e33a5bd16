package apitest

import (
	"bytes"
	"testing"
)

func TestObjectsAreServedByTheirTip(t *testing.T) {
	s := Start(t, Options{Records: 6, Photos: Fixed(1)})
	for _, p := range population {
		for e := range s.entities(p.kind) {
			doc, m := parsed(t, s.objectByTip(e.Tip))
			name := map[EntityType]string{
				Vehicle: doc.text("assetName"), Trailer: doc.text("assetName"), Department: doc.text("siteName"), Team: doc.text("siteName"),
				Person: doc.text("firstName") + " " + doc.text("lastName"), Customer: doc.text("name"), other: e.Name,
			}[p.kind]
			if m.Tip != e.Tip || m.SID == "" || m.CreatedDate.IsZero() || name != e.Name || doc.get("comments") != nil {
				t.Fatalf("%s %q is %s", e.Type, e.Name, doc.encode())
			}
			if e.index > 0 {
				continue
			}
			for _, path := range []string{"/tip/" + e.Tip, "/rest/tip/" + e.Tip + "?branch=branch/master", "/sid/" + m.SID} {
				if got := mustGet(t, s, path, 200); !bytes.Equal(got, doc.encode()) {
					t.Errorf("%s: %s", path, got)
				}
			}
			mustGet(t, s, pathOf(Record{APIName: "site", Tip: e.Tip}), 404)
		}
	}
	for r := range s.Records() {
		if got := mustGet(t, s, "/tip/"+r.Tip, 200); !bytes.Equal(got, s.Payload(r.Tip)) {
			t.Errorf("%s by its tip: %s", r.Code, got)
		}
		if len(r.Attachments) > 0 {
			mustGet(t, s, "/tip/"+r.Attachments[0].Tip, 404)
		}
	}
	mustGet(t, s, "/tip/nothing", 404)
}

// A name by the tip is the name in the export.
func TestObjectsHaveTheNamesOfTheExports(t *testing.T) {
	w := newWorld(Options{})
	var b bytes.Buffer
	if err := w.writeEntities(&b, Vehicle, Trailer); err != nil {
		t.Fatal(err)
	}
	for e := range w.entities(Trailer) {
		if doc, _ := parsed(t, w.objectByTip(e.Tip)); !bytes.Contains(b.Bytes(), []byte(e.Tip+","+doc.text("assetName")+",")) && e.index%37 != 36 {
			t.Fatalf("the export does not hold %s", doc.encode())
		}
	}
}

func TestObjectsMayBeForbidden(t *testing.T) {
	s := Start(t, Options{Records: 1, Forms: []string{"LCD"}})
	doc, _ := parsed(t, s.Payload(s.Record(0).Tip))
	vehicle, team := doc.text("vehicle"), doc.text("team")
	s.SetFaults(Fault{Status: 403, On: OnTip})
	mustGet(t, s, "/tip/"+vehicle, 403)
	mustGet(t, s, pathOf(s.Record(0)), 200)
	mustGet(t, s, "/sid/"+s.Record(0).SID, 200)
	s.SetFaults(Fault{Status: 404, Tips: []string{team}}, Fault{Status: 403, On: OnSID})
	mustGet(t, s, "/tip/"+team, 404)
	mustGet(t, s, "/tip/"+vehicle, 200)
	mustGet(t, s, "/sid/"+s.Record(0).SID, 403)
	q := s.request(t, "/tip/"+vehicle)
	q.Header.Del("Authorization")
	if got, err := do(q); err != nil || got.status != 401 {
		t.Errorf("without a token: %d, %v", got.status, err)
	}
	if stats := s.Stats(); stats.ByKind[OnTip] != 4 || stats.ByKind[OnSID] != 2 {
		t.Errorf("kinds %v", stats.ByKind)
	}
}
