package batch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteNew writes a file that must not exist yet, with the folders it lies in: it
// appears under its name whole and on disk, or not at all. An existing file is
// fs.ErrExist.
func WriteNew(name string, write func(io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("write %s: %w", name, fs.ErrExist)
	}
	return writeWhole(name, 0o640, write, func(partial string) error {
		// A second name replaces nothing, unlike a rename.
		err := os.Link(partial, name)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Rename(partial, name) // not every file system has links
	})
}

// WriteReplacing writes a file, with the folders it lies in, in the place of an
// older one, in one step: whoever reads it finds the one or the other, whole.
func WriteReplacing(name string, mode fs.FileMode, write func(io.Writer) error) error {
	return writeWhole(name, mode, write, func(partial string) error { return os.Rename(partial, name) })
}

// writeWhole writes to a file beside name, which give names when it is on disk.
func writeWhole(name string, mode fs.FileMode, write func(io.Writer) error, give func(partial string) error) error {
	dir := filepath.Dir(name)
	if err := makeFolders(dir); err != nil {
		return diskError("create folder", dir, err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+"-*.partial")
	if err != nil {
		return diskError("create a file in", dir, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // it has its name by then, or is of no use
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return diskError("write", name, err)
	}
	if err := give(f.Name()); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("write %s: %w", name, fs.ErrExist)
		}
		return diskError("name", name, err)
	}
	return syncFolder(dir)
}
