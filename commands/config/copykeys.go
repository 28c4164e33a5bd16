package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/commands/cmdline"
)

// copyCredential is the file in systemd's credential directory that holds the keys of
// S3: LoadCredential=copy_credentials:/etc/noggin/copy_credentials.
const copyCredential = "copy_credentials"

// CopyKeys is where the credentials of S3 may come from; see [Config.S3Keys].
type CopyKeys struct {
	File        string     `toml:"credentials_file"`
	environment place.Keys // $AWS_ACCESS_KEY_ID and so on
	directory   string     // $CREDENTIALS_DIRECTORY
}

func (k *CopyKeys) takeEnvironment(getenv func(string) string) {
	k.environment = place.Keys{ID: getenv("AWS_ACCESS_KEY_ID"), Secret: getenv("AWS_SECRET_ACCESS_KEY"), Session: getenv("AWS_SESSION_TOKEN")}
	k.directory = getenv("CREDENTIALS_DIRECTORY")
}

// S3Keys finds the credentials of the target of copies: $AWS_ACCESS_KEY_ID with
// $AWS_SECRET_ACCESS_KEY, [copy] credentials_file, systemd's credential directory, in
// that order. A folder needs none. The secret is hidden from then on.
func (c *Config) S3Keys(hidden *Secrets) (keys place.Keys, err error) {
	if !c.Batch.Copy.IsS3() {
		return keys, nil
	}
	keys = c.CopyKeys.environment
	if keys.ID == "" && keys.Secret == "" {
		path := c.CopyKeys.File
		if path == "" && c.CopyKeys.directory != "" {
			path = filepath.Join(c.CopyKeys.directory, copyCredential)
			if _, err := os.Stat(path); err != nil {
				path = ""
			}
		}
		if path == "" {
			return keys, cmdline.Hint(cmdline.Usagef("no credentials for %s", c.Batch.Copy.To),
				"name a file that only noggin can read in [copy] credentials_file, or set $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY")
		}
		if keys, err = keysFromFile(path); err != nil {
			return keys, err
		}
	}
	hidden.Add(keys.Secret)
	hidden.Add(keys.Session)
	if keys.ID == "" || keys.Secret == "" {
		return keys, cmdline.Usagef("the credentials for %s are not whole: $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY go together", c.Batch.Copy.To)
	}
	return keys, nil
}

// keysFromFile reads the default profile of a file like that of AWS's own programs.
func keysFromFile(path string) (keys place.Keys, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return keys, cmdline.Usagef("read the credentials of [copy]: %s: %w", path, files.Cause(err))
	}
	if info.Mode().Perm()&forOthers != 0 {
		return keys, cmdline.Usagef("the credentials in %s can be read by others: chmod o-rwx %s", path, files.ShellQuoted(path))
	}
	if info.Size() > 64<<10 {
		return keys, cmdline.Usagef("read the credentials of [copy]: %s holds no credentials: %d bytes", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return keys, cmdline.Usagef("read the credentials of [copy]: %s: %w", path, files.Cause(err))
	}
	if keys, err = parseKeys(string(text)); err != nil {
		return keys, cmdline.Usagef("the credentials in %s: %w", path, err)
	}
	return keys, nil
}

// parseKeys reads lines such as aws_access_key_id = AKIA…. It repeats no value.
func parseKeys(text string) (keys place.Keys, err error) {
	profile := "default"
	for n, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			profile = strings.TrimSpace(strings.TrimSuffix(name, "]"))
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return keys, fmt.Errorf("line %d is not NAME = VALUE", n+1)
		}
		if profile != "default" {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "aws_access_key_id":
			keys.ID = value
		case "aws_secret_access_key":
			keys.Secret = value
		case "aws_session_token":
			keys.Session = value
		}
	}
	if keys.ID == "" || keys.Secret == "" {
		return keys, errors.New("want the lines aws_access_key_id = … and aws_secret_access_key = …")
	}
	return keys, nil
}
