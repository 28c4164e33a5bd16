package api

import (
	"bytes"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxExcerpt is how many bytes of a bad answer are kept.
const maxExcerpt = 2 << 10

// shortestSecret is the length of the shortest secret that is scrubbed. A shorter one
// would be found by chance in every other word.
const shortestSecret = 4

// scrubber removes token and namespace from texts.
type scrubber struct {
	secrets  []string
	replacer *strings.Replacer
	parts    fragments
}

func newScrubber(token, namespace string) scrubber {
	s := scrubber{parts: fragments{}}
	var pairs []string
	for _, secret := range []struct{ value, name string }{{token, "[token]"}, {namespace, "[namespace]"}} {
		if len(secret.value) < shortestSecret {
			continue
		}
		s.parts.add(secret.value)
		for _, spelling := range spellings(secret.value) {
			s.secrets = append(s.secrets, spelling)
			pairs = append(pairs, spelling, secret.name)
		}
	}
	s.replacer = strings.NewReplacer(pairs...)
	return s
}

// spellings are the ways in which a server may write a secret that it was sent.
func spellings(secret string) []string {
	quoted, err := json.Marshal(secret)
	if err != nil {
		quoted = []byte(`""`)
	}
	all := []string{
		secret, strings.ToLower(secret), strings.ToUpper(secret),
		url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret),
		strings.Trim(string(quoted), `"`), strings.ReplaceAll(secret, "/", `\/`),
	}
	seen := map[string]bool{"": true}
	var distinct []string
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			distinct = append(distinct, s)
		}
	}
	return distinct
}

var queries = regexp.MustCompile(`((?:https?:/|/)[^\s"'<>?]*)\?[^\s"'<>]*`)

func (s scrubber) clean(text string) string {
	text = queries.ReplaceAllString(s.replacer.Replace(text), "$1?…")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if s.parts.in(text) {
		return leftOut
	}
	return text
}

// scrub removes token, namespace, queries of URLs and control characters from text. It
// leaves out a text that holds a part of a secret in any other form.
func (c *Client) scrub(text string) string { return c.scrubber.clean(text) }

// excerpt is the scrubbed beginning of an answer.
func (c *Client) excerpt(answer []byte) string {
	const enough = 4 * maxExcerpt
	if len(answer) > enough {
		answer = c.scrubber.withoutPart(answer[:enough])
	}
	text := c.scrub(string(bytes.TrimSpace(answer)))
	if len(text) <= maxExcerpt {
		return text
	}
	end := maxExcerpt
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// withoutPart removes the beginning of a secret from the end of a cut text, where the
// replacer cannot recognise it.
func (s scrubber) withoutPart(text []byte) []byte {
	shortest := len(text)
	for _, secret := range s.secrets {
		for n := min(len(secret)-1, len(text)); n > 0; n-- {
			if bytes.HasSuffix(text, []byte(secret[:n])) {
				shortest = min(shortest, len(text)-n)
				break
			}
		}
	}
	return text[:shortest]
}
