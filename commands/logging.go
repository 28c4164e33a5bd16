package commands

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"
)

// startLogging makes the logger that the global flags ask for. It is also the
// default one, so that a package that logs without being handed a logger obeys
// the same flags.
func (env *environment) startLogging(c *cli.Context) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil || strings.ContainsAny(c.String("log-level"), "+-") {
		return usagef("--log-level %s: allowed are debug, info, warn, error", quoted(c.String("log-level")))
	}
	if c.Bool("quiet") {
		level = slog.LevelError
	}
	format := c.String("log-format")
	if format != formatText && format != formatJSON {
		return usagef("--log-format %s: allowed are text, json", quoted(format))
	}
	env.jsonLogs = format == formatJSON
	env.log = newLogger(env.Err, format, level)
	slog.SetDefault(env.log)
	return nil
}

func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == formatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// secrets are the texts that must never be written. A token can come back in the
// text of somebody else's error: types that hide it are not enough.
type secrets struct {
	mu       sync.RWMutex
	replacer [][2][]byte
}

const redacted = "[redacted]"

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
	s.replacer = append(s.replacer, [2][]byte{[]byte(from), []byte(to)})
}

// guard returns a writer that hides the secrets in each write. slog and the error
// report write whole lines.
func (s *secrets) guard(w io.Writer) io.Writer { return &guardedWriter{w, s} }

type guardedWriter struct {
	io.Writer
	secrets *secrets
}

func (g *guardedWriter) Write(p []byte) (int, error) {
	clean := p
	g.secrets.mu.RLock()
	for _, pair := range g.secrets.replacer {
		if bytes.Contains(clean, pair[0]) {
			clean = bytes.ReplaceAll(clean, pair[0], pair[1])
		}
	}
	g.secrets.mu.RUnlock()
	if _, err := g.Writer.Write(clean); err != nil {
		return 0, err
	}
	return len(p), nil
}
