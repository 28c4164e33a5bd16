package storagetest

import (
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Proxy forwards TCP connections to a PostgreSQL server and makes them fail
// when a test says so. It speaks enough of the protocol to know a statement
// from its reply, and therefore takes connections without TLS only
// (sslmode=disable). Its methods may be called from several goroutines.
type Proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	links map[*link]struct{}
	// refusing has new connections closed at once.
	refusing bool
	// stalled is closed when traffic may flow; nil while it flows.
	stalled chan struct{}
	// loses chooses the statements whose replies are lost; nil for none.
	loses func(statement string) bool
	lost  int
}

// NewProxy starts a proxy before the server of a URL as Database and
// Server.URL give it. It ends with the test.
func NewProxy(t testing.TB, database string) *Proxy {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatalf("start the proxy: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start the proxy: %v", err)
	}
	p := &Proxy{listener: listener, server: u.Host, links: make(map[*link]struct{})}
	var accepting sync.WaitGroup
	accepting.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		p.Resume()
		p.Refuse()
	})
	return p
}

// URL is the given URL with the proxy's address in place of the server's.
func (p *Proxy) URL(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		return database
	}
	u.Host = p.listener.Addr().String()
	query := u.Query()
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return u.String()
}

// Cut breaks all connections there are; new ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Refuse breaks all connections and every new one, as a server that is down,
// until Resume.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	p.refusing = true
	p.mu.Unlock()
	p.Cut()
}

// Stall holds back everything in both directions, also of new connections,
// until Resume: a server that hangs, or a network that swallows packets.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// Resume ends Refuse and Stall.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = false
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// LoseReply breaks a connection when the server has done a statement that
// matches, before the client hears of it: the client cannot know whether it was
// done. It holds for every such statement from now on; nil ends it. The match
// is called with the statement's text, from several goroutines.
func (p *Proxy) LoseReply(match func(statement string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loses = match
}

// LoseCommits has the replies to the next n commits lost.
func (p *Proxy) LoseCommits(n int) {
	var mu sync.Mutex
	p.LoseReply(func(statement string) bool {
		mu.Lock()
		defer mu.Unlock()
		if n <= 0 || !isCommit(statement) {
			return false
		}
		n--
		return true
	})
}

// Lost is how many replies were lost so far.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func isCommit(statement string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(statement), " ")
	word = strings.ToUpper(strings.TrimRight(word, ";"))
	return word == "COMMIT" || word == "END"
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

// serve forwards a connection until one side ends it or it is cut.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	l := newLink(p, client, server)
	if !p.add(l) {
		return
	}
	defer p.remove(l)
	// Either direction's end is the connection's.
	go func() {
		_ = l.forwardClient()
		l.cut()
	}()
	_ = l.forwardServer()
	l.cut()
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// pass returns at once, or when a stall ends or the connection is cut.
func (p *Proxy) pass(l *link) error {
	for {
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		if stalled == nil {
			return nil
		}
		select {
		case <-stalled:
		case <-l.cutting:
			return net.ErrClosed
		}
	}
}

func (p *Proxy) shouldLose(statement string) bool {
	p.mu.Lock()
	match := p.loses
	p.mu.Unlock()
	return match != nil && match(statement)
}

func (p *Proxy) countLost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
}
