package api

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestHTTP2(t *testing.T) {
	picture := bytes.Repeat([]byte("picture "), 100_000)
	n := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("asked by %s", r.Proto)
		}
		switch n++; n {
		case 1: // hangs
			_, _ = w.Write(picture[:1000])
			hang(w, r)
		case 2: // breaks off
			_, _ = w.Write(picture[:1000])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			_ = http.NewResponseController(w).Flush() // no Content-Length
			_, _ = w.Write(picture)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	gate := &recorder{}
	c := newTestClient(t, server.URL, gate, withTimeout(300*time.Millisecond))
	c.transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	var got bytes.Buffer
	m, err := c.Media(t.Context(), testRef, bufferSink(&got))
	if err != nil || !bytes.Equal(got.Bytes(), picture) || !m.LengthKnown {
		t.Fatalf("got %d bytes, %+v, %v", got.Len(), m, err)
	}
	outcomes := gate.ended(t)
	if len(outcomes) != 3 || outcomes[0].Kind != KindTimeout || !outcomes[1].Unavailable() || outcomes[2].Class != ClassOK {
		t.Errorf("outcomes %+v", outcomes)
	}
}
