package batch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxAlternatives is how many names Keep tries before it gives up.
const maxAlternatives = 100

// Folder is a folder of the output folder, made when the first file gets its name
// in it. A file that it was given is safe from a power loss when Sync has returned
// without error: one flush does for all of a record's files. Its methods may be used
// by many goroutines at once.
type Folder struct {
	out *Output
	dir string

	mu     sync.Mutex
	handle *os.File // nil until it is needed
	dirty  bool     // holds names that may not be on disk
}

// Kept is where a file ended up.
type Kept struct {
	Path         string // relative to the output folder, with slashes
	AlreadyThere bool   // a file with the same content was there and was adopted
	Instead      string // what stood under the wanted name, where another had to be taken
}

// Folder returns a folder by its path. The caller closes it.
func (o *Output) Folder(dir string) *Folder { return &Folder{out: o, dir: dir} }

// Close gives the folder back. What was not flushed by Sync before may be lost.
func (f *Folder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handle != nil {
		release(f.handle)
		f.handle = nil
	}
}

// open returns the folder, creating what is missing of it. What the caller does to
// it is flushed by the next Sync.
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

// Sync puts the names in the folder on disk, and the folder's own.
func (f *Folder) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dirty {
		return nil
	}
	if err := f.handle.Sync(); err != nil {
		return f.out.fail("flush folder", f.dir, err)
	}
	if err := f.out.settle(f.dir); err != nil {
		return err
	}
	f.dirty = false
	return nil
}

// Keep puts the file on disk and gives it its name in the folder, which is created
// where missing. Nothing is ever replaced: a file of that name with the same content
// is adopted; beside anything else the next free of `stem-suffix.ext`,
// `stem-suffix-2.ext`, … is taken. After an error the file is still to be discarded.
func (f *Folder) Keep(t *TempFile, name, suffix string) (Kept, error) {
	if err := t.sync(); err != nil {
		return Kept{}, err
	}
	kept, err := f.place(t.folder.handle, t.name, t.size, t.SHA256(), name, suffix)
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

// Move gives a file of the output folder, whose size and SHA-256 are known and which
// is on disk, another name, as Keep does, and removes folders that it leaves empty.
// Where the same content is there already, the file stays where it was.
func (f *Folder) Move(from string, size int64, sum, name, suffix string) (Kept, error) {
	if err := validPath(from); err != nil {
		return Kept{}, err
	}
	source, err := f.out.root.Open(path.Dir(from))
	if err != nil {
		return Kept{}, f.out.failRead("open folder", path.Dir(from), err)
	}
	defer release(source)
	kept, err := f.place(source, path.Base(from), size, sum, name, suffix)
	if err != nil || kept.AlreadyThere {
		return kept, err
	}
	// Before its old name is gone for good.
	if err := f.Sync(); err != nil {
		return kept, err
	}
	return kept, f.out.tidy(map[string]bool{from: true})
}

// place renames a file to the first free name in the folder, or finds that it is
// there.
func (f *Folder) place(source *os.File, from string, size int64, sum, name, suffix string) (Kept, error) {
	if err := errors.Join(validPath(f.dir), validName(name), validName(alternative(name, suffix, 1))); err != nil {
		return Kept{}, err
	}
	var kept Kept
	for n := range maxAlternatives {
		candidate := alternative(name, suffix, n)
		kept.Path = path.Join(f.dir, candidate)
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

// keepExactly is Keep without another name: where something else stands under the
// name, the error is ErrDiffers.
func (f *Folder) keepExactly(t *TempFile, name string) (alreadyThere bool, err error) {
	if err := errors.Join(validPath(f.dir), validName(name)); err != nil {
		return false, err
	}
	if err := t.sync(); err != nil {
		return false, err
	}
	taken, err := f.name(t.folder.handle, t.name, name)
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

// Replace writes a file of our own making, such as the text report, in the place of
// its former version, in one atomic step. Unchanged content leaves the file
// untouched. It returns size in bytes and SHA-256 in hex. Anything but a regular file
// under that name is ErrObstacle.
func (f *Folder) Replace(name string, write func(io.Writer) error) (size int64, sum string, err error) {
	if err := errors.Join(validPath(f.dir), validName(name)); err != nil {
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
	if err := t.sync(); err != nil {
		return 0, "", err
	}
	taken, err := f.name(t.folder.handle, t.name, name)
	if taken {
		err = f.replace(t, full)
	}
	if err == nil && !taken {
		t.end()
	}
	return t.size, t.SHA256(), err
}

// replace is Replace where something stands at full.
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

// name gives a file that is on disk its name in the folder, unless something has it:
// then it is taken.
func (f *Folder) name(source *os.File, from, name string) (taken bool, err error) {
	folder, err := f.open()
	if err != nil {
		return false, err
	}
	err = renameNewAt(int(source.Fd()), from, int(folder.Fd()), name)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	return false, f.out.fail("name", path.Join(f.dir, name), err)
}

// folder opens dir, creating what is missing of it.
func (o *Output) folder(dir string) (*os.File, error) {
	f, err := o.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	// More than once, because archiving removes folders that have become empty.
	for tries := 0; errors.Is(err, fs.ErrNotExist) && tries < 5; tries++ {
		o.forget(dir)
		if err = o.root.MkdirAll(dir, folderMode); err == nil {
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

// settle puts the entry of dir, and of the folders it lies in, on disk: also
// those that another process made a moment ago and has not flushed yet. Each is
// flushed once a process.
func (o *Output) settle(dir string) error {
	var done []string
	for ; dir != "."; dir = path.Dir(dir) {
		o.mu.Lock()
		_, ok := o.settled[dir]
		o.mu.Unlock()
		if ok {
			break
		}
		parent, err := o.root.Open(path.Dir(dir))
		if err != nil {
			return o.fail("open folder", path.Dir(dir), err)
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
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
