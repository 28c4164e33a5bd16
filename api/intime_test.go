package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
)

// wires is a network without sockets, so that the clock of a bubble stands still while
// either side is at work, however busy the machine is.
type wires struct {
	calls chan net.Conn
	done  chan struct{}
	close sync.Once
}

func (w *wires) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case w.calls <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *wires) Accept() (net.Conn, error) {
	select {
	case conn := <-w.calls:
		return conn, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *wires) Close() error {
	w.close.Do(func() { close(w.done) })
	return nil
}

func (w *wires) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// inTime runs test in a bubble, with a client of a server that is in it too.
func inTime(t *testing.T, handler http.HandlerFunc, gate Gate, test func(*testing.T, *Client), change ...func(*Config)) {
	t.Helper()
	inBubble(t, handler, gate, test, (*httptest.Server).Start, change)
}

// inTimeTLS is inTime by HTTP/2.
func inTimeTLS(t *testing.T, handler http.HandlerFunc, gate Gate, test func(*testing.T, *Client), change ...func(*Config)) {
	t.Helper()
	inBubble(t, handler, gate, test, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	}, change)
}

func inBubble(t *testing.T, handler http.HandlerFunc, gate Gate, test func(*testing.T, *Client), start func(*httptest.Server), change []func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &wires{calls: make(chan net.Conn), done: make(chan struct{})}
		server := &httptest.Server{Listener: w, Config: &http.Server{Handler: handler, ErrorLog: discardLog()}}
		start(server)
		c := newTestClient(t, server.URL, gate, change...)
		c.transport.DialContext = w.dial
		if server.TLS != nil {
			c.transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		}
		test(t, c)
		c.Close()
		server.CloseClientConnections()
		server.Close()
	})
}
