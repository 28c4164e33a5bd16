package apitest

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	pathpkg "path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server serves a World over HTTP. Listen and Start give it a loopback port of its own.
type Server struct {
	*World
	faults *faultBoard
	meter  *meter

	httpServer *http.Server
	url        string
	leave      context.CancelFunc // ends hanging answers
	leaving    context.Context    // done when the server closes
	serving    sync.WaitGroup
}

// New makes a server of a new world.
func New(o Options) *Server {
	w := newWorld(o)
	s := &Server{World: w, faults: newFaultBoard(w.opts.Seed), meter: newMeter(w.opts.Log)}
	s.leaving, s.leave = context.WithCancel(context.Background())
	return s
}

// Start serves a new world until the test ends.
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
	s.serving.Go(func() { _ = s.httpServer.Serve(listener) }) // it returns after Close
	return nil
}

// URL is the base of a listening server, such as http://127.0.0.1:43211: the
// client's base_url; with /media behind it, its media_service_url.
func (s *Server) URL() string { return s.url }

// Close ends the server at once, with all answers that are not finished.
func (s *Server) Close() {
	s.leave()
	if s.httpServer != nil {
		_ = s.httpServer.Close() // an error changes nothing
		s.serving.Wait()
	}
}

// Kinds of requests, in the counts, the log and Fault.On.
const (
	OnRecord = "record"
	OnMedia  = "media"
	OnTip    = "tip" // any object by its tip
	OnSID    = "sid" // one version of any object
	onOther  = "other"
)

// call is what a request asks for.
type call struct {
	kind    string
	apiName string
	tip     string // or the sid
	record  string // the tip of the record to which it belongs, when there is one
}

// parse reads a request's path, which may have any prefix.
func (s *Server) parse(r *http.Request) call {
	path := r.URL.Path
	if _, rest, ok := strings.Cut(path, "/rest/object/"); ok {
		if apiName, tip, ok := strings.Cut(rest, "/"); ok && !strings.Contains(tip, "/") {
			return call{OnRecord, apiName, tip, tip}
		}
	}
	folder, key := pathpkg.Split(path)
	switch {
	case strings.HasSuffix(path, "/media/file"), strings.HasSuffix(path, "/mediaservice/file"):
		tip := r.URL.Query().Get("tip")
		return call{OnMedia, "", tip, s.recordOf(tip)}
	case strings.HasSuffix(folder, "/tip/"):
		return call{OnTip, "", key, s.recordOf(key)}
	case strings.HasSuffix(folder, "/sid/"):
		return call{OnSID, "", key, s.recordOf(key)}
	}
	return call{kind: onOther}
}

// ServeHTTP answers as the Noggin API does, unless the request meets a fault.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	x.hold(f.Held)
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

// answer makes the answer without faults.
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
		if found, ok := s.find(c.tip); ok && found.APIName == c.apiName {
			return newAnswer(http.StatusOK, "application/json", s.Payload(c.tip))
		}
	case OnTip, OnSID:
		find := map[string]func(string) []byte{OnTip: s.objectByTip, OnSID: s.objectBySID}[c.kind]
		if document := find(c.tip); document != nil {
			return newAnswer(http.StatusOK, "application/json", document)
		}
	case OnMedia:
		if !s.opts.OpenAccess && r.URL.Query().Get("ns") != s.opts.Namespace {
			return refusal(http.StatusForbidden, "namespace not permitted")
		}
		if a, ok := s.lookUpMedia(c.tip, 0); ok {
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

// exchange is one request and the answer that was sent so far.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	call   call
	server *Server

	status int
	sent   int64
}

// wait sleeps until d has passed, the client has gone or the server closes.
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

// hold waits until a channel is closed, the client has gone or the server closes.
func (x *exchange) hold(until <-chan struct{}) {
	if until == nil {
		return
	}
	select {
	case <-until:
	case <-x.r.Context().Done():
	case <-x.server.leaving.Done():
	}
}

// gone reports whether the client has gone or the server closes.
func (x *exchange) gone() bool {
	return x.r.Context().Err() != nil || x.server.leaving.Err() != nil
}

// head sends the header. It declares no length when length is below 0.
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

// body sends parts and reports whether the client took them all.
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
