package media

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"sync"
)

// windowSize is how much of a file is in memory: more than any segment of a JPEG has.
const windowSize = 64 << 10

// reader reads a file from any place in it.
type reader struct {
	file   io.ReaderAt
	size   int64
	pos    int64
	window []byte            // the bytes from at on
	memory *[windowSize]byte // of window
	at     int64
	err    error // the file could not be read; everything looks like its end then
}

// windows hold memory for the windows of files, as a run judges thousands.
var windows = sync.Pool{New: func() any { return new([windowSize]byte) }}

// close gives the window back: nothing that the reader returned is valid any more.
func (r *reader) close() {
	if r.memory != nil {
		windows.Put(r.memory)
	}
	*r = reader{err: io.ErrClosedPipe}
}

func (r *reader) left() uint64 { return uint64(max(0, r.size-r.pos)) }

// peek returns the next n bytes, at most windowSize of them. It returns nil where the
// file ends first. They are valid until the next call.
func (r *reader) peek(n int) []byte {
	if r.err != nil || r.pos < 0 || uint64(n) > r.left() {
		return nil
	}
	from := r.pos - r.at
	if from < 0 || from+int64(n) > int64(len(r.window)) {
		if r.window == nil {
			r.memory = windows.Get().(*[windowSize]byte)
			r.window = r.memory[:0:min(windowSize, r.size)]
		}
		r.window = r.window[:min(uint64(cap(r.window)), r.left())]
		got, err := r.file.ReadAt(r.window, r.pos)
		if got < len(r.window) {
			r.err = cmp.Or(err, io.ErrUnexpectedEOF)
			r.window = r.window[:0]
			return nil
		}
		r.at, from = r.pos, 0
	}
	return r.window[from : from+int64(n)]
}

// next is peek, and goes behind the bytes.
func (r *reader) next(n int) []byte {
	b := r.peek(n)
	r.pos += int64(len(b))
	return b
}

// some returns and passes the next bytes, as many as are at hand; none at the end.
func (r *reader) some() []byte {
	if r.peek(1) == nil {
		return nil
	}
	b := r.window[r.pos-r.at:]
	r.pos += int64(len(b))
	return b
}

// skip passes n bytes. It returns false, and passes none, where the file ends first.
func (r *reader) skip(n uint64) bool {
	if r.err != nil || n > r.left() {
		return false
	}
	r.pos += int64(n)
	return true
}

// seek goes to a place in the file.
func (r *reader) seek(pos uint64) bool {
	if r.err != nil || pos > uint64(r.size) {
		return false
	}
	r.pos = int64(pos)
	return true
}

// find goes behind the next byte c.
func (r *reader) find(c byte) bool {
	for {
		b := r.some()
		if len(b) == 0 {
			return false
		}
		if i := bytes.IndexByte(b, c); i >= 0 {
			r.pos -= int64(len(b) - i - 1)
			return true
		}
	}
}

// number reads a number of 1 to 8 bytes.
func (r *reader) number(size int, order binary.ByteOrder) (n uint64, ok bool) {
	b := r.next(size)
	if b == nil {
		return 0, false
	}
	for i := range b {
		c := b[i]
		if order == binary.ByteOrder(binary.LittleEndian) {
			c = b[size-1-i]
		}
		n = n<<8 | uint64(c)
	}
	return n, true
}
