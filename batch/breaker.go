package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"noggin/storage"
)

// CircuitOpenError says that the circuit is, or became, open. It wraps
// [ErrAPIUnavailable].
type CircuitOpenError struct {
	Until time.Time
}

// Error tells until when nothing is requested.
func (e *CircuitOpenError) Error() string {
	return fmt.Sprintf("the circuit is open until %s: the API failed too often", e.Until.Format(time.RFC3339))
}

// Unwrap makes the error an [ErrAPIUnavailable].
func (e *CircuitOpenError) Unwrap() error { return ErrAPIUnavailable }

// flushEvery is how often a run tells the database how its requests went, and
// learns what other runs saw.
const flushEvery = time.Second / 4

// breaker is one run's view of the circuit in the database.
type breaker struct {
	*Processor
	run  int64
	cfg  Circuit
	stop func(error) // ends the run and its requests

	mu      sync.Mutex
	row     storage.Circuit
	since   time.Time      // when the row's generation was seen first
	ended   []requestEnded // since the last flush
	flushMu sync.Mutex
	wake    chan struct{}
}

func newBreaker(p *Processor, run int64, standing storage.Standing, stop func(error)) *breaker {
	row := standing.Circuit
	row.PausedUntil = onOurClock(row.PausedUntil, standing.Now)
	return &breaker{Processor: p, run: run, cfg: p.Config.Circuit, row: row, since: time.Now(), stop: stop, wake: make(chan struct{}, 1)}
}

// state returns the circuit as last seen.
func (b *breaker) state() storage.Circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row
}

// admit tells whether a request may go out: always while closed, with a probe while
// half-open; when there is none left, the others' verdict is to be waited for.
func (b *breaker) admit(ctx context.Context) (granted bool, err error) {
	if b.state().State == circuitClosed {
		return true, nil
	}
	row, err := b.change(ctx, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		s, transitions := b.cfg.step(s, now)
		s, granted = b.cfg.lease(s, now)
		return s, transitions
	})
	if err == nil && row.State == circuitOpen {
		err = b.openError(row)
		b.stop(err)
	}
	return err == nil && (granted || row.State == circuitClosed), err
}

func (b *breaker) openError(row storage.Circuit) error {
	e := &CircuitOpenError{}
	if row.OpenUntil != nil {
		e.Until = *row.OpenUntil
	}
	return e
}

// observe notes how a request ended that was admitted took ago; an unused one says
// nothing. A failure is reported at once, and while half-open every probe: others wait
// for the verdict. That all is well can wait for the next flush.
func (b *breaker) observe(failed, unused bool, took time.Duration) {
	b.mu.Lock()
	r := requestEnded{generation: b.row.Generation, failed: failed, unused: unused}
	if took > time.Since(b.since) {
		r.generation-- // any but the present one
	}
	b.ended = append(b.ended, r)
	soon := failed || b.row.State == circuitHalfOpen
	b.mu.Unlock()
	if soon {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// loop flushes until ctx ends, and once more then.
func (b *breaker) loop(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.wake:
		}
		if err := b.flush(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrUnavailable) {
			b.stop(err)
		}
	}
}

// flush tells the database what ended since the last time and takes over its row.
func (b *breaker) flush(ctx context.Context) error {
	b.flushMu.Lock()
	defer b.flushMu.Unlock()
	b.mu.Lock()
	ended := b.ended
	b.ended = nil
	b.mu.Unlock()
	if len(ended) == 0 {
		s, err := b.Standing(ctx)
		if err == nil {
			b.see(s.Circuit, s.Now)
		}
		return err
	}
	_, err := b.change(ctx, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		return b.cfg.observe(s, ended, now)
	})
	if err != nil { // told the next time
		b.mu.Lock()
		b.ended = append(ended, b.ended...)
		b.mu.Unlock()
	}
	return err
}

func (b *breaker) change(ctx context.Context, step func(storage.Circuit, time.Time) (storage.Circuit, []storage.Transition)) (storage.Circuit, error) {
	row, now, err := b.DB.StepCircuit(ctx, b.run, step)
	if err == nil {
		b.see(row, now)
	}
	return row, err
}

// see takes over what the database says, its times put on this host's clock. What
// was read before a change that is already known is old news.
func (b *breaker) see(row storage.Circuit, now time.Time) {
	row.PausedUntil = onOurClock(row.PausedUntil, now)
	b.mu.Lock()
	changed := row.Generation > b.row.Generation
	if changed {
		b.since = time.Now()
	}
	if row.Generation >= b.row.Generation {
		b.row = row
	}
	b.mu.Unlock()
	if row.State == circuitOpen && changed {
		b.stop(b.openError(row))
	}
}

// onOurClock moves a time of the server, whose clock says now, to this host's.
func onOurClock(t *time.Time, now time.Time) *time.Time {
	if t == nil {
		return nil
	}
	ours := time.Now().Add(t.Sub(now))
	return &ours
}

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
