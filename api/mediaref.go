package api

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// MediaRef is a reference to an attachment that is safe to ask for.
type MediaRef struct {
	// Tip is the attachment's key, 64 hexadecimal digits in lower case.
	Tip string

	query  string // ns and tip as the API wrote them
	origin string // scheme, host and port of an absolute reference, else empty
}

// The paths under which the platform's services serve a file. Deployments differ in
// the prefix, and what is asked for is always {media_service_url}/file.
var mediaPaths = []string{"/media/file", "/mediaservice/file", "/file"}

var (
	tipPattern       = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	namespacePattern = regexp.MustCompile(`^[0-9A-Fa-f]{1,64}$`)
	hexTip           = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
	apiNamePattern   = regexp.MustCompile(`^[0-9A-Za-z_-]{1,100}$`)
)

// ParseMediaRef reads a reference as records hold it,
// "/media/file?ns=<hex>&tip=<tip>". Instead of /media the prefix may be
// /mediaservice or nothing, and scheme and host may stand in front (whether they
// are ours, the client checks). Anything else is refused: what a record says must
// not choose whom we talk to, or what we ask for.
func ParseMediaRef(ref string) (MediaRef, error) {
	refuse := func(why string) (MediaRef, error) {
		return MediaRef{}, fmt.Errorf("%w: media reference %s: %s", errReference, shownRef(ref), why)
	}
	if len(ref) > 2048 {
		return refuse("it is too long")
	}
	u, err := url.Parse(ref)
	if err != nil || strings.ContainsAny(ref, "\\ \t\r\n\x00") {
		return refuse("it is no URL")
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
	query, err := url.ParseQuery(u.RawQuery)
	ns, tip := query["ns"], query["tip"]
	if err != nil || len(query) != 2 || len(ns) != 1 || len(tip) != 1 {
		return refuse("its query is not ns and tip")
	}
	if !namespacePattern.MatchString(ns[0]) || !tipPattern.MatchString(tip[0]) {
		return refuse("its ns or tip is not a key")
	}
	parsed := MediaRef{Tip: tip[0], query: "ns=" + ns[0] + "&tip=" + tip[0]}
	if hexTip.MatchString(parsed.Tip) {
		parsed.Tip = strings.ToLower(parsed.Tip)
	}
	if u.Host != "" {
		parsed.origin = origin(u)
	}
	return parsed, nil
}

// shownRef is a reference as an error may repeat it: without query and user.
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

// mediaRef parses a reference and refuses it when its host is not one of ours.
func (c *Client) mediaRef(ref string) (MediaRef, error) {
	parsed, err := ParseMediaRef(ref)
	if err == nil && parsed.origin != "" && !c.trusted[parsed.origin] {
		err = fmt.Errorf("%w: media reference %s: its host is not the configured one", errReference, shownRef(ref))
	}
	if err != nil {
		return MediaRef{}, c.newError(0, err)
	}
	return parsed, nil
}

// MediaTip returns the key of the attachment that ref names. A reference that
// [Client.Media] would refuse is an *Error of kind [KindBadReference].
func (c *Client) MediaTip(ref string) (tip string, err error) {
	parsed, err := c.mediaRef(ref)
	return parsed.Tip, err
}
