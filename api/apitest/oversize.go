package apitest

import (
	"bytes"
	"compress/gzip"
	"strings"
)

const (
	defaultHuge = 50 << 20
	defaultBomb = 1 << 30
)

// changeHuge makes the answer Size bytes long (default 50 MB) and keeps it valid.
func changeHuge(x *exchange, f *Fault, a *answer) {
	size := int(f.Size)
	if size == 0 {
		size = defaultHuge
	}
	if x.call.kind == OnMedia {
		a.parts = x.server.media.jpegOf(x.call.tip, size, 0).parts
		return
	}
	const opening = `,"remarks":"`
	pad := size - sizeOf(a.parts) - len(opening) - len(`"`)
	body := bytes.TrimSuffix(bytes.Join(a.parts, nil), []byte("}"))
	a.parts = [][]byte{body, []byte(opening)}
	a.parts = append(a.parts, filling(pad, 'x')...)
	a.parts = append(a.parts, []byte(`"}`))
}

// filling repeats the byte c n times, as slices of one block.
func filling(n int, c byte) [][]byte {
	block := bytes.Repeat([]byte{c}, 1<<16)
	var parts [][]byte
	for ; n > 0; n -= len(block) {
		parts = append(parts, block[:min(n, len(block))])
	}
	return parts
}

// changeGzipBomb appends Size bytes of blanks (default 1 GB), which compress to a
// thousandth.
func changeGzipBomb(_ *exchange, f *Fault, a *answer) {
	size := int(f.Size)
	if size == 0 {
		size = defaultBomb
	}
	// A gzip stream may have many members, so one member is made and repeated. It is
	// small, as the client waits for the header meanwhile.
	const unit = 1 << 18
	blanks := zipped(filling(unit, ' '))
	a.parts = [][]byte{zipped(a.parts)}
	for ; size > 0; size -= unit {
		a.parts = append(a.parts, blanks)
	}
	a.header.Set("Content-Encoding", "gzip")
}

func zipped(parts [][]byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, p := range parts {
		_, _ = z.Write(p) // writing to memory
	}
	_ = z.Close() // writing to memory
	return b.Bytes()
}

// sendEndless sends until the client has gone. It declares no length.
func sendEndless(x *exchange, _ *Fault, a *answer) {
	block := []byte(strings.Repeat("x", 1<<16))
	if x.call.kind == OnMedia {
		block = x.server.media.noise[:1<<16]
	} else {
		a.parts = [][]byte{[]byte(`{"remarks":"`)}
	}
	x.head(a, -1)
	for ok := x.body(a.parts); ok && !x.gone(); {
		ok = x.body([][]byte{block})
	}
}
