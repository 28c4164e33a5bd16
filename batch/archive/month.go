package archive

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/storage"
)

// archiveMonth writes the archive of one month, reads it back, and removes the
// originals.
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
	written, traces, err := c.writeArchive(ctx, archive, month)
	if err != nil || written.Records == 0 {
		return errors.Join(err, c.forget(ctx, archive))
	}
	c.logPhase("archive written", archive, written.Files, written.SourceBytes, started)
	c.at("named")
	started = time.Now()
	if archive, err = c.readBack(ctx, archive, written); err != nil {
		return err
	}
	c.logPhase("archive read back, every file is right", archive, written.Files, written.SourceBytes, started)
	c.at("verified")
	return c.conclude(ctx, archive, traces, false)
}

// logPhase logs what is done and how long it took.
func (c *creation) logPhase(done string, archive storage.Archive, files int, bytes int64, since time.Time) {
	c.Log.Info(done, "archive", archive.Name, "files", files, "bytes", bytes, "seconds", time.Since(since).Round(time.Millisecond).Seconds(), "run_id", c.summary.RunID)
}

// checkRoom returns an error when the month cannot fit on the volume: photographs do
// not shrink.
func (c *creation) checkRoom(month storage.ArchiveMonth) error {
	free, _, err := files.VolumeSpace(c.dir)
	if err != nil {
		return err
	}
	if uint64(month.PhotoBytes) > free {
		return files.WrapDisk(fmt.Sprintf("write the archive of %s, with %d bytes of photographs while %d bytes are free, in", month.Month, month.PhotoBytes, free), c.dir, unix.ENOSPC)
	}
	return nil
}

// freeName returns the first name of a month, from the nth on, that no file has.
func (c *creation) freeName(month string, n int) (name, at string, err error) {
	for ; ; n++ {
		name = format.Name(month, n)
		at = filepath.Join(c.dir, name)
		free := true
		for _, taken := range []string{at, at + files.PartialExt} {
			if _, err := os.Lstat(taken); err == nil {
				free = false
			} else if !errors.Is(err, fs.ErrNotExist) {
				return "", "", files.WrapDisk("look at", taken, files.Cause(err))
			}
		}
		if free {
			return name, at, nil
		}
	}
}

// beginArchive reserves the next name of the month that is free in the folder and in
// the database.
func (c *creation) beginArchive(ctx context.Context, month string) (storage.Archive, error) {
	for n := 1; ; n++ {
		name, at, err := c.freeName(month, n)
		if err != nil {
			return storage.Archive{}, err
		}
		a := storage.Archive{Name: name, Path: at, Month: month, ObjectType: c.opts.Selector.ObjectType, State: storage.ArchiveWriting}
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

// forget removes the row of an archive that was not written, also when ctx has
// ended.
func (c *creation) forget(ctx context.Context, archive storage.Archive) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return c.DB.DropArchive(ctx, archive.ID)
}

// writeArchive writes the records of the month and gives the archive its name. It
// compares each file with the database while it writes it. traces are the records'
// fingerprints, in the order of the manifest.
func (c *creation) writeArchive(ctx context.Context, archive storage.Archive, month storage.ArchiveMonth) (written format.Contents, traces []uint64, err error) {
	w, err := format.NewWriter(archive.Path)
	if err != nil {
		return written, nil, err
	}
	seen := 0
	err = c.eachCandidate(ctx, month.Month, func(tips []string) error {
		group, err := c.writeGroup(ctx, w, tips)
		traces = append(traces, group...)
		seen += len(tips)
		c.report(Progress{Phase: "writing " + archive.Name, Done: seen, Total: month.Records, Bytes: w.Contents.SourceBytes})
		return err
	})
	c.at("written")
	if err == nil && w.Contents.Records > 0 {
		err = w.Finish(time.Now())
	}
	if err != nil || w.Contents.Records == 0 {
		return format.Contents{}, nil, errors.Join(err, w.Discard())
	}
	return w.Contents, traces, nil
}

// writeGroup claims a group of records and writes them.
func (c *creation) writeGroup(ctx context.Context, w *format.Writer, tips []string) (traces []uint64, err error) {
	claims, err := c.keeper.Take(ctx, tips, storage.StatusComplete)
	if err != nil {
		return nil, err
	}
	defer c.keeper.GiveBack(ctx)
	c.summary.Busy += len(tips) - len(claims)
	records, err := c.copied(ctx, tips)
	if err != nil {
		return nil, err
	}
	for _, tip := range tips {
		if ctx.Err() != nil {
			return traces, context.Cause(ctx)
		}
		r, known := records[tip]
		if _, claimed := claims[tip]; !known || !claimed {
			continue
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
func (c *creation) writeRecord(w *format.Writer, r storage.FiledRecord) (trace uint64, written bool, err error) {
	found := onDisk(r)
	if len(found) == 0 {
		return 0, false, nil // the record has no files
	}
	_, wrong, err := inspect(c.output, found)
	if err != nil {
		return 0, false, err
	}
	if len(wrong) > 0 {
		c.leaveOut(r, wrong)
		return 0, false, nil
	}
	w.Begin()
	traced := newFingerprint(c.seed)
	for _, f := range found {
		err := c.writeFile(w, r, f, traced)
		if err == nil {
			continue
		}
		if !errors.Is(err, files.ErrDiffers) {
			return 0, false, err
		}
		c.leaveOut(r, because(f.Path, err))
		return 0, false, w.Cut()
	}
	return traced.Sum64(), true, w.End()
}

func (c *creation) writeFile(w *format.Writer, r storage.FiledRecord, f storage.File, traced *maphash.Hash) error {
	source, info, err := c.output.Open(f.Path)
	if err != nil {
		if own := files.OwnFault(err); own != nil {
			return own
		}
		return fmt.Errorf("%w: %w", files.ErrDiffers, err)
	}
	defer files.Release(source)
	// The file is read once from start to end: the kernel may read further ahead.
	_ = unix.Fadvise(int(source.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	addFile(traced, path.Base(f.Path), info)
	return w.Add(format.FileOf(r, f), info.ModTime(), source)
}

// readBack reads the archive from the disk and compares every byte with its
// manifest. A damaged archive is renamed, and nothing is removed. want is what was
// written; it is empty when another run wrote the archive.
func (c *creation) readBack(ctx context.Context, archive storage.Archive, want format.Contents) (storage.Archive, error) {
	got, err := format.Verify(ctx, archive.Path, func(read format.Contents) {
		c.report(Progress{Phase: "reading back " + archive.Name, Done: read.Records, Total: want.Records, Bytes: read.SourceBytes})
	})
	if err == nil && want.Records > 0 && (got.Files != want.Files || got.Records != want.Records || got.SizeBytes != want.SizeBytes) {
		err = fmt.Errorf("verify %s: %w: %d files in %d bytes instead of %d in %d", archive.Path, format.ErrDamaged, got.Files, got.SizeBytes, want.Files, want.SizeBytes)
	}
	if errors.Is(err, format.ErrDamaged) {
		aside := archive.Path + ".damaged"
		return archive, errors.Join(fmt.Errorf("%w: the archive was renamed to %s, and nothing was removed", err, aside),
			files.Cause(os.Rename(archive.Path, aside)), c.forget(ctx, archive))
	}
	if err != nil {
		return archive, err
	}
	archive.State = storage.ArchiveVerified
	got.Describe(&archive)
	return archive, c.DB.SaveVerified(ctx, archive)
}

// conclude runs after_create and then, without --keep, removes the originals of an
// archive that was read back. traces are the fingerprints of the written records.
// Without them the originals are read again.
func (c *creation) conclude(ctx context.Context, archive storage.Archive, traces []uint64, resumed bool) (err error) {
	defer func() {
		c.summary.Archives = append(c.summary.Archives, Created{
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
	switch {
	case c.unfinished:
		return nil // the next run continues
	case c.uncopied:
		archive.State = storage.ArchiveKept // a later run removes the rest
	default:
		archive.State = storage.ArchiveDone
	}
	return c.DB.SetArchiveState(ctx, archive.ID, archive.State)
}

// noteRecords stores in the database which records a kept archive holds.
func (a *Archiver) noteRecords(ctx context.Context, archive storage.Archive) error {
	return format.EachGroup(ctx, archive.Path, func(_ *format.Reader, records [][]format.File) error {
		return a.DB.AddArchiveRecords(ctx, archive.ID, format.Tips(records))
	})
}
