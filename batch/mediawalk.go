package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// walker follows one format from its first byte to its end marker. It is told
// every byte once, in pieces of any size.
type walker interface {
	write(p []byte)
	// fault is empty for a whole file of that size, else a phrase such as "ends
	// without its end marker".
	fault(size int64) string
}

func newWalker(kind mediaKind) walker {
	switch kind {
	case kindJPEG:
		w := &jpegWalk{}
		w.want, w.next = 2, w.start
		return w
	case kindPNG:
		w := &pngWalk{}
		w.want, w.next, w.passed = 8, w.signature, w.sum
		return w
	case kindGIF:
		w := &gifWalk{}
		w.want, w.next = 13, w.screen
		return w
	case kindWebP:
		w := &riffWalk{}
		w.want, w.next = 12, w.header
		return w
	case kindBMP:
		w := &bmpWalk{}
		w.want, w.next = 6, w.header
		return w
	case kindHEIC, kindAVIF, kindMP4, kindMOV:
		w := &boxWalk{picture: kind == kindHEIC || kind == kindAVIF}
		w.want, w.next = 8, w.box
		return w
	case kindPDF:
		return &pdfWalk{}
	}
	return nil
}

const noEnd = "ends without its end marker"

// steps cuts a stream into what a format's parser asks for: pass over so many
// bytes, then hand me so many. The parser's next sets what comes after.
type steps struct {
	skip   uint64       // bytes to pass over first
	seekFF bool         // then everything up to and with the next 0xFF
	want   int          // bytes that next is to get
	next   func([]byte) // the slice is valid during the call only
	passed func([]byte) // told what is passed over; may be nil

	have []byte
	done bool   // the end marker was seen; what follows is a trailer
	bad  string // why the walk was given up
}

func (s *steps) write(p []byte) {
	for len(p) > 0 && !s.done && s.bad == "" {
		switch {
		case s.skip > 0:
			n := min(s.skip, uint64(len(p)))
			if s.passed != nil {
				s.passed(p[:n])
			}
			s.skip -= n
			p = p[n:]
		case s.seekFF:
			i := bytes.IndexByte(p, 0xff)
			if i < 0 {
				return
			}
			s.seekFF = false
			p = p[i+1:]
		case len(s.have) == 0 && len(p) >= s.want:
			head := p[:s.want]
			p = p[s.want:]
			s.next(head)
		default:
			n := min(s.want-len(s.have), len(p))
			s.have = append(s.have, p[:n]...)
			p = p[n:]
			if len(s.have) == s.want {
				s.next(s.have)
				s.have = s.have[:0]
			}
		}
	}
}

func (s *steps) fault(int64) string {
	if s.bad != "" || s.done {
		return s.bad
	}
	return noEnd
}

// jpegWalk goes from marker to marker. Segments are passed over by their
// length, so that the thumbnail in an EXIF segment, with its own end marker, is
// not taken for the picture; after a scan's header the next marker is searched
// in the entropy coded data. Phones append videos and more pictures behind the
// end marker: what comes there is not looked at.
type jpegWalk struct {
	steps
	marker byte
	frame  bool // a frame header was seen
	scan   bool // a scan was seen
}

func (w *jpegWalk) start([]byte) { w.nextMarker() }

// nextMarker looks for the next FF. Between segments it should be the next
// byte; decoders pass over stray ones.
func (w *jpegWalk) nextMarker() { w.seekFF, w.want, w.next = true, 1, w.code }

func (w *jpegWalk) code(b []byte) {
	switch m := b[0]; {
	case m == 0xff: // a fill byte: the code follows
	case m == 0x00, m == 0x01, m >= 0xd0 && m <= 0xd8: // stuffed FF, TEM, RSTn
		w.seekFF = true
	case m == 0xd9: // EOI
		w.done = true
		if !w.frame || !w.scan {
			w.bad = "has an end marker but no picture"
		}
	case m < 0xc0:
		w.bad = fmt.Sprintf("is damaged: it has a marker FF%02X", m)
	default:
		w.marker = m
		w.want, w.next = 2, w.length
	}
}

func (w *jpegWalk) length(b []byte) {
	n := binary.BigEndian.Uint16(b)
	if n < 2 {
		w.bad = fmt.Sprintf("has a segment (marker FF%02X) of impossible length", w.marker)
		return
	}
	w.skip = uint64(n) - 2
	switch m := w.marker; {
	case m == 0xda: // SOS
		w.scan = true
	case m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc: // SOFn
		w.frame = true
	}
	w.nextMarker()
}

// pngWalk goes from chunk to chunk up to IEND and checks the sums of those that
// the picture needs.
type pngWalk struct {
	steps
	kind [4]byte
	crc  uint32
	data bool // an IDAT was seen
}

func (w *pngWalk) signature([]byte) { w.want, w.next = 8, w.chunk }

func (w *pngWalk) chunk(b []byte) {
	n := binary.BigEndian.Uint32(b)
	if n > 1<<31-1 {
		w.bad = "has a chunk of impossible length"
		return
	}
	copy(w.kind[:], b[4:])
	for _, c := range w.kind {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			w.bad = "has a damaged chunk header"
			return
		}
	}
	w.crc = crc32.ChecksumIEEE(w.kind[:])
	w.skip = uint64(n)
	w.want, w.next = 4, w.end
}

func (w *pngWalk) sum(p []byte) { w.crc = crc32.Update(w.crc, crc32.IEEETable, p) }

func (w *pngWalk) end(b []byte) {
	critical := w.kind[0]&0x20 == 0
	switch kind := string(w.kind[:]); {
	case critical && binary.BigEndian.Uint32(b) != w.crc:
		w.bad = "has a damaged chunk " + kind
	case kind == "IDAT":
		w.data = true
	case kind == "IEND" && !w.data:
		w.bad = "has an end marker but no picture"
	case kind == "IEND":
		w.done = true
	}
	w.want, w.next = 8, w.chunk
}

// gifWalk goes from block to block up to the trailer.
type gifWalk struct {
	steps
	image bool
}

func (w *gifWalk) screen(b []byte) {
	w.skip = colourTable(b[10])
	w.want, w.next = 1, w.block
}

func colourTable(flags byte) uint64 {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

func (w *gifWalk) block(b []byte) {
	switch b[0] {
	case 0x21: // extension: its label, then sub-blocks
		w.skip = 1
		w.want, w.next = 1, w.subBlock
	case 0x2c:
		w.want, w.next = 9, w.descriptor
	case 0x3b:
		w.done = true
		if !w.image {
			w.bad = "has an end marker but no picture"
		}
	default:
		w.bad = "has a damaged block"
	}
}

func (w *gifWalk) descriptor(b []byte) {
	w.image = true
	w.skip = colourTable(b[8]) + 1 // and the code size
	w.want, w.next = 1, w.subBlock
}

func (w *gifWalk) subBlock(b []byte) {
	w.skip = uint64(b[0])
	if b[0] == 0 {
		w.next = w.block
	}
}

// riffWalk compares the size in the header with what came.
type riffWalk struct {
	steps
	need int64
}

func (w *riffWalk) header(b []byte) {
	w.need = int64(binary.LittleEndian.Uint32(b[4:])) + 8
	w.done = true
}

func (w *riffWalk) fault(size int64) string { return shorter(size, w.need) }

// bmpWalk does the same for the size in a BMP's header.
type bmpWalk struct {
	steps
	need int64
}

func (w *bmpWalk) header(b []byte) {
	w.need = int64(binary.LittleEndian.Uint32(b[2:]))
	w.done = true
}

func (w *bmpWalk) fault(size int64) string { return shorter(size, w.need) }

func shorter(size, need int64) string {
	if size < need {
		return fmt.Sprintf("ends after %d of its %d bytes", size, need)
	}
	return ""
}

// boxWalk goes over the top level boxes of an ISO base media file (HEIC, MP4,
// QuickTime), which have to add up exactly to its size.
type boxWalk struct {
	steps
	picture bool
	kind    string
	inside  bool // the header of a box is not complete
	meta    bool // the box that describes the content was seen
	data    bool // the box with the content
}

func (w *boxWalk) box(b []byte) {
	n := binary.BigEndian.Uint32(b)
	w.kind = string(b[4:8])
	switch w.kind {
	case "meta":
		w.meta = w.meta || w.picture
	case "moov":
		w.meta = true
	case "mdat":
		w.data = true
	}
	switch {
	case n == 0:
		w.done = true // the last box goes on to the end, wherever that is
	case n == 1:
		w.inside = true
		w.want, w.next = 8, w.large
	case n < 8:
		w.bad = "has a box of impossible length"
	default:
		w.skip = uint64(n) - 8
	}
}

func (w *boxWalk) large(b []byte) {
	n := binary.BigEndian.Uint64(b)
	if n < 16 {
		w.bad = "has a box of impossible length"
		return
	}
	w.inside = false
	w.skip = n - 16
	w.want, w.next = 8, w.box
}

func (w *boxWalk) fault(int64) string {
	switch {
	case w.bad != "":
		return w.bad
	case w.skip > 0, len(w.have) > 0, w.inside:
		return fmt.Sprintf("ends within its part %q", w.kind)
	case !w.meta || !w.data:
		return "lacks the part with its description or content"
	}
	return ""
}

// pdfTail is how close to the end of a PDF its end marker has to be.
const pdfTail = 2048

// pdfWalk keeps the last bytes and looks for the end marker there.
type pdfWalk struct{ tail []byte }

func (w *pdfWalk) write(p []byte) {
	if len(p) >= pdfTail {
		w.tail = append(w.tail[:0], p[len(p)-pdfTail:]...)
		return
	}
	if over := len(w.tail) + len(p) - pdfTail; over > 0 {
		w.tail = append(w.tail[:0], w.tail[over:]...)
	}
	w.tail = append(w.tail, p...)
}

func (w *pdfWalk) fault(int64) string {
	if !bytes.Contains(w.tail, []byte("%%EOF")) {
		return noEnd
	}
	return ""
}
