package batch

import (
	"context"
	"slices"
	"time"

	"noggin/storage"
)

// tempAge is how old a temporary file must be to be swept: nobody downloads one
// attachment for so long.
const tempAge = 6 * time.Hour

// claimAll takes records as places become free, until the batch is used up, nothing
// is due, or ctx ends. Only what is begun at once is claimed, so that a claim whose
// lease ran out is a record that was begun.
func (r *run) claimAll(ctx context.Context) error {
	if len(r.opts.Selector.Tips) > 0 {
		return r.claimTips(ctx)
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
		claims, err := r.claim(ctx, storage.ClaimRequest{Limit: places, Retries: min(places, max(0, (taken+places+1)/2-retries)), Selector: r.opts.Selector})
		r.returnPlaces(places, len(claims))
		if err != nil {
			return err
		}
		for _, c := range claims {
			if taken++; c.Status != "pending" {
				retries++
			}
			r.begin(c)
		}
		if len(claims) > 0 {
			continue
		}
		// Nothing is due. What is in hand may leave nothing behind; then, and only
		// then, records that have crashed runs before are taken, each alone.
		r.inHand.Wait()
		crashing, err := r.claimCrashing(ctx)
		if err != nil || !crashing {
			return err
		}
		taken++
	}
}

// claimCrashing takes one record that has crashed runs before and works on it
// alone.
func (r *run) claimCrashing(ctx context.Context) (taken bool, err error) {
	if ctx.Err() != nil {
		return false, nil
	}
	claims, err := r.claim(ctx, storage.ClaimRequest{Limit: 1, Selector: r.opts.Selector, Crashing: true})
	if err != nil || len(claims) == 0 {
		return false, err
	}
	r.slots <- struct{}{}
	r.Log.Warn("this record was in hand when earlier runs died; it is taken alone", "tip", claims[0].Tip, "crash_count", claims[0].CrashCount)
	r.begin(claims[0])
	r.inHand.Wait()
	return true, nil
}

// claimTips takes the records that were named, whatever their status, each once.
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
		for _, tip := range selector.Tips {
			if !slices.ContainsFunc(claims, func(c storage.Claim) bool { return c.Tip == tip }) {
				r.Log.Warn("another run is at work on this record", "tip", tip)
				r.summary.Busy = append(r.summary.Busy, tip)
			}
		}
	}
	return nil
}

// freePlaces waits for at least one free place for a record, and until the last claim
// is [commitEvery] ago, and takes all there are; 0 when ctx ended.
func (r *run) freePlaces(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case <-ctx.Done():
		return 0
	case r.slots <- struct{}{}:
	}
	if sleep(ctx, commitEvery-time.Since(r.asked)) != nil {
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

// returnPlaces gives back all but keep of the places and returns how many are kept.
func (r *run) returnPlaces(places, keep int) int {
	for ; places > max(keep, 0); places-- {
		<-r.slots
	}
	return places
}

// claim takes records. It is not cut off in the middle, when nobody would know
// whose the records are: what was taken after claiming ended is given back.
func (r *run) claim(ctx context.Context, request storage.ClaimRequest) ([]storage.Claim, error) {
	request.Run, request.Lease = r.id, r.Config.Processing.ClaimLease
	r.asked = time.Now()
	claims, err := r.DB.Claim(r.work, request)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, r.DB.Release(r.work, r.id, claims)
	}
	return claims, nil
}

// begin works on a claimed record; its place is freed when it is done.
func (r *run) begin(c storage.Claim) {
	ctx, cancel := context.WithCancelCause(r.work)
	r.mu.Lock()
	h := &hand{claim: c, cancel: cancel, renewed: r.asked}
	if older := r.hands[c.Tip]; older != nil {
		older.cancel(storage.ErrLost) // its lease ran out, and this is who took it
	}
	r.hands[c.Tip] = h
	r.summary.Claimed++
	r.mu.Unlock()
	r.inHand.Go(func() {
		defer func() { <-r.slots }()
		defer cancel(nil)
		r.workOn(ctx, c)
		r.mu.Lock()
		if r.hands[c.Tip] == h {
			delete(r.hands, c.Tip)
		}
		r.mu.Unlock()
		r.progress.records.Add(1)
	})
}
