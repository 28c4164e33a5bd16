package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"noggin/api"
	"noggin/batch"
	"noggin/batch/sources"
	"noggin/commands/cmdline"
	"noggin/storage"
)

// DefaultPath is read when neither --config nor $NOGGIN_CONFIG names a file.
const DefaultPath = "/etc/noggin/config.toml"

// Config is everything that can be configured: each package's own part, and the
// credentials.
type Config struct {
	Path        string // the file that was read, "" if none
	API         api.Config
	Batch       batch.Config
	Storage     storage.Config
	Notify      api.Notify
	Credentials Credentials
	lines       map[settingKey]int    // of the keys that the file sets
	overridden  map[settingKey]string // keys that something else set: what
	CopyKeys    CopyKeys
}

// Default is the configuration without a file and an environment.
func Default() *Config {
	return &Config{API: api.DefaultConfig(), Batch: batch.DefaultConfig(), Storage: storage.DefaultConfig()}
}

// settings lists the sections of the file. A new key is a tagged field of the
// struct that owns it; a new section is one line here.
func (c *Config) settings() settings {
	s := settings{}
	s.add("", &c.Batch)
	s.add("api", &c.API)
	s.add("api", &c.Credentials)
	s.add("processing", &c.Batch.Processing)
	s.add("retry", &c.Batch.Retry)
	s.add("circuit_breaker", &c.Batch.Circuit)
	s.add("refresh", &c.Batch.Refresh)
	s.add("database", &c.Storage)
	s.add("import", &c.Batch.Import)
	s.add("import", &c.Batch.Sources)
	s.add("hashes", &c.Batch.Hashes)
	s.add("archive", &c.Batch.Archive)
	s.add("copy", &c.Batch.Copy)
	s.add("copy", &c.CopyKeys)
	s.add("paths", &c.Batch.Paths)
	s.add("maintain", &c.Batch.Maintain)
	s.add("notify", &c.Notify)
	s.add("seal", &c.Batch.Seal)
	return s
}

// validate asks each package about its own part.
func (c *Config) validate() error {
	return errors.Join(c.Storage.Validate(), c.API.Validate(), c.Notify.Validate(), c.Batch.Validate())
}

// Hide keeps everything confidential out of the logs.
func (c *Config) Hide(hidden *Secrets) {
	c.Credentials.hide(hidden)
	hidden.Add(c.CopyKeys.environment.Secret)
	hidden.Add(c.CopyKeys.environment.Session)
	hidden.Add(c.API.Namespace)
	hidden.addURL(c.Notify.HeartbeatURL)
	hidden.addURL(c.Notify.WebhookURL)
	hidden.addPassword(passwordOf(c.Storage.URL))
	hidden.addPassword(passwordOf(c.Batch.Maintain.VerifyURL))
}

// Client returns the complete configuration of the API client. Its token is hidden
// from then on.
func (c *Config) Client(hidden *Secrets, version string) (api.Config, error) {
	token, err := c.Credentials.Token()
	if err != nil {
		return api.Config{}, err
	}
	hidden.Add(string(token))
	client := c.API
	client.BearerToken = string(token)
	client.UserAgent = "noggin/" + version
	if _, err := api.New(client, nil); err != nil {
		return api.Config{}, cmdline.Hint(cmdline.Usagef("%w in %s", ErrNoAPI, c.Source()), Messages(err)...)
	}
	return client, nil
}

// Sources returns the sources of exports, with the files of their keys. A key without a
// path is a credential of the service.
func (c *Config) Sources() []sources.Source {
	all := c.Batch.Sources.WithDefaults()
	for i, s := range all {
		if !filepath.IsAbs(s.KeyFile) && c.Credentials.directory != "" {
			all[i].KeyFile = filepath.Join(c.Credentials.directory, s.KeyFile)
		}
	}
	return all
}

// CredentialFolder is systemd's folder of the service's credentials; "": there is none.
func (c *Config) CredentialFolder() string { return c.Credentials.directory }

// Load reads the file at path over the defaults, and the environment over the file.
// The file may be missing unless named.
func Load(path string, named bool, getenv func(string) string) (*Config, error) {
	cfg := Default()
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		cfg.Path = path
	case errors.Is(err, fs.ErrNotExist) && !named:
	case errors.Is(err, fs.ErrPermission):
		return nil, cmdline.Usagef("read the configuration: this user may not read %s: %w", path, fs.ErrPermission)
	default:
		return nil, cmdline.Hint(cmdline.Usagef("read the configuration: %w", err),
			"noggin looks for --config, then $NOGGIN_CONFIG, then "+DefaultPath)
	}
	var problems []string
	lines, found := cfg.settings().read(string(text))
	for _, p := range found {
		problems = append(problems, p.String())
	}
	cfg.lines, cfg.overridden = lines, map[settingKey]string{}
	problems = append(problems, cfg.checkPermissions()...)
	cfg.Credentials.takeEnvironment(getenv)
	cfg.CopyKeys.takeEnvironment(getenv)
	if url := getenv("NOGGIN_DATABASE_URL"); url != "" {
		cfg.Storage.URL, cfg.overridden[settingKey{"database", "url"}] = url, "$NOGGIN_DATABASE_URL"
	}
	if cfg.Batch.Timezone == "" {
		cfg.Batch.Timezone = hostZone(getenv("TZ"), "/etc/localtime")
		if cfg.overridden[settingKey{"", "timezone"}] = "the host"; getenv("TZ") != "" {
			cfg.overridden[settingKey{"", "timezone"}] = "$TZ"
		}
	}
	cfg.Storage.Timezone = cfg.Batch.Timezone
	cfg.API.TooManyRequestsSleep = cfg.Batch.Processing.TooManyRequestsSleep
	problems = append(problems, Messages(cfg.validate())...)
	if len(problems) > 0 {
		return nil, cmdline.Hint(cmdline.Usagef("invalid configuration in %s", cfg.Source()), problems...)
	}
	cfg.Batch.Paths = cfg.Batch.Paths.Resolved()
	return cfg, nil
}

// LoadLeniently returns what can be read of the file at path, over the defaults, and of
// the environment.
func LoadLeniently(path string, getenv func(string) string) *Config {
	cfg := Default()
	if text, err := os.ReadFile(path); err == nil {
		cfg.settings().decode(string(text))
	}
	cfg.Credentials.takeEnvironment(getenv)
	cfg.CopyKeys.takeEnvironment(getenv)
	if url := getenv("NOGGIN_DATABASE_URL"); url != "" {
		cfg.Storage.URL = url
	}
	return cfg
}

// Now is the time in the site's zone.
func (c *Config) Now() time.Time {
	now := time.Now()
	if zone, err := c.Batch.Location(); err == nil {
		now = now.In(zone)
	}
	return now
}

// Source says where the configuration came from, for messages.
func (c *Config) Source() string {
	if c.Path == "" {
		return "the environment"
	}
	return c.Path
}

// Messages returns the texts of joined errors, one each.
func Messages(err error) []string {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []string
		for _, e := range joined.Unwrap() {
			all = append(all, Messages(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// HostZone is the time zone that holds where the file names none.
func HostZone(getenv func(string) string) string { return hostZone(getenv("TZ"), "/etc/localtime") }

// hostZone returns the IANA name of the host's time zone, UTC when there is none. The
// database has to be told: its own zone may differ.
func hostZone(tz, localtime string) string {
	name := strings.TrimPrefix(tz, ":")
	if name == "" {
		target, _ := filepath.EvalSymlinks(localtime) // none: UTC, as in Go itself
		_, name, _ = strings.Cut(target, "/zoneinfo/")
	}
	if _, err := time.LoadLocation(name); err != nil || name == "" || name == "Local" {
		return "UTC"
	}
	return name
}
