package api

import (
	"bytes"
	"net/http"
	"testing"
	"time"
)

func TestHTTP2(t *testing.T) {
	picture := bytes.Repeat([]byte("picture "), 100_000)
	n := 0
	handler := func(w http.ResponseWriter, r *http.Request) {
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
	}
	gate := &recorder{}
	inTimeTLS(t, handler, gate, func(t *testing.T, c *Client) {
		var got bytes.Buffer
		m, err := c.Media(t.Context(), testRef, bufferSink(&got))
		if err != nil || !bytes.Equal(got.Bytes(), picture) || !m.LengthKnown {
			t.Fatalf("got %d bytes, %+v, %v", got.Len(), m, err)
		}
	}, withTimeout(300*time.Millisecond))
	outcomes := gate.ended(t)
	if len(outcomes) != 3 || outcomes[0].Kind != KindTimeout || !outcomes[1].Unavailable() || outcomes[2].Class != ClassOK {
		t.Errorf("outcomes %+v", outcomes)
	}
}
