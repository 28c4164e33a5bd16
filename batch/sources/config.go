package sources

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// KindTips is the kind of a source whose files hold tips. Any other kind is one of names.
const KindTips = "tips"

// Kinds of names that are no type: each row's own kind decides.
const (
	KindAsset = "asset"
	KindSite  = "site"
)

// What becomes of a file on the server when it is imported.
const (
	afterKeep   = "keep"
	afterDelete = "delete"
)

// Config holds the tables [[import.source]].
type Config struct {
	Sources []Source `toml:"source"`
}

// Source is a folder on an SFTP server.
type Source struct {
	Name string `toml:"name"`
	URL  string `toml:"url"` // sftp://user@host:port/folder
	// KeyFile holds the private key. A name without a slash is that of a systemd
	// credential. Empty: the credential that is named like the source.
	KeyFile    string `toml:"key_file"`
	KnownHosts string `toml:"known_hosts"` // a file in the format of OpenSSH
	Pattern    string `toml:"pattern"`     // of names, case does not matter; empty: *.csv
	After      string `toml:"after"`       // keep or delete; empty: keep
	Kind       string `toml:"kind"`        // empty: tips
}

// WithDefaults returns the sources with what their tables leave out.
func (c Config) WithDefaults() []Source {
	all := slices.Clone(c.Sources)
	for i := range all {
		s := &all[i]
		for value, standard := range map[*string]string{&s.Pattern: "*.csv", &s.After: afterKeep, &s.Kind: KindTips, &s.KeyFile: s.Name} {
			if *value == "" {
				*value = standard
			}
		}
	}
	return all
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// Validate reports every wrong value, joined. entityTypes are the types of names.
func (c Config) Validate(entityTypes []string) error {
	var errs []error
	seen := map[string]bool{}
	for i, s := range c.WithDefaults() {
		where := fmt.Sprintf("[[import.source]] %q", s.Name)
		wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(where+" "+format, args...)) }
		if !nameForm.MatchString(s.Name) {
			where = fmt.Sprintf("[[import.source]] number %d", i+1)
			wrong("name = %q: want 1 to 64 letters, digits, - and _", s.Name)
		}
		if seen[s.Name] {
			wrong("stands twice: the name tells what was fetched from it")
		}
		seen[s.Name] = true
		if _, err := s.address(); err != nil {
			wrong("url: %v", err)
		}
		if s.KnownHosts == "" {
			wrong("known_hosts is missing: it names a file with the key of the server, as `ssh-keyscan -p PORT HOST` prints it")
		} else if !filepath.IsAbs(s.KnownHosts) {
			wrong("known_hosts = %q: want an absolute path", s.KnownHosts)
		}
		if strings.Contains(s.KeyFile, "/") && !filepath.IsAbs(s.KeyFile) || s.KeyFile == "." || s.KeyFile == ".." {
			wrong("key_file = %q: want an absolute path, or the name of a systemd credential", s.KeyFile)
		}
		if _, err := path.Match(s.Pattern, "x"); err != nil || strings.Contains(s.Pattern, "/") {
			wrong("pattern = %q: want a pattern of names such as *.csv", s.Pattern)
		}
		if s.After != afterKeep && s.After != afterDelete {
			wrong("after = %q: want keep or delete", s.After)
		}
		if kinds := append([]string{KindTips, KindAsset, KindSite}, entityTypes...); !slices.Contains(kinds, s.Kind) {
			wrong("kind = %q: want one of %s", s.Kind, strings.Join(kinds, ", "))
		}
	}
	return errors.Join(errs...)
}

// address is where a source is.
type address struct{ user, host, folder string } // host with port

func (s Source) address() (address, error) {
	const want = "want sftp://USER@HOST:PORT/FOLDER"
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "sftp" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return address{}, errors.New(want)
	}
	if _, ok := u.User.Password(); ok {
		return address{}, errors.New("it holds a password: noggin logs in with a key; " + want)
	}
	if u.User.Username() == "" {
		return address{}, errors.New("it has no user; " + want)
	}
	a := address{user: u.User.Username(), folder: u.Path}
	if a.folder == "" {
		a.folder = "."
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	a.host = joinHostPort(u.Hostname(), port)
	return a, nil
}

// Place is where the source is, for people.
func (s Source) Place() string {
	a, err := s.address()
	if err != nil {
		return s.Name
	}
	return a.user + "@" + a.host + ":" + a.folder
}

// Deletes tells whether imported files are deleted on the server.
func (s Source) Deletes() bool { return s.After == afterDelete }
