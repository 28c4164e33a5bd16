package gate

import (
	"errors"
	"fmt"
	"time"

	"noggin/storage"
)

// ErrAPIUnavailable says that a run ended because the API does not answer or the
// circuit is open. Nothing is lost; a later run continues.
var ErrAPIUnavailable = errors.New("the API is unavailable")

// ErrCredentials says that a run ended because the API rejected the token or the
// namespace.
var ErrCredentials = errors.New("the API rejected the credentials")

// CircuitOpenError says that the circuit is open. It wraps [ErrAPIUnavailable].
type CircuitOpenError struct {
	Until time.Time
}

// Error says until when no request goes out.
func (e *CircuitOpenError) Error() string {
	return fmt.Sprintf("the circuit is open until %s: the API failed too often", e.Until.Format(time.RFC3339))
}

// Unwrap makes the error an [ErrAPIUnavailable].
func (e *CircuitOpenError) Unwrap() error { return ErrAPIUnavailable }

// PausedError says that a maintenance pause holds and nothing was done.
type PausedError struct {
	Standing storage.Standing
}

// Error says why and until when.
func (e *PausedError) Error() string {
	if e.Standing.PausedUntil == nil {
		return "paused: " + e.Standing.PauseReason
	}
	return fmt.Sprintf("paused until %s: %s", e.Standing.PausedUntil.Format(time.RFC3339), e.Standing.PauseReason)
}
