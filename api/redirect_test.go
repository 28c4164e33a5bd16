package api

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestMediaRedirectToAForeignHostTakesNoCredentials(t *testing.T) {
	foreign, foreignRequests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, foreign.URL+"/bucket/key?signature=x", http.StatusFound)
	})
	var got bytes.Buffer
	if _, err := newTestClient(t, server.URL, nil, toLoopback).Media(t.Context(), testRef, bufferSink(&got)); err != nil || got.String() != "picture" {
		t.Fatalf("got %q, %v", got.String(), err)
	}
	r := foreignRequests()[0]
	for name, values := range r.Header {
		for _, value := range values {
			if strings.Contains(value, testToken) || strings.Contains(value, testNamespace) {
				t.Errorf("the foreign host got %s: %s", name, value)
			}
		}
	}
	if r.Header.Get("Authorization") != "" || r.Header.Get("En-Namespace") != "" || r.Header.Get("Referer") != "" {
		t.Errorf("the foreign host got %v", r.Header)
	}
}

// A Location chooses neither credentials of ours nor others for the host that it names.
func TestMediaRedirectTakesNoPasswordFromItsLocation(t *testing.T) {
	foreign, foreignRequests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(foreign.URL, "://", "://admin:password@", 1), http.StatusFound)
	})
	if _, err := newTestClient(t, server.URL, nil, toLoopback).Media(t.Context(), testRef, bufferSink(new(bytes.Buffer))); err != nil {
		t.Fatal(err)
	}
	if got := foreignRequests()[0].Header.Get("Authorization"); got != "" {
		t.Errorf("the foreign host got %q", got)
	}
}

// toLoopback lets a redirect lead to another server of the test.
func toLoopback(c *Config) { c.MediaRedirectHosts = []string{"127.0.0.1"} }

func TestMediaRedirectToAConfiguredHostTakesTheCredentials(t *testing.T) {
	api, apiRequests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	front, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, api.URL+"/media/elsewhere", http.StatusFound)
	})
	c := newTestClient(t, api.URL, nil, func(cfg *Config) { cfg.MediaServiceURL = front.URL })
	if _, err := c.Media(t.Context(), testRef, bufferSink(new(bytes.Buffer))); err != nil {
		t.Fatal(err)
	}
	if got := apiRequests()[0].Header.Get("Authorization"); got != "Bearer "+testToken {
		t.Errorf("the configured host got %q", got)
	}
}

// A foreign host that sends us back would choose what we ask for with the token.
func TestBehindAForeignHostThereAreNoCredentials(t *testing.T) {
	var api *httptest.Server
	foreign, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/2" { // once more, to see that it does not come back with the second
			http.Redirect(w, r, "/2", http.StatusFound)
			return
		}
		http.Redirect(w, r, api.URL+"/rest/object/secret", http.StatusTemporaryRedirect)
	})
	api, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/media/file":
			http.Redirect(w, r, foreign.URL+"/1", http.StatusFound)
		case "/rest/object/secret":
			http.Redirect(w, r, "/rest/object/other", http.StatusFound)
		}
	})
	c := newTestClient(t, api.URL, nil, toLoopback)
	_, _ = c.Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
	seen := requests()
	if len(seen) != 3 || seen[0].Header.Get("Authorization") == "" {
		t.Fatalf("%d requests", len(seen))
	}
	for _, r := range seen[1:] {
		if r.Header.Get("Authorization") != "" || r.Header.Get("En-Namespace") != "" {
			t.Errorf("%s got the credentials", r.URL.Path)
		}
	}
	// The next attempt has them again.
	_, _ = c.Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
	if requests()[3].Header.Get("Authorization") == "" {
		t.Error("the next attachment is asked for without credentials")
	}
}

func TestAnAttemptBehindOneThatWasLedAwayTakesTheCredentials(t *testing.T) {
	var answers atomic.Int32
	foreign, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if answers.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server, requests := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, foreign.URL, http.StatusFound) })
	if _, err := newTestClient(t, server.URL, nil, toLoopback).Media(t.Context(), testRef, bufferSink(new(bytes.Buffer))); err != nil {
		t.Fatal(err)
	}
	if seen := requests(); len(seen) != 2 || seen[1].Header.Get("Authorization") != "Bearer "+testToken {
		t.Errorf("%d requests, the last one without the credentials", len(seen))
	}
}

func TestMediaRedirectsLeadToNoServiceOfThisHost(t *testing.T) {
	internal, internalRequests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "AWS_SECRET") })
	_, port, _ := net.SplitHostPort(internal.Listener.Addr().String())
	for _, host := range []string{
		"127.0.0.1", "127.0.0.2", "127.1.2.3", "0.0.0.0", "localhost", "LOCALHOST.", "x.localhost", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.100.100.200", "[64:ff9b::7f00:1]",
		"2130706433", "0x7f.1", "017700000001", "127.1", "0", "[::127.0.0.1]", "[2002:7f00:1::]",
	} {
		server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://"+host+":"+port+"/latest/meta-data")
			w.WriteHeader(http.StatusFound)
		})
		c := newTestClient(t, server.URL, nil, func(cfg *Config) { cfg.MaxRetries = 0 })
		var got bytes.Buffer
		_, err := c.Media(t.Context(), testRef, bufferSink(&got))
		if e := asError(t, err); got.Len() > 0 || e.Kind != KindRedirect && e.Kind != KindConnection {
			t.Errorf("%s: got %q, %v", host, got.String(), err)
		}
	}
	if n := len(internalRequests()); n > 0 {
		t.Errorf("the internal service was asked %d times", n)
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "52.95.1.1": true, "2600:1f18::1": true, "::ffff:8.8.8.8": true, "64:ff9b::808:808": true,
		"127.0.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "10.1.1.1": false, "172.31.0.1": false, "192.168.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "::": false, "::1": false,
		"fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "fc00::1": false, "ff02::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "2001::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "::7f00:1": false, "::ffff:169.254.169.254": false,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public is %t", text, got)
		}
		if got := dialPublic("tcp", net.JoinHostPort(text, "80"), nil) == nil; got != want {
			t.Errorf("%s: dialled is %t", text, got)
		}
	}
}

func TestRedirectHostsAreHosts(t *testing.T) {
	for host, ok := range map[string]bool{
		"files.example.com": true, "files.example.com:8443": true, "127.0.0.1": true, "[::1]:80": true,
		"": false, "https://files.example.com": false, "files.example.com/x": false, "*.example.com": false, "a b": false, "u@h": false, "h:port": false,
	} {
		if err := checkRedirectHosts([]string{host}); (err == nil) != ok {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestMediaRedirectsAreLimited(t *testing.T) {
	for hops, works := range map[int]bool{5: true, 6: false} {
		server, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.URL.Query().Get("n"))
			if n == hops {
				_, _ = io.WriteString(w, "picture")
				return
			}
			http.Redirect(w, r, "/hop?n="+strconv.Itoa(n+1), http.StatusSeeOther)
		})
		gate := &recorder{}
		_, err := newTestClient(t, server.URL, gate).Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
		if (err == nil) != works || len(requests()) != 6 {
			t.Errorf("%d redirects: %v with %d requests", hops, err, len(requests()))
		}
		if !works && asError(t, err).Kind != KindRedirect {
			t.Errorf("%d redirects: %v", hops, err)
		}
		if n := len(gate.ended(t)); n != 1 {
			t.Errorf("%d redirects: told %d times", hops, n)
		}
	}
}

func TestMediaRedirectNeverLeavesTLS(t *testing.T) {
	plain, plainRequests := serve(t, nil)
	server := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/x", http.StatusFound))
	defer server.Close()
	c := newTestClient(t, server.URL, nil, toLoopback)
	c.transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
	_, err := c.Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
	if e := asError(t, err); e.Kind != KindRedirect || len(plainRequests()) > 0 {
		t.Errorf("got %+v, %d requests without TLS", e, len(plainRequests()))
	}
}

func TestAForeignHostCannotRejectOurCredentials(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		foreign, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, foreign.URL, http.StatusFound) })
		_, err := newTestClient(t, server.URL, nil, toLoopback).Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
		if e := asError(t, err); e.Class != ClassBroken || e.Kind != KindRedirect || e.Status != status {
			t.Errorf("%d: got %+v", status, e)
		}
	}
}

func TestRecordRedirectsAreNotFollowed(t *testing.T) {
	server, requests := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
	_, err := newTestClient(t, server.URL, nil).Record(t.Context(), testForm, testTip)
	if e := asError(t, err); e.Kind != KindRedirect || e.Status != http.StatusFound || len(requests()) != 1 {
		t.Errorf("got %+v, %d requests", e, len(requests()))
	}
}

// The proxy of the environment finds the address, and has rules of its own.
func TestMediaRedirectsGoThroughTheProxy(t *testing.T) {
	proxy, proxied := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://files.example.com/key?signature=x", http.StatusFound)
	})
	c := newTestClient(t, server.URL, nil)
	for _, transport := range []*http.Transport{c.transport, c.public} {
		if reflect.ValueOf(transport.Proxy).Pointer() != reflect.ValueOf(http.ProxyFromEnvironment).Pointer() {
			t.Error("the proxy of the environment is passed over")
		}
	}
	c.transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == "files.example.com" {
			return url.Parse(proxy.URL)
		}
		return nil, nil
	}
	var got bytes.Buffer
	if _, err := c.Media(t.Context(), testRef, bufferSink(&got)); err != nil || got.String() != "picture" {
		t.Fatalf("got %q, %v", got.String(), err)
	}
	if r := proxied()[0]; r.RequestURI != "http://files.example.com/key?signature=x" || r.Header.Get("Authorization") != "" {
		t.Errorf("the proxy was asked for %s with %v", r.RequestURI, r.Header)
	}
}

// A name tells nothing of the address behind it: the connection itself is refused.
func TestTheConnectionOfARedirectLeadsToPublicAddressesOnly(t *testing.T) {
	server, requests := serve(t, func(http.ResponseWriter, *http.Request) {})
	c := newTestClient(t, server.URL, nil)
	conn, err := c.public.DialContext(t.Context(), "tcp", strings.TrimPrefix(server.URL, "http://"))
	if err == nil {
		_ = conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no public address") || len(requests()) > 0 {
		t.Errorf("a name that is 127.0.0.1 is reached: %v", err)
	}
}
