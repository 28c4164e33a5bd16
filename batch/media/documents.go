package media

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// pdfTail is how many bytes at the end of a PDF must hold its end marker.
const pdfTail = 2048

var (
	// pdfContent follows an end marker where a later version of the document begins.
	pdfContent = regexp.MustCompile(`\d\s+obj\b|xref\s+\d|\btrailer\s*<<`)
	// pdfLength is the length of a PDF that was made to be shown page by page.
	pdfLength = regexp.MustCompile(`/Linearized[^>]{0,200}/L\s+(\d{1,15})`)
)

// provePDF looks for the last end marker. A document that was changed has several.
func provePDF(r *reader) ending {
	head := r.peek(int(min(headSize, r.left())))
	short := false // of what its beginning says
	if m := pdfLength.FindSubmatch(head); m != nil {
		n, _ := strconv.ParseInt(string(m[1]), 10, 64)
		short = n > r.size
	}
	r.seek(uint64(max(0, r.size-pdfTail)))
	tail := r.peek(int(r.left()))
	i := bytes.LastIndex(tail, []byte("%%EOF"))
	if i < 0 {
		return ending{fault: noEnd}
	}
	rest := tail[i+len("%%EOF"):]
	if pdfContent.Match(rest) {
		return ending{fault: "ends within what follows its end marker"}
	}
	return ending{more: short || len(bytes.Trim(rest, " \t\r\n\f\x00")) > 0}
}

const (
	zipEndSize     = 22 // without its comment
	zipEntrySize   = 46 // in the directory, without its name
	zip64EndSize   = 56
	zip64PlaceSize = 20
)

// zipDirectory is the directory of a ZIP file, which stands before its end record.
type zipDirectory struct {
	at, size uint64
	entries  uint64
	end      uint64 // of the file, with the comment
}

// findDirectory finds the last end record whose directory stands right before it. The
// record of a ZIP inside the file has another place than it says.
func (r *reader) findDirectory() (zipDirectory, bool) {
	size := uint64(r.size)
	from := size - min(size, windowSize)
	if !r.seek(from) {
		return zipDirectory{}, false
	}
	tail := bytes.Clone(r.peek(int(size - from)))
	for i := bytes.LastIndex(tail, []byte("PK\x05\x06")); i >= 0; i = bytes.LastIndex(tail[:i], []byte("PK\x05\x06")) {
		if len(tail)-i < zipEndSize {
			continue
		}
		record := tail[i:]
		at := from + uint64(i)
		d := zipDirectory{
			entries: uint64(binary.LittleEndian.Uint16(record[10:])), size: uint64(binary.LittleEndian.Uint32(record[12:])),
			at: uint64(binary.LittleEndian.Uint32(record[16:])), end: at + zipEndSize + uint64(binary.LittleEndian.Uint16(record[20:])),
		}
		if before := i - zip64EndSize - zip64PlaceSize; before >= 0 && string(tail[before:before+4]) == "PK\x06\x06" {
			record = tail[before:]
			d.entries, d.size, d.at = binary.LittleEndian.Uint64(record[32:]), binary.LittleEndian.Uint64(record[40:]), binary.LittleEndian.Uint64(record[48:])
			at = from + uint64(before)
		}
		if d.at <= at && d.size == at-d.at && d.end <= size {
			return d, true
		}
	}
	return zipDirectory{}, false
}

// each calls yield with the name of each entry of the directory. It returns false where
// the directory is damaged.
func (d zipDirectory) each(r *reader, yield func(name []byte)) bool {
	end := d.at + d.size
	if !r.seek(d.at) {
		return false
	}
	for range d.entries {
		b := r.next(zipEntrySize)
		if b == nil || string(b[:4]) != "PK\x01\x02" {
			return false
		}
		name := int(binary.LittleEndian.Uint16(b[28:]))
		rest := uint64(binary.LittleEndian.Uint16(b[30:])) + uint64(binary.LittleEndian.Uint16(b[32:]))
		at := binary.LittleEndian.Uint32(b[42:])
		if at != 1<<32-1 && uint64(at) >= d.at {
			return false
		}
		text := r.next(name)
		if text == nil && name > 0 || !r.skip(rest) {
			return false
		}
		yield(text)
	}
	return uint64(r.pos) == end
}

// proveZIP looks for the end record and goes over the directory before it.
func proveZIP(r *reader) ending {
	d, ok := r.findDirectory()
	switch {
	case !ok:
		return ending{fault: "ends without its directory"}
	case !d.each(r, func([]byte) {}):
		return ending{fault: "has a damaged directory"}
	}
	return ending{more: d.end < uint64(r.size)}
}

// office recognises Word, Excel and PowerPoint files by the folder of their entries. The
// library sees only those in the head of the file, but all of a file that is cut.
func office(folder string) func(*head) bool {
	ending := map[string]string{"word/": "wordprocessingml.document", "xl/": "spreadsheetml.sheet", "ppt/": "presentationml.presentation"}[folder]
	return func(h *head) bool {
		if h.library().Is("application/vnd.openxmlformats-officedocument." + ending) {
			return true
		}
		if !h.library().Is("application/zip") {
			return false
		}
		var types, found bool
		if d, ok := h.file.findDirectory(); ok {
			d.each(h.file, func(name []byte) {
				types = types || string(name) == "[Content_Types].xml"
				found = found || strings.HasPrefix(string(name), folder)
			})
		}
		return types && found
	}
}

// stream recognises compound files, as Office wrote them before 2007, by a name in their
// directory.
func stream(names ...string) func(*head) bool {
	return func(h *head) bool {
		if !bytes.HasPrefix(h.bytes, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) || len(h.bytes) < 512 {
			return false
		}
		sector := uint64(1) << min(binary.LittleEndian.Uint16(h.bytes[30:]), 16)
		if !h.file.seek((uint64(binary.LittleEndian.Uint32(h.bytes[48:])) + 1) * sector) {
			return false
		}
		directory := h.file.peek(int(min(4096, h.file.left())))
		for _, name := range names {
			var wide []byte
			for _, unit := range utf16.Encode([]rune(name + "\x00")) {
				wide = binary.LittleEndian.AppendUint16(wide, unit)
			}
			for entry := directory; len(entry) >= 128; entry = entry[128:] {
				if bytes.HasPrefix(entry, wide) {
					return true
				}
			}
		}
		return false
	}
}

// proveMatroska compares the size of the segment with that of the file. A live recording
// leaves it open.
func proveMatroska(r *reader) ending {
	for {
		id, _, ok := r.ebmlNumber(true)
		size, open, sized := r.ebmlNumber(false)
		const header, segment, void = 0x1a45dfa3, 0x18538067, 0xec
		switch {
		case !ok || !sized:
			return ending{fault: noEnd}
		case open && id == segment:
			return ending{open: true}
		case id == segment && size <= r.left():
			return ending{more: size < r.left()}
		case id != segment && id != header && id != void:
			return ending{fault: "has a damaged part"}
		case !r.skip(size):
			return r.endsAt(uint64(r.pos) + size)
		}
	}
}

// ebmlNumber reads a number whose first bits tell its length. An id keeps these bits. A
// size of only ones is open.
func (r *reader) ebmlNumber(id bool) (n uint64, open, ok bool) {
	b := r.peek(1)
	if b == nil || b[0] == 0 {
		return 0, false, false
	}
	length := 1
	for mask := byte(0x80); b[0]&mask == 0; mask >>= 1 {
		length++
	}
	n, ok = r.number(length, binary.BigEndian)
	if !id {
		n &= 1<<(7*length) - 1
		open = n == 1<<(7*length)-1
	}
	return n, open, ok
}
