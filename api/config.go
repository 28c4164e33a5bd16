package api

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Config says where the API is, who asks, and how patiently. The tags are the keys
// of the configuration file in [api]; a tag with a dot names its section itself.
type Config struct {
	// BaseURL is where records are, with or without the path /rest/object/.
	BaseURL string `toml:"base_url"`
	// MediaServiceURL is where attachments are; empty is /media on the host of
	// BaseURL.
	MediaServiceURL string `toml:"media_service_url"`
	// Namespace is the tenant, sent in the header en-namespace.
	Namespace string `toml:"namespace"`
	// BearerToken is the credential. It never comes from here: commands finds it.
	BearerToken string `toml:"-"`
	// Timeout bounds the wait for an answer's header, and for the next piece of its
	// body.
	Timeout time.Duration `toml:"timeout"`

	// MaxRetries is how often one request is tried again.
	MaxRetries int `toml:"processing.max_api_retries"`
	// BackoffFactor makes each wait between tries longer than the last:
	// 1 s × factor^n.
	BackoffFactor float64 `toml:"processing.api_backoff_factor"`
	// MaxBackoff bounds the wait between tries, save where Retry-After asks for more.
	MaxBackoff time.Duration `toml:"processing.api_max_backoff"`
	// TooManyRequestsSleep is the wait after a 429 that names none. The key is
	// batch's, whose gate does the waiting; commands copies it.
	TooManyRequestsSleep time.Duration `toml:"-"`

	// MaxPayloadBytes bounds a record's answer, counted after decompression.
	MaxPayloadBytes int64 `toml:"processing.max_payload_bytes"`
	// MaxAttachmentBytes bounds an attachment.
	MaxAttachmentBytes int64 `toml:"processing.max_attachment_bytes"`

	// UserAgent is what the API's logs know us by.
	UserAgent string `toml:"-"`
}

// DefaultConfig returns the defaults. Host, namespace and token have none.
func DefaultConfig() Config {
	return Config{
		Timeout:              time.Minute,
		MaxRetries:           5,
		BackoffFactor:        2,
		MaxBackoff:           time.Minute,
		TooManyRequestsSleep: time.Minute,
		MaxPayloadBytes:      16 << 20,
		MaxAttachmentBytes:   1 << 30,
		UserAgent:            "noggin",
	}
}

// Validate reports every wrong value, joined; each names its key, the value and
// what is allowed. Namespace and token are never repeated, nor a URL that may hold
// a password. What is merely missing is not wrong here: not every command talks to
// the API; [New] wants it.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseBase(c.BaseURL); c.BaseURL != "" && err != nil {
		bad("[api] base_url = %s: %w; want a URL such as https://services.apse2.elasticnoggin.com/rest/object/", shownURL(c.BaseURL), err)
	}
	if _, err := parseBase(c.MediaServiceURL); c.MediaServiceURL != "" && err != nil {
		bad("[api] media_service_url = %s: %w; want a URL such as https://services.apse2.elasticnoggin.com/media", shownURL(c.MediaServiceURL), err)
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
	if c.MaxAttachmentBytes < 1<<10 {
		bad("[processing] max_attachment_bytes = %d: want at least 1024", c.MaxAttachmentBytes)
	}
	return errors.Join(errs...)
}

// missing reports what a client cannot do without.
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

// parseBase reads a base URL and takes the slashes off its end.
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

// shownURL is a URL as an error may repeat it.
func shownURL(text string) string {
	if strings.ContainsAny(text, "@?#") {
		return "(not shown)"
	}
	return fmt.Sprintf("%.200q", text)
}

// headerSafe reports whether text can stand in a header as it is.
func headerSafe(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// recordsURL is what a form's API name and a tip are appended to.
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

// mediaURL is what /file and its query are appended to.
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

// origin is scheme, host and port of a URL, comparable.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
