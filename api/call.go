package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// call fetches one thing, with all its attempts. It is the transport, the redirect
// policy and the retry policy of its own HTTP client. So the loop in retryablehttp
// retries failures of the body as it does those of the header.
type call struct {
	*Client
	media bool
	// read reads and checks an answer with status 200. The beginning of a bad answer
	// goes into the excerpt.
	read func(resp *http.Response) (seen []byte, err error)

	attempts int
	last     *Error        // how the last attempt failed
	wait     time.Duration // until the next attempt
	stopped  bool          // the gate closed during a wait: no attempt follows

	// The current attempt.
	admitted bool
	permit   context.Context // of the gate
	started  time.Time
	ctx      context.Context
	cancel   context.CancelFunc
	status   int
	body     *steadyBody
	foreign  bool // the answer comes from a host that is not configured
	left     bool // a redirect led to such a host
	lingers  bool // the answer is slow and has given its place to another attempt
}

func (c *Client) newCall(media bool) *call { return &call{Client: c, media: media} }

// do sends the request until it succeeds or another attempt would not help.
func (k *call) do(ctx context.Context, target string, retries int) error {
	defer k.finish(ctx, &Error{Class: ClassOwn, Kind: KindLocal}) // only if the sink panics
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return k.newError(0, err)
	}
	req.SetResponseHandler(func(resp *http.Response) error { return k.handle(ctx, resp) })
	loop := retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: k, CheckRedirect: k.checkRedirect},
		RetryMax:     retries,
		CheckRetry:   k.checkRetry,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return k.rest(ctx) },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	for again := true; again; again = errors.Is(err, errWithdrawn) && ctx.Err() == nil {
		if _, err = loop.Do(req); err == nil { //nolint:bodyclose // handle has closed it
			return nil
		}
	}
	failed, is := own(err)
	if !is { // cancelled during the wait for the next attempt
		failed = k.failure(ctx, err)
	}
	failed.Attempts = k.attempts
	return failed
}

// own returns a copy of the [Error] in err. The error itself may be another call's, when
// that ended the context of this one.
func own(err error) (*Error, bool) {
	var found *Error
	if !errors.As(err, &found) {
		return nil, false
	}
	failed := *found
	return &failed, true
}

// RoundTrip sends one request: the first of an attempt, which must pass the gate, or
// one that follows a redirect. No other code adds the credentials, and RoundTrip adds
// them only for a configured host, and not behind another one.
func (k *call) RoundTrip(req *http.Request) (*http.Response, error) {
	if !k.admitted {
		if err := k.admit(req.Context()); err != nil {
			return nil, err
		}
	}
	req = req.Clone(k.ctx)
	req.Header.Del("Referer") // it would hold the namespace
	req.Header.Set("User-Agent", k.cfg.UserAgent)
	if k.media {
		req.Header.Set("Accept", "*/*")
		req.Header.Set("Accept-Encoding", "identity")
	} else {
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Accept-Encoding", "gzip")
	}
	k.foreign = !k.trusted[origin(req.URL)]
	k.left = k.left || k.foreign
	transport, err := k.transportFor(req)
	if err != nil {
		return nil, err
	}
	if !k.left { // another host does not choose what we ask with the token
		req.Header.Set("Authorization", "Bearer "+k.cfg.BearerToken)
		req.Header.Set("En-Namespace", k.cfg.Namespace)
	}
	k.status, k.body = 0, nil
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// Its body is the connection itself, which the server may hold open for ever.
		_ = resp.Body.Close() // there is nothing to be lost
		resp.Body = http.NoBody
	}
	k.status = resp.StatusCode
	k.body = newSteadyBody(resp.Body, k.cfg.Timeout, k.cancel)
	k.body.longest, k.body.slow = k.cfg.MaxTransferTime, k.linger
	resp.Body = k.body
	return resp, nil
}

// rest waits until the next attempt, or until the gate closes. It returns how long
// retryablehttp still has to wait: not at all.
func (k *call) rest(ctx context.Context) time.Duration {
	var closing <-chan struct{}
	if k.gate != nil {
		closing = k.gate.Closing()
	}
	select {
	case <-ctx.Done():
	case <-closing:
		k.stopped = true
	case <-time.After(k.wait):
	}
	return 0
}

// admit waits for the gate and begins an attempt.
func (k *call) admit(ctx context.Context) error {
	if k.stopped {
		return k.failure(ctx, fmt.Errorf("%w: %w", errNotSent, ErrStopped))
	}
	permit := ctx
	if k.gate != nil {
		var err error
		if permit, err = k.gate.Admit(ctx); err != nil {
			return k.failure(ctx, fmt.Errorf("%w: %w", errNotSent, err))
		}
	}
	k.admitted, k.permit, k.left, k.lingers = true, permit, false, false
	k.attempts++
	k.started = time.Now()
	attempt, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(permit, cancel)
	k.ctx, k.cancel = attempt, func() { forget(); cancel() }
	return nil
}

// linger gives the place of a slow answer to another attempt, if the gate agrees.
func (k *call) linger() bool {
	k.lingers = k.gate != nil && k.gate.Linger()
	return k.lingers
}

// finish ends the attempt and reports it to the gate, once.
func (k *call) finish(ctx context.Context, failed *Error) {
	if !k.admitted {
		return
	}
	k.admitted = false
	k.cancel()
	if k.gate == nil {
		return
	}
	outcome := Outcome{Status: k.status, Media: k.media, Duration: time.Since(k.started), Lingered: k.lingers}
	if failed != nil {
		outcome.Class, outcome.Kind, outcome.RetryAfter = failed.Class, failed.Kind, failed.RetryAfter
	}
	k.gate.Done(ctx, outcome)
}

// handle reads and classifies an answer of any status, and ends the attempt.
func (k *call) handle(ctx context.Context, resp *http.Response) error {
	var seen []byte
	var err error
	switch {
	case resp.StatusCode == http.StatusOK:
		seen, err = k.read(resp)
	case k.left && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden):
		// This host did not get our credentials, so it did not reject them.
		err = fmt.Errorf("%w: its target answered %d", errRedirect, resp.StatusCode)
	}
	var failed *Error
	if err != nil || resp.StatusCode != http.StatusOK {
		failed = k.failure(ctx, err)
		failed.RetryAfter = k.retryAfter(resp)
		if resp.StatusCode != http.StatusOK {
			k.body.hurry(drainTime)
			seen, _ = readUpTo(resp, 4*maxExcerpt) // an error just makes the excerpt shorter
		}
		failed.Excerpt = k.excerpt(seen)
	}
	k.body.finish()
	k.finish(ctx, failed)
	if failed == nil {
		return nil
	}
	return failed
}

// cause strips the HTTP client's own text from an error, as that holds the URL with its
// query.
func (k *call) cause(err error) error {
	var client *url.Error
	if errors.As(err, &client) {
		err = client.Err
	}
	if k.status/100 == 3 && !errors.Is(err, errRedirect) {
		return fmt.Errorf("%w: its target is not a URL", errRedirect)
	}
	return err
}

// failure makes the error of this call from err or, when err is nil, from the status.
func (k *call) failure(ctx context.Context, err error) *Error {
	ended := ctx.Err()
	if ended == nil && k.admitted && k.permit.Err() != nil {
		ended = errWithdrawn
	}
	if err != nil && ended != nil && !errors.Is(err, errLocal) {
		if !errors.Is(err, ended) && !errors.Is(err, errNotSent) {
			err = ended // a cancelled connection fails with many different errors
		}
		err = fmt.Errorf("%w: %w", errCancelled, err)
	}
	failed := k.newError(k.status, err)
	if k.last != nil && (failed.Class == ClassCancelled || failed.Kind == KindNotSent) {
		failed.Message += "; before that: " + k.last.Message
		failed.Status, failed.Excerpt = k.last.Status, k.last.Excerpt
	}
	return failed
}

// retryAfter is how long the API asks us to wait.
func (k *call) retryAfter(resp *http.Response) time.Duration {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		if wait := retryAfter(resp.Header, k.now()); wait > 0 {
			return wait
		}
		return max(k.cfg.TooManyRequestsSleep, minRetryAfter)
	case http.StatusServiceUnavailable:
		return retryAfter(resp.Header, k.now())
	default:
		return 0
	}
}

// checkRetry decides whether another attempt follows. retryablehttp calls it twice for
// an answer, before and after handle, and once for a request without an answer.
func (k *call) checkRetry(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	failed, is := own(err)
	if !is {
		failed = k.failure(ctx, k.cause(err))
	}
	k.finish(ctx, failed)
	k.last = failed
	k.wait = k.nextWait(failed)
	again := worthRepeating(failed.Class, failed.Kind)
	if end, ok := ctx.Deadline(); ok && again && time.Now().Add(k.wait).After(end) {
		again = false // so the error says what happened, not that time ran out
	}
	if k.gate != nil && failed.Class != ClassRateLimited && failed.RetryAfter > 0 && k.wait > k.gate.Patience() {
		again = false
	}
	return again && ctx.Err() == nil, failed
}

// nextWait is the wait before the next attempt. After a 429 the gate makes every call
// wait, this one too; a longer wait here would only make it come last.
func (k *call) nextWait(failed *Error) time.Duration {
	if failed.Class == ClassRateLimited && k.gate != nil {
		return backoff(k.firstWait, k.cfg.MaxBackoff, 1, 1, k.jitter())
	}
	wait := backoff(k.firstWait, k.cfg.MaxBackoff, k.cfg.BackoffFactor, k.attempts, k.jitter())
	return max(wait, failed.RetryAfter)
}
