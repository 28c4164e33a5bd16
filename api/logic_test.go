package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		status int
		err    error
		class  Class
		kind   string
		down   bool // counts against the circuit
		again  bool
	}{
		{200, nil, ClassOK, "", false, false},
		{0, nil, ClassBroken, KindBrokenAnswer, false, true},
		{100, nil, ClassBroken, KindBrokenAnswer, false, true},
		{204, nil, ClassBroken, KindBrokenAnswer, false, true},
		{206, nil, ClassBroken, KindBrokenAnswer, false, true},
		{301, nil, ClassBroken, KindRedirect, false, false},
		{304, nil, ClassBroken, KindRedirect, false, false},
		{400, nil, ClassPermanent, KindBadRequest, false, false},
		{401, nil, ClassCredentials, KindAuthentication, false, false},
		{403, nil, ClassForbidden, KindPermission, false, false},
		{404, nil, ClassPermanent, KindNotFound, false, false},
		{407, nil, ClassTransient, KindConnection, true, true},
		{408, nil, ClassTransient, KindTimeout, true, true},
		{410, nil, ClassPermanent, KindNotFound, false, false},
		{418, nil, ClassPermanent, KindBadRequest, false, false},
		{421, nil, ClassTransient, KindConnection, true, true},
		{425, nil, ClassTransient, KindConnection, true, true},
		{429, nil, ClassRateLimited, KindRateLimit, true, true},
		{500, nil, ClassTransient, KindServerError, true, true},
		{501, nil, ClassTransient, KindServerError, true, true},
		{502, nil, ClassTransient, KindServerError, true, true},
		{503, nil, ClassTransient, KindServerError, true, true},
		{504, nil, ClassTransient, KindServerError, true, true},
		{599, nil, ClassTransient, KindServerError, true, true},
		{600, nil, ClassBroken, KindBrokenAnswer, false, true},
		{999, nil, ClassBroken, KindBrokenAnswer, false, true},
		{200, errBroken, ClassBroken, KindBrokenAnswer, false, true},
		{200, errHTML, ClassBroken, KindHTMLPage, true, true},
		{200, errCut, ClassBroken, KindCutBody, true, true},
		{200, io.ErrUnexpectedEOF, ClassBroken, KindCutBody, true, true},
		{200, errStalled, ClassTransient, KindTimeout, true, true},
		{200, fmt.Errorf("%w: %w", errSlow, context.DeadlineExceeded), ClassTransient, KindTooSlow, true, false},
		{200, errPage, ClassBroken, KindHTMLPage, true, true},
		{200, errTooLarge, ClassBroken, KindTooLarge, false, false},
		{302, errRedirect, ClassBroken, KindRedirect, false, false},
		{0, errReference, ClassPermanent, KindBadReference, false, false},
		{200, fmt.Errorf("%w: %w", errLocal, syscall.ENOSPC), ClassOwn, KindLocal, false, false},
		{200, fmt.Errorf("%w: %w", errLocal, context.Canceled), ClassOwn, KindLocal, false, false},
		{0, fmt.Errorf("%w: %w", errOutOfFiles, &net.OpError{Op: "dial", Err: syscall.EMFILE}), ClassOwn, KindLocal, false, false},
		{0, errNotSent, ClassOwn, KindNotSent, false, false},
		{0, fmt.Errorf("%w: %w", errNotSent, &Error{Class: ClassCredentials}), ClassOwn, KindNotSent, false, false},
		{0, fmt.Errorf("%w: %w", errNotSent, context.Canceled), ClassCancelled, KindCancelled, false, false},
		{0, context.Canceled, ClassCancelled, KindCancelled, false, false},
		{0, fmt.Errorf("%w: %w", errCancelled, context.DeadlineExceeded), ClassCancelled, KindCancelled, false, false},
		{0, context.DeadlineExceeded, ClassTransient, KindTimeout, true, true},
		{0, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, ClassTransient, KindTimeout, true, true},
		{0, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, ClassTransient, KindConnection, true, true},
		{0, &net.DNSError{Err: "no such host", IsNotFound: true}, ClassTransient, KindConnection, true, true},
		{0, &net.DNSError{Err: "timeout", IsTimeout: true}, ClassTransient, KindTimeout, true, true},
		{200, syscall.ECONNRESET, ClassTransient, KindConnection, true, true},
		{0, io.EOF, ClassTransient, KindConnection, true, true},
		{0, &tls.CertificateVerificationError{Err: errors.New("unknown authority")}, ClassTransient, KindTLS, true, false},
		{0, &Error{Class: ClassPermanent, Kind: KindNotFound}, ClassPermanent, KindNotFound, false, false},
	}
	for _, test := range tests {
		class, kind := classify(test.status, test.err)
		if class != test.class || kind != test.kind {
			t.Errorf("classify(%d, %v) = %s, %q, want %s, %q", test.status, test.err, class, kind, test.class, test.kind)
		}
		if down := (Outcome{Class: class, Kind: kind}).Unavailable(); down != test.down {
			t.Errorf("%d, %v: unavailable %t, want %t", test.status, test.err, down, test.down)
		}
		if again := worthRepeating(class, kind); again != test.again {
			t.Errorf("%d, %v: repeat %t, want %t", test.status, test.err, again, test.again)
		}
	}
}

func TestRetryAfterIsReadAndKeptWithinBounds(t *testing.T) {
	now := time.Date(2025, 9, 17, 4, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                                  0,
		"soon":                              0,
		"-5":                                0,
		"1.5":                               0,
		"0":                                 time.Second,
		" 7 ":                               7 * time.Second,
		"899":                               899 * time.Second,
		"901":                               15 * time.Minute,
		"9223372036854775807":               15 * time.Minute,
		"99999999999999999999999999":        15 * time.Minute,
		"Wed, 17 Sep 2025 04:00:30 GMT":     30 * time.Second,
		"Wednesday, 17-Sep-25 04:00:30 GMT": 30 * time.Second,
		"Wed Sep 17 04:00:30 2025":          30 * time.Second,
		"Wed, 17 Sep 2025 03:00:00 GMT":     time.Second,
		"Fri, 17 Sep 2125 03:00:00 GMT":     15 * time.Minute,
		"Wed, 17 Sep 2025 24:99:00 GMT":     0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {header}}, now); got != want {
			t.Errorf("Retry-After: %s = %s, want %s", header, got, want)
		}
	}
}

func TestBackoffGrowsToItsBoundAndIsSpread(t *testing.T) {
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 100_000: time.Minute} {
		if got := backoff(time.Second, time.Minute, 2, n, 1); got != want {
			t.Errorf("after attempt %d at most %s, want %s", n, got, want)
		}
		if got := backoff(time.Second, time.Minute, 2, n, 0); got != want/2 {
			t.Errorf("after attempt %d at least %s, want %s", n, got, want/2)
		}
	}
	if got := backoff(time.Second, time.Minute, 1, 50, 1); got != time.Second {
		t.Errorf("factor 1 grows to %s", got)
	}
}

func TestConfigProblemsAreAllReportedWithoutSecrets(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	c := Config{
		BaseURL:         "services.example.com/rest/object/",
		MediaServiceURL: "https://user:hunter2@services.example.com/media",
		Namespace:       "abc\r\nX-Evil: 1",
		BearerToken:     "s3cret\ntoken",
		Timeout:         -time.Second,
		MaxRetries:      -1,
		BackoffFactor:   math.NaN(),
	}
	err := c.Validate()
	for _, want := range []string{
		"[api] base_url", "services.example.com/rest/object/", "no scheme", "[api] media_service_url", "user or password",
		"[api] namespace", "[api] timeout = -1s", "[processing] max_api_retries = -1", "api_backoff_factor = NaN", "api_max_backoff = 0s",
		"max_payload_bytes", "max_attachment_bytes", "max_transfer_time = 0s", "token (12 characters",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not stand in %q", want, err)
		}
	}
	for _, secret := range []string{"hunter2", "s3cret", "X-Evil"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q stands in %q", secret, err)
		}
	}
	if _, err := New(DefaultConfig(), nil); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("without host, namespace and token: %v", err)
	}
}

func TestTheConfigurationKeepsWithinItsBounds(t *testing.T) {
	for key, test := range map[string]struct {
		set         func(c *Config, v int64)
		least, most int64
	}{
		"timeout":              {func(c *Config, v int64) { c.Timeout = time.Duration(v) }, int64(time.Second / 10), int64(time.Hour)},
		"max_api_retries":      {func(c *Config, v int64) { c.MaxRetries = int(v) }, 0, 100},
		"api_backoff_factor":   {func(c *Config, v int64) { c.BackoffFactor = float64(v) }, 1, 100},
		"api_max_backoff":      {func(c *Config, v int64) { c.MaxBackoff = time.Duration(v) }, int64(time.Second), int64(time.Hour)},
		"max_payload_bytes":    {func(c *Config, v int64) { c.MaxPayloadBytes = v }, 1 << 10, 1 << 30},
		"payload_memory":       {func(c *Config, v int64) { c.PayloadMemory = v }, 16 << 20, 1 << 40},
		"max_attachment_bytes": {func(c *Config, v int64) { c.MaxAttachmentBytes = v }, 1 << 10, math.MaxInt64},
		"max_transfer_time":    {func(c *Config, v int64) { c.MaxTransferTime = time.Duration(v) }, int64(time.Second), int64(24 * time.Hour)},
	} {
		for v, ok := range map[int64]bool{test.least: true, test.most: true, test.least - 1: false, test.most + 1: false} { // the most of all overflows
			c := DefaultConfig()
			test.set(&c, v)
			if err := c.Validate(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), key+" = ") {
				t.Errorf("%s of %d: %v", key, v, err)
			}
		}
	}
	for _, r := range " \x7f\né" {
		if headerSafe("token" + string(r)) {
			t.Errorf("%q may stand in a header", r)
		}
	}
}

func TestBaseURLs(t *testing.T) {
	for base, ok := range map[string]bool{
		"https://h": true, "http://localhost:8080/": true, "https://h/prefix/rest/object/": true, "https://[::1]:8443": true, "HTTPS://h": true,
		"h": false, "h:443/x": false, "//h/x": false, "ftp://h": false, "https://": false, "https://u@h": false, "https://h/?a=b": false,
		"https://h/#x": false, "https://h/a b": false, "https://h:port": false, "https:h": false, "\x00": false,
	} {
		c := DefaultConfig()
		c.BaseURL = base
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("base_url %q: %v", base, err)
		}
	}
}

func TestCheckRecord(t *testing.T) {
	nested := func(n int) string {
		return `{"$meta":{"tip":"` + testTip + `"},"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`
	}
	for data, ok := range map[string]bool{
		testRecord:                   true,
		" \n" + testRecord + "\r\n ": true,
		strings.ToUpper(testRecord[:0]) + strings.Replace(testRecord, testTip, strings.ToUpper(testTip), 1): true,
		`{"a":1,"a":2,"$meta":{"tip":"x"},"$meta":{"tip":"` + testTip + `"}}`:                               true,
		`{"$meta":{"tip":"` + testTip + `"},"$META":{"tip":"x"},"s":"\"{[[\\"}`:                             true,
		`{"$Meta":{"tip":"` + testTip + `"}}`:                                                               false,
		`{"$meta":{"Tip":"` + testTip + `"}}`:                                                               false,
		`{"$meta":{"tip":5}}`:                                                                               false,
		`{"$meta":{"tip":null}}`:                                                                            false,
		`{"$meta":"` + testTip + `"}`:                                                                       false,
		`{}`:                                                                                                false,
		``:                                                                                                  false,
		`null`:                                                                                              false,
		`"` + testTip + `"`:                                                                                 false,
		testRecord + "x":                                                                                    false,
		nested(200):                                                                                         true,
		strings.Repeat("[", 100_000):                                                                        false,
		strings.Repeat(`{"a":`, 100_000):                                                                    false,
	} {
		if err := checkRecord([]byte(data), testTip); (err == nil) != ok {
			t.Errorf("%.120q: %v", data, err)
		} else if err != nil && !errors.Is(err, errBroken) {
			t.Errorf("%.120q: %v is not a broken answer", data, err)
		}
	}
}

func FuzzRecordAnswer(f *testing.F) {
	for _, seed := range []string{testRecord, "", "null", "[]", `{"$meta":{}}`, `{"$meta":{"tip":"` + testTip + `"},"s":"\u0000\ud800\\\""}`, "<html>"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		isHTML("text/html", data)
		if checkRecord(data, testTip) != nil {
			return
		}
		if data = []byte(strings.TrimSpace(string(data))); data[0] != '{' || data[len(data)-1] != '}' {
			t.Errorf("taken for a record: %q", data)
		}
	})
}
