package gate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"noggin/api"
	"noggin/storage"
)

// Gate is the [api.Gate] of a run's client. A request passes it when no pause (429)
// holds, the rate limit and the circuit allow it, and few enough are in flight.
type Gate struct {
	run      Run
	breaker  *breaker
	witness  *witness
	failures *failures
	slots    chan struct{} // one for each request in flight that does not linger
	slow     chan struct{} // one for each that does
	rate     *rateLimit    // nil: no limit

	mu          sync.Mutex
	pausedUntil time.Time
	pausing     time.Time // since when the API does nothing but ask to wait; zero: it does not ask
	refusal     error
}

// refuse ends the run and stops every later request. (After a signal the records in hand
// may still send theirs.)
func (g *Gate) refuse(err error) {
	g.mu.Lock()
	if g.refusal == nil {
		g.refusal = err
	}
	g.mu.Unlock()
	g.run.Stop(err)
}

// Refused returns why no request goes out any more; nil while they do.
func (g *Gate) Refused() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal
}

// turn waits while a pause holds, and for the request's place under the rate limit unless
// it has one.
func (g *Gate) turn(ctx context.Context, placed bool) error {
	if err := g.waitForPause(ctx); err != nil || placed || g.rate == nil {
		return err
	}
	return g.rate.wait(ctx)
}

// Admit waits until a request may go out, and returns the context with which it ends.
// After an error it is not sent.
func (g *Gate) Admit(ctx context.Context) (permit context.Context, err error) {
	for placed := false; ; placed = true {
		if err := g.turn(ctx, placed); err != nil {
			return nil, err
		}
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		permit, err = g.run.MakeSure(ctx)
		err = cmp.Or(err, g.Refused())
		if err == nil && g.pauseLeft() > 0 {
			<-g.slots // a 429 came meanwhile
			continue
		}
		granted := false
		if err == nil && permit.Err() == nil && !g.failures.holds() { // last: a probe of a half-open circuit must not be wasted
			granted, err = g.breaker.admit(ctx)
		}
		if granted {
			return permit, nil
		}
		<-g.slots
		if err == nil { // the witness is asked, all probes are taken, or a lease cannot be renewed yet
			if err = Sleep(ctx, flushEvery/4); err == nil && g.isClosing() && !g.failures.holds() {
				err = api.ErrStopped
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// Closing is closed when the run claims nothing more: a record in hand then waits neither
// for a pause nor for its next attempt, but is left interrupted and due at once.
func (g *Gate) Closing() <-chan struct{} { return g.run.Closing }

func (g *Gate) isClosing() bool {
	select {
	case <-g.run.Closing:
		return true
	default:
		return false
	}
}

// Linger lets a slow answer arrive beside the requests in flight, so that it keeps none
// waiting. There is room for as many slow ones as for others: a few that drip cost a run
// nothing, and their number stays bounded.
func (g *Gate) Linger() bool {
	g.answers()
	select {
	case g.slow <- struct{}{}:
		<-g.slots
		return true
	default:
		return false
	}
}

// Done learns from how a request ended and frees its place.
func (g *Gate) Done(ctx context.Context, o api.Outcome) {
	// Freed last: after rejected credentials no request may take the place.
	defer func() {
		if o.Lingered {
			<-g.slow
		} else {
			<-g.slots
		}
	}()
	g.breaker.observe(ctx, o)
	if o.Neutral() {
		return
	}
	if o.RetryAfter == 0 {
		g.answers()
	}
	if o.Class == api.ClassRateLimited {
		g.pause(ctx, o.RetryAfter)
	}
	g.run.Requested()
	g.failures.see(ctx, ticketOf(ctx).subject(o.Media), o)
}

// pause makes this run and, through the database, every other one wait. The client says how
// long, also where a 429 does not.
func (g *Gate) pause(ctx context.Context, retryAfter time.Duration) {
	until := time.Now().Add(retryAfter)
	g.mu.Lock()
	// Requests in flight together get the same 429 within moments.
	longer := until.Sub(g.pausedUntil) > time.Second
	if longer {
		g.pausedUntil = until
	}
	g.mu.Unlock()
	if !longer {
		return
	}
	g.run.Log.Warn("the API asked for a pause (429); all runs wait", "seconds", math.Ceil(retryAfter.Seconds()))
	if err := g.run.DB.PauseRequests(ctx, retryAfter); err != nil {
		g.run.Log.Warn("other runs could not be told of the pause", "error", err)
	}
}

// pauseLeft returns how long the pause lasts that this or another run was asked for.
func (g *Gate) pauseLeft() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := time.Until(g.pausedUntil)
	if shared := g.breaker.state().PausedUntil; shared != nil {
		left = max(left, time.Until(*shared))
	}
	return left
}

// Patience returns how long the API may still make a call wait (503 with Retry-After).
func (g *Gate) Patience() time.Duration { return g.run.TimeLeft(g.waited()) }

// answers notes that the API does something else than ask to wait.
func (g *Gate) answers() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pausing = time.Time{}
}

// waited returns for how long the API has done nothing but ask to wait. Another run may have
// been asked.
func (g *Gate) waited() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pausing.IsZero() {
		g.pausing = time.Now()
	}
	return time.Since(g.pausing)
}

// waitForPause waits until no pause holds.
func (g *Gate) waitForPause(ctx context.Context) error {
	for {
		if err := g.Refused(); err != nil {
			return err
		}
		left := g.pauseLeft()
		if left <= 0 {
			return nil
		}
		if g.isClosing() {
			return api.ErrStopped
		}
		if waited := g.waited(); left > g.run.TimeLeft(waited) {
			err := fmt.Errorf("%w: it asked for a pause (429) that lasts another %s", ErrAPIUnavailable, left.Round(time.Second))
			if waited >= time.Second {
				err = fmt.Errorf("%w, and did nothing but ask to wait in the last %s", err, waited.Round(time.Second))
			}
			g.refuse(err)
			return err
		}
		if err := Sleep(ctx, min(left, flushEvery)); err != nil {
			return err
		}
	}
}

// rateLimit spaces requests by [processing] max_requests_per_second, which holds for all
// runs on all hosts together. A place is a time at which one request may go out. The
// database hands out places to all waiting requests of a run, for at most one second.
type rateLimit struct {
	db        *storage.DB
	perSecond float64

	waiting atomic.Int64
	mu      sync.Mutex
	next    time.Time // the next place
	places  int       // that are left
}

// wait waits for the request's place.
func (r *rateLimit) wait(ctx context.Context) error {
	r.waiting.Add(1)
	at, err := r.place(ctx)
	if err != nil {
		return err
	}
	return Sleep(ctx, time.Until(at))
}

// place takes the next place. One request reserves places for all that wait.
func (r *rateLimit) place(ctx context.Context) (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Decremented before the next reservation is sized, or it reserves one too many.
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
