package storagetest

import (
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy forwards TCP connections to a PostgreSQL server and makes them fail when a test
// says so. It reads the protocol's statements and replies, so it accepts only
// connections without TLS (sslmode=disable). Several goroutines may call its methods.
type Proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	links map[*link]struct{}
	// refusing closes new connections at once.
	refusing bool
	// resetting has connections reset, not closed, as a firewall does.
	resetting bool
	// answersLost and requestsLost have what the one side sends dropped, although its
	// network acknowledges it.
	answersLost, requestsLost bool
	// drops is a parameter that clients send when they connect, which is dropped.
	drops string
	// delay holds up each packet of either side.
	delay time.Duration
	// stalled is closed when traffic may flow; nil while it flows.
	stalled chan struct{}
	// loses chooses the statements whose replies get lost; nil: none.
	loses func(statement string) bool
	lost  int
}

// NewProxy starts a proxy for the server of a URL from [Database] or [Server.URL]. The
// end of the test stops it.
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

// URL returns the given URL with the proxy's address in place of the server's.
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

// Cut breaks all connections. The proxy accepts new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset(p.resetting)
		l.cut()
	}
}

// Refuse breaks all connections, and new ones until Resume, as a server that is down.
func (p *Proxy) Refuse() {
	p.RefuseNew()
	p.Cut()
}

// RefuseNew breaks new connections until Resume, as a server that waits for its sessions to
// end.
func (p *Proxy) RefuseNew() { p.set(func() { p.refusing = true }) }

// Stall forwards nothing in either direction, on any connection, until Resume, as a
// server that hangs or a network that loses packets.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// Reset resets all connections and every new one, until Resume.
func (p *Proxy) Reset() {
	p.mu.Lock()
	p.refusing, p.resetting = true, true
	p.mu.Unlock()
	p.Cut()
}

// SwallowAnswers has everything lost that the server sends, until Resume. The server
// still does what it is asked for.
func (p *Proxy) SwallowAnswers() { p.set(func() { p.answersLost = true }) }

// SwallowRequests has everything lost that clients send, until Resume.
func (p *Proxy) SwallowRequests() { p.set(func() { p.requestsLost = true }) }

// DropParameter drops a parameter from what clients send when they connect, as a
// connection pooler does. It holds for new connections.
func (p *Proxy) DropParameter(name string) { p.set(func() { p.drops = name }) }

// Delay holds up each packet of both sides for so long, until Resume.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// Resume ends Refuse, RefuseNew, Reset, Stall, Delay and the swallowing. A connection of which
// something was swallowed stays broken.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing, p.resetting, p.answersLost, p.requestsLost, p.delay = false, false, false, false, 0
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// LoseReply breaks a connection after the server has run a statement that matches, and
// before the client gets the reply. The client cannot know whether the statement took
// effect. This holds for every matching statement until LoseReply(nil). Several
// goroutines call match with the statement's text.
func (p *Proxy) LoseReply(match func(statement string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loses = match
}

// LoseCommits loses the replies to the next n commits.
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

// Lost returns the number of replies that got lost.
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

// serve forwards a connection until one side ends it or the proxy cuts it.
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
	// The end of one direction ends the connection.
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
		l.reset(p.resetting)
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

// pass returns when a packet may go on: at once, after the delay, or when a stall ends.
// lost tells that the packet is swallowed. An error says that the connection was cut.
func (p *Proxy) pass(l *link, fromServer bool) (lost bool, err error) {
	for held := false; ; {
		p.mu.Lock()
		stalled, delay := p.stalled, p.delay
		lost := fromServer && p.answersLost || !fromServer && p.requestsLost
		p.mu.Unlock()
		var wait <-chan time.Time
		switch {
		case stalled != nil:
		case delay > 0 && !held:
			wait, held = time.After(delay), true
		default:
			return lost, nil
		}
		select {
		case <-stalled:
		case <-wait:
		case <-l.cutting:
			return false, net.ErrClosed
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
