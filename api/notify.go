package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Notify names who is told of runs and of alerts. Whoever knows the addresses may report
// in noggin's name, so they are secrets. The tags are the keys of section [notify].
type Notify struct {
	// HeartbeatURL is a check of Healthchecks, or a push monitor of Uptime Kuma; empty is
	// none.
	HeartbeatURL string `toml:"heartbeat_url"`
	// WebhookURL takes each alert as JSON by POST; empty is none.
	WebhookURL string `toml:"webhook_url"`
}

// Validate returns all that is wrong.
func (n Notify) Validate() error {
	var errs []error
	for _, address := range []struct{ key, url string }{{"heartbeat_url", n.HeartbeatURL}, {"webhook_url", n.WebhookURL}} {
		u, err := url.Parse(address.url)
		if address.url != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			errs = append(errs, fmt.Errorf("[notify] %s (not shown, as it is a secret): want a URL that begins with https:// or http://", address.key))
		}
	}
	return errors.Join(errs...)
}

// What a receiver may cost.
const (
	beginTime   = time.Second     // how long a run's end waits for its begin to be told
	endTime     = 2 * time.Second // how long the end may take to be told
	webhookTime = 10 * time.Second
	webhookTry  = 3
)

// messenger sends small requests to a receiver that need not be trusted: it follows no
// redirect, reads no body, and no error repeats the address.
type messenger struct {
	client *http.Client
	agent  string
}

func newMessenger(cfg Config) (messenger, error) {
	authorities, err := cfg.authorities()
	if err != nil {
		return messenger{}, err
	}
	transport := newTransport(webhookTime, authorities, nil)
	transport.DisableKeepAlives = true
	return messenger{
		agent: cfg.UserAgent,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (m messenger) send(ctx context.Context, method, address, contentType string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address is no URL")
	}
	req.Header.Set("User-Agent", m.agent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the address
		}
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered %d", resp.StatusCode)
	}
	return nil
}

// Heartbeat tells a monitor that a run began and how it ended. A receiver that is down,
// slow or hostile does not delay the run, and its end by [beginTime] and [endTime] at most.
// nil tells nobody.
type Heartbeat struct {
	messenger
	url    *url.URL
	run    string // tells the monitor which end belongs to which begin
	began  time.Time
	begun  chan struct{} // closed when the begin was told, or could not be
	cancel context.CancelFunc
}

// Begin tells that a run begins, in the background. It returns nil where nobody is to be
// told.
func (n Notify) Begin(cfg Config) (*Heartbeat, error) {
	if n.HeartbeatURL == "" {
		return nil, nil
	}
	u, err := url.Parse(n.HeartbeatURL)
	if err != nil {
		return nil, errors.New("[notify] heartbeat_url is no URL")
	}
	m, err := newMessenger(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), webhookTime)
	h := &Heartbeat{messenger: m, url: u, run: runUUID(), began: time.Now(), begun: make(chan struct{}), cancel: cancel}
	if h.isKuma() { // it knows no begin
		close(h.begun)
		return h, nil
	}
	go func() {
		defer close(h.begun)
		_ = h.send(ctx, http.MethodPost, h.check("start"), "", nil) // the end tells whether it can be reached
	}()
	return h, nil
}

// End tells how the run ended: well, or with an exit code and what is wrong.
func (h *Heartbeat) End(well bool, exitCode int, text string) error {
	if h == nil {
		return nil
	}
	defer h.cancel()
	select {
	case <-h.begun:
	case <-time.After(beginTime):
		h.cancel() // a begin must not arrive after the end
		<-h.begun
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	text = fmt.Sprintf("exit code %d: %s", exitCode, text)
	var err error
	switch {
	case h.isKuma():
		err = h.send(ctx, http.MethodGet, h.push(well, text), "", nil)
	case well:
		err = h.send(ctx, http.MethodPost, h.check(""), "text/plain; charset=utf-8", []byte(text))
	default:
		err = h.send(ctx, http.MethodPost, h.check("fail"), "text/plain; charset=utf-8", []byte(text))
	}
	if err != nil {
		return fmt.Errorf("the monitor of [notify] heartbeat_url was not told how the run ended: %w", err)
	}
	return nil
}

// Cancel ends a heartbeat whose run was told to stop: that is neither well nor a failure.
func (h *Heartbeat) Cancel() {
	if h != nil {
		h.cancel()
		<-h.begun
	}
}

// isKuma tells a push monitor of Uptime Kuma by its path.
func (h *Heartbeat) isKuma() bool { return strings.Contains(h.url.Path, "/api/push/") }

// check is the address of a signal of Healthchecks: start, fail, or "" for success. The
// signal ends the path; the query, such as create=1, stays.
func (h *Heartbeat) check(signal string) string {
	u := *h.url
	if signal != "" {
		u = *u.JoinPath(signal)
	}
	query := u.Query()
	query.Set("rid", h.run)
	u.RawQuery = query.Encode()
	return u.String()
}

// push is the address of a push monitor with the end of the run.
func (h *Heartbeat) push(well bool, text string) string {
	u := *h.url
	query := u.Query()
	query.Set("status", map[bool]string{true: "up", false: "down"}[well])
	query.Set("msg", text)
	query.Set("ping", strconv.FormatInt(time.Since(h.began).Milliseconds(), 10))
	u.RawQuery = query.Encode()
	return u.String()
}

// runUUID is a random UUID.
func runUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Post sends a JSON document to the web hook. It tries a few times, as an alert comes
// once; pause is the wait before the second try, and twice as long before the third.
func (n Notify) Post(ctx context.Context, cfg Config, document []byte, pause time.Duration) error {
	m, err := newMessenger(cfg)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err = func() error {
			ctx, cancel := context.WithTimeout(ctx, webhookTime)
			defer cancel()
			return m.send(ctx, http.MethodPost, n.WebhookURL, "application/json", document)
		}()
		if err == nil || try == webhookTry || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(pause << (try - 1)):
		case <-ctx.Done():
		}
	}
	if err != nil {
		return fmt.Errorf("the receiver of [notify] webhook_url did not take the alert: %w", err)
	}
	return nil
}
