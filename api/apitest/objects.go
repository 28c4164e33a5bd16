package apitest

import (
	"strconv"
	"strings"
	"time"
)

// property is a field of an entity with its value.
type property struct{ name, value string }

var (
	assetTypes = map[EntityType][]string{Vehicle: {"PRIME MOVER", "PRIME MOVER", "RIGID", "FORKLIFT"}, Trailer: {"TRAILER"}}
	siteTypes  = map[EntityType]string{Department: "department", Team: "team"}
)

// properties are an entity's fields, in the order of the platform's exports. The type
// other has no name.
func (e Entity) properties() []property {
	switch e.Type {
	case Vehicle, Trailer:
		types := assetTypes[e.Type]
		return []property{
			{"assetName", e.Name},
			{"assetId", "A" + strconv.Itoa(1000+e.index)},
			{"assetType", types[e.index%len(types)]},
			{"make", `Kenworth, "K200"`},
			{"comments", ""},
		}
	case Department, Team:
		id := strconv.Itoa(100 + e.index)
		return []property{
			{"siteId", "S" + id},
			{"siteName", e.Name},
			{"goldstarId", "GS" + id},
			{"state", "WA"},
			{"siteType", siteTypes[e.Type]},
			{"comments", ""},
		}
	case Person:
		first, last, _ := strings.Cut(e.Name, " ")
		return []property{{"firstName", first}, {"lastName", last}}
	case Customer:
		return []property{{"name", e.Name}}
	default:
		return []property{{"status", "open"}}
	}
}

// entityDocument makes the answer for an entity. As in a record's, fields without a
// value are left out.
func (w *World) entityDocument(m mark) []byte {
	e := w.entity(m.class, m.index)
	created := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(w.draw(m.index, drawClock)%100_000) * time.Minute)
	typeTip := w.codec.encode(mark{kind: kindType, class: m.class})
	doc := &document{}
	doc.set("$meta", metaOf(created, created, typeTip, typeTip, e.Tip, w.codec.encode(mark{kind: kindEntityVersion, class: m.class, index: m.index})))
	for _, p := range e.properties() {
		if p.value != "" {
			doc.set(p.name, p.value)
		}
	}
	return doc.encode()
}

// objectByTip returns the answer of /tip, nil when there is none.
func (w *World) objectByTip(tip string) []byte {
	if m, ok := w.codec.decode(tip); ok && m.kind == kindEntity {
		return w.entityDocument(m)
	}
	return w.Payload(tip)
}

// objectBySID returns the answer of /sid, nil when there is none.
func (w *World) objectBySID(sid string) []byte {
	m, ok := w.codec.decode(sid)
	switch {
	case ok && m.kind == kindVersion:
		return w.version(m.index, m.sub)
	case ok && m.kind == kindEntityVersion:
		return w.entityDocument(m)
	}
	return nil
}

// recordOf returns the tip of the record to which an attachment's tip or a sid belongs,
// a record's own tip, or "" for anything else.
func (w *World) recordOf(key string) string {
	if m, ok := w.codec.decode(key); ok && (m.kind == kindRecord || m.kind == kindAttachment || m.kind == kindVersion) {
		return w.codec.encode(mark{kind: kindRecord, index: m.index})
	}
	return ""
}
