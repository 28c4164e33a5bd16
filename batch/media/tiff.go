package media

import (
	"cmp"
	"encoding/binary"
	"fmt"
)

// tiffBudget is how many entries and strips of a TIFF are looked at. No picture has so
// many; a hostile one may name the same ones again and again.
const tiffBudget = 10_000_000

// The tags that say where something is.
const (
	tagStripOffsets = 273
	tagStripSizes   = 279
	tagTileOffsets  = 324
	tagTileSizes    = 325
	tagSubIFDs      = 330
	tagJPEGOffset   = 513
	tagJPEGSize     = 514
	tagEXIF         = 34665
	// From here on tags are private. Some programs write nonsense there.
	tagPrivate = 32768
)

// tiffSizes are the sizes of the values by their type.
var tiffSizes = [...]uint64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4}

// tiffWalk goes over the directories of a TIFF.
type tiffWalk struct {
	*reader
	order   binary.ByteOrder
	budget  int
	pending []uint64 // directories to look at
	seen    map[uint64]bool
	last    uint64 // the end of what was found so far
	picture bool
	open    bool
}

// tiffList is the value of an entry: count numbers at a place in the file.
type tiffList struct {
	at, count uint64
	size      int
}

// proveTIFF looks whether every strip and tile of every picture lies inside the file.
func proveTIFF(r *reader) ending {
	w := &tiffWalk{reader: r, order: binary.BigEndian, budget: tiffBudget, seen: map[uint64]bool{}}
	if b := r.next(4); b == nil || b[0] == 'I' {
		w.order = binary.LittleEndian
	}
	first, ok := r.number(4, w.order)
	if !ok {
		return ending{fault: "ends within its header"}
	}
	w.pending = []uint64{first}
	for len(w.pending) > 0 {
		at := w.pending[0]
		w.pending = w.pending[1:]
		if at == 0 || w.seen[at] {
			continue
		}
		if w.seen[at] = true; len(w.seen) > tiffBudget/1000 {
			w.budget = 0
		}
		fault := w.directory(at)
		if w.budget <= 0 {
			return ending{open: true}
		}
		if fault != "" {
			return ending{fault: fault}
		}
	}
	switch {
	case !w.picture:
		return ending{fault: "has no picture"}
	case w.open:
		return ending{open: true}
	}
	// Writers fill up to an even number of bytes.
	return ending{more: w.last < uint64(r.size) && w.last+w.last%2 != uint64(r.size)}
}

// directory looks at one directory, which describes one picture. It returns a fault.
func (w *tiffWalk) directory(at uint64) string {
	const outside = "ends before its directory"
	if !w.seek(at) {
		return outside
	}
	entries, ok := w.number(2, w.order)
	if !ok || entries*12 > w.left() {
		return outside
	}
	lists := map[uint64]tiffList{}
	for range entries {
		w.budget--
		tag, _ := w.number(2, w.order)
		kind, _ := w.number(2, w.order)
		list := tiffList{}
		list.count, _ = w.number(4, w.order)
		value := uint64(w.pos)
		if kind >= uint64(len(tiffSizes)) {
			w.skip(4)
			continue
		}
		list.at, list.size = value, int(tiffSizes[kind])
		length := list.count * tiffSizes[kind]
		if place, _ := w.number(4, w.order); length > 4 {
			list.at = place
			if tag < tagPrivate {
				if place+length > uint64(w.size) {
					return fmt.Sprintf("ends before the value of its tag %d", tag)
				}
				w.last = max(w.last, place+length)
			}
		}
		lists[tag] = list
	}
	next, _ := w.number(4, w.order) // some writers leave it out at the end of the file
	w.last = max(w.last, uint64(w.pos))
	w.pending = append(w.pending, next)
	for _, tag := range []uint64{tagSubIFDs, tagEXIF} {
		w.each(lists[tag], func(_, place uint64) bool { w.pending = append(w.pending, place); return true })
	}
	for _, pair := range [][2]uint64{{tagStripOffsets, tagStripSizes}, {tagTileOffsets, tagTileSizes}, {tagJPEGOffset, tagJPEGSize}} {
		if fault := w.inside(lists[pair[0]], lists[pair[1]]); fault != "" {
			return fault
		}
	}
	return ""
}

// inside checks that the pieces of a picture lie inside the file.
func (w *tiffWalk) inside(places, sizes tiffList) (fault string) {
	if places.count == 0 {
		return ""
	}
	w.picture = true
	if sizes.count < places.count {
		w.open = true // old writers left out how long the one strip is
		return ""
	}
	other := *w
	other.reader = &reader{file: w.file, size: w.size}
	defer other.close()
	w.each(places, func(i, place uint64) bool {
		size := uint64(0)
		other.each(tiffList{sizes.at + i*uint64(sizes.size), 1, sizes.size}, func(_, n uint64) bool { size = n; return true })
		if size == 0 { // a piece that was left empty
			return true
		}
		if place+size > uint64(w.size) {
			fault = fmt.Sprintf("ends within piece %d of %d of its picture", i+1, places.count)
			return false
		}
		w.last = max(w.last, place+size)
		return true
	})
	w.err = cmp.Or(w.err, other.err)
	return fault
}

// each calls yield with each number of a list.
func (w *tiffWalk) each(list tiffList, yield func(i, n uint64) bool) {
	if list.size == 0 || list.size > 4 || !w.seek(list.at) {
		return
	}
	for i := range list.count {
		n, ok := w.number(list.size, w.order)
		if w.budget--; !ok || w.budget <= 0 || !yield(i, n) {
			return
		}
	}
}
