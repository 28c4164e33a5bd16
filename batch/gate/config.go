package gate

import (
	"errors"
	"fmt"
	"time"
)

// Circuit is the section [circuit_breaker].
type Circuit struct {
	// FailureThresholdPercent is the share of the last SampleSize requests whose
	// failure opens the circuit.
	FailureThresholdPercent int `toml:"failure_threshold_percent"`
	// RecoveryThresholdPercent is the share of probes that may fail when a half-open
	// circuit closes.
	RecoveryThresholdPercent int `toml:"recovery_threshold_percent"`
	// OpenDuration is how long the circuit stays open before it is half-open.
	OpenDuration time.Duration `toml:"circuit_open_duration_seconds"`
	// SampleSize is the number of requests that decide, and the number of probes.
	SampleSize int `toml:"sample_size"`
}

// DefaultCircuit returns the defaults of [circuit_breaker], from the operations manual.
func DefaultCircuit() Circuit {
	return Circuit{FailureThresholdPercent: 50, RecoveryThresholdPercent: 20, OpenDuration: 5 * time.Minute, SampleSize: 20}
}

// Validate returns an error for each wrong value, joined.
func (c Circuit) Validate() error {
	return errors.Join(
		Within("[circuit_breaker] failure_threshold_percent", c.FailureThresholdPercent, 1, 100),
		Within("[circuit_breaker] recovery_threshold_percent", c.RecoveryThresholdPercent, 0, 99),
		Within("[circuit_breaker] circuit_open_duration_seconds", c.OpenDuration, time.Second, 24*time.Hour),
		Within("[circuit_breaker] sample_size", c.SampleSize, 1, 1000),
	)
}

// Within returns an error unless the value is from least to most. NaN is not.
func Within[T int | float64 | time.Duration](key string, value, least, most T) error {
	if value >= least && value <= most {
		return nil
	}
	return fmt.Errorf("%s = %v: want %v to %v", key, value, least, most)
}
