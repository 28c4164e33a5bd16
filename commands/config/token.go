package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"noggin/api"
	"noggin/batch/files"
	"noggin/commands/cmdline"
)

// credentialName is the file in systemd's credential directory that holds the
// token: LoadCredential=bearer_token:/etc/noggin/bearer_token.
const credentialName = "bearer_token"

// Credentials is where the API's token may come from; see [Credentials.Token].
type Credentials struct {
	BearerToken     Secret `toml:"bearer_token"`
	BearerTokenFile string `toml:"bearer_token_file"`
	environment     Secret // $NOGGIN_BEARER_TOKEN
	directory       string // $CREDENTIALS_DIRECTORY
}

func (c *Credentials) takeEnvironment(getenv func(string) string) {
	c.environment = Secret(getenv("NOGGIN_BEARER_TOKEN"))
	c.directory = getenv("CREDENTIALS_DIRECTORY")
}

// hide keeps the token out of the logs, wherever it came from.
func (c *Credentials) hide(s *Secrets) {
	if !isPath(c.BearerTokenFile) {
		// A token that was pasted into the wrong key, with whatever came along.
		for _, word := range strings.Fields(c.BearerTokenFile) {
			s.Add(word)
		}
	}
	for _, token := range []Secret{c.environment, c.BearerToken} {
		if clean, err := cleanToken(string(token)); err == nil {
			s.Add(string(clean))
		}
	}
}

// ErrNoAPI and ErrNoToken say that nothing is set that a request needs.
var (
	ErrNoAPI   = errors.New("the API is not configured")
	ErrNoToken = errors.New("no API token")
)

// Token finds the API's token: $NOGGIN_BEARER_TOKEN, [api] bearer_token_file,
// systemd's credential directory, [api] bearer_token, in that order. A source that
// is named but cannot be used is an error, not a reason to look further.
func (c *Credentials) Token() (Secret, error) {
	token, _, err := c.find("[api] bearer_token")
	return token, err
}

// find finds the token and where it comes from; key is the source of [api] bearer_token.
func (c *Credentials) find(key string) (token Secret, from string, err error) {
	if strings.TrimSpace(string(c.environment)) != "" {
		token, err = fromSource("$NOGGIN_BEARER_TOKEN", string(c.environment))
		return token, "$NOGGIN_BEARER_TOKEN", err
	}
	if c.BearerTokenFile != "" {
		token, err = tokenFromFile(c.BearerTokenFile)
		return token, "[api] bearer_token_file", err
	}
	if c.directory != "" {
		path := filepath.Join(c.directory, credentialName)
		if _, err := os.Stat(path); err == nil {
			token, err = tokenFromFile(path)
			return token, path, err
		}
	}
	if c.BearerToken != "" {
		token, err = fromSource("[api] bearer_token", string(c.BearerToken))
		return token, key, err
	}
	return "", "", cmdline.Hint(cmdline.Usagef("%w", ErrNoToken),
		"put it into a file that only noggin can read and name that in [api] bearer_token_file, or set $NOGGIN_BEARER_TOKEN")
}

func tokenFromFile(path string) (Secret, error) {
	shown := path
	if !isPath(path) {
		shown = fmt.Sprintf("the file of bearer_token_file (its value of %d characters is not shown: it may be a token)", len(path))
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", cmdline.Usagef("read the API token: %s: %w", shown, files.Cause(err))
	}
	if info.Mode().Perm()&forOthers != 0 {
		return "", cmdline.Usagef("the API token in %s can be read by others: chmod o-rwx %s", path, files.ShellQuoted(path))
	}
	if info.Size() > 64<<10 {
		return "", cmdline.Usagef("read the API token: %s is no token: %d bytes", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", cmdline.Usagef("read the API token: %s: %w", shown, files.Cause(err))
	}
	return fromSource(path, string(text))
}

// isPath reports whether a text is the path of a file that is there, or of one that could
// be in a folder that is there. A token that was pasted in its place is neither.
func isPath(text string) bool {
	if info, err := os.Stat(text); err == nil {
		return !info.IsDir()
	}
	folder := filepath.Dir(text)
	info, err := os.Stat(folder)
	return err == nil && info.IsDir() && filepath.IsAbs(text) && folder != "/"
}

func fromSource(source, text string) (Secret, error) {
	token, err := cleanToken(text)
	if err != nil {
		return "", cmdline.Usagef("the API token in %s: %w", source, err)
	}
	return token, nil
}

var bearerPrefix = regexp.MustCompile(`(?i)^bearer\s+`)

// ParseToken reads a token that was typed or pasted.
func ParseToken(text string) (Secret, error) { return cleanToken(text) }

// cleanToken removes the white space and the "Bearer " that come along when a token is
// pasted.
func cleanToken(text string) (Secret, error) {
	token := strings.TrimPrefix(text, "\ufeff")
	token = bearerPrefix.ReplaceAllString(strings.TrimSpace(token), "")
	switch {
	case token == "" || strings.EqualFold(token, "bearer"):
		return "", errors.New("it is empty")
	case strings.ContainsAny(token, "\r\n"):
		return "", errors.New("it has a line break inside: it was probably cut while pasting")
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", fmt.Errorf("it has a character that no token has, at position %d", i+1)
		}
	}
	return Secret(token), nil
}

// forOthers are the permissions that a file with a secret must not give.
const forOthers = 0o007

// checkPermissions refuses a configuration file that holds a secret and that others
// can read.
func (c *Config) checkPermissions() []string {
	if c.Path == "" {
		return nil
	}
	info, err := os.Stat(c.Path)
	if err != nil || info.Mode().Perm()&forOthers == 0 {
		return nil
	}
	held := ""
	switch {
	case c.Credentials.BearerToken != "":
		held = "the API token"
	case passwordOf(c.Storage.URL) != "", passwordOf(c.Batch.Maintain.VerifyURL) != "":
		held = "the database password"
	case c.Notify != (api.Notify{}):
		held = "the addresses of [notify]"
	case c.Batch.Archive.AfterCreate != "":
		held = "[archive] after_create, a command that may hold a password,"
	case c.Batch.Seal.Publish != "":
		held = "[seal] publish, a command that may hold a password,"
	default:
		return nil
	}
	return []string{fmt.Sprintf("the file holds %s and can be read by others: chmod o-rwx %s", held, files.ShellQuoted(c.Path))}
}

var keywordPassword = regexp.MustCompile(`(?i)\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)`)

var userInfo = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://[^:/?#@]*:)(.*)(@[^@]*)$`)

// unencodedPassword splits a URL around a password with a character that is not
// percent-encoded, so that no reader of URLs finds it. It is nil for any other text.
func unencodedPassword(address string) []string {
	u, err := url.Parse(address)
	if err == nil && u.User != nil {
		return nil
	}
	m := userInfo.FindStringSubmatch(address)
	if m == nil || err == nil && strings.Contains(m[2], "=") { // the @ is part of a parameter
		return nil
	}
	return m
}

// passwordOf returns the password in a libpq URL or key=value string, or "".
func passwordOf(database string) string {
	if m := unencodedPassword(database); m != nil {
		return m[2]
	}
	if u, err := url.Parse(database); err == nil && u.Scheme != "" {
		if password, ok := u.User.Password(); ok {
			return password
		}
		return u.Query().Get("password")
	}
	if found := keywordPassword.FindStringSubmatch(database); found != nil {
		return strings.Trim(found[1], "'")
	}
	return ""
}
