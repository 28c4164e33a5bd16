package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"noggin/api"
	"noggin/batch/files"
	"noggin/batch/gate"
	"noggin/storage"
)

// decide decides the record's status, and of which class its failure is.
func (w *work) decide(ctx context.Context, err error) {
	var apiErr *api.Error
	switch {
	case err == nil:
		w.decideAttachments()
		if w.failure != nil {
			w.fail("", gate.KindOf(w.failure), w.failure)
			w.failed = gate.Failure{Subject: w.claim.ObjectType, Class: gate.ClassOf(w.failure), Ended: gate.EndOf(w.failure)}
		}
	case w.tooSlow(ctx):
		w.decideAttachments()
	case ctx.Err() != nil:
		w.interrupted(context.Cause(ctx))
	case files.OfOneFile(err) && w.run.output.CheckWritable() == nil: // other records have no such fault
		w.unstored = true
		w.result.Status, w.result.Error = storage.StatusAPIFailed, err.Error()
		w.fail("", "disk", err)
	case files.IsDiskError(err), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrNoRight), isOwn(err):
		w.unstored = true
		w.result.Status, w.result.Error = storage.StatusInterrupted, err.Error()
		w.noteFailure("", ownKind(err), err)
		w.run.fault(err) // and the run says why
	case errors.Is(err, gate.ErrAPIUnavailable), errors.Is(err, gate.ErrCredentials), errors.Is(err, api.ErrStopped), errors.Is(w.run.gate.Refused(), gate.ErrCredentials):
		w.interrupted(cmp.Or(w.run.gate.Refused(), err))
	case errors.As(err, &apiErr):
		w.result.Status, w.result.Error = storage.StatusAPIFailed, apiErr.Error()
		w.fail("", apiErr.Kind, err)
		w.failed = gate.Failure{Subject: w.claim.ObjectType, Class: gate.ClassOf(err), Ended: gate.EndOf(err)}
	default:
		w.unstored = true
		w.result.Status, w.result.Error = storage.StatusAPIFailed, err.Error()
		w.fail("", "internal", err)
	}
}

func (w *work) interrupted(why error) {
	w.result.Status, w.result.Error = storage.StatusInterrupted, "interrupted: "+why.Error()
}

// isOwn tells whether a request failed for a reason of this host.
func isOwn(err error) bool {
	var apiErr *api.Error
	return errors.As(err, &apiErr) && apiErr.Class == api.ClassOwn && apiErr.Kind == api.KindLocal
}

// ownKind is the kind of a failure of our own.
func ownKind(err error) string {
	switch {
	case files.IsDiskError(err):
		return "disk"
	case isOwn(err):
		return api.KindLocal
	}
	return "database"
}

// decideAttachments decides the status by how the attachments ended.
func (w *work) decideAttachments() {
	total, failed := len(w.stored.Attachments), 0
	w.result.Planned = total
	for _, d := range w.result.Downloads {
		if d.Status != storage.AttachmentComplete {
			failed++
			w.result.Error = *d.Error
		}
	}
	switch {
	case failed == 0:
		w.result.Status, w.result.Error, w.failed = storage.StatusComplete, "", gate.Failure{}
		return
	case failed < total:
		w.result.Status = storage.StatusPartial
	default:
		w.result.Status = storage.StatusFailed
	}
	w.result.Error = fmt.Sprintf("%d of %d attachments failed: %s", failed, total, w.result.Error)
}

// attachmentFailed adds the failure of an attachment to the record's. The gravest stands
// for all: rejected credentials first, then what may pass.
func (w *work) attachmentFailed(err error) {
	c := gate.ClassOf(err)
	if c == gate.Absent {
		c = gate.Passing // the record is there, and its file may follow
	}
	gravest := func(a, b gate.Class) bool {
		order := []gate.Class{gate.NoFailure, gate.Lasting, gate.Passing, gate.Forbidden, gate.Unauthorized}
		return slices.Index(order, a) > slices.Index(order, b)
	}
	if gravest(c, w.failed.Class) {
		w.failed.Class = c
	}
	w.failed.Subject = storage.SubjectMedia
	if ended := gate.EndOf(err); ended.After(w.failed.Ended) {
		w.failed.Ended = ended
	}
}

// fail notes a failed request, which is logged when the next try is known.
func (w *work) fail(attachmentTip, kind string, err error) {
	w.noteFailure(attachmentTip, kind, err)
	w.failedRequests = append(w.failedRequests, failedRequest{attachmentTip, kind, err})
}

// failedRequest is a failure that is still to be logged.
type failedRequest struct {
	attachmentTip, kind string
	err                 error
}

// RequestFailed is the message of the log line of a failed request.
const RequestFailed = "request failed"

// logFailures logs the failed requests, each with the record's next try. finished is empty
// where the result could not be recorded.
func (w *work) logFailures(finished storage.Finished) {
	for _, f := range w.failedRequests {
		attributes := []any{"tip", w.claim.Tip, "inspection_id", cmp.Or(w.record.InspectionID, storage.ValueOf(finished.InspectionID))}
		if f.attachmentTip != "" {
			attributes = append(attributes, "attachment", f.attachmentTip)
		}
		for _, d := range w.result.Downloads {
			if d.Tip == f.attachmentTip && d.Filename != "" {
				attributes = append(attributes, "file", d.Filename)
			}
		}
		attributes = append(attributes, "run_id", w.run.id, "error_type", f.kind, "error", f.err)
		if finished.NextRetryAt != nil && !finished.PermanentlyFailed {
			attributes = append(attributes, "next_try", *finished.NextRetryAt)
		}
		w.run.log.Warn(RequestFailed, attributes...)
	}
}

// noteFailure adds a row for processing_errors to the result.
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

// add counts a record that ended, and its attachments.
func (s *Summary) add(f storage.Finished, downloads []storage.Download) {
	switch f.Status {
	case storage.StatusComplete:
		s.Complete++
	case storage.StatusPartial:
		s.Partial++
	case storage.StatusFailed:
		s.Failed++
	case storage.StatusAPIFailed:
		s.APIFailed++
	case storage.StatusInterrupted:
		s.Interrupted++
	}
	if f.PermanentlyFailed {
		s.PermanentlyFailed++
	}
	for _, d := range downloads {
		switch {
		case d.Status != storage.AttachmentComplete:
			s.AttachmentsFailed++
		case d.Attempted:
			s.AttachmentsDownloaded++
		default:
			s.AttachmentsAdopted++
		}
	}
}
