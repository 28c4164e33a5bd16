package apitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Numbers of versions. Every edit adds the next.
const (
	versionCreated = iota // without media
	versionServed         // as the world makes it
	versionEdited
)

// firstAdded is the number of the first attachment that an edit adds, beyond all that
// a record has of itself.
const firstAdded = 1000

const metaTime = "2006-01-02T15:04:05.000Z"

// change is what edits did to one record. It is replaced as a whole, never modified.
type change struct {
	documents [][]byte         // of the versions from versionEdited on
	set       []map[string]any // Edit.Set of each
	added     []placement
	removed   map[int]bool // attachments by number
	revisions map[int]int  // how often an attachment's bytes were replaced
}

func (c change) latest() int { return versionServed + len(c.documents) }

// changeOf returns what edits did to a record so far.
func (w *World) changeOf(index int) change {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.changes[index]
}

// Edit is what somebody changes in a record at the platform.
type Edit struct {
	Set     map[string]any // fields by name; nil removes the field
	Add     []string       // a media field for each new attachment
	Remove  []string       // tips of attachments
	Replace []string       // tips of attachments that keep their tip and get other bytes
}

// Edit adds a version to a record and returns the record as it is then. It panics on a
// tip or field that the record does not have, which is a mistake in the test.
func (w *World) Edit(tip string, e Edit) Record {
	w.editing.Lock()
	defer w.editing.Unlock()
	r, ok := w.find(tip)
	if !ok {
		panic("apitest: edit of no record: " + tip)
	}
	return w.edit(r, e)
}

// edit is Edit of the newest version r. Its caller holds w.editing.
func (w *World) edit(r Record, e Edit) Record {
	old := w.changeOf(r.Index)
	next := change{
		set: append(slices.Clip(old.set), e.Set), added: slices.Clip(old.added),
		removed: map[int]bool{}, revisions: map[int]int{},
	}
	maps.Copy(next.removed, old.removed)
	maps.Copy(next.revisions, old.revisions)
	for _, field := range e.Add {
		if !slices.Contains(w.shapeOf(r.Index).mediaFields, field) {
			panic("apitest: no media field " + field)
		}
		next.added = append(next.added, placement{firstAdded + len(next.added), field})
	}
	number := func(attachment string) int {
		if !slices.ContainsFunc(r.Attachments, func(a Attachment) bool { return a.Tip == attachment }) {
			panic("apitest: no attachment of the record: " + attachment)
		}
		m, _ := w.codec.decode(attachment)
		return m.sub
	}
	for _, attachment := range e.Remove {
		next.removed[number(attachment)] = true
	}
	for _, attachment := range e.Replace {
		next.revisions[number(attachment)]++
	}
	version := old.latest() + 1
	r.Attachments, r.SID = w.attachments(r.Index, next), w.sid(r.Index, version)
	next.documents = append(slices.Clip(old.documents), w.edited(&r, next, version))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes[r.Index] = next
	return r
}

// edited makes the document of an edited record.
func (w *World) edited(r *Record, c change, version int) []byte {
	doc := w.document(r)
	for _, fields := range c.set {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if fields[name] == nil {
				doc.remove(name)
			} else {
				doc.set(name, fields[name])
			}
		}
	}
	_, modified := w.clock(r)
	modified = modified.Add(time.Duration(version-versionServed) * 50 * time.Minute) // the median of real edits
	doc.setMeta("sid", r.SID)
	doc.setMeta("parent", []string{w.sid(r.Index, version-1)})
	doc.setMeta("modifiedDate", modified.Format(metaTime))
	return doc.encode()
}

func (w *World) sid(index, version int) string {
	return w.codec.encode(mark{kind: kindVersion, sub: version, index: index})
}

// version returns the document of one version of a record, nil when there is none.
func (w *World) version(index, version int) []byte {
	c := w.changeOf(index)
	if index >= w.Len() || version < versionCreated || version > c.latest() {
		return nil
	}
	if version >= versionEdited {
		return c.documents[version-versionEdited]
	}
	r := w.heading(index)
	r.Attachments = w.attachments(index, change{})
	doc := w.document(&r)
	if version == versionCreated {
		created, _ := w.clock(&r)
		doc.setMeta("modifiedDate", created.Format(metaTime))
		doc.setMeta("sid", w.sid(index, versionCreated))
		doc.setMeta("parent", []string{})
		for _, field := range w.shapeOf(index).mediaFields {
			doc.remove(field)
		}
	}
	return doc.encode()
}

// Payload returns the answer served for a record's tip, nil when there is none.
func (w *World) Payload(tip string) []byte {
	r, ok := w.find(tip)
	if !ok {
		return nil
	}
	return w.version(r.Index, w.changeOf(r.Index).latest())
}

// editKinds are what a fault of kind edit does, by its Value. Without one they come in
// this order, version by version.
var editKinds = []string{"field", "add", "replace", "remove"}

// anEdit makes up an edit of a record. A record without what the kind needs gets
// another text in a field.
func (w *World) anEdit(r Record, kind string) Edit {
	s, version := w.shapeOf(r.Index), w.changeOf(r.Index).latest()
	if kind == "" {
		kind = editKinds[(version-versionServed)%len(editKinds)]
	}
	has := len(r.Attachments) > 0
	switch {
	case kind == "add" && len(s.mediaFields) > 0:
		return Edit{Add: s.mediaFields[:1]}
	case kind == "replace" && has:
		return Edit{Replace: []string{r.Attachments[0].Tip}}
	case kind == "remove" && has:
		return Edit{Remove: []string{r.Attachments[0].Tip}}
	}
	text := slices.IndexFunc(s.fields, func(f field) bool { return f.fill == fillPool })
	return Edit{Set: map[string]any{s.fields[text].name: fmt.Sprintf("edited after version %d", version)}}
}

// changeByEdit edits the record after its answer was made, so the answer is of the
// version before.
func changeByEdit(x *exchange, f *Fault, _ *answer) {
	w := x.server.World
	w.editing.Lock()
	defer w.editing.Unlock()
	if r, ok := w.find(x.call.record); ok {
		w.edit(r, w.anEdit(r, f.Value))
	}
}

// changeStale answers with the version before, or with the bytes of an attachment
// before they were replaced.
func changeStale(x *exchange, _ *Fault, a *answer) {
	w := x.server.World
	switch x.call.kind {
	case OnRecord, OnTip:
		if r, ok := w.find(x.call.tip); ok {
			a.parts = [][]byte{w.version(r.Index, w.changeOf(r.Index).latest()-1)}
		}
	case OnMedia:
		if old, ok := w.lookUpMedia(x.call.tip, 1); ok {
			a.parts = old.parts
		}
	}
}

// editReduced leaves nothing but $meta.
func editReduced(_ *exchange, _ *Fault, d *document) {
	for _, name := range d.fields() {
		if name != "$meta" {
			d.remove(name)
		}
	}
}

// metaOf writes a $meta.
func metaOf(created, modified time.Time, security, typeTip, tip, sid string, parents ...string) json.RawMessage {
	return fmt.Appendf(nil, `{"createdDate":%q,"modifiedDate":%q,"security":%q,"type":%q,"tip":%q,"sid":%q,`+
		`"branch":"branch/master","parent":%s,"errors":[]}`,
		created.Format(metaTime), modified.Format(metaTime), security, typeTip, tip, sid, marshal(slices.Concat([]string{}, parents)))
}
