package batch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"noggin/storage"
)

// claimKeeper holds the claims of a group of records while they are archived or
// restored, and renews them.
type claimKeeper struct {
	db    *storage.DB
	log   *slog.Logger
	run   int64
	lease time.Duration

	mu     sync.Mutex
	claims []storage.Claim
}

// keep renews the claims until ctx ends.
func (k *claimKeeper) keep(ctx context.Context) {
	every(ctx, k.lease/3, func() {
		k.mu.Lock()
		claims := k.claims
		k.mu.Unlock()
		// Which are still ours is asked when it matters: by the write that needs it.
		if _, err := k.db.Renew(ctx, k.run, claims, k.lease); err != nil && ctx.Err() == nil {
			k.log.Warn("the claims could not be renewed", "run_id", k.run, "error", err)
		}
	})
}

// take claims those of the records that nobody has, with a status only those that
// have it. The claims taken before have to be given back first.
func (k *claimKeeper) take(ctx context.Context, tips []string, status string) (map[string]storage.Claim, error) {
	claims, err := k.db.ClaimTips(ctx, k.run, tips, status, k.lease)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.claims = claims
	k.mu.Unlock()
	byTip := make(map[string]storage.Claim, len(claims))
	for _, c := range claims {
		byTip[c.Tip] = c
	}
	return byTip, nil
}

// giveBack frees the claims, also when ctx has ended.
func (k *claimKeeper) giveBack(ctx context.Context) {
	k.mu.Lock()
	claims := k.claims
	k.claims = nil
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := k.db.Release(ctx, k.run, claims); err != nil {
		k.log.Warn("the claims could not be given back; they end by themselves", "run_id", k.run, "error", err)
	}
}
