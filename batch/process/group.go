package process

import (
	"context"
	"errors"
	"sync"
	"time"

	"noggin/batch/gate"
	"noggin/storage"
)

// group writes what many records write at about the same time in one transaction. The
// first write goes out at once. Those that come less than [commitEvery] after it wait
// for the rest of that time and go out together.
type group[T, R any] struct {
	write    func(ctx context.Context, items []T) (map[storage.ClaimKey]R, error)
	patience time.Duration // how long an item waits for a lock
	queue    chan groupItem[T, R]
	aside    chan struct{} // one for each item that is tried alone
	done     sync.WaitGroup

	mu    sync.Mutex
	quiet *storage.Stopwatch // since a write last succeeded
}

// commitEvery is the least time between two transactions of a kind (claims, answers,
// results) of one run. Each costs a dozen round trips and a flush of PostgreSQL's log,
// for one record as for fifty.
const commitEvery = 25 * time.Millisecond

const (
	groupItems = 64
	groupBytes = 8 << 20
	groupAside = 2 // connections for items whose rows are locked
)

type groupItem[T, R any] struct {
	key   storage.ClaimKey
	bytes int
	item  T
	reply chan groupReply[R]
}

type groupReply[R any] struct {
	result R
	err    error
}

// newGroup starts the writer. Its writes outlive the contexts of the records: ctx alone
// ends them. write returns no result for a record whose claim was lost, and
// [storage.ErrBusy] soon when another session holds a lock.
func newGroup[T, R any](ctx context.Context, patience time.Duration, write func(context.Context, []T) (map[storage.ClaimKey]R, error)) *group[T, R] {
	g := &group[T, R]{
		write: write, patience: patience, queue: make(chan groupItem[T, R], groupItems), aside: make(chan struct{}, groupAside),
		quiet: storage.StartStopwatch(patience, nil),
	}
	g.done.Go(func() { g.loop(ctx) })
	return g
}

// idle tells whether no write has succeeded for as long as an item waits.
func (g *group[T, R]) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.quiet.Spent() >= g.patience
}

// do writes an item of so many bytes together with others and returns its result, or
// [storage.ErrLost].
func (g *group[T, R]) do(key storage.ClaimKey, bytes int, item T) (R, error) {
	reply := make(chan groupReply[R], 1)
	g.queue <- groupItem[T, R]{key, bytes, item, reply}
	r := <-reply
	return r.result, r.err
}

// close waits until everything in the queue is written. No item may follow.
func (g *group[T, R]) close() {
	close(g.queue)
	g.done.Wait()
	g.quiet.Stop()
}

func (g *group[T, R]) loop(ctx context.Context) {
	var began time.Time // the last write
	for first := range g.queue {
		items := g.collect(first, commitEvery-time.Since(began))
		began = time.Now()
		g.commit(ctx, items)
	}
}

// collect takes what is in the queue and what comes within the pause.
func (g *group[T, R]) collect(first groupItem[T, R], pause time.Duration) []groupItem[T, R] {
	items, bytes := []groupItem[T, R]{first}, first.bytes
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
			break
		}
		items, bytes = append(items, next), bytes+next.bytes
	}
	return items
}

// commit writes the items together. When the database refuses one for its content, each
// is written alone: a bad item harms no other. When another session holds a lock, each is
// tried aside, so that the item behind the lock waits and no other does.
func (g *group[T, R]) commit(ctx context.Context, items []groupItem[T, R]) {
	err := g.try(ctx, items)
	switch {
	case err == nil:
	case errors.Is(err, storage.ErrBusy):
		for _, it := range items {
			g.done.Go(func() { g.writeAside(ctx, it, err) })
		}
	case len(items) > 1 && !errors.Is(err, storage.ErrUnavailable) && ctx.Err() == nil:
		for i := range items {
			g.commit(ctx, items[i:i+1])
		}
	default:
		fail(items, err)
	}
}

// try writes the items together. It replies to them only when that succeeds.
func (g *group[T, R]) try(ctx context.Context, items []groupItem[T, R]) error {
	all := make([]T, len(items))
	for i, it := range items {
		all[i] = it.item
	}
	results, err := g.write(ctx, all)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.quiet.Stop()
	g.quiet = storage.StartStopwatch(g.patience, nil)
	g.mu.Unlock()
	for _, it := range items {
		result, ok := results[it.key]
		if !ok {
			it.reply <- groupReply[R]{err: storage.ErrLost}
			continue
		}
		it.reply <- groupReply[R]{result: result}
	}
	return nil
}

func fail[T, R any](items []groupItem[T, R], err error) {
	for _, it := range items {
		it.reply <- groupReply[R]{err: err}
	}
}

// asidePause is the time between two tries of an item aside.
const asidePause = time.Second / 4

// writeAside tries an item alone, again and again, until its patience is over. err is why
// the last try failed. Each try holds a connection only while it waits for the lock.
func (g *group[T, R]) writeAside(ctx context.Context, it groupItem[T, R], err error) {
	waiting := storage.StartStopwatch(g.patience, nil)
	defer waiting.Stop()
	one := []groupItem[T, R]{it}
	for errors.Is(err, storage.ErrBusy) {
		select {
		case <-ctx.Done():
		case g.aside <- struct{}{}:
			if waiting.Spent() < g.patience {
				if err = g.try(ctx, one); err == nil {
					<-g.aside
					return
				}
			}
			<-g.aside
		}
		if waiting.Spent() >= g.patience || gate.Sleep(ctx, asidePause) != nil {
			break
		}
	}
	fail(one, err)
}
