package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"noggin/storage"
)

// A healer claims a few hundred records at a time for as short as that takes: what
// one that died has left behind is free again soon. It writes no report when the
// end of the lease is near, as the record may be another's from then on.
const (
	healBatch       = 400
	healAtOnce      = 2 // batches
	healLease       = 20 * time.Second
	healMargin      = 5 * time.Second
	healPatience    = healLease + healMargin // for claims that nobody renews
	healPayloads    = 8 << 20                // bytes of stored answers read at once, as the database keeps them
	maxHealFailures = 20                     // shown in the log
)

// Healer renews records that refer to names which changed: their columns, and their
// text reports from the stored answers. It needs no request to the API.
type Healer struct {
	DB       *storage.DB
	Types    *ObjectTypes
	Config   Config
	Log      *slog.Logger
	Run      int64                 // the run that claims the records
	Progress func(done, total int) // nil is harmless
}

// HealSummary is what healing did.
type HealSummary struct {
	Healed  int `json:"records_renewed"`
	Reports int `json:"reports_written"`
	Failed  int `json:"reports_failed"`
	// Waiting are records still to be renewed: in the hands of another run, which
	// sees to them at its end, or their report could not be written.
	Waiting int64 `json:"records_waiting"`
}

// healing is one call of Heal.
type healing struct {
	*Healer
	output  *Output // nil: no report can be written
	summary HealSummary
	total   int

	mu    sync.Mutex
	why   error // the first report could not be written
	shown int   // such failures in the log
}

// Heal renews every record that is marked. Columns are renewed also where a report
// cannot be written, as on a host without the output folder; the record stays marked
// then, and the error says why. Other errors: those of the database, the cause of
// ctx. The summary is right in any case.
func (h *Healer) Heal(ctx context.Context) (HealSummary, error) {
	w := &healing{Healer: h}
	counts, err := h.DB.CountStale(ctx)
	if err != nil || counts.Free+counts.Held == 0 {
		return w.summary, err
	}
	w.total = int(counts.Free)
	if counts.Reported > 0 {
		if w.output, err = OpenOutput(h.Config.Paths.Output); err != nil {
			w.why, w.shown = err, maxHealFailures
		} else {
			defer release(w.output)
		}
	}
	err = w.all(ctx)
	left, countErr := h.DB.CountStale(context.WithoutCancel(ctx))
	w.summary.Waiting = left.Free + left.Held
	if err = errors.Join(err, countErr); err == nil && w.summary.Failed > 0 {
		err = fmt.Errorf("%d text reports could not be renewed, a later run tries again: %w", w.summary.Failed, w.why)
	}
	return w.summary, err
}

// pass is what one pass over the marked records did.
type pass struct{ healed, failed int }

// all passes over the marked records until none is left that can be claimed.
func (w *healing) all(ctx context.Context) error {
	patience := healPatience
	for {
		p, err := w.pass(ctx)
		if err != nil {
			return err
		}
		w.summary.Failed = p.failed
		more, err := w.more(ctx, p, &patience)
		if err != nil || !more {
			return err
		}
	}
}

// more tells whether there is work for another pass. It waits for claims that end
// soon: those of a run that lives are renewed long before.
func (w *healing) more(ctx context.Context, p pass, patience *time.Duration) (bool, error) {
	for {
		left, err := w.DB.CountStale(ctx)
		free := left.Free > int64(p.failed)
		switch {
		case err != nil:
			return false, err
		case free && p.healed > 0:
			return true, nil
		case *patience <= 0, !free && (left.FreeIn == nil || *left.FreeIn > healLease.Seconds()):
			return false, nil
		}
		const pause = 100 * time.Millisecond
		*patience -= pause
		if err := sleep(ctx, pause); err != nil {
			return false, err
		}
		if free {
			return true, nil
		}
	}
}

// pass goes once over the marked records, in the order of their tips. While one
// batch is at work the next is claimed.
func (w *healing) pass(ctx context.Context) (pass, error) {
	var (
		total  pass
		errs   []error
		atWork sync.WaitGroup
		places = make(chan struct{}, healAtOnce)
	)
	failed := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(errs) > 0
	}
	for after := ""; ; {
		places <- struct{}{}
		if ctx.Err() != nil || failed() {
			break
		}
		deadline := time.Now().Add(healLease - healMargin)
		batch, err := w.DB.ClaimStale(ctx, w.Run, after, healBatch, healLease)
		if err != nil || len(batch.Records) == 0 {
			w.mu.Lock()
			errs = append(errs, err) // nil at the end
			w.mu.Unlock()
			break
		}
		after = batch.Records[len(batch.Records)-1].Tip
		atWork.Go(func() {
			p, err := w.batch(ctx, deadline, batch)
			w.mu.Lock()
			defer w.mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			total.healed, total.failed = total.healed+p.healed, total.failed+p.failed
			<-places
		})
	}
	atWork.Wait()
	if ctx.Err() != nil {
		return total, context.Cause(ctx)
	}
	return total, errors.Join(errs...)
}

// batch renews claimed records. What was written is saved and the rest freed, also
// when ctx has ended.
func (w *healing) batch(ctx context.Context, deadline time.Time, batch storage.StaleBatch) (pass, error) {
	var p pass
	writing, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	healed, err := w.renew(writing, batch)
	cutShort := writing.Err() != nil
	done, saveErr := w.DB.SaveHealed(context.WithoutCancel(ctx), w.Run, batch.Names, healed)
	p.healed = done
	w.mu.Lock()
	defer w.mu.Unlock()
	w.summary.Healed += done
	for _, h := range healed {
		if h.Report != nil {
			w.summary.Reports++
		} else if !h.Done && !cutShort {
			p.failed++
		}
	}
	if w.Progress != nil {
		w.Progress(w.summary.Healed, max(w.total, w.summary.Healed))
	}
	return p, errors.Join(err, saveErr)
}

// renew writes the text reports of the records that have one.
func (w *healing) renew(ctx context.Context, batch storage.StaleBatch) ([]storage.Healed, error) {
	healed := make([]storage.Healed, len(batch.Records))
	var group []int // records whose stored answers are read at once
	size := int64(0)
	for i := range batch.Records {
		r := &batch.Records[i]
		healed[i] = storage.Healed{Record: r, Done: !r.HasReport()}
		if healed[i].Done || w.output == nil {
			continue
		}
		if size += r.PayloadSize; size > healPayloads && len(group) > 0 {
			if err := w.writeReports(ctx, batch.Names, healed, group); err != nil {
				return healed, err
			}
			group, size = group[:0], r.PayloadSize
		}
		group = append(group, i)
	}
	return healed, w.writeReports(ctx, batch.Names, healed, group)
}

// writeReports writes the reports of those records that group lists. What is not
// written when ctx ends is left for later.
func (w *healing) writeReports(ctx context.Context, names storage.Names, healed []storage.Healed, group []int) error {
	if len(group) == 0 || ctx.Err() != nil {
		return nil
	}
	tips := make([]string, len(group))
	for n, i := range group {
		tips[n] = healed[i].Record.Tip
	}
	payloads, err := w.DB.Payloads(context.WithoutCancel(ctx), tips)
	if err != nil {
		return err
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(w.Config.Processing.Concurrency, len(group)) {
		workers.Go(func() {
			for i := range next {
				r := healed[i].Record
				report, err := w.writeReport(r, payloads[r.Tip], names)
				if err != nil {
					w.fail(r, err)
					continue
				}
				healed[i].Report, healed[i].Done = &report, true
			}
		})
	}
	for _, i := range group {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return nil
}

func (w *healing) writeReport(r *storage.StaleRecord, payload []byte, names storage.Names) (storage.Report, error) {
	form, ok := w.Types.ByCode(r.ObjectType)
	if !ok {
		return storage.Report{}, fmt.Errorf("object type %q is not configured: add an [[object_type]] table for it", r.ObjectType)
	}
	record, err := ParseRecord(form, payload)
	if err != nil {
		return storage.Report{}, err
	}
	folder := w.output.Folder(*r.Folder)
	defer folder.Close()
	report, err := writeReportFile(folder, form, record,
		storage.Stored{ClaimKey: storage.ClaimKey{Tip: r.Tip, Token: r.Token}, Folder: *r.Folder, Names: names, Attachments: r.Attachments})
	if err != nil {
		return storage.Report{}, err
	}
	return report, folder.Sync()
}

// fail notes that a report could not be written.
func (w *healing) fail(r *storage.StaleRecord, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == nil {
		w.why = err
	}
	if w.shown++; w.shown <= maxHealFailures {
		w.Log.Warn("the text report could not be renewed", "tip", r.Tip, "inspection_id", valueOf(r.InspectionID), "run_id", w.Run, "error", err)
	}
}
