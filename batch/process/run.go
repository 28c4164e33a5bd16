package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"noggin/api"
	"noggin/batch/adopt"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/batch/health"
	"noggin/storage"
)

// run is one drain of the queue.
type run struct {
	processor *Processor
	db        *storage.DB  // the processor's
	log       *slog.Logger // the processor's

	opts     Options
	id       int64
	started  time.Time
	client   *api.Client
	output   *files.Output
	noOutput error // why there is none: a run for names goes on without it
	finder   *adopt.Finder
	gate     *gate.Gate
	store    *group[storage.Answer, storage.Stored]
	finish   *group[storage.Result, storage.Finished]
	ask      *group[storage.Asking, storage.Finished]

	asked   time.Time               // when the last records were claimed
	reached storage.Reached         // where in the queue that was
	stop    context.CancelCauseFunc // ends claiming; the cause is why
	work    context.Context         // of the records in hand
	writes  context.Context         // of their results
	closing <-chan struct{}         // closed when nothing more is claimed
	inHand  sync.WaitGroup
	claimed atomic.Bool   // no more records are claimed
	alone   atomic.Bool   // nor while the record in hand is done alone
	slots   chan struct{} // one for each record in hand
	sureMu  sync.Mutex    // held by the one that asks whose the records are

	mu         sync.Mutex
	hands      map[string]*hand // by tip
	unrecorded []string         // tips whose result could not be written; their leases end
	unwritten  error            // what the database lacked for the last of them, or nil
	summary    Summary
	progress   Progress
}

// hand is a record in the hands of the run.
type hand struct {
	claim   storage.Claim
	cancel  context.CancelCauseFunc
	renewed time.Time // just before its lease was last asked for

	work     context.Context    // on the record
	requests context.Context    // ends before the lease does; a renewal begins another one
	lapse    context.CancelFunc // ends requests
}

// count calls add with the lock of the summary and the progress held.
func (r *run) count(add func(*Summary)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add(&r.summary)
}

// fileDone counts an attachment that is on disk, and the bytes that came from the API.
func (r *run) fileDone(downloaded int64) {
	r.count(func(s *Summary) {
		s.BytesDownloaded += downloaded
		r.progress.Attachments++
		r.progress.Bytes += downloaded
	})
}

// drain does the run. Three contexts end one after the other: first claiming, then (after
// the grace) the work on the records in hand, then the writes of their results.
func (r *run) drain(ctx context.Context, standing storage.Standing) error {
	var err error
	if r.output, err = files.OpenOutput(r.processor.Output); err != nil {
		return fmt.Errorf("no request was sent and no failure counted: %w", err)
	}
	defer files.Release(r.output)
	r.finder = &adopt.Finder{DB: r.db, Output: r.output, Log: r.log, Run: r.id, All: r.opts.Adopt}
	r.output.KeepReserve(r.processor.Reserve)
	if err = r.output.CheckWritable(); err != nil {
		return fmt.Errorf("no request was sent and no failure counted: %w", err)
	}
	if n, bytes, err := r.output.SweepTemp(files.TempAge, time.Now()); err != nil {
		r.log.Warn("old temporary files could not be removed", "error", err)
	} else if n > 0 {
		r.log.Info("removed old temporary files", "files", n, "bytes", bytes)
	}

	background := context.WithoutCancel(ctx)
	writes, endWrites := context.WithCancelCause(background)
	defer endWrites(nil)
	work, endWork := context.WithCancelCause(background)
	defer endWork(nil)
	claiming, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.work, r.writes, r.stop, r.closing = work, writes, stop, claiming.Done()

	if err := r.connect(standing); err != nil {
		return err
	}
	r.store = newGroup(writes, r.db.RetryFor(), func(ctx context.Context, answers []storage.Answer) (map[storage.ClaimKey]storage.Stored, error) {
		return r.db.Store(ctx, r.id, answers)
	})
	r.finish = newGroup(writes, r.db.RetryFor(), func(ctx context.Context, results []storage.Result) (map[storage.ClaimKey]storage.Finished, error) {
		return finishedByKey(r.db.Finish(ctx, r.id, results, r.backoff()))
	})
	r.ask = newGroup(writes, r.db.RetryFor(), func(ctx context.Context, askings []storage.Asking) (map[storage.ClaimKey]storage.Finished, error) {
		return finishedByKey(r.db.Asked(ctx, r.id, askings, r.backoff()))
	})
	grace := r.processor.Processing.StopGrace
	defer context.AfterFunc(claiming, func() {
		time.AfterFunc(grace, func() {
			endWork(fmt.Errorf("not finished within [processing] stop_grace = %s: %w", grace, context.Cause(claiming)))
			time.AfterFunc(timeToRecord(context.Cause(claiming)), func() { endWrites(errNotRecorded) })
		})
	})()
	if r.opts.MaxTime > 0 {
		defer time.AfterFunc(r.opts.MaxTime, func() { stop(errTimeOver) }).Stop()
	}
	var watchers sync.WaitGroup
	watchers.Go(func() { r.gate.Watch(work) })
	watchers.Go(func() { r.renewLeases(work) })
	watchers.Go(func() { r.watchLeases(work) })
	watchers.Go(func() { r.reportProgress(work) })
	watchers.Go(func() { r.sampleLoop(work) })

	var claimErr error
	if r.opts.Adopt {
		claimErr = r.finder.LocateLegacy(claiming, r.opts.Selector)
	}
	if errors.Is(context.Cause(claiming), errTimeOver) { // the run ends: it claims nothing
		claimErr = nil
	}
	if claimErr == nil {
		claimErr = r.claimAll(claiming)
	}
	r.claimed.Store(true)
	if claimErr != nil {
		stop(claimErr) // the records in hand have the grace
	}
	r.inHand.Wait()
	r.gate.AskLast(work, claiming)
	endWork(nil)
	watchers.Wait()
	r.store.close()
	r.finish.close()
	r.ask.close()
	return r.conclude(writes, ctx, claiming, claimErr)
}

// connect makes the client with its gate.
func (r *run) connect(standing storage.Standing) (err error) {
	client := r.processor.API
	client.UserAgent = fmt.Sprintf("noggin/%s run/%d", r.processor.Version, r.id) // the API's log tells runs apart by it
	if r.gate, err = gate.New(r.forGate(), client, standing); err != nil {
		return err
	}
	r.client, err = api.New(client, r.gate)
	return err
}

// forGate is what the gate knows of the run.
func (r *run) forGate() gate.Run {
	p := r.processor
	return gate.Run{
		ID: r.id, DB: r.db, Log: r.log, Types: p.Types, Circuit: p.Circuit, DefaultObjectType: p.DefaultObjectType, Backoff: r.backoff(),
		Concurrency: p.Processing.Concurrency, MaxRequestsPerSecond: p.Processing.MaxRequestsPerSecond,
		Closing: r.closing, Stop: r.stop, TimeLeft: r.timeLeft, MakeSure: r.makeSure, FreshLeft: r.freshLeft, Standing: p.standing,
		Receive: func(ctx context.Context, client *api.Client, ref forms.AttachmentRef) (sum, flaw string, err error) {
			if r.output == nil {
				return "", "", r.noOutput
			}
			got, err := receive(ctx, client, r.output, ref)
			if err != nil {
				return "", "", err
			}
			defer got.temp.Discard()
			if got.Status == storage.ValidationFailed {
				flaw = got.Reason
			}
			return got.temp.SHA256(), flaw, nil
		},
		Requested: func() { r.count(func(s *Summary) { s.Requests++ }) },
		GaveUp:    func() { r.count(func(s *Summary) { s.PermanentlyFailed++ }) },
	}
}

func finishedByKey(finished []storage.Finished, err error) (map[storage.ClaimKey]storage.Finished, error) {
	byKey := make(map[storage.ClaimKey]storage.Finished, len(finished))
	for _, f := range finished {
		byKey[f.ClaimKey] = f
	}
	return byKey, err
}

// timeLeft returns how long this run may still wait for the API, for which it has waited.
func (r *run) timeLeft(waited time.Duration) time.Duration {
	if r.opts.MaxTime == 0 { // a longer wait is no progress
		return r.db.RetryFor() + r.processor.Processing.StopGrace - waited
	}
	return r.opts.MaxTime - time.Since(r.started)
}

// sampleLoop takes samples of the mirror's health while a long run lasts. storage drops
// samples that follow each other too closely.
func (r *run) sampleLoop(ctx context.Context) {
	gate.Every(ctx, cmp.Or(r.processor.sampleEvery, 5*time.Minute), nil, func() {
		if err := health.Sample(ctx, r.db, r.output.Name()); err != nil && ctx.Err() == nil {
			r.log.Warn("no sample could be taken for the reports", "run_id", r.id, "error", err)
		}
	})
}

func (r *run) reportProgress(ctx context.Context) {
	if r.processor.Progress == nil {
		return
	}
	report := func(done bool) {
		r.mu.Lock()
		p := r.progress
		r.mu.Unlock()
		p.Done = done
		r.processor.Progress(p)
	}
	gate.Every(ctx, 200*time.Millisecond, nil, func() { report(false) })
	report(true)
}

// conclude tells the circuit of the last requests, counts the unknown hashes and returns why
// the run ended early; nil when it did not.
func (r *run) conclude(writes, ctx, claiming context.Context, claimErr error) error {
	flush, cancel := context.WithTimeout(context.WithoutCancel(writes), timeToConclude(context.Cause(claiming)))
	defer cancel()
	if err := r.gate.Flush(flush); err != nil {
		r.log.Warn("the last requests could not be recorded for the circuit", "error", err)
	}
	if err := r.db.CountUnknown(flush); err != nil {
		r.log.Warn("the unknown hashes could not be counted; the next run counts them", "run_id", r.id, "error", err)
	}
	r.summary.Circuit = r.gate.State()
	stopped := context.Cause(claiming)
	_, paused := errors.AsType[*gate.PausedError](stopped)
	switch {
	case ctx.Err() != nil:
		stopped = context.Cause(ctx)
	case stopped == nil:
		return cmp.Or(claimErr, r.unwritten)
	case errors.Is(stopped, errTimeOver), paused:
		r.summary.Stopped, r.summary.paused = stopped.Error(), paused
		return cmp.Or(r.unwritten, claimErr) // a claim that the end of the time broke off says nothing of the database
	}
	r.summary.Stopped = stopped.Error()
	return stopped
}

func (r *run) backoff() storage.Backoff {
	return storage.Backoff{
		Multiplier: r.processor.Retry.BackoffMultiplier, MaxAttempts: r.processor.Retry.MaxAttempts, GiveUpAfter: r.processor.Retry.GiveUpAfter,
		AskAgain: r.processor.Refresh.After,
	}
}
