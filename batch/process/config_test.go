package process

import (
	"math"
	"strings"
	"testing"
	"time"
)

// bounds checks that a key takes the least and the most, and nothing beyond.
func bounds[T int | float64 | time.Duration](t *testing.T, key string, least, most T, validate func(T) error) {
	t.Helper()
	for value, ok := range map[T]bool{least: true, most: true, least - 1: false, most + 1: false} {
		if err := validate(value); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), key+" = ") {
			t.Errorf("%s = %v: %v", key, value, err)
		}
	}
}

// A value beyond its bounds would let a run stand still, or never end.
func TestTheConfigurationKeepsWithinItsBounds(t *testing.T) {
	t.Parallel()
	c, r := DefaultConfig(), DefaultRetry()
	const day = 24 * time.Hour
	bounds(t, "attachment_pause", 0, time.Hour, func(v time.Duration) error { c := c; c.AttachmentPause = v; return c.Validate() })
	bounds(t, "too_many_requests_sleep_time", time.Second, day, func(v time.Duration) error { c := c; c.TooManyRequestsSleep = v; return c.Validate() })
	bounds(t, "concurrency", 1, 1000, func(v int) error { c := c; c.Concurrency = v; return c.Validate() })
	bounds(t, "max_requests_per_second", 0, 100_000, func(v float64) error { c := c; c.MaxRequestsPerSecond = v; return c.Validate() })
	bounds(t, "claim_lease", time.Second, time.Hour, func(v time.Duration) error { c := c; c.ClaimLease = v; return c.Validate() })
	bounds(t, "stop_grace", 0, time.Hour, func(v time.Duration) error { c := c; c.StopGrace = v; return c.Validate() })
	bounds(t, "max_retry_attempts", 1, 1000, func(v int) error { r := r; r.MaxAttempts = v; return r.Validate() })
	bounds(t, "give_up_after", 0, 365*day, func(v time.Duration) error { r := r; r.GiveUpAfter = v; return r.Validate() })
	bounds(t, "retry_backoff_multiplier", 1, 100, func(v float64) error { r := r; r.BackoffMultiplier = v; return r.Validate() })
	bounds(t, "tips_per_batch", 1, 100_000, func(v int) error { r := r; r.TipsPerBatch = v; return r.Validate() })
	bounds(t, "[refresh] after", time.Minute, 3650*day, func(v time.Duration) error { return Refresh{After: []time.Duration{v}}.Validate() })
	if c.MaxRequestsPerSecond = math.NaN(); c.Validate() == nil {
		t.Error("a rate that is no number is taken")
	}
	for text, after := range map[string][]time.Duration{"twice the same": {day, day}, "back": {day, 3 * day, 2 * day}} {
		if err := (Refresh{After: after}).Validate(); err == nil || !strings.Contains(err.Error(), "does not follow") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := (Refresh{}).Validate(); err != nil {
		t.Errorf("records that are never asked for again: %v", err)
	}
}
