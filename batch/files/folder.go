package files

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxAlternatives is how many names Keep tries before it gives up.
const maxAlternatives = 100

// Folder is a folder of the output folder. It is created when the first file gets
// its name in it. Its files are safe from a power loss when Sync has returned nil, so
// one flush serves all files of a record. Many goroutines may use it at once.
type Folder struct {
	out   *Output
	dir   string
	taken []string // names that no file gets

	mu     sync.Mutex
	handle *os.File // nil until it is needed
	dirty  bool     // has names that may not be on disk
}

// Kept tells under which name a file is kept.
type Kept struct {
	Path         string // relative to the output folder, with slashes
	AlreadyThere bool   // a file with the same content was there
	Instead      string // what has the wanted name; empty: the file has it
}

// Folder returns a folder by its path. The caller closes it. Keep gives no file one of the
// taken names: those of files that are recorded, and that may not lie there.
func (o *Output) Folder(dir string, taken ...string) *Folder {
	return &Folder{out: o, dir: dir, taken: taken}
}

// Close closes the folder. What Sync has not flushed may be lost.
func (f *Folder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handle != nil {
		Release(f.handle)
		f.handle = nil
	}
}

// open returns the folder and creates it if it is missing. The next Sync flushes
// what the caller does to it.
func (f *Folder) open() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handle == nil {
		handle, err := f.out.folder(f.dir)
		if err != nil {
			return nil, err
		}
		f.handle = handle
	}
	f.dirty = true
	return f.handle, nil
}

// Touch makes the next Sync flush the folder, for a file that already has its name
// in it.
func (f *Folder) Touch() error {
	_, err := f.open()
	return err
}

// Sync flushes to disk the names in the folder and the folder's own name.
func (f *Folder) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dirty {
		return nil
	}
	if err := flush(flushFolder, f.handle); err != nil {
		return f.out.fail("flush folder", f.dir, err)
	}
	if err := f.out.settle(f.dir); err != nil {
		return err
	}
	f.dirty = false
	return nil
}

// Keep flushes the file to disk and gives it its name in the folder. It replaces
// nothing. If a file with the same content has the name, that file is adopted. If
// anything else has it, the file gets the next free name of `stem-suffix.ext`,
// `stem-suffix-2.ext`, …, but none of not. After an error the caller still has to discard
// the file.
func (f *Folder) Keep(t *TempFile, name, suffix string, not ...string) (Kept, error) {
	if err := t.sync(flushKept); err != nil {
		return Kept{}, err
	}
	kept, err := f.place(t.in.handle, t.name, t.size, t.SHA256(), name, suffix, not)
	if err != nil {
		return Kept{}, err
	}
	if kept.AlreadyThere {
		t.Discard()
	} else {
		t.end()
	}
	return kept, nil
}

// Move gives a file of the output folder another name, as Keep does, and removes the
// folders that this leaves empty. The caller knows its size and SHA-256 and has
// flushed it to disk. If a file with the same content has the name, the file stays
// where it was. If it is not there any more, the error is ErrMissing.
func (f *Folder) Move(from string, size int64, sum, name, suffix string) (Kept, error) {
	if err := ValidPath(from); err != nil {
		return Kept{}, err
	}
	source, err := f.out.root.Open(path.Dir(from))
	if err != nil {
		return Kept{}, f.out.failRead("open folder", path.Dir(from), err)
	}
	defer Release(source)
	kept, err := f.place(source, path.Base(from), size, sum, name, suffix, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return Kept{}, f.out.failRead("move", from, err)
	}
	if err != nil || kept.AlreadyThere {
		return kept, err
	}
	// The new name is on disk before the folders of the old one go.
	if err := f.Sync(); err != nil {
		return kept, err
	}
	return kept, f.out.Tidy(map[string]bool{from: true})
}

// place renames a file to the first free name in the folder that is none of not, or finds
// a file with the same content.
func (f *Folder) place(source *os.File, from string, size int64, sum, name, suffix string, not []string) (Kept, error) {
	if err := errors.Join(ValidPath(f.dir), ValidName(name), ValidName(alternative(name, suffix, 1))); err != nil {
		return Kept{}, err
	}
	var kept Kept
	for n := range maxAlternatives {
		candidate := alternative(name, suffix, n)
		kept.Path = path.Join(f.dir, candidate)
		if slices.Contains(f.taken, candidate) || slices.Contains(not, candidate) {
			kept.Instead = cmp.Or(kept.Instead, "a file that is recorded")
			continue
		}
		taken, err := f.name(source, from, candidate)
		if err != nil || !taken {
			return kept, err
		}
		same, what, err := f.out.sameAs(kept.Path, size, sum)
		if err != nil {
			return Kept{}, err
		}
		if same {
			kept.AlreadyThere = true
			return kept, nil
		}
		if kept.Instead == "" {
			kept.Instead = what
		}
	}
	return Kept{}, fmt.Errorf("name %s: %w: %d other names are taken too", f.out.full(path.Join(f.dir, name)), ErrObstacle, maxAlternatives-1)
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

// KeepExactly is Keep under this name only. If something else has the name, the
// error is ErrDiffers.
func (f *Folder) KeepExactly(t *TempFile, name string) (alreadyThere bool, err error) {
	if err := errors.Join(ValidPath(f.dir), ValidName(name)); err != nil {
		return false, err
	}
	if err := t.sync(flushRestored); err != nil {
		return false, err
	}
	taken, err := f.name(t.in.handle, t.name, name)
	if err == nil && !taken {
		t.end()
	}
	if err != nil || !taken {
		return false, err
	}
	full := path.Join(f.dir, name)
	same, what, err := t.sameAs(full)
	if err == nil && !same {
		err = fmt.Errorf("restore %s: %w: %s is there already", f.out.full(full), ErrDiffers, what)
	}
	return true, err
}

// CopyExactly copies a file of the output folder that has this size and SHA-256, and gives
// the copy its name as [Folder.KeepExactly] does. Errors: those of [Output.Verify].
func (f *Folder) CopyExactly(from string, size int64, sum, name string) error {
	if err := f.out.Verify(from, size, sum); err != nil {
		return err
	}
	source, _, err := f.out.Open(from)
	if err != nil {
		return err
	}
	defer Release(source)
	t, err := f.out.Temp()
	if err != nil {
		return err
	}
	defer t.Discard()
	if _, err := io.Copy(t, source); err != nil {
		return fmt.Errorf("copy %s: %w", f.out.full(from), err)
	}
	if t.SHA256() != sum {
		return fmt.Errorf("copy %s: %w", f.out.full(from), ErrDiffers)
	}
	_, err = f.KeepExactly(t, name)
	return err
}

// Replace writes one of noggin's own files, such as the text report, in the place of
// its former version, in one atomic step. It leaves a file with the same content
// untouched. It returns the size in bytes and the SHA-256 in hex. If anything but a
// regular file has the name, the error is ErrObstacle.
func (f *Folder) Replace(name string, write func(io.Writer) error) (size int64, sum string, err error) {
	if err := errors.Join(ValidPath(f.dir), ValidName(name)); err != nil {
		return 0, "", err
	}
	t, err := f.out.Temp()
	if err != nil {
		return 0, "", err
	}
	defer t.Discard()
	full := path.Join(f.dir, name)
	if err := write(t); err != nil {
		return 0, "", fmt.Errorf("write %s: %w", f.out.full(full), err)
	}
	if err := t.sync(flushReplaced); err != nil {
		return 0, "", err
	}
	taken, err := f.name(t.in.handle, t.name, name)
	if taken {
		err = f.replace(t, full)
	}
	if err == nil && !taken {
		t.end()
	}
	return t.size, t.SHA256(), err
}

// replace is Replace if something stands at full.
func (f *Folder) replace(t *TempFile, full string) error {
	info, err := f.out.root.Lstat(full)
	switch {
	case err != nil:
		return f.out.fail("look at", full, err)
	case !info.Mode().IsRegular():
		return obstacle("replace", f.out.full(full), info)
	case info.Size() == t.size:
		if same, _, err := t.sameAs(full); err != nil || same {
			return err
		}
	}
	if err := f.out.root.Rename(path.Join(TempFolder, t.name), full); err != nil {
		return f.out.fail("replace", full, err)
	}
	t.end()
	return nil
}

// name gives a flushed file its name in the folder; taken says that something has
// that name.
func (f *Folder) name(source *os.File, from, name string) (taken bool, err error) {
	folder, err := f.open()
	if err != nil {
		return false, err
	}
	err = renameNewAt(source, from, folder, name)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	return false, f.out.fail("name", path.Join(f.dir, name), err)
}

// CheckFolder returns a DiskError unless this user may make files in dir or, while that is
// missing, in the first folder above it that is there. It makes nothing.
func (o *Output) CheckFolder(dir string) error {
	f, err := o.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	for errors.Is(err, fs.ErrNotExist) && dir != "." {
		dir = path.Dir(dir)
		f, err = o.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if err == nil {
		defer Release(f)
		err = unix.Faccessat(int(f.Fd()), ".", unix.W_OK|unix.X_OK, 0)
	}
	if err = o.fail("write into", dir, err); IsDiskError(err) {
		return err
	}
	return nil // Keep tells what else is in the way
}

// folder opens dir and creates it if it is missing.
func (o *Output) folder(dir string) (*os.File, error) {
	f, err := o.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	// It tries again because archiving removes folders that become empty.
	for tries := 0; errors.Is(err, fs.ErrNotExist) && tries < 5; tries++ {
		o.forget(dir)
		if err = o.root.MkdirAll(dir, FolderMode); err == nil {
			f, err = o.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, o.fail("create folder", dir, err)
		}
	}
	if err != nil {
		return nil, o.fail("open folder", dir, err)
	}
	return f, nil
}

// settle flushes to disk the names of dir and of the folders above it. Another
// process may have made them a moment ago and not flushed them yet. Each process
// flushes each folder once.
func (o *Output) settle(dir string) error {
	var done []string
	for ; dir != "."; dir = path.Dir(dir) {
		o.mu.Lock()
		_, ok := o.settled[dir]
		o.mu.Unlock()
		if ok {
			break
		}
		if err := o.flush(flushEntry, path.Dir(dir)); err != nil {
			return o.fail("flush folder", path.Dir(dir), err)
		}
		done = append(done, dir)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.settled) > maxSettled {
		clear(o.settled)
	}
	for _, dir := range done {
		o.settled[dir] = struct{}{}
	}
	return nil
}

func (o *Output) forget(dir string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for ; dir != "."; dir = path.Dir(dir) {
		delete(o.settled, dir)
	}
}
