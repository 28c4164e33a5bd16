package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEverySettingIsShownWithItsSourceAndNoSecret(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "config.toml")
	text := `timezone = "Australia/Perth"
[database]
url = "postgres://noggin:pass-word-1@db.example.com/noggin_db"
[api]
namespace = "name-space-2"
timeout = "90s"
bearer_token_file = "token-pasted-here-3"
[archive]
after_create = "RSYNC_PASSWORD=pass-word-6 rsync \"$1\" nas::noggin"
[seal]
publish = "curl -u noggin:pass-word-7 -T \"$1\" https://tsa.example.com"
[maintain]
verify_url = "user=trial password='pass word 4' host=db"
[notify]
heartbeat_url = "https://example.com/ping/secret-8"
webhook_url = "https://example.com/hooks/secret-9"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"NOGGIN_BEARER_TOKEN": "token-of-environment-5"}
	cfg, err := Load(path, true, func(name string) string { return environment[name] })
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]Setting{}
	for _, s := range cfg.Shown() {
		shown[s.Key] = s
	}
	if len(shown) != len(cfg.settings()) {
		t.Errorf("%d of %d keys are shown", len(shown), len(cfg.settings()))
	}
	for key, want := range map[string]Setting{
		"timezone":                {Value: "Australia/Perth", From: path + ", line 1"},
		"[database] url":          {Value: "postgres://noggin:set@db.example.com/noggin_db", From: path + ", line 3"},
		"[api] namespace":         {Value: "set", From: path + ", line 5"},
		"[api] timeout":           {Value: "1m30s", From: path + ", line 6"},
		"[api] bearer_token":      {Value: "set", From: "$NOGGIN_BEARER_TOKEN"},
		"[api] bearer_token_file": {Value: "set", From: path + ", line 7"},
		"[maintain] verify_url":   {Value: "user=trial password=set host=db", From: path + ", line 13"},
		"[archive] after_create":  {Value: "set", From: path + ", line 9"},
		"[seal] publish":          {Value: "set", From: path + ", line 11"},
		"[notify] heartbeat_url":  {Value: "set", From: path + ", line 15"},
		"[notify] webhook_url":    {Value: "set", From: path + ", line 16"},
		"[processing] stop_grace": {Value: "4m30s", From: "default"},
		"[refresh] after":         {Value: "1d, 7d, 30d", From: "default"},
	} {
		if got := shown[key]; got.Value != want.Value || got.From != want.From {
			t.Errorf("%s: %v from %q, want %v from %q", key, got.Value, got.From, want.Value, want.From)
		}
	}
	all, err := json.Marshal(cfg.Shown())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"pass-word-1", "name-space-2", "token-pasted-here-3", "word 4", "token-of-environment-5", "pass-word-6", "pass-word-7", "secret-8", "secret-9"} {
		if strings.Contains(string(all), secret) {
			t.Errorf("%s is shown", secret)
		}
	}
}

func TestAChangedFileKeepsEverythingElse(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	changes := []Change{{"", "timezone", "Australia/Perth"}, {"database", "url", "postgres:///x?host=/run/\"p\\"}, {"api", "namespace", strings.Repeat("a", 64)}}
	for name, text := range map[string]string{
		"the example": string(example),
		"empty":       "",
		"own":         "# mine\n[processing]\nconcurrency = 3 # few\n\n  [api]  # the API\n  namespace='old'\ntimeout = 5\n",
		"no line end": "[database]\n#url = \"\"\nschema = \"other\"",
		"windows":     "timezone = \"UTC\"\r\n[api]\r\nnamespace = \"old\"\r\n",
		"a list last": "[[object_type]]\ncode = \"XX\"\nname = \"X\"\napi_name = \"x\"\n",
	} {
		changed, err := Changed(text, changes)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		before, after := Default(), Default()
		before.settings().decode(text)
		if problems := after.settings().decode(changed); len(problems) > 0 {
			t.Errorf("%s: %v\n%s", name, problems, changed)
		}
		if after.Batch.Timezone != "Australia/Perth" || after.Storage.URL != changes[1].Value || after.API.Namespace != changes[2].Value {
			t.Errorf("%s: not changed:\n%s", name, changed)
		}
		if after.Batch.Processing != before.Batch.Processing || after.API.Timeout != before.API.Timeout || after.Storage.Schema != before.Storage.Schema || len(after.Batch.ObjectTypes) != len(before.Batch.ObjectTypes) {
			t.Errorf("%s: something else changed:\n%s", name, changed)
		}
		if strings.Contains(text, "# mine") && !strings.Contains(changed, "concurrency = 3 # few\n") {
			t.Errorf("%s: a comment is lost:\n%s", name, changed)
		}
		again, err := Changed(changed, changes)
		if err != nil || again != changed {
			t.Errorf("%s: changed again it differs: %v\n%s", name, err, again)
		}
	}
	for _, text := range []string{"[api]\nnamespace = \"\"\"\nold\"\"\"\n", "[api\n", "api = { namespace = \"x\" }\n", "api.namespace = \"x\"\n"} {
		if changed, err := Changed(text, changes); err == nil {
			t.Errorf("%q was changed to %q", text, changed)
		}
	}
}
