package batch

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGroupCommitsTogetherWhatComesWithinThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var commits []int
		var at []time.Duration
		began := time.Now()
		g := newGroup(t.Context(), func(int) int { return 0 }, func(_ context.Context, items []int) ([]int, error) {
			commits, at = append(commits, len(items)), append(at, time.Since(began))
			return items, nil
		})
		var wg sync.WaitGroup
		send := func(n int) {
			for i := range n {
				wg.Go(func() {
					if got, err := g.do(i); got != i || err != nil {
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

func TestGroupTriesEachAloneWhenOneIsRefused(t *testing.T) {
	refused := errors.New("refused")
	g := newGroup(t.Context(), func(int) int { return 0 }, func(_ context.Context, items []int) ([]int, error) {
		for _, i := range items {
			if i == 3 {
				return nil, refused
			}
		}
		return items, nil
	})
	defer g.close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			got, err := g.do(i)
			if i == 3 && !errors.Is(err, refused) || i != 3 && (got != i || err != nil) {
				t.Errorf("item %d got %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}
