package apitest

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server shows a World over HTTP. It is an http.Handler; Listen or Start put it
// on a loopback port of its own.
type Server struct {
	*World
	faults *faultBoard
	meter  *meter

	httpServer *http.Server
	url        string
	leave      context.CancelFunc // lets hanging answers go
	leaving    context.Context    // the server's own life, not a request's
	serving    sync.WaitGroup
}

// New makes a server of a new world.
func New(o Options) *Server {
	w := NewWorld(o)
	s := &Server{World: w, faults: newFaultBoard(w.opts.Seed), meter: newMeter(w.opts.Log)}
	s.leaving, s.leave = context.WithCancel(context.Background())
	return s
}

// Start serves a new world for the length of a test.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s := New(o)
	if err := s.Listen("127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Listen serves on addr until Close.
func (s *Server) Listen(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	s.url = "http://" + listener.Addr().String()
	s.httpServer = &http.Server{
		Handler:           s,
		ConnState:         s.meter.connection,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // faults break connections on purpose
	}
	s.serving.Go(func() { _ = s.httpServer.Serve(listener) }) // it ends by Close
	return nil
}

// URL is the base of a listening server, such as http://127.0.0.1:43211: the
// client's base_url; with /media behind it, its media_service_url.
func (s *Server) URL() string { return s.url }

// Close stops serving at once, answers under way included.
func (s *Server) Close() {
	s.leave()
	if s.httpServer != nil {
		_ = s.httpServer.Close() // nothing left to do about it
		s.serving.Wait()
	}
}

// Kinds of requests, as the counters, the log and Fault.On name them.
const (
	OnRecord = "record"
	OnMedia  = "media"
	onOther  = "other"
)

// call is what a request asks for.
type call struct {
	kind    string
	apiName string
	tip     string // of the record or the attachment
	record  string // the record's tip in both cases, where it is known
}

// parse reads a request's path, which may have any prefix.
func (s *Server) parse(r *http.Request) call {
	path := r.URL.Path
	if _, rest, ok := strings.Cut(path, "/rest/object/"); ok {
		if apiName, tip, ok := strings.Cut(rest, "/"); ok && !strings.Contains(tip, "/") {
			return call{OnRecord, apiName, tip, tip}
		}
	}
	if strings.HasSuffix(path, "/media/file") || strings.HasSuffix(path, "/mediaservice/file") {
		tip := r.URL.Query().Get("tip")
		return call{OnMedia, "", tip, s.RecordOf(tip)}
	}
	return call{kind: onOther}
}

// ServeHTTP answers as the Noggin API does, unless a fault is in the way.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		s.control(w, r)
		return
	}
	c := s.parse(r)
	ticket := s.meter.begin(c, r)
	x := &exchange{w: w, r: r, call: c, server: s}
	defer func() { s.meter.end(ticket, x.status, x.sent) }()

	x.wait(s.opts.Latency)
	f := s.faults.match(c, ticket)
	if f == nil {
		x.send(s.answer(r, c))
		return
	}
	ticket.fault = f.Kind
	effect := effects[f.Kind]
	x.wait(f.Delay)
	a := s.answer(r, c)
	if effect.change != nil && (effect.always || a.status == http.StatusOK) {
		effect.change(x, f, a)
	}
	if effect.send != nil {
		effect.send(x, f, a)
		return
	}
	x.send(a)
}

// answer is what a request would get from a healthy API.
func (s *Server) answer(r *http.Request, c call) *answer {
	if r.Method != http.MethodGet {
		return refusal(http.StatusMethodNotAllowed, "method not allowed")
	}
	if !s.opts.OpenAccess {
		if !same(r.Header.Get("Authorization"), "Bearer "+s.opts.Token) {
			return refusal(http.StatusUnauthorized, "token missing or invalid")
		}
		if !same(r.Header.Get("En-Namespace"), s.opts.Namespace) {
			return refusal(http.StatusForbidden, "namespace not permitted")
		}
	}
	switch c.kind {
	case OnRecord:
		if payload, apiName := s.lookUpRecord(c.tip); payload != nil && apiName == c.apiName {
			return newAnswer(http.StatusOK, "application/json", payload)
		}
	case OnMedia:
		if !s.opts.OpenAccess && r.URL.Query().Get("ns") != s.opts.Namespace {
			return refusal(http.StatusForbidden, "namespace not permitted")
		}
		if a, ok := s.lookUpMedia(c.tip); ok {
			return newAnswer(http.StatusOK, a.contentType, a.parts...)
		}
	}
	return refusal(http.StatusNotFound, "no such object")
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// answer is a response before it is sent.
type answer struct {
	status int
	header http.Header
	parts  [][]byte
}

func newAnswer(status int, contentType string, parts ...[]byte) *answer {
	return &answer{status, http.Header{"Content-Type": {contentType}}, parts}
}

func refusal(status int, message string) *answer {
	return newAnswer(status, "application/json", fmt.Appendf(nil, `{"status":%d,"message":%q}`, status, message))
}

// exchange is one request being answered.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	call   call
	server *Server

	status int
	sent   int64
}

// wait sleeps, unless the client or the server leaves before.
func (x *exchange) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	case <-x.server.leaving.Done():
	}
}

// gone tells whether there is nobody left to answer.
func (x *exchange) gone() bool {
	return x.r.Context().Err() != nil || x.server.leaving.Err() != nil
}

// head sends the header; length below 0 declares none.
func (x *exchange) head(a *answer, length int) {
	h := x.w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	x.status = a.status
	x.w.WriteHeader(a.status)
}

// body sends parts and tells whether the client took them all.
func (x *exchange) body(parts [][]byte) bool {
	for _, p := range parts {
		n, err := x.w.Write(p)
		x.sent += int64(n)
		if err != nil {
			return false
		}
	}
	return true
}

func (x *exchange) send(a *answer) {
	x.head(a, sizeOf(a.parts))
	x.body(a.parts)
}
