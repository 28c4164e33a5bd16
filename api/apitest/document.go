package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// document is a JSON object that keeps the order of its keys.
type document struct{ entries []entry }

type entry struct {
	name  string
	value json.RawMessage
}

// parseDocument reads a JSON object.
func parseDocument(raw []byte) (*document, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("no JSON object: it begins with %v", t)
	}
	doc := &document{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		key, ok := name.(string)
		if !ok {
			return nil, fmt.Errorf("key %v is no string", name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		doc.entries = append(doc.entries, entry{key, value})
	}
	return doc, nil
}

func (d *document) find(name string) int {
	return slices.IndexFunc(d.entries, func(e entry) bool { return e.name == name })
}

// get returns a field's JSON, or nil without the field.
func (d *document) get(name string) json.RawMessage {
	if i := d.find(name); i >= 0 {
		return d.entries[i].value
	}
	return nil
}

// text returns a string field's value, or "" without the field or a string in it.
func (d *document) text(name string) string {
	var s string
	_ = json.Unmarshal(d.get(name), &s) // the result is "" then
	return s
}

// set gives a field a value. A json.RawMessage is written unchanged.
func (d *document) set(name string, value any) {
	raw, ok := value.(json.RawMessage)
	if !ok {
		raw = marshal(value)
	}
	if i := d.find(name); i >= 0 {
		d.entries[i].value = raw
		return
	}
	d.entries = append(d.entries, entry{name, raw})
}

// remove deletes a field.
func (d *document) remove(name string) {
	d.entries = slices.DeleteFunc(d.entries, func(e entry) bool { return e.name == name })
}

// setMeta gives a field of $meta a value.
func (d *document) setMeta(name string, value any) {
	d.editMeta(func(meta *document) { meta.set(name, value) })
}

// removeMeta removes a field of $meta.
func (d *document) removeMeta(name string) {
	d.editMeta(func(meta *document) { meta.remove(name) })
}

func (d *document) editMeta(edit func(*document)) {
	if meta, err := parseDocument(d.get("$meta")); err == nil {
		edit(meta)
		d.set("$meta", json.RawMessage(meta.encode()))
	}
}

// fields lists the names of the fields in order.
func (d *document) fields() []string {
	names := make([]string, len(d.entries))
	for i, e := range d.entries {
		names[i] = e.name
	}
	return names
}

// encode returns the object as JSON without white space.
func (d *document) encode() []byte {
	b := make([]byte, 0, 4096)
	b = append(b, '{')
	for i, e := range d.entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, marshal(e.name)...)
		b = append(b, ':')
		b = append(b, e.value...)
	}
	return append(b, '}')
}
