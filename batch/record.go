package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"noggin/api"
	"noggin/storage"
)

// workOn takes one record its way: fetch, store, download, report, finish.
func (r *run) workOn(ctx context.Context, c storage.Claim) {
	started := time.Now()
	w := &work{run: r, claim: c, result: storage.Result{Tip: c.Tip, Token: c.Token}}
	err := w.do(ctx)
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

// work is the state of one record on its way.
type work struct {
	*run
	claim  storage.Claim
	form   ObjectType
	record Record
	stored storage.Stored
	folder *Folder // the record's, once it has one
	result storage.Result
}

func (w *work) do(ctx context.Context) error {
	if err := w.output.Check(); err != nil {
		return err
	}
	payload, err := w.fetch(ctx)
	if err != nil {
		return err
	}
	w.verdict.answeredFor(w.form.Code)
	if w.record, err = ParseRecord(w.form, payload); err != nil {
		return &api.Error{Class: api.ClassBroken, Kind: api.KindBrokenAnswer, Message: err.Error()}
	}
	for _, warning := range w.record.Warnings {
		w.Log.Warn(warning, "tip", w.claim.Tip, "inspection_id", w.record.InspectionID, "run_id", w.id)
	}
	stored, err := w.store.do(w.answer())
	if err != nil {
		return err
	}
	if stored == nil {
		return storage.ErrLost
	}
	w.stored, w.folder = *stored, w.output.Folder(stored.Folder)
	if err := w.download(ctx); err != nil {
		return err
	}
	if err := w.makeSure(ctx); err != nil {
		return err
	}
	return w.writeReport()
}

// forgetFiles takes out of the result what may not be on disk.
func (w *work) forgetFiles() {
	w.result.Downloads = slices.DeleteFunc(w.result.Downloads, func(d storage.Download) bool { return d.Status == "complete" })
	w.result.ReportPath, w.result.ReportSize, w.result.ReportHash = nil, nil, nil
}

// fetch gets the record. A tip whose form was only assumed is tried as the other
// forms before it counts as not found.
func (w *work) fetch(ctx context.Context) ([]byte, error) {
	form, ok := w.Types.ByCode(w.claim.ObjectType)
	if !ok {
		return nil, fmt.Errorf("object type %q is not configured: add an [[object_type]] table for it", w.claim.ObjectType)
	}
	w.form = form
	payload, err := w.client.Record(ctx, form.APIName, w.claim.Tip)
	if !w.claim.ObjectTypeAssumed || !isNotFound(err) {
		return payload, err
	}
	for _, other := range w.Types.All() {
		if other.Code == form.Code {
			continue
		}
		payload, otherErr := w.client.Record(ctx, other.APIName, w.claim.Tip)
		if otherErr == nil {
			w.form = other
			return payload, nil
		}
		if !isNotFound(otherErr) {
			return nil, otherErr
		}
	}
	return nil, err
}

func isNotFound(err error) bool {
	var apiErr *api.Error
	return errors.As(err, &apiErr) && apiErr.Status == 404
}

// answer is what the record becomes in the database.
func (w *work) answer() storage.Answer {
	a := storage.Answer{
		Tip: w.claim.Tip, Token: w.claim.Token, ObjectType: w.form.Code, Payload: json.RawMessage(w.record.Stored),
		InspectionID: optional(w.record.InspectionID), InspectionDate: optional(w.record.InspectionDate),
		APICreatedAt: optional(w.record.CreatedAt), APIModifiedAt: optional(w.record.ModifiedAt),
		Columns: make(map[string]*string, len(w.record.Columns)),
	}
	for column, value := range w.record.Columns {
		a.Columns[column] = &value
	}
	folder := FolderName(w.record.InspectionDate, w.record.InspectionID, w.claim.Tip)
	a.Folders = [3]string{folder, DistinctFolderName(folder, w.claim.Tip, 1), DistinctFolderName(folder, w.claim.Tip, 2)}
	if w.opts.Adopt {
		a.Folders = w.foldersOnDisk(a.Folders)
	}
	for _, ref := range w.record.References {
		a.References = append(a.References, storage.Reference(ref))
	}
	for _, ref := range w.record.Attachments {
		a.Attachments = append(a.Attachments, storage.PlannedAttachment{Tip: attachmentTip(ref), Field: ref.Field})
	}
	return a
}

// attachmentTip is the key of an attachment. One whose reference holds no usable
// tip gets a key of its own, so that it is seen to be missing.
func attachmentTip(ref AttachmentRef) string {
	if ref.Tip != "" {
		return ref.Tip
	}
	sum := sha256.Sum256([]byte(withoutNamespace(ref.Ref)))
	return storage.UnusablePrefix + hex.EncodeToString(sum[:6])
}

// optional is nil for a zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// writeReport writes the record's text report and notes where it is.
func (w *work) writeReport() error {
	report, err := writeReportFile(w.folder, w.form, w.record, w.stored)
	if err != nil {
		return err
	}
	w.result.ReportPath, w.result.ReportSize, w.result.ReportHash = &report.Path, &report.Size, &report.SHA256
	return nil
}

// writeReportFile writes the text report of a stored record into its folder, which
// the caller flushes.
func writeReportFile(folder *Folder, form ObjectType, record Record, stored storage.Stored) (storage.Report, error) {
	name := ReportName(RecordName(record.InspectionID, stored.Tip))
	size, sum, err := folder.Replace(name, func(out io.Writer) error {
		return WriteTextReport(out, reportInput(form, record, stored))
	})
	return storage.Report{Path: stored.Folder + "/" + name, Size: size, SHA256: sum}, err
}

// reportInput is what a stored record's text report is made of.
func reportInput(form ObjectType, record Record, stored storage.Stored) ReportInput {
	in := ReportInput{ObjectType: form, Record: record, Names: stored.Names.Lookup, Folder: stored.Folder}
	for _, a := range stored.Attachments {
		in.Attachments = append(in.Attachments, ReportAttachment{
			Tip: a.Tip, Sequence: a.Sequence, Field: a.Field, Filename: valueOf(a.Filename), Size: valueOf(a.Size), SHA256: valueOf(a.SHA256),
			Status: a.Status, Validation: a.Validation, Archive: valueOf(a.Archive),
		})
	}
	return in
}

// valueOf is the zero value for nil.
func valueOf[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// conclude turns the work's end into a result, writes it, and counts it.
func (w *work) conclude(ctx context.Context, err error) {
	if errors.Is(err, storage.ErrLost) || errors.Is(context.Cause(ctx), storage.ErrLost) {
		w.Log.Warn("the claim was lost: another run or an operator has this record now", "tip", w.claim.Tip, "run_id", w.id)
		w.lost()
		return
	}
	media := w.judge(ctx, err)
	countable := w.result.Counted
	if countable {
		w.result.Counted = w.verdict.counts(w.form.Code, media)
	}
	finished, err := w.finish.do(w.result)
	if err != nil {
		// Its lease will end and it is done again.
		w.Log.Error("the result could not be recorded", "tip", w.claim.Tip, "run_id", w.id, "error", err)
		if errors.Is(err, storage.ErrUnavailable) {
			w.stop(err)
		}
		w.mu.Lock()
		w.summary.Unrecorded++
		w.mu.Unlock()
		return
	}
	if finished == nil {
		w.Log.Warn("the claim was lost while its result was recorded", "tip", w.claim.Tip, "run_id", w.id)
		w.lost()
		return
	}
	if countable && !w.result.Counted {
		w.verdict.hold(w.form.Code, media, w.result)
	}
	w.tally(finished)
}

// judge decides the record's status and whether its failure may count against it;
// media tells that its attachments are what failed.
func (w *work) judge(ctx context.Context, err error) (media bool) {
	var apiErr *api.Error
	switch {
	case err == nil:
		return w.judgeAttachments()
	case ctx.Err() != nil:
		w.result.Status, w.result.Error = "interrupted", "interrupted: "+context.Cause(ctx).Error()
	case IsDiskError(err), errors.Is(err, storage.ErrUnavailable):
		w.result.Status, w.result.Error = "interrupted", err.Error()
		w.noteFailure("", ownKind(err), err)
		w.stop(err) // and the run says why
	case errors.As(err, &apiErr) && apiErr.Class == api.ClassCredentials:
		w.result.Status, w.result.Error = "interrupted", "interrupted: "+ErrCredentials.Error()
		w.noteFailure("", apiErr.Kind, err)
	case errors.As(err, &apiErr) && apiErr.Class != api.ClassOwn && apiErr.Class != api.ClassCancelled:
		w.result.Status, w.result.Error = "api_failed", apiErr.Error()
		w.fail("", apiErr.Kind, err)
		w.result.Counted = apiErr.Class != api.ClassRateLimited // which says nothing about the record
		w.result.Permanent = apiErr.Class == api.ClassForbidden || apiErr.Status == 404 || apiErr.Status == 410
	case errors.Is(err, ErrAPIUnavailable), errors.Is(err, ErrCredentials):
		w.result.Status, w.result.Error = "interrupted", "interrupted: "+err.Error()
	default:
		w.result.Status, w.result.Error = "api_failed", err.Error()
		w.fail("", "internal", err)
	}
	return false
}

// judgeAttachments decides by how the attachments ended.
func (w *work) judgeAttachments() (media bool) {
	total, failed := len(w.stored.Attachments), 0
	for _, d := range w.result.Downloads {
		if d.Status != "complete" {
			failed++
			w.result.Error = *d.Error
		}
	}
	switch {
	case failed == 0:
		w.result.Status, w.result.Error = "complete", ""
		return false
	case failed < total:
		w.result.Status = "partial"
	default:
		w.result.Status = "failed"
	}
	w.result.Counted = true
	w.result.Error = fmt.Sprintf("%d of %d attachments failed: %s", failed, total, w.result.Error)
	return true
}

// ownKind is the error type of a fault on our side.
func ownKind(err error) string {
	if IsDiskError(err) {
		return "disk"
	}
	return "database"
}

// fail tells of a failure and notes it.
func (w *work) fail(attachmentTip, kind string, err error) {
	w.noteFailure(attachmentTip, kind, err)
	w.Log.Warn("request failed", "tip", w.claim.Tip, "inspection_id", w.record.InspectionID, "attachment", attachmentTip,
		"run_id", w.id, "error_type", kind, "error", err)
}

// noteFailure keeps a failure for processing_errors.
func (w *work) noteFailure(attachmentTip, kind string, err error) {
	f := storage.Failure{Tip: w.claim.Tip, AttachmentTip: attachmentTip, Type: kind, Message: err.Error()}
	var apiErr *api.Error
	if errors.As(err, &apiErr) {
		details := map[string]any{}
		if apiErr.Status != 0 {
			details["status"] = apiErr.Status
		}
		if apiErr.Excerpt != "" {
			details["excerpt"] = apiErr.Excerpt
		}
		if len(details) > 0 {
			f.Details, _ = json.Marshal(details) // strings and numbers always encode
		}
	}
	w.result.Failures = append(w.result.Failures, f)
}

// lost counts a record whose end is not ours to record.
func (w *work) lost() {
	w.mu.Lock()
	w.summary.Lost++
	w.mu.Unlock()
}

// tally counts a finished record in the summary.
func (w *work) tally(f *storage.Finished) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.summary
	switch f.Status {
	case "complete":
		s.Complete++
	case "partial":
		s.Partial++
	case "failed":
		s.Failed++
	case "api_failed":
		s.APIFailed++
	case "interrupted":
		s.Interrupted++
	}
	if f.PermanentlyFailed {
		s.PermanentlyFailed++
	}
	for _, d := range w.result.Downloads {
		switch {
		case d.Status != "complete":
			s.AttachmentsFailed++
		case d.Attempted:
			s.AttachmentsDownloaded++
		default:
			s.AttachmentsAdopted++
		}
	}
	w.Log.Debug("record done", "tip", w.claim.Tip, "inspection_id", w.record.InspectionID, "run_id", w.id, "status", f.Status, "seconds", w.result.Seconds)
}

// storeAll and finishAll are the grouped writes; a lost claim gives nil.
func (r *run) storeAll(ctx context.Context, answers []storage.Answer) ([]*storage.Stored, error) {
	stored, err := r.DB.Store(ctx, r.id, answers)
	if err != nil {
		return nil, err
	}
	results := make([]*storage.Stored, len(answers))
	for i, a := range answers {
		if s, ok := stored[storage.ClaimKey{Tip: a.Tip, Token: a.Token}]; ok {
			results[i] = &s
		}
	}
	return results, nil
}

func (r *run) finishAll(ctx context.Context, results []storage.Result) ([]*storage.Finished, error) {
	finished, err := r.DB.Finish(ctx, r.id, results, r.backoff())
	if err != nil {
		return nil, err
	}
	byKey := make(map[storage.ClaimKey]*storage.Finished, len(finished))
	for i, f := range finished {
		byKey[f.ClaimKey] = &finished[i]
	}
	ended := make([]*storage.Finished, len(results))
	for i, res := range results {
		ended[i] = byKey[storage.ClaimKey{Tip: res.Tip, Token: res.Token}]
	}
	return ended, nil
}
