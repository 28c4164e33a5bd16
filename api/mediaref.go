package api

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// mediaPaths are the paths that a media reference may have. Deployments differ in the
// prefix. The request always goes to {media_service_url}/file.
var mediaPaths = []string{"/media/file", "/mediaservice/file", "/file"}

var (
	tipPattern       = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	namespacePattern = regexp.MustCompile(`^[0-9A-Fa-f]{1,64}$`)
	apiNamePattern   = regexp.MustCompile(`^[0-9A-Za-z_-]{1,100}$`)
)

// parseMediaRef reads a media reference, "/media/file?ns=<hex>&tip=<tip>". It returns
// the query, and the origin (scheme, host, port) of an absolute reference. Other parameters
// are left out of the query. Instead of
// /media the prefix may be /mediaservice or nothing. Anything else is refused, so that a
// record cannot choose whom we talk to, or what we ask for.
func parseMediaRef(ref string) (query, from string, err error) {
	refuse := func(why string) (string, string, error) {
		return "", "", fmt.Errorf("%w: media reference %s: %s", errReference, shownRef(ref), why)
	}
	if len(ref) > 2048 {
		return refuse("it is too long")
	}
	u, err := url.Parse(ref)
	if err != nil || strings.ContainsAny(ref, "\\ \t\r\n\x00") {
		return refuse("it is not a URL")
	}
	switch {
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https":
		return refuse("its scheme is neither https nor http")
	case u.Opaque != "" || (u.Scheme == "") != (u.Host == ""):
		return refuse("it is neither a path nor a whole URL")
	case u.User != nil || strings.Contains(ref, "#"):
		return refuse("it has parts that no media reference has")
	case u.EscapedPath() != u.Path || !slices.Contains(mediaPaths, u.Path):
		return refuse("its path is not /media/file")
	}
	values, err := url.ParseQuery(u.RawQuery)
	ns, tip := values["ns"], values["tip"]
	if err != nil || len(ns) != 1 || len(tip) != 1 {
		return refuse("its query does not have one ns and one tip")
	}
	if !namespacePattern.MatchString(ns[0]) || !tipPattern.MatchString(tip[0]) {
		return refuse("its ns or tip is not a key")
	}
	if u.Host != "" {
		from = origin(u)
	}
	return "ns=" + ns[0] + "&tip=" + tip[0], from, nil
}

// shownRef is a reference for an error: without its query and user.
func shownRef(ref string) string {
	ref, _, _ = strings.Cut(ref, "?")
	if at := strings.LastIndex(ref, "@"); at >= 0 {
		ref = "…" + ref[at:]
	}
	if len(ref) > 100 {
		ref = ref[:100] + "…"
	}
	return fmt.Sprintf("%+q", ref)
}

// mediaQuery returns the query of a media reference. It refuses a reference to a host
// that is not configured.
func (c *Client) mediaQuery(ref string) (string, error) {
	query, from, err := parseMediaRef(ref)
	if err == nil && from != "" && !c.trusted[from] {
		err = fmt.Errorf("%w: media reference %s: its host is not the configured one", errReference, shownRef(ref))
	}
	if err != nil {
		return "", c.newError(0, err)
	}
	return query, nil
}
