package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

const maxRedirects = 5

// checkRedirect follows redirects of attachments only. A record is never redirected by
// the API itself: a redirect there leads to a login page or comes of a wrong base_url.
func (k *call) checkRedirect(next *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	switch {
	case !k.media:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d of them", errRedirect, maxRedirects)
	case next.URL.Scheme != "https" && next.URL.Scheme != "http":
		return fmt.Errorf("%w: to %.20q", errRedirect, next.URL.Scheme+":")
	case from.Scheme == "https" && next.URL.Scheme == "http":
		return fmt.Errorf("%w: from https to http", errRedirect)
	}
	next.URL.User = nil // a password in the Location header
	return nil
}

// transportFor returns the connections to the host of a request, the target of a redirect
// perhaps. To a host that is not configured they lead only to public addresses, so that
// nobody makes us ask the services of this host and its network.
func (k *call) transportFor(req *http.Request) (*http.Transport, error) {
	if k.trusted[origin(req.URL)] || k.mayRedirectTo(req.URL) {
		return k.transport, nil
	}
	host := strings.TrimSuffix(req.URL.Hostname(), ".")
	if address, err := netip.ParseAddr(host); err == nil && !isPublic(address) || strings.EqualFold(host, "localhost") {
		return nil, notPublic(host)
	}
	if proxy, err := k.transport.Proxy(req); err != nil || proxy != nil {
		return k.transport, err // the proxy finds the address, and has rules of its own
	}
	return k.public, nil
}

// mayRedirectTo reports whether the host stands in [Config.MediaRedirectHosts].
func (k *call) mayRedirectTo(u *url.URL) bool {
	_, hostPort, _ := strings.Cut(origin(u), "://")
	return slices.ContainsFunc(k.cfg.MediaRedirectHosts, func(allowed string) bool {
		allowed = strings.NewReplacer("[", "", "]", "").Replace(allowed) // around IPv6
		return strings.EqualFold(allowed, hostPort) || strings.EqualFold(allowed, u.Hostname())
	})
}

func notPublic(host string) error {
	return fmt.Errorf("%w: %.100q is no public address; if attachments are there, add the host to [api] media_redirect_hosts", errRedirect, host)
}

// dialPublic refuses an address that is not public. It is called with the address that a
// name was resolved to, right before the connection.
func dialPublic(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(at.Addr()) {
		host, _, _ := net.SplitHostPort(address)
		return notPublic(host)
	}
	return nil
}

// special are the networks that are not the Internet's, beside those that netip knows.
// Those behind 2001::/23 and 2002::/16 lead to an IPv4 address in a tunnel.
var special = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

var (
	globalIPv6 = netip.MustParsePrefix("2000::/3")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// isPublic reports whether an address is one of the Internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if nat64.Contains(a) { // a network without IPv4 reaches it this way
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !globalIPv6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// checkRedirectHosts checks the hosts of [Config.MediaRedirectHosts].
func checkRedirectHosts(hosts []string) error {
	var errs []error
	for _, host := range hosts {
		u, err := url.Parse("//" + host)
		if err != nil || u.Host != host || u.Hostname() == "" || strings.ContainsAny(host, "*/@ ") {
			errs = append(errs, fmt.Errorf(`[api] media_redirect_hosts: %.100q: want a host such as "files.example.com" or "files.example.com:8443"`, host))
		}
	}
	return errors.Join(errs...)
}
