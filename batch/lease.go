package batch

import (
	"context"
	"time"

	"noggin/storage"
)

// renewLeases keeps the claims alive.
func (r *run) renewLeases(ctx context.Context) {
	every(ctx, r.Config.Processing.ClaimLease/3, func() {
		if err := r.renew(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("the claims could not be renewed", "run_id", r.id, "error", err)
		}
	})
}

// every calls fn at the end of each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		fn()
	}
}

// renew moves the leases of all records in hand. One whose claim was lost is
// dropped: its new owner does it again.
func (r *run) renew(ctx context.Context) error {
	r.mu.Lock()
	claims := make([]storage.Claim, 0, len(r.hands))
	for _, h := range r.hands {
		claims = append(claims, h.claim)
	}
	r.mu.Unlock()
	asked := time.Now()
	kept, err := r.DB.Renew(ctx, r.id, claims, r.Config.Processing.ClaimLease)
	if err != nil {
		return err
	}
	ours := make(map[string]bool, len(kept))
	for _, c := range kept {
		ours[c.Tip] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range claims {
		h, still := r.hands[c.Tip]
		switch {
		case !still || h.claim.Token != c.Token:
		case ours[c.Tip]:
			h.renewed = asked
		default:
			h.cancel(storage.ErrLost)
		}
	}
	return nil
}

// makeSure is asked before each request and before a file is replaced. Where a lease
// may have run out (the process was frozen, or the database away) it finds out whose
// the records are by now: ctx, of one of them, has ended when another run has it, and
// what that one does is neither to be done twice nor to be written over.
func (r *run) makeSure(ctx context.Context) error {
	r.sureMu.Lock()
	defer r.sureMu.Unlock()
	if ctx.Err() == nil && r.leaseRanOut() {
		if err := r.renew(ctx); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (r *run) leaseRanOut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hands {
		if time.Since(h.renewed) >= r.Config.Processing.ClaimLease {
			return true
		}
	}
	return false
}
