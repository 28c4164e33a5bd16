package api

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// slowestRate is the least at which a body must keep coming, in bytes a second,
// taken over one [Config.Timeout]: a server that drips must not hold a slot for
// days.
const slowestRate = 256

// steadyBody is an answer's body that must keep coming. Its clock runs only while
// it waits for the server: a slow disk of ours is not the server's fault.
type steadyBody struct {
	io.ReadCloser
	abort   func() // breaks the request off, so that a hanging Read returns
	timer   *time.Timer
	timeout time.Duration
	left    time.Duration // until the next piece must have come
	piece   int64         // bytes that buy another timeout
	got     int64         // of the piece
	total   int64
}

func newSteadyBody(body io.ReadCloser, timeout time.Duration, abort func()) *steadyBody {
	return &steadyBody{
		ReadCloser: body, abort: abort, timeout: timeout, left: timeout,
		piece: max(1, int64(timeout.Seconds()*slowestRate)),
	}
}

func (b *steadyBody) Read(p []byte) (int, error) {
	start := time.Now()
	if b.timer == nil {
		b.timer = time.AfterFunc(b.left, b.abort)
	} else {
		b.timer.Reset(b.left)
	}
	n, err := b.ReadCloser.Read(p)
	inTime := b.timer.Stop()
	b.total += int64(n)
	b.got += int64(n)
	if b.got >= b.piece {
		b.got, b.left = 0, b.timeout
	} else {
		b.left -= time.Since(start)
	}
	if !inTime && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("%w: fewer than %d bytes within %s", errStalled, b.piece, b.timeout)
	}
	return n, err
}

// hurry leaves the rest of the body only so much time altogether.
func (b *steadyBody) hurry(rest time.Duration) {
	b.timeout, b.left = 0, min(b.left, rest)
	b.piece = 1 << 62
}

// A body that nobody wants is read to its end all the same when little is left of
// it: then its connection can be used again.
const (
	drainBytes = 64 << 10
	drainTime  = 2 * time.Second
)

// finish closes the body.
func (b *steadyBody) finish() {
	b.hurry(drainTime)
	_, _ = io.CopyN(io.Discard, b, drainBytes) // whatever comes of it, the body is closed next
	_ = b.Close()
}

// decoded is the body without its compression. Only gzip is ever asked for.
func decoded(resp *http.Response) (body io.Reader, compressed bool, err error) {
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return resp.Body, false, nil
	case "gzip", "x-gzip":
		unzip, err := gzip.NewReader(resp.Body)
		if errors.Is(err, io.EOF) {
			return nil, true, fmt.Errorf("%w: it is empty", errBroken)
		} else if err != nil {
			return nil, true, unzipError(err)
		}
		return unzipped{unzip}, true, nil
	default:
		return nil, false, fmt.Errorf("%w: its content encoding is %.40q", errBroken, encoding)
	}
}

type unzipped struct{ *gzip.Reader }

func (u unzipped) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	return n, unzipError(err)
}

// unzipError says that bad gzip is a broken answer, not a broken connection.
func unzipError(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return fmt.Errorf("%w: bad gzip: %w", errBroken, err)
	}
	return err
}

var copyBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// copyBody copies body to sink, at most limit bytes, and tells the sink's errors
// from the body's.
func copyBody(sink io.Writer, body io.Reader, limit int64) (int64, error) {
	buffer := copyBuffers.Get().(*[128 << 10]byte)
	defer copyBuffers.Put(buffer)
	var written int64
	for {
		n, readErr := body.Read(buffer[:])
		if written+int64(n) > limit {
			return written, fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
		}
		m, err := sink.Write(buffer[:n])
		written += int64(m)
		if err == nil && m < n {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, fmt.Errorf("%w: %w", errLocal, err)
		}
		if errors.Is(readErr, io.EOF) {
			return written, nil
		}
		if readErr != nil {
			return written, readErr
		}
	}
}
