package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/commands/cmdline"
)

// A token that was pasted where the path of its file belongs is never told.
func TestATokenInThePlaceOfItsFileIsNotTold(t *testing.T) {
	t.Parallel()
	for _, token := range []string{
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2dnaW4ifQ.c2lnbmF0dXJl", "0123456789abcdef0123456789abcdef", "/AbC+dEf/gHiJkLmNoP==", "/tok3n-tok3n-tok3n",
		"a/b/c/d3f-gh1-jk1", "../tok3n-tok3n-tok3n", strings.Repeat("tok3nTOK", 60), "t\u00f6k3n-t\u00f6k3n-tok3n",
	} {
		for _, form := range []string{`bearer_token_file = "%s"`, `bearer_token_file = "Bearer %s"`, `bearer_token_file = " %s\n"`, `bearer_token_file = '%s'`, "bearer_token_file = \"\"\"\n%s\n\"\"\""} {
			path := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(path, []byte("[api]\n"+fmt.Sprintf(form, token)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := Load(path, true, func(string) string { return "" })
			if err != nil {
				if strings.Contains(err.Error()+strings.Join(cmdline.Hints(err), " "), token) {
					t.Errorf("%s: told as %v", form, err)
				}
				continue
			}
			var secrets Secrets
			cfg.Hide(&secrets)
			_, err = cfg.Credentials.Token()
			if err == nil || strings.Contains(err.Error()+strings.Join(cmdline.Hints(err), " "), token) {
				t.Errorf("%s with %.20s…: told as %v", form, token, err)
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(secrets.Guard(&log), nil)).Info("a run", "credentials", cfg.Credentials.BearerTokenFile)
			if strings.Contains(log.String(), token) {
				t.Errorf("%s with %.20s…: logged as %s", form, token, log.String())
			}
		}
	}
	// A path is told, so that it can be mended.
	missing := filepath.Join(t.TempDir(), "token")
	if _, err := tokenFromFile(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing file is told as %v", err)
	}
}

// A value without quotes is no TOML; the error does not repeat it.
func TestASecretWithoutQuotesIsNotTold(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2dnaW4ifQ.c2lnbmF0dXJl"
	for _, line := range []string{"bearer_token_file = " + token, "bearer_token = " + token, "bearer_token_file = \"" + token, "bearer_token_file " + token, token, "namespace = " + token} {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte("[api]\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, true, func(string) string { return "" })
		if err == nil {
			t.Errorf("%s is accepted", line)
			continue
		}
		if told := err.Error() + strings.Join(cmdline.Hints(err), " "); strings.Contains(told, token) || strings.Contains(told, token[:20]) {
			t.Errorf("%s is told as %s", line, told)
		}
	}
}

func TestEverySecretOfTheConfigurationIsHidden(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.toml")
	text := `[database]
url = "postgres://noggin:secret-01@db/noggin_db"
[api]
namespace = "secret-02"
bearer_token = "secret-03"
[notify]
heartbeat_url = "https://example.com/secret-04-secret-04"
webhook_url = "https://example.com/secret-05-secret-05"
[maintain]
verify_url = "host=db password=secret-06"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"NOGGIN_BEARER_TOKEN": "secret-07", "AWS_SECRET_ACCESS_KEY": "secret-08", "AWS_SESSION_TOKEN": "secret-09"}
	cfg, err := Load(path, true, func(name string) string { return environment[name] })
	if err != nil {
		t.Fatal(err)
	}
	var secrets Secrets
	cfg.Hide(&secrets)
	for _, secret := range []string{
		"secret-01", "secret-02", "secret-03", "secret-04-secret-04", "secret-05-secret-05", "secret-06", "secret-07", "secret-08", "secret-09",
	} {
		if said := secrets.Hide([]byte("it has " + secret)); string(said) != "it has [redacted]" {
			t.Errorf("%s is told: %s", secret, said)
		}
	}
}
