package commands

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
)

// secret is a text that prints as [redacted], whatever prints it.
type secret string

const redacted = "[redacted]"

func (secret) String() string               { return redacted }
func (secret) GoString() string             { return redacted }
func (secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// secrets are the texts that must never be written to stderr. A token can come
// back in the text of somebody else's error: a type that hides it is not enough.
type secrets struct {
	mu       sync.RWMutex
	replaced [][2][]byte
}

// add keeps text, and every way in which logs and URLs may spell it, out of what
// the guard writes. Very short texts would blank out ordinary words, and protect
// nothing.
func (s *secrets) add(text string) {
	if len(text) < 8 {
		return
	}
	asJSON, _ := json.Marshal(text) // a string always can be marshalled
	asGo := strconv.Quote(text)
	for _, form := range []string{text, string(asJSON[1 : len(asJSON)-1]), asGo[1 : len(asGo)-1], url.QueryEscape(text), url.PathEscape(text)} {
		s.replace(form, redacted)
	}
}

// addPassword is add for a database password, which may be as short and ordinary
// as "noggin": it is hidden where it stands as a password.
func (s *secrets) addPassword(password string) {
	if password == "" {
		return
	}
	for _, form := range []string{password, url.PathEscape(password), url.QueryEscape(password)} {
		s.replace(":"+form+"@", ":"+redacted+"@")
		s.replace("password="+form, "password="+redacted)
		s.replace("password='"+form, "password='"+redacted)
	}
	s.add(password)
}

func (s *secrets) replace(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced = append(s.replaced, [2][]byte{[]byte(from), []byte(to)})
}

// guard returns a writer that hides the secrets in each write. slog and the error
// report write whole lines.
func (s *secrets) guard(w io.Writer) *guardedWriter { return &guardedWriter{Writer: w, secrets: s} }

// guardedWriter is stderr for everything but the progress bar, which it wipes out
// before each line while one is shown.
type guardedWriter struct {
	io.Writer
	mu       sync.Mutex // one line at a time, whoever writes
	secrets  *secrets
	barShown atomic.Bool
}

func (g *guardedWriter) Write(p []byte) (int, error) {
	clean := g.secrets.hide(p)
	if g.barShown.Load() {
		clean = append([]byte(wipeLine), clean...)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.Writer.Write(clean); err != nil {
		return 0, err
	}
	return len(p), nil
}

// wipeLine takes the cursor to the beginning of a terminal's line and empties it.
const wipeLine = "\x1b[2K\r"

func (s *secrets) hide(p []byte) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, pair := range s.replaced {
		if bytes.Contains(p, pair[0]) {
			p = bytes.ReplaceAll(p, pair[0], pair[1])
		}
	}
	return p
}
