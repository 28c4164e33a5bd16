package api

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// slowestRate is the lowest rate at which a body may arrive, in bytes a second over
// one [Config.Timeout]. A slower server would hold a slot for days.
const slowestRate = 256

// steadyBody is an answer's body that must keep arriving. Its clock runs only while it
// waits for the server, as a slow disk of ours is not the server's fault.
type steadyBody struct {
	io.ReadCloser
	abort   func() // cancels the request, so that a hanging Read returns
	timer   *time.Timer
	timeout time.Duration
	left    time.Duration // time left for the current piece
	piece   int64         // bytes that must arrive within a timeout
	got     int64         // bytes of the current piece

	waited  time.Duration // for the server, in all
	longest time.Duration // that it may wait in all; 0: no limit
	slow    func() bool   // asked once it has waited for timeout, until it returns true; may be nil
}

func newSteadyBody(body io.ReadCloser, timeout time.Duration, abort func()) *steadyBody {
	return &steadyBody{
		ReadCloser: body, abort: abort, timeout: timeout, left: timeout,
		piece: max(1, int64(timeout.Seconds()*slowestRate)),
	}
}

func (b *steadyBody) Read(p []byte) (int, error) {
	switch {
	case b.longest > 0 && b.waited >= b.longest:
		return 0, fmt.Errorf("%w: it has been arriving for %s", errSlow, b.longest)
	case b.slow != nil && b.waited >= b.timeout && b.slow():
		b.slow = nil
	}
	start := time.Now()
	if b.timer == nil {
		b.timer = time.AfterFunc(b.left, b.abort)
	} else {
		b.timer.Reset(b.left)
	}
	n, err := b.ReadCloser.Read(p)
	inTime := b.timer.Stop()
	took := time.Since(start)
	b.waited += took
	b.got += int64(n)
	if b.got >= b.piece {
		b.got, b.left = 0, b.timeout
	} else {
		b.left -= took
	}
	if !inTime && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("%w: fewer than %d bytes within %s", errStalled, b.piece, b.timeout)
	}
	return n, err
}

// hurry gives the rest of the body this much time in all.
func (b *steadyBody) hurry(rest time.Duration) {
	b.timeout, b.left, b.longest, b.slow = 0, min(b.left, rest), 0, nil
	b.piece = 1 << 62
}

// finish reads at most this much of an unread rest: a body that was read to its end
// leaves its connection free for the next request.
const (
	drainBytes = 64 << 10
	drainTime  = 2 * time.Second
)

// finish closes the body. It reads what is left first, when that is short.
func (b *steadyBody) finish() {
	b.hurry(drainTime)
	_, _ = io.CopyN(io.Discard, b, drainBytes) // an error does not matter, as the body is closed next
	_ = b.Close()
}

// decodedBody is a body without its compression.
type decodedBody struct {
	io.Reader
	compressed bool
	unknown    string // an encoding that we do not know: the body is as it came
}

// plainEncodings change nothing. Proxies and object stores write them all the same.
var plainEncodings = []string{"", "identity", "none", "binary", "utf-8", "utf8", "8bit", "aws-chunked"}

// decoded returns the body without its compression. We ask for nothing but gzip. The
// header does not count where the body is not compressed. An unknown encoding is left as
// it is, as what comes may be whole all the same: whoever reads it judges that.
func decoded(resp *http.Response) (decodedBody, error) {
	body := decodedBody{Reader: resp.Body}
	for encoding := range strings.SplitSeq(strings.Join(resp.Header.Values("Content-Encoding"), ","), ",") {
		encoding = strings.ToLower(strings.TrimSpace(encoding))
		switch {
		case slices.Contains(plainEncodings, encoding):
		case encoding == "gzip" || encoding == "x-gzip":
			if err := body.unzip(); err != nil {
				return body, err
			}
		default:
			body.unknown = encoding
		}
	}
	return body, nil
}

// unzip undoes gzip, if the body begins as that does.
func (b *decodedBody) unzip() error {
	const magic = "\x1f\x8b"
	buffered := bufio.NewReader(b.Reader)
	b.Reader = buffered
	head, err := buffered.Peek(len(magic))
	switch {
	case len(head) == 0 && errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is empty", errBroken)
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case string(head) != magic:
		return nil
	}
	unzip, err := gzip.NewReader(buffered)
	if err != nil {
		return unzipError(err)
	}
	b.Reader, b.compressed = unzipped{unzip}, true
	return nil
}

type unzipped struct{ *gzip.Reader }

func (u unzipped) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	return n, unzipError(err)
}

// unzipError makes bad gzip a broken answer instead of a broken connection.
func unzipError(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return fmt.Errorf("%w: bad gzip: %w", errBroken, err)
	}
	return err
}

var copyBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// copyBody copies at most limit bytes of body to sink. It marks the sink's errors with
// errLocal, which tells them from the body's.
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
