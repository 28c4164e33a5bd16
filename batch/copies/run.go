package copies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"noggin/batch/archive/shelf"
	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/storage"
)

const (
	// batchSize is how many files a run takes at a time.
	batchSize = 256
	// lease is how long a taken file stays with its run, which renews it.
	lease = 2 * time.Minute
)

// walkStep is how many records a step of the walk looks at; tests lower it.
var walkStep = 500

// RunSummary is what `copy run` did.
type RunSummary struct {
	RunID        int64  `json:"run_id"`
	Target       string `json:"target"`
	Registered   bool   `json:"registered"` // by this run
	Copied       int64  `json:"copied"`
	Bytes        int64  `json:"bytes"`
	FromArchives int64  `json:"from_archives"` // of the copied: their originals left the disk
	AlreadyThere int64  `json:"already_there"` // of the copied: the target had them
	Mended       int64  `json:"mended"`        // of the copied: the target had a damaged object in their place
	Gone         int64  `json:"gone"`          // the database does not have them any more
	Log          int64  `json:"log_files"`     // leaves and checkpoints, not counted as copied
	Removed      int64  `json:"removed"`       // copies of replaced reports and removed backups
	More         bool   `json:"more"`          // the time was over before all was copied
	Problems
}

// runner is one run of `copy run`.
type runner struct {
	*Copier
	id      int64 // of the target
	to      target
	output  *files.Output
	shelf   *shelf.Shelf
	lease   time.Duration
	until   time.Time // no file begins after it; zero: no limit
	end     time.Time // no file is under way after it; zero: no limit
	summary RunSummary
}

// Run copies what is due until nothing is, or until maxTime is over; 0: no limit. What began
// before has as much time again to arrive. Run registers the target when it first runs.
// Errors: [place.ErrAway], [place.ErrNoLock].
func (c *Copier) Run(ctx context.Context, run int64, maxTime time.Duration) (RunSummary, error) {
	r := &runner{Copier: c, lease: lease, summary: RunSummary{RunID: run, Target: c.Config.url(), Problems: Problems{First: []Problem{}}}}
	if err := r.open(ctx); err != nil {
		return r.summary, err
	}
	defer files.Release(r.to)
	output, err := files.OpenOutput(c.Paths.Output)
	if err != nil {
		return r.summary, err
	}
	defer files.Release(output)
	r.output, r.shelf = output, &shelf.Shelf{DB: c.DB, Paths: c.Paths}
	defer r.shelf.Close()
	if err := r.to.Sweep(time.Now()); err != nil {
		return r.summary, err
	}
	if maxTime > 0 {
		r.until = time.Now().Add(maxTime)
		r.end = r.until.Add(maxTime)
	}
	if err := r.copyLog(ctx); err != nil {
		return r.summary, err
	}
	if err := r.copyDue(ctx); err != nil {
		return r.summary, err
	}
	return r.summary, r.removeObsolete(ctx)
}

// open opens the target, and registers it when it is new.
func (r *runner) open(ctx context.Context) (err error) {
	if r.Config.To == "" {
		return ErrNoTarget
	}
	url, endpoint := r.Config.url(), r.Config.endpoint()
	id, known, err := r.DB.CopyTargetID(ctx, url, endpoint)
	if err != nil {
		return err
	}
	if !known && !r.Config.IsS3() {
		if info, err := os.Stat(url); err != nil || !info.IsDir() {
			return fmt.Errorf("%w: there is no folder %s: make it, on a volume of its own", place.ErrAway, url)
		}
		if err := place.CreateMarker(url); err != nil {
			return fmt.Errorf("%w: %w", place.ErrAway, err)
		}
	}
	if r.to, err = r.openThere(ctx); err != nil {
		return err
	}
	if bucket, ok := r.to.(*place.S3); ok && r.Config.Retain != "" {
		if err := bucket.CheckLock(ctx); err != nil {
			files.Release(r.to)
			return err
		}
	}
	if !known {
		if id, err = r.DB.RegisterCopyTarget(ctx, url, endpoint); err != nil {
			files.Release(r.to)
			return err
		}
		r.summary.Registered = true
		r.Log.Info("the target is registered: every file is copied to it from now on", "target", url)
	}
	r.id = id
	if err := r.distrustNew(ctx, id, r.to); err != nil {
		files.Release(r.to)
		return err
	}
	return nil
}

// copyDue copies until nothing is due and the walk is at its end, or until r.until. While a
// batch is copied, the one before is flushed and recorded.
func (r *runner) copyDue(ctx context.Context) (err error) {
	recorded := func() error { return nil } // waits for the batch before
	defer func() {
		if failed := recorded(); err == nil {
			err = failed
		}
	}()
	walked, analysed := false, false
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.over() {
			r.summary.More = true
			return nil
		}
		due, err := r.DB.ClaimCopies(ctx, r.id, batchSize, r.lease)
		if err != nil {
			return err
		}
		if len(due) > 0 {
			if recorded, err = r.copyBatch(ctx, due, recorded); err != nil {
				return err
			}
		}
		if len(due) < batchSize || !analysed { // the walk and the planner see what is recorded
			if err := recorded(); err != nil {
				return err
			}
		}
		if len(due) == batchSize && !analysed {
			if analysed, err = true, r.DB.AnalyzeCopies(ctx); err != nil {
				return err
			}
		}
		if len(due) == batchSize || walked && len(due) > 0 {
			continue
		}
		if walked {
			return nil
		}
		if _, walked, err = r.DB.WalkForCopies(ctx, r.id, walkStep); err != nil {
			return err
		}
	}
}

// over tells whether nothing more may begin.
func (r *runner) over() bool { return !r.until.IsZero() && time.Now().After(r.until) }

// errTooSlow says that a file did not arrive in time.
var errTooSlow = errors.New("it did not arrive within the time that --max-time gives: `noggin copy run` without it has no limit")

// result is what became of a due file.
type result struct {
	due    storage.DueCopy
	copied []storage.Copied // a backup has two
	gone   bool
	failed string // why the file could not be copied
	later  bool   // it is not written to its end yet
	unsent bool   // the time was over before its turn
	err    error  // ends the run
}

// copyBatch copies files that the run has taken, waits for the batch before and begins to
// record the results. The caller waits for recorded, which may be called twice.
func (r *runner) copyBatch(ctx context.Context, due []storage.DueCopy, before func() error) (recorded func() error, err error) {
	stop := r.keep(ctx, due)
	known, err := r.known(ctx, due)
	if err != nil {
		stop()
		return before, err
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	sending := working
	if !r.end.IsZero() {
		var stop context.CancelFunc
		sending, stop = context.WithDeadlineCause(working, r.end, errTooSlow)
		defer stop()
	}
	results := make([]result, len(due))
	for i := range due {
		results[i].due = due[i]
	}
	var mu sync.Mutex
	each(r.Config.Concurrency, len(results), func(i int) {
		one := &results[i]
		if working.Err() != nil {
			one.err = context.Cause(working)
			return
		}
		if one.unsent = r.over(); one.unsent {
			return
		}
		r.copyOne(sending, one, known)
		if one.err != nil && working.Err() == nil && errors.Is(context.Cause(sending), errTooSlow) {
			one.err, one.copied, one.failed = nil, nil, errTooSlow.Error()
		}
		if one.err != nil {
			cancel()
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, copied := range one.copied {
			r.summary.Copied++
			r.summary.Bytes += copied.Size
		}
		r.report(Progress{Phase: "copying", Done: r.summary.Copied, Bytes: r.summary.Bytes})
	})
	err = before()
	done := make(chan error, 1)
	go func() {
		defer stop()
		done <- r.record(ctx, results)
	}()
	recorded = sync.OnceValue(func() error { return <-done })
	if err == nil && working.Err() != nil {
		err = recorded()
	}
	return recorded, err
}

// record records results, also after the run was interrupted: what was copied need not be
// copied again.
func (r *runner) record(ctx context.Context, results []result) error {
	var all storage.CopyResults
	var back []storage.CopyKey
	var gone []storage.DueCopy
	var ended error
	for _, one := range results {
		switch {
		case one.err != nil:
			back = append(back, one.due.CopyKey)
			if ended == nil || errors.Is(ended, context.Canceled) {
				ended = one.err
			}
		case one.unsent:
			back = append(back, one.due.CopyKey)
		case one.later: // its lease ends soon
		case one.gone:
			gone = append(gone, one.due)
		case one.failed != "":
			r.summary.add(r.Log, one.due.Path, one.failed)
			all.Failed = append(all.Failed, storage.CopyFailure{CopyKey: one.due.CopyKey, Problem: one.failed})
		default:
			all.Copied = append(all.Copied, one.copied...)
		}
	}
	flushErr := r.to.Flush() // of many folders on a slow disk it takes long
	limit := cmp.Or(r.DB.RetryFor(), 10*time.Second)
	ending, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, fmt.Errorf("%w: no success within %s", storage.ErrUnavailable, limit))
	defer cancel()
	if flushErr != nil {
		return errors.Join(flushErr, r.DB.PostponeCopies(ending, r.id, keysOf(results), 0))
	}
	var there []storage.CopyKey
	var err error
	if all.Gone, there, err = r.stillGone(ending, gone); err == nil {
		back = append(back, there...)
		r.summary.Gone += int64(len(all.Gone))
		err = r.DB.FinishCopies(ending, r.id, all)
	}
	if err != nil { // the next run finds them due, and in the target
		back = keysOf(results)
	}
	if len(back) > 0 {
		err = errors.Join(err, r.DB.PostponeCopies(ending, r.id, back, 0))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(ended, err)
}

// stillGone tells which of the files that the database did not have when their batch began
// it still does not have. The others are to be copied: no trigger made them due again, as
// they were due.
func (r *runner) stillGone(ctx context.Context, due []storage.DueCopy) (gone, there []storage.CopyKey, err error) {
	known, err := r.known(ctx, due)
	for _, d := range due {
		if _, is := current(d, known[d.RecordTip]); is {
			there = append(there, d.CopyKey)
		} else {
			gone = append(gone, d.CopyKey)
		}
	}
	return gone, there, err
}

func keysOf(results []result) (keys []storage.CopyKey) {
	for _, one := range results {
		keys = append(keys, one.due.CopyKey)
	}
	return keys
}

// keep renews the lease of the files until stop is called.
func (r *runner) keep(ctx context.Context, due []storage.DueCopy) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	keys := make([]storage.CopyKey, len(due))
	for i := range due {
		keys[i] = due[i].CopyKey
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(r.lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := r.DB.PostponeCopies(ctx, r.id, keys, r.lease); err != nil && ctx.Err() == nil {
				r.Log.Warn("cannot renew the lease of files to copy; another run may copy them too", "error", err)
			}
		}
	}()
	return func() { cancel(); <-done }
}

// removeObsolete removes copies of replaced reports and of removed backups.
func (r *runner) removeObsolete(ctx context.Context) error {
	var after storage.CopyKey
	for {
		page, err := r.DB.ObsoleteCopies(ctx, r.id, after, batchSize)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].CopyKey
		gone := make([]bool, len(page))
		ended := make([]error, len(page))
		each(r.Config.Concurrency, len(page), func(i int) {
			old := page[i]
			err := r.to.Remove(ctx, object(old.Kind, old.CopyKey, old.Size), old.VersionID)
			switch {
			case err == nil:
				gone[i] = true
			case isAway(ctx, r.to, err) || ctx.Err() != nil:
				ended[i] = err
			default:
				r.Log.Warn("a copy whose original was replaced cannot be removed; it stays", "path", old.Path, "error", err)
			}
		})
		var keys []storage.CopyKey
		for i := range page {
			if gone[i] {
				keys = append(keys, page[i].CopyKey)
			}
		}
		if err := r.DB.DropObsolete(ctx, r.id, keys); err != nil {
			return err
		}
		r.summary.Removed += int64(len(keys))
		if err := errors.Join(ended...); err != nil {
			return err
		}
	}
}
