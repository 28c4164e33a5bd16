package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MarkerName is the file that tells the output folder from the bare mount
	// point of a volume that is not mounted.
	MarkerName = ".noggin-output"
	// TempFolder holds unfinished files. It lies in the output folder because a
	// rename is only atomic within one file system.
	TempFolder = ".noggin-tmp"
	// RemovingFolder holds the folders of archived records on their way out.
	RemovingFolder = ".noggin-removing"

	// Folders and files get what the umask leaves of these: 0755 and 0644 (the
	// manual's) under the usual 022, 0750 and 0640 under a unit's UMask=0027,
	// group-writable under 002. Never writable for others, whatever the umask.
	folderMode = 0o775
	fileMode   = 0o664

	// maxSettled bounds the memory of folders known to be on disk.
	maxSettled = 4096
)

const markerText = `This file marks the output folder of noggin. While it is missing, noggin takes
the volume for unmounted and writes nothing here. It is made by "noggin init-db".
`

// Output is the folder that the mirrored files live in. Nothing is ever written
// or read outside of it: it is held as an os.Root, so neither a name from the
// API nor a symbolic link leads out. Its methods may be used by many goroutines
// at once, and by many processes and hosts on the same folder.
//
// Paths are slash-separated and relative to the folder, as the database keeps
// them.
type Output struct {
	name string
	root *os.Root
	// unmarked says that this is no output folder but one that files are restored
	// to: it has no marker.
	unmarked bool

	mu      sync.Mutex
	settled map[string]struct{} // folders whose own entry is known to be on disk
	temp    *tempFolder         // nil until a file is made
}

// CreateMarker makes dir an output folder: creates it, with its parents, where
// it is missing, and puts the marker in. Doing so again changes nothing. The
// caller has to know that the volume is mounted.
func CreateMarker(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find output folder %s: %w", dir, err)
	}
	if err := makeFolders(dir); err != nil {
		return diskError("create output folder", dir, err)
	}
	name := filepath.Join(dir, MarkerName)
	if info, err := os.Lstat(name); err == nil {
		if !info.Mode().IsRegular() {
			return obstacle("create marker", name, info)
		}
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, fileMode)
	if err != nil {
		return diskError("create marker", name, err)
	}
	_, err = f.WriteString(markerText)
	if err := errors.Join(err, f.Sync(), f.Close(), syncFolder(dir)); err != nil {
		return diskError("write marker", name, err)
	}
	return nil
}

// IsMarked tells whether dir has the marker of an output folder.
func IsMarked(dir string) (bool, error) {
	name := filepath.Join(dir, MarkerName)
	_, err := os.Lstat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil, nil
	}
	return false, diskError("look for", name, err)
}

// makeFolders is os.MkdirAll with each new folder's entry on disk afterwards.
func makeFolders(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeFolders(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, folderMode); err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return nil // made by another process just now
		}
		return err
	}
	return syncFolder(parent)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// OpenOutput opens the output folder. Without its marker the error is
// ErrNotMounted (and IsDiskError): nothing may be downloaded then, and nothing
// counted against a record.
func OpenOutput(dir string) (*Output, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find output folder %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, diskError("open output folder", abs, ErrNotMounted)
	}
	if err != nil {
		return nil, diskError("open output folder", abs, err)
	}
	o := &Output{name: abs, root: root, settled: map[string]struct{}{}}
	if err := o.Check(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return o, nil
}

// Close gives the folder back.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.temp != nil {
		o.temp.close()
	}
	return o.root.Close()
}

// Name is the absolute path of the folder.
func (o *Output) Name() string { return o.name }

// Check tells whether the folder is still the one that was opened, with its
// marker: two stats, cheap enough for before each record. ErrNotMounted says no.
func (o *Output) Check() error {
	if o.unmarked {
		return nil
	}
	info, err := o.root.Lstat(MarkerName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return diskError("look for "+MarkerName+" in", o.name, ErrNotMounted)
	case err != nil:
		return diskError("look for "+MarkerName+" in", o.name, err)
	case !info.Mode().IsRegular():
		return diskError("look for "+MarkerName+" in", o.name, ErrNotMounted)
	}
	// A lazy unmount leaves the open handle on the volume while everybody else
	// already sees the bare mount point.
	held, err := o.root.Stat(".")
	if err != nil {
		return diskError("look at", o.name, err)
	}
	if now, err := os.Stat(o.name); err != nil || !os.SameFile(held, now) {
		return diskError("look at", o.name, ErrNotMounted)
	}
	return nil
}

// CheckWritable is Check, and that a file can be written: it finds a full or
// read-only volume before anything is asked of the API.
func (o *Output) CheckWritable() error {
	if err := o.Check(); err != nil {
		return err
	}
	t, err := o.Temp()
	if err != nil {
		return err
	}
	defer t.Discard()
	_, err = t.Write(make([]byte, 4096))
	return err
}

// Free is the space that is left for this user on the folder's volume, and all that
// users can have of it, in bytes: what df reckons its percentage with.
func (o *Output) Free() (free, total uint64, err error) {
	f, err := o.root.Open(".")
	if err != nil {
		return 0, 0, o.fail("look at", ".", err)
	}
	defer release(f)
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, 0, o.fail("ask for free space of", ".", err)
	}
	free, total = space(st)
	return free, total, nil
}

// Open opens a regular file for reading. Errors: ErrMissing, ErrObstacle where
// a symbolic link, folder or device stands in its place (it is not followed).
func (o *Output) Open(name string) (*os.File, fs.FileInfo, error) {
	if err := validPath(name); err != nil {
		return nil, nil, err
	}
	return o.open(name)
}

func (o *Output) open(name string) (*os.File, fs.FileInfo, error) {
	before, err := o.root.Lstat(name)
	if err != nil {
		return nil, nil, o.failRead("look at", name, err)
	}
	if !before.Mode().IsRegular() {
		return nil, nil, obstacle("read", o.full(name), before)
	}
	f, err := o.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, o.failRead("open", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(o.fail("look at", name, err), f.Close())
	}
	if !os.SameFile(before, info) {
		err := fmt.Errorf("open %s: %w: it was replaced meanwhile", o.full(name), ErrDiffers)
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Verify compares a file with what the database knows: size in bytes and, when
// sum is not empty, SHA-256 in hex. Errors: ErrMissing, ErrDiffers, ErrObstacle,
// and ErrNotMounted rather than a folder full of missing files.
func (o *Output) Verify(name string, size int64, sum string) error {
	if err := validPath(name); err != nil {
		return err
	}
	return o.verify(name, size, sum)
}

func (o *Output) verify(name string, size int64, sum string) error {
	f, info, err := o.open(name)
	if err != nil {
		return err
	}
	defer release(f)
	if info.Size() != size {
		return fmt.Errorf("verify %s: %w: %d bytes instead of %d", o.full(name), ErrDiffers, info.Size(), size)
	}
	if sum == "" {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return o.fail("read", name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, sum) {
		return fmt.Errorf("verify %s: %w: SHA-256 %s instead of %s", o.full(name), ErrDiffers, got, sum)
	}
	return nil
}

// Remove deletes a regular file; one that is gone already is no error. Anything
// else under that name is left alone: ErrObstacle.
func (o *Output) Remove(name string) error {
	if err := validPath(name); err != nil {
		return err
	}
	info, err := o.root.Lstat(name)
	if err == nil {
		if !info.Mode().IsRegular() {
			return obstacle("remove", o.full(name), info)
		}
		err = o.root.Remove(name)
	}
	if err = o.failRead("remove", name, err); errors.Is(err, ErrMissing) {
		return nil
	}
	return err
}

// SweepTemp removes temporary files that killed processes left: those not
// written to for olderThan that no process of this host holds open. It returns
// their number and size.
func (o *Output) SweepTemp(olderThan time.Duration, now time.Time) (n int, bytes int64, err error) {
	dir, err := o.root.Open(TempFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, o.fail("open", TempFolder, err)
	}
	defer release(dir)
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, 0, o.fail("list", TempFolder, err)
	}
	for _, name := range names {
		name = path.Join(TempFolder, name)
		info, err := o.root.Lstat(name)
		// A modification time far in the future is one of a clock that was wrong.
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()).Abs() < olderThan || o.inUse(name) {
			continue
		}
		if err := o.root.Remove(name); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // swept by another run
			}
			return n, bytes, o.fail("remove", name, err)
		}
		n++
		bytes += info.Size()
	}
	return n, bytes, nil
}

// inUse tells whether a process holds the lock that Temp takes. Where the file
// system has no locks the age has to do.
func (o *Output) inUse(name string) bool {
	f, err := o.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer release(f)
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func (o *Output) full(name string) string { return filepath.Join(o.name, filepath.FromSlash(name)) }

// release closes what was only read, or is flushed already: then the error of
// Close tells nothing.
func release(c io.Closer) { _ = c.Close() }
