package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	noEnd     = "ends without its end marker"
	noPicture = "has an end marker but no picture"
)

// endsAt is the end of a file whose content says that it has need bytes.
func (r *reader) endsAt(need uint64) ending {
	if size := uint64(r.size); size < need {
		return ending{fault: fmt.Sprintf("ends after %d of its %d bytes", size, need)}
	}
	return ending{more: need < uint64(r.size)}
}

// announcements are what the segments of a JPEG say of pictures and videos behind its end.
var announcements = [][]byte{[]byte("MPF\x00"), []byte("MotionPhoto"), []byte("MicroVideo"), []byte("GContainer")}

// proveJPEG goes from marker to marker. It passes over segments by their length, so the
// end marker of a thumbnail in an EXIF segment does not count. After the header of a scan
// it searches the entropy coded data for the next marker.
func proveJPEG(r *reader) ending {
	var frame, scan, announced bool
	r.skip(2)
	// Between segments the next FF is the next byte, but decoders pass over stray ones.
	for r.find(0xff) {
		code := r.next(1)
		for code != nil && code[0] == 0xff { // a fill byte: the code follows
			code = r.next(1)
		}
		if code == nil {
			break
		}
		marker := code[0]
		switch {
		case marker == 0x00, marker == 0x01, marker >= 0xd0 && marker <= 0xd8: // stuffed FF, TEM, RSTn
			continue
		case marker == 0xd9: // EOI
			if !frame || !scan {
				return ending{fault: noPicture}
			}
			return ending{more: announced || r.left() > 0}
		case marker < 0xc0:
			return ending{fault: fmt.Sprintf("is damaged: it has a marker FF%02X", marker)}
		}
		n, ok := r.number(2, binary.BigEndian)
		if !ok {
			break
		}
		if n < 2 {
			return ending{fault: fmt.Sprintf("has a segment (marker FF%02X) of impossible length", marker)}
		}
		switch content := r.peek(int(n) - 2); {
		case marker == 0xda: // SOS
			scan = true
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc: // SOFn
			frame = true
		case marker >= 0xe1 && marker <= 0xe2: // EXIF, XMP, MPF
			for _, a := range announcements {
				announced = announced || bytes.Contains(content, a)
			}
		}
		if !r.skip(n - 2) {
			break
		}
	}
	return ending{fault: noEnd}
}

// provePNG goes from chunk to chunk up to IEND. It checks the sums of the chunks that the
// picture needs.
func provePNG(r *reader) ending {
	data := false
	r.skip(8)
	for {
		n, ok := r.number(4, binary.BigEndian)
		b := r.next(4)
		if !ok || b == nil {
			return ending{fault: noEnd}
		}
		if n > 1<<31-1 {
			return ending{fault: "has a chunk of impossible length"}
		}
		kind := string(b)
		for _, c := range b {
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return ending{fault: "has a damaged chunk header"}
			}
		}
		sum := crc32.ChecksumIEEE(b)
		for n > 0 {
			b := r.some()
			if len(b) == 0 {
				return ending{fault: noEnd}
			}
			over := uint64(len(b)) - min(uint64(len(b)), n)
			r.pos -= int64(over)
			b = b[:uint64(len(b))-over]
			sum = crc32.Update(sum, crc32.IEEETable, b)
			n -= uint64(len(b))
		}
		want, ok := r.number(4, binary.BigEndian)
		switch critical := kind[0]&0x20 == 0; {
		case !ok:
			return ending{fault: noEnd}
		case critical && uint32(want) != sum:
			return ending{fault: "has a damaged chunk " + kind}
		case kind == "IDAT":
			data = true
		case kind == "IEND" && !data:
			return ending{fault: noPicture}
		case kind == "IEND":
			return ending{more: r.left() > 0}
		}
	}
}

// proveGIF goes from block to block up to the trailer, which some programs leave out.
func proveGIF(r *reader) ending {
	cut := ending{fault: noEnd}
	picture := false
	b := r.next(13)
	if b == nil || !r.skip(colours(b[10])) {
		return cut
	}
	for {
		kind := r.next(1)
		if kind == nil {
			if picture {
				return ending{open: true}
			}
			return cut
		}
		switch kind[0] {
		case 0x3b:
			if !picture {
				return ending{fault: noPicture}
			}
			return ending{more: r.left() > 0}
		case 0x21: // an extension
			if !r.skip(1) || !r.skipBlocks() {
				return cut
			}
		case 0x2c: // a picture
			b := r.next(9)
			if b == nil || !r.skip(colours(b[8])+1) || !r.skipBlocks() {
				return cut
			}
			picture = true
		default:
			if picture {
				return ending{open: true}
			}
			return ending{fault: "has a damaged block"}
		}
	}
}

// colours is the size of a colour table by its flags.
func colours(flags byte) uint64 {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

// skipBlocks passes blocks up to an empty one.
func (r *reader) skipBlocks() bool {
	for {
		b := r.next(1)
		if b == nil {
			return false
		}
		n := uint64(b[0])
		if n == 0 {
			return true
		}
		if !r.skip(n) {
			return false
		}
	}
}

// proveBMP compares the size in the header with that of the file.
func proveBMP(r *reader) ending {
	r.skip(2)
	need, _ := r.number(4, binary.LittleEndian)
	if need < 14 { // some programs write none
		return ending{open: true}
	}
	return r.endsAt(need)
}

// proveRIFF compares the sizes of the chunks at the top with that of the file. A long
// video has several. Programs that write to a pipe leave the size open.
func proveRIFF(r *reader) ending {
	for {
		b := r.peek(8)
		if b == nil || string(b[:4]) != "RIFF" {
			return ending{more: r.left() > 0}
		}
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		if n == 0 || n == 1<<32-1 {
			return ending{open: true}
		}
		if n > r.left()-8 {
			return r.endsAt(uint64(r.pos) + 8 + n)
		}
		r.skip(8 + n)
		if n%2 == 1 && r.left() > 0 {
			r.skip(1)
		}
	}
}
