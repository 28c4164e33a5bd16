package maintain

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"noggin/storage"
)

// Config is the section [maintain]. An age such as "6 months" is counted back from the
// beginning of today.
type Config struct {
	// ErrorsKeep is the age at which rows of processing_errors are deleted.
	ErrorsKeep string `toml:"errors_keep"`
	// ResolvedHashesKeep is the same for unknown hashes that have a name by now.
	ResolvedHashesKeep string `toml:"resolved_hashes_keep"`
	// RunsKeep is the same for runs and for changes of the circuit.
	RunsKeep string `toml:"runs_keep"`
	// LockTimeout bounds how long maintenance waits for a table or index.
	LockTimeout time.Duration `toml:"lock_timeout"`
	// KeepDaily, KeepWeekly and KeepMonthly are the numbers of days, weeks and months
	// of which the last backup is kept.
	KeepDaily   int `toml:"keep_daily"`
	KeepWeekly  int `toml:"keep_weekly"`
	KeepMonthly int `toml:"keep_monthly"`
	// VerifyURL is the libpq URL of another role, which restores backups on trial; empty
	// is noggin's own. It may hold a password, so it is never logged.
	VerifyURL string `toml:"verify_url"`
}

// DefaultConfig returns the defaults. The ages come from the operations manual.
func DefaultConfig() Config {
	return Config{
		ErrorsKeep: "6 months", ResolvedHashesKeep: "3 months", RunsKeep: "1 year", LockTimeout: 10 * time.Second,
		KeepDaily: 7, KeepWeekly: 5, KeepMonthly: 12,
	}
}

// ageForm matches an age. PostgreSQL reads the age as an interval.
var ageForm = regexp.MustCompile(`^[1-9][0-9]{0,3} ?(day|week|month|year)s?$`)

// Validate reports every wrong value, joined.
func (m Config) Validate() error {
	var errs []error
	for _, age := range []struct{ key, value string }{
		{"errors_keep", m.ErrorsKeep},
		{"resolved_hashes_keep", m.ResolvedHashesKeep},
		{"runs_keep", m.RunsKeep},
	} {
		if !ageForm.MatchString(age.value) {
			errs = append(errs, fmt.Errorf(`[maintain] %s = %q: want a number of days, weeks, months or years, such as "6 months"`, age.key, age.value))
		}
	}
	if m.LockTimeout < time.Second || m.LockTimeout > time.Hour {
		errs = append(errs, fmt.Errorf("[maintain] lock_timeout = %s: want 1s to 1h", m.LockTimeout))
	}
	for _, keep := range []struct {
		key   string
		value int
	}{
		{"keep_daily", m.KeepDaily},
		{"keep_weekly", m.KeepWeekly},
		{"keep_monthly", m.KeepMonthly},
	} {
		if keep.value < 0 || keep.value > 1000 {
			errs = append(errs, fmt.Errorf("[maintain] %s = %d: want 0 to 1000", keep.key, keep.value))
		}
	}
	if m.VerifyURL == "" {
		return errors.Join(errs...)
	}
	if _, err := (storage.Config{URL: m.VerifyURL}).DatabaseName(); err != nil {
		errs = append(errs, errors.New("[maintain] verify_url: not a libpq URL (its value is not shown: it may hold a password)"))
	}
	return errors.Join(errs...)
}
