package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// raw takes the connection over and writes text to it as it stands.
func raw(w http.ResponseWriter, text string) {
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = out.WriteString(text)
	_ = out.Flush()
	conn.Close()
}

func hang(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func gzipped(n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for ; n > 0; n -= len(zeros) {
		_, _ = z.Write(zeros[:min(n, len(zeros))])
	}
	_ = z.Close()
	return b.Bytes()
}

var bomb = gzipped(8 << 20)

// echo gives back all that a server knows of a request.
func echo(r *http.Request) string {
	return fmt.Sprintf("<html>%s %s ns=%s auth=%s esc=%s %s\x00\xff</html>", r.Method, "http://"+r.Host+r.URL.RequestURI(),
		r.Header.Get("En-Namespace"), r.Header.Get("Authorization"),
		strings.ReplaceAll(testToken, "/", `\/`), "/media/file?ns="+strings.ToUpper(testNamespace)+"&tip=1")
}

// faults are all the ways to fail, each with the kind it is told apart as.
var faults = []struct {
	name    string
	kind    string
	again   bool // is it tried again?
	only    string
	handler http.HandlerFunc
}{
	{"401 with echo", KindAuthentication, false, "", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, echo(r))
	}},
	{"500 with echo", KindServerError, true, "", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, echo(r))
	}},
	{"404 with endless page", KindNotFound, false, "", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		for range 10_000 {
			if _, err := io.WriteString(w, echo(r)); err != nil {
				return
			}
		}
	}},
	{"maintenance page", KindHTMLPage, true, "record", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "\n  "+echo(r))
	}},
	{"empty answer", KindBrokenAnswer, true, "record", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }},
	{"malformed JSON", KindBrokenAnswer, true, "record", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"x": `+echo(r))
	}},
	{"array", KindBrokenAnswer, true, "record", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[`+testRecord+`]`) }},
	{"garbage behind", KindBrokenAnswer, true, "record", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, testRecord+`{}`) }},
	{"another's tip", KindBrokenAnswer, true, "record", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Replace(testRecord, "dc8b", testNamespace, 1))
	}},
	{"unknown encoding", KindBrokenAnswer, true, "record", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		_, _ = io.WriteString(w, "\x1b\x9a\x00")
	}},
	{"gzip that is none", KindBrokenAnswer, true, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x1f\x8b picture")
	}},
	{"gzip cut", KindCutBody, true, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(gzipped(1000)[:20])
	}},
	{"gzip bomb", KindTooLarge, false, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	}},
	{"too large by its length", KindTooLarge, false, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000000000")
		_, _ = io.WriteString(w, testRecord)
	}},
	{"endless", KindTooLarge, false, "", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}},
	{"closed before the header", KindConnection, true, "", func(w http.ResponseWriter, _ *http.Request) { raw(w, "") }},
	{"no HTTP", KindConnection, true, "", func(w http.ResponseWriter, _ *http.Request) { raw(w, "SSH-2.0-OpenSSH\r\n") }},
	{"cut in the body", KindCutBody, true, "", func(w http.ResponseWriter, _ *http.Request) {
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+testRecord)
	}},
	{"cut in a chunk", KindCutBody, true, "", func(w http.ResponseWriter, _ *http.Request) {
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n"+testRecord)
	}},
	{"cut without a length", KindBrokenAnswer, true, "record", func(w http.ResponseWriter, _ *http.Request) {
		raw(w, "HTTP/1.1 200 OK\r\n\r\n"+testRecord[:50])
	}},
	{"hang before the header", KindTimeout, true, "", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	{"hang in the body", KindTimeout, true, "", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, testRecord[:50])
		hang(w, r)
	}},
	{"drip", KindTimeout, true, "", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}},
	{"drip that never stops", KindTooSlow, false, "", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, strings.Repeat(" ", 64))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}},
	{"hang in the body of a 500", KindServerError, true, "", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		hang(w, r)
	}},
	{"redirect to the same", KindRedirect, false, "", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.RequestURI(), http.StatusFound)
	}},
	{"redirect to ftp", KindRedirect, false, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "ftp://"+r.Host+r.URL.RequestURI())
		w.WriteHeader(http.StatusFound)
	}},
	{"redirect to a file", KindRedirect, false, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "file:///etc/passwd")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}},
	{"redirect to no URL", KindRedirect, false, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://[::1"+r.URL.RequestURI()+"%zz")
		w.WriteHeader(http.StatusFound)
	}},
	{"redirect that hangs", KindRedirect, false, "record", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
		hang(w, r)
	}},
}

func TestEveryFaultIsToldApartAndTellsNoSecret(t *testing.T) {
	for _, fault := range faults {
		for _, what := range []string{"record", "media"} {
			if fault.only != "" && fault.only != what {
				continue
			}
			t.Run(fault.name+" of a "+what, func(t *testing.T) {
				t.Parallel()
				var requests atomic.Int64
				gate := &recorder{}
				inTime(t, func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					fault.handler(w, r)
				}, gate, func(t *testing.T, c *Client) {
					var err error
					if what == "record" {
						_, err = c.Record(t.Context(), testForm, testTip)
					} else {
						_, err = c.Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
					}
					e := asError(t, err)
					if e.Kind != fault.kind || (e.Attempts == 2) != fault.again {
						t.Errorf("got kind %s after %d attempts (%v), want %s", e.Kind, e.Attempts, err, fault.kind)
					}
					outcomes := gate.ended(t)
					if len(outcomes) != e.Attempts || outcomes[0].Kind != e.Kind || outcomes[0].Neutral() {
						t.Errorf("%d attempts, outcomes %+v", e.Attempts, outcomes)
					}
					if n := requests.Load(); fault.kind != KindRedirect && n != int64(e.Attempts) {
						t.Errorf("%d requests in %d attempts", n, e.Attempts)
					}
					noSecrets(t, e)
					if what == "record" && strings.Contains(fault.name, "echo") && !strings.Contains(e.Excerpt, "<html>GET") {
						t.Errorf("excerpt %q", e.Excerpt)
					}
				}, func(cfg *Config) {
					cfg.Timeout, cfg.MaxRetries = 200*time.Millisecond, 1
					if fault.kind == KindTooSlow {
						cfg.MaxTransferTime = time.Second
					}
					cfg.MaxPayloadBytes, cfg.MaxAttachmentBytes = 256<<10, 1<<20 // the first request takes the largest answer
				})
			})
		}
	}
}

// noSecrets looks for token, namespace and queries in all that an error tells.
func noSecrets(t *testing.T, e *Error) {
	t.Helper()
	if len(e.Excerpt) > 2<<10 || !utf8.ValidString(e.Excerpt) || strings.Contains(e.Excerpt, "\x00") {
		t.Errorf("excerpt of %d bytes: %q", len(e.Excerpt), e.Excerpt)
	}
	for _, text := range []string{e.Error(), e.Message, e.Excerpt, fmt.Sprintf("%v %s", e, e)} {
		lower := strings.ToLower(text)
		for _, secret := range []string{"tok/en", `tok\/en`, "secret-4711", testNamespace[:20], "tip=", "ns=9"} {
			if strings.Contains(lower, secret) {
				t.Errorf("%q is in %q", secret, text)
			}
		}
	}
}

func TestSecretCutByTheExcerptsEndIsNotRecognisable(t *testing.T) {
	c := newTestClient(t, "http://127.0.0.1:1", nil)
	for shift := range 40 {
		answer := strings.Repeat("x", 4*maxExcerpt-shift) + testToken + testNamespace
		// Many tokens before it shrink the text, so that its end stays in sight.
		answer = strings.Repeat(testToken, 350) + answer[350*len(testToken):]
		noSecrets(t, &Error{Excerpt: c.excerpt([]byte(answer))})
	}
}

func TestMediaCutInTheMiddleIsFetchedAgain(t *testing.T) {
	picture := bytes.Repeat([]byte{0xff, 0xd8, 1, 2, 3}, 50_000)
	n := 0
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n == 1 {
			raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(picture), picture[:100_000]))
			return
		}
		_, _ = w.Write(picture)
	})
	gate := &recorder{}
	var got bytes.Buffer
	_, err := newTestClient(t, server.URL, gate).Media(t.Context(), testRef, bufferSink(&got))
	if err != nil || !bytes.Equal(got.Bytes(), picture) {
		t.Fatalf("got %d bytes, %v", got.Len(), err)
	}
	if o := gate.ended(t); len(o) != 2 || o[0].Kind != KindCutBody || !o[0].Unavailable() || o[1].Class != ClassOK {
		t.Errorf("outcomes %+v", o)
	}
}

func TestMediaWithoutLengthSaysSo(t *testing.T) {
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { raw(w, "HTTP/1.1 200 OK\r\n\r\nhalf a pict") })
	var got bytes.Buffer
	m, err := newTestClient(t, server.URL, nil).Media(t.Context(), testRef, bufferSink(&got))
	if err != nil || m.LengthKnown || got.Len() != 11 {
		t.Errorf("got %+v, %v", m, err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestSinkErrorsAreOursAndNotTriedAgain(t *testing.T) {
	full := errors.New("no space left on device")
	for name, sink := range map[string]func() (io.Writer, error){
		"opening": func() (io.Writer, error) { return nil, full },
		"writing": func() (io.Writer, error) { return failingWriter{full}, nil },
	} {
		server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 300_000)) })
		gate := &recorder{}
		_, err := newTestClient(t, server.URL, gate).Media(t.Context(), testRef, Sink{Open: sink})
		if e := asError(t, err); e.Class != ClassOwn || e.Kind != KindLocal || !errors.Is(err, full) || len(requests()) != 1 {
			t.Errorf("%s: got %+v, %d requests", name, e, len(requests()))
		}
		if o := gate.ended(t); len(o) != 1 || !o[0].Neutral() || o[0].Unavailable() {
			t.Errorf("%s: outcomes %+v", name, o)
		}
	}
}

// A server may take a connection and never begin to speak TLS.
func TestASilentTLSServerIsATimeout(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	c := newTestClient(t, "https://"+listener.Addr().String(), nil, withTimeout(200*time.Millisecond), func(cfg *Config) { cfg.MaxRetries = 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Record(ctx, testForm, testTip); asError(t, err).Kind != KindTimeout {
		t.Errorf("%v", err)
	}
}

// A full disk is told also when it ends everything else.
func TestASinkErrorIsOursThoughTheRunEnds(t *testing.T) {
	full := errors.New("no space left on device")
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	ctx, cancel := context.WithCancel(t.Context())
	_, err := newTestClient(t, server.URL, nil).Media(ctx, testRef, Sink{Open: func() (io.Writer, error) {
		cancel()
		return nil, full
	}})
	if e := asError(t, err); e.Class != ClassOwn || e.Kind != KindLocal || !errors.Is(err, full) {
		t.Errorf("%+v", e)
	}
}

func TestASlowDiskIsNoStalledServer(t *testing.T) {
	requests := 0
	inTime(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		_, _ = w.Write(make([]byte, 600_000))
	}, nil, func(t *testing.T, c *Client) {
		_, err := c.Media(t.Context(), testRef, Sink{Open: func() (io.Writer, error) { return slowWriter{}, nil }})
		if err != nil || requests != 1 {
			t.Errorf("%d requests, %v", requests, err)
		}
	}, withTimeout(100*time.Millisecond))
}

type slowWriter struct{}

func (slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Minute)
	return len(p), nil
}

func TestASteadySlowAnswerIsTaken(t *testing.T) {
	inTime(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			_, _ = w.Write(make([]byte, 1000))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	}, nil, func(t *testing.T, c *Client) {
		var got bytes.Buffer
		if _, err := c.Media(t.Context(), testRef, bufferSink(&got)); err != nil || got.Len() != 10_000 {
			t.Errorf("got %d bytes, %v: half a second is longer than the time-out, but it kept coming", got.Len(), err)
		}
	}, withTimeout(250*time.Millisecond))
}

// The bubble would not end before all that was left behind.
func TestCancellationEndsAtOnceAndLeavesNothingBehind(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"before the header": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, testRecord[:50])
			hang(w, r)
		},
		"while it waits": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	} {
		gate := &recorder{}
		inTime(t, handler, gate, func(t *testing.T, c *Client) {
			ctx, cancel := context.WithCancel(t.Context())
			const after = 20 * time.Millisecond
			time.AfterFunc(after, cancel)
			start := time.Now()
			_, err := c.Media(ctx, testRef, bufferSink(new(bytes.Buffer)))
			e := asError(t, err)
			if took := time.Since(start); e.Class != ClassCancelled || !errors.Is(err, context.Canceled) || took != after {
				t.Errorf("%s: got %+v after %s", name, e, took)
			}
		})
		for _, o := range gate.ended(t) {
			if o.Kind == KindCancelled && (!o.Neutral() || o.Unavailable()) {
				t.Errorf("%s: cancelling counts: %+v", name, o)
			}
		}
	}
}
