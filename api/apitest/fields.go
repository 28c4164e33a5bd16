package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// fill says how the values of a field are made.
type fill int

const (
	fillID fill = iota
	fillDate
	fillReference
	fillReferences
	fillMedia
	fillAnswer
	fillNumber
	fillRego
	fillCount
	fillNumbered
	fillPool
)

// fillers make the JSON value of a record's field from a random number. nil leaves the
// field out, as the API does with fields that have no value.
var fillers = [...]func(w *World, r *Record, f *field, dice uint64) json.RawMessage{
	fillID: func(_ *World, r *Record, _ *field, _ uint64) json.RawMessage {
		return marshal(r.InspectionID)
	},
	fillDate: func(w *World, r *Record, _ *field, _ uint64) json.RawMessage {
		return marshal(w.siteDate(r))
	},
	fillReference: func(w *World, _ *Record, f *field, dice uint64) json.RawMessage {
		return marshal(w.entityTip(f.entity, dice))
	},
	fillReferences: func(w *World, _ *Record, f *field, dice uint64) json.RawMessage {
		tips := []string{w.entityTip(f.entity, dice)}
		if dice%3 == 0 {
			tips = append(tips, w.entityTip(f.entity, mix(dice)))
		}
		return marshal(tips)
	},
	fillMedia: func(_ *World, r *Record, f *field, _ uint64) json.RawMessage {
		var refs []string
		for _, a := range r.Attachments {
			if a.Field == f.name {
				refs = append(refs, a.Ref)
			}
		}
		if refs == nil {
			return nil
		}
		return marshal(refs)
	},
	fillAnswer: func(w *World, r *Record, f *field, dice uint64) json.RawMessage {
		if f.size == 1 {
			return strconv.AppendBool(nil, dice%5 < 3)
		}
		// All answers to one question use the dice of its first field.
		chosen := 0
		if dice = w.draw(r.Index, uint64(f.group)); dice%7 == 0 {
			chosen = int(dice >> 8 % uint64(f.size))
		}
		return strconv.AppendBool(nil, f.place == chosen)
	},
	fillNumber: func(_ *World, _ *Record, _ *field, dice uint64) json.RawMessage {
		return strconv.AppendUint(nil, dice%9, 10)
	},
	fillRego: func(_ *World, _ *Record, _ *field, dice uint64) json.RawMessage {
		letter := func(shift int) byte { return 'A' + byte(dice>>shift%26) }
		return marshal(fmt.Sprintf("%d%c%c%c%03d", dice%10, letter(8), letter(16), letter(24), dice>>32%1000))
	},
	fillCount: func(_ *World, _ *Record, f *field, dice uint64) json.RawMessage {
		parts := looksLikeCount.FindStringSubmatch(f.sample)
		unit, fraction := parts[2], ""
		if parts[1] != "" {
			fraction = "." + strconv.Itoa(int(dice>>40%10))
		}
		digits := len(f.sample) - len(unit) - len(parts[1])
		limit := uint64(9)
		for range digits - 1 {
			limit *= 10
		}
		return marshal(strconv.FormatUint(limit/9+dice%limit, 10) + fraction + unit)
	},
	fillNumbered: func(_ *World, _ *Record, f *field, dice uint64) json.RawMessage {
		stem := strings.TrimRight(f.sample, "0123456789")
		return marshal(fmt.Sprintf("%s%0*d", stem, len(f.sample)-len(stem), 1+dice%9))
	},
	fillPool: func(_ *World, _ *Record, f *field, dice uint64) json.RawMessage {
		return f.pool[dice%uint64(len(f.pool))]
	},
}

// Values of text fields.
var (
	signatures = quoted("Pat Example", "Sam Example", "Jo Example", "Zoë Müller", "D'Arcy O'Neil", "Nguyễn Văn An")
	remarks    = quoted("Strap frayed, replaced", "OK", "Checked on site", "Worn but serviceable; monitor",
		"Driver advised \"tighten\" at 50 km", "2 × 50 mm webbing added", "Tagged out\nReported to workshop")
	htmlTexts = quoted(
		"<p>Chains &amp; dogs <b>worn</b>; replaced on site</p>",
		"<p>No issues found.</p>",
		"<p>Load shifted <i>slightly</i>:</p><ul><li>re-tensioned</li><li>photographed</li></ul>",
		"<div>Tarp torn<br>left side&nbsp;&lt; 30 cm</div>",
		"<p>Caf&eacute; pallet &#8211; stacked 3 high</p>")
)

func quoted(texts ...string) []json.RawMessage {
	out := make([]json.RawMessage, len(texts))
	for i, t := range texts {
		out[i] = marshal(t)
	}
	return out
}

// marshal encodes as the API does, without escapes for HTML.
func marshal(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings, numbers and lists of them only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// document makes a record's document as of versionServed, with the attachments of r.
func (w *World) document(r *Record) *document {
	s := w.shapeOf(r.Index)
	doc := &document{entries: make([]entry, 0, len(s.fields)+1)}
	created, modified := w.clock(r)
	doc.set("$meta", metaOf(created, modified, s.security, s.typeTip, r.Tip, w.sid(r.Index, versionServed), w.sid(r.Index, versionCreated)))
	for i := range s.fields {
		f := &s.fields[i]
		dice := w.draw(r.Index, uint64(i))
		if f.absent > 0 && fraction(mix(dice, 1)) < f.absent {
			continue
		}
		if value := fillers[f.fill](w, r, f, dice); value != nil {
			doc.entries = append(doc.entries, entry{f.name, value})
		}
	}
	return doc
}

// siteZones are the offsets of the sites; +08:00 is by far the most common.
var siteZones = [...]string{"+08:00", "+08:00", "+08:00", "+08:00", "+10:00", "+11:00", "+09:30"}

func (w *World) zone(r *Record) string {
	return siteZones[w.draw(r.Index, drawZone)%uint64(len(siteZones))]
}

// siteDate is the inspection's day as the API writes it: midnight in the site's own
// offset.
func (w *World) siteDate(r *Record) string {
	return r.Day.Format(time.DateOnly) + "T00:00:00.000" + w.zone(r)
}

// clock returns when a record was created (during the site's working day) and when it
// was modified for versionServed, both UTC.
func (w *World) clock(r *Record) (created, modified time.Time) {
	midnight, err := time.Parse("2006-01-02T15:04:05.000Z07:00", w.siteDate(r))
	if err != nil {
		panic(err) // siteDate wrote it
	}
	dice := w.draw(r.Index, drawClock)
	created = midnight.Add(5*time.Hour + time.Duration(dice%(12*3600*1000))*time.Millisecond)
	return created.UTC(), created.Add(time.Duration(dice>>32%600_000) * time.Millisecond).UTC()
}
