package apitest

import "slices"

// changed runs edit on the change kept for a record's tip.
func (w *World) changed(tip string, edit func(*change)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changes[tip] == nil {
		w.changes[tip] = &change{}
	}
	edit(w.changes[tip])
}

// Edit changes a record's document each time it is served. What Record reports
// of it stays as generated: the test knows what it changed.
func (w *World) Edit(tip string, edit func(*Document)) {
	w.changed(tip, func(c *change) { c.edits = append(c.edits, edit) })
}

// SetPayload replaces a record's answer by any bytes.
func (w *World) SetPayload(tip string, payload []byte) {
	w.changed(tip, func(c *change) { c.payload = slices.Clone(payload) })
}

// SetRecord serves payload under a tip that is not of this world.
func (w *World) SetRecord(apiName, tip string, payload []byte) {
	w.changed(tip, func(c *change) { c.form, c.payload = apiName, slices.Clone(payload) })
}

// AddPhoto adds a photograph to a field of a record that shows media and returns
// its tip. It panics on a tip that is no record.
func (w *World) AddPhoto(tip, field string) string {
	m, ok := w.codec.decode(tip)
	if !ok || m.kind != kindRecord {
		panic("apitest: AddPhoto to no record: " + tip)
	}
	if !slices.Contains(w.shapeOf(m.index).mediaFields, field) {
		panic("apitest: no media field " + field)
	}
	const firstExtra = 1000 // beyond any photograph the record has of itself
	var seq int
	w.changed(tip, func(c *change) {
		seq = firstExtra + len(c.extra)
		c.extra = append(c.extra, placement{seq, field})
	})
	return w.codec.encode(mark{kind: kindAttachment, index: m.index, sub: seq})
}

// SetMedia serves body under an attachment's tip, which need not be of this world.
func (w *World) SetMedia(tip, contentType string, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bodies[tip] = artefact{contentType, [][]byte{slices.Clone(body)}}
}

// Payload returns the answer served for a record's tip, nil when there is none.
func (w *World) Payload(tip string) []byte {
	payload, _ := w.lookUpRecord(tip)
	return payload
}

// lookUpRecord returns a record's answer and its form's API name.
func (w *World) lookUpRecord(tip string) (payload []byte, apiName string) {
	var c change
	w.mu.RLock()
	if p := w.changes[tip]; p != nil {
		c = *p
	}
	w.mu.RUnlock()
	r, ok := w.Find(tip)
	if !ok {
		return c.payload, c.form
	}
	if c.payload != nil {
		return c.payload, r.APIName
	}
	doc := w.document(&r)
	for _, edit := range c.edits {
		edit(doc)
	}
	return doc.Encode(), r.APIName
}
