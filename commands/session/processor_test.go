package session

import (
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"noggin/commands/config"
	"noggin/storage"
)

// Whatever is left out here would silently be as if it were not configured.
func TestTheProcessorHasWhatIsConfigured(t *testing.T) {
	t.Parallel()
	env := map[string]string{"NOGGIN_BEARER_TOKEN": "a-secret-token", "TZ": "UTC"}
	cfg, err := config.Load(filepath.Join(t.TempDir(), "none.toml"), false, func(key string) string { return env[key] })
	if err != nil {
		t.Fatal(err)
	}
	cfg.API.BaseURL, cfg.API.Namespace = "https://api.example.com", strings.Repeat("ab", 32)
	cfg.Batch.Hashes.Fetch, cfg.Batch.Paths.Output, cfg.Batch.Paths.Reserve, cfg.Batch.Import.DefaultObjectType = true, "/mirror", 5, "SO"
	types, err := cfg.Batch.Forms()
	if err != nil {
		t.Fatal(err)
	}
	s := &Session{Config: cfg, Types: types, DB: &storage.DB{}, Log: slog.New(slog.DiscardHandler), Secrets: new(config.Secrets), Version: "1.2.3", Command: "process"}
	p, err := s.Processor()
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"database": {p.DB, s.DB}, "forms": {p.Types, types}, "log": {p.Log, s.Log}, "version": {p.Version, "1.2.3"}, "command": {p.Command, "process"},
		"processing": {p.Processing, cfg.Batch.Processing}, "retry": {p.Retry, cfg.Batch.Retry}, "circuit": {p.Circuit, cfg.Batch.Circuit},
		"refresh": {p.Refresh, cfg.Batch.Refresh}, "names": {p.Names, cfg.Batch.Hashes}, "output": {p.Output, "/mirror"}, "reserve": {p.Reserve, int64(5)},
		"form": {p.DefaultObjectType, "SO"}, "address": {p.API.BaseURL, cfg.API.BaseURL}, "token": {p.API.BearerToken, "a-secret-token"},
		"name in the API's log": {p.API.UserAgent, "noggin/1.2.3"},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
	if hidden := string(s.Secrets.Hide([]byte("a-secret-token"))); hidden != "[redacted]" {
		t.Errorf("the token is shown as %q", hidden)
	}
}
