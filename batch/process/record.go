package process

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"noggin/api"
	"noggin/batch/adopt"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/batch/textreport"
	"noggin/storage"
)

// workOn fetches a record, stores it, downloads its attachments, writes its report and
// records how that ended.
func (r *run) workOn(ctx context.Context, c storage.Claim) {
	started := time.Now()
	w := &work{run: r, claim: c, result: storage.Result{Tip: c.Tip, Token: c.Token}}
	ctx, release := api.Holding(ctx)
	defer release()
	err := w.do(gate.WithTicket(ctx, c.ObjectType, !c.FailedBefore))
	if w.fallBack(ctx, err) {
		w.failure, err = err, nil
	}
	err = w.adoptOfMissing(ctx, err)
	if w.folder != nil {
		if syncErr := w.folder.Sync(); syncErr != nil {
			w.forgetFiles()
			err = syncErr
		}
		w.folder.Close()
	}
	w.result.Seconds = time.Since(started).Seconds()
	w.conclude(ctx, err)
}

// work is the state of the work on one record.
type work struct {
	run    *run
	claim  storage.Claim
	form   forms.ObjectType
	record forms.Record
	stored storage.Stored
	folder *files.Folder // nil until the answer is stored
	result storage.Result
	failed gate.Failure // how it failed, or its attachments
	absent bool         // no form has it
	locked bool         // another session has locked its rows
	// failure is that of the API, when the record is complete all the same.
	failure error
	// unstored says that a fault of our own kept what came from being stored.
	unstored bool
	onDisk   *adopt.Folder // nil until the answer is stored

	mu             sync.Mutex // of the result, while attachments are downloaded
	badReferences  []string   // tips of attachments whose references cannot be used
	firstBad       error      // of these
	failedRequests []failedRequest
	unsure         []string // tips of attachments that could not be compared
}

func (w *work) key() storage.ClaimKey {
	return storage.ClaimKey{Tip: w.claim.Tip, Token: w.claim.Token}
}

func (w *work) do(ctx context.Context) error {
	if err := w.run.output.Check(); err != nil {
		return err
	}
	payload, err := w.fetch(ctx)
	if apiErr, ok := errors.AsType[*api.Error](err); ok {
		w.result.HTTPStatus = apiErr.Status
	}
	if err != nil {
		return err
	}
	w.result.HTTPStatus = http.StatusOK
	w.run.gate.SawAnswer(w.claim.ObjectType)
	if w.record, err = forms.ParseRecord(w.form, payload); err != nil {
		return &api.Error{Class: api.ClassBroken, Kind: api.KindBrokenAnswer, Message: err.Error()}
	}
	for _, warning := range w.record.Warnings {
		w.run.log.Warn(warning, "tip", w.claim.Tip, "inspection_id", w.record.InspectionID, "run_id", w.run.id)
	}
	if w.stored, err = w.run.store.do(w.key(), len(w.record.Stored), w.answer(payload)); err != nil {
		w.locked = errors.Is(err, storage.ErrBusy)
		return err
	}
	if err := w.keepCurrent(); err != nil {
		return err
	}
	if !w.stored.Settled {
		for _, warning := range textreport.Unexpected(w.record, w.stored.Marks) {
			w.run.log.Warn(warning, "tip", w.claim.Tip, "inspection_id", w.record.InspectionID, "run_id", w.run.id)
		}
	}
	w.folder = w.run.output.Folder(w.stored.Folder, w.stored.Taken...)
	if err := w.download(ctx); err != nil {
		return err
	}
	if w.stored.Settled && len(w.result.Downloads) == 0 {
		return w.recordFormer(ctx)
	}
	if _, err := w.run.makeSure(ctx); err != nil {
		return err
	}
	if err := w.writeReport(ctx); err != nil {
		return err
	}
	return w.recordFormer(ctx)
}

// recordUnknown takes files into the result that the database does not know.
func (w *work) recordUnknown(ctx context.Context) error {
	if w.stale() && !w.run.opts.Adopt { // of a stale answer nothing was compared
		return nil
	}
	if err := w.keepUnknownReport(ctx); err != nil {
		return err
	}
	found, err := w.onDisk.Unknown(ctx, w.result, w.unsure)
	if err == nil {
		err = w.correctVersions(ctx, found)
	}
	w.result.Found = append(w.result.Found, found...)
	return err
}

// forgetFiles takes the files out of the result: they may not be on disk.
func (w *work) forgetFiles() {
	w.result.Downloads = slices.DeleteFunc(w.result.Downloads, func(d storage.Download) bool { return d.Status == storage.AttachmentComplete })
	w.result.ReportPath, w.result.ReportSize, w.result.ReportHash, w.result.FormerReport, w.result.Suspects, w.result.Found = nil, nil, nil, nil, nil, nil
}

// fetch gets the record. When the API does not find it under its form, the other forms
// are tried: an export may have named the wrong one.
func (w *work) fetch(ctx context.Context) ([]byte, error) {
	form, ok := w.run.processor.Types.ByCode(w.claim.ObjectType)
	if !ok {
		return nil, fmt.Errorf("object type %q is not configured: add an [[object_type]] table for it", w.claim.ObjectType)
	}
	w.form = form
	payload, err := w.run.client.Record(ctx, form.APIName, w.claim.Tip)
	if gate.ClassOf(err) != gate.Absent || !w.run.gate.MayTryForms(w.claim.ObjectType) {
		return payload, err
	}
	failed, unsure := false, false
	for _, other := range w.run.processor.Types.All() {
		if other.Code == form.Code {
			continue
		}
		payload, otherErr := w.run.client.Record(ctx, other.APIName, w.claim.Tip)
		if otherErr == nil {
			w.form = other
			if !w.claim.ObjectTypeAssumed {
				w.run.log.Warn("the record is of another form than the export says; it is kept under its own", "tip", w.claim.Tip,
					"form", other.Code, "form_of_export", form.Code, "run_id", w.run.id)
			}
			return payload, nil
		}
		class := gate.ClassOf(otherErr)
		if class == gate.NoFailure || class == gate.Passing && failed {
			return nil, otherErr // the API asks for a pause, a second form fails, or it is our own
		}
		failed = failed || class == gate.Passing
		unsure = unsure || class != gate.Absent // it may be of that form
	}
	w.absent = !unsure
	return nil, err
}

// answer returns what the database stores of the record.
func (w *work) answer(received []byte) storage.Answer {
	a := storage.Answer{
		Tip: w.claim.Tip, Token: w.claim.Token, ObjectType: w.form.Code, Payload: json.RawMessage(w.record.Stored),
		InspectionID: storage.Optional(w.record.InspectionID), InspectionDate: storage.Optional(w.record.InspectionDate),
		APICreatedAt: storage.Optional(w.record.CreatedAt), APIModifiedAt: storage.Optional(w.record.ModifiedAt),
		Columns: make(map[string]*string, len(w.record.Columns)),
		Raw:     received, SID: w.record.SID, Parents: w.record.Parents, Bare: w.record.Bare(), Refresh: w.refreshes(),
	}
	for column, value := range w.record.Columns {
		a.Columns[column] = &value
	}
	folder := forms.FolderName(w.record.InspectionDate, w.record.InspectionID, w.claim.Tip)
	a.Folders = [3]string{folder, forms.DistinctFolderName(folder, w.claim.Tip, 1), forms.DistinctFolderName(folder, w.claim.Tip, 2)}
	if w.run.opts.Adopt {
		a.Folders = w.run.finder.SortFolders(w.claim.Tip, w.record.InspectionID, a.Folders)
	}
	for _, ref := range w.record.References {
		a.References = append(a.References, storage.Reference(ref))
	}
	planned := map[string]bool{}
	for _, ref := range w.record.Attachments {
		tip := attachmentTip(ref)
		if !planned[tip] {
			a.Attachments = append(a.Attachments, storage.PlannedAttachment{Tip: tip, Field: ref.Field})
		}
		planned[tip] = true
	}
	return a
}

// attachmentTip returns the key of an attachment. A media reference without a usable tip
// gets a made-up key, so that the attachment is listed and seen to be missing. References
// that differ only in the namespace have the same one.
func attachmentTip(ref forms.AttachmentRef) string {
	if ref.Tip != "" {
		return ref.Tip
	}
	sum := sha256.Sum256([]byte(forms.WithoutNamespace(ref.Ref)))
	return storage.UnusablePrefix + hex.EncodeToString(sum[:6])
}

// conclude decides the record's status and records it. A failure is written uncounted and
// held until the witness has spoken.
func (w *work) conclude(ctx context.Context, err error) {
	if errors.Is(context.Cause(ctx), storage.ErrLost) {
		err = storage.ErrLost
	}
	var finished storage.Finished
	if !errors.Is(err, storage.ErrLost) && !w.locked { // a result would wait for the same lock
		w.decide(ctx, err)
		if w.untouched() {
			finished, err = w.run.ask.do(w.key(), 0, w.asking())
		} else {
			finished, err = w.run.finish.do(w.key(), 0, w.result)
		}
	}
	w.logFailures(finished)
	switch {
	case errors.Is(err, storage.ErrLost):
		w.run.log.Warn("the claim was lost: another run or an operator has this record now", "tip", w.claim.Tip, "run_id", w.run.id)
		if w.result.ReportPath != nil { // it may stand in the place of the new owner's
			marked := w.run.db.MarkStale(w.run.writes, w.claim.Tip)
			w.run.log.Warn("the text report may be of another version than the record; if healing does not write it again, `noggin validate files` finds it", "tip", w.claim.Tip, "run_id", w.run.id, "error", cmp.Or(marked, err))
		}
		w.run.count(func(s *Summary) { s.Lost++ })
		return
	case err != nil:
		w.run.log.Error("the result could not be recorded; the record is done again when its lease ends", "tip", w.claim.Tip, "run_id", w.run.id, "error", err)
		if errors.Is(err, storage.ErrUnavailable) {
			w.run.fault(err)
		}
		if errors.Is(err, storage.ErrNoRight) { // waiting would not help
			w.run.stop(err)
			_ = w.run.db.Release(context.WithoutCancel(ctx), w.run.id, []storage.Claim{w.claim}) // else the lease ends
		}
		w.run.count(func(s *Summary) {
			s.Unrecorded++
			w.run.unrecorded = append(w.run.unrecorded, w.claim.Tip)
			if errors.Is(err, storage.ErrUnavailable) {
				w.run.unwritten = err
			}
		})
		return
	}
	if w.failed.Class != gate.NoFailure {
		w.failed.Key = w.key()
		w.failed.Kept = w.claim.Completed && w.failed.Subject != storage.SubjectMedia
		w.failed.EveryForm = w.absent
		w.run.gate.Hold(w.failed)
	}
	w.run.count(func(s *Summary) {
		if w.unstored && finished.Status == storage.StatusComplete { // it stays complete, but what came is not stored
			s.Unrecorded++
		} else {
			s.add(finished, w.result.Downloads)
		}
		s.countAsking(w)
	})
	w.run.log.Debug("record done", "tip", w.claim.Tip, "inspection_id", w.record.InspectionID, "run_id", w.run.id, "status", finished.Status, "seconds", w.result.Seconds)
}
