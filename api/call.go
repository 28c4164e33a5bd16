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

// call is one thing asked of the API, with all its attempts. It is the transport,
// the redirect policy and the retry policy of its own HTTP client, so that the one
// loop in retryablehttp sees failures of header and body alike.
type call struct {
	*Client
	media bool
	// read takes in and checks an answer with status 200. What it has seen of a bad
	// one goes into the excerpt.
	read func(resp *http.Response) (seen []byte, err error)

	attempts int
	last     *Error // of the attempts so far
	wait     time.Duration

	// Of the attempt at hand:
	admitted bool
	started  time.Time
	ctx      context.Context
	cancel   context.CancelFunc
	status   int
	body     *steadyBody
	foreign  bool // the answer comes from a host that is not ours
	outcome  Outcome
}

func (c *Client) newCall(media bool) *call { return &call{Client: c, media: media} }

// do sends the request until it succeeds or there is no point in going on.
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
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return k.wait },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	if _, err = loop.Do(req); err == nil { //nolint:bodyclose // handle has closed it
		return nil
	}
	var failed *Error
	if !errors.As(err, &failed) { // cancelled while it waited for its next attempt
		failed = k.failure(ctx, err)
	}
	failed.Attempts = k.attempts
	return failed
}

// RoundTrip sends one request: the first of an attempt, which must pass the gate, or
// one that a redirect leads to. It alone adds the credentials, and only for a host
// that is ours.
func (k *call) RoundTrip(req *http.Request) (*http.Response, error) {
	if !k.admitted {
		if err := k.admit(req.Context()); err != nil {
			return nil, err
		}
	}
	req = req.Clone(k.ctx)
	req.Header.Del("Referer") // it would tell the namespace
	req.Header.Set("User-Agent", k.cfg.UserAgent)
	if k.media {
		req.Header.Set("Accept", "*/*")
		req.Header.Set("Accept-Encoding", "identity")
	} else {
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Accept-Encoding", "gzip")
	}
	k.foreign = !k.trusted[origin(req.URL)]
	if !k.foreign {
		req.Header.Set("Authorization", "Bearer "+k.cfg.BearerToken)
		req.Header.Set("En-Namespace", k.cfg.Namespace)
	}
	k.status, k.body = 0, nil
	resp, err := k.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	k.status = resp.StatusCode
	k.body = newSteadyBody(resp.Body, k.cfg.Timeout, k.cancel)
	resp.Body = k.body
	return resp, nil
}

// admit opens an attempt.
func (k *call) admit(ctx context.Context) error {
	if k.gate != nil {
		if err := k.gate.Admit(ctx); err != nil {
			return k.failure(ctx, fmt.Errorf("%w: %w", errNotSent, err))
		}
	}
	k.admitted = true
	k.attempts++
	k.started = time.Now()
	k.ctx, k.cancel = context.WithCancel(ctx)
	return nil
}

// finish closes an attempt, once.
func (k *call) finish(ctx context.Context, failed *Error) {
	if !k.admitted {
		return
	}
	k.admitted = false
	k.cancel()
	k.outcome = Outcome{Status: k.status, Media: k.media, Duration: time.Since(k.started)}
	if k.body != nil {
		k.outcome.Bytes = k.body.total
	}
	if failed != nil {
		k.outcome.Class, k.outcome.Kind, k.outcome.RetryAfter = failed.Class, failed.Kind, failed.RetryAfter
	}
	if k.gate != nil {
		k.gate.Done(ctx, k.outcome)
	}
}

const maxRedirects = 5

// checkRedirect follows redirects of attachments only. Records have none: one that
// is redirected has met a login page or a wrong base_url.
func (k *call) checkRedirect(next *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	switch {
	case !k.media:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d of them", errRedirect, maxRedirects)
	case next.URL.Scheme != "https" && next.URL.Scheme != "http":
		return fmt.Errorf("%w: to %.20q", errRedirect, next.URL.Scheme+":")
	case from.Scheme == "https" && next.URL.Scheme == "http":
		return fmt.Errorf("%w: from https to http", errRedirect)
	}
	next.URL.User = nil // a password of the server's own making
	return nil
}

// handle reads and judges an answer of any status, and ends the attempt.
func (k *call) handle(ctx context.Context, resp *http.Response) error {
	var seen []byte
	var err error
	switch {
	case resp.StatusCode == http.StatusOK:
		seen, err = k.read(resp)
	case k.foreign && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden):
		// It never saw our credentials, so it cannot have rejected them.
		err = fmt.Errorf("%w: its target answered %d", errRedirect, resp.StatusCode)
	}
	var failed *Error
	if err != nil || resp.StatusCode != http.StatusOK {
		failed = k.failure(ctx, err)
		failed.RetryAfter = k.retryAfter(resp)
		if resp.StatusCode != http.StatusOK {
			k.body.hurry(drainTime)
			seen, _ = readUpTo(resp, 4*maxExcerpt) // as far as it goes
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

// cause is an error of the HTTP client without its text, which has the URL with the
// query.
func (k *call) cause(err error) error {
	var client *url.Error
	if errors.As(err, &client) {
		err = client.Err
	}
	if k.status/100 == 3 && !errors.Is(err, errRedirect) {
		return fmt.Errorf("%w: its target is no URL", errRedirect)
	}
	return err
}

// failure is what err, or without one the status, means for this call.
func (k *call) failure(ctx context.Context, err error) *Error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, errLocal) {
		if !errors.Is(err, ctx.Err()) && !errors.Is(err, errNotSent) {
			err = ctx.Err() // a connection breaks in many ways when it is given up
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

// retryAfter is how long the API asks to be left alone.
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

// checkRetry is asked twice about an answer, before and after handle, and once about
// a request that failed without one.
func (k *call) checkRetry(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	var failed *Error
	if !errors.As(err, &failed) {
		failed = k.failure(ctx, k.cause(err))
	}
	k.finish(ctx, failed)
	k.last = failed
	k.wait = k.nextWait(failed)
	again := worthRepeating(failed.Class, failed.Kind)
	if end, ok := ctx.Deadline(); ok && again && time.Now().Add(k.wait).After(end) {
		again = false // say what happened instead of that time ran out
	}
	return again && ctx.Err() == nil, failed
}

// nextWait is the wait before the next attempt. After a 429 the gate makes everybody
// wait, this call included: adding to that would only make it come last.
func (k *call) nextWait(failed *Error) time.Duration {
	if failed.Class == ClassRateLimited && k.gate != nil {
		return backoff(k.firstWait, k.cfg.MaxBackoff, 1, 1, k.jitter())
	}
	wait := backoff(k.firstWait, k.cfg.MaxBackoff, k.cfg.BackoffFactor, k.attempts, k.jitter())
	return max(wait, failed.RetryAfter)
}
