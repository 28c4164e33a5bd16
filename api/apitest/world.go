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

// None is the range for no photographs, as the zero Range means the default.
var None = Range{-1, -1}

// Options describe a world and its server. A zero field means its default.
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

	Unnamed  float64 // share of entities missing from the CSV files of names
	Disagree float64 // share of records of which the exports tell another id and day than the answer

	Latency    time.Duration // wait before each answer
	Token      string        // default derived from the seed
	Namespace  string        // 64 hex digits; default derived from the seed
	OpenAccess bool          // do not check token and namespace
	Log        bool          // keep an Entry of every request
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

// World holds the records, media and entities that a Server shows. It is safe for
// concurrent use.
type World struct {
	opts   Options
	codec  codec
	shapes []*shape // by position in opts.Forms
	media  *mediaStock

	editing sync.Mutex // held while a record is edited
	mu      sync.RWMutex
	changes map[int]change // by the record's index
}

// newWorld makes the world of o. It panics on the code of a form that does not exist,
// which is a mistake in the test.
func newWorld(o Options) *World {
	o = o.withDefaults()
	w := &World{
		opts:    o,
		codec:   newCodec(o.Seed),
		media:   newMediaStock(o.Seed),
		changes: map[int]change{},
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
	Index        int
	Tip          string
	SID          string // of the newest version
	Code         string // LCD, …
	APIName      string // the path segment of its form
	InspectionID string
	Day          time.Time    // the calendar day that the site wrote, at midnight UTC
	Attachments  []Attachment // in the order of the document
}

// Attachment is one media reference of a record.
type Attachment struct {
	Tip   string
	Field string
	Ref   string // as the document writes it: /media/file?ns=…&tip=…
	Type  string // content type
	Bytes int
}

// Len is the number of records.
func (w *World) Len() int { return w.opts.Records }

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
	c := w.changeOf(index)
	r := w.heading(index)
	r.SID = w.sid(index, c.latest())
	r.Attachments = w.attachments(index, c)
	return r
}

// heading is a record without sid and attachments: all that an export needs.
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

// find returns the record of a tip.
func (w *World) find(tip string) (Record, bool) {
	m, ok := w.codec.decode(tip)
	if !ok || m.kind != kindRecord || m.index >= w.Len() {
		return Record{}, false
	}
	return w.Record(m.index), true
}

func (w *World) shapeOf(index int) *shape { return w.shapes[index%len(w.shapes)] }

func (w *World) day(index int) time.Time {
	return w.opts.FirstDay.AddDate(0, 0, int(w.draw(index, drawDay)%uint64(w.opts.Days)))
}

// photoCount draws from a uniform distribution over Photos, or from a binomial one when
// its mean is not the middle.
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

// placements lists all media that a record has or had.
func (w *World) placements(index int, c change) []placement {
	s := w.shapeOf(index)
	var all []placement
	for seq := range w.photoCount(index) {
		all = append(all, placement{seq, s.mediaFields[s.mediaSlot(seq, w.draw(index, drawSlot))]})
	}
	return append(all, c.added...)
}

// attachments lists a record's media in the order of its document: field by field.
func (w *World) attachments(index int, c change) []Attachment {
	shown := slices.DeleteFunc(w.placements(index, c), func(p placement) bool { return c.removed[p.seq] })
	order := w.shapeOf(index).mediaFields
	slices.SortStableFunc(shown, func(a, b placement) int {
		return slices.Index(order, a.field) - slices.Index(order, b.field)
	})
	var all []Attachment
	for _, p := range shown {
		m := mark{kind: kindAttachment, index: index, sub: p.seq}
		tip := w.codec.encode(m)
		body := w.artefact(tip, m, p.field, c.revisions[p.seq])
		all = append(all, Attachment{
			Tip:   tip,
			Field: p.field,
			Ref:   "/media/file?ns=" + w.opts.Namespace + "&tip=" + tip,
			Type:  body.contentType,
			Bytes: sizeOf(body.parts),
		})
	}
	return all
}
