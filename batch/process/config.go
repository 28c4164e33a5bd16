package process

import (
	"errors"
	"fmt"
	"time"

	"noggin/batch/gate"
)

// Config is the section [processing] without the keys of [api.Config].
type Config struct {
	// AttachmentPause is the pause between the attachments of one record.
	AttachmentPause time.Duration `toml:"attachment_pause"`
	// TooManyRequestsSleep is how long a 429 without Retry-After pauses every run.
	TooManyRequestsSleep time.Duration `toml:"too_many_requests_sleep_time"`
	// Concurrency is the most requests in flight, records and media together.
	Concurrency int `toml:"concurrency"`
	// MaxRequestsPerSecond limits all runs on all hosts together; 0 is no limit.
	MaxRequestsPerSecond float64 `toml:"max_requests_per_second"`
	// ClaimLease is how long a claim holds unless its run renews it.
	ClaimLease time.Duration `toml:"claim_lease"`
	// StopGrace is how long a run that is told to stop may finish its records in hand.
	StopGrace time.Duration `toml:"stop_grace"`
}

// Retry is the section [retry].
type Retry struct {
	// MaxAttempts is the number of counted failures that makes a record permanently
	// failed.
	MaxAttempts int `toml:"max_retry_attempts"`
	// GiveUpAfter is how long a record must fail as well before it is permanently
	// failed, if its failures may pass.
	GiveUpAfter time.Duration `toml:"give_up_after"`
	// BackoffMultiplier grows the wait: min(60 s × multiplier^retry_count, 1 h).
	BackoffMultiplier float64 `toml:"retry_backoff_multiplier"`
	// TipsPerBatch is the number of records that a run takes; --batch overrides it.
	TipsPerBatch int `toml:"tips_per_batch"`
}

// Refresh is the section [refresh].
type Refresh struct {
	// After are the times after which a complete record is asked for again, counted from
	// when its version was stored. Empty: never.
	After []time.Duration `toml:"after"`
}

// DefaultRefresh returns the defaults of [refresh].
func DefaultRefresh() Refresh {
	const day = 24 * time.Hour
	return Refresh{After: []time.Duration{day, 7 * day, 30 * day}}
}

// Validate returns an error for each wrong value, joined.
func (r Refresh) Validate() error {
	var errs []error
	for i, after := range r.After {
		errs = append(errs, gate.Within("[refresh] after", after, time.Minute, 10*365*24*time.Hour))
		if i > 0 && after <= r.After[i-1] {
			errs = append(errs, fmt.Errorf("[refresh] after = %v: %v does not follow %v: want each time later than the one before", r.After, after, r.After[i-1]))
		}
	}
	return errors.Join(errs...)
}

// DefaultConfig returns the defaults of [processing].
func DefaultConfig() Config {
	return Config{
		TooManyRequestsSleep: time.Minute,
		Concurrency:          8,
		ClaimLease:           2 * time.Minute,
		StopGrace:            4*time.Minute + 30*time.Second,
	}
}

// DefaultRetry returns the defaults of [retry], from the operations manual.
func DefaultRetry() Retry {
	return Retry{MaxAttempts: 5, GiveUpAfter: 24 * time.Hour, BackoffMultiplier: 2, TipsPerBatch: 50}
}

// Validate returns an error for each wrong value, joined.
func (c Config) Validate() error {
	return errors.Join(
		gate.Within("[processing] attachment_pause", c.AttachmentPause, 0, time.Hour),
		gate.Within("[processing] too_many_requests_sleep_time", c.TooManyRequestsSleep, time.Second, 24*time.Hour),
		gate.Within("[processing] concurrency", c.Concurrency, 1, 1000),
		gate.Within("[processing] max_requests_per_second", c.MaxRequestsPerSecond, 0, 100_000),
		gate.Within("[processing] claim_lease", c.ClaimLease, time.Second, time.Hour),
		gate.Within("[processing] stop_grace", c.StopGrace, 0, time.Hour),
	)
}

// Validate returns an error for each wrong value, joined.
func (r Retry) Validate() error {
	return errors.Join(
		gate.Within("[retry] max_retry_attempts", r.MaxAttempts, 1, 1000),
		gate.Within("[retry] give_up_after", r.GiveUpAfter, 0, 365*24*time.Hour),
		gate.Within("[retry] retry_backoff_multiplier", r.BackoffMultiplier, 1, 100),
		gate.Within("[retry] tips_per_batch", r.TipsPerBatch, 1, 100_000),
	)
}
