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

// maxExcerpt is the most that is kept of an answer that could not be used, in
// bytes.
const maxExcerpt = 2 << 10

// shortestSecret is the length from which on a secret is looked for in texts. A
// shorter one would be found by chance in every other word.
const shortestSecret = 4

// scrubber takes out of texts what must not leave the program.
type scrubber struct {
	secrets  []string
	replacer *strings.Replacer
}

func newScrubber(token, namespace string) scrubber {
	var s scrubber
	var pairs []string
	for _, secret := range []struct{ value, name string }{{token, "[token]"}, {namespace, "[namespace]"}} {
		if len(secret.value) < shortestSecret {
			continue
		}
		for _, spelling := range spellings(secret.value) {
			s.secrets = append(s.secrets, spelling)
			pairs = append(pairs, spelling, secret.name)
		}
	}
	s.replacer = strings.NewReplacer(pairs...)
	return s
}

// spellings are the ways in which a server may give back what it was sent.
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
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// scrub takes token, namespace, queries of URLs and control characters out of text.
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

// withoutPart takes off the end of a cut text what may be the beginning of a
// secret, which nobody would recognise any more.
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
