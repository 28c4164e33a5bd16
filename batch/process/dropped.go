package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"noggin/api"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/storage"
)

// Some attachments are named only by versions that are not current: by an older answer, or
// by one that was replaced before they came. The record keeps their numbers. Each asking
// tries to get them, and they become former files.

// dropped is an attachment that only former versions name.
type dropped struct {
	storage.Attachment
	ref         forms.AttachmentRef
	first, last int      // versions that name it
	suspects    []string // SHA-256 of what came and is not known to be whole
	lost        []storage.FormerFile
}

// recordFormer takes files into the result that are not of the current version: those that
// the database does not know, and those that were never fetched.
func (w *work) recordFormer(ctx context.Context) error {
	if err := w.recordUnknown(ctx); err != nil {
		return err
	}
	missing, err := w.neverFetched(ctx)
	if err != nil {
		return err
	}
	for _, tip := range slices.Sorted(maps.Keys(missing)) {
		if err := w.fetchDropped(ctx, missing[tip]); err != nil {
			return err
		}
	}
	return nil
}

// neverFetched returns the attachments that only former versions name and of which there
// is no file, or only suspect or lost ones, by their tips.
func (w *work) neverFetched(ctx context.Context) (map[string]*dropped, error) {
	missing := map[string]*dropped{}
	for number, tip := range w.stored.Dropped {
		missing[tip] = &dropped{Attachment: storage.Attachment{Tip: tip, Sequence: number}}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	former, err := w.run.db.FormerFiles(ctx, w.claim.Tip)
	if err != nil {
		return nil, err
	}
	for _, f := range former {
		if d := missing[f.AttachmentTip]; d != nil && f.ArchiveID == nil && w.isLost(f) {
			d.lost = append(d.lost, f)
			continue
		}
		there(missing, f.AttachmentTip, f.Kind, f.SHA256)
	}
	for _, f := range w.result.Found {
		there(missing, f.AttachmentTip, f.Kind, f.SHA256)
	}
	for _, a := range w.stored.Attachments {
		delete(missing, a.Tip)
	}
	if err := w.readVersions(ctx, missing); err != nil {
		return nil, err
	}
	maps.DeleteFunc(missing, func(_ string, d *dropped) bool { return d.last == 0 })
	return missing, nil
}

// isLost tells whether a former file is not on disk as recorded. One that cannot be read
// is not lost.
func (w *work) isLost(f storage.FormerFile) bool {
	if f.Size < 0 {
		return false // nothing is known of it
	}
	err := w.run.output.Verify(f.Path, f.Size, f.SHA256)
	return errors.Is(err, files.ErrMissing) || errors.Is(err, files.ErrDiffers)
}

// readVersions reads which versions name the attachments, and how the last one does.
func (w *work) readVersions(ctx context.Context, of map[string]*dropped) error {
	for i := 0; i < len(w.stored.Versions) && len(of) > 0; i++ {
		version := w.stored.Versions[i].Version
		body, found, err := w.run.db.VersionBody(ctx, w.claim.Tip, version)
		if errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
			return cmp.Or(err, context.Cause(ctx))
		}
		record, parseErr := forms.ParseRecord(w.form, body)
		if err != nil || !found || parseErr != nil {
			continue // `noggin validate data` tells
		}
		for _, ref := range record.Attachments {
			if d := of[ref.Tip]; d != nil {
				if d.last == 0 {
					d.first = version
				}
				d.ref, d.Field, d.last = ref, ref.Field, version
			}
		}
	}
	return nil
}

// correctVersions gives found files of attachments that are not current the versions that
// name these: without a mark in its name, a file seems to be of the current one.
func (w *work) correctVersions(ctx context.Context, found []storage.FoundFile) error {
	of := map[string]*dropped{}
	for _, f := range found {
		of[f.AttachmentTip] = &dropped{}
	}
	for _, a := range w.stored.Attachments {
		delete(of, a.Tip)
	}
	if err := w.readVersions(ctx, of); err != nil {
		return err
	}
	for i, f := range found {
		if d := of[f.AttachmentTip]; d != nil && d.last > 0 && (f.Version < d.first || f.LastVersion > d.last) {
			found[i].Version, found[i].LastVersion = d.first, d.last
		}
	}
	return nil
}

// there takes an attachment of which there is a file from the missing ones, unless that
// file is suspect.
func there(missing map[string]*dropped, tip, kind, sum string) {
	switch d := missing[tip]; {
	case d == nil:
	case kind == "suspect":
		d.suspects = append(d.suspects, sum)
	default:
		delete(missing, tip)
	}
}

// fetchDropped gets an attachment that only former versions name. It is kept as suspect
// when it is not known to be whole; each asking tries to get it whole. After its first
// suspect, and after a failure that may pass, the record is asked for again the next day.
func (w *work) fetchDropped(ctx context.Context, d *dropped) error {
	if err := w.run.output.CheckFolder(w.stored.Folder); err != nil {
		return err
	}
	got, err := receive(ctx, w.run.client, w.run.output, d.ref)
	if err != nil {
		return w.notFetched(ctx, d.Tip, err)
	}
	defer got.temp.Discard()
	kind, size, sum := "attachment", got.temp.Size(), got.temp.SHA256()
	whole, err := w.isWhole(ctx, &d.Attachment, d.ref, &got)
	switch {
	case errors.Is(err, errNotCompared):
		return nil
	case err != nil:
		return w.notFetched(ctx, d.Tip, err)
	case !whole && slices.Contains(d.suspects, sum):
		return nil // the platform has nothing better
	case !whole:
		kind = "suspect"
	}
	switch back, err := w.onDisk.BringBack(got.temp, d.lost); {
	case err != nil:
		return w.notFetched(ctx, d.Tip, err)
	case back:
		w.run.fileDone(size)
		return nil
	}
	kept, err := w.folder.Keep(got.temp, w.nameOf(&d.Attachment, d.ref, got.Ext), forms.TipSuffix(d.Tip))
	if err != nil {
		return w.notFetched(ctx, d.Tip, err)
	}
	if !whole {
		w.undecided(&d.Attachment, len(d.suspects) == 0)
		w.fail(d.Tip, "validation", fmt.Errorf("the attachment of a former version is not known to be whole: %s; it is kept as suspect in %s", got.Reason, kept.Path))
	}
	w.run.fileDone(size)
	w.run.log.Info("an attachment of a former version is kept", "tip", w.claim.Tip, "attachment", d.Tip, "path", kept.Path, "kind", kind, "run_id", w.run.id)
	w.result.Found = append(w.result.Found, storage.FoundFile{
		Path: kept.Path, RecordTip: w.claim.Tip, Kind: kind, AttachmentTip: d.Tip, Sequence: d.Sequence, Highest: d.Sequence,
		Version: d.first, LastVersion: d.last, Size: size, SHA256: sum, Field: d.Field, Validation: got.Status, ContentType: got.MIME,
	})
	return nil
}

// notFetched notes that an attachment of a former version could not be got, when that is the
// API's failure, it asks for a pause that outlasts the attempts, or another file is in the
// way. Any other error is returned.
func (w *work) notFetched(ctx context.Context, tip string, err error) error {
	apiErr, failed := errors.AsType[*api.Error](err)
	pause := failed && apiErr.Class == api.ClassRateLimited
	failed = failed && ctx.Err() == nil && (pause || gate.ClassOf(err) != gate.NoFailure)
	if !failed && !errors.Is(err, files.ErrObstacle) {
		return err
	}
	if pause || failed && gate.ClassOf(err) == gate.Passing {
		w.undecided(&storage.Attachment{Tip: tip}, true)
	}
	w.fail(tip, gate.KindOf(err), err)
	return nil
}
