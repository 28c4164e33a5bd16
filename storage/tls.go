package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/lib/pq"
)

// errCleartext ends a connection whose server asks for the password in the clear.
var errCleartext = errors.New("the database's server asks for the password in cleartext, without TLS; none was sent: " +
	"set up TLS on the server and sslmode=verify-full in [database] url, or have its pg_hba.conf ask for scram-sha-256")

// errNoTLS stands for the driver's error, which names no key.
var errNoTLS = errors.New("the database's server offers no TLS, which is required off this host: " +
	"set up TLS there, or write sslmode=prefer into [database] url if everybody on the network may read the data")

// errSocketFirst stands for a list of servers for which the driver switches TLS off.
var errSocketFirst = errors.New("[database] url: behind a socket of this host stands another host, with which the driver would speak without TLS: " +
	"name the other host first, or only one of them")

// libpq parses the URL. Where nothing names an sslmode, TLS is required, except on this host.
func (c Config) libpq() (pq.Config, error) {
	cfg, err := parseURL(c.URL)
	if err != nil {
		return cfg, fmt.Errorf("[database] url: %w", err)
	}
	local := isLocal(cfg)
	switch {
	case !local && isSocket(cfg): // for the driver the first server decides
		return cfg, errSocketFirst
	case cfg.SSLMode != "": // the URL, a service file or $PGSSLMODE names it, or sslrootcert=system or a socket decides
	case local:
		cfg.SSLMode = pq.SSLModePrefer
	default:
		cfg.SSLMode = pq.SSLModeRequire
	}
	return cfg, nil
}

// isSocket reports whether the first server is a socket of this host.
func isSocket(cfg pq.Config) bool {
	return !cfg.Hostaddr.IsValid() && cfg.Host != "" && (cfg.Host[0] == '/' || cfg.Host[0] == '@')
}

// isLocal reports whether every server of the configuration is on this host.
func isLocal(cfg pq.Config) bool {
	hosts := append([]pq.ConfigMultihost{{Host: cfg.Host, Hostaddr: cfg.Hostaddr}}, cfg.Multi...)
	for _, h := range hosts {
		if h.Hostaddr.IsValid() {
			if !h.Hostaddr.IsLoopback() {
				return false
			}
			continue
		}
		ip := net.ParseIP(strings.Trim(h.Host, "[]"))
		if h.Host != "" && h.Host != "localhost" && h.Host[0] != '/' && h.Host[0] != '@' && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// Unverified returns the sslmode if it lets another server than the database's answer:
// off this host, all but verify-full. Else it returns "".
func (c Config) Unverified() string {
	cfg, err := c.libpq()
	if err != nil || isLocal(cfg) || cfg.SSLMode == pq.SSLModeVerifyFull || strings.HasPrefix(string(cfg.SSLMode), "pqgo-") {
		return ""
	}
	return string(cfg.SSLMode)
}

// authWatch reads what a server says until the login is over, and refuses to hand on a
// request for the password in the clear. It sees nothing of what TLS hides.
type authWatch struct {
	over    bool
	replies bool   // the next byte answers a request for encryption
	head    []byte // of the current message: type, length, and the code of an authentication
	skip    int    // bytes of the current message that do not matter
}

const (
	requestTLS    = 80877103
	requestGSS    = 80877104
	authCleartext = 3
)

// sent sees what the client sends in one piece.
func (a *authWatch) sent(p []byte) {
	switch {
	case a.over:
	case len(p) == 8 && (binary.BigEndian.Uint32(p[4:]) == requestTLS || binary.BigEndian.Uint32(p[4:]) == requestGSS):
		a.replies = true
	case len(p) > 0 && p[0] == 0x16: // a TLS handshake without a request
		a.over = true
	}
}

// received sees what the server sends.
func (a *authWatch) received(p []byte) error {
	for len(p) > 0 && !a.over {
		switch {
		case a.replies:
			a.replies, a.over = false, p[0] == 'S' || p[0] == 'G'
			p = p[1:]
		case a.skip > 0:
			n := min(a.skip, len(p))
			a.skip, p = a.skip-n, p[n:]
		default:
			a.head, p = append(a.head, p[0]), p[1:]
			if err := a.message(); err != nil {
				return err
			}
		}
	}
	return nil
}

// message looks at the head of a message once it is whole.
func (a *authWatch) message() error {
	if len(a.head) < 5 {
		return nil
	}
	rest := int(binary.BigEndian.Uint32(a.head[1:5])) - 4
	switch {
	case a.head[0] == 'E' || a.head[0] == 'Z': // the login failed, or is over
		a.over = true
	case a.head[0] == 'R' && rest >= 4 && len(a.head) < 9:
		return nil
	case a.head[0] == 'R' && rest >= 4:
		if binary.BigEndian.Uint32(a.head[5:9]) == authCleartext {
			return errCleartext
		}
		rest -= 4
	}
	a.skip, a.head = max(rest, 0), a.head[:0]
	return nil
}
