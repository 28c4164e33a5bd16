package commands

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// credentialName is the file in systemd's credential directory that holds the
// token: LoadCredential=bearer_token:/etc/noggin/bearer_token.
const credentialName = "bearer_token"

// credentials is where the API's token may come from; see [credentials.token].
type credentials struct {
	BearerToken     secret `toml:"bearer_token"`
	BearerTokenFile string `toml:"bearer_token_file"`
	environment     secret // $NOGGIN_BEARER_TOKEN
	directory       string // $CREDENTIALS_DIRECTORY
}

func (c *credentials) takeEnvironment(getenv func(string) string) {
	c.environment = secret(getenv("NOGGIN_BEARER_TOKEN"))
	c.directory = getenv("CREDENTIALS_DIRECTORY")
}

// hide has the token kept out of everything that is logged, wherever it came from.
func (c *credentials) hide(s *secrets) {
	for _, token := range []secret{c.environment, c.BearerToken} {
		if clean, err := cleanToken(string(token)); err == nil {
			s.add(string(clean))
		}
	}
}

// token finds the API's token: $NOGGIN_BEARER_TOKEN, [api] bearer_token_file,
// systemd's credential directory, [api] bearer_token, in that order. A source that
// is named but cannot be used is an error, not a reason to look further.
func (c *credentials) token() (secret, error) {
	if strings.TrimSpace(string(c.environment)) != "" {
		return fromSource("$NOGGIN_BEARER_TOKEN", string(c.environment))
	}
	if c.BearerTokenFile != "" {
		return tokenFromFile(c.BearerTokenFile)
	}
	if c.directory != "" {
		path := filepath.Join(c.directory, credentialName)
		if _, err := os.Stat(path); err == nil {
			return tokenFromFile(path)
		}
	}
	if c.BearerToken != "" {
		return fromSource("[api] bearer_token", string(c.BearerToken))
	}
	return "", hint(usagef("no API token"),
		"put it into a file that only noggin can read and name that in [api] bearer_token_file, or set $NOGGIN_BEARER_TOKEN")
}

func tokenFromFile(path string) (secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", usagef("read the API token: %w", err)
	}
	if info.Mode().Perm()&forOthers != 0 {
		return "", usagef("the API token in %s can be read by others: chmod o-rwx %s", path, path)
	}
	if info.Size() > 64<<10 {
		return "", usagef("read the API token: %s is no token: %d bytes", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", usagef("read the API token: %w", err)
	}
	return fromSource(path, string(text))
}

func fromSource(source, text string) (secret, error) {
	token, err := cleanToken(text)
	if err != nil {
		return "", usagef("the API token in %s: %w", source, err)
	}
	return token, nil
}

var bearerPrefix = regexp.MustCompile(`(?i)^bearer\s+`)

// cleanToken takes off the white space and the "Bearer " that come along when a
// token is pasted.
func cleanToken(text string) (secret, error) {
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
	return secret(token), nil
}

// forOthers are the permissions that a file with a secret must not give.
const forOthers = 0o007

// checkPermissions refuses a configuration file that holds a secret and is open to
// others.
func (c *config) checkPermissions() []string {
	if c.path == "" {
		return nil
	}
	info, err := os.Stat(c.path)
	if err != nil || info.Mode().Perm()&forOthers == 0 {
		return nil
	}
	held := ""
	switch {
	case c.credentials.BearerToken != "":
		held = "the API token"
	case passwordOf(c.storage.URL) != "":
		held = "the database password"
	default:
		return nil
	}
	return []string{fmt.Sprintf("the file holds %s and can be read by others: chmod o-rwx %s", held, c.path)}
}

var keywordPassword = regexp.MustCompile(`(?i)\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)`)

// passwordOf returns the password in a libpq URL or key=value string, or "".
func passwordOf(database string) string {
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
