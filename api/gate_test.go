package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// recorder is a gate that lets everything through and remembers it.
type recorder struct {
	mu       sync.Mutex
	open     int
	admitted int
	outcomes []Outcome
	refuse   func(n int) error
	lingers  bool
	closing  chan struct{} // nil: it never closes
	patience time.Duration // 0: an hour
	permit   func(n int) context.Context
}

func (g *recorder) Linger() bool { return g.lingers }

func (g *recorder) Closing() <-chan struct{} { return g.closing }

func (g *recorder) Patience() time.Duration { return cmp.Or(g.patience, time.Hour) }

func (g *recorder) Admit(ctx context.Context) (context.Context, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		if err := g.refuse(g.admitted); err != nil {
			return nil, err
		}
	}
	g.admitted++
	g.open++
	if g.permit != nil {
		ctx = g.permit(g.admitted)
	}
	return ctx, nil
}

func (g *recorder) Done(_ context.Context, o Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	g.outcomes = append(g.outcomes, o)
}

// ended returns all outcomes and fails the test when a request is still open.
func (g *recorder) ended(t *testing.T) []Outcome {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != 0 {
		t.Errorf("%d requests admitted but never done", g.open)
	}
	return g.outcomes
}

// The permit of the first two attempts ends, one before its answer begins and one in the
// midst of it.
func TestAnAttemptEndsWithItsPermitAndIsAdmittedAgain(t *testing.T) {
	for _, media := range []bool{false, true} {
		withdraw := make(chan context.CancelFunc, 1)
		n := 0
		server, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n++; n > 2 { // the attempts of a call follow each other
				_, _ = io.WriteString(w, testRecord)
				return
			}
			if n == 2 {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, "{")
				_ = http.NewResponseController(w).Flush()
			}
			(<-withdraw)()
			<-r.Context().Done()
		})
		g := &recorder{permit: func(n int) context.Context {
			ctx, cancel := context.WithCancel(t.Context())
			if n <= 2 {
				withdraw <- cancel
			} else {
				t.Cleanup(cancel)
			}
			return ctx
		}}
		c := newTestClient(t, server.URL, g, func(c *Config) { c.MaxRetries = 0 })
		var err error
		var got bytes.Buffer
		if media {
			_, err = c.Media(t.Context(), testRef, bufferSink(&got))
		} else {
			_, err = c.Record(t.Context(), testForm, testTip)
		}
		if err != nil || len(requests()) != 3 {
			t.Errorf("media %t: %v after %d requests", media, err, len(requests()))
		}
		for i, o := range g.ended(t) {
			if o.Neutral() != (i < 2) || o.Unavailable() {
				t.Errorf("media %t: attempt %d ended with %+v", media, i, o)
			}
		}
	}
}

// A permit that has ended is no reason to go on when the caller has given up.
func TestACallThatIsCancelledAsksForNoOtherPermit(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server, requests := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	g := &recorder{permit: func(int) context.Context { return ctx }}
	_, err := newTestClient(t, server.URL, g).Record(ctx, testForm, testTip)
	if failed, _ := own(err); failed.Class != ClassCancelled || len(requests()) != 1 {
		t.Errorf("%v after %d requests", err, len(requests()))
	}
	g.ended(t)
}

func TestNoAttemptFollowsWhenTheGateCloses(t *testing.T) {
	for _, media := range []bool{false, true} {
		answered := make(chan struct{}, 1)
		server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusServiceUnavailable)
			answered <- struct{}{}
		})
		g := &recorder{closing: make(chan struct{})}
		c := newTestClient(t, server.URL, g)
		go func() {
			<-answered
			close(g.closing)
		}()
		var err error
		if media {
			_, err = c.Media(t.Context(), testRef, bufferSink(&bytes.Buffer{}))
		} else {
			_, err = c.Record(t.Context(), testForm, testTip)
		}
		failed := asError(t, err)
		if !errors.Is(err, ErrStopped) || failed.Class != ClassOwn || failed.Status != http.StatusServiceUnavailable ||
			!strings.Contains(failed.Message, "before that: answered 503") {
			t.Errorf("media %v: %+v", media, failed)
		}
		if n := len(g.ended(t)); n != 1 {
			t.Errorf("%d requests went out", n)
		}
	}
}

func TestACallEndsWhenTheAPIAsksForTooLongAWait(t *testing.T) {
	for status, want := range map[int]int{http.StatusServiceUnavailable: 1, http.StatusBadGateway: 2} {
		server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(status)
		})
		g := &recorder{patience: 10*time.Minute - 1}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		_, err := newTestClient(t, server.URL, g).Record(ctx, testForm, testTip)
		cancel()
		if failed := asError(t, err); failed.Status != status || failed.Class != ClassTransient || failed.Attempts < want || (failed.Attempts == 1) != (want == 1) {
			t.Errorf("%d: %+v", status, failed)
		}
		if n := len(g.ended(t)); (n == 1) != (want == 1) {
			t.Errorf("%d: %d requests went out", status, n)
		}
	}
}

// lingering is a recorder that lets an attempt linger when it is asked for the third time.
type lingering struct {
	recorder
	asked atomic.Int32
}

func (g *lingering) Linger() bool { return g.asked.Add(1) >= 3 }

// An attempt that follows one that lingered has a place of its own, and gives it back.
func TestOnlyTheAttemptThatLingeredHasGivenItsPlaceAway(t *testing.T) {
	g := &lingering{}
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if g.asked.Load() > 0 {
			_, _ = io.WriteString(w, "picture")
			return
		}
		w.Header().Set("Content-Length", "1000000000")
		for more := 5; more > 0 && r.Context().Err() == nil; {
			if g.asked.Load() >= 3 {
				more--
			}
			_, _ = w.Write(make([]byte, 1000))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
		panic(http.ErrAbortHandler)
	})
	if _, err := newTestClient(t, server.URL, g, withTimeout(500*time.Millisecond)).Media(t.Context(), testRef, bufferSink(new(bytes.Buffer))); err != nil {
		t.Fatal(err)
	}
	lingered := 0
	outcomes := g.ended(t)
	for _, o := range outcomes {
		if o.Lingered {
			lingered++
		}
	}
	if lingered != 1 || outcomes[len(outcomes)-1].Lingered || g.asked.Load() != 3 {
		t.Errorf("asked %d times: %+v", g.asked.Load(), outcomes)
	}
}

func TestSwitchingProtocolsIsABrokenAnswerAtOnce(t *testing.T) {
	ended := make(chan struct{}, 8)
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // until the client closes
		_ = conn.Close()
		ended <- struct{}{}
	})
	c := newTestClient(t, server.URL, nil, withTimeout(time.Minute))
	began := time.Now()
	_, err := c.Record(t.Context(), testForm, testTip)
	if failed := asError(t, err); failed.Class != ClassBroken || failed.Kind != KindBrokenAnswer || failed.Status != http.StatusSwitchingProtocols {
		t.Errorf("%+v", failed)
	}
	if took := time.Since(began); took > drainTime {
		t.Errorf("it took %s", took)
	}
	<-ended
}

func TestWithoutAGateTheClientWaitsItself(t *testing.T) {
	c := newTestClient(t, "http://127.0.0.1:1", nil)
	k := c.newCall(false)
	k.attempts = 1
	if got := k.nextWait(&Error{Class: ClassRateLimited, RetryAfter: 42 * time.Second}); got != 42*time.Second {
		t.Errorf("waits %s after a 429 that asks for 42s", got)
	}
	if got := k.nextWait(&Error{Class: ClassTransient, RetryAfter: 42 * time.Second}); got != 42*time.Second {
		t.Errorf("waits %s after a 503 that asks for 42s", got)
	}
}

func TestRateLimitTellsTheGateHowLong(t *testing.T) {
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "0": time.Second, "": time.Minute, "soon": time.Minute} {
		gate := &recorder{}
		inTime(t, func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(http.StatusTooManyRequests)
		}, gate, func(t *testing.T, c *Client) {
			start := time.Now()
			_, err := c.Record(t.Context(), testForm, testTip)
			if e := asError(t, err); e.Class != ClassRateLimited || e.RetryAfter != want || e.Attempts != 3 {
				t.Errorf("Retry-After %q: got %+v", header, e)
			}
			if took := time.Since(start); took > 10*time.Millisecond {
				t.Errorf("Retry-After %q: the client waited too, for %s, though there is a gate", header, took)
			}
		})
		if o := gate.ended(t)[0]; o.RetryAfter != want || !o.Unavailable() {
			t.Errorf("Retry-After %q: outcome %+v", header, o)
		}
	}
}

func TestGateRefusalEndsTheCall(t *testing.T) {
	open := errors.New("circuit is open")
	server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	gate := &recorder{refuse: func(n int) error {
		if n == 1 {
			// The error of another call in the chain must not be taken for ours.
			return errors.Join(open, &Error{Class: ClassCredentials, Kind: KindAuthentication})
		}
		return nil
	}}
	_, err := newTestClient(t, server.URL, gate).Record(t.Context(), testForm, testTip)
	e := asError(t, err)
	if !errors.Is(err, open) || e.Class != ClassOwn || e.Kind != KindNotSent || e.Status != http.StatusBadGateway {
		t.Errorf("got %+v", e)
	}
	if !strings.Contains(e.Error(), "502") {
		t.Errorf("%q does not tell what went before", e)
	}
	if len(requests()) != 1 || len(gate.ended(t)) != 1 {
		t.Errorf("%d requests were sent", len(requests()))
	}
}

func TestGateIsAskedAndToldOnceForEachRequest(t *testing.T) {
	var mu sync.Mutex
	n := 0
	server, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		n++
		turn := n % 5
		mu.Unlock()
		switch turn {
		case 0:
			raw(w, "")
		case 1:
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ncut")
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		default:
			_, _ = io.WriteString(w, testRecord)
		}
	})
	gate := &recorder{}
	c := newTestClient(t, server.URL, gate)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if i%2 == 0 {
				_, _ = c.Record(t.Context(), testForm, testTip)
			} else {
				_, _ = c.Media(t.Context(), testRef, bufferSink(new(bytes.Buffer)))
			}
		})
	}
	group.Wait()
	// The transport itself repeats a request whose kept connection turns out closed.
	if outcomes := gate.ended(t); len(outcomes) != gate.admitted || len(outcomes) > len(requests()) {
		t.Errorf("%d admitted, %d told, %d requests", gate.admitted, len(outcomes), len(requests()))
	}
}

func TestASinkThatPanicsStillTellsTheGate(t *testing.T) {
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	gate := &recorder{}
	c := newTestClient(t, server.URL, gate)
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Media(t.Context(), testRef, Sink{Open: func() (io.Writer, error) { panic("sink") }})
	}()
	if o := gate.ended(t); len(o) != 1 || !o[0].Neutral() {
		t.Errorf("outcomes %+v", o)
	}
}
