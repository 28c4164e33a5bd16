package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Document is a JSON object that keeps the order of its keys.
type Document struct{ entries []entry }

type entry struct {
	name  string
	value json.RawMessage
}

// ParseDocument reads a JSON object.
func ParseDocument(raw []byte) (*Document, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("no JSON object: %v %w", t, err)
	}
	doc := &Document{}
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

func (d *Document) find(name string) int {
	return slices.IndexFunc(d.entries, func(e entry) bool { return e.name == name })
}

// Get returns a field's JSON, nil when it is absent.
func (d *Document) Get(name string) json.RawMessage {
	if i := d.find(name); i >= 0 {
		return d.entries[i].value
	}
	return nil
}

// Text returns a string field's value, "" when it is absent or no string.
func (d *Document) Text(name string) string {
	var s string
	_ = json.Unmarshal(d.Get(name), &s) // "" is the answer then
	return s
}

// Set gives a field a value: anything encoding/json takes, or a json.RawMessage
// to be written as it is.
func (d *Document) Set(name string, value any) {
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

// Delete takes a field out.
func (d *Document) Delete(name string) {
	d.entries = slices.DeleteFunc(d.entries, func(e entry) bool { return e.name == name })
}

// SetMeta and DeleteMeta do the same inside $meta.
func (d *Document) SetMeta(name string, value any) {
	d.editMeta(func(meta *Document) { meta.Set(name, value) })
}

// DeleteMeta takes a field out of $meta.
func (d *Document) DeleteMeta(name string) {
	d.editMeta(func(meta *Document) { meta.Delete(name) })
}

func (d *Document) editMeta(edit func(*Document)) {
	if meta, err := ParseDocument(d.Get("$meta")); err == nil {
		edit(meta)
		d.Set("$meta", json.RawMessage(meta.Encode()))
	}
}

// Fields lists the names in order.
func (d *Document) Fields() []string {
	names := make([]string, len(d.entries))
	for i, e := range d.entries {
		names[i] = e.name
	}
	return names
}

// Encode writes the object, compact.
func (d *Document) Encode() []byte {
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
