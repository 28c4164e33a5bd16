package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"noggin/batch/gate"
	"noggin/storage"
)

// A run ends in this order, and each step has its time: claiming ends, records in hand
// end (stop_grace), their results are recorded, the run concludes, the command records
// the run's end. The last three together take less than the 15 s after stop_grace that
// are promised. When the database itself is the fault they take next to none.
const (
	recordTime   = 3 * time.Second
	concludeTime = 3 * time.Second
	// hangTime is when a run is left behind whose disk does not return.
	hangTime = 10 * time.Second
)

// errNotRecorded says that the database took no results in the time that was left.
var errNotRecorded = fmt.Errorf("%w: not recorded in the time that was left", storage.ErrUnavailable)

// errHangs says that a run was left behind.
var errHangs = errors.New("the run did not end in time, although its requests and statements ended: an operation on the output folder does not return; " +
	"look at its volume, such as a network file system. Nothing is lost: another run does these records again when their leases end")

// timeToRecord is how long results may still be written after stop_grace.
func timeToRecord(stopped error) time.Duration {
	if errors.Is(stopped, storage.ErrUnavailable) {
		return 0
	}
	return recordTime
}

// timeToConclude is how long the circuit and the failures that were held may be written.
func timeToConclude(stopped error) time.Duration {
	if errors.Is(stopped, storage.ErrUnavailable) {
		return time.Second
	}
	return concludeTime
}

// inTime runs do. It returns without do's end when that hangs after maxTime or a signal:
// no context reaches an operation on a file.
func (p *Processor) inTime(ctx context.Context, maxTime time.Duration, do func() (Summary, error)) (Summary, error) {
	type ended struct {
		summary Summary
		err     error
	}
	done := make(chan ended, 1)
	go func() {
		summary, err := do()
		done <- ended{summary, err}
	}()
	var over <-chan time.Time
	if maxTime > 0 {
		over = time.After(maxTime)
	}
	select {
	case e := <-done:
		return e.summary, e.err
	case <-over:
	case <-ctx.Done():
	}
	select {
	case e := <-done:
		return e.summary, e.err
	case <-time.After(p.Processing.StopGrace + hangTime):
		return Summary{}, errHangs
	}
}

// fault ends the run because of our own side. A lock in the way of one record does not
// end it as long as results of others are written.
func (r *run) fault(err error) {
	if errors.Is(err, storage.ErrBusy) && (!r.store.idle() || !r.finish.idle()) {
		return
	}
	r.stop(err)
}

// stopWhenPaused ends claiming when a maintenance pause began. A claim takes nothing
// during a pause, so this is asked only when a claim found nothing. While the database is
// away there is no answer: the next claim waits for it.
func (r *run) stopWhenPaused() (paused bool, err error) {
	standing, err := r.db.Standing(r.work)
	if errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrBusy) {
		return false, nil
	}
	if err == nil && standing.Paused {
		r.stop(&gate.PausedError{Standing: standing})
	}
	return standing.Paused, err
}
