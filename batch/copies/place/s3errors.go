package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"noggin/batch/files"
)

// try calls do until it succeeds, or fails for a reason that stays, or mostTries times.
// Its errors are classified.
func (s *S3) try(ctx context.Context, do func() error) error {
	pause := s.pause
	for n := 1; ; n++ {
		err := do()
		if errors.Is(err, errAgain) && n < mostTries {
			continue
		}
		if err == nil || n == mostTries || !passes(err) || ctx.Err() != nil {
			return s.classify(ctx, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// passes tells whether another try may succeed.
func passes(err error) bool {
	if isBroken(err) {
		return true
	}
	response, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return false
	}
	switch response.Code {
	// A body that was damaged on its way.
	case "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "RequestTimeout", "SlowDown",
		"ConditionalRequestConflict", "OperationAborted":
		return true
	}
	return response.StatusCode >= http.StatusInternalServerError && response.StatusCode != http.StatusNotImplemented ||
		response.StatusCode == http.StatusTooManyRequests
}

// isBroken tells whether a request ended without an answer.
func isBroken(err error) bool {
	response, ok := errors.AsType[minio.ErrorResponse](err)
	return err != nil && (!ok || response.StatusCode == 0) && !known(err)
}

// known tells whether an error has its meaning already.
func known(err error) bool {
	for _, e := range []error{ErrAway, ErrSource, ErrNoLock, ErrLocked, files.ErrDiffers, files.ErrMissing, context.Canceled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// classify gives an error of the library its meaning. An answer that concerns the one
// object only, such as 400, stays as it is.
func (s *S3) classify(ctx context.Context, err error) error {
	if err == nil || known(err) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	response, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok || response.StatusCode == 0 {
		return fmt.Errorf("%w: %s: %w", ErrAway, s.at, err)
	}
	said := fmt.Sprintf("%s: HTTP %d, %.80q: %.300q", s.at, response.StatusCode, response.Code, response.Message)
	switch {
	case response.Code == minio.NoSuchKey, response.StatusCode == http.StatusNotFound && response.Code != minio.NoSuchBucket:
		return fmt.Errorf("%w: %s", files.ErrMissing, said)
	case response.StatusCode == http.StatusBadRequest, response.StatusCode == http.StatusMethodNotAllowed:
		return errors.New(said)
	}
	return fmt.Errorf("%w: %s", ErrAway, said)
}

// body is the content of an object. It classifies the errors of its connection: a content
// that breaks off has not ended, though [io.ErrUnexpectedEOF] looks like it.
type body struct {
	io.ReadCloser
	classify func(error) error
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !errors.Is(err, io.EOF) {
		err = b.classify(err)
	}
	return n, err
}

// idleTime is the default of [S3Config.Idle].
const idleTime = time.Minute

// newTransport returns a transport on which no connection waits longer than idle for the
// next bytes in either direction, however slowly a large object goes.
func newTransport(idle time.Duration) http.RoundTripper {
	if idle == 0 {
		idle = idleTime
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	return bounded{&http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &idleConn{conn, idle}, nil
		},
		TLSHandshakeTimeout: 15 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 64, DisableCompression: true,
		ResponseHeaderTimeout: idle, ExpectContinueTimeout: 0, MaxResponseHeaderBytes: 64 << 10,
	}}
}

// mostAnswer bounds an answer, in bytes, unless it is a larger object: the library reads
// each to its end. A page of a listing has a thousand keys of 1 KB.
const mostAnswer = 4 << 20

// bounded cuts answers that would never end.
type bounded struct{ inner http.RoundTripper }

// objectSize is the key of a context with the size of the object that is read.
type objectSize struct{}

// pagesLeft is the key of a context with how many more pages a listing may have.
type pagesLeft struct{}

// mostPages of a thousand keys are more than all backups that there ever were.
const mostPages = 1000

// WithLongListing lets one listing be as long as that of all files of a large mirror.
func WithLongListing(ctx context.Context) context.Context {
	return context.WithValue(ctx, pagesLeft{}, new(100*mostPages))
}

var errEndless = fmt.Errorf("%w: the listing does not end", ErrAway)

func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	if left, is := request.Context().Value(pagesLeft{}).(*int); is {
		if *left--; *left < 0 {
			return nil, errEndless
		}
	}
	answer, err := b.inner.RoundTrip(request)
	if err == nil {
		size, _ := request.Context().Value(objectSize{}).(int64)
		answer.Body = http.MaxBytesReader(nil, answer.Body, max(mostAnswer, size+1)) // the byte more shows that it is too long
	}
	return answer, err
}

// idleConn is a connection whose every read and write has the idle time.
type idleConn struct {
	net.Conn
	idle time.Duration
}

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write also gives the read more time that waits for the answer to what is written.
func (c *idleConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
