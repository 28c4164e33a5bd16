package process

import (
	"context"
	"fmt"
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
			if h.requests.Err() != nil {
				h.requests, h.lapse = context.WithCancel(h.work)
			}
		}
	}
	return nil
}

// handKey is the key of the record in hand in the context of the work on it.
type handKey struct{}

// makeSure runs before each request and before a file is replaced. After a time without
// renewal (a frozen process, a lost database) a lease may have run out. makeSure then
// renews the leases, which ends the work on records that have another owner. It returns
// the context of a request for the record, or why ctx, of the work on it, has ended. The
// context has ended while a lock keeps the lease from being renewed.
func (r *run) makeSure(ctx context.Context) (context.Context, error) {
	r.sureMu.Lock()
	defer r.sureMu.Unlock()
	if ctx.Err() == nil && r.endLapsed() {
		if err := r.renew(ctx); err != nil {
			return nil, err
		}
	}
	h, ok := ctx.Value(handKey{}).(*hand)
	if !ok || ctx.Err() != nil { // a request for a name is for no record
		return ctx, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.requests.Err() != nil && storage.Since(h.renewed) >= r.processor.Processing.ClaimLease+r.db.RetryFor() {
		return nil, fmt.Errorf("renew the claim: %w: %w", storage.ErrUnavailable, storage.ErrBusy)
	}
	return h.requests, nil
}

// watchLeases ends requests in time when the leases are not renewed.
func (r *run) watchLeases(ctx context.Context) {
	gate.Every(ctx, min(r.processor.Processing.ClaimLease/20, time.Second), nil, func() { r.endLapsed() })
}

// endLapsed ends the requests for records whose lease is about to run out: another run may
// ask for these then. It tells whether there are such records. Their results that wait for
// the database stay valid as long as nobody else has the claim.
func (r *run) endLapsed() (lapsed bool) {
	lease := r.processor.Processing.ClaimLease
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hands {
		if storage.Since(h.renewed) >= lease-lease/5 {
			h.lapse()
			lapsed = true
		}
	}
	return lapsed
}
