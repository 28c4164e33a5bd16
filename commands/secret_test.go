package commands

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestNoLogRepeatsASecretHoweverItIsSpelt(t *testing.T) {
	const token = `to"ken\with<odd>&chars/+=é`
	for _, format := range []string{formatText, formatJSON} {
		var b bytes.Buffer
		guard := new(secrets).guard(&b)
		guard.secrets.add(token)
		guard.secrets.addPassword("noggin")
		log := newLogger(guard, format, slog.LevelDebug)
		log.Info("message with "+token, "attribute", token, "error", errors.New("GET /?t="+token))
		log.With("kept", token).WithGroup("g").Warn("grouped", "url", "postgres://noggin:noggin@h/noggin", "dsn", "password=noggin user=noggin")
		if got := b.String(); strings.Contains(got, "with<odd>") || strings.Contains(got, `with\u003codd`) || strings.Contains(got, ":noggin@") || strings.Contains(got, "password=noggin") {
			t.Errorf("%s: a secret was written:\n%s", format, got)
		}
		if got := b.String(); strings.Count(got, redacted) < 5 || !strings.Contains(got, "@h/noggin") {
			t.Errorf("%s: too much or too little is hidden:\n%s", format, got)
		}
	}
}

func TestAVeryShortSecretDoesNotBlankOutWords(t *testing.T) {
	var b bytes.Buffer
	guard := new(secrets).guard(&b)
	guard.secrets.add("in")
	guard.secrets.addPassword("")
	if _, err := guard.Write([]byte("noggin: in the API: user:@host password=\n")); err != nil || b.String() != "noggin: in the API: user:@host password=\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestALineWipesTheProgressBarFirst(t *testing.T) {
	var b bytes.Buffer
	guard := new(secrets).guard(&b)
	guard.barShown.Store(true)
	n, err := guard.Write([]byte("line\n"))
	if n != 5 || err != nil || b.String() != wipeLine+"line\n" {
		t.Errorf("got %d, %v, %q", n, err, b.String())
	}
}
