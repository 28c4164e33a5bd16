package files

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// TempAge is the age at which a temporary file is swept. No download of one
// attachment takes so long.
const TempAge = 6 * time.Hour

// TempFile is an unfinished file. It lies in TempFolder until a [Folder] gives it its
// name, so a name in the output folder always stands for a whole file on disk. It
// counts and hashes what is written. Only one goroutine may use it.
type TempFile struct {
	out    *Output
	file   *os.File
	in     *tempFolder
	name   string // in the folder
	size   int64
	hash   hash.Hash
	over   bool // kept or discarded
	staged bool // out is its own and is closed with it
}

// tempFolder is an open folder in which files begin.
type tempFolder struct {
	name   string // its absolute path
	root   *os.Root
	handle *os.File
}

func newTempFolder(name string, root *os.Root) (*tempFolder, error) {
	handle, err := root.Open(".")
	if err != nil {
		return nil, WrapDisk("open folder", name, err)
	}
	return &tempFolder{name, root, handle}, nil
}

func (t *tempFolder) create(out *Output, name string, mode fs.FileMode) (*TempFile, error) {
	f, err := t.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	Lock(f)
	return &TempFile{out: out, file: f, in: t, name: name, hash: sha256.New()}, nil
}

func (t *tempFolder) close() {
	Release(t.handle)
	Release(t.root)
}

// tempFolder opens TempFolder and creates it if it is missing. If again is true, the
// open one was removed. Other files may still use its handle, so the garbage
// collector closes it.
func (o *Output) tempFolder(again bool) (*tempFolder, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.temp != nil && !again {
		return o.temp, nil
	}
	root, err := o.root.OpenRoot(TempFolder)
	if errors.Is(err, fs.ErrNotExist) {
		if err := o.Check(); err != nil {
			return nil, err
		}
		if err := o.root.Mkdir(TempFolder, FolderMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, o.fail("create folder", TempFolder, err)
		}
		root, err = o.root.OpenRoot(TempFolder)
	}
	if err != nil {
		return nil, WrapDisk("open folder", o.full(TempFolder), err)
	}
	temp, err := newTempFolder(o.full(TempFolder), root)
	if err != nil {
		Release(root)
		return nil, err
	}
	o.temp = temp
	return temp, nil
}

// Temp begins a file. The caller ends it with [Folder.Keep] or Discard.
func (o *Output) Temp() (*TempFile, error) {
	if err := o.admit(); err != nil {
		return nil, err
	}
	// The process id is for people. The random part makes the name unique across
	// hosts.
	name := strconv.Itoa(os.Getpid()) + "-" + rand.Text() + ".part"
	temp, err := o.tempFolder(false)
	if err != nil {
		return nil, err
	}
	t, err := temp.create(o, name, FileMode)
	if errors.Is(err, fs.ErrNotExist) { // the folder was removed
		if temp, err = o.tempFolder(true); err != nil {
			return nil, err
		}
		t, err = temp.create(o, name, FileMode)
	}
	if err != nil {
		// A missing TempFolder is no record's fault either.
		return nil, WrapDisk("create a file in", temp.name, err)
	}
	return t, nil
}

// Write appends to the file. Its errors are DiskErrors.
func (t *TempFile) Write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	t.hash.Write(p[:n])
	t.size += int64(n)
	if err != nil {
		return n, WrapDisk("write in", t.in.name, err)
	}
	return n, nil
}

// ReadAt reads what was written. Its errors are DiskErrors, or io.EOF.
func (t *TempFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := t.file.ReadAt(p, at)
	if err != nil && !errors.Is(err, io.EOF) {
		err = WrapDisk("read in", t.in.name, err)
	}
	return n, err
}

// Reset empties the file for another attempt.
func (t *TempFile) Reset() error {
	if t.size == 0 {
		return nil
	}
	_, err := t.file.Seek(0, io.SeekStart)
	if err := errors.Join(err, t.file.Truncate(0)); err != nil {
		return WrapDisk("empty a file in", t.in.name, err)
	}
	t.size = 0
	t.hash.Reset()
	return nil
}

// Size is the number of bytes written.
func (t *TempFile) Size() int64 { return t.size }

// sync flushes the content to disk.
func (t *TempFile) sync(at flushPoint) error {
	if err := flush(at, t.file); err != nil {
		return WrapDisk("flush a file in", t.in.name, err)
	}
	return nil
}

// SetModified sets the modification time.
func (t *TempFile) SetModified(at time.Time) error { return t.in.root.Chtimes(t.name, at, at) }

// SHA256 is the hash of what was written, in lower-case hex.
func (t *TempFile) SHA256() string { return hex.EncodeToString(t.hash.Sum(nil)) }

// Discard removes the file. It does nothing to a file that was kept.
func (t *TempFile) Discard() {
	if t.over {
		return
	}
	// If it stays, it is swept by age.
	_ = t.in.root.Remove(t.name)
	t.end()
}

func (t *TempFile) end() {
	t.over = true
	Release(t.file)
	if t.staged {
		Release(t.out)
	}
}

func (t *TempFile) sameAs(name string) (same bool, what string, err error) {
	return t.out.sameAs(name, t.size, t.SHA256())
}

// sameAs tells whether the file at name has that content, and flushes it to disk. If
// not, what names the thing that is there. A file that cannot be read counts as another.
func (o *Output) sameAs(name string, size int64, sum string) (same bool, what string, err error) {
	var f *os.File
	info, err := o.Lstat(name)
	if err == nil {
		if !info.Mode().IsRegular() {
			return false, WhatIs(info), nil
		}
		f, info, err = o.open(name)
	}
	if err == nil {
		defer Release(f)
		err = o.compare(name, f, info, size, sum)
	}
	switch {
	case err == nil:
		err = o.FlushFile(name, f)
	case errors.Is(err, ErrDiffers):
		return false, "a file with other content", nil
	case OfOneFile(err):
		return false, "a file that cannot be read", nil
	}
	return err == nil, "", err
}
