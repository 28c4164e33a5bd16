package batch

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxAlternatives is how many names Keep tries before it gives up.
const maxAlternatives = 100

// TempFile is a file in the making: it lies in TempFolder until Keep gives it
// its name, so that a name in the output folder always stands for a whole file
// on disk. It counts and hashes what is written. One goroutine uses it.
type TempFile struct {
	out  *Output
	file *os.File
	name string // within TempFolder
	size int64
	hash hash.Hash
	over bool // kept or discarded
}

// Kept is where a file ended up.
type Kept struct {
	Path         string // relative to the output folder, with slashes
	AlreadyThere bool   // a file with the same content was there and was adopted
	Instead      string // what stood under the wanted name, where another had to be taken
}

// Temp begins a file. The caller ends it with Keep or Discard.
func (o *Output) Temp() (*TempFile, error) {
	// The process id is for whoever looks; the random part makes the name unique
	// across hosts.
	name := strconv.Itoa(os.Getpid()) + "-" + rand.Text() + ".part"
	open := func() (*os.File, error) {
		return o.root.OpenFile(path.Join(TempFolder, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	}
	f, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		if err := o.Check(); err != nil {
			return nil, err
		}
		if err := o.root.Mkdir(TempFolder, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, o.fail("create folder", TempFolder, err)
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
	return &TempFile{out: o, file: f, name: name, hash: sha256.New()}, nil
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

// SHA256 is the hash of what was written, in lower-case hex.
func (t *TempFile) SHA256() string { return hex.EncodeToString(t.hash.Sum(nil)) }

// Discard removes the file; after Keep it does nothing.
func (t *TempFile) Discard() {
	if t.over {
		return
	}
	t.over = true
	// What can't be removed now is swept by age.
	_ = t.out.root.Remove(path.Join(TempFolder, t.name))
	release(t.file)
}

// Keep puts the file on disk and gives it its name in the folder dir, which is
// created where missing. Nothing is ever replaced: a file of that name with the
// same content is adopted; beside anything else the next free of
// `stem-suffix.ext`, `stem-suffix-2.ext`, … is taken. When Keep returns without
// error, the file is safe from a power loss. After an error it is still to be
// discarded.
func (t *TempFile) Keep(dir, name, suffix string) (Kept, error) {
	if err := t.file.Sync(); err != nil {
		return Kept{}, diskError("flush a file in", t.out.full(TempFolder), err)
	}
	kept, err := t.out.place(TempFolder, t.name, t.size, t.SHA256(), dir, name, suffix)
	if err != nil {
		return Kept{}, err
	}
	if kept.AlreadyThere {
		t.Discard()
	}
	t.over = true
	release(t.file)
	return kept, nil
}

// Move gives a file of the output folder, whose size and SHA-256 are known and which
// is on disk, another name, as Keep does, and removes folders that it leaves empty.
// Where the same content is there already, the file stays where it was.
func (o *Output) Move(from string, size int64, sum, dir, name, suffix string) (Kept, error) {
	if err := validPath(from); err != nil {
		return Kept{}, err
	}
	kept, err := o.place(path.Dir(from), path.Base(from), size, sum, dir, name, suffix)
	if err != nil || kept.AlreadyThere {
		return kept, err
	}
	return kept, o.tidy(map[string]bool{from: true})
}

// place renames a file to the first free name in dir, or finds that it is there.
func (o *Output) place(fromDir, from string, size int64, sum, dir, name, suffix string) (Kept, error) {
	if err := errors.Join(validPath(dir), validName(name), validName(alternative(name, suffix, 1))); err != nil {
		return Kept{}, err
	}
	folder, err := o.folder(dir)
	if err != nil {
		return Kept{}, err
	}
	defer release(folder)
	var kept Kept
	for n := range maxAlternatives {
		candidate := alternative(name, suffix, n)
		kept.Path = path.Join(dir, candidate)
		err := o.renameNew(fromDir, from, folder, candidate)
		if errors.Is(err, fs.ErrExist) {
			same, what, err := o.sameAs(kept.Path, size, sum)
			if err != nil {
				return Kept{}, err
			}
			if !same {
				if kept.Instead == "" {
					kept.Instead = what
				}
				continue
			}
			kept.AlreadyThere = true
		} else if err != nil {
			return Kept{}, o.fail("name", kept.Path, err)
		}
		if err := folder.Sync(); err != nil {
			return Kept{}, o.fail("flush folder", dir, err)
		}
		return kept, nil
	}
	return Kept{}, fmt.Errorf("name %s: %w: %d other names are taken too", o.full(path.Join(dir, name)), ErrObstacle, maxAlternatives-1)
}

// keepExactly is Keep without another name: where something else stands under the
// name, the error is ErrDiffers.
func (t *TempFile) keepExactly(dir, name string) (alreadyThere bool, err error) {
	if err := errors.Join(validPath(dir), validName(name)); err != nil {
		return false, err
	}
	if err := t.file.Sync(); err != nil {
		return false, diskError("flush a file in", t.out.full(TempFolder), err)
	}
	folder, err := t.out.folder(dir)
	if err != nil {
		return false, err
	}
	defer release(folder)
	full := path.Join(dir, name)
	err = t.out.renameNew(TempFolder, t.name, folder, name)
	if errors.Is(err, fs.ErrExist) {
		same, what, err := t.sameAs(full)
		if err == nil && !same {
			err = fmt.Errorf("restore %s: %w: %s is there already", t.out.full(full), ErrDiffers, what)
		}
		return true, err
	}
	if err != nil {
		return false, t.out.fail("name", full, err)
	}
	t.over = true
	release(t.file)
	return false, t.out.fail("flush folder", dir, folder.Sync())
}

// alternative is the nth name to try.
func alternative(name, suffix string, n int) string {
	if n == 0 {
		return name
	}
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext) + "-" + suffix
	if n > 1 {
		stem += "-" + strconv.Itoa(n)
	}
	return stem + ext
}

// renameNew moves a file into another folder, where nothing may have that name:
// fs.ErrExist. Both steps of the fallback leave a whole file behind.
func (o *Output) renameNew(fromDir, from string, folder *os.File, name string) error {
	source, err := o.root.Open(fromDir)
	if err != nil {
		return err
	}
	defer release(source)
	old, to := int(source.Fd()), int(folder.Fd())
	err = unix.Renameat2(old, from, to, name, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	return linkNew(old, from, to, name)
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

// ReplaceFile writes a file of our own making, such as the text report, in the
// place of its former version, in one atomic step. Unchanged content leaves the
// file untouched. It returns size in bytes and SHA-256 in hex. Anything but a
// regular file under that name is ErrObstacle.
func (o *Output) ReplaceFile(dir, name string, write func(io.Writer) error) (size int64, sum string, err error) {
	if err := errors.Join(validPath(dir), validName(name)); err != nil {
		return 0, "", err
	}
	t, err := o.Temp()
	if err != nil {
		return 0, "", err
	}
	defer t.Discard()
	if err := write(t); err != nil {
		return 0, "", fmt.Errorf("write %s: %w", o.full(path.Join(dir, name)), err)
	}
	if err := t.replace(dir, name); err != nil {
		return 0, "", err
	}
	return t.size, t.SHA256(), nil
}

func (t *TempFile) replace(dir, name string) error {
	o, full := t.out, path.Join(dir, name)
	folder, err := o.folder(dir)
	if err != nil {
		return err
	}
	defer release(folder)
	info, err := o.root.Lstat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return o.fail("look at", full, err)
	case !info.Mode().IsRegular():
		return obstacle("replace", o.full(full), info)
	case info.Size() == t.size:
		same, _, err := t.sameAs(full)
		if err != nil {
			return err
		}
		if same {
			return o.fail("flush folder", dir, folder.Sync())
		}
	}
	if err := t.file.Sync(); err != nil {
		return diskError("flush a file in", o.full(TempFolder), err)
	}
	if err := o.root.Rename(path.Join(TempFolder, t.name), full); err != nil {
		return o.fail("replace", full, err)
	}
	t.over = true
	release(t.file)
	return o.fail("flush folder", dir, folder.Sync())
}
