package names

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/search"
	"noggin/batch/textreport"
	"noggin/storage"
)

// A healer claims a few hundred records at a time, under a short lease: if it dies,
// its records are free again soon. It writes no report when the end of the lease is
// near, as another run may claim the record then.
const (
	healAtOnce      = 2 // batches
	healLease       = 20 * time.Second
	healMargin      = 5 * time.Second
	healPatience    = healLease + healMargin // the wait for claims that nobody renews
	healPayloads    = 8 << 20                // bytes of stored answers read at once, as the database stores them
	maxHealFailures = 20                     // in the log
	recheckBatches  = 25                     // of recheckBatch in one call of Heal
)

// Tests lower these.
var (
	healBatch    = 400  // records claimed at a time
	recheckBatch = 2000 // records looked at in one transaction after an upgrade
)

// Healer heals the records that show a name which changed. It writes their columns,
// and their text reports from the stored answers. It sends no request to the API.
type Healer struct {
	DB     *storage.DB
	Types  *forms.ObjectTypes
	Output string // the output folder
	// Concurrency is how many reports are written at once.
	Concurrency int
	Log         *slog.Logger
	Run         int64                 // the run that claims the records
	Progress    func(done, total int) // may be nil
}

// HealSummary tells what healing did.
type HealSummary struct {
	Healed  int `json:"records_renewed"`
	Reports int `json:"reports_written"`
	Failed  int `json:"reports_failed"`
	// Waiting are the records that are still marked: another run claims them and
	// heals them at its end, or their report could not be written.
	Waiting int64 `json:"records_waiting"`
}

// healing is one call of Heal.
type healing struct {
	*Healer
	output  *files.Output // nil: no report can be written
	summary HealSummary
	total   int

	mu    sync.Mutex
	why   error // of the first report that could not be written
	shown int   // such errors in the log
}

// Heal heals every marked record. If a report cannot be written, as on a host
// without the output folder, the columns are healed all the same, the record stays
// marked and the error says why. Other errors: those of the database, the cause of
// ctx. The summary is right whatever the error.
func (h *Healer) Heal(ctx context.Context) (HealSummary, error) {
	w := &healing{Healer: h}
	for range recheckBatches {
		if more, err := h.DB.RecheckNames(ctx, recheckBatch); err != nil {
			return w.summary, err
		} else if !more {
			break
		}
	}
	counts, err := h.DB.CountStale(ctx)
	if err != nil || counts.Free+counts.Held == 0 {
		return w.summary, err
	}
	w.total = int(counts.Free)
	// A run beside this one may store reports while it heals, so the folder is opened even
	// if no marked record has a report now. A host without one needs it only for reports.
	if w.output, w.why = files.OpenOutput(h.Output); w.why == nil {
		defer files.Release(w.output)
	}
	err = w.all(ctx)
	left, countErr := h.DB.CountStale(context.WithoutCancel(ctx))
	w.summary.Waiting = left.Free + left.Held
	if err = errors.Join(err, countErr); err == nil && w.summary.Failed > 0 {
		err = fmt.Errorf("%d text reports could not be renewed, a later run tries again: %w", w.summary.Failed, w.why)
	}
	return w.summary, err
}

// pass tells what one pass over the marked records did.
type pass struct{ healed, failed int }

// all passes over the marked records until it can claim no more of them.
func (w *healing) all(ctx context.Context) error {
	patience := healPatience
	for more := true; more; {
		p, err := w.pass(ctx)
		if err != nil {
			return err
		}
		w.summary.Failed = p.failed
		if more, err = w.more(ctx, p, &patience); err != nil {
			return err
		}
	}
	return nil
}

// more tells whether there is work for another pass. It waits for claims that end
// soon: their run is dead, as a live run renews its claims long before.
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
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pause):
		}
		if free {
			return true, nil
		}
	}
}

// pass goes once over the marked records, in the order of their tips. It claims the
// next batch while workers heal the one before.
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
		claimed := time.Now()
		batch, err := w.DB.ClaimStale(ctx, w.Run, after, healBatch, healLease)
		if err != nil || len(batch.Records) == 0 {
			w.mu.Lock()
			errs = append(errs, err) // nil at the end
			w.mu.Unlock()
			break
		}
		after = batch.Records[len(batch.Records)-1].Tip
		atWork.Go(func() {
			p, err := w.batch(ctx, claimed, batch)
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

// batch heals the records that were claimed at the given time. It saves what was written
// and frees the claims, even when ctx has ended.
func (w *healing) batch(ctx context.Context, claimed time.Time, batch storage.StaleBatch) (pass, error) {
	writing, cancel := context.WithDeadline(ctx, claimed.Add(healLease-healMargin))
	defer cancel()
	healed, err := w.renew(writing, batch)
	cutShort := over(writing)
	done, saveErr := w.DB.SaveHealed(context.WithoutCancel(ctx), w.Run, batch.Names, healed)
	p := pass{healed: done}
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

// renew makes the words of the records from their stored answers, and writes the text
// reports of those that have one, group by group.
func (w *healing) renew(ctx context.Context, batch storage.StaleBatch) ([]storage.Healed, error) {
	healed := make([]storage.Healed, len(batch.Records))
	var group []int // records whose stored answers are read at once
	size := int64(0)
	for i := range batch.Records {
		r := &batch.Records[i]
		healed[i] = storage.Healed{Record: r, Done: r.PayloadSize == 0}
	}
	for i := range batch.Records {
		r := &batch.Records[i]
		if r.PayloadSize == 0 {
			continue
		}
		if size += r.PayloadSize; size > healPayloads && len(group) > 0 {
			if err := w.readAnswers(ctx, batch.Names, healed, group); err != nil {
				return healed, err
			}
			group, size = group[:0], r.PayloadSize
		}
		group = append(group, i)
	}
	return healed, w.readAnswers(ctx, batch.Names, healed, group)
}

// readAnswers makes what the stored answers of the records that group lists give. When ctx
// ends it leaves the rest for a later run.
func (w *healing) readAnswers(ctx context.Context, names storage.Names, healed []storage.Healed, group []int) error {
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
	for range min(w.Concurrency, len(group)) {
		workers.Go(func() {
			for i := range next {
				if over(ctx) {
					continue
				}
				if err := w.readAnswer(&healed[i], payloads[healed[i].Record.Tip], names); err != nil {
					w.fail(healed[i].Record, err)
				}
			}
		})
	}
	for _, i := range group {
		next <- i
	}
	close(next)
	workers.Wait()
	return nil
}

// over tells whether a batch may write no more: its context has ended, or would have if the
// host had not been suspended, when no timer runs.
func over(ctx context.Context) bool {
	end, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && storage.Since(end) >= 0
}

// readAnswer makes the words of a record, and writes its report if it has one and the
// output folder is there.
func (w *healing) readAnswer(h *storage.Healed, payload []byte, names storage.Names) error {
	r := h.Record
	h.Done = !r.HasReport()
	form, ok := w.Types.ByCode(r.ObjectType)
	if !ok {
		return fmt.Errorf("object type %q is not configured: add an [[object_type]] table for it", r.ObjectType)
	}
	record, err := forms.ParseRecord(form, payload)
	if err != nil {
		return err
	}
	stored := storage.Stored{ClaimKey: storage.ClaimKey{Tip: r.Tip, Token: r.Token}, Folder: storage.ValueOf(r.Folder), Names: names, Attachments: r.Attachments, Marks: r.Marks}
	h.Document = search.Document(form, record, stored)
	if !r.HasReport() || w.output == nil {
		return nil
	}
	folder := w.output.Folder(stored.Folder)
	defer folder.Close()
	report, err := textreport.WriteFile(folder, form, record, stored)
	if err == nil {
		err = folder.Sync()
	}
	if err == nil {
		h.Report, h.Done = &report, true
	}
	return err
}

// fail counts and logs a report that could not be written.
func (w *healing) fail(r *storage.StaleRecord, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == nil {
		w.why = err
	}
	if w.shown++; w.shown <= maxHealFailures {
		w.Log.Warn("the text report could not be renewed", "tip", r.Tip, "inspection_id", storage.ValueOf(r.InspectionID), "run_id", w.Run, "error", err)
	}
}
