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
	return fmt.Sprintf("the circuit is open until %s: too many requests failed", e.Until.Format(time.RFC3339))
}

// Unwrap makes the error an [ErrAPIUnavailable].
func (e *CircuitOpenError) Unwrap() error { return ErrAPIUnavailable }

// flushEvery is how often a run tells the database how its requests went, and
// learns what other runs saw.
const flushEvery = time.Second

// breaker is one run's view of the circuit in the database.
type breaker struct {
	db   *storage.DB
	run  int64
	cfg  Circuit
	stop func(error) // ends the run

	mu      sync.Mutex
	row     storage.Circuit
	ended   []bool // since the last flush
	flushMu sync.Mutex
	wake    chan struct{}
}

func newBreaker(db *storage.DB, run int64, cfg Circuit, standing storage.Standing, stop func(error)) *breaker {
	row := standing.Circuit
	row.PausedUntil = onOurClock(row.PausedUntil, standing.Now)
	return &breaker{db: db, run: run, cfg: cfg, row: row, stop: stop, wake: make(chan struct{}, 1)}
}

// state returns the circuit as last seen.
func (b *breaker) state() storage.Circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row
}

// admit returns nil when a request may go out: at once while closed, with a probe
// while half-open, waiting for the other probes' verdict when there is none left.
func (b *breaker) admit(ctx context.Context) error {
	for b.state().State != circuitClosed {
		granted := false
		row, err := b.change(ctx, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
			s, transitions := b.cfg.step(s, now)
			s, granted = b.cfg.lease(s, now)
			return s, transitions
		})
		switch {
		case err != nil:
			return err
		case granted:
			return nil
		case row.State == circuitOpen:
			err := b.openError(row)
			b.stop(err)
			return err
		case row.State == circuitHalfOpen:
			if err := sleep(ctx, flushEvery/4); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *breaker) openError(row storage.Circuit) error {
	e := &CircuitOpenError{}
	if row.OpenUntil != nil {
		e.Until = *row.OpenUntil
	}
	return e
}

// observe notes how a request ended. While half-open every probe is reported at
// once: others wait for the verdict.
func (b *breaker) observe(failed bool) {
	b.mu.Lock()
	b.ended = append(b.ended, failed)
	soon := b.row.State == circuitHalfOpen || len(b.ended) >= max(1, b.cfg.SampleSize/2)
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
	o := requestsEnded{generation: b.row.Generation, failed: b.ended}
	b.ended = nil
	b.mu.Unlock()
	if len(o.failed) == 0 {
		s, err := b.db.Standing(ctx)
		if err == nil {
			b.see(s.Circuit, s.Now)
		}
		return err
	}
	_, err := b.change(ctx, func(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
		return b.cfg.observe(s, o, now)
	})
	return err
}

func (b *breaker) change(ctx context.Context, step func(storage.Circuit, time.Time) (storage.Circuit, []storage.Transition)) (storage.Circuit, error) {
	row, now, err := b.db.StepCircuit(ctx, b.run, step)
	if err == nil {
		b.see(row, now)
	}
	return row, err
}

// see takes over what the database says, its times put on this host's clock.
func (b *breaker) see(row storage.Circuit, now time.Time) {
	row.PausedUntil = onOurClock(row.PausedUntil, now)
	b.mu.Lock()
	wasOpen := b.row.State == circuitOpen
	b.row = row
	b.mu.Unlock()
	if row.State == circuitOpen && !wasOpen {
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
