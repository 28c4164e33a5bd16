package batch

import (
	"errors"
	"io"
)

const (
	copyBuffers = 3
	copyBuffer  = 256 << 10
)

// copier copies with the reader and the writer at work at the same time, each of
// them with hashing or compressing on its hands. It is used by one goroutine at a
// time and keeps its buffers from one copy to the next.
type copier struct{ buffers [][]byte }

type copied struct {
	buffer []byte
	n      int
	err    error // of the reader, io.EOF at the end
}

// copy copies all of src to dst. When it returns, src is not read any more.
func (c *copier) copy(dst io.Writer, src io.Reader) (written int64, err error) {
	for len(c.buffers) < copyBuffers {
		c.buffers = append(c.buffers, make([]byte, copyBuffer))
	}
	empty, full := make(chan []byte, copyBuffers), make(chan copied, copyBuffers)
	for _, b := range c.buffers {
		empty <- b
	}
	go func() {
		defer close(full)
		for b := range empty {
			n, err := readFull(src, b)
			full <- copied{b, n, err}
			if err != nil {
				return
			}
		}
	}()
	for chunk := range full {
		if err == nil && chunk.n > 0 {
			var n int
			n, err = dst.Write(chunk.buffer[:chunk.n])
			written += int64(n)
			if err != nil {
				close(empty)
			}
		}
		switch {
		case errors.Is(chunk.err, io.EOF):
		case chunk.err != nil:
			err = errors.Join(err, chunk.err)
		case err == nil:
			empty <- chunk.buffer
		}
	}
	return written, err
}

// readFull fills b as far as the source goes; io.EOF comes with the last bytes.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var read int
		read, err = r.Read(b[n:])
		n += read
	}
	return n, err
}
