package storage

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// defaultSchema is the schema whose name stands in every SQL text.
const defaultSchema = "noggin_schema"

// Config says how to reach the database.
type Config struct {
	// URL is a libpq URL or key=value string. libpq's PG* variables fill what it
	// leaves out. It may hold a password, so it is never logged.
	URL string `toml:"url"`
	// Schema holds all tables of noggin.
	Schema string `toml:"schema"`
	// MaxConnections bounds the pool of one process.
	MaxConnections int `toml:"pool_max_connections"`
	// ConnectTimeout bounds one attempt to connect.
	ConnectTimeout time.Duration `toml:"connect_timeout"`
	// StatementTimeout bounds one statement. Maintenance, exports and migrations
	// have no bound.
	StatementTimeout time.Duration `toml:"statement_timeout"`
	// LockTimeout bounds how long a statement waits for a lock; 0 is a third of
	// RetryFor. commands sets it for maintenance, [Config.ForRuns] for runs.
	LockTimeout time.Duration `toml:"-"`
	// Patience bounds an operation with all its tries; 0 is no bound of its own.
	// [Config.ForRuns] sets it.
	Patience time.Duration `toml:"-"`
	// RetryFor is how long a command tries to reconnect before it ends with exit
	// code 4.
	RetryFor time.Duration `toml:"retry_for"`
	// Timezone is the IANA name of the site's zone: "today" in every query.
	// commands fills it from the top-level key of the same name.
	Timezone string `toml:"-"`

	silence   time.Duration // 0: [silence]
	signEvery time.Duration // 0: [signEvery]
	plain     bool          // sessions keep the role's own search_path and zone
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Schema:           defaultSchema,
		MaxConnections:   10,
		ConnectTimeout:   10 * time.Second,
		StatementTimeout: time.Minute,
		RetryFor:         30 * time.Second,
	}
}

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Validate reports every wrong value, joined. Each error names the key, the value
// and what is allowed, but never the URL, which may hold a password.
func (c Config) Validate() error {
	var errs []error
	if !schemaName.MatchString(c.Schema) {
		errs = append(errs, fmt.Errorf("[database] schema = %q: want a lower-case name of letters, digits and _, at most 63 long", c.Schema))
	}
	if c.MaxConnections < 2 || c.MaxConnections > 1000 {
		errs = append(errs, fmt.Errorf("[database] pool_max_connections = %d: want 2 to 1000", c.MaxConnections))
	}
	if c.ConnectTimeout < time.Second {
		errs = append(errs, fmt.Errorf("[database] connect_timeout = %s: want at least 1s", c.ConnectTimeout))
	}
	if c.StatementTimeout < time.Second {
		errs = append(errs, fmt.Errorf("[database] statement_timeout = %s: want at least 1s", c.StatementTimeout))
	}
	if c.RetryFor < 0 {
		errs = append(errs, fmt.Errorf("[database] retry_for = %s: want 0 or more", c.RetryFor))
	}
	if _, err := c.libpq(); err != nil && !errors.Is(err, errURL) {
		errs = append(errs, err)
	} else if err != nil {
		errs = append(errs, errors.New("[database] url: not a libpq URL such as postgres://noggin@/noggin_db?host=/run/postgresql (its value is not shown: it may hold a password)"))
	}
	return errors.Join(errs...)
}
