package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noggin/storage"
)

// resume finishes or cleans up what earlier runs left: killed ones, and with
// --keep.
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

// wantsKept tells whether this run is to remove what an earlier one kept: all of
// it has to be what this run would take.
func (c *creation) wantsKept(archive storage.Archive) bool {
	return !c.opts.Keep && archive.LastDate != nil && *archive.LastDate < c.opts.Before &&
		(c.opts.ObjectType == "" || c.opts.ObjectType == archive.ObjectType)
}

func (c *creation) resumeOne(ctx context.Context, archive storage.Archive) error {
	if archive.State == storage.ArchiveWriting {
		return c.resumeWriting(ctx, archive)
	}
	// It was right once; that it still is has to be seen before anything goes.
	sum, err := hashFile(ctx, archive.Path)
	if err == nil && sum != archive.SHA256 {
		err = fmt.Errorf("%w: SHA-256 %s instead of %s", ErrDamaged, sum, archive.SHA256)
	}
	switch {
	case err == nil:
		c.Log.Info("carrying on with an archive of an earlier run", "archive", archive.Name, "state", archive.State)
		return c.conclude(ctx, archive, nil, true)
	case ctx.Err() != nil:
		return err
	case errors.Is(err, ErrMissing) && archive.State == storage.ArchiveVerified:
		c.Log.Warn("an archive that an earlier run left is gone; its records are archived anew", "archive", archive.Name, "path", archive.Path)
		return c.DB.DropArchive(ctx, archive.ID)
	}
	c.problem(archive, err)
	return c.DB.SaveProblem(ctx, archive.ID, err.Error())
}

// resumeWriting deals with an archive whose run died before it was read back.
func (c *creation) resumeWriting(ctx context.Context, archive storage.Archive) error {
	if archive.Host != c.DB.Host() {
		if _, err := os.Stat(filepath.Dir(archive.Path)); err != nil {
			return nil // only that host can tell
		}
	}
	if isLocked(archive.Path + partialExt) {
		c.Log.Warn("another run is still writing an archive, without the lock", "archive", archive.Name)
		return nil // it lost its connection to the database
	}
	if err := os.Remove(archive.Path + partialExt); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError("remove", archive.Path+partialExt, err)
	}
	if _, err := os.Lstat(archive.Path); errors.Is(err, fs.ErrNotExist) {
		c.Log.Info("removed what an earlier run had begun to write", "archive", archive.Name)
		return c.DB.DropArchive(ctx, archive.ID)
	}
	archive, err := c.readBack(ctx, archive, ArchiveContent{})
	if errors.Is(err, ErrDamaged) {
		c.problem(archive, err)
		return nil
	}
	if err != nil {
		return err
	}
	return c.conclude(ctx, archive, nil, true)
}

// removePartials removes unfinished archives that no row tells of, those of a
// database restored since, say: old ones that nobody is writing.
func (c *creation) removePartials() error {
	var left []string
	for _, pattern := range []string{"noggin-*" + ArchiveExt + partialExt, namelessPattern} {
		found, err := filepath.Glob(filepath.Join(globEscape(c.dir), pattern))
		if err != nil {
			return fmt.Errorf("look for unfinished archives in %s: %w", c.dir, err)
		}
		left = append(left, found...)
	}
	for _, partial := range left {
		info, err := os.Lstat(partial)
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()).Abs() < tempAge || isLocked(partial) {
			continue
		}
		if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError("remove", partial, err)
		}
		c.Log.Info("removed an unfinished archive", "path", partial, "bytes", info.Size())
	}
	return nil
}

// globEscape makes a folder's name stand for itself in a pattern.
func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// isLocked tells whether a process holds the lock that newArchiveWriter takes.
func isLocked(name string) bool {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer release(f)
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}
