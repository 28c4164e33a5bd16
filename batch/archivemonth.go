package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noggin/storage"
)

// archiveMonth writes, reads back and concludes the archive of one month.
func (c *creation) archiveMonth(ctx context.Context, month storage.ArchiveMonth) error {
	if err := c.checkRoom(month); err != nil {
		return err
	}
	archive, err := c.beginArchive(ctx, month.Month)
	if err != nil {
		return err
	}
	c.at("begun")
	started := time.Now()
	content, traces, err := c.writeArchive(ctx, archive, month)
	if err != nil || content.Records == 0 {
		return errors.Join(err, c.forget(ctx, archive))
	}
	c.logPhase("archive written", archive, content.Files, content.SourceBytes, started)
	c.at("named")
	started = time.Now()
	if archive, err = c.readBack(ctx, archive, content); err != nil {
		return err
	}
	c.logPhase("archive read back: every file is right", archive, content.Files, content.SourceBytes, started)
	c.at("verified")
	return c.conclude(ctx, archive, traces, false)
}

// logPhase tells how far the run is and how long that took.
func (c *creation) logPhase(done string, archive storage.Archive, files int, bytes int64, since time.Time) {
	c.Log.Info(done, "archive", archive.Name, "files", files, "bytes", bytes, "seconds", time.Since(since).Round(time.Millisecond).Seconds(), "run_id", c.summary.RunID)
}

// checkRoom refuses at once what cannot fit: photographs do not shrink.
func (c *creation) checkRoom(month storage.ArchiveMonth) error {
	free, _, err := VolumeSpace(c.dir)
	if err != nil {
		return err
	}
	if uint64(month.PhotoBytes) > free {
		return diskError(fmt.Sprintf("write the archive of %s, with %d bytes of photographs where %d bytes are free, in", month.Month, month.PhotoBytes, free), c.dir, unix.ENOSPC)
	}
	return nil
}

// freeName is the first name of a month, from the nth, that nothing has.
func (c *creation) freeName(month string, n int) (name, at string, err error) {
	for ; ; n++ {
		name = archiveName(month, n)
		at = filepath.Join(c.dir, name)
		free := true
		for _, taken := range []string{at, at + partialExt} {
			if _, err := os.Lstat(taken); err == nil {
				free = false
			} else if !errors.Is(err, fs.ErrNotExist) {
				return "", "", diskError("look at", taken, cause(err))
			}
		}
		if free {
			return name, at, nil
		}
	}
}

// beginArchive takes the next free name of the month, in the folder and in the
// database.
func (c *creation) beginArchive(ctx context.Context, month string) (storage.Archive, error) {
	for n := 1; ; n++ {
		name, at, err := c.freeName(month, n)
		if err != nil {
			return storage.Archive{}, err
		}
		a := storage.Archive{Name: name, Path: at, Month: month, ObjectType: c.opts.ObjectType, State: storage.ArchiveWriting}
		id, ok, err := c.DB.BeginArchive(ctx, a)
		if err != nil {
			return a, err
		}
		if ok {
			a.ID = id
			return a, nil
		}
	}
}

// forget takes back an archive that came to nothing, also when ctx has ended.
func (c *creation) forget(ctx context.Context, archive storage.Archive) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return c.DB.DropArchive(ctx, archive.ID)
}

// writeArchive writes the records of the month, each compared with the database
// while it is written, and gives the archive its name. traces are the records'
// fingerprints, in the order of the manifest.
func (c *creation) writeArchive(ctx context.Context, archive storage.Archive, month storage.ArchiveMonth) (content ArchiveContent, traces []uint64, err error) {
	w, err := newArchiveWriter(archive.Path)
	if err != nil {
		return content, nil, err
	}
	seen := 0
	err = c.eachCandidate(ctx, month.Month, func(page []storage.ArchivePlace) error {
		group, err := c.writeGroup(ctx, w, page)
		traces = append(traces, group...)
		seen += len(page)
		c.report(ArchiveProgress{Phase: "writing " + archive.Name, Done: seen, Total: month.Records, Bytes: w.content.SourceBytes})
		return err
	})
	c.at("written")
	if err == nil && w.content.Records > 0 {
		err = w.finish(time.Now())
	}
	if err != nil || w.content.Records == 0 {
		return ArchiveContent{}, nil, errors.Join(err, w.discard())
	}
	return w.content, traces, nil
}

// writeGroup writes a page of records under their claims.
func (c *creation) writeGroup(ctx context.Context, w *archiveWriter, page []storage.ArchivePlace) (traces []uint64, err error) {
	tips := make([]string, len(page))
	for i, p := range page {
		tips[i] = p.Tip
	}
	claims, err := c.keeper.take(ctx, tips, "complete")
	if err != nil {
		return nil, err
	}
	defer c.keeper.giveBack(ctx)
	c.summary.Busy += len(tips) - len(claims)
	tips = slices.DeleteFunc(tips, func(tip string) bool { _, ours := claims[tip]; return !ours })
	records, err := c.filedByTips(ctx, tips)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if ctx.Err() != nil {
			return traces, context.Cause(ctx)
		}
		trace, written, err := c.writeRecord(w, r)
		if err != nil {
			return traces, err
		}
		if written {
			traces = append(traces, trace)
			c.at("record written")
		}
	}
	return traces, nil
}

// writeRecord writes one record, whole or not at all.
func (c *creation) writeRecord(w *archiveWriter, r storage.FiledRecord) (trace uint64, written bool, err error) {
	files := onDisk(r)
	if len(files) == 0 {
		return 0, false, nil // nothing was ever downloaded or reported
	}
	_, wrong, err := inspect(c.output, files)
	if err != nil {
		return 0, false, err
	}
	if len(wrong) > 0 {
		c.leaveOut(r, wrong)
		return 0, false, nil
	}
	w.begin()
	traced := newFingerprint(c.seed)
	for _, f := range files {
		err := c.writeFile(w, r, f, traced)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrDiffers) {
			return 0, false, err
		}
		c.leaveOut(r, notAsKnown(f.Path, err))
		return 0, false, w.cut()
	}
	return traced.sum(), true, w.end()
}

func (c *creation) writeFile(w *archiveWriter, r storage.FiledRecord, f storage.File, traced *fingerprint) error {
	source, info, err := c.output.Open(f.Path)
	if err != nil {
		if own := ownFault(err); own != nil {
			return own
		}
		return fmt.Errorf("%w: %w", ErrDiffers, err)
	}
	defer release(source)
	// Read once, from one end to the other: no need to keep it in memory.
	_ = unix.Fadvise(int(source.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	traced.add(path.Base(f.Path), info)
	return w.add(manifestFile(r, f), info.ModTime(), source)
}

// manifestFile is the file's line in a manifest.
func manifestFile(r storage.FiledRecord, f storage.File) ManifestFile {
	m := ManifestFile{
		Path: f.Path, Size: f.Size, SHA256: strings.ToLower(f.SHA256), Tip: r.Tip, InspectionID: r.InspectionID,
		InspectionDate: r.InspectionDate, ObjectType: r.ObjectType, ContentType: f.ContentType, Validation: f.Validation,
	}
	if f.AttachmentTip != "" {
		m.AttachmentTip, m.Sequence, m.Field = f.AttachmentTip, f.Sequence, f.Field
	}
	return m
}

// readBack reads the archive from the disk and compares every byte with its
// manifest, which is what the database says. One that is not right is put out of
// the way, and nothing is removed.
func (c *creation) readBack(ctx context.Context, archive storage.Archive, want ArchiveContent) (storage.Archive, error) {
	files, records, bytes, tip := 0, 0, int64(0), ""
	got, err := verifyArchive(ctx, archive.Path, func(f ManifestFile) error {
		if files++; f.Tip != tip {
			tip = f.Tip
			records++
		}
		if bytes += f.Size; files%100 == 0 {
			c.report(ArchiveProgress{Phase: "reading back " + archive.Name, Done: records, Total: want.Records, Bytes: bytes})
		}
		return nil
	})
	if err == nil && want.Records > 0 && (got.Files != want.Files || got.Records != want.Records || got.SizeBytes != want.SizeBytes) {
		err = fmt.Errorf("verify %s: %w: %d files in %d bytes instead of %d in %d", archive.Path, ErrDamaged, got.Files, got.SizeBytes, want.Files, want.SizeBytes)
	}
	if errors.Is(err, ErrDamaged) {
		aside := archive.Path + ".damaged"
		return archive, errors.Join(fmt.Errorf("%w: nothing was removed, and it was renamed to %s", err, aside),
			cause(os.Rename(archive.Path, aside)), c.forget(ctx, archive))
	}
	if err != nil {
		return archive, err
	}
	archive.State, archive.Records, archive.Files = storage.ArchiveVerified, got.Records, got.Files
	archive.SourceBytes, archive.SizeBytes, archive.SHA256 = got.SourceBytes, got.SizeBytes, got.SHA256
	archive.LastDate = optional(got.LastDate)
	return archive, c.DB.SaveVerified(ctx, archive)
}

// conclude does what comes after an archive was read back: the operator's own
// command, then the removal, unless the originals are to be kept. traces are the
// fingerprints of what was written; without them the originals are read again.
func (c *creation) conclude(ctx context.Context, archive storage.Archive, traces []uint64, resumed bool) (err error) {
	defer func() {
		c.summary.Archives = append(c.summary.Archives, CreatedArchive{
			Name: archive.Name, Path: archive.Path, Month: archive.Month, State: archive.State, Records: archive.Records, Files: archive.Files,
			SourceBytes: archive.SourceBytes, SizeBytes: archive.SizeBytes, SHA256: archive.SHA256, Resumed: resumed,
		})
	}()
	if archive.State == storage.ArchiveVerified {
		if err := c.runAfterCreate(ctx, archive); err != nil {
			return err
		}
		c.at("after_create ran")
		if c.opts.Keep {
			if err := c.noteRecords(ctx, archive); err != nil {
				return err
			}
			archive.State = storage.ArchiveKept
			return c.DB.SetArchiveState(ctx, archive.ID, archive.State)
		}
	}
	archive.State = storage.ArchiveRemoving
	if err := c.DB.SetArchiveState(ctx, archive.ID, archive.State); err != nil {
		return err
	}
	c.at("removing")
	started, files, bytes := time.Now(), c.summary.FilesRemoved, c.summary.BytesRemoved
	if err := c.removeOriginals(ctx, archive, traces); err != nil {
		return err
	}
	c.logPhase("originals removed", archive, c.summary.FilesRemoved-files, c.summary.BytesRemoved-bytes, started)
	c.at("removed")
	if c.unfinished {
		return nil // the next run carries on
	}
	archive.State = storage.ArchiveDone
	return c.DB.SetArchiveState(ctx, archive.ID, archive.State)
}

// noteRecords records which records a kept archive holds.
func (a *Archiver) noteRecords(ctx context.Context, archive storage.Archive) error {
	return a.eachGroup(ctx, archive.Path, func(records [][]ManifestFile) error {
		return a.DB.AddArchiveRecords(ctx, archive.ID, tipsOf(records))
	})
}

// eachGroup reads the manifest of an archive in groups of records.
func (a *Archiver) eachGroup(ctx context.Context, archive string, fn func(records [][]ManifestFile) error) error {
	r, err := openArchive(archive)
	if err != nil {
		return err
	}
	defer r.close()
	manifest, end, err := r.openManifest()
	if err != nil {
		return err
	}
	defer end()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		records, err := manifest.records(archiveGroup)
		if err != nil || len(records) == 0 {
			return err
		}
		if err := fn(records); err != nil {
			return err
		}
	}
}

func tipsOf(records [][]ManifestFile) []string {
	tips := make([]string, len(records))
	for i, files := range records {
		tips[i] = files[0].Tip
	}
	return tips
}
