package config

import (
	"math"
	"strings"
	"testing"
	"time"
)

// Every number that can be configured has its bounds here: a value beyond them would let a
// run stand still, never end, or fill memory or disk.
func TestEveryNumberKeepsWithinItsBounds(t *testing.T) {
	t.Parallel()
	const second, hour, day = float64(time.Second), float64(time.Hour), 24 * float64(time.Hour)
	unbounded := math.Inf(1)
	bounds := map[string]struct{ least, most float64 }{
		"[database] pool_max_connections": {2, 1000},
		"[database] connect_timeout":      {second, unbounded},
		"[database] statement_timeout":    {second, unbounded},
		"[database] retry_for":            {0, unbounded},

		"[api] timeout": {second / 10, hour},

		"[processing] attachment_pause":             {0, hour},
		"[processing] max_api_retries":              {0, 100},
		"[processing] api_backoff_factor":           {1, 100},
		"[processing] api_max_backoff":              {second, hour},
		"[processing] too_many_requests_sleep_time": {second, day},
		"[processing] concurrency":                  {1, 1000},
		"[processing] max_requests_per_second":      {0, 100_000},
		"[processing] claim_lease":                  {second, hour},
		"[processing] stop_grace":                   {0, hour},
		"[processing] max_payload_bytes":            {1 << 10, 1 << 30},
		"[processing] payload_memory":               {16 << 20, 1 << 40},
		"[processing] max_attachment_bytes":         {1 << 10, unbounded},
		"[processing] max_transfer_time":            {second, day},

		"[retry] max_retry_attempts":       {1, 1000},
		"[retry] give_up_after":            {0, 365 * day},
		"[retry] retry_backoff_multiplier": {1, 100},
		"[retry] tips_per_batch":           {1, 100_000},

		"[circuit_breaker] failure_threshold_percent":     {1, 100},
		"[circuit_breaker] recovery_threshold_percent":    {0, 99},
		"[circuit_breaker] circuit_open_duration_seconds": {second, day},
		"[circuit_breaker] sample_size":                   {1, 1000},

		"[import] settle":         {0, day},
		"[copy] concurrency":      {1, 64},
		"[paths] reserve":         {0, unbounded},
		"[maintain] lock_timeout": {second, hour},
		"[maintain] keep_daily":   {0, 1000},
		"[maintain] keep_weekly":  {0, 1000},
		"[maintain] keep_monthly": {0, 1000},
	}
	for key := range Default().settings() {
		cfg := Default()
		field := cfg.settings()[key]
		if !field.CanInt() && !field.CanFloat() {
			continue
		}
		bound, ok := bounds[key.String()]
		if !ok {
			t.Errorf("%s is a number without bounds in this test", key)
			continue
		}
		// try sets the number, or the next one in a direction.
		try := func(number float64, direction int, ok bool) {
			t.Helper()
			switch {
			case field.CanFloat() && direction != 0:
				field.SetFloat(math.Nextafter(number, math.Inf(direction)))
			case field.CanFloat():
				field.SetFloat(number)
			case math.IsInf(number, 0):
				field.SetInt(math.MaxInt64)
			default:
				field.SetInt(int64(number) + int64(direction))
			}
			if err := cfg.validate(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), key.String()+" = ") {
				t.Errorf("%s = %v: %v", key, field.Interface(), err)
			}
		}
		try(bound.least, 0, true)
		try(bound.least, -1, false)
		try(bound.most, 0, true)
		if !math.IsInf(bound.most, 0) {
			try(bound.most, 1, false)
		}
		delete(bounds, key.String())
	}
	for key := range bounds {
		t.Errorf("%s is no number of the configuration", key)
	}
}
