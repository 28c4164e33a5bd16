package batch

import (
	"context"
	"errors"
	"sync"
	"time"

	"noggin/storage"
)

// group commits what many records write at about the same time in one transaction:
// a write goes out at once when the last one was begun [commitEvery] ago, else
// together with those that come until then.
type group[T, R any] struct {
	write  func(ctx context.Context, items []T) ([]R, error)
	weight func(T) int // bytes; a write takes at most groupBytes
	queue  chan groupItem[T, R]
	done   sync.WaitGroup
}

// commitEvery is the least time between two transactions of a kind (claims, answers,
// results) of one run. Each costs a dozen round trips and a flush of PostgreSQL's log,
// whether it is of one record or of fifty.
const commitEvery = 25 * time.Millisecond

const (
	groupItems = 64
	groupBytes = 8 << 20
)

type groupItem[T, R any] struct {
	item  T
	reply chan groupReply[R]
}

type groupReply[R any] struct {
	result R
	err    error
}

// newGroup starts the writer. Its writes outlive the records' own contexts: what
// was asked to be written is written. ctx bounds them all.
func newGroup[T, R any](ctx context.Context, weight func(T) int, write func(context.Context, []T) ([]R, error)) *group[T, R] {
	g := &group[T, R]{write: write, weight: weight, queue: make(chan groupItem[T, R], groupItems)}
	g.done.Go(func() { g.loop(ctx) })
	return g
}

// do writes the item with others and returns its result.
func (g *group[T, R]) do(item T) (R, error) {
	reply := make(chan groupReply[R], 1)
	g.queue <- groupItem[T, R]{item, reply}
	r := <-reply
	return r.result, r.err
}

// close waits for what is queued. Nothing may be added any more.
func (g *group[T, R]) close() {
	close(g.queue)
	g.done.Wait()
}

func (g *group[T, R]) loop(ctx context.Context) {
	var began time.Time // the last commit
	for first := range g.queue {
		items := g.collect(first, commitEvery-time.Since(began))
		began = time.Now()
		g.commit(ctx, items)
	}
}

// collect takes what is queued, and what comes within the pause.
func (g *group[T, R]) collect(first groupItem[T, R], pause time.Duration) []groupItem[T, R] {
	items, bytes := []groupItem[T, R]{first}, g.weight(first.item)
	over := time.After(pause)
	for len(items) < groupItems && bytes < groupBytes {
		var next groupItem[T, R]
		open := true
		select {
		case next, open = <-g.queue:
		default:
			select {
			case next, open = <-g.queue:
			case <-over:
				return items
			}
		}
		if !open {
			return items
		}
		items, bytes = append(items, next), bytes+g.weight(next.item)
	}
	return items
}

// commit writes the items together. When the database refuses them for what they
// hold, each is tried alone, so that one bad item harms no other.
func (g *group[T, R]) commit(ctx context.Context, items []groupItem[T, R]) {
	all := make([]T, len(items))
	for i, it := range items {
		all[i] = it.item
	}
	results, err := g.write(ctx, all)
	if err != nil && len(items) > 1 && !errors.Is(err, storage.ErrUnavailable) && ctx.Err() == nil {
		for i := range items {
			g.commit(ctx, items[i:i+1])
		}
		return
	}
	for i, it := range items {
		if err != nil {
			it.reply <- groupReply[R]{err: err}
			continue
		}
		it.reply <- groupReply[R]{result: results[i]}
	}
}
