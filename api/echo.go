package api

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"regexp"
	"strconv"
	"strings"
)

// sharedMost is how many characters of a secret in a row give a text away.
const sharedMost = 8

// leftOut stands for a text that shares characters with a secret.
const leftOut = "(left out: it holds a part of the token or the namespace)"

// fragments are all parts of secrets of sharedMost characters, as bare writes them.
type fragments map[string]bool

// add adds the secret, and its forms that are not read character by character.
func (f fragments) add(secret string) {
	forms := []string{secret, hex.EncodeToString([]byte(secret))}
	var wide strings.Builder // UTF-16
	for _, r := range secret {
		wide.WriteRune(r)
		wide.WriteByte(0)
	}
	for _, text := range []string{secret, wide.String(), "\x00" + wide.String()} {
		// Three letters are four digits, so what stands before decides about the digits.
		for shift := range 3 {
			encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + text))
			encoded = encoded[min(len(encoded), []int{0, 2, 3}[shift]):] // the first depend on what stands before
			forms = append(forms, encoded, strings.NewReplacer("+", "-", "/", "_").Replace(encoded))
		}
	}
	for _, form := range forms {
		for text := bare(form); len(text) >= sharedMost; text = text[1:] {
			f[text[:sharedMost]] = true
		}
	}
}

// in reports whether the text, or what an escape in it stands for, holds a fragment.
func (f fragments) in(text string) bool {
	if len(f) == 0 {
		return false
	}
	const rounds = 4 // an escape may be escaped again
	for range rounds {
		plain := bare(text)
		for i := 0; i+sharedMost <= len(plain); i++ {
			if f[plain[i:i+sharedMost]] {
				return true
			}
		}
		decoded := unescape(text)
		if decoded == text {
			return false
		}
		text = decoded
	}
	return false
}

// bare is the text's letters and digits in lower case: what a server inserts between
// them does not matter.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e { // full width
			r -= 0xfee0
		}
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, text)
}

var (
	hexEscape     = regexp.MustCompile(`(?i)(?:\\+u\{?0*|\\+x|%+u00|%(?:25)*|=|&(?:amp;)*#x0*)([0-9a-f]{2})\}?;?`)
	decimalEscape = regexp.MustCompile(`&(?:amp;)*#0*([0-9]{2,3});?`)
	octalEscape   = regexp.MustCompile(`\\+([0-1][0-7]{2})`)
)

// unescape undoes one layer of the escapes of JSON, URLs, HTML, mail and programs.
func unescape(text string) string {
	for _, escape := range []struct {
		pattern *regexp.Regexp
		base    int
	}{{hexEscape, 16}, {decimalEscape, 10}, {octalEscape, 8}} {
		text = escape.pattern.ReplaceAllStringFunc(text, func(found string) string {
			code, err := strconv.ParseUint(escape.pattern.FindStringSubmatch(found)[1], escape.base, 16)
			if err != nil {
				return found
			}
			return string(rune(code))
		})
	}
	return html.UnescapeString(text)
}
