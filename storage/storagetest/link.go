package storagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Codes that a first packet may have in place of the protocol's version, and the types
// of the messages that the proxy reads. See "Message Formats" in PostgreSQL's manual.
const (
	codeTLS = 80877103
	codeGSS = 80877104

	typeQuery   = 'Q'
	typeParse   = 'P'
	typeBind    = 'B'
	typeExecute = 'E'
	typeReady   = 'Z'
)

// link is one proxied connection.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	cutOnce sync.Once
	cutting chan struct{}

	// losing is true from the start of a statement whose reply gets lost.
	losing atomic.Bool
	// statements holds the texts of prepared statements by name, portals those of
	// bound ones. Only forwardClient uses them.
	statements, portals map[string]string
}

func newLink(p *Proxy, client, server net.Conn) *link {
	return &link{
		proxy:      p,
		client:     client,
		server:     server,
		cutting:    make(chan struct{}),
		statements: make(map[string]string),
		portals:    make(map[string]string),
	}
}

// cut breaks both sides.
func (l *link) cut() {
	l.cutOnce.Do(func() {
		close(l.cutting)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// reset has the client's side end with a reset, when it is cut.
func (l *link) reset(on bool) {
	if conn, ok := l.client.(*net.TCPConn); ok && on {
		_ = conn.SetLinger(0) // a connection that is closed already needs none
	}
}

// forwardClient forwards the client's messages. The first packets have no type.
func (l *link) forwardClient() error {
	for {
		packet, err := readPacket(l.client, 0)
		if err != nil {
			return err
		}
		lost, err := l.proxy.pass(l, false)
		if err != nil {
			return err
		}
		if lost {
			continue
		}
		if code := startCode(packet); code != codeTLS && code != codeGSS {
			if _, err := l.server.Write(l.proxy.withoutParameter(packet)); err != nil {
				return fmt.Errorf("forward to the server: %w", err)
			}
			break
		}
		if _, err := l.client.Write([]byte{'N'}); err != nil {
			return fmt.Errorf("refuse encryption: %w", err)
		}
	}
	for {
		message, err := readPacket(l.client, 1)
		if err != nil {
			return err
		}
		lost, err := l.proxy.pass(l, false)
		if err != nil {
			return err
		}
		if lost {
			continue
		}
		if statement, ok := l.runs(message); ok && l.proxy.shouldLose(statement) {
			l.losing.Store(true)
		}
		if _, err := l.server.Write(message); err != nil {
			return fmt.Errorf("forward to the server: %w", err)
		}
	}
}

// forwardServer forwards the server's replies. When a reply gets lost, it waits until
// the server has finished the statement and then returns.
func (l *link) forwardServer() error {
	for {
		message, err := readPacket(l.server, 1)
		if err != nil {
			return err
		}
		if l.losing.Load() {
			if message[0] == typeReady {
				l.proxy.countLost()
				return nil
			}
			continue
		}
		lost, err := l.proxy.pass(l, true)
		if err != nil {
			return err
		}
		if lost {
			continue
		}
		if _, err := l.client.Write(message); err != nil {
			return fmt.Errorf("forward to the client: %w", err)
		}
	}
}

// runs returns the statement that the message makes the server run.
func (l *link) runs(message []byte) (statement string, ok bool) {
	body := message[5:]
	switch message[0] {
	case typeQuery:
		return field(&body), true
	case typeParse:
		name := field(&body)
		l.statements[name] = field(&body)
	case typeBind:
		portal := field(&body)
		l.portals[portal] = l.statements[field(&body)]
	case typeExecute:
		return l.portals[field(&body)], true
	}
	return "", false
}

// field takes a zero-terminated string from the front.
func field(body *[]byte) string {
	value, rest, _ := bytes.Cut(*body, []byte{0})
	*body = rest
	return string(value)
}

func startCode(packet []byte) uint32 {
	if len(packet) < 8 {
		return 0
	}
	return binary.BigEndian.Uint32(packet[4:8])
}

// readPacket reads a packet: typeBytes bytes of type, four bytes of length, the body. The
// length includes its own bytes but not the type.
func readPacket(r io.Reader, typeBytes int) ([]byte, error) {
	head := make([]byte, typeBytes+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read a packet's head: %w", err)
	}
	length := int64(binary.BigEndian.Uint32(head[typeBytes:])) - 4
	if length < 0 {
		return nil, fmt.Errorf("a packet has the length %d", length+4)
	}
	packet := bytes.NewBuffer(head)
	if _, err := io.CopyN(packet, r, length); err != nil {
		return nil, fmt.Errorf("read a packet: %w", err)
	}
	return packet.Bytes(), nil
}

// withoutParameter returns a start packet without the parameter that the proxy drops.
// Behind its length and version stand names and values, each ended by a zero.
func (p *Proxy) withoutParameter(packet []byte) []byte {
	p.mu.Lock()
	name := p.drops
	p.mu.Unlock()
	if name == "" || len(packet) < 8 {
		return packet
	}
	out, rest := bytes.Clone(packet[:8]), packet[8:]
	for len(rest) > 1 {
		key := field(&rest)
		value := field(&rest)
		if key != name {
			out = append(out, key+"\x00"+value+"\x00"...)
		}
	}
	out = append(out, 0)
	binary.BigEndian.PutUint32(out, uint32(len(out)))
	return out
}
