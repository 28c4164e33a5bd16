package config

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func TestNoLogRepeatsASecretHoweverItIsSpelt(t *testing.T) {
	const token = `to"ken\with<odd>&chars/+=é`
	for format, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var b bytes.Buffer
		hidden := new(Secrets)
		hidden.Add(token)
		hidden.addPassword("noggin")
		log := slog.New(handler(hidden.Guard(&b)))
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

func TestAShortPasswordIsHiddenInEveryFormOfAnAddress(t *testing.T) {
	t.Parallel()
	hidden := new(Secrets)
	hidden.AddPassword("postgres://keeper:p%40+s@h/d")
	for _, address := range []string{"postgres://keeper:p@+s@h/d", "postgres://keeper:p%40+s@h/d", "postgres://keeper:p%40%2Bs@h/d", "host=h password=p@+s", "host=h password='p@+s'", "postgres://keeper@h/d?password=p%40%2Bs"} {
		if said := string(hidden.Hide([]byte(address))); !strings.Contains(said, redacted) || strings.Contains(said, "+s") || strings.Contains(said, "2Bs") {
			t.Errorf("%s is told as %s", address, said)
		}
	}
}

func TestAVeryShortSecretDoesNotBlankOutWords(t *testing.T) {
	var b bytes.Buffer
	hidden := new(Secrets)
	hidden.Add("in")
	hidden.addPassword("")
	guard := hidden.Guard(&b)
	if _, err := guard.Write([]byte("noggin: in the API: user:@host password=\n")); err != nil || b.String() != "noggin: in the API: user:@host password=\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
