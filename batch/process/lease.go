package process

import (
	"context"
	"time"

	"noggin/batch/gate"
	"noggin/storage"
)

// renewLeases renews the claims until ctx ends.
func (r *run) renewLeases(ctx context.Context) {
	gate.Every(ctx, r.processor.Processing.ClaimLease/3, nil, func() {
		if err := r.renew(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("the claims could not be renewed", "run_id", r.id, "error", err)
		}
	})
}

// renew renews the leases of all records in hand. It ends the work on a record whose
// claim is lost: the new owner does it again.
func (r *run) renew(ctx context.Context) error {
	r.mu.Lock()
	claims := make([]storage.Claim, 0, len(r.hands))
	for _, h := range r.hands {
		claims = append(claims, h.claim)
	}
	r.mu.Unlock()
	asked := time.Now()
	kept, err := r.db.Renew(ctx, r.id, claims, r.processor.Processing.ClaimLease)
	if err != nil {
		return err
	}
	ours := make(map[string]storage.Claim, len(kept))
	for _, c := range kept {
		ours[c.Tip] = c
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range claims {
		h, still := r.hands[c.Tip]
		mine, held := ours[c.Tip]
		switch {
		case !still || h.claim.Token != c.Token:
		case !held:
			h.cancel(storage.ErrLost)
		case mine.Renewed:
			h.renewed = asked
		}
	}
	return nil
}

// makeSure runs before each request and before a file is replaced. After a time without
// renewal (a frozen process, a lost database) a lease may have run out. makeSure then
// renews the leases, which ends the work on records that have another owner. It returns
// why ctx, of the work on one record, has ended.
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
		if time.Since(h.renewed) >= r.processor.Processing.ClaimLease {
			return true
		}
	}
	return false
}
