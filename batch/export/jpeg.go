package export

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
)

// jpegFacts is what the segments before the pixels of a JPEG say.
type jpegFacts struct {
	orientation int // of Exif, from 1 to 8; 0: none
	progressive bool
}

// lookAtJPEG reads the segments of a JPEG up to its pixels. Of anything else it returns
// nothing.
func lookAtJPEG(source io.Reader) (about jpegFacts) {
	r := bufio.NewReader(source)
	var start [2]byte
	if _, err := io.ReadFull(r, start[:]); err != nil || start != [2]byte{0xff, 0xd8} {
		return about
	}
	const most = 1000 // segments: a forged file has as many as it likes
	for range most {
		marker, ok := nextMarker(r)
		if !ok {
			return about
		}
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return about
		}
		n := int(binary.BigEndian.Uint16(length[:])) - 2
		switch {
		case n < 0, marker == 0xda: // start of the pixels
			return about
		case marker == 0xc2, marker == 0xc6, marker == 0xca, marker == 0xce:
			about.progressive = true
		case marker == 0xe1 && about.orientation == 0:
			segment := make([]byte, n)
			if _, err := io.ReadFull(r, segment); err != nil {
				return about
			}
			about.orientation = orientationOf(segment)
			continue
		}
		if _, err := r.Discard(n); err != nil {
			return about
		}
	}
	return about
}

// nextMarker reads up to the next marker that has a length.
func nextMarker(r io.Reader) (marker byte, ok bool) {
	var b [1]byte
	read := func() bool { _, err := io.ReadFull(r, b[:]); return err == nil }
	const most = 64 << 10 // bytes between segments
	for range most {
		if !read() {
			return 0, false
		}
		if b[0] != 0xff {
			continue
		}
		for b[0] == 0xff {
			if !read() {
				return 0, false
			}
		}
		if b[0] != 0 && b[0] != 0x01 && (b[0] < 0xd0 || b[0] > 0xd9) {
			return b[0], true
		}
	}
	return 0, false
}

// orientationOf reads the orientation from an Exif segment; 0 stands for none.
func orientationOf(segment []byte) int {
	tiff, ok := bytes.CutPrefix(segment, []byte("Exif\x00\x00"))
	if !ok || len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if tiff[0] == 'I' {
		order = binary.LittleEndian
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0
	}
	const orientation, entry = 0x0112, 12
	entries := int(order.Uint16(tiff[at:]))
	for i := range entries {
		from := at + 2 + int64(i)*entry
		if from+entry > int64(len(tiff)) {
			return 0
		}
		if order.Uint16(tiff[from:]) == orientation {
			if value := int(order.Uint16(tiff[from+8:])); value >= 1 && value <= 8 {
				return value
			}
			return 0
		}
	}
	return 0
}
