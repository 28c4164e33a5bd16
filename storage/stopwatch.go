package storage

import (
	"sync"
	"time"
)

// Stopwatch measures how long the program waits. While it is frozen, by a signal or with its
// machine, it does not wait: of that time hardly anything counts.
type Stopwatch struct {
	step  time.Duration
	limit time.Duration
	over  func()

	mu    sync.Mutex
	spent time.Duration
	seen  time.Time
	timer *time.Timer
}

// stopwatchSteps are the parts of a limit. The program looks at the clock after each. A freeze
// counts as two of them at most.
const stopwatchSteps = 32

// StartStopwatch begins to measure, and calls over once, if it is not nil, when the limit is
// spent. The caller has to call Stop.
func StartStopwatch(limit time.Duration, over func()) *Stopwatch {
	w := &Stopwatch{step: max(limit/stopwatchSteps, time.Millisecond), limit: limit, over: over, seen: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.step, w.tick)
	return w
}

func (w *Stopwatch) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return // stopped
	}
	switch {
	case w.count() < w.limit:
		w.timer.Reset(w.step)
	case w.over != nil:
		go w.over()
	}
}

// count adds the time since the last look. Its caller holds w.mu.
func (w *Stopwatch) count() time.Duration {
	now := time.Now()
	w.spent += min(now.Sub(w.seen), 2*w.step)
	w.seen = now
	return w.spent
}

// Spent returns how long the program has waited.
func (w *Stopwatch) Spent() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count()
}

// Stop ends the measuring: over is not called any more.
func (w *Stopwatch) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.timer = nil
}

// Since returns how long ago t was. Unlike [time.Since], it counts the time for which the
// host was suspended, when the monotonic clock stands still: leases end all the same.
func Since(t time.Time) time.Duration {
	return max(time.Since(t), time.Since(t.Round(0)))
}
