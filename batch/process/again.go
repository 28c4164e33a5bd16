package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"noggin/api"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/storage"
)

// A record that was complete is asked for again: by its refresh, by an operator, or as it
// lost a file. What the API says then never makes less of it than there is:
//
//   - the same version: nothing is written, save what was missing;
//   - a newer version: it becomes current, and the files of the former one stay;
//   - an older or a reduced one: it is kept as a version, the current one stays;
//   - none, or a failure of the API: the record stays complete and is asked for again
//     the next day.

// refreshes tells whether the claim is one for asking a complete record again.
func (w *work) refreshes() bool {
	return w.claim.Status == storage.StatusComplete && (w.run.opts.Refresh || len(w.run.opts.Selector.Tips) == 0)
}

// comparesMedia tells whether the bytes of all attachments are compared with those of the
// API: when asked to, and at the last step of the refresh.
func (w *work) comparesMedia() bool {
	return w.refreshes() && (w.run.opts.Media || w.claim.RefreshStep >= 0 && w.claim.RefreshStep >= len(w.run.processor.Refresh.After)-1)
}

// untouched tells whether the record was complete and nothing of it was changed.
func (w *work) untouched() bool {
	return w.claim.Status == storage.StatusComplete && (w.stored.Outcome == "" || w.stored.Settled) && w.result.ReportPath == nil
}

// asking returns what is recorded of an asking that changed nothing.
func (w *work) asking() storage.Asking {
	return storage.Asking{
		Tip: w.claim.Tip, Token: w.claim.Token, HTTPStatus: w.result.HTTPStatus, Failures: w.result.Failures, Suspects: w.result.Suspects, Served: w.result.Served, Found: w.result.Found,
		Failed: w.result.Status != storage.StatusComplete || w.stale() || w.result.Again,
		Broken: w.result.Status == storage.StatusInterrupted && len(w.unsure) == 0,
	}
}

// stale tells whether the answer was not one to replace the current one by.
func (w *work) stale() bool {
	return w.stored.Outcome == storage.OutcomeOlder || w.stored.Outcome == storage.OutcomeReduced
}

// keepCurrent goes on with the current answer of a record whose answer was older or
// reduced, and says so.
func (w *work) keepCurrent() (err error) {
	if !w.stale() {
		return nil
	}
	w.run.log.Warn("the API answered with a version that is "+string(w.stored.Outcome)+"; it is kept, and the current one stays", "tip", w.claim.Tip,
		"inspection_id", w.record.InspectionID, "run_id", w.run.id)
	w.result.Again = true
	if w.stored.Payload != nil {
		w.record, err = forms.ParseRecord(w.form, w.stored.Payload)
	}
	return err
}

// fallBack brings a record that was complete once back to that from its stored answer,
// after the API has not given it. done is false when an attachment is missing, or err is
// not the API's.
func (w *work) fallBack(ctx context.Context, err error) (done bool) {
	var apiErr *api.Error
	if !w.claim.Completed || ctx.Err() != nil || !errors.As(err, &apiErr) || gate.ClassOf(err) == gate.NoFailure {
		return false
	}
	w.result.Again = true
	if w.claim.Status == storage.StatusComplete || w.stored.Outcome != "" {
		return false
	}
	stored, ok, storedErr := w.run.db.CurrentAnswer(ctx, w.key())
	whole := func(a storage.Attachment) bool {
		return a.Status == storage.AttachmentComplete && a.Validation != storage.ValidationFailed && !a.NotLookedAt()
	}
	if storedErr != nil || !ok || slices.ContainsFunc(stored.Attachments, func(a storage.Attachment) bool { return !whole(a) }) {
		return false
	}
	record, parseErr := forms.ParseRecord(w.form, stored.Payload)
	if parseErr != nil {
		return false
	}
	if _, lost := w.run.makeSure(ctx); lost != nil {
		return false
	}
	w.record, w.stored, w.folder = record, stored, w.run.output.Folder(stored.Folder, stored.Taken...)
	if w.writeReport(ctx) != nil {
		w.result.ReportPath, w.result.FormerReport = nil, nil
		return false
	}
	return true
}

// compareOne compares the bytes of an attachment that is whole with those that the API
// serves now. It returns a download when they are others, and whole. Others that are not
// known to be whole are kept beside, as suspect. A failure leaves the attachment as it is,
// and so do former bytes, which a cache may serve, until they come on another day as well.
func (w *work) compareOne(ctx context.Context, a *storage.Attachment, ref forms.AttachmentRef) (*storage.Download, error) {
	if ref.Ref == "" || ref.Tip == "" { // the answer is older or reduced
		w.undecided(a, false)
		return nil, nil
	}
	started := time.Now()
	got, err := w.receive(ctx, ref)
	if err != nil {
		return nil, w.notCompared(ctx, a, err)
	}
	defer got.temp.Discard()
	size, sum := got.temp.Size(), got.temp.SHA256()
	if sum == storage.ValueOf(a.SHA256) {
		w.served(a, false)
		return w.cleared(a, got, time.Since(started).Seconds()), nil
	}
	former, err := w.run.db.FormerOf(ctx, w.claim.Tip, a.Tip, sum)
	wasCurrent := len(former) > 0 && former[0].Kind == "attachment"
	switch {
	case err != nil:
		return nil, err
	case wasCurrent && storage.ValueOf(a.FormerDays) < 1:
		w.run.log.Warn("the API serves former bytes of an attachment; it stays as it is, unless they come on another day as well", "tip", w.claim.Tip, "attachment", a.Tip, "sha256", sum, "run_id", w.run.id)
		w.undecided(a, false)
		w.served(a, true)
		_, err = w.onDisk.BringBack(got.temp, former)
		return nil, err
	}
	whole := wasCurrent && got.Status != storage.ValidationFailed // as when they were current
	if !whole {
		whole, err = w.isWhole(ctx, a, ref, &got)
	}
	took := time.Since(started).Seconds()
	known := len(former) > 0 || a.Validation == storage.ValidationSuspect // or it is a suspect itself
	switch {
	case errors.Is(err, errNotCompared):
		return nil, nil
	case err != nil:
		return nil, err
	case !whole && known:
		w.undecided(a, false)
		_, err = w.onDisk.BringBack(got.temp, former)
		return nil, err
	case !whole:
		w.undecided(a, true)
	}
	mark := "suspect"
	if whole {
		mark = fmt.Sprintf("v%d", max(w.stored.Version, 1))
	}
	kept, err := w.folder.Keep(got.temp, forms.BesideName(w.nameOf(a, ref, got.Ext), mark), forms.TipSuffix(a.Tip), path.Base(storage.ValueOf(a.Path)))
	if err != nil {
		return nil, w.notCompared(ctx, a, err)
	}
	w.run.fileDone(size)
	if !whole {
		w.keepSuspect(a, got, kept.Path)
		return nil, nil
	}
	w.run.log.Info("an attachment has other bytes at the platform; the former file stays", "tip", w.claim.Tip, "attachment", a.Tip, "path", kept.Path, "run_id", w.run.id)
	return &storage.Download{
		Status: storage.AttachmentComplete, Validation: got.Status, Filename: path.Base(kept.Path), Path: &kept.Path, Size: &size, SHA256: &sum,
		ContentType: &got.MIME, Seconds: took, Attempted: true, Replaces: true,
	}, nil
}

// errNotCompared says that the API failed to give what a comparison needs.
var errNotCompared = errors.New("it was not compared")

// notCompared says that an attachment stays as it is, when the API failed to give it. Any
// other error is returned.
func (w *work) notCompared(ctx context.Context, a *storage.Attachment, err error) error {
	apiErr, refused := errors.AsType[*api.Error](err)
	refused = refused && gate.ClassOf(err) != gate.NoFailure && (ctx.Err() == nil || apiErr.Kind == api.KindTooSlow)
	if !refused && !errors.Is(err, files.ErrObstacle) {
		return err
	}
	w.undecided(a, refused && gate.ClassOf(err) == gate.Passing)
	w.run.log.Warn("an attachment could not be compared; it stays as it is", "tip", w.claim.Tip, "attachment", a.Tip, "run_id", w.run.id, "error", err)
	return nil
}

// undecided notes that it is not known which bytes of an attachment the platform has. When
// that may pass, the record is asked for again the next day, and files that may be of the
// attachment wait.
func (w *work) undecided(a *storage.Attachment, passing bool) {
	w.run.count(func(s *Summary) { s.NotCompared++ })
	if !passing {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Again, w.unsure = true, append(w.unsure, a.Tip)
}

// served notes whether former bytes of an attachment came in the place of its own. If so,
// it is compared again the next day.
func (w *work) served(a *storage.Attachment, former bool) {
	if former || a.FormerDays != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.result.Again = w.result.Again || former
		w.result.Served = append(w.result.Served, storage.Served{RecordTip: w.claim.Tip, AttachmentTip: a.Tip, Former: former})
	}
}

// isWhole tells whether bytes that came are known to be whole. Those that may lack their
// end, as neither the answer told its length nor the content tells where it ends, must
// come twice. Those of which nothing is proved are not, where those of the attachment were.
// got says why they are not.
func (w *work) isWhole(ctx context.Context, a *storage.Attachment, ref forms.AttachmentRef, got *received) (bool, error) {
	if got.Status == storage.ValidationFailed {
		return false, nil
	}
	if a.Validation == storage.ValidationValid && got.Status != storage.ValidationValid {
		got.Reason = "nothing proves it, as it does for those that are mirrored"
		return false, nil
	}
	if got.lengthKnown || got.Proved {
		return true, nil
	}
	got.Reason = "it came without a length, and a second download did not bring the same bytes"
	again, err := w.receive(ctx, ref)
	if err != nil {
		return false, cmp.Or(w.notCompared(ctx, a, err), errNotCompared)
	}
	defer again.temp.Discard()
	return again.temp.SHA256() == got.temp.SHA256(), nil
}

// keepSuspect notes bytes that were kept beside an attachment: the API served them in its
// place, and they are not known to be whole.
func (w *work) keepSuspect(a *storage.Attachment, got received, at string) {
	validation := storage.ValidationNone
	if got.Status == storage.ValidationFailed {
		validation = storage.ValidationFailed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Suspects = append(w.result.Suspects, storage.Suspect{
		Path: at, RecordTip: w.claim.Tip, AttachmentTip: a.Tip, Version: max(w.stored.Version, 1), Validation: validation,
		Size: got.temp.Size(), SHA256: got.temp.SHA256(), ContentType: got.MIME,
	})
	w.fail(a.Tip, "validation", fmt.Errorf("the API serves other bytes than those that are mirrored, and they are not known to be whole: %s; they are kept as suspect in %s", got.Reason, at))
}

// cleared returns a download that takes the suspicion from a suspect attachment, whose
// bytes a newer noggin knows to be whole. It is nil for any other one.
func (w *work) cleared(a *storage.Attachment, got received, took float64) *storage.Download {
	if a.Validation != storage.ValidationSuspect || got.Status == storage.ValidationFailed || a.ArchiveID != nil || a.Path == nil {
		return nil
	}
	return &storage.Download{
		Status: storage.AttachmentComplete, Validation: got.Status, Filename: path.Base(*a.Path), Path: a.Path, Size: a.Size, SHA256: a.SHA256,
		ContentType: &got.MIME, Seconds: took, Attempted: true,
	}
}

// adoptOfMissing is recordUnknown for a complete record that the API does not give any
// more, with --adopt. After any other failure of the API it keeps the text report alone. It
// returns err, or what kept it from looking.
func (w *work) adoptOfMissing(ctx context.Context, err error) error {
	var apiErr *api.Error
	if !w.run.opts.Adopt || w.claim.Status != storage.StatusComplete || w.folder != nil || ctx.Err() != nil || !errors.As(err, &apiErr) {
		return err
	}
	stored, ok, own := w.run.db.CurrentAnswer(ctx, w.key())
	if own == nil && ok {
		w.record, own = forms.ParseRecord(w.form, stored.Payload)
	}
	if own != nil || !ok || stored.Folder == "" {
		return cmp.Or(own, err)
	}
	w.stored, w.folder = stored, w.run.output.Folder(stored.Folder, stored.Taken...)
	if class := gate.ClassOf(err); class != gate.Absent && class != gate.Forbidden {
		return cmp.Or(w.keepUnknownReport(ctx), err)
	}
	if w.onDisk, own = w.run.finder.Look(stored, nil, w.folder); own == nil {
		own = w.recordUnknown(ctx)
	}
	return cmp.Or(own, err)
}

// countAsking counts the asking of a record that was complete once.
func (s *Summary) countAsking(w *work) {
	if !w.claim.Completed || w.stored.Outcome == storage.OutcomeFirst {
		return
	}
	s.AskedAgain++
	switch {
	case w.stored.Outcome == storage.OutcomeUnchanged && w.result.HTTPStatus == 200:
		s.Unchanged++
	case w.stored.Outcome == storage.OutcomeChanged:
		s.Changed++
	case w.stored.Outcome == storage.OutcomeReduced:
		s.Reduced++
	case w.stored.Outcome == storage.OutcomeOlder:
		s.Older++
	case w.failed.Class == gate.Absent || w.failed.Class == gate.Forbidden:
		s.Gone++
	}
}
