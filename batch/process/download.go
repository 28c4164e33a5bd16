package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"noggin/api"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/batch/media"
	"noggin/storage"
)

// download gets every attachment of the record that is not complete yet. The result holds
// those that ended, also when an error ends the work on the record.
func (w *work) download(ctx context.Context) error {
	refs := make(map[string]forms.AttachmentRef, len(w.record.Attachments))
	for _, ref := range w.record.Attachments {
		refs[attachmentTip(ref)] = ref
	}
	pause := w.run.processor.Processing.AttachmentPause
	limit := w.run.processor.Processing.Concurrency // of open files
	if pause > 0 {
		limit = 1
	}
	var err error
	if w.onDisk, err = w.run.finder.Look(w.stored, refs, w.folder); err != nil {
		return err
	}
	group, going := errgroup.WithContext(ctx) // going ends with the first error
	group.SetLimit(limit)
	var own error
	for i := range w.stored.Attachments {
		a := &w.stored.Attachments[i]
		whole := a.Status == storage.AttachmentComplete && a.Validation != storage.ValidationFailed && !a.NotLookedAt()
		if whole && !w.stored.Settled { // a refresh reads no file
			if whole, own = w.isThere(a); own != nil {
				break
			}
		}
		compare := whole && (w.comparesMedia() || a.FormerDays != nil || a.Validation == storage.ValidationSuspect || w.onDisk.HasUnknown(a))
		if whole && !compare {
			continue
		}
		if going.Err() != nil {
			break
		}
		group.Go(func() error {
			if pause > 0 && len(w.result.Downloads) > 0 { // the limit is 1
				_ = gate.Sleep(going, pause)
			}
			if going.Err() != nil {
				return nil
			}
			d, err := w.getOne(ctx, a, refs[a.Tip], compare)
			if d == nil {
				return err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.note(a, d, err)
			return nil
		})
	}
	err = group.Wait()
	w.failReferences()
	return cmp.Or(own, err, context.Cause(ctx))
}

// getOne compares an attachment that is there, or gets one that is not.
func (w *work) getOne(ctx context.Context, a *storage.Attachment, ref forms.AttachmentRef, compare bool) (*storage.Download, error) {
	if compare {
		return w.compareOne(ctx, a, ref)
	}
	d, err := w.onDisk.Adopt(a)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		if d, err = w.downloadOne(ctx, a, ref); d == nil || err == nil {
			return d, err
		}
		if d, err = w.orRecorded(a, d, err); d == nil || err != nil {
			return d, err
		}
	}
	w.run.fileDone(0)
	return d, nil
}

// note adds a download that ended to the result and to the attachment, which the text
// report shows.
func (w *work) note(a *storage.Attachment, d *storage.Download, err error) {
	d.RecordTip, d.Tip = w.claim.Tip, a.Tip
	if a.Path != nil && d.Path == nil { // the name belongs to the path that stays
		d.Filename = cmp.Or(storage.ValueOf(a.Filename), d.Filename)
	}
	a.Status, a.Validation, a.Filename = d.Status, d.Validation, &d.Filename
	if err != nil {
		message := err.Error()
		d.Error, a.LastError = &message, &message
		kind := "validation"
		if apiErr, ok := errors.AsType[*api.Error](err); ok {
			kind = apiErr.Kind
		}
		if w.attachmentFailed(err); kind == api.KindBadReference {
			w.badReferences, w.firstBad = append(w.badReferences, a.Tip), cmp.Or(w.firstBad, err)
		} else {
			w.fail(a.Tip, kind, err)
		}
	} else {
		if d.Attempted && d.Validation != storage.ValidationSuspect {
			w.run.gate.SawAnswer(storage.SubjectMedia)
		}
		a.Path, a.Size, a.SHA256, a.ContentType, a.ArchiveID, a.Archive = d.Path, d.Size, d.SHA256, d.ContentType, nil, nil
	}
	w.result.Downloads = append(w.result.Downloads, *d)
}

// failReferences notes all references that cannot be used as one failure: an answer may
// hold tens of thousands.
func (w *work) failReferences() {
	switch bad := w.badReferences; {
	case len(bad) == 1:
		w.fail(bad[0], api.KindBadReference, w.firstBad)
	case len(bad) > 1:
		w.fail("", api.KindBadReference, fmt.Errorf("%d media references cannot be used, first: %w", len(bad), w.firstBad))
	}
}

// isThere tells whether the file of a complete attachment is in its place: on disk, or in
// an archive. An error says nothing about the file: it is a fault of our own.
func (w *work) isThere(a *storage.Attachment) (bool, error) {
	if a.ArchiveID != nil {
		return true, nil
	}
	if a.Path == nil || a.Size == nil || a.SHA256 == nil {
		return false, nil
	}
	err := w.run.output.Verify(*a.Path, *a.Size, *a.SHA256)
	switch {
	case err == nil:
		return true, nil
	case files.IsDiskError(err) && !files.OfOneFile(err):
		return false, err
	}
	w.run.log.Warn("an attachment is not on disk as recorded; it is downloaded again", "tip", w.claim.Tip, "path", *a.Path, "error", err)
	return false, nil
}

// orRecorded returns the file that is recorded of an attachment instead of the failure to
// download it: the file may have been brought back. A complete attachment whose file cannot
// be read stays as it is, without a Download.
func (w *work) orRecorded(a *storage.Attachment, failed *storage.Download, why error) (*storage.Download, error) {
	if a.ArchiveID != nil || a.Path == nil || a.Size == nil || a.SHA256 == nil || a.ContentType == nil {
		return failed, why
	}
	err := w.run.output.Verify(*a.Path, *a.Size, *a.SHA256)
	switch {
	case err == nil:
		d, err := w.onDisk.Recorded(a)
		if err != nil {
			return nil, err
		}
		if d != nil {
			w.run.log.Warn("an attachment could not be downloaded; its file is on disk as recorded", "tip", w.claim.Tip, "path", *a.Path, "error", why)
			return d, nil
		}
	case files.OfOneFile(err) && a.Status == storage.AttachmentComplete:
		w.run.log.Warn("an attachment could neither be read from disk nor downloaded; it stays as it is", "tip", w.claim.Tip, "path", *a.Path, "error", errors.Join(err, why))
		w.undecided(a, gate.ClassOf(why) == gate.Passing)
		return nil, nil
	case files.IsDiskError(err) && !files.OfOneFile(err):
		return nil, err
	}
	return failed, why
}

// downloadOne downloads one attachment. Without a Download the error ends the work on the
// record: our own side failed, or was told to stop.
func (w *work) downloadOne(ctx context.Context, a *storage.Attachment, ref forms.AttachmentRef) (*storage.Download, error) {
	name := func(ext string) string { return w.nameOf(a, ref, ext) }
	d := &storage.Download{Status: storage.AttachmentFailed, Validation: storage.ValidationNone, Filename: name(""), RejectedHash: a.RejectedHash}
	switch {
	case ref.Ref == "":
		return d, errors.New("the record no longer lists this attachment, and it was never downloaded")
	case ref.Tip == "":
		return d, &api.Error{Class: api.ClassPermanent, Kind: api.KindBadReference, Message: "the media reference holds no usable tip"}
	}
	if err := w.run.output.CheckFolder(w.stored.Folder); err != nil { // nothing is downloaded in vain
		return nil, err
	}
	started := time.Now()
	got, err := w.receive(ctx, ref)
	d.Seconds, d.Attempted = time.Since(started).Seconds(), true
	if err != nil {
		return w.refused(ctx, d, err)
	}
	defer got.temp.Discard()
	d.Validation, d.Filename = got.Status, name(got.Ext)
	if d, err := w.doubt(ctx, a, ref, got, d); err != nil {
		return d, err
	}
	size, sum := got.temp.Size(), got.temp.SHA256()
	as, replaces, err := w.nameBeside(a, d.Filename, size, sum)
	if err != nil {
		return nil, err
	}
	var not []string
	if replaces {
		not = []string{path.Base(*a.Path)} // also when that file is lost
	}
	kept, err := w.folder.Keep(got.temp, as, forms.TipSuffix(a.Tip), not...)
	if err != nil {
		if errors.Is(err, files.ErrObstacle) {
			return d, err
		}
		return nil, err
	}
	if forms.NameParts(as).Again && as != path.Base(storage.ValueOf(a.Path)) {
		kept.Instead = cmp.Or(kept.Instead, "a damaged file")
	}
	if kept.Instead != "" {
		w.run.log.Warn("another file has this attachment's name; the attachment got a different one", "tip", w.claim.Tip, "path", kept.Path, "instead_of", kept.Instead)
	}
	d.Status, d.Filename, d.Path, d.Size, d.SHA256, d.ContentType = storage.AttachmentComplete, path.Base(kept.Path), &kept.Path, &size, &sum, &got.MIME
	d.Replaces = replaces
	w.run.fileDone(size)
	return d, nil
}

// nameBeside decides under which name bytes are kept that came for an attachment which may
// have a file already. They replace those that were mirrored before, also when their file
// is lost, or a page that was kept in their place: each stays as evidence. They stand
// beside a damaged file: one whose SHA-256 is known, and that has another.
func (w *work) nameBeside(a *storage.Attachment, name string, size int64, sum string) (as string, replaces bool, err error) {
	at, want := storage.ValueOf(a.Path), storage.ValueOf(a.SHA256)
	switch {
	case at == "":
		if at, want = w.onDisk.Damaged(a.Tip); at == "" {
			return name, false, nil
		}
	case path.Dir(at) != w.stored.Folder:
		return name, false, nil
	case len(want) == len(sum) && !a.NotLookedAt() && want != sum:
		return forms.BesideName(name, fmt.Sprintf("v%d", max(w.stored.Version, 1))), true, nil
	}
	err = w.run.output.Verify(at, size, sum)
	switch {
	case err == nil:
		return path.Base(at), false, nil
	case errors.Is(err, files.ErrMissing), errors.Is(err, files.ErrObstacle):
		return name, false, nil
	case files.IsDiskError(err) && !files.OfOneFile(err):
		return "", false, err
	}
	if replaces, err = w.isThere(a); replaces || err != nil || len(want) != len(sum) {
		return name, replaces, err
	}
	return forms.AgainName(forms.Stem(path.Base(at)) + path.Ext(name)), false, nil
}

// received is an attachment that came, and what its content says.
type received struct {
	media.Verdict
	temp        *files.TempFile
	lengthKnown bool
	began       time.Time // when the bytes began to arrive
}

// receive downloads an attachment. One that had been arriving for half of the run's time when
// that was over is too slow: each later run would break it off as well.
func (w *work) receive(ctx context.Context, ref forms.AttachmentRef) (received, error) {
	got, err := receive(ctx, w.run.client, w.run.output, ref)
	took, limit := time.Since(got.began), w.run.opts.MaxTime+w.run.processor.Processing.StopGrace
	var apiErr *api.Error
	brokenOff := errors.As(err, &apiErr) && apiErr.Class == api.ClassCancelled && errors.Is(context.Cause(ctx), errTimeOver)
	if brokenOff && !got.began.IsZero() && took >= limit/2 {
		err = &api.Error{Class: api.ClassTransient, Kind: api.KindTooSlow, Ended: time.Now(), Message: fmt.Sprintf(
			"--max-time and [processing] stop_grace were over when the attachment had been arriving for %s: `noggin process --tip %s` gives it more time", took.Round(time.Second), files.ShellQuoted(w.claim.Tip))}
	}
	return got, err
}

// tooSlow tells whether the end of the run's time broke off an attachment that is too slow.
func (w *work) tooSlow(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), errTimeOver) && slices.ContainsFunc(w.result.Downloads, func(d storage.Download) bool {
		return d.Status == storage.AttachmentFailed && slices.ContainsFunc(w.result.Failures, func(f storage.Failure) bool {
			return f.AttachmentTip == d.Tip && f.Type == api.KindTooSlow
		})
	})
}

// receive downloads an attachment into a temporary file, which the caller has to discard.
func receive(ctx context.Context, client *api.Client, output *files.Output, ref forms.AttachmentRef) (got received, err error) {
	answer, err := client.Media(ctx, ref.Ref, api.Sink{
		Open: func() (_ io.Writer, err error) {
			got.began = time.Now()
			if got.temp == nil {
				if got.temp, err = output.Temp(); err != nil {
					return nil, err
				}
			}
			return got.temp, got.temp.Reset()
		},
		Check: func(m api.Media) (page string, err error) {
			got.Verdict, err = media.Judge(got.temp, got.temp.Size(), m.ContentType)
			switch {
			case err == nil && got.Page(ref.Document):
				page = got.PageReason()
			case err == nil && m.Encoding != "" && (got.Unknown() || got.Status == storage.ValidationNone):
				page = fmt.Sprintf("content in the unknown encoding %.40q, and nothing proves that it is the file itself", m.Encoding)
			}
			return page, err
		},
	})
	if err != nil && got.temp != nil {
		got.temp.Discard()
	}
	got.lengthKnown = answer.LengthKnown
	return got, err
}

// doubt decides whether what came may be kept. Broken bytes are kept as suspect when an
// earlier run got the same ones. Bytes that may lack their end, as neither the answer told
// its length nor the content tells where it ends, are kept when they come twice. With an
// error they are not kept.
func (w *work) doubt(ctx context.Context, a *storage.Attachment, ref forms.AttachmentRef, got received, d *storage.Download) (*storage.Download, error) {
	sum := got.temp.SHA256()
	seen := a.RejectedHash != nil && *a.RejectedHash == sum
	switch {
	case got.Status == storage.ValidationFailed && seen && got.lengthKnown && got.temp.Size() > 0:
		d.Validation = storage.ValidationSuspect // the platform has nothing better
	case got.Status == storage.ValidationFailed:
		if got.lengthKnown && got.temp.Size() > 0 {
			d.RejectedHash = &sum
		}
		return d, fmt.Errorf("the attachment is not whole: %s", got.Reason)
	case !got.lengthKnown && !got.Proved && !seen:
		whole := d.Validation
		d.Validation = storage.ValidationNone // until the second download
		again, err := w.receive(ctx, ref)
		if err != nil {
			return w.refused(ctx, d, err)
		}
		defer again.temp.Discard()
		if second := again.temp.SHA256(); second != sum {
			d.RejectedHash = &second
			return d, errors.New("the attachment came without a length, and a second download brought other bytes")
		}
		d.Validation = whole
	}
	return d, nil
}

// nameOf returns the file name of an attachment.
func (w *work) nameOf(a *storage.Attachment, ref forms.AttachmentRef, ext string) string {
	return forms.AttachmentNameIn(w.stored.Folder, w.claim.Tip, cmp.Or(ref.Stub, a.Field), a.Sequence, ext)
}

// refused decides what the error of a request ends: one by the API ends the attachment,
// any other one the work on the record.
func (w *work) refused(ctx context.Context, d *storage.Download, err error) (*storage.Download, error) {
	var apiErr *api.Error
	if !errors.As(err, &apiErr) || ctx.Err() != nil && apiErr.Kind != api.KindTooSlow {
		return nil, err
	}
	switch {
	case apiErr.Class == api.ClassOwn, apiErr.Class == api.ClassCancelled, apiErr.Class == api.ClassRateLimited,
		apiErr.Class == api.ClassCredentials && w.run.gate.Refused() != nil:
		return nil, err
	}
	return d, err
}
