package api

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config holds the API's addresses, the credentials and the limits. The tags are the
// keys of section [api] in the configuration file; a tag with a dot names its own
// section.
type Config struct {
	// BaseURL is where records are, with or without the path /rest/object/.
	BaseURL string `toml:"base_url"`
	// MediaServiceURL is where attachments are; empty is /media on the host of
	// BaseURL.
	MediaServiceURL string `toml:"media_service_url"`
	// CAFile is a PEM file of authorities that are trusted beside the system's; empty is
	// none.
	CAFile string `toml:"ca_file"`
	// InsecureHTTP lets the token go over http to other hosts than this one, where
	// everybody on the way can read it.
	InsecureHTTP bool `toml:"insecure_http"`
	// MediaRedirectHosts are hosts, with or without a port, to which an attachment may be
	// redirected although their addresses are not public.
	MediaRedirectHosts []string `toml:"media_redirect_hosts"`
	// Namespace is the tenant, sent in the header en-namespace.
	Namespace string `toml:"namespace"`
	// BearerToken is the credential. It is never in the configuration file.
	BearerToken string `toml:"-"`
	// Timeout bounds the wait for an answer's header, and for the next piece of its
	// body.
	Timeout time.Duration `toml:"timeout"`

	// MaxRetries is how many more attempts follow a failed one.
	MaxRetries int `toml:"processing.max_api_retries"`
	// BackoffFactor makes each wait between attempts longer: 1 s × factor^n.
	BackoffFactor float64 `toml:"processing.api_backoff_factor"`
	// MaxBackoff bounds the wait between attempts, unless Retry-After asks for more.
	MaxBackoff time.Duration `toml:"processing.api_max_backoff"`
	// TooManyRequestsSleep is the wait after a 429 without Retry-After. commands copies
	// it from the key in [processing], as the gate does the waiting.
	TooManyRequestsSleep time.Duration `toml:"-"`

	// MaxPayloadBytes bounds a record's answer, counted after decompression.
	MaxPayloadBytes int64 `toml:"processing.max_payload_bytes"`
	// PayloadMemory bounds the memory of all records' answers that are in flight. A
	// record that needs more than that alone is worked on alone.
	PayloadMemory int64 `toml:"processing.payload_memory"`
	// MaxAttachmentBytes bounds an attachment.
	MaxAttachmentBytes int64 `toml:"processing.max_attachment_bytes"`
	// MaxTransferTime bounds the wait for a whole answer once it has begun, be it of a
	// record or an attachment.
	MaxTransferTime time.Duration `toml:"processing.max_transfer_time"`

	// UserAgent is our name in the API's logs.
	UserAgent string `toml:"-"`
}

// DefaultConfig returns the defaults. Host, namespace and token have none.
func DefaultConfig() Config {
	return Config{
		MediaRedirectHosts:   []string{},
		Timeout:              time.Minute,
		MaxRetries:           5,
		BackoffFactor:        2,
		MaxBackoff:           time.Minute,
		TooManyRequestsSleep: time.Minute,
		MaxPayloadBytes:      16 << 20,
		PayloadMemory:        256 << 20,
		MaxAttachmentBytes:   1 << 30,
		MaxTransferTime:      time.Hour,
		UserAgent:            "noggin",
	}
}

// Validate reports every wrong value, joined. Each error names the key, the value and
// what is allowed, but never the namespace, the token or a URL that may hold a password.
// A missing value is not an error here, as not every command talks to the API; [New]
// reports it.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseBase(c.BaseURL); c.BaseURL != "" && err != nil {
		bad("[api] base_url = %s: %w; want a URL such as https://services.apse2.elasticnoggin.com/rest/object/", shownURL(c.BaseURL), err)
	}
	if _, err := parseBase(c.MediaServiceURL); c.MediaServiceURL != "" && err != nil {
		bad("[api] media_service_url = %s: %w; want a URL such as https://services.apse2.elasticnoggin.com/media", shownURL(c.MediaServiceURL), err)
	}
	if err := checkRedirectHosts(c.MediaRedirectHosts); err != nil {
		errs = append(errs, err)
	}
	for _, address := range []struct{ key, url string }{{"base_url", c.BaseURL}, {"media_service_url", c.MediaServiceURL}} {
		u, err := parseBase(address.url)
		if err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) && !c.InsecureHTTP {
			bad("[api] %s = %s: the token would go out in the clear: want https://, or insecure_http = true to insist", address.key, shownURL(address.url))
		}
	}
	if !headerSafe(c.Namespace) {
		bad("[api] namespace (%d characters, not shown): want the tenant's 64 hexadecimal digits, without spaces or line breaks", len(c.Namespace))
	}
	if !headerSafe(c.BearerToken) {
		bad("the API token (%d characters, not shown): want one line of printable ASCII without spaces", len(c.BearerToken))
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Hour {
		bad("[api] timeout = %s: want 100ms to 1h", c.Timeout)
	}
	if c.MaxRetries < 0 || c.MaxRetries > 100 {
		bad("[processing] max_api_retries = %d: want 0 to 100", c.MaxRetries)
	}
	if !(c.BackoffFactor >= 1 && c.BackoffFactor <= 100) { // refuses NaN too
		bad("[processing] api_backoff_factor = %g: want 1 to 100", c.BackoffFactor)
	}
	if c.MaxBackoff < time.Second || c.MaxBackoff > time.Hour {
		bad("[processing] api_max_backoff = %s: want 1s to 1h", c.MaxBackoff)
	}
	if c.MaxPayloadBytes < 1<<10 || c.MaxPayloadBytes > 1<<30 {
		bad("[processing] max_payload_bytes = %d: want 1024 to %d (1 GiB)", c.MaxPayloadBytes, 1<<30)
	}
	if c.PayloadMemory < 16<<20 || c.PayloadMemory > 1<<40 {
		bad("[processing] payload_memory = %d: want %d (16 MiB) to %d (1 TiB)", c.PayloadMemory, 16<<20, int64(1)<<40)
	}
	if c.MaxAttachmentBytes < 1<<10 {
		bad("[processing] max_attachment_bytes = %d: want at least 1024", c.MaxAttachmentBytes)
	}
	if c.MaxTransferTime < time.Second || c.MaxTransferTime > 24*time.Hour {
		bad("[processing] max_transfer_time = %s: want 1s to 24h", c.MaxTransferTime)
	}
	return errors.Join(errs...)
}

// missing reports the values without which there is no client.
func (c Config) missing() error {
	var errs []error
	if c.BaseURL == "" {
		errs = append(errs, errors.New("[api] base_url is not set: want a URL such as https://services.apse2.elasticnoggin.com/rest/object/"))
	}
	if c.Namespace == "" {
		errs = append(errs, errors.New("[api] namespace is not set: want the tenant's 64 hexadecimal digits"))
	}
	if c.BearerToken == "" {
		errs = append(errs, errors.New("there is no API token"))
	}
	return errors.Join(errs...)
}

// parseBase reads a base URL and removes the slashes at its end.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme == "" || !strings.Contains(text, "://"):
		return nil, errors.New("no scheme (https:// in front)")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("neither https nor http")
	case u.Hostname() == "":
		return nil, errors.New("no host")
	case u.User != nil:
		return nil, errors.New("user or password inside")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("something behind the path")
	case strings.ContainsAny(text, " \t"):
		return nil, errors.New("white space inside")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// shownURL is a URL for an error, which must not repeat a password.
func shownURL(text string) string {
	if strings.ContainsAny(text, "@?#") {
		return "(not shown)"
	}
	return fmt.Sprintf("%.200q", text)
}

// isLoopback reports whether a host is this one.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// authorities returns the authorities that are trusted, or nil for the system's.
func (c Config) authorities() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("[api] ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a host without authorities of its own
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("[api] ca_file = %q: no certificate in it: want a PEM file", c.CAFile)
	}
	return pool, nil
}

// headerSafe reports whether text can stand in a header without escapes.
func headerSafe(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// recordsURL is the URL to which a form's API name and a tip are appended.
func recordsURL(base string) (*url.URL, error) {
	u, err := parseBase(base)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(u.Path, "/rest/object") {
		u.Path += "/rest/object"
	}
	return u, nil
}

// mediaURL is the URL to which /file and its query are appended.
func mediaURL(c Config) (*url.URL, error) {
	if c.MediaServiceURL != "" {
		return parseBase(c.MediaServiceURL)
	}
	u, err := parseBase(c.BaseURL)
	if err != nil {
		return nil, err
	}
	u.Path = "/media"
	return u, nil
}

// origin is scheme, host and port of a URL in a form that can be compared.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
