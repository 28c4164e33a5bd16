package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MakeFolders creates dir and the folders above it, and flushes each new entry to
// disk.
func MakeFolders(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MakeFolders(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, FolderMode); err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return nil // another process made it just now
		}
		return err
	}
	return syncFolder(flushMade, parent)
}

// SyncFolder flushes the entries of a folder to disk.
func SyncFolder(dir string) error { return syncFolder(flushMoved, dir) }

func syncFolder(at flushPoint, dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(flush(at, f), f.Close())
}

// renameNew moves a file to a new name. If something has that name, the error is
// fs.ErrExist.
func renameNew(from, to string) error {
	return renameNewFd(unix.AT_FDCWD, from, unix.AT_FDCWD, to)
}

// renameNewAt is renameNew between two open folders.
func renameNewAt(from *os.File, oldName string, to *os.File, newName string) error {
	return renameNewFd(int(from.Fd()), oldName, int(to.Fd()), newName)
}

// renameNewFd leaves a whole file at every moment, even between the two steps of
// linkNew.
func renameNewFd(from int, oldName string, to int, newName string) error {
	err := unix.Renameat2(from, oldName, to, newName, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return linkNew(from, oldName, to, newName)
	}
	return err
}

// linkNew stands in for RENAME_NOREPLACE, which some network file systems lack.
func linkNew(from int, oldName string, to int, newName string) error {
	err := unix.Linkat(from, oldName, to, newName, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", ErrCannotName, err)
	}
	if err != nil {
		return err
	}
	// The file has its new name. If the old one stays, it is swept later.
	_ = unix.Unlinkat(from, oldName, 0)
	return nil
}

// OpenRegular opens a file of any folder for reading. It waits for no pipe, and with
// unix.O_NOFOLLOW in flags it follows no symbolic link. Errors: ErrMissing, ErrObstacle, a
// DiskError.
func OpenRegular(name string, flags int) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("open %s: %w", name, ErrMissing)
	}
	if err != nil {
		return nil, nil, WrapDisk("open", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		err = WrapDisk("look at", name, err)
	} else if !info.Mode().IsRegular() {
		err = obstacle("open", name, info)
	}
	if err != nil {
		Release(f)
		return nil, nil, err
	}
	return f, info, nil
}

// PartialExt ends the name of a backup or an archive while it is being written.
const PartialExt = ".partial"

// CreatePartial creates the empty file that NamePartial names final later. If
// something has either name, the error is fs.ErrExist.
func CreatePartial(final string, mode fs.FileMode) (*os.File, error) {
	if _, err := os.Lstat(final); err == nil {
		return nil, fmt.Errorf("create %s: %w", final, fs.ErrExist)
	}
	f, err := os.OpenFile(final+PartialExt, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, WrapDisk("create", final+PartialExt, err)
	}
	Lock(f)
	return f, nil
}

// FlushPartial flushes the content of a partial file to disk, before it gets its name.
func FlushPartial(final string, f *os.File) error {
	if err := flush(flushPartial, f); err != nil {
		return WrapDisk("flush", final+PartialExt, err)
	}
	return nil
}

// NamePartial gives a partial file its final name, which must be free. The caller
// has flushed the content to disk.
func NamePartial(final string) error {
	if err := renameNew(final+PartialExt, final); err != nil {
		return WrapDisk("name", final, err)
	}
	return FlushFinal(final)
}

// FlushFinal flushes the name that NamePartial gave to disk. A run that was killed may
// not have done so.
func FlushFinal(final string) error {
	if err := syncFolder(flushFinal, filepath.Dir(final)); err != nil {
		return WrapDisk("flush", filepath.Dir(final), err)
	}
	return nil
}

// Lock protects a file from sweeping while its process lives, however the clock
// jumps. It returns false if another process has the lock. A file system without
// locks gives none; then the age of the file protects it.
func Lock(f *os.File) bool {
	return !errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// IsLocked tells whether a process holds the lock of a file.
func IsLocked(name string) bool { return isLocked(os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)) }

func isLocked(f *os.File, err error) bool {
	if err != nil {
		return false
	}
	defer Release(f)
	return !Lock(f)
}

// Release closes c and ignores the error. It is for files that were only read or are
// flushed already.
func Release(c io.Closer) { _ = c.Close() }
