package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenComesFromTheFirstSourceThatIsThere(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("token", "from-file\n")
	write(credentialName, "from-credential\n")
	for name, c := range map[string]struct {
		from Credentials
		want string
	}{
		"environment": {Credentials{"from-config", file, " from-environment\n", dir}, "from-environment"},
		"file":        {Credentials{"from-config", file, " ", dir}, "from-file"},
		"credential":  {Credentials{"from-config", "", "", dir}, "from-credential"},
		"config":      {Credentials{"from-config", "", "", t.TempDir()}, "from-config"},
	} {
		if got, err := c.from.Token(); err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, string(got), err, c.want)
		}
	}
}

func TestATokenSourceThatCannotBeUsedIsAnErrorAndNotSkipped(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	empty := filepath.Join(dir, "empty")
	for path, text := range map[string]string{open: "tok-en-1", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from Credentials
		want string
	}{
		"none":          {Credentials{}, "no API token"},
		"missing file":  {Credentials{"t", filepath.Join(dir, "missing"), "", ""}, "no such file"},
		"open to all":   {Credentials{"t", open, "", ""}, "chmod o-rwx " + open},
		"empty file":    {Credentials{"t", empty, "", ""}, "it is empty"},
		"device":        {Credentials{"t", dir, "", ""}, "can be read by others"},
		"line break":    {Credentials{"tok\nen", "", "", ""}, "line break"},
		"control":       {Credentials{"tok\x01en", "", "", ""}, "at position 4"},
		"not ASCII":     {Credentials{"tokén", "", "", ""}, "at position 4"},
		"only Bearer":   {Credentials{"Bearer ", "", "", ""}, "it is empty"},
		"blank in it":   {Credentials{"", "", "to ken", ""}, "at position 3"},
		"break in env.": {Credentials{"", "", "to\r\nken", ""}, "$NOGGIN_BEARER_TOKEN"},
	} {
		_, err := c.from.Token()
		if err == nil || !strings.Contains(err.Error(), c.want) || !isUsage(err) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestAPastedTokenIsCleaned(t *testing.T) {
	for given, want := range map[string]string{
		"abc":               "abc",
		"  abc\r\n":         "abc",
		"Bearer abc":        "abc",
		"bearer \t abc\n":   "abc",
		"\ufeffBearer abc":  "abc",
		"Bearerabc":         "Bearerabc",
		"a.b-c_d~e+f/g==\n": "a.b-c_d~e+f/g==",
	} {
		if got, err := cleanToken(given); err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v; want %q", given, string(got), err, want)
		}
	}
}

func TestASecretNeverPrints(t *testing.T) {
	const token = "tok-en-value"
	holder := struct{ Token Secret }{token}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(holder), fmt.Sprintf("%v %+v %#v %s %q", holder, holder, holder, holder.Token, holder.Token),
		fmt.Sprint(&holder), string(asJSON), fmt.Errorf("x: %v", holder.Token).Error(), slog.AnyValue(holder.Token).Resolve().String(),
	} {
		if strings.Contains(text, token) {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestThePasswordOfADatabaseURLIsFound(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://u:p%40ss@h/d":              "p@ss",
		"postgresql://u@h/d?password=pw&x=y":   "pw",
		"host=h password=pw user=u":            "pw",
		"host=h password = 'p w' user=u":       "p w",
		"postgres://u@h/d":                     "",
		"host=h passfile=/x":                   "",
		"":                                     "",
		"host=h PASSWORD=pw":                   "pw",
		"postgres:///d?host=/run&password=a%2": "",
		"postgres://u:pa%ss@h/d":               "pa%ss",
		"postgres://u:pa/ss@h/d":               "pa/ss",
		"postgres://u:12/s@s@h:1/d?x=y":        "12/s@s",
		"postgres://u:12#ss@h/d":               "12#ss",
		"postgres://u:12?ss@h/d":               "12?ss",
		"postgres://h:5432/d?user=a@b":         "",
	} {
		if got := passwordOf(url); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}

func TestNoPasswordOfAMistypedDatabaseURLIsShown(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://u:pa%ss@h/d":               "postgres://u:set@h/d",
		"postgres://u:pa/ss@h/d":               "postgres://u:set@h/d",
		"postgres://u:12#ss@h/d":               "postgres://u:set@h/d",
		"postgres://u:12?ss@h/d":               "postgres://u:set@h/d",
		"postgres:///d?host=/run&password=a%2": "postgres:///d?host=/run&password=set",
		"postgres://h:5432/d?user=a@b":         "postgres://h:5432/d?user=a@b",
		"postgres:///d?host=/run/postgresql":   "postgres:///d?host=/run/postgresql",
	} {
		if got := WithoutPassword(url); got != want {
			t.Errorf("%s: shown as %q, want %q", url, got, want)
		}
	}
}
