package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/batch/copies/place"
)

func TestTheKeysOfS3AreFoundInTheirOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("keys", "# keys\n[default]\naws_access_key_id = FILEID\naws_secret_access_key=file-secret/+=\n[other]\naws_access_key_id = NO\n", 0o600)
	write(copyCredential, "aws_access_key_id = CREDID\r\naws_secret_access_key = cred-secret\r\naws_session_token = session-token\r\n", 0o600)
	cut := write("cut", "aws_access_key_id = HALF-OF-A-KEY\n", 0o600)
	open := write("open", "aws_access_key_id = A\naws_secret_access_key = B\n", 0o644)
	env := place.Keys{ID: "ENVID", Secret: "environment-secret"}
	for _, c := range []struct {
		to   string
		keys CopyKeys
		want place.Keys
		err  string
	}{
		{"/mnt/b", CopyKeys{environment: env}, place.Keys{}, ""},
		{"s3://b", CopyKeys{environment: env, File: file, directory: dir}, env, ""},
		{"s3://b", CopyKeys{File: file, directory: dir}, place.Keys{ID: "FILEID", Secret: "file-secret/+="}, ""},
		{"s3://b", CopyKeys{directory: dir}, place.Keys{ID: "CREDID", Secret: "cred-secret", Session: "session-token"}, ""},
		{"s3://b", CopyKeys{}, place.Keys{}, "no credentials for s3://b"},
		{"s3://b", CopyKeys{environment: place.Keys{ID: "ENVID"}}, place.Keys{}, "not whole"},
		{"s3://b", CopyKeys{File: cut}, place.Keys{}, "want the lines aws_access_key_id"},
		{"s3://b", CopyKeys{File: open}, place.Keys{}, "can be read by others: chmod o-rwx"},
		{"s3://b", CopyKeys{File: filepath.Join(dir, "none")}, place.Keys{}, "no such file"},
	} {
		cfg := Default()
		cfg.Batch.Copy.To, cfg.CopyKeys = c.to, c.keys
		hidden := new(Secrets)
		got, err := cfg.S3Keys(hidden)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "HALF-OF-A-KEY") {
				t.Errorf("%+v: %v, want %s", c.keys, err, c.err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%+v: %+v, %v", c.keys, got, err)
		}
		for _, secret := range []string{got.Secret, got.Session} {
			if said := string(hidden.Hide([]byte("key " + secret + "."))); secret != "" && strings.Contains(said, secret) {
				t.Errorf("the secret %s is not hidden", secret)
			}
		}
	}
}
