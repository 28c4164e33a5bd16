package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tray is an open folder into which files of others move, such as the folder of
// imported files. Whoever may write into the folder above may replace it by a symbolic
// link, so what lies below that folder is opened step by step and no link is followed.
// The open folder stays the same one, whatever happens to its name.
type Tray struct {
	name   string
	root   *os.Root
	handle *os.File
}

// OpenTray opens a folder and creates it if it is missing, but not its parent. If it
// lies below top, no symbolic link below top is followed.
func OpenTray(top, folder string) (*Tray, error) {
	below, err := filepath.Rel(top, folder)
	if err != nil || !filepath.IsLocal(below) || below == "." {
		top, below = folder, "." // a folder that only administrators can replace
		if err := os.Mkdir(folder, FolderMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, WrapDisk("create folder", folder, err)
		}
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, WrapDisk("open folder", top, err)
	}
	if below != "." {
		steps := strings.Split(filepath.ToSlash(below), "/")
		for i, step := range steps {
			next, err := stepInto(root, step, i == len(steps)-1)
			Release(root)
			if err != nil {
				return nil, WrapDisk("open folder", filepath.Join(top, filepath.Join(steps[:i+1]...)), err)
			}
			root = next
		}
	}
	handle, err := root.Open(".")
	if err != nil {
		Release(root)
		return nil, WrapDisk("open folder", folder, err)
	}
	return &Tray{folder, root, handle}, nil
}

// stepInto opens a folder of root that is no symbolic link.
func stepInto(root *os.Root, name string, create bool) (*os.Root, error) {
	if create {
		// Its group may be that of uploaders.
		if err := root.Mkdir(name, FolderMode&^othersWrite); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("it is %s, no folder: %w", WhatIs(info), unix.ENOTDIR)}
	}
	next, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if opened, err := next.Stat("."); err != nil || !os.SameFile(info, opened) {
		Release(next)
		return nil, errors.Join(err, fmt.Errorf("%s was replaced this moment: %w", name, unix.ENOTDIR))
	}
	return next, nil
}

// othersWrite are the bits of a mode by which others than the owner write.
const othersWrite fs.FileMode = 0o022

// KeptFromOthers returns an error unless a folder in top belongs to this user, to root or
// to the owner of top, and only its owner writes into it. Anyone else could exchange the
// files that are put into it.
func KeptFromOthers(top, name string, folder fs.FileInfo) error {
	owner := OwnerOf(folder)
	if owner != 0 && int(owner) != os.Geteuid() {
		if info, err := os.Stat(top); err != nil || owner != OwnerOf(info) {
			return fmt.Errorf("the folder %s belongs to %s, who could exchange the files in it: look at them, remove it, and noggin makes it anew", name, UserName(owner))
		}
	}
	if folder.Mode()&othersWrite != 0 {
		return fmt.Errorf("others than its owner may write into the folder %s and exchange the files in it: look at them, then `sudo chmod go-w %s`", name, ShellQuoted(name))
	}
	return nil
}

// Close closes the folder.
func (t *Tray) Close() error { return errors.Join(t.handle.Close(), t.root.Close()) }

// Name is the path of the folder.
func (t *Tray) Name() string { return t.name }

// Writable returns an error unless files can be put into the folder.
func (t *Tray) Writable() error {
	if err := unix.Faccessat(int(t.handle.Fd()), ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return WrapDisk("use the folder", t.name, err)
	}
	return nil
}

// Lstat looks at a file of the folder.
func (t *Tray) Lstat(name string) (fs.FileInfo, error) { return t.root.Lstat(name) }

// Take moves the file at path into the folder. If something has its new name, the error
// is fs.ErrExist.
func (t *Tray) Take(path, name string) error {
	return renameNewFd(unix.AT_FDCWD, path, int(t.handle.Fd()), name)
}

// GiveBack is the reverse of Take.
func (t *Tray) GiveBack(name, path string) error {
	return renameNewFd(int(t.handle.Fd()), name, unix.AT_FDCWD, path)
}

// Remove removes a file of the folder.
func (t *Tray) Remove(name string) error { return t.root.Remove(name) }

// Sync flushes the names in the folder to disk.
func (t *Tray) Sync() error { return flush(flushMoved, t.handle) }

// Stage is [Stage] in this folder. Only the owner may write the file: the group of the
// folder may be that of uploaders.
func (t *Tray) Stage(mode fs.FileMode) (*TempFile, error) {
	root, err := t.root.OpenRoot(".")
	if err != nil {
		return nil, WrapDisk("open folder", t.name, err)
	}
	return stage(&Output{name: t.name, root: root, settled: map[string]struct{}{}}, mode&^othersWrite)
}

// SweepStaged removes the staged files that killed runs left in the folder more than
// a day ago.
func (t *Tray) SweepStaged(now time.Time) {
	entries, _ := fs.ReadDir(t.root.FS(), ".") // the next run tries again
	for _, entry := range entries {
		if !IsStaged(entry.Name()) {
			continue
		}
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > 24*time.Hour {
			_ = t.root.Remove(entry.Name())
		}
	}
}
