package process

import (
	"context"
	"errors"
	"sync"
	"time"

	"noggin/batch/files"
	"noggin/batch/gate"
	"noggin/batch/names"
)

// namesPerRun is how many hashes a run of process asks about.
const namesPerRun = 200

// NamesRequest says which unknown hashes [Processor.FetchNames] asks about.
type NamesRequest struct {
	Run        int64         // that asks
	EntityType string        // "": any
	Limit      int           // hashes; 0: all
	MaxTime    time.Duration // 0: no limit
	Progress   func(done, total int)
}

// FetchNames asks the API for the names of unknown hashes. Its requests pass the circuit,
// pauses and the rate limit as those for records do, and the witness judges refusals. The
// witness for media needs the output folder; without it, it is silent. The summary is right
// whatever the error; the errors are those of [Processor.Run].
func (p *Processor) FetchNames(ctx context.Context, request NamesRequest) (names.FetchSummary, error) {
	standing, err := p.standing(ctx)
	switch {
	case err != nil:
		return names.FetchSummary{}, err
	case standing.Paused:
		return names.FetchSummary{}, &gate.PausedError{Standing: standing}
	case standing.CircuitOpen():
		return names.FetchSummary{}, &gate.CircuitOpenError{Until: *standing.OpenUntil}
	}
	r := &run{
		processor: p, db: p.DB, log: p.Log, opts: Options{MaxTime: request.MaxTime}, id: request.Run, started: time.Now(),
		hands: map[string]*hand{}, summary: Summary{RunID: request.Run, Circuit: standing.State},
	}
	background := context.WithoutCancel(ctx)
	work, endWork := context.WithCancel(background)
	defer endWork()
	asking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.work, r.stop, r.closing = work, stop, asking.Done()
	if request.MaxTime > 0 {
		defer time.AfterFunc(request.MaxTime, func() { stop(errTimeOver) }).Stop()
	}
	if r.output, r.noOutput = files.OpenOutput(p.Output); r.noOutput == nil {
		defer files.Release(r.output)
		r.output.KeepReserve(p.Reserve)
	}
	if err := r.connect(standing); err != nil {
		return names.FetchSummary{}, err
	}
	defer r.client.Close()
	var watchers sync.WaitGroup
	watchers.Go(func() { r.gate.Watch(work) })

	fetcher := names.Fetcher{
		DB: p.DB, Types: p.Types, Kinds: p.Names, Concurrency: p.Processing.Concurrency, Object: r.client.Object, Progress: request.Progress,
	}
	summary, refused, fetchErr := fetcher.Fetch(gate.WithTicket(asking, p.DefaultObjectType, false), request.EntityType, request.Limit)
	if fetchErr == nil && len(refused) > 0 {
		fetchErr = r.gate.JudgeRefusals(asking, p.DefaultObjectType, len(refused))
	}
	r.gate.AskLast(work, asking)
	endWork()
	watchers.Wait()
	if fetchErr == nil {
		fetchErr = p.DB.RememberAsked(background, refused)
	}
	err = r.conclude(background, ctx, asking, fetchErr) // why it was stopped, rather than how a request failed for that
	if ctx.Err() == nil && errors.Is(context.Cause(asking), errTimeOver) {
		summary.Stopped, err = errTimeOver.Error(), nil
	}
	return summary, err
}

// fetchNames asks for names at the end of a run, if the configuration says so, within what
// is left of --max-time. Its failure is only logged: it says nothing about the records of
// the run.
func (p *Processor) fetchNames(ctx context.Context, run int64, limit time.Duration, started time.Time) int {
	left := limit - time.Since(started)
	if !p.Names.Fetch || ctx.Err() != nil || limit > 0 && left <= 0 {
		return 0
	}
	waiting, err := p.DB.AskableHashes(ctx, "", names.AskAgain, 1)
	if err != nil || len(waiting) == 0 {
		return 0
	}
	summary, err := p.FetchNames(ctx, NamesRequest{Run: run, Limit: namesPerRun, MaxTime: max(left, 0)})
	if _, paused := errors.AsType[*gate.PausedError](err); err != nil && !paused && ctx.Err() == nil {
		p.Log.Warn("not every name could be fetched; a later run asks again", "named", summary.Named, "run_id", run, "error", err)
	}
	return summary.Named
}
