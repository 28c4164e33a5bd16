package files

import (
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// SetAside moves a record's folder into RemovingFolder, under the name as. From there
// RemoveAside removes it, or PutBack puts it back.
func (o *Output) SetAside(dir, as string) error {
	if err := ValidPath(dir); err != nil {
		return err
	}
	if err := o.root.Mkdir(RemovingFolder, FolderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return o.fail("create folder", RemovingFolder, err)
	}
	return o.failRead("set aside", dir, o.root.Rename(dir, path.Join(RemovingFolder, as)))
}

// PutBack undoes SetAside. It fails if something is in the folder's place.
func (o *Output) PutBack(as, dir string) error {
	return o.failRead("put back", dir, o.root.Rename(path.Join(RemovingFolder, as), dir))
}

// AsideEntries lists a folder that was set aside.
func (o *Output) AsideEntries(as string) ([]fs.FileInfo, error) {
	return o.entries(path.Join(RemovingFolder, as))
}

// VerifyAside is Verify for a file of a folder that was set aside.
func (o *Output) VerifyAside(as, name string, size int64, sum string) error {
	return o.verify(path.Join(RemovingFolder, as, name), size, sum)
}

// RemoveAside removes the named files of a folder that was set aside. If that leaves
// the folder empty, it removes the folder too, and emptied is true.
func (o *Output) RemoveAside(as string, names []string) (emptied bool, err error) {
	for _, name := range names {
		file := path.Join(RemovingFolder, as, name)
		if err := o.root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, o.fail("remove", file, err)
		}
	}
	return o.RemoveEmpty(path.Join(RemovingFolder, as))
}

// RemoveEmpty removes a folder if it is empty. A missing folder counts as removed. What is
// no folder, such as a link to one, stays.
func (o *Output) RemoveEmpty(dir string) (removed bool, err error) {
	info, err := o.root.Lstat(dir)
	if err == nil && !info.IsDir() {
		return false, nil
	}
	if err == nil {
		err = o.root.Remove(dir)
	}
	switch {
	case err == nil:
		o.forget(dir)
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, fs.ErrExist):
		return false, nil
	}
	return false, o.fail("remove folder", dir, err)
}

// Tidy removes the empty folders above each of dirs. It flushes to disk the first
// folder that is not empty, and each of dirs that is still there.
func (o *Output) Tidy(dirs map[string]bool) error {
	for dir := range dirs {
		// dir itself is still there if it holds something else.
		if err := o.flushRemoval(dir); err != nil {
			return err
		}
		for parent := path.Dir(dir); ; parent = path.Dir(parent) {
			if parent != "." {
				removed, err := o.RemoveEmpty(parent)
				if err != nil {
					return err
				}
				if removed {
					continue
				}
			}
			if err := o.flushRemoval(parent); err != nil {
				return err
			}
			break
		}
	}
	// What was removed there is gone for good only now.
	if err := o.flushRemoval(RemovingFolder); err != nil {
		return err
	}
	_, err := o.RemoveEmpty(RemovingFolder)
	return err
}

// flushRemoval flushes a folder that something was removed from, and that may be gone
// itself.
func (o *Output) flushRemoval(dir string) error {
	if err := o.flush(flushRemoval, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o.fail("flush folder", dir, err)
	}
	return nil
}

func (o *Output) flush(at flushPoint, dir string) error {
	folder, err := o.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(flush(at, folder), folder.Close())
}
