package commands

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/api"
	"noggin/batch"
	"noggin/storage"
)

// defaultConfigPath is read when neither --config nor $NOGGIN_CONFIG names a file.
const defaultConfigPath = "/etc/noggin/config.toml"

// config is everything that can be configured: each package's own part, and the
// credentials, which only commands knows how to find.
type config struct {
	path        string // the file that was read, "" if none
	api         api.Config
	batch       batch.Config
	storage     storage.Config
	credentials credentials
}

func defaultConfig() *config {
	return &config{api: api.DefaultConfig(), batch: batch.DefaultConfig(), storage: storage.DefaultConfig()}
}

// settings lists the sections of the file. A new key is a tagged field of the
// struct that owns it; a new section is one line here.
func (c *config) settings() settings {
	s := settings{}
	s.add("", &c.batch)
	s.add("api", &c.api)
	s.add("api", &c.credentials)
	s.add("processing", &c.batch.Processing)
	s.add("retry", &c.batch.Retry)
	s.add("circuit_breaker", &c.batch.Circuit)
	s.add("database", &c.storage)
	s.add("import", &c.batch.Import)
	s.add("hashes", &c.batch.Hashes)
	s.add("archive", &c.batch.Archive)
	s.add("paths", &c.batch.Paths)
	s.add("maintain", &c.batch.Maintain)
	return s
}

// validate asks each package about its own part.
func (c *config) validate() error {
	return errors.Join(c.storage.Validate(), c.api.Validate(), c.batch.Validate())
}

// config reads the configuration that the command line and the environment ask
// for. Everything wrong with it is in the one error.
func (env *environment) config(c *cli.Context) (*config, error) {
	path, named := c.String("config"), true
	if path == "" {
		path, named = defaultConfigPath, false
	}
	cfg, err := loadConfig(path, named, os.Getenv)
	if err != nil {
		return nil, err
	}
	cfg.credentials.hide(env.err.secrets)
	env.err.secrets.add(cfg.api.Namespace)
	env.err.secrets.addPassword(passwordOf(cfg.storage.URL))
	return cfg, nil
}

// apiConfig completes the API client's configuration for a command that needs it:
// with the token, and nothing missing.
func (env *environment) apiConfig(cfg *config) (api.Config, error) {
	token, err := cfg.credentials.token()
	if err != nil {
		return api.Config{}, err
	}
	env.err.secrets.add(string(token))
	client := cfg.api
	client.BearerToken = string(token)
	client.UserAgent = "noggin/" + readVersion(env.assets.Version).Version
	if _, err := api.New(client, nil); err != nil {
		return api.Config{}, hint(usagef("the API is not configured in %s", cfg.source()), messages(err)...)
	}
	return client, nil
}

// loadConfig reads the file at path over the defaults, and the environment over
// that. A file that nobody named may be missing.
func loadConfig(path string, named bool, getenv func(string) string) (*config, error) {
	cfg := defaultConfig()
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		cfg.path = path
	case errors.Is(err, fs.ErrNotExist) && !named:
	default:
		return nil, hint(usagef("read the configuration: %w", err),
			"noggin looks for --config, then $NOGGIN_CONFIG, then "+defaultConfigPath)
	}
	var problems []string
	for _, p := range cfg.settings().decode(string(text)) {
		problems = append(problems, p.String())
	}
	problems = append(problems, cfg.checkPermissions()...)
	cfg.credentials.takeEnvironment(getenv)
	if url := getenv("NOGGIN_DATABASE_URL"); url != "" {
		cfg.storage.URL = url
	}
	if cfg.batch.Timezone == "" {
		cfg.batch.Timezone = hostZone(getenv("TZ"), "/etc/localtime")
	}
	cfg.storage.Timezone = cfg.batch.Timezone
	cfg.api.TooManyRequestsSleep = cfg.batch.Processing.TooManyRequestsSleep
	problems = append(problems, messages(cfg.validate())...)
	if len(problems) > 0 {
		return nil, hint(usagef("invalid configuration in %s", cfg.source()), problems...)
	}
	cfg.batch.Paths = cfg.batch.Paths.Resolved()
	return cfg, nil
}

// now is the time in the site's zone.
func (c *config) now() time.Time {
	now := time.Now()
	if zone, err := c.batch.Location(); err == nil {
		now = now.In(zone)
	}
	return now
}

// source says where the configuration came from, for messages.
func (c *config) source() string {
	if c.path == "" {
		return "the environment"
	}
	return c.path
}

// messages returns the texts of joined errors, one each.
func messages(err error) []string {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []string
		for _, e := range joined.Unwrap() {
			all = append(all, messages(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// hostZone returns the IANA name of the host's time zone, which the database has
// to be told: its own may be another. UTC where there is none to be found.
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
