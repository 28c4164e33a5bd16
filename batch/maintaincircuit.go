package batch

import (
	"context"
	"time"

	"noggin/storage"
)

// CircuitReset tells what resetting the circuit found.
type CircuitReset struct {
	Before      string     `json:"state_before"`
	FailureRate float64    `json:"failure_rate_percent"` // of the recent requests, which are forgotten
	PausedUntil *time.Time `json:"requests_paused_until"`
}

// ResetCircuit closes the circuit and forgets the recent requests, as
// `noggin maintain reset-circuit`. A pause that a 429 asked for stays.
func ResetCircuit(ctx context.Context, db *storage.DB, run int64, reason string) (CircuitReset, error) {
	var r CircuitReset
	_, now, err := db.StepCircuit(ctx, run, func(s storage.Circuit, _ time.Time) (storage.Circuit, []storage.Transition) {
		r = CircuitReset{Before: s.State, FailureRate: failureRate(s), PausedUntil: s.PausedUntil}
		return resetCircuit(s, reason)
	})
	if r.PausedUntil != nil && !r.PausedUntil.After(now) {
		r.PausedUntil = nil
	}
	return r, err
}
