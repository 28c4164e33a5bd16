package batch

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

	"golang.org/x/sys/unix"
)

// TempFile is a file in the making: it lies in TempFolder until a [Folder] gives it
// its name, so that a name in the output folder always stands for a whole file
// on disk. It counts and hashes what is written. One goroutine uses it.
type TempFile struct {
	out  *Output
	file *os.File
	// folder is TempFolder as it was when the file was made.
	folder *tempFolder
	name   string // in it
	size   int64
	hash   hash.Hash
	over   bool // kept or discarded
}

// tempFolder is TempFolder, held open: all files begin there.
type tempFolder struct {
	root   *os.Root
	handle *os.File
}

func (t *tempFolder) close() {
	release(t.handle)
	release(t.root)
}

// tempFolder opens TempFolder, or makes it. Again says that the one that is open was
// removed; files of it may still be in the making, so the garbage collector closes it.
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
		if err := o.root.Mkdir(TempFolder, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, o.fail("create folder", TempFolder, err)
		}
		root, err = o.root.OpenRoot(TempFolder)
	}
	if err != nil {
		return nil, diskError("open folder", o.full(TempFolder), err)
	}
	handle, err := root.Open(".")
	if err != nil {
		release(root)
		return nil, diskError("open folder", o.full(TempFolder), err)
	}
	o.temp = &tempFolder{root, handle}
	return o.temp, nil
}

// Temp begins a file. The caller ends it with [Folder.Keep] or Discard.
func (o *Output) Temp() (*TempFile, error) {
	// The process id is for whoever looks; the random part makes the name unique
	// across hosts.
	name := strconv.Itoa(os.Getpid()) + "-" + rand.Text() + ".part"
	temp, err := o.tempFolder(false)
	if err != nil {
		return nil, err
	}
	open := func() (*os.File, error) {
		return temp.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	}
	f, err := open()
	if errors.Is(err, fs.ErrNotExist) { // the folder was removed
		if temp, err = o.tempFolder(true); err != nil {
			return nil, err
		}
		f, err = open()
	}
	if err != nil {
		// Even a missing or misplaced folder is no record's fault here.
		return nil, diskError("create a file in", o.full(TempFolder), err)
	}
	// Tells SweepTemp that somebody is at work, however the clock may jump. Not
	// every file system can; then the age of the file protects it.
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return &TempFile{out: o, file: f, folder: temp, name: name, hash: sha256.New()}, nil
}

// Write appends to the file. Its errors are DiskErrors.
func (t *TempFile) Write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	t.hash.Write(p[:n])
	t.size += int64(n)
	if err != nil {
		return n, diskError("write in", t.out.full(TempFolder), err)
	}
	return n, nil
}

// Reset empties the file for another attempt.
func (t *TempFile) Reset() error {
	if t.size == 0 {
		return nil
	}
	_, err := t.file.Seek(0, io.SeekStart)
	if err := errors.Join(err, t.file.Truncate(0)); err != nil {
		return diskError("empty a file in", t.out.full(TempFolder), err)
	}
	t.size = 0
	t.hash.Reset()
	return nil
}

// Size is the number of bytes written.
func (t *TempFile) Size() int64 { return t.size }

// sync puts the file on disk, still without its name.
func (t *TempFile) sync() error {
	if err := t.file.Sync(); err != nil {
		return diskError("flush a file in", t.out.full(TempFolder), err)
	}
	return nil
}

// SHA256 is the hash of what was written, in lower-case hex.
func (t *TempFile) SHA256() string { return hex.EncodeToString(t.hash.Sum(nil)) }

// Discard removes the file; after it was kept it does nothing.
func (t *TempFile) Discard() {
	if t.over {
		return
	}
	// What can't be removed now is swept by age.
	_ = t.folder.root.Remove(t.name)
	t.end()
}

func (t *TempFile) end() {
	t.over = true
	release(t.file)
}

// renameNewAt gives a file another name, in another folder, that nothing may have:
// fs.ErrExist. Both steps of the fallback leave a whole file behind.
func renameNewAt(from int, oldName string, to int, newName string) error {
	err := unix.Renameat2(from, oldName, to, newName, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return linkNew(from, oldName, to, newName)
	}
	return err
}

// linkNew does without RENAME_NOREPLACE, which some network file systems lack.
func linkNew(from int, oldName string, to int, newName string) error {
	if err := unix.Linkat(from, oldName, to, newName, 0); err != nil {
		return err
	}
	// The file has its name; a second one in the temporary folder is swept later.
	_ = unix.Unlinkat(from, oldName, 0)
	return nil
}

func (t *TempFile) sameAs(name string) (same bool, what string, err error) {
	return t.out.sameAs(name, t.size, t.SHA256())
}

// sameAs tells whether the file at name has that content, and has it on disk; else
// what it is.
func (o *Output) sameAs(name string, size int64, sum string) (same bool, what string, err error) {
	info, err := o.root.Lstat(name)
	if err != nil {
		return false, "", o.failRead("look at", name, err)
	}
	if !info.Mode().IsRegular() {
		return false, whatIs(info), nil
	}
	err = o.Verify(name, size, sum)
	if errors.Is(err, ErrDiffers) {
		return false, "a file with other content", nil
	}
	if err != nil {
		return false, "", err
	}
	f, _, err := o.Open(name)
	if err != nil {
		return false, "", err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return false, "", o.fail("flush", name, err)
	}
	return true, "", nil
}
