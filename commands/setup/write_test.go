package setup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhenTheConfigurationCannotBeWrittenTheTokenIsPutBack(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, former := range map[string]string{"old": "the former token\n", "new": ""} {
		s := &setup{path: filepath.Join(folder, "gone", "config.toml"), tokenFile: filepath.Join(folder, name), token: "other", owner: owner{uid: -1, gid: -1, mode: 0o600}}
		if former != "" {
			if err := os.WriteFile(s.tokenFile, []byte(former), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.write("timezone = \"UTC\"\n"); err == nil {
			t.Fatalf("%s: written into a folder that is not there", name)
		}
		got, err := os.ReadFile(s.tokenFile)
		if string(got) != former || (err != nil) != (former == "") {
			t.Errorf("%s: the token is %q, %v; want %q", name, got, err, former)
		}
		s.path = filepath.Join(folder, "config.toml")
		if err := s.write("timezone = \"UTC\"\n"); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{s.path, s.tokenFile} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, info, err)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(folder, ".noggin-*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestAKeptTokenGetsItsFileWithOwnerAndMode(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := &setup{path: filepath.Join(folder, "config.toml"), tokenFile: filepath.Join(folder, "token"), token: "kept", owner: owner{uid: -1, gid: -1, mode: 0o640}}
	for _, former := range []string{"", "kept\n", "another\n"} { // such as of $NOGGIN_BEARER_TOKEN, of root alone, of before
		if former != "" {
			if err := os.WriteFile(s.tokenFile, []byte(former), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(s.tokenFile, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.write("timezone = \"UTC\"\n"); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(s.tokenFile)
		info, statErr := os.Stat(s.tokenFile)
		if err != nil || statErr != nil || string(text) != "kept\n" || info.Mode().Perm() != 0o640 {
			t.Errorf("with %q before, the file holds %q: %v, %v, %v", former, text, info, err, statErr)
		}
	}
}
