package api

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseMediaRef(t *testing.T) {
	const ns, tip = testNamespace, "5346bacb598a4795426989b94a2ebd2e8364e5c084e16275b7e70c8c8caa38f8"
	for _, ref := range []string{
		"/media/file?ns=" + ns + "&tip=" + tip,
		"/media/file?tip=" + tip + "&ns=" + ns,
		"/media/file?ns=" + strings.ToUpper(ns) + "&tip=" + strings.ToUpper(tip),
		"/mediaservice/file?ns=" + ns + "&tip=" + tip,
		"/file?ns=" + ns + "&tip=" + tip,
		"https://api.example.com/media/file?ns=" + ns + "&tip=" + tip,
		"HTTPS://API.example.com:443/media/file?ns=" + ns + "&tip=" + tip,
		"http://media.example.com:8080/file?ns=" + ns + "&tip=" + tip,
	} {
		if query, _, err := parseMediaRef(ref); err != nil || !strings.EqualFold(query, "ns="+ns+"&tip="+tip) {
			t.Errorf("%s: got %q, %v", ref, query, err)
		}
	}
	if query, _, err := parseMediaRef("/media/file?tip=Short-Tip_1&ns=ab"); err != nil || query != "ns=ab&tip=Short-Tip_1" {
		t.Errorf("a tip that is not hexadecimal: got %q, %v", query, err)
	}
}

var hostileRefs = []string{
	"", " ", "/", "?", "/media/file", "/media/file?", "media/file?ns=ab&tip=cd",
	"file:///etc/passwd", "file:/media/file?ns=ab&tip=cd", "ftp://api.example.com/media/file?ns=ab&tip=cd",
	"javascript:alert(1)", "data:image/png;base64,AAAA", "//api.example.com/media/file?ns=ab&tip=cd", "https:/media/file?ns=ab&tip=cd",
	"https:media/file?ns=ab&tip=cd", "https:///media/file?ns=ab&tip=cd",
	`\\evil\media\file?ns=ab&tip=cd`, `/\evil/media/file?ns=ab&tip=cd`,
	"https://user:pw@api.example.com/media/file?ns=ab&tip=cd", "https://api.example.com@evil.example/media/file?ns=ab&tip=cd",
	"/media/../file?ns=ab&tip=cd", "/media/../rest/object/x?ns=ab&tip=cd", "/media/%2e%2e/file?ns=ab&tip=cd", "/media/%66ile?ns=ab&tip=cd",
	"/media//file?ns=ab&tip=cd", "/media/file/?ns=ab&tip=cd", "/media/file/..;/x?ns=ab&tip=cd", "/rest/object/x?ns=ab&tip=cd", "/MEDIA/FILE?ns=ab&tip=cd",
	"/media/file?ns=ab&tip=..", "/media/file?ns=ab&tip=../../etc/passwd", "/media/file?ns=ab&tip=%2e%2e", "/media/file?ns=ab&tip=a%00b",
	"/media/file?ns=ab&tip=", "/media/file?ns=&tip=cd", "/media/file?ns=ab", "/media/file?tip=cd", "/media/file?ns=xyz&tip=cd",
	"/media/file?ns=ab&tip=cd&tip=ef", "/media/file?ns=ab&ns=ab&tip=cd", "/media/file?ns=ab;tip=cd",
	"/media/file?ns=ab&tip=cd#x", "/media/file?ns=ab&tip=cd#", "/media/file?ns=ab&tip=cd\r\nX: y", "/media/file?ns=ab&tip=c d", " /media/file?ns=ab&tip=cd",
	"/media/file?ns=ab&tip=" + strings.Repeat("a", 65), "/media/file?ns=ab&tip=%zz", "/media/file?ns=ab&tip=café",
	"/media/file?ns=ab&tip=" + strings.Repeat("a", 100_000), strings.Repeat("/..", 700),
}

func TestHostileMediaReferencesAreRefused(t *testing.T) {
	for _, ref := range hostileRefs {
		query, _, err := parseMediaRef(ref)
		if !errors.Is(err, errReference) {
			t.Errorf("%.100q: got %q, %v", ref, query, err)
			continue
		}
		if len(err.Error()) > 500 || strings.Contains(err.Error(), "tip=") || strings.Contains(err.Error(), "pw") {
			t.Errorf("%.100q: error %q", ref, err)
		}
	}
}

func TestOnlyConfiguredHostsServeMedia(t *testing.T) {
	c := newTestClient(t, "https://api.example.com/rest/object/", nil, func(cfg *Config) { cfg.MediaServiceURL, cfg.InsecureHTTP = "http://media.example.com:8080/media", true })
	for base, ours := range map[string]bool{
		"":                                 true,
		"https://api.example.com":          true,
		"https://API.EXAMPLE.COM:443":      true,
		"http://media.example.com:8080":    true,
		"http://media.example.com":         false,
		"http://api.example.com":           false,
		"https://api.example.com:8443":     false,
		"https://api.example.com.evil.org": false,
		"https://evil.org":                 false,
		"https://xapi.example.com":         false,
		"http://169.254.169.254":           false,
		"http://[::1]":                     false,
	} {
		query, err := c.mediaQuery(base + testRef)
		if (err == nil) != ours || ours != (query != "") {
			t.Errorf("%s: got %q, %v", base, query, err)
		}
		if !ours {
			e := asError(t, err)
			if e.Class != ClassPermanent || e.Kind != KindBadReference {
				t.Errorf("%s: got %+v", base, e)
			}
			noSecrets(t, e)
			if _, err := c.Media(t.Context(), base+testRef, Sink{}); asError(t, err).Kind != KindBadReference {
				t.Errorf("%s: Media returned %v", base, err)
			}
		}
	}
}

func FuzzParseMediaRef(f *testing.F) {
	f.Add(testRef)
	for _, ref := range hostileRefs {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		query, _, err := parseMediaRef(ref)
		if err != nil {
			return
		}
		asked, err := url.Parse("https://h/media/file?" + query)
		if err != nil || asked.Host != "h" || asked.Path != "/media/file" || asked.Fragment != "" || len(asked.Query()) != 2 ||
			!tipPattern.MatchString(asked.Query().Get("tip")) {
			t.Errorf("%q: asks for %v (%v)", ref, asked, err)
		}
	})
}
