// Package api is the client of the Noggin API: it fetches records and attachments,
// tries again what may pass, and puts every failure into one of a few classes. It
// knows the wire, not what is done with an answer: queue, files and circuit are
// elsewhere, and reach in through the [Gate] that every request must pass.
//
// The token and the namespace go to the configured hosts only, and into no error.
package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Gate decides when a request may go out: slots, rate limit, circuit and pauses are
// behind it. It must be safe for concurrent use.
type Gate interface {
	// Admit waits until a request may be sent, retries included. Its error ends the
	// whole call and is in the chain of the error that the caller gets.
	Admit(ctx context.Context) error
	// Done is called exactly once for each request that was admitted, when its
	// answer has been read and judged. ctx may be cancelled by then.
	Done(ctx context.Context, o Outcome)
}

// Client talks to the API. It is safe for concurrent use.
type Client struct {
	cfg       Config
	gate      Gate
	records   *url.URL
	media     *url.URL
	trusted   map[string]bool // origins that get the credentials
	transport *http.Transport
	scrubber  scrubber

	// What tests replace.
	now       func() time.Time
	jitter    func() float64
	firstWait time.Duration
}

// New returns a client. The gate may be nil: then nothing holds requests back. The
// error names everything that is wrong or missing in cfg.
func New(cfg Config, gate Gate) (*Client, error) {
	if err := errors.Join(cfg.Validate(), cfg.missing()); err != nil {
		return nil, err
	}
	records, err := recordsURL(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	media, err := mediaURL(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg:       cfg,
		gate:      gate,
		records:   records,
		media:     media,
		trusted:   map[string]bool{origin(records): true, origin(media): true},
		transport: newTransport(cfg.Timeout),
		scrubber:  newScrubber(cfg.BearerToken, cfg.Namespace),
		now:       time.Now,
		jitter:    rand.Float64,
		firstWait: time.Second,
	}, nil
}

// newTransport returns connections that give up in time. How many there are is the
// gate's business, so every one that was needed is kept for the next request.
func newTransport(timeout time.Duration) *http.Transport {
	connect := min(timeout, 30*time.Second)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    connect,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    1 << 10,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		DisableCompression:     true, // asked for and undone by ourselves, to count both sizes
	}
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Record fetches the object tip of the form apiName. What it returns is the answer
// as it came: one JSON object, at most [Config.MaxPayloadBytes], whose $meta.tip is
// tip. Its errors are *Error.
func (c *Client) Record(ctx context.Context, apiName, tip string) ([]byte, error) {
	target, err := c.recordTarget(apiName, tip)
	if err != nil {
		return nil, err
	}
	var data []byte
	k := c.newCall(false)
	k.read = func(resp *http.Response) (seen []byte, err error) {
		data, err = c.readRecord(resp, tip)
		return data, err
	}
	if err := k.do(ctx, target, c.cfg.MaxRetries); err != nil {
		return nil, err
	}
	return data, nil
}

func (c *Client) recordTarget(apiName, tip string) (string, error) {
	if !tipPattern.MatchString(tip) {
		return "", c.newError(0, fmt.Errorf("%w: %.80q is no tip", errReference, tip))
	}
	if !apiNamePattern.MatchString(apiName) {
		return "", c.newError(0, fmt.Errorf("%w: %.110q is no API name of a form", errReference, apiName))
	}
	return c.records.JoinPath(apiName, tip).String(), nil
}

// Media is an attachment that was received whole.
type Media struct {
	Bytes       int64 // written to the sink
	ContentType string
	// LengthKnown tells whether the answer said where it ends. Where it did not, the
	// attachment may have been cut without a trace.
	LengthKnown bool
	Attempts    int
	Duration    time.Duration // of the last attempt
}

// Media fetches the attachment that ref names. Every attempt asks sink for a writer
// anew, which must forget what an earlier attempt wrote; an error of the sink or of
// its writer is ours ([ClassOwn]) and not tried again. The content itself is not
// looked at. Its errors are *Error.
func (c *Client) Media(ctx context.Context, ref string, sink func() (io.Writer, error)) (Media, error) {
	parsed, err := c.mediaRef(ref)
	if err != nil {
		return Media{}, err
	}
	var media Media
	k := c.newCall(true)
	k.read = func(resp *http.Response) (seen []byte, err error) {
		media, err = c.readMedia(resp, sink)
		return nil, err
	}
	if err := k.do(ctx, c.media.String()+"/file?"+parsed.query, c.cfg.MaxRetries); err != nil {
		return Media{}, err
	}
	media.Attempts, media.Duration = k.attempts, k.outcome.Duration
	return media, nil
}

func (c *Client) readMedia(resp *http.Response, sink func() (io.Writer, error)) (Media, error) {
	limit := c.cfg.MaxAttachmentBytes
	if resp.ContentLength > limit {
		return Media{}, fmt.Errorf("%w: %d bytes, at most %d are taken", errTooLarge, resp.ContentLength, limit)
	}
	body, compressed, err := decoded(resp)
	if err != nil {
		return Media{}, err
	}
	w, err := sink()
	if err != nil {
		return Media{}, fmt.Errorf("%w: %w", errLocal, err)
	}
	n, err := copyBody(w, body, limit)
	if err != nil {
		return Media{}, err
	}
	if !compressed && resp.ContentLength >= 0 && n != resp.ContentLength {
		return Media{}, fmt.Errorf("%w: %d of %d bytes", errCut, n, resp.ContentLength)
	}
	chunked := len(resp.TransferEncoding) > 0
	return Media{
		Bytes:       n,
		ContentType: resp.Header.Get("Content-Type"),
		LengthKnown: compressed || chunked || resp.ContentLength >= 0 || resp.ProtoMajor >= 2,
	}, nil
}

// Probe sends one request, without retries, for a record that does not exist, and
// returns the status. The error is nil when the API knows us: it then answers 404
// or, if there is such a record, 200.
func (c *Client) Probe(ctx context.Context, apiName string) (status int, err error) {
	target, err := c.recordTarget(apiName, strings.Repeat("0", 64))
	if err != nil {
		return 0, err
	}
	k := c.newCall(false)
	k.read = func(resp *http.Response) (seen []byte, err error) {
		data, err := readLimited(resp, c.cfg.MaxPayloadBytes)
		if err == nil && isHTML(resp.Header.Get("Content-Type"), data) {
			err = errHTML
		}
		return data, err
	}
	err = k.do(ctx, target, 0)
	var failed *Error
	if !errors.As(err, &failed) || failed.Status != http.StatusNotFound {
		return k.status, err
	}
	if isHTML("", []byte(failed.Excerpt)) {
		failed.Class, failed.Kind = ClassBroken, KindHTMLPage
		failed.Message += " with an HTML page: that is not the API; is base_url right?"
		return k.status, failed
	}
	return k.status, nil
}
