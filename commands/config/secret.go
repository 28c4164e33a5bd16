package config

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Secret is a text that prints as [redacted], whatever prints it.
type Secret string

const redacted = "[redacted]"

func (Secret) String() string { return redacted }

// GoString keeps %#v from showing the text.
func (Secret) GoString() string { return redacted }

// LogValue keeps logs from showing the text.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps JSON from showing the text.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Secrets are the texts that must never be written to stderr. A type that hides a
// token is not enough: the token can come back in the text of another program's error.
type Secrets struct {
	mu       sync.RWMutex
	replaced [][2][]byte
}

// Add hides text in what the guard writes, in every form in which logs and URLs may
// spell it. It ignores very short texts: hiding them would blank out ordinary words
// and protect nothing.
func (s *Secrets) Add(text string) {
	if len(text) < 8 {
		return
	}
	asJSON, _ := json.Marshal(text) // a string always can be marshalled
	asGo := strconv.Quote(text)
	for _, form := range []string{text, string(asJSON[1 : len(asJSON)-1]), asGo[1 : len(asGo)-1], url.QueryEscape(text), url.PathEscape(text)} {
		s.replace(form, redacted)
	}
}

// AddPassword hides the password in a database's address.
func (s *Secrets) AddPassword(address string) { s.addPassword(passwordOf(address)) }

// addPassword hides a database password where it stands as one: it may be as short and
// ordinary as "noggin".
func (s *Secrets) addPassword(password string) {
	if password == "" {
		return
	}
	inURL := strings.TrimPrefix(url.UserPassword("", password).String(), ":")
	for _, form := range []string{password, inURL, url.PathEscape(password), url.QueryEscape(password)} {
		s.replace(":"+form+"@", ":"+redacted+"@")
		s.replace("password="+form, "password="+redacted)
		s.replace("password='"+form, "password='"+redacted)
	}
	s.Add(password)
}

// addURL hides a URL that is a secret, and the parts of its path that are long enough to
// be a token.
func (s *Secrets) addURL(text string) {
	s.Add(text)
	u, err := url.Parse(text)
	if err != nil {
		return
	}
	s.addPassword(passwordOf(text))
	for _, part := range strings.Split(u.Path, "/") {
		if len(part) >= 16 {
			s.Add(part)
		}
	}
}

func (s *Secrets) replace(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced = append(s.replaced, [2][]byte{[]byte(from), []byte(to)})
}

// Guard returns a writer to w that hides the secrets in each write. slog and the
// error report write whole lines.
func (s *Secrets) Guard(w io.Writer) io.Writer { return &guard{w: w, secrets: s} }

type guard struct {
	w       io.Writer
	secrets *Secrets
}

func (g *guard) Write(p []byte) (int, error) {
	if _, err := g.w.Write(g.secrets.Hide(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Hide returns p without the secrets.
func (s *Secrets) Hide(p []byte) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, pair := range s.replaced {
		if bytes.Contains(p, pair[0]) {
			p = bytes.ReplaceAll(p, pair[0], pair[1])
		}
	}
	return p
}
