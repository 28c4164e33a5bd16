// Package apitest is a simulated Noggin API: an http.Handler that serves
// inspection records of all six forms and their media out of a made-up world,
// and injects faults into it. Only tests, the demo and the benchmark import it.
//
// The world is a pure function of its seed: a record is derived from its index,
// and a tip carries the index it belongs to, so that a world of a million
// records needs no more memory than one of ten. What lives here: the world
// (shapes, entities, documents, media), the handler with its counters and
// faults, and the CSV exports the platform would produce. What does not: any
// code of noggin itself, so that both sides cannot share a mistake.
package apitest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// Range is an inclusive span of whole numbers.
type Range struct{ Min, Max int }

// Fixed is the range that holds only n.
func Fixed(n int) Range { return Range{n, n} }

// None stands for "no photographs": the zero Range means the default.
var None = Range{-1, -1}

// Options describe a world and the server in front of it. The zero value of
// every field means its default.
type Options struct {
	Seed    uint64
	Records int      // default 100
	Forms   []string // codes, dealt out in turn; default all six

	Photos     Range   // attachments of one record; default 0 to 6
	PhotosMean float64 // average within Photos; default its middle
	MediaBytes Range   // size of one attachment; default 20,000 bytes
	PDFShare   float64 // share of attachments that are a PDF

	FirstDay time.Time // earliest inspection day; default 2025-01-01
	Days     int       // how many days the inspections spread over; default 365

	Unnamed float64 // share of entities missing from the CSV files of names

	Latency    time.Duration // wait before each answer
	Token      string        // default derived from the seed
	Namespace  string        // 64 hex digits; default derived from the seed
	OpenAccess bool          // serve without looking at token and namespace
	Log        bool          // keep an Entry of every request (memory grows with them)
}

func (o Options) withDefaults() Options {
	if o.Records == 0 {
		o.Records = 100
	}
	if len(o.Forms) == 0 {
		for _, f := range forms {
			o.Forms = append(o.Forms, f.Code)
		}
	}
	switch o.Photos {
	case Range{}:
		o.Photos = Range{0, 6}
	case None:
		o.Photos = Range{}
	}
	if o.PhotosMean == 0 {
		o.PhotosMean = float64(o.Photos.Min+o.Photos.Max) / 2
	}
	if o.MediaBytes == (Range{}) {
		o.MediaBytes = Fixed(20_000)
	}
	if o.FirstDay.IsZero() {
		o.FirstDay = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.Days == 0 {
		o.Days = 365
	}
	secret := sha256.Sum256(fmt.Appendf(nil, "noggin world %d", o.Seed))
	if o.Token == "" {
		o.Token = "sim-" + hex.EncodeToString(secret[:12])
	}
	if o.Namespace == "" {
		o.Namespace = hex.EncodeToString(secret[:])
	}
	return o
}

// World holds the records, media and entities that a Server shows. It is safe
// for concurrent use.
type World struct {
	opts   Options
	codec  codec
	shapes []*shape // by position in opts.Forms
	media  *mediaStock

	mu      sync.RWMutex
	records int
	changes map[string]*change  // by record tip
	bodies  map[string]artefact // by attachment tip: what SetMedia put there
}

// change is what a test altered in one record.
type change struct {
	extra   []placement
	edits   []func(*Document)
	payload []byte
	form    string // API name, for records outside the world
}

// NewWorld builds the world of o. It panics on a form code that does not exist,
// which is a mistake in the test.
func NewWorld(o Options) *World {
	o = o.withDefaults()
	w := &World{
		opts:    o,
		codec:   newCodec(o.Seed),
		media:   newMediaStock(o.Seed),
		records: o.Records,
		changes: map[string]*change{},
		bodies:  map[string]artefact{},
	}
	compiled := map[string]*shape{}
	for _, code := range o.Forms {
		if compiled[code] == nil {
			compiled[code] = mustCompile(code)
		}
		w.shapes = append(w.shapes, compiled[code])
	}
	return w
}

// Record is the truth about one inspection, for a test to compare with.
type Record struct {
	Index        int          `json:"index"`
	Tip          string       `json:"tip"`
	Code         string       `json:"object_type"` // LCD, …
	APIName      string       `json:"api_name"`    // the path segment of its form
	InspectionID string       `json:"inspection_id"`
	Day          time.Time    `json:"day"` // the calendar day the site wrote, at midnight UTC
	Attachments  []Attachment `json:"attachments"`
}

// Attachment is one media reference of a record, in the document's order.
type Attachment struct {
	Tip   string `json:"tip"`
	Field string `json:"field"`
	Ref   string `json:"ref"`          // as the document writes it: /media/file?ns=…&tip=…
	Type  string `json:"content_type"` // content type
	Bytes int    `json:"bytes"`
}

// Len is the number of records.
func (w *World) Len() int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.records
}

// Grow adds n records behind the present ones.
func (w *World) Grow(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records += n
}

// Token is the bearer token the server accepts.
func (w *World) Token() string { return w.opts.Token }

// Namespace is the tenant's key the server accepts.
func (w *World) Namespace() string { return w.opts.Namespace }

// Records yields every record in the order of its index.
func (w *World) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for i := 0; i < w.Len(); i++ {
			if !yield(w.Record(i)) {
				return
			}
		}
	}
}

// Record returns the record at index, counted from 0.
func (w *World) Record(index int) Record {
	r := w.heading(index)
	r.Attachments = w.attachments(index)
	return r
}

// heading is a record without its attachments: all that an export needs.
func (w *World) heading(index int) Record {
	s := w.shapeOf(index)
	return Record{
		Index:        index,
		Tip:          w.codec.encode(mark{kind: kindRecord, index: index}),
		Code:         s.form.Code,
		APIName:      s.form.APIName,
		InspectionID: fmt.Sprintf("%s%0*d", s.idPrefix, s.idWidth, index/len(w.shapes)+1),
		Day:          w.day(index),
	}
}

// Find returns the record of a tip.
func (w *World) Find(tip string) (Record, bool) {
	m, ok := w.codec.decode(tip)
	if !ok || m.kind != kindRecord || m.index >= w.Len() {
		return Record{}, false
	}
	return w.Record(m.index), true
}

// RecordOf returns the tip of the record that an attachment's tip belongs to,
// or "" when it is no attachment of this world.
func (w *World) RecordOf(attachmentTip string) string {
	m, ok := w.codec.decode(attachmentTip)
	if !ok || m.kind != kindAttachment {
		return ""
	}
	return w.codec.encode(mark{kind: kindRecord, index: m.index})
}

func (w *World) shapeOf(index int) *shape { return w.shapes[index%len(w.shapes)] }

func (w *World) day(index int) time.Time {
	return w.opts.FirstDay.AddDate(0, 0, int(w.draw(index, drawDay)%uint64(w.opts.Days)))
}

// photoCount draws from a binomial distribution over Photos, or a uniform one
// when its mean is the middle.
func (w *World) photoCount(index int) int {
	p := w.opts.Photos
	span := p.Max - p.Min
	if len(w.shapeOf(index).mediaFields) == 0 || span < 0 {
		return 0
	}
	share := (w.opts.PhotosMean - float64(p.Min)) / float64(max(span, 1))
	if share == 0.5 {
		return p.Min + int(w.draw(index, drawPhotos)%uint64(span+1))
	}
	n := p.Min
	for i := range span {
		if fraction(w.draw(index, drawPhotos+uint64(i))) < share {
			n++
		}
	}
	return n
}

// placement is where a record shows one of its media.
type placement struct {
	seq   int
	field string
}

// placements lists a record's media in the order in which its document shows
// them: field by field.
func (w *World) placements(index int) []placement {
	s := w.shapeOf(index)
	var all []placement
	for seq := range w.photoCount(index) {
		field := s.mediaFields[s.mediaSlot(seq, w.draw(index, drawSlot))]
		all = append(all, placement{seq, field})
	}
	all = append(all, w.extras(index)...)
	slices.SortStableFunc(all, func(a, b placement) int {
		return slices.Index(s.mediaFields, a.field) - slices.Index(s.mediaFields, b.field)
	})
	return all
}

func (w *World) attachments(index int) []Attachment {
	var all []Attachment
	for _, p := range w.placements(index) {
		m := mark{kind: kindAttachment, index: index, sub: p.seq}
		tip := w.codec.encode(m)
		a := w.artefact(tip, m, p.field)
		all = append(all, Attachment{
			Tip:   tip,
			Field: p.field,
			Ref:   "/media/file?ns=" + w.opts.Namespace + "&tip=" + tip,
			Type:  a.contentType,
			Bytes: a.size(),
		})
	}
	return all
}

func (w *World) extras(index int) []placement {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if len(w.changes) == 0 {
		return nil
	}
	if c := w.changes[w.codec.encode(mark{kind: kindRecord, index: index})]; c != nil {
		return c.extra
	}
	return nil
}
