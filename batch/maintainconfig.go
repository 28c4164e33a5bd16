package batch

import (
	"fmt"
	"regexp"
	"time"
)

// Maintain is the section [maintain]. Ages are such as "6 months", counted back
// from the beginning of today.
type Maintain struct {
	// ErrorsKeep is for how long processing_errors are kept.
	ErrorsKeep string `toml:"errors_keep"`
	// ResolvedHashesKeep is for how long unknown hashes are kept once resolved.
	ResolvedHashesKeep string `toml:"resolved_hashes_keep"`
	// RunsKeep is for how long runs and changes of the circuit are kept.
	RunsKeep string `toml:"runs_keep"`
	// LockTimeout bounds how long maintenance waits for a table or index.
	LockTimeout time.Duration `toml:"lock_timeout"`
	// KeepDaily, KeepWeekly and KeepMonthly say of how many days, weeks and months
	// the last backup is kept.
	KeepDaily   int `toml:"keep_daily"`
	KeepWeekly  int `toml:"keep_weekly"`
	KeepMonthly int `toml:"keep_monthly"`
}

// defaultMaintain returns the defaults; the ages are the operations manual's.
func defaultMaintain() Maintain {
	return Maintain{
		ErrorsKeep: "6 months", ResolvedHashesKeep: "3 months", RunsKeep: "1 year", LockTimeout: 10 * time.Second,
		KeepDaily: 7, KeepWeekly: 5, KeepMonthly: 12,
	}
}

// ageForm is how an age is written; PostgreSQL reads it as an interval.
var ageForm = regexp.MustCompile(`^[1-9][0-9]{0,3} ?(day|week|month|year)s?$`)

func (m Maintain) validate() []error {
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
	return errs
}
