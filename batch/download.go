package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	"noggin/api"
	"noggin/storage"
)

// download gets every attachment of the record that is not complete yet. What ended
// is in w.result.Downloads, also when an error of our own side ends the record.
func (w *work) download(ctx context.Context) error {
	refs := make(map[string]AttachmentRef, len(w.record.Attachments))
	for _, ref := range w.record.Attachments {
		refs[attachmentTip(ref)] = ref
	}
	pause := w.Config.Processing.AttachmentPause
	limit := w.Config.Processing.Concurrency // open files stay few, however many attachments
	if pause > 0 {
		limit = 1
	}
	var (
		group  sync.WaitGroup
		places = make(chan struct{}, limit)
		mu     sync.Mutex
		first  error
		begun  int
	)
	ended := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return first != nil || ctx.Err() != nil
	}
	onDisk, err := w.filesOnDisk(refs)
	if err != nil {
		return err
	}
	for i := range w.stored.Attachments {
		a := &w.stored.Attachments[i]
		if a.Status == "complete" && a.Validation != validationFailed && !a.NotLookedAt() && w.isThere(a) {
			continue
		}
		places <- struct{}{}
		if begun++; ended() || begun > 1 && pause > 0 && sleep(ctx, pause) != nil {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			d, err := w.adopt(a, refs[a.Tip], onDisk[a.Tip])
			if d == nil && err == nil {
				d, err = w.downloadOne(ctx, a, refs[a.Tip])
			}
			mu.Lock()
			defer mu.Unlock()
			if d != nil {
				w.note(a, d, err)
			} else if first == nil {
				first = err
			}
		})
	}
	group.Wait()
	if first == nil && ctx.Err() != nil {
		first = context.Cause(ctx)
	}
	return first
}

// note puts a download that ended into the result, and into the attachment as the
// report shows it.
func (w *work) note(a *storage.Attachment, d *storage.Download, err error) {
	d.RecordTip, d.Tip = w.claim.Tip, a.Tip
	a.Status, a.Validation, a.Filename = d.Status, d.Validation, &d.Filename
	if err != nil {
		message := err.Error()
		d.Error, a.LastError = &message, &message
		kind := "validation"
		var apiErr *api.Error
		if errors.As(err, &apiErr) {
			kind = apiErr.Kind
		}
		w.fail(a.Tip, kind, err)
	} else {
		a.Path, a.Size, a.SHA256, a.ContentType, a.ArchiveID, a.Archive = d.Path, d.Size, d.SHA256, d.ContentType, nil, nil
	}
	w.result.Downloads = append(w.result.Downloads, *d)
}

// isThere tells whether a complete attachment is where it should be, in the output
// folder or in an archive.
func (w *work) isThere(a *storage.Attachment) bool {
	if a.ArchiveID != nil {
		return true
	}
	if a.Path == nil || a.Size == nil || a.SHA256 == nil {
		return false
	}
	if err := w.output.Verify(*a.Path, *a.Size, *a.SHA256); err != nil {
		w.Log.Warn("a photograph is not on disk as recorded; it is fetched again", "tip", w.claim.Tip, "path", *a.Path, "error", err)
		return false
	}
	return true
}

// downloadOne fetches one attachment. A nil Download means that the record's work
// ends with the error: our own side failed, or was told to stop.
func (w *work) downloadOne(ctx context.Context, a *storage.Attachment, ref AttachmentRef) (*storage.Download, error) {
	name := func(ext string) string { return w.nameOf(a, ref, ext) }
	d := &storage.Download{Status: "failed", Validation: validationNone, Filename: name(""), RejectedHash: a.RejectedHash}
	switch {
	case ref.Ref == "":
		return d, errors.New("the platform no longer names this attachment, and it was never downloaded")
	case ref.Tip == "":
		return d, &api.Error{Class: api.ClassPermanent, Kind: api.KindBadReference, Message: "the media reference holds no usable tip"}
	}
	var temp *TempFile // made when an answer comes
	var check mediaCheck
	started := time.Now()
	media, err := w.client.Media(ctx, ref.Ref, func() (_ io.Writer, err error) {
		check.Reset()
		if temp == nil {
			if temp, err = w.output.Temp(); err != nil {
				return nil, err
			}
		}
		return io.MultiWriter(temp, &check), temp.Reset()
	})
	if temp != nil {
		defer temp.Discard()
	}
	d.Seconds, d.Attempted = time.Since(started).Seconds(), true
	if err != nil {
		return w.refused(ctx, d, err)
	}
	verdict := check.Verdict(media.ContentType)
	size, sum := temp.Size(), temp.SHA256()
	d.Validation, d.Filename = verdict.Status, name(verdict.Ext)
	if verdict.Status == validationFailed {
		if !media.LengthKnown || verdict.ErrorPage() || size == 0 || a.RejectedHash == nil || *a.RejectedHash != sum {
			if media.LengthKnown && !verdict.ErrorPage() && size > 0 {
				d.RejectedHash = &sum
			}
			return d, fmt.Errorf("the photograph is not whole: %s", verdict.Reason)
		}
		// The same bytes as in an earlier run: this is what the platform has.
		// Evidence is never thrown away.
		d.Validation = validationSuspect
	}
	kept, err := w.folder.Keep(temp, d.Filename, suffixOf(a.Tip))
	if err != nil {
		if errors.Is(err, ErrObstacle) {
			return d, err
		}
		return nil, err
	}
	if kept.Instead != "" {
		w.Log.Warn("another file has this attachment's name; a different one was taken", "tip", w.claim.Tip, "path", kept.Path, "instead_of", kept.Instead)
	}
	d.Status, d.Filename, d.Path, d.Size, d.SHA256, d.ContentType = "complete", path.Base(kept.Path), &kept.Path, &size, &sum, &verdict.MIME
	w.progress.attachments.Add(1)
	w.progress.bytes.Add(size)
	w.mu.Lock()
	w.summary.BytesDownloaded += size
	w.mu.Unlock()
	return d, nil
}

// nameOf is the file name that an attachment is to get.
func (w *work) nameOf(a *storage.Attachment, ref AttachmentRef, ext string) string {
	stub := ref.Stub
	if stub == "" {
		stub = a.Field
	}
	return AttachmentName(RecordName(w.record.InspectionID, w.claim.Tip), w.record.InspectionDate, stub, a.Sequence, ext)
}

// refused sorts the error of a request: what the API did is the attachment's
// failure, anything else ends the work on the record.
func (w *work) refused(ctx context.Context, d *storage.Download, err error) (*storage.Download, error) {
	var apiErr *api.Error
	if ctx.Err() != nil || !errors.As(err, &apiErr) {
		return nil, err
	}
	switch apiErr.Class {
	case api.ClassOwn, api.ClassCancelled, api.ClassCredentials, api.ClassRateLimited:
		return nil, err
	}
	return d, err
}

// suffixOf is what sets an attachment's file apart from another of the same name.
func suffixOf(tip string) string { return Component(tip[:min(8, len(tip))], "x") }

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
