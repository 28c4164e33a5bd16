package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testToken     = "tok/en+SECRET-4711=="
	testNamespace = "9359f3bb2efa7aabd0264fb67fb1d99f91871778e9b887179d6b2debaa251ec6"
	testForm      = "loadComplianceCheckDriverLoader"
	testTip       = "dc8b8b655becd3b1685335e3016f5fdc38fdb0661140cffe16a9de4314a3547a"
	testRef       = "/media/file?ns=" + testNamespace + "&tip=5346bacb598a4795426989b94a2ebd2e8364e5c084e16275b7e70c8c8caa38f8"
	testRecord    = `{"$meta":{"tip":"` + testTip + `"},"lcdInspectionId":"LCD - 045289"}`
)

// serve starts a server that counts its requests.
func serve(t testing.TB, handler http.HandlerFunc) (server *httptest.Server, requests func() []*http.Request) {
	t.Helper()
	var mu sync.Mutex
	var seen []*http.Request
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r)
		mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server, func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return append([]*http.Request(nil), seen...)
	}
}

// newTestClient returns a client of the API at base that does not wait between its
// attempts, of which there are three.
func newTestClient(t testing.TB, base string, gate Gate, change ...func(*Config)) *Client {
	t.Helper()
	cfg := DefaultConfig()
	cfg.BaseURL, cfg.Namespace, cfg.BearerToken = base, testNamespace, testToken
	cfg.Timeout, cfg.MaxRetries = 5*time.Second, 2
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg, gate)
	if err != nil {
		t.Fatal(err)
	}
	c.firstWait = time.Millisecond
	t.Cleanup(c.Close)
	return c
}

func withTimeout(d time.Duration) func(*Config) { return func(c *Config) { c.Timeout = d } }

// bufferSink is a sink that starts anew with every attempt.
func bufferSink(b *bytes.Buffer) Sink {
	return Sink{Open: func() (io.Writer, error) {
		b.Reset()
		return b, nil
	}}
}

func asError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want an *Error", err)
	}
	return e
}

func TestRecordIsFetchedWithTheHeadersOfTheAPI(t *testing.T) {
	for _, path := range []string{"", "/", "/rest/object", "/rest/object/"} {
		server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, testRecord) })
		gate := &recorder{}
		c := newTestClient(t, server.URL+path, gate)
		got, err := c.Record(t.Context(), testForm, strings.ToUpper(testTip))
		if err != nil || string(got) != testRecord {
			t.Fatalf("base %q: got %q, %v", path, got, err)
		}
		r := requests()[0]
		if want := "/rest/object/" + testForm + "/" + strings.ToUpper(testTip); r.URL.RequestURI() != want {
			t.Errorf("base %q: asked for %s, want %s", path, r.URL.RequestURI(), want)
		}
		for header, want := range map[string]string{
			"Authorization": "Bearer " + testToken, "En-Namespace": testNamespace, "Accept": "application/json", "User-Agent": "noggin",
		} {
			if r.Header.Get(header) != want {
				t.Errorf("header %s = %q, want %q", header, r.Header.Get(header), want)
			}
		}
		if o := gate.ended(t)[0]; o.Class != ClassOK || o.Status != 200 || o.Unavailable() || o.Neutral() {
			t.Errorf("outcome %+v", o)
		}
	}
}

func TestRecordsBehindAPathPrefix(t *testing.T) {
	server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, testRecord) })
	c := newTestClient(t, server.URL+"/gateway/", nil)
	if _, err := c.Record(t.Context(), testForm, testTip); err != nil {
		t.Fatal(err)
	}
	if got := requests()[0].URL.Path; got != "/gateway/rest/object/"+testForm+"/"+testTip {
		t.Errorf("asked for %s", got)
	}
}

func TestMediaIsAskedForAtTheMediaService(t *testing.T) {
	picture := bytes.Repeat([]byte("picture "), 100_000)
	server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(picture)
	})
	for service, want := range map[string]string{"": "/media/file", "/mediaservice": "/mediaservice/file", "/media/": "/media/file"} {
		gate := &recorder{}
		c := newTestClient(t, server.URL, gate, func(cfg *Config) {
			if service != "" {
				cfg.MediaServiceURL = server.URL + service
			}
		})
		var got bytes.Buffer
		m, err := c.Media(t.Context(), testRef, bufferSink(&got))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), picture) || m.ContentType != "image/jpeg" || !m.LengthKnown {
			t.Errorf("got %d bytes, %+v", got.Len(), m)
		}
		r := requests()[len(requests())-1]
		if r.URL.RequestURI() != want+"?"+strings.SplitN(testRef, "?", 2)[1] {
			t.Errorf("asked for %s, want %s", r.URL.RequestURI(), want)
		}
		if r.Header.Get("Authorization") != "Bearer "+testToken || r.Header.Get("En-Namespace") != testNamespace {
			t.Errorf("headers %v", r.Header)
		}
		if o := gate.ended(t); len(o) != 1 || !o[0].Media {
			t.Errorf("outcomes %+v", o)
		}
	}
}

func TestStatusesAreTriedAgainOrNot(t *testing.T) {
	tests := []struct {
		status   int
		attempts int
		class    Class
		kind     string
	}{
		{204, 3, ClassBroken, KindBrokenAnswer},
		{302, 1, ClassBroken, KindRedirect},
		{400, 1, ClassPermanent, KindBadRequest},
		{401, 1, ClassCredentials, KindAuthentication},
		{403, 1, ClassForbidden, KindPermission},
		{404, 1, ClassPermanent, KindNotFound},
		{408, 3, ClassTransient, KindTimeout},
		{410, 1, ClassPermanent, KindNotFound},
		{425, 3, ClassTransient, KindConnection},
		{500, 3, ClassTransient, KindServerError},
		{501, 3, ClassTransient, KindServerError},
		{503, 3, ClassTransient, KindServerError},
	}
	for _, test := range tests {
		server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/login")
			w.WriteHeader(test.status)
		})
		gate := &recorder{}
		_, err := newTestClient(t, server.URL, gate).Record(t.Context(), testForm, testTip)
		e := asError(t, err)
		if e.Class != test.class || e.Kind != test.kind || e.Status != test.status || e.Attempts != test.attempts {
			t.Errorf("status %d: got %s, %s, status %d, %d attempts", test.status, e.Class, e.Kind, e.Status, e.Attempts)
		}
		outcomes := gate.ended(t)
		if len(requests()) != test.attempts || len(outcomes) != test.attempts {
			t.Errorf("status %d: %d requests, %d outcomes, want %d", test.status, len(requests()), len(outcomes), test.attempts)
		}
		if o := outcomes[0]; o.Class != test.class || o.Kind != test.kind || o.Status != test.status {
			t.Errorf("status %d: outcome %+v", test.status, o)
		}
	}
}

func TestSuccessAfterFailures(t *testing.T) {
	n := 0
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n < 3 {
			http.Error(w, "not now", http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, testRecord)
	})
	gate := &recorder{}
	got, err := newTestClient(t, server.URL, gate).Record(t.Context(), testForm, testTip)
	if err != nil || string(got) != testRecord {
		t.Fatalf("got %q, %v", got, err)
	}
	outcomes := gate.ended(t)
	if len(outcomes) != 3 || !outcomes[0].Unavailable() || outcomes[2].Class != ClassOK {
		t.Errorf("outcomes %+v", outcomes)
	}
}

func TestNoRetryThatCannotBeInTime(t *testing.T) {
	server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	_, err := newTestClient(t, server.URL, nil).Record(ctx, testForm, testTip)
	if e := asError(t, err); e.Kind != KindServerError || len(requests()) != 1 || time.Since(start) > 10*time.Second {
		t.Errorf("got %+v after %d requests", e, len(requests()))
	}
}

func TestAnUnreachableAPI(t *testing.T) {
	server, _ := serve(t, nil)
	server.Close()
	gate := &recorder{}
	_, err := newTestClient(t, server.URL, gate).Record(t.Context(), testForm, testTip)
	if e := asError(t, err); e.Kind != KindConnection || e.Attempts != 3 || !unavailable(e.Kind) {
		t.Errorf("got %+v", e)
	}
	if outcomes := gate.ended(t); len(outcomes) != 3 || !outcomes[0].Unavailable() {
		t.Errorf("outcomes %+v", outcomes)
	}
}

func TestAnUntrustedCertificateIsNotTriedAgain(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Config.ErrorLog = discardLog()
	defer server.Close()
	_, err := newTestClient(t, server.URL, nil).Record(t.Context(), testForm, testTip)
	if e := asError(t, err); e.Kind != KindTLS || e.Attempts != 1 {
		t.Errorf("got %+v", e)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	n := 0
	server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n%2 == 0 {
			http.Error(w, strings.Repeat("no such object ", 2000), http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, testRecord)
	})
	c := newTestClient(t, server.URL, nil)
	for range 10 {
		_, _ = c.Record(t.Context(), testForm, testTip)
	}
	ports := map[string]bool{}
	for _, r := range requests() {
		ports[r.RemoteAddr] = true
	}
	if len(ports) != 1 {
		t.Errorf("10 requests, every other one a 404, took %d connections", len(ports))
	}
}

func TestUnusableTipsAndNamesAreNotSent(t *testing.T) {
	server, requests := serve(t, nil)
	c := newTestClient(t, server.URL, nil)
	for _, tip := range []string{"", "..", "a/b", "a?b", "a b", "ü", strings.Repeat("a", 65)} {
		if _, err := c.Record(t.Context(), testForm, tip); asError(t, err).Kind != KindBadReference {
			t.Errorf("tip %q: %v", tip, err)
		}
	}
	for _, name := range []string{"", "..", "a/b"} {
		if _, err := c.Record(t.Context(), name, testTip); asError(t, err).Kind != KindBadReference {
			t.Errorf("form %q: %v", name, err)
		}
	}
	if len(requests()) > 0 {
		t.Error("a request was sent all the same")
	}
}

func TestProbe(t *testing.T) {
	tests := []struct {
		status int
		body   string
		kind   string // "": the API knows us
	}{
		{404, `{"message":"no such object"}`, ""},
		{404, "404 page not found", ""},
		{404, "<!DOCTYPE html><h1>nginx</h1>", KindHTMLPage},
		{200, `{}`, ""},
		{200, "<html>maintenance", KindHTMLPage},
		{401, "", KindAuthentication},
		{403, "", KindPermission},
		{503, "", KindServerError},
	}
	for _, test := range tests {
		server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		})
		status, err := newTestClient(t, server.URL, nil).Probe(t.Context(), testForm)
		if status != test.status || len(requests()) != 1 {
			t.Errorf("%d %q: got status %d with %d requests", test.status, test.body, status, len(requests()))
		}
		if (err == nil) != (test.kind == "") || err != nil && asError(t, err).Kind != test.kind {
			t.Errorf("%d %q: got %v, want kind %q", test.status, test.body, err, test.kind)
		}
	}
}

func TestAHeaderWithoutEndIsRefused(t *testing.T) {
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		_, _ = io.WriteString(w, "picture")
	})
	_, err := newTestClient(t, server.URL, nil).Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
	if e := asError(t, err); e.Kind != KindConnection {
		t.Errorf("%+v", e)
	}
}
