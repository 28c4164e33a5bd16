package media

import (
	"encoding/binary"
	"fmt"
)

// boxWalk goes over the parts of an ISO base media file: HEIC, AVIF, MP4, QuickTime. Its
// parts are called boxes.
type boxWalk struct {
	*reader
	picture bool // the box meta describes the content; in a video only moov does

	described bool   // the box that describes the content is found
	data      bool   // a box with content is found
	located   bool   // the description of a picture says where its content is
	need      uint64 // and up to which byte
	fragments bool   // the content comes in any number of fragments
}

func provePicture(r *reader) ending { return (&boxWalk{reader: r, picture: true}).walk() }

func proveVideo(r *reader) ending { return (&boxWalk{reader: r}).walk() }

// topBoxes are the boxes that stand at the top of a file. Once the content is complete,
// any other one begins a trailer.
var topBoxes = map[string]bool{
	"ftyp": true, "styp": true, "pdin": true, "moov": true, "moof": true, "mfra": true, "mdat": true, "imda": true, "meta": true, "meco": true,
	"mini": true, "free": true, "skip": true, "wide": true, "pnot": true, "PICT": true, "uuid": true, "udta": true, "sidx": true, "ssix": true,
	"prft": true, "emsg": true,
}

// box is the header of a box.
type box struct {
	kind string
	size uint64 // of what follows the header
	open bool   // it reaches to the end of the file
}

// header reads the header of a box; fault says why there is none.
func (w *boxWalk) header() (b box, fault string) {
	const cut, impossible = "ends within the header of a part", "has a part of impossible length"
	n, ok := w.number(4, binary.BigEndian)
	kind := w.next(4)
	if !ok || kind == nil {
		return box{}, cut
	}
	b.kind = string(kind)
	before := uint64(8)
	switch n {
	case 0:
		b.open = true
		return b, ""
	case 1:
		before = 16
		if n, ok = w.number(8, binary.BigEndian); !ok {
			return box{}, cut
		}
	}
	if n < before {
		return box{}, impossible
	}
	b.size = n - before
	return b, ""
}

// complete tells whether all of the content lies before the current place.
func (w *boxWalk) complete() bool {
	if w.located {
		return w.need <= uint64(w.pos)
	}
	return w.described && w.data
}

func (w *boxWalk) walk() ending {
	for w.left() > 0 {
		complete := w.complete()
		b, fault := w.header()
		switch {
		case complete && (fault != "" || !topBoxes[b.kind]):
			return ending{more: true}
		case fault != "":
			return ending{fault: fault}
		case b.open && !topBoxes[b.kind]: // zeros fill up a file that was cut
			return ending{fault: "has a part of impossible length"}
		}
		start := uint64(w.pos)
		w.see(b)
		if b.open {
			if !w.described || w.located && w.need > uint64(w.size) {
				break
			}
			return ending{open: true}
		}
		w.seek(start)
		if !w.skip(b.size) {
			return ending{fault: fmt.Sprintf("ends within its part %q", b.kind)}
		}
	}
	if !w.complete() {
		return ending{fault: "lacks the part with its description or content"}
	}
	return ending{more: w.fragments}
}

// see notes what a box is good for.
func (w *boxWalk) see(b box) {
	switch b.kind {
	case "meta":
		if w.picture {
			w.described = true
			w.locate(b)
		}
	case "moov":
		w.described = true
	case "mini": // a small picture in one box
		w.described, w.data = true, true
	case "mdat":
		w.data = true
	case "moof":
		w.fragments = true
	case "mfra":
		w.fragments = false // the index of the fragments ends the file
	}
}

// locate looks into the description of a picture for where its content is.
func (w *boxWalk) locate(meta box) {
	end := uint64(w.pos) + meta.size
	w.skip(4) // its version
	for uint64(w.pos)+8 <= end {
		b, fault := w.header()
		start := uint64(w.pos)
		if fault != "" || b.open || start > end || b.size > end-start {
			return
		}
		if b.kind == "iloc" {
			w.locations(start + b.size)
		}
		w.seek(start + b.size)
	}
}

// locations reads the box iloc, which goes up to end: the place of each item. Items of
// construction method 0 are anywhere in the file, those of method 1 in the description
// itself.
func (w *boxWalk) locations(end uint64) {
	version, ok1 := w.number(4, binary.BigEndian)
	sizes, ok2 := w.number(2, binary.BigEndian)
	if version >>= 24; !ok1 || !ok2 || version > 2 {
		return
	}
	sizeOf := func(shift int) int { return int(sizes >> shift & 15) }
	wide := 2
	if version == 2 {
		wide = 4
	}
	good := true
	number := func(size int) uint64 {
		if size == 0 {
			return 0
		}
		if size > 8 || uint64(w.pos)+uint64(size) > end {
			good = false
			return 0
		}
		n, ok := w.number(size, binary.BigEndian)
		good = good && ok
		return min(n, 1<<61) // so that the sum of three does not overflow
	}
	var need uint64
	for items := number(wide); items > 0 && good; items-- {
		var method uint64
		number(wide) // its id
		if version > 0 {
			method = number(2) & 15
		}
		elsewhere := number(2) != 0 // in another file
		base := number(sizeOf(4))
		extents := number(2)
		if sizes>>8 == 0 && (version == 0 || sizes&15 == 0) { // they take no bytes
			extents = min(extents, 1)
		}
		for ; extents > 0 && good; extents-- {
			if version > 0 {
				number(sizeOf(0))
			}
			end := base + number(sizeOf(12))
			end += number(sizeOf(8))
			if method == 0 && !elsewhere {
				need = max(need, end)
			}
		}
	}
	if good {
		w.located, w.need = true, max(w.need, need)
	}
}
