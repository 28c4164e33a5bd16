package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Lstat describes what has a name in the folder and does not follow it. If nothing
// has the name, the error is ErrMissing.
func (o *Output) Lstat(name string) (fs.FileInfo, error) {
	info, err := o.root.Lstat(name)
	return info, o.failRead("look at", name, err)
}

// IsFile tells whether a regular file has the name. The name may be any text.
func (o *Output) IsFile(name string) (bool, error) {
	if ValidPath(name) != nil {
		return false, nil
	}
	info, err := o.root.Lstat(name)
	if err != nil {
		return false, o.Check()
	}
	return info.Mode().IsRegular(), nil
}

// Open opens a regular file for reading and follows no symbolic link. Errors:
// ErrMissing, ErrObstacle.
func (o *Output) Open(name string) (*os.File, fs.FileInfo, error) {
	if err := ValidPath(name); err != nil {
		return nil, nil, err
	}
	return o.open(name)
}

func (o *Output) open(name string) (*os.File, fs.FileInfo, error) {
	before, err := o.root.Lstat(name)
	if err != nil {
		return nil, nil, o.failRead("look at", name, err)
	}
	if !before.Mode().IsRegular() {
		return nil, nil, obstacle("read", o.full(name), before)
	}
	f, err := o.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, o.failRead("open", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(o.fail("look at", name, err), f.Close())
	}
	if !os.SameFile(before, info) {
		err := fmt.Errorf("open %s: %w: it was replaced meanwhile", o.full(name), ErrDiffers)
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Verify compares a file with what the database knows: its size in bytes and, unless
// sum is empty, its SHA-256 in hex. Errors: ErrMissing, ErrDiffers, ErrObstacle. If
// the volume is gone, the error is ErrNotMounted and not ErrMissing.
func (o *Output) Verify(name string, size int64, sum string) error {
	if err := ValidPath(name); err != nil {
		return err
	}
	return o.verify(name, size, sum)
}

func (o *Output) verify(name string, size int64, sum string) error {
	f, info, err := o.open(name)
	if err != nil {
		return err
	}
	defer Release(f)
	return o.compare(name, f, info, size, sum)
}

// compare is Verify for an open file.
func (o *Output) compare(name string, f *os.File, info fs.FileInfo, size int64, sum string) error {
	if info.Size() != size {
		return fmt.Errorf("verify %s: %w: %d bytes instead of %d", o.full(name), ErrDiffers, info.Size(), size)
	}
	if sum == "" {
		return nil
	}
	_, got, err := o.Digest(context.Background(), name, f)
	if err != nil {
		return err
	}
	if !strings.EqualFold(got, sum) {
		return fmt.Errorf("verify %s: %w: SHA-256 %s instead of %s", o.full(name), ErrDiffers, got, sum)
	}
	return nil
}

// Agrees tells whether a file is there and has this size and SHA-256, as far as they are
// known. An error is a fault of our own.
func (o *Output) Agrees(name string, size *int64, sum *string) (bool, error) {
	f, info, err := o.Open(name)
	if err != nil {
		return false, OwnFault(err)
	}
	defer Release(f)
	if size != nil && info.Size() != *size {
		return false, nil
	}
	if sum == nil {
		return true, nil
	}
	err = o.compare(name, f, info, info.Size(), *sum)
	return err == nil, OwnFault(err)
}

// Hash reads a file to its end, or until ctx ends, and returns its SHA-256 in
// lower-case hex. It copies everything to also.
func (o *Output) Hash(ctx context.Context, name string, also ...io.Writer) (string, error) {
	f, _, err := o.open(name)
	if err != nil {
		return "", err
	}
	defer Release(f)
	_, sum, err := o.Digest(ctx, name, f, also...)
	return sum, err
}

// Digest is Hash for a file that Open opened. It also returns the size.
func (o *Output) Digest(ctx context.Context, name string, f *os.File, also ...io.Writer) (size int64, sum string, err error) {
	size, sum, err = HashReader(ctx, f, also...)
	if err != nil && ctx.Err() == nil {
		err = o.fail("read", name, err)
	}
	return size, sum, err
}

// FlushFile flushes a file that Open opened to disk.
func (o *Output) FlushFile(name string, f *os.File) error {
	return o.fail("flush", name, flush(flushAdopted, f))
}

// Entries lists a folder and follows nothing. Errors: ErrMissing; ErrObstacle if a
// part of the path is not a folder, such as a symbolic link.
func (o *Output) Entries(dir string) ([]fs.FileInfo, error) {
	if err := ValidPath(dir); err != nil {
		return nil, err
	}
	return o.entries(dir)
}

func (o *Output) entries(dir string) ([]fs.FileInfo, error) {
	parts := strings.Split(dir, "/")
	for i := range parts {
		step := path.Join(parts[:i+1]...)
		info, err := o.root.Lstat(step)
		if err != nil {
			return nil, o.failRead("look at", step, err)
		}
		if !info.IsDir() {
			return nil, obstacle("look into", o.full(step), info)
		}
	}
	folder, err := o.root.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, o.failRead("open", dir, err)
	}
	defer Release(folder)
	entries, err := folder.Readdir(-1)
	if err != nil {
		return nil, o.fail("list", dir, err)
	}
	return entries, nil
}

// OpenFolder opens a folder for listing; "." is the output folder itself. The error is
// ErrObstacle if it is not a folder, such as a symbolic link.
func (o *Output) OpenFolder(dir string) (fs.ReadDirFile, error) {
	info, err := o.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, obstacle("look into", o.full(dir), info)
	}
	f, err := o.root.Open(dir)
	if err != nil {
		return nil, o.failRead("open folder", dir, err)
	}
	return f, nil
}

// Walk calls found with the path of every regular file, and unread with each folder
// that it cannot list. It leaves out noggin's own folders.
func (o *Output) Walk(ctx context.Context, found func(name string) error, unread func(dir string, err error)) error {
	return fs.WalkDir(o.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && entry != nil && entry.IsDir():
			unread(name, err)
			return fs.SkipDir
		case err != nil:
			return o.fail("search", name, err)
		case entry.IsDir() && (name == TempFolder || name == RemovingFolder):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		return found(name)
	})
}
