package batch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Config is how batch works. The tags are the keys of the configuration file; a
// tag names the section too where the field's struct does not.
type Config struct {
	// Timezone is the IANA name of the site's zone, for "today" and for windows;
	// empty is the host's own.
	Timezone   string `toml:"timezone"`
	Processing Processing
	Retry      Retry
	Circuit    Circuit
	Import     Import
	Hashes     Hashes
	Archive    Archive
	Paths      Paths
	Maintain   Maintain
	// ObjectTypes add forms to the built-in ones, or change them.
	ObjectTypes []ObjectType `toml:"object_type"`
}

// Processing is the section [processing], as far as it is not the API client's.
type Processing struct {
	// AttachmentPause is waited between the attachments of one record.
	AttachmentPause time.Duration `toml:"attachment_pause"`
	// TooManyRequestsSleep is how long a 429 without Retry-After pauses every run.
	TooManyRequestsSleep time.Duration `toml:"too_many_requests_sleep_time"`
	// Concurrency is the most requests in flight, records and media together.
	Concurrency int `toml:"concurrency"`
	// MaxRequestsPerSecond bounds all runs on all hosts together; 0 is no limit.
	MaxRequestsPerSecond float64 `toml:"max_requests_per_second"`
	// ClaimLease is how long a claim holds unless its run renews it.
	ClaimLease time.Duration `toml:"claim_lease"`
	// StopGrace is how long a run that was told to stop may finish what it has in
	// hand.
	StopGrace time.Duration `toml:"stop_grace"`
}

// Retry is the section [retry].
type Retry struct {
	// MaxAttempts is how many counted failures make a record permanently failed.
	MaxAttempts int `toml:"max_retry_attempts"`
	// BackoffMultiplier makes each wait longer than the last:
	// min(60 s × multiplier^retry_count, 1 h).
	BackoffMultiplier float64 `toml:"retry_backoff_multiplier"`
	// TipsPerBatch is how many records a run takes unless --batch says otherwise.
	TipsPerBatch int `toml:"tips_per_batch"`
}

// Circuit is the section [circuit_breaker].
type Circuit struct {
	// FailureThresholdPercent of the last SampleSize requests failing opens it.
	FailureThresholdPercent int `toml:"failure_threshold_percent"`
	// RecoveryThresholdPercent is the share of half-open probes that may fail and
	// the circuit still closes.
	RecoveryThresholdPercent int `toml:"recovery_threshold_percent"`
	// OpenDuration is how long it stays open before probes are let through.
	OpenDuration time.Duration `toml:"circuit_open_duration_seconds"`
	// SampleSize is the number of requests that are judged, and of probes.
	SampleSize int `toml:"sample_size"`
}

// Import is the section [import].
type Import struct {
	// Settle is how long a file of the input folder must have been left alone
	// before it is read.
	Settle time.Duration `toml:"settle"`
	// DefaultObjectType is the code of the form of a file that does not tell.
	DefaultObjectType string `toml:"default_object_type"`
}

// Archive is the section [archive].
type Archive struct {
	// AfterCreate is a shell command that gets the path of every new archive as $1
	// before anything is removed: a copy to another place. Its failure keeps
	// everything.
	AfterCreate string `toml:"after_create"`
}

// Paths is the section [paths].
type Paths struct {
	Input     string `toml:"input"`
	Processed string `toml:"processed"` // empty: {input}/processed
	Error     string `toml:"error"`     // empty: {input}/error
	Output    string `toml:"output"`
	Archive   string `toml:"archive"`
	Backups   string `toml:"backups"`
	Reports   string `toml:"reports"`
}

// Resolved returns the paths with those that follow from another filled in.
func (p Paths) Resolved() Paths {
	if p.Processed == "" {
		p.Processed = filepath.Join(p.Input, "processed")
	}
	if p.Error == "" {
		p.Error = filepath.Join(p.Input, "error")
	}
	return p
}

// DefaultConfig returns the defaults; those that the operations manual names are
// its own.
func DefaultConfig() Config {
	return Config{
		Processing: Processing{
			TooManyRequestsSleep: time.Minute,
			Concurrency:          8,
			ClaimLease:           2 * time.Minute,
			StopGrace:            4*time.Minute + 30*time.Second,
		},
		Retry:    Retry{MaxAttempts: 5, BackoffMultiplier: 2, TipsPerBatch: 50},
		Circuit:  Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: 5 * time.Minute, SampleSize: 20},
		Import:   Import{Settle: time.Minute, DefaultObjectType: "LCD"},
		Hashes:   defaultHashes(),
		Maintain: defaultMaintain(),
		Paths: Paths{
			Input:   "/mnt/data/noggin/input",
			Output:  "/mnt/data/noggin/output",
			Archive: "/mnt/data/noggin/archive",
			Backups: "/mnt/data/noggin/backups/database",
			Reports: "/mnt/data/noggin/reports",
		},
	}
}

// Location returns the site's time zone.
func (c Config) Location() (*time.Location, error) {
	if c.Timezone == "" {
		return time.Local, nil
	}
	return time.LoadLocation(c.Timezone)
}

// Validate reports every wrong value, joined; each names its key, the value and
// what is allowed.
func (c Config) Validate() error {
	var errs []error
	if _, err := c.Location(); err != nil {
		errs = append(errs, fmt.Errorf("timezone = %q: want an IANA name such as Australia/Perth", c.Timezone))
	}
	between := func(key string, value, least, most int) {
		if value < least || value > most {
			errs = append(errs, fmt.Errorf("%s = %d: want %d to %d", key, value, least, most))
		}
	}
	within := func(key string, value, least, most time.Duration) {
		if value < least || value > most {
			errs = append(errs, fmt.Errorf("%s = %s: want %s to %s", key, value, least, most))
		}
	}
	p, r, b := c.Processing, c.Retry, c.Circuit
	within("[processing] attachment_pause", p.AttachmentPause, 0, time.Hour)
	within("[processing] too_many_requests_sleep_time", p.TooManyRequestsSleep, time.Second, 24*time.Hour)
	between("[processing] concurrency", p.Concurrency, 1, 1000)
	if !(p.MaxRequestsPerSecond >= 0 && p.MaxRequestsPerSecond <= 100_000) { // refuses NaN too
		errs = append(errs, fmt.Errorf("[processing] max_requests_per_second = %g: want 0 (no limit) to 100000", p.MaxRequestsPerSecond))
	}
	within("[processing] claim_lease", p.ClaimLease, time.Second, time.Hour)
	within("[processing] stop_grace", p.StopGrace, 0, time.Hour)
	between("[retry] max_retry_attempts", r.MaxAttempts, 1, 1000)
	if !(r.BackoffMultiplier >= 1 && r.BackoffMultiplier <= 100) {
		errs = append(errs, fmt.Errorf("[retry] retry_backoff_multiplier = %g: want 1 to 100", r.BackoffMultiplier))
	}
	between("[retry] tips_per_batch", r.TipsPerBatch, 1, 100_000)
	between("[circuit_breaker] failure_threshold_percent", b.FailureThresholdPercent, 1, 100)
	between("[circuit_breaker] recovery_threshold_percent", b.RecoveryThresholdPercent, 0, 99)
	within("[circuit_breaker] circuit_open_duration_seconds", b.OpenDuration, time.Second, 24*time.Hour)
	between("[circuit_breaker] sample_size", b.SampleSize, 1, 1000)
	within("[import] settle", c.Import.Settle, 0, 24*time.Hour)
	errs = append(errs, c.Paths.validate()...)
	errs = append(errs, c.Maintain.validate()...)
	types, err := c.Forms()
	if err == nil {
		errs = append(errs, c.Hashes.validate(types.EntityTypes())...)
	}
	if err != nil {
		errs = append(errs, err)
	} else if _, ok := types.ByCode(c.Import.DefaultObjectType); !ok {
		errs = append(errs, fmt.Errorf("[import] default_object_type = %q: want one of %s", c.Import.DefaultObjectType, strings.Join(types.Codes(), ", ")))
	}
	return errors.Join(errs...)
}

// Forms returns the built-in forms with what the configuration adds and changes.
func (c Config) Forms() (*ObjectTypes, error) {
	return NewObjectTypes(DefaultObjectTypes(), c.ObjectTypes)
}

// place is a folder of the section [paths].
type place struct{ key, path string }

func (p Paths) places() []place {
	return []place{
		{"input", p.Input},
		{"processed", p.Processed},
		{"error", p.Error},
		{"output", p.Output},
		{"archive", p.Archive},
		{"backups", p.Backups},
		{"reports", p.Reports},
	}
}

// validate wants absolute paths: a timer's working directory is not a shell's.
func (p Paths) validate() []error {
	var errs []error
	p = p.Resolved()
	for _, at := range p.places() {
		if !filepath.IsAbs(at.path) {
			errs = append(errs, fmt.Errorf("[paths] %s = %q: want an absolute path", at.key, at.path))
		}
		if (at.key == "processed" || at.key == "error") && filepath.Clean(at.path) == filepath.Clean(p.Input) {
			errs = append(errs, fmt.Errorf("[paths] %s = %q: want another folder than input, where it would be imported again", at.key, at.path))
		}
	}
	return errs
}
