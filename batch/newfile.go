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
func WriteNew(name string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(name)
	if err := makeFolders(dir); err != nil {
		return diskError("create folder", dir, err)
	}
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("write %s: %w", name, fs.ErrExist)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+"-*.partial")
	if err != nil {
		return diskError("create a file in", dir, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // it has its name by then, or is of no use
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return diskError("write", name, err)
	}
	// A second name replaces nothing, unlike a rename.
	if err := os.Link(f.Name(), name); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("write %s: %w", name, fs.ErrExist)
		}
		if err := os.Rename(f.Name(), name); err != nil { // not every file system has links
			return diskError("name", name, err)
		}
	}
	return syncFolder(dir)
}
