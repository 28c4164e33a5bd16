package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/storage"
)

// resume finishes or removes the archives that earlier runs left: killed runs, and
// runs with --keep.
func (c *creation) resume(ctx context.Context) error {
	unfinished, err := c.DB.UnfinishedArchives(ctx)
	if err != nil {
		return err
	}
	for _, archive := range unfinished {
		if archive.State == storage.ArchiveKept && !c.wantsKept(archive) {
			continue
		}
		if err := c.resumeOne(ctx, archive); err != nil {
			return err
		}
	}
	return c.removePartials()
}

// wantsKept reports whether this run removes the originals of a kept archive. It
// does when it would take all of its records itself.
func (c *creation) wantsKept(archive storage.Archive) bool {
	return !c.opts.Keep && archive.LastDate != nil && *archive.LastDate < c.opts.Before &&
		c.opts.Selector.OnlyForm() && (c.opts.Selector.ObjectType == "" || c.opts.Selector.ObjectType == archive.ObjectType)
}

func (c *creation) resumeOne(ctx context.Context, archive storage.Archive) error {
	if archive.State == storage.ArchiveWriting {
		return c.resumeWriting(ctx, archive)
	}
	if at, err := c.findFile(archive); err == nil {
		archive.Path = at
	}
	// The archive was right once. Nothing is removed before its hash is compared again.
	_, sum, err := files.HashFile(ctx, archive.Path)
	if err == nil && sum != archive.SHA256 {
		err = fmt.Errorf("%w: SHA-256 %s instead of %s", format.ErrDamaged, sum, archive.SHA256)
	}
	switch {
	case err == nil:
		c.Log.Info("continuing the archive of an earlier run", "archive", archive.Name, "state", archive.State)
		return c.conclude(ctx, archive, nil, true)
	case ctx.Err() != nil:
		return err
	case errors.Is(err, files.ErrMissing) && archive.Host != c.DB.Host():
		return nil // that host goes on with it
	case errors.Is(err, files.ErrMissing) && archive.State == storage.ArchiveVerified:
		c.Log.Warn("the archive of an earlier run is gone; its records are archived again", "archive", archive.Name, "path", archive.Path)
		return c.DB.DropArchive(ctx, archive.ID)
	}
	c.problem(archive, err)
	return c.saveProblem(ctx, archive, err)
}

// resumeWriting handles an archive whose run died before it read the archive back.
func (c *creation) resumeWriting(ctx context.Context, archive storage.Archive) error {
	if archive.Host != c.DB.Host() {
		if _, err := os.Stat(filepath.Dir(archive.Path)); err != nil {
			return nil // this host does not see the folder
		}
	}
	if files.IsLocked(archive.Path + files.PartialExt) {
		c.Log.Warn("another run still writes this archive although it lost the maintenance lock", "archive", archive.Name)
		return nil // it lost its connection to the database, and the lock with it
	}
	if err := format.RemoveFile(archive.Path + files.PartialExt); err != nil {
		return err
	}
	if _, err := os.Lstat(archive.Path); errors.Is(err, fs.ErrNotExist) {
		c.Log.Info("removed an unfinished archive of an earlier run", "archive", archive.Name)
		return c.DB.DropArchive(ctx, archive.ID)
	}
	if err := files.FlushFinal(archive.Path); err != nil {
		return err
	}
	archive, err := c.readBack(ctx, archive, format.Contents{})
	if errors.Is(err, format.ErrDamaged) {
		c.problem(archive, err)
		return nil
	}
	if err != nil {
		return err
	}
	return c.conclude(ctx, archive, nil, true)
}

// removePartials removes old unfinished archives that nobody writes and that the
// database does not know, as after a restore of the database.
func (c *creation) removePartials() error {
	var left []string
	for _, pattern := range []string{"noggin-*" + format.Ext + files.PartialExt, format.SpoolPattern} {
		found, err := filepath.Glob(filepath.Join(globEscape(c.dir), pattern))
		if err != nil {
			return fmt.Errorf("look for unfinished archives in %s: %w", c.dir, err)
		}
		left = append(left, found...)
	}
	for _, partial := range left {
		info, err := os.Lstat(partial)
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()).Abs() < files.TempAge || files.IsLocked(partial) {
			continue
		}
		if err := format.RemoveFile(partial); err != nil {
			return err
		}
		c.Log.Info("removed an unfinished archive", "path", partial, "bytes", info.Size())
	}
	return nil
}

// globEscape escapes the folder's name for use in a pattern.
func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
