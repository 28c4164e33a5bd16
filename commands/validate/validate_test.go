package validate

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"noggin/batch/files"
	"noggin/batch/validate"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
)

func TestAConfigurationThatThisUserMayNotReadIsForAnother(t *testing.T) {
	t.Parallel()
	v := validation{hide: func(text []byte) []byte { return text }}
	v.invalidConfig(cmdline.Usagef("read the configuration: this user may not read it: %w", fs.ErrPermission))
	if f := v.result.Findings; len(f) != 1 || !strings.Contains(f[0].Remedy, "`sudo -u noggin ") {
		t.Errorf("findings %+v", f)
	}
}

// Whoever may change the file, or answer in the place of the API or the database, gets the token.
func TestAConfigurationThatIsNotSafeIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	paths := files.Paths{Input: dir, Processed: dir, Error: dir, Output: dir, Archive: dir, Backups: dir, Reports: dir, Checkpoints: dir}
	cfg := &config.Config{Path: path}
	cfg.API.BaseURL, cfg.API.MediaServiceURL, cfg.API.InsecureHTTP = "http://localhost/rest/object/", "https://noggin.example/media", true
	cfg.API.Namespace, cfg.Storage.URL = strings.Repeat("a", 64), "postgres://noggin@db.example/noggin?sslmode=verify-full"
	for name, test := range map[string]struct {
		change func()
		mode   fs.FileMode
		want   string
	}{
		"as it should be":       {func() {}, 0o660, ""},
		"others may write it":   {func() {}, 0o602, "error permissions"},
		"a short namespace":     {func() { cfg.API.Namespace = strings.Repeat("a", 63) }, 0o600, "warning namespace"},
		"media in the clear":    {func() { cfg.API.MediaServiceURL = "http://noggin.example/media" }, 0o600, "warning https"},
		"any database's server": {func() { cfg.Storage.URL = "postgres://noggin@db.example/noggin?sslmode=require" }, 0o600, "warning sslmode"},
	} {
		whole := *cfg
		test.change()
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		v := validation{session: &session.Session{Config: cfg, Secrets: &config.Secrets{}}, validator: &validate.Validator{Paths: paths}}
		var found []string
		for _, f := range v.config().Findings {
			if slices.Contains([]string{"permissions", "namespace", "https", "sslmode"}, f.Check) {
				found = append(found, f.Severity+" "+f.Check)
			}
		}
		if got := strings.Join(found, ", "); got != test.want {
			t.Errorf("%s: %q instead of %q", name, got, test.want)
		}
		*cfg = whole
	}
}
