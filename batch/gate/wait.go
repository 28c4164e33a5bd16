package gate

import (
	"context"
	"time"
)

// Sleep waits for d, or until ctx ends and returns why.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Every calls fn at intervals, and when wake says so, until ctx ends. wake may be nil.
func Every(ctx context.Context, interval time.Duration, wake <-chan struct{}, fn func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-wake:
		}
		fn()
	}
}
