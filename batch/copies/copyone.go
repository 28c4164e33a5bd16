package copies

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/archive"
	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/storage"
)

const (
	manifestSuffix = ".json" // of a backup's manifest
	mostManifest   = 1 << 20
)

// known reads what the database has of the records of the due files, by tip.
func (r *runner) known(ctx context.Context, due []storage.DueCopy) (map[string][]storage.File, error) {
	var tips []string
	for _, d := range due {
		if d.RecordTip != "" {
			tips = append(tips, d.RecordTip)
		}
	}
	slices.Sort(tips)
	return r.filesOf(ctx, slices.Compact(tips))
}

func (c *Copier) filesOf(ctx context.Context, tips []string) (map[string][]storage.File, error) {
	known := map[string][]storage.File{}
	if len(tips) == 0 {
		return known, nil
	}
	records, err := c.DB.RecordFiles(ctx, tips)
	for _, record := range records {
		known[record.Tip] = record.Files
	}
	return known, err
}

// current finds the due file among those of its record. An attachment that is to be
// fetched again is not: a trigger makes it due when it is complete. Nor is one that was
// lost with its archive.
func current(due storage.DueCopy, of []storage.File) (storage.File, bool) {
	i := slices.IndexFunc(of, func(f storage.File) bool {
		return f.Path == due.Path && strings.EqualFold(f.SHA256, due.SHA256) && (f.Complete || f.AttachmentTip == "") && !f.ArchiveLost
	})
	if i < 0 {
		return storage.File{}, false
	}
	return of[i], true
}

// copyOne copies one file.
func (r *runner) copyOne(ctx context.Context, one *result, known map[string][]storage.File) {
	if one.due.Kind == storage.CopyBackup {
		r.copyBackup(ctx, one)
		return
	}
	file, ok := current(one.due, known[one.due.RecordTip])
	if !ok {
		one.gone = true
		return
	}
	err := r.send(ctx, one, file)
	if errors.Is(err, files.ErrMissing) || errors.Is(err, files.ErrDiffers) {
		// It may have changed, or gone into an archive, since the database was asked.
		again, readErr := r.filesOf(ctx, []string{one.due.RecordTip})
		if readErr != nil {
			one.err = readErr
			return
		}
		now, ok := current(one.due, again[one.due.RecordTip])
		if !ok {
			one.gone = true
			return
		}
		if now.ArchiveID != nil && file.ArchiveID == nil {
			err = r.send(ctx, one, now)
		}
	}
	r.judge(ctx, one, err)
}

// judge decides what an error means for the file and for the run.
func (r *runner) judge(ctx context.Context, one *result, err error) {
	if err == nil {
		return
	}
	gone := r.output.Check()
	switch {
	case ctx.Err() != nil, isAway(ctx, r.to, err):
		one.err = err
	case gone != nil:
		one.err = gone
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrSchema):
		one.err = err
	case errors.Is(err, place.ErrSource) && errors.Is(err, files.ErrDiffers):
		one.failed = "the original is damaged, and was not copied: " + err.Error()
	default:
		one.failed = err.Error()
	}
}

// send sends the file from the disk or, where it left the disk, from its archive.
func (r *runner) send(ctx context.Context, one *result, file storage.File) error {
	content, _, err := r.output.Open(file.Path)
	if err == nil {
		defer files.Release(content)
		return r.put(ctx, one, one.due.Kind, one.due.CopyKey, one.due.Size, content)
	}
	if !errors.Is(err, files.ErrMissing) || file.ArchiveName == nil {
		return err
	}
	sent := false
	err = r.shelf.Read(ctx, *file.ArchiveName, file.RecordTip, []storage.File{file}, func(_ storage.File, content io.Reader) error {
		sent = true
		return r.put(ctx, one, one.due.Kind, one.due.CopyKey, one.due.Size, content)
	})
	switch {
	case err == nil && !sent:
		return fmt.Errorf("archive %s does not hold it", *file.ArchiveName)
	case archive.IsUnreadable(err):
		return fmt.Errorf("archive %s cannot be read: %w", *file.ArchiveName, err)
	case err == nil:
		atomic.AddInt64(&r.summary.FromArchives, 1)
	}
	return err
}

// put puts content into the target and notes the copy.
func (r *runner) put(ctx context.Context, one *result, kind string, key storage.CopyKey, size int64, content io.Reader) error {
	opts := place.PutOptions{Doubt: one.due.Damaged}
	if kind == storage.CopyAttachment || kind == storage.CopyFormer {
		opts.Retain = r.Config.retainUntil(time.Now())
	}
	stored, err := r.to.Put(ctx, object(kind, key, size), opts, content)
	if err != nil {
		return err
	}
	if stored.Already {
		atomic.AddInt64(&r.summary.AlreadyThere, 1)
	}
	if stored.Mended {
		atomic.AddInt64(&r.summary.Mended, 1)
		r.Log.Warn("a damaged object in the target was replaced", "path", key.Path)
	}
	one.copied = append(one.copied, storage.Copied{
		CopyKey: key, Size: size, Kind: kind, RecordTip: one.due.RecordTip, VersionID: stored.VersionID,
	})
	if !opts.Retain.IsZero() {
		one.copied[len(one.copied)-1].RetainUntil = &opts.Retain
	}
	return nil
}

// copyBackup copies a backup, then its manifest, whose SHA-256 nobody knows before.
func (r *runner) copyBackup(ctx context.Context, one *result) {
	err := r.putBackup(ctx, one)
	if !errors.Is(err, files.ErrMissing) {
		if err != nil {
			one.copied = nil
		}
		r.judge(ctx, one, err)
		return
	}
	if info, err := os.Lstat(one.due.Path + files.PartialExt); err == nil && time.Since(info.ModTime()).Abs() < files.TempAge {
		one.later = true // it gets its name in a moment, or its run was killed
		return
	}
	one.copied = nil
	if one.due.Host != "" && !one.due.Outdated {
		one.failed = fmt.Sprintf("it is not here, and host %s, which made it, has not copied it for a day: run `noggin copy run` there, "+
			"or `noggin maintain backup` here: once a newer backup is copied, this one is given up", one.due.Host)
		return
	}
	r.Log.Warn("a backup was removed before it was copied", "path", one.due.Path, "host", one.due.Host)
	one.gone = true
}

func (r *runner) putBackup(ctx context.Context, one *result) error {
	content, _, err := files.OpenRegular(one.due.Path, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer files.Release(content)
	if err := r.put(ctx, one, storage.CopyBackup, one.due.CopyKey, one.due.Size, content); err != nil {
		return err
	}
	manifest, _, err := files.OpenRegular(one.due.Path+manifestSuffix, unix.O_NOFOLLOW)
	if err != nil {
		if _, statErr := os.Lstat(one.due.Path); statErr == nil {
			return fmt.Errorf("its manifest cannot be read: %s", err.Error()) // not ErrMissing: the backup is there
		}
		return err
	}
	defer files.Release(manifest)
	text, err := io.ReadAll(io.LimitReader(manifest, mostManifest+1))
	if err != nil {
		return files.WrapDisk("read", manifest.Name(), err)
	}
	if len(text) > mostManifest {
		return fmt.Errorf("its manifest has more than %d bytes: noggin wrote another one", mostManifest)
	}
	sum := sha256.Sum256(text)
	key := storage.CopyKey{Path: one.due.Path + manifestSuffix, SHA256: hex.EncodeToString(sum[:])}
	return r.put(ctx, one, storage.CopyManifest, key, int64(len(text)), bytes.NewReader(text))
}
