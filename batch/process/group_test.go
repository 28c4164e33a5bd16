package process

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"noggin/batch/gate"
	"noggin/storage"
)

// written gives each item its own number as the result, but none to 99.
func written(items []int) map[storage.ClaimKey]int {
	results := map[storage.ClaimKey]int{}
	for _, i := range items {
		if i != 99 {
			results[storage.ClaimKey{Token: int64(i)}] = i
		}
	}
	return results
}

func TestGroupCommitsTogetherWhatComesWithinThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var commits []int
		var at []time.Duration
		began := time.Now()
		g := newGroup(t.Context(), time.Minute, func(_ context.Context, items []int) (map[storage.ClaimKey]int, error) {
			commits, at = append(commits, len(items)), append(at, time.Since(began))
			return written(items), nil
		})
		var wg sync.WaitGroup
		send := func(n int) {
			for i := range n {
				wg.Go(func() {
					if got, err := g.do(storage.ClaimKey{Token: int64(i)}, 0, i); got != i || err != nil {
						t.Errorf("item %d got %d, %v", i, got, err)
					}
				})
			}
		}
		send(1)
		synctest.Wait()
		send(1)
		time.Sleep(commitEvery / 2)
		send(2)
		wg.Wait()
		time.Sleep(2 * commitEvery)
		send(1)
		wg.Wait()
		g.close()
		want := []time.Duration{0, commitEvery, 3 * commitEvery}
		if len(commits) != 3 || commits[0] != 1 || commits[1] != 3 || commits[2] != 1 || at[0] != want[0] || at[1] != want[1] || at[2] != want[2] {
			t.Errorf("commits of %v items at %v, want 1, 3 and 1 at %v", commits, at, want)
		}
	})
}

// One transaction holds neither more items nor more bytes than are bounded.
func TestGroupCommitsNoMoreThanIsBoundedTogether(t *testing.T) {
	for name, test := range map[string]struct{ items, bytes, want int }{
		"items": {2*groupItems + 10, 0, groupItems},
		"bytes": {10, groupBytes / 4, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			most, total := 0, 0
			g := newGroup(t.Context(), time.Minute, func(_ context.Context, items []int) (map[storage.ClaimKey]int, error) {
				time.Sleep(time.Second) // the others queue up
				most, total = max(most, len(items)), total+len(items)
				return written(items), nil
			})
			var wg sync.WaitGroup
			for i := range test.items {
				wg.Go(func() { _, _ = g.do(storage.ClaimKey{Token: int64(i)}, test.bytes, i) })
			}
			wg.Wait()
			g.close()
			if most != test.want || total != test.items {
				t.Errorf("%s: at most %d of %d together, want %d", name, most, total, test.want)
			}
		})
	}
}

func TestGroupTriesEachAloneWhenOneIsRefused(t *testing.T) {
	refused := errors.New("refused")
	g := newGroup(t.Context(), time.Minute, func(_ context.Context, items []int) (map[storage.ClaimKey]int, error) {
		for _, i := range items {
			if i == 3 {
				return nil, refused
			}
		}
		return written(items), nil
	})
	defer g.close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			got, err := g.do(storage.ClaimKey{Token: int64(i)}, 0, i)
			if i == 3 && !errors.Is(err, refused) || i != 3 && (got != i || err != nil) {
				t.Errorf("item %d got %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	if _, err := g.do(storage.ClaimKey{Token: 99}, 0, 99); !errors.Is(err, storage.ErrLost) {
		t.Errorf("an item without a result ended with %v", err)
	}
}

// locked writes items, but says for those that are locked that another session has them.
func locked(waits time.Duration, isLocked func(item int) bool) func(context.Context, []int) (map[storage.ClaimKey]int, error) {
	return func(ctx context.Context, items []int) (map[storage.ClaimKey]int, error) {
		for _, i := range items {
			if isLocked(i) {
				_ = gate.Sleep(ctx, waits)
				return nil, errors.Join(storage.ErrBusy, storage.ErrUnavailable)
			}
		}
		return written(items), nil
	}
}

func TestOnlyTheItemBehindALockWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 30 * time.Second
		began := time.Now()
		g := newGroup(t.Context(), patience, locked(time.Second, func(i int) bool {
			return i == 3 || i == 5 && time.Since(began) < 10*time.Second
		}))
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				got, err := g.do(storage.ClaimKey{Token: int64(i)}, 0, i)
				took := time.Since(began)
				switch {
				case i == 3 && (!errors.Is(err, storage.ErrBusy) || took < patience || took > patience+3*time.Second):
					t.Errorf("the locked item ended after %s with %v", took, err)
				case i == 5 && (err != nil || took < 10*time.Second || took > 13*time.Second):
					t.Errorf("the item whose lock ended was written after %s: %v", took, err)
				case i != 3 && i != 5 && (got != i || err != nil || took > 5*time.Second):
					t.Errorf("item %d got %d, %v after %s", i, got, err, took)
				}
			})
		}
		wg.Wait()
		g.close()
	})
}

func TestALockedTableCostsEachItemOnePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		write := locked(time.Second, func(int) bool { return true })
		var writing, most atomic.Int32
		g := newGroup(t.Context(), 5*time.Second, func(ctx context.Context, items []int) (map[storage.ClaimKey]int, error) {
			most.Store(max(most.Load(), writing.Add(1)))
			defer writing.Add(-1)
			return write(ctx, items)
		})
		var wg sync.WaitGroup
		for i := range groupItems {
			wg.Go(func() {
				if _, err := g.do(storage.ClaimKey{Token: int64(i)}, 0, i); !errors.Is(err, storage.ErrBusy) {
					t.Errorf("item %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		g.close()
		if took := time.Since(began); took > 9*time.Second || !g.idle() {
			t.Errorf("it took %s, and the group counts as idle: %t", took, g.idle())
		}
		if n := most.Load(); n > 3 { // two aside
			t.Errorf("%d connections waited for the lock", n)
		}
	})
}
