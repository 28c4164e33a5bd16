package process

import (
	"context"
	"maps"
	"slices"
	"time"

	"noggin/batch/gate"
	"noggin/storage"
)

// claimAll claims records as places become free, until the batch is done, nothing is due
// or ctx ends. It claims only what it begins at once: every claim whose lease ran out is
// of a record that was begun.
func (r *run) claimAll(ctx context.Context) error {
	if len(r.opts.Selector.Tips) > 0 {
		return r.claimTips(ctx)
	}
	if r.opts.Refresh {
		return r.claimComplete(ctx)
	}
	taken, retries := 0, 0
	for {
		places := r.freePlaces(ctx)
		if !r.opts.UntilEmpty {
			places = r.returnPlaces(places, r.opts.Batch-taken)
		}
		if places == 0 {
			return nil
		}
		// Retries may be slow to fail: they get half of the batch, and half of the requests.
		share := min((taken+places+1)/2-retries, max(1, r.processor.Processing.Concurrency/2)-r.failingInHand())
		claims, err := r.claim(ctx, storage.ClaimRequest{Limit: places, Retries: min(places, max(0, share)), Selector: r.opts.Selector, Reached: &r.reached})
		r.returnPlaces(places, len(claims))
		if err != nil {
			return err
		}
		for _, c := range claims {
			if taken++; c.Status != storage.StatusPending {
				retries++
			}
			r.begin(c)
		}
		if len(claims) > 0 {
			continue
		}
		if paused, err := r.stopWhenPaused(); paused || err != nil {
			return err
		}
		// Nothing else is due: records that crashed earlier runs follow, each alone.
		r.inHand.Wait()
		crashing, err := r.claimCrashing(ctx)
		if err != nil || !crashing {
			return err
		}
		taken++
	}
}

// claimCrashing claims one record that crashed earlier runs and works on it alone.
func (r *run) claimCrashing(ctx context.Context) (taken bool, err error) {
	if ctx.Err() != nil {
		return false, nil
	}
	claims, err := r.claim(ctx, storage.ClaimRequest{Limit: 1, Selector: r.opts.Selector, Crashing: true})
	if err != nil || len(claims) == 0 {
		return false, err
	}
	r.slots <- struct{}{}
	r.log.Warn("earlier runs died while they worked on this record; it is done alone now", "tip", claims[0].Tip, "crash_count", claims[0].CrashCount)
	r.alone.Store(true)
	r.begin(claims[0])
	r.inHand.Wait()
	r.alone.Store(false)
	return true, nil
}

// claimComplete claims the complete records that the selector chooses, each once.
func (r *run) claimComplete(ctx context.Context) error {
	after := ""
	for taken := 0; ; {
		places := r.freePlaces(ctx)
		if !r.opts.UntilEmpty {
			places = r.returnPlaces(places, r.opts.Batch-taken)
		}
		if places == 0 {
			return nil
		}
		claims, err := r.claim(ctx, storage.ClaimRequest{Limit: places, Selector: r.opts.Selector, Refresh: true, After: after})
		r.returnPlaces(places, len(claims))
		if err != nil {
			return err
		}
		if len(claims) == 0 {
			_, err := r.stopWhenPaused()
			return err
		}
		taken += len(claims)
		for _, c := range claims {
			after = max(after, c.Tip)
			r.begin(c)
		}
	}
}

// claimTips claims the records that are named by tip, whatever their status.
func (r *run) claimTips(ctx context.Context) error {
	tips := slices.Compact(slices.Sorted(slices.Values(r.opts.Selector.Tips)))
	for len(tips) > 0 {
		places := r.returnPlaces(r.freePlaces(ctx), len(tips))
		if places == 0 {
			return nil
		}
		selector := r.opts.Selector
		selector.Tips = tips[:places]
		tips = tips[places:]
		claims, err := r.claim(ctx, storage.ClaimRequest{Limit: places, Selector: selector})
		r.returnPlaces(places, len(claims))
		if err != nil || ctx.Err() != nil {
			return err
		}
		for _, c := range claims {
			r.begin(c)
		}
		if len(claims) < len(selector.Tips) {
			if paused, err := r.stopWhenPaused(); paused || err != nil {
				return err
			}
		}
		for _, tip := range selector.Tips {
			if !slices.ContainsFunc(claims, func(c storage.Claim) bool { return c.Tip == tip }) {
				r.log.Warn("another run has claimed this record; it is left out", "tip", tip)
				r.summary.Busy = append(r.summary.Busy, tip)
			}
		}
	}
	return nil
}

// failingInHand counts the records in hand that failed before.
func (r *run) failingInHand() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hands {
		if h.claim.FailedBefore {
			n++
		}
	}
	return n
}

// freshLeft counts, up to limit, the records that have not failed before and that this run
// has in hand or may still claim. While records that wait for a probe keep every place, or
// one is done alone, it claims none.
func (r *run) freshLeft(ctx context.Context, limit int) (int, error) {
	r.mu.Lock()
	inHand, left := 0, limit
	for _, h := range r.hands {
		if !h.claim.FailedBefore {
			inHand++
		}
	}
	full := inHand == 0 && len(r.hands) == cap(r.slots)
	if !r.opts.UntilEmpty && len(r.opts.Selector.Tips) == 0 {
		left = min(limit, r.opts.Batch-r.summary.Claimed)
	}
	r.mu.Unlock()
	if full || left <= 0 || r.claimed.Load() || r.alone.Load() {
		return inHand, nil
	}
	n, err := r.db.CountNew(ctx, r.opts.Selector, left)
	return inHand + n, err
}

// freePlaces waits until a place is free and [commitEvery] has passed since the last
// claim. It takes all free places and returns their number; 0 when ctx has ended.
func (r *run) freePlaces(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case <-ctx.Done():
		return 0
	case r.slots <- struct{}{}:
	}
	if gate.Sleep(ctx, commitEvery-time.Since(r.asked)) != nil {
		return r.returnPlaces(1, 0)
	}
	for n := 1; ; n++ {
		select {
		case r.slots <- struct{}{}:
		default:
			return n
		}
	}
}

// returnPlaces frees the places above keep and returns how many remain taken.
func (r *run) returnPlaces(places, keep int) int {
	for ; places > max(keep, 0); places-- {
		<-r.slots
	}
	return places
}

// claim claims records. The end of ctx does not break the statement off: the run would
// not know its claims. When ctx has ended meanwhile, the claims are given back.
func (r *run) claim(ctx context.Context, request storage.ClaimRequest) ([]storage.Claim, error) {
	request.Run, request.Lease, request.InHand = r.id, r.processor.Processing.ClaimLease, r.known()
	r.asked = time.Now()
	claims, err := r.db.Claim(r.work, request)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, r.db.Release(r.work, r.id, claims)
	}
	return claims, nil
}

// known returns the tips of all claims that the run knows. Other claims that the database
// has of it are those of a reply that was lost with the connection.
func (r *run) known() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.AppendSeq(append([]string{}, r.unrecorded...), maps.Keys(r.hands))
}

// begin starts the work on a claimed record. The end of the work frees its place.
func (r *run) begin(c storage.Claim) {
	h := &hand{claim: c, renewed: r.asked}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.work, handKey{}, h))
	h.work, h.cancel = ctx, cancel
	h.requests, h.lapse = context.WithCancel(ctx)
	r.mu.Lock()
	if older := r.hands[c.Tip]; older != nil {
		older.cancel(storage.ErrLost) // its lease ran out and this run claimed it again
	}
	r.hands[c.Tip] = h
	r.summary.Claimed++
	r.mu.Unlock()
	r.processor.InHand.Add(1)
	r.inHand.Go(func() {
		defer func() { r.processor.InHand.Add(-1); <-r.slots }()
		defer cancel(nil)
		r.workOn(ctx, c)
		r.mu.Lock()
		if r.hands[c.Tip] == h {
			delete(r.hands, c.Tip)
		}
		r.progress.Records++
		r.mu.Unlock()
	})
}
