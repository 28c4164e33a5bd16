package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Gate decides when a request may be sent. Slots, rate limit, circuit and pauses are
// behind it. It must be safe for concurrent use.
type Gate interface {
	// Admit waits until an attempt may be sent. The attempt ends with the context that it
	// returns. If ctx has not ended, the call then asks to be admitted again: that is no
	// failure, and no retry. An error ends the whole call and is in the chain of the error
	// that the caller gets.
	Admit(ctx context.Context) (permit context.Context, err error)
	// Done is called exactly once for each admitted attempt, after its answer was read
	// and classified. ctx may be cancelled by then.
	Done(ctx context.Context, o Outcome)
	// Linger is asked for an admitted attempt whose answer has been arriving for
	// [Config.Timeout], again and again until it returns true. From then on the attempt
	// keeps no other one waiting, and its outcome says that it lingered.
	Linger() bool
	// Closing is closed when no request may wait any more: then no attempt follows a
	// failed one, and the call fails with [ErrStopped].
	Closing() <-chan struct{}
	// Patience returns how long a call may still wait because the API asks it to. A call that
	// would have to wait longer ends with how its last attempt failed.
	Patience() time.Duration
}

// Client talks to the API. It is safe for concurrent use.
type Client struct {
	cfg       Config
	gate      Gate
	records   *url.URL
	media     *url.URL
	trusted   map[string]bool // origins that get the credentials
	transport *http.Transport
	public    *http.Transport // to public addresses only
	scrubber  scrubber
	memory    *budget // for the answers of records

	// Tests replace these.
	now       func() time.Time
	jitter    func() float64
	firstWait time.Duration
}

// New returns a client. Without a gate (nil) every request is sent at once. The error
// names everything that is wrong or missing in cfg.
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
	authorities, err := cfg.authorities()
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg:       cfg,
		gate:      gate,
		records:   records,
		media:     media,
		trusted:   map[string]bool{origin(records): true, origin(media): true},
		transport: newTransport(cfg.Timeout, authorities, nil),
		public:    newTransport(cfg.Timeout, authorities, dialPublic),
		scrubber:  newScrubber(cfg.BearerToken, cfg.Namespace),
		memory:    newBudget(cfg.PayloadMemory),
		now:       time.Now,
		jitter:    rand.Float64,
		firstWait: time.Second,
	}, nil
}

// newTransport returns connections that time out. The gate limits their number, so
// every connection is kept for the next request.
// control may refuse an address.
func newTransport(timeout time.Duration, authorities *x509.CertPool, control func(network, address string, c syscall.RawConn) error) *http.Transport {
	connect := min(timeout, 30*time.Second)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second, Control: control}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connect,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    1 << 10,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		DisableCompression:     true, // we ask for it and undo it ourselves, to limit the size after decompression
	}
}

// Close closes the connections that are not in use.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	c.public.CloseIdleConnections()
}

// Record fetches the record tip of the form apiName. It returns the answer's own bytes:
// one JSON object of at most [Config.MaxPayloadBytes], whose $meta.tip is tip. Its
// errors are *Error.
func (c *Client) Record(ctx context.Context, apiName, tip string) ([]byte, error) {
	target, err := c.recordTarget(apiName, tip)
	if err != nil {
		return nil, err
	}
	return c.fetch(ctx, target, tip)
}

func (c *Client) recordTarget(apiName, tip string) (string, error) {
	if !tipPattern.MatchString(tip) {
		return "", c.newError(0, fmt.Errorf("%w: %.80q is not a tip", errReference, tip))
	}
	if !apiNamePattern.MatchString(apiName) {
		return "", c.newError(0, fmt.Errorf("%w: %.110q is not the API name of a form", errReference, apiName))
	}
	return c.records.JoinPath(apiName, tip).String(), nil
}

// Media is an attachment that was received whole.
type Media struct {
	ContentType string
	// LengthKnown reports whether the answer told its length. When it did not, the
	// attachment may be cut without a trace.
	LengthKnown bool
	// Encoding is a content encoding that we do not know, and left as it is.
	Encoding string
}

// Sink takes the body of an attachment.
type Sink struct {
	// Open returns a writer for each attempt. It must drop what an earlier attempt wrote.
	// Its error or that of its writer is ours ([ClassOwn]) and ends the call.
	Open func() (io.Writer, error)
	// Check looks at the whole body. page says why that is the page of a server instead
	// of an attachment. The error is ours. Without Check every body is taken.
	Check func(Media) (page string, err error)
}

// Media fetches the attachment of a media reference into sink. Its errors are *Error.
func (c *Client) Media(ctx context.Context, ref string, sink Sink) (Media, error) {
	query, err := c.mediaQuery(ref)
	if err != nil {
		return Media{}, err
	}
	var media Media
	k := c.newCall(true)
	k.read = func(resp *http.Response) (seen []byte, err error) {
		media, seen, err = c.readMedia(resp, sink)
		return seen, err
	}
	err = k.do(ctx, c.media.String()+"/file?"+query, c.cfg.MaxRetries)
	return media, err
}

// readMedia reads an attachment. When it is a page, seen is the beginning of that.
func (c *Client) readMedia(resp *http.Response, sink Sink) (m Media, seen []byte, err error) {
	limit := c.cfg.MaxAttachmentBytes
	if resp.ContentLength > limit {
		return Media{}, nil, fmt.Errorf("%w: %d bytes, at most %d are taken", errTooLarge, resp.ContentLength, limit)
	}
	body, err := decoded(resp)
	if err != nil {
		return Media{}, nil, err
	}
	w, err := sink.Open()
	if err != nil {
		return Media{}, nil, fmt.Errorf("%w: %w", errLocal, err)
	}
	begin := beginning{Writer: w}
	n, err := copyBody(&begin, body, limit)
	if err != nil {
		return Media{}, nil, err
	}
	if !body.compressed && resp.ContentLength >= 0 && n != resp.ContentLength {
		return Media{}, nil, fmt.Errorf("%w: %d of %d bytes", errCut, n, resp.ContentLength)
	}
	chunked := len(resp.TransferEncoding) > 0
	m = Media{
		ContentType: resp.Header.Get("Content-Type"),
		LengthKnown: body.compressed || chunked || resp.ContentLength >= 0 || resp.ProtoMajor >= 2,
		Encoding:    body.unknown,
	}
	if sink.Check == nil {
		return m, nil, nil
	}
	page, err := sink.Check(m)
	switch {
	case err != nil:
		return m, nil, fmt.Errorf("%w: %w", errLocal, err)
	case page != "":
		return m, begin.seen, fmt.Errorf("%w: %s", errPage, page)
	}
	return m, nil, nil
}

// beginning keeps the first bytes that are written, for the excerpt of a page.
type beginning struct {
	io.Writer
	seen []byte
}

func (b *beginning) Write(p []byte) (int, error) {
	b.seen = append(b.seen, p[:min(len(p), 4*maxExcerpt-len(b.seen))]...)
	return b.Writer.Write(p)
}

// Probe asks once for a record that does not exist, and returns the status. The error
// is nil when the API accepts our credentials: it then answers 404 or, if there is such
// a record, 200.
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
		failed.Message += " with an HTML page, which the API does not do; check base_url"
		return k.status, failed
	}
	return k.status, nil
}
