package api

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"
)

func each(secret string, format string) string {
	var b strings.Builder
	for _, r := range secret {
		fmt.Fprintf(&b, format, r)
	}
	return b.String()
}

func utf16Of(secret string, low, high int) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(secret)) {
		pair := [2]byte{byte(u), byte(u >> 8)}
		b.WriteByte(pair[low])
		b.WriteByte(pair[high])
	}
	return b.String()
}

func TestNoEchoOfASecretIsKept(t *testing.T) {
	const token = "kQ7+xY/2vB9=zT4.wM8_rN6-pL3~sD5"
	spellings := map[string]func(string) string{
		"JSON":          func(s string) string { return each(s, `\u%04X`) },
		"JSON, some":    func(s string) string { return strings.NewReplacer("+", `\u002B`, "=", `\u003d`).Replace(s) },
		"JSON twice":    func(s string) string { return each(s, `\\u%04x`) },
		"percent":       func(s string) string { return each(s, "%%%02x") },
		"percent, some": func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "+", "%2b"), "/", "%2f") },
		"percent twice": func(s string) string { return each(s, "%%25%02x") },
		"query":         func(s string) string { return strings.ToLower(url.QueryEscape(s)) },
		"HTML hex":      func(s string) string { return each(s, "&#x%X;") },
		"HTML decimal":  func(s string) string { return each(s, "&#%d;") },
		"HTML, zeros":   func(s string) string { return each(s, "&#%07d") },
		"HTML, some": func(s string) string {
			return strings.NewReplacer("+", "&#x2B;", "=", "&#61;", "/", "&sol;").Replace(s)
		},
		"HTML twice":       func(s string) string { return html.EscapeString(each(s, "&#%d;")) },
		"quoted-printable": func(s string) string { return each(s, "=%02X") },
		"octal":            func(s string) string { return each(s, `\%03o`) },
		"C":                func(s string) string { return each(s, `\x%02x`) },
		"UTF-16LE":         func(s string) string { return utf16Of(s, 0, 1) },
		"UTF-16BE":         func(s string) string { return utf16Of(s, 1, 0) },
		"base64":           func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64 behind 1":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x" + s)) },
		"base64 behind 2":  func(s string) string { return base64.URLEncoding.EncodeToString([]byte("Bearer: " + s)) },
		"base64 of UTF-16": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(utf16Of(s, 0, 1))) },
		"hex":              func(s string) string { return hex.EncodeToString([]byte(s)) },
		"hex with colons":  func(s string) string { return each(s, "%02X:") },
		"upper case":       strings.ToUpper,
		"with spaces":      func(s string) string { return each(s, "%c ") },
		"with zero width":  func(s string) string { return each(s, "%c\u200b") },
		"a part":           func(s string) string { return s[5:20] },
		"a part, escaped":  func(s string) string { return each(s[3:18], "%%%02X") },
		"full width":       func(s string) string { return strings.Map(func(r rune) rune { return r + 0xfee0 }, s) },
	}
	for name, spell := range spellings {
		for what, secret := range map[string]string{"token": token, "namespace": testNamespace} {
			for _, status := range []int{http.StatusInternalServerError, http.StatusOK} {
				echoed := spell(secret)
				server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, "an answer of the proxy: "+echoed+" and so on")
				})
				_, err := newTestClient(t, server.URL, nil, func(c *Config) { c.BearerToken, c.MaxRetries = token, 0 }).Record(t.Context(), testForm, testTip)
				e := asError(t, err)
				kept := strings.ReplaceAll(strings.ReplaceAll(e.Excerpt+e.Message, "[token]", ""), "[namespace]", "")
				if strings.Contains(kept, echoed[:8]) || strings.Contains(kept, echoed[len(echoed)-8:]) {
					t.Errorf("%s as %s: %q", what, name, kept)
				}
			}
		}
	}
}

func TestAnOrdinaryExcerptIsKept(t *testing.T) {
	c := newTestClient(t, "http://127.0.0.1:1", nil)
	for _, text := range []string{"<html>503 Service Unavailable</html>", `{"error":"unknown tip ` + testTip + `"}`, "Bearer token expired", testToken + " is wrong"} {
		if got := c.excerpt([]byte(text)); got == leftOut || got == "" {
			t.Errorf("%s: %q", text, got)
		}
	}
}
