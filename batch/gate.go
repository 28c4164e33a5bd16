package batch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"noggin/api"
	"noggin/storage"
)

// gate stands before every request of a run: the circuit, a pause that the API
// asked for, the rate limit that all hosts share, and the number in flight. It is
// the [api.Gate] of the run's client.
type gate struct {
	db       *storage.DB
	log      *slog.Logger
	breaker  *breaker
	slots    chan struct{}
	rate     *rateLimit    // nil: no limit
	sleep    time.Duration // after a 429 without Retry-After
	seen     func(api.Outcome)
	stop     func(error)
	makeSure func(context.Context) error // that the record is still this run's
	patience func() time.Duration        // how long a pause may last before the run ends instead

	mu          sync.Mutex
	pausedUntil time.Time
	refusal     error
}

// refuse ends the run and lets no request out any more: unlike a signal, after
// which the records in hand are finished.
func (g *gate) refuse(err error) {
	g.mu.Lock()
	if g.refusal == nil {
		g.refusal = err
	}
	g.mu.Unlock()
	g.stop(err)
}

func (g *gate) refused() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal
}

// Admit waits until a request may go out. Its error ends the request unsent.
func (g *gate) Admit(ctx context.Context) error {
	for placed := g.rate == nil; ; placed = true {
		if err := g.waitForPause(ctx); err != nil {
			return err
		}
		if !placed {
			if err := g.rate.wait(ctx); err != nil {
				return err
			}
		}
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		err := cmp.Or(g.makeSure(ctx), g.refused())
		if err == nil && g.pauseLeft() > 0 {
			<-g.slots // a 429 came while we waited
			continue
		}
		granted := false
		if err == nil { // last, so that no probe of a half-open circuit is taken in vain
			granted, err = g.breaker.admit(ctx)
		}
		if granted {
			return nil
		}
		<-g.slots
		if err == nil { // the other probes will show it
			err = sleep(ctx, flushEvery/4)
		}
		if err != nil {
			return err
		}
	}
}

// Done frees the request's place and learns from how it ended.
func (g *gate) Done(ctx context.Context, o api.Outcome) {
	// The place is freed last: after rejected credentials nobody may take it.
	defer func() { <-g.slots }()
	g.breaker.observe(o.Unavailable(), o.Neutral(), o.Duration)
	if o.Neutral() {
		return
	}
	if o.Class == api.ClassRateLimited {
		g.pause(ctx, o.RetryAfter)
	}
	g.seen(o)
}

// pause makes this run and, through the database, every other one wait.
func (g *gate) pause(ctx context.Context, retryAfter time.Duration) {
	if retryAfter <= 0 {
		retryAfter = g.sleep
	}
	until := time.Now().Add(retryAfter)
	g.mu.Lock()
	// Those that were in flight together say the same a moment later.
	longer := until.Sub(g.pausedUntil) > time.Second
	if longer {
		g.pausedUntil = until
	}
	g.mu.Unlock()
	if !longer {
		return
	}
	g.log.Warn("the API asked for a pause (429): every run waits", "seconds", math.Ceil(retryAfter.Seconds()))
	if err := g.db.PauseRequests(ctx, retryAfter); err != nil {
		g.log.Warn("the pause could not be shared with other runs", "error", err)
	}
}

func (g *gate) pauseLeft() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := time.Until(g.pausedUntil)
	if shared := g.breaker.state().PausedUntil; shared != nil {
		left = max(left, time.Until(*shared))
	}
	return left
}

func (g *gate) waitForPause(ctx context.Context) error {
	for {
		if err := g.refused(); err != nil {
			return err
		}
		left := g.pauseLeft()
		if left <= 0 {
			return nil
		}
		if left > g.patience() {
			err := fmt.Errorf("%w: it asked for a pause of another %s (429)", ErrAPIUnavailable, left.Round(time.Second))
			g.refuse(err)
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(left, flushEvery)):
		}
	}
}

// rateLimit hands out places under [processing] max_requests_per_second, which
// holds for all runs on all hosts together. Places are reserved in the database
// for those that wait, at most a second's worth at a time.
type rateLimit struct {
	db        *storage.DB
	perSecond float64

	waiting atomic.Int64
	mu      sync.Mutex // held while places are reserved: others wait for them
	next    time.Time
	places  int
}

func (r *rateLimit) wait(ctx context.Context) error {
	r.waiting.Add(1)
	at, err := r.place(ctx)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(at)):
		return nil
	}
}

// place returns when the next place is. One goroutine reserves for all that wait.
func (r *rateLimit) place(ctx context.Context) (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Before the next one counts: a place that nobody takes would be one too many
	// later.
	defer r.waiting.Add(-1)
	interval := time.Duration(float64(time.Second) / r.perSecond)
	if r.places == 0 {
		n := max(1, min(int(r.waiting.Load()), int(r.perSecond)))
		wait, err := r.db.ReserveRequests(ctx, n, r.perSecond)
		if err != nil {
			return time.Time{}, err
		}
		r.places, r.next = n, time.Now().Add(wait)
	}
	at := r.next
	r.places--
	r.next = r.next.Add(interval)
	return at, nil
}
