package place

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

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
	refused, ok := errors.AsType[refusal](err)
	if !ok {
		return false
	}
	switch refused.Code {
	// A body that was damaged on its way.
	case "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "RequestTimeout", "SlowDown",
		"ConditionalRequestConflict", "OperationAborted":
		return true
	}
	return refused.status >= http.StatusInternalServerError && refused.status != http.StatusNotImplemented ||
		refused.status == http.StatusTooManyRequests
}

// isBroken tells whether a request ended without an answer.
func isBroken(err error) bool {
	_, refused := errors.AsType[refusal](err)
	return err != nil && !refused && !known(err)
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

// noSuchBucket is the code of a bucket that is missing.
const noSuchBucket = "NoSuchBucket"

// classify gives an error of a request its meaning. An answer that concerns the one
// object only, such as 400, stays as it is.
func (s *S3) classify(ctx context.Context, err error) error {
	if err == nil || known(err) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	refused, ok := errors.AsType[refusal](err)
	if !ok {
		return fmt.Errorf("%w: %s: %w", ErrAway, s.at, err)
	}
	said := fmt.Sprintf("%s: HTTP %d, %.80q: %.300q", s.at, refused.status, refused.Code, refused.Message)
	switch {
	case refused.Code == "NoSuchKey", refused.status == http.StatusNotFound && refused.Code != noSuchBucket:
		return fmt.Errorf("%w: %s", files.ErrMissing, said)
	case refused.status == http.StatusBadRequest, refused.status == http.StatusMethodNotAllowed:
		return errors.New(said)
	}
	return fmt.Errorf("%w: %s", ErrAway, said)
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
	return &http.Transport{
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
	}
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
