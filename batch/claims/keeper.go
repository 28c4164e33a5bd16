package claims

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"noggin/storage"
)

// Keeper holds the claims of one group of records, and renews them.
type Keeper struct {
	Run int64 // the run that has the claims

	db    *storage.DB
	log   *slog.Logger
	lease time.Duration

	mu     sync.Mutex
	claims []storage.Claim
}

// NewKeeper returns a keeper without claims. A claim holds for lease unless it is renewed.
func NewKeeper(db *storage.DB, log *slog.Logger, run int64, lease time.Duration) *Keeper {
	return &Keeper{db: db, log: log, Run: run, lease: lease}
}

// Keep renews the claims until ctx ends.
func (k *Keeper) Keep(ctx context.Context) {
	tick := time.NewTicker(k.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		k.mu.Lock()
		claims := k.claims
		k.mu.Unlock()
		// The answer does not matter: each write checks its own claim.
		if _, err := k.db.Renew(ctx, k.Run, claims, k.lease); err != nil && ctx.Err() == nil {
			k.log.Warn("cannot renew the claims", "run_id", k.Run, "error", err)
		}
	}
}

// Take claims the records that no run has claimed. With a status it takes only those that
// have it. The caller gives the claims back before the next call.
func (k *Keeper) Take(ctx context.Context, tips []string, status storage.Status) (map[string]storage.Claim, error) {
	claims, err := k.db.ClaimTips(ctx, k.Run, tips, status, k.lease)
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

// GiveBack frees the claims, even after ctx has ended.
func (k *Keeper) GiveBack(ctx context.Context) {
	k.mu.Lock()
	claims := k.claims
	k.claims = nil
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := k.db.Release(ctx, k.Run, claims); err != nil {
		k.log.Warn("cannot give the claims back; they end with their lease", "run_id", k.Run, "error", err)
	}
}
