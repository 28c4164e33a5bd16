package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestMediaRedirectToAForeignHostTakesNoCredentials(t *testing.T) {
	foreign, foreignRequests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, foreign.URL+"/bucket/key?signature=x", http.StatusFound)
	})
	var got bytes.Buffer
	if _, err := newTestClient(t, server.URL, nil).Media(t.Context(), testRef, bufferSink(&got)); err != nil || got.String() != "picture" {
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

func TestMediaRedirectToAConfiguredHostTakesTheCredentials(t *testing.T) {
	store, storeRequests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	foreign, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, store.URL+"/media/elsewhere", http.StatusFound)
	})
	api, _ := serve(t, nil)
	front, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, foreign.URL+"/", http.StatusFound)
	})
	c := newTestClient(t, api.URL, nil, func(cfg *Config) { cfg.MediaServiceURL = front.URL })
	c.trusted[mustOrigin(t, store.URL)] = true
	if _, err := c.Media(t.Context(), testRef, bufferSink(new(bytes.Buffer))); err != nil {
		t.Fatal(err)
	}
	if got := storeRequests()[0].Header.Get("Authorization"); got != "Bearer "+testToken {
		t.Errorf("the configured host got %q", got)
	}
}

func mustOrigin(t *testing.T, base string) string {
	t.Helper()
	u, err := parseBase(base)
	if err != nil {
		t.Fatal(err)
	}
	return origin(u)
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
	c := newTestClient(t, server.URL, nil)
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
		_, err := newTestClient(t, server.URL, nil).Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
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
