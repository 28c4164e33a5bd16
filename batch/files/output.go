package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MarkerName is the file that marks the output folder. It is missing in the bare
	// mount point of a volume that is not mounted.
	MarkerName = ".noggin-output"
	// TempFolder holds unfinished files. It lies in the output folder because a
	// rename is only atomic within one file system.
	TempFolder = ".noggin-tmp"
	// RemovingFolder holds the folders of archived records on their way out.
	RemovingFolder = ".noggin-removing"

	// FolderMode is the mode of folders before the umask. The usual umask 022 leaves
	// the manual's 0755 for folders and 0644 for files. UMask=0027 of a unit leaves
	// 0750 and 0640.
	FolderMode = 0o775
	// FileMode is the mode of files before the umask.
	FileMode = 0o664

	// maxSettled bounds the memory of folders known to be on disk.
	maxSettled = 4096
)

const markerText = `This file marks the output folder of noggin. While it is missing, noggin takes
the volume for unmounted and writes nothing here. It is made by ` + "`noggin init-db`" + `.
`

// Output is the folder of the mirrored files. Nothing is read or written outside it:
// it is held as an os.Root, so neither a name from the API nor a symbolic link leads
// out. Many goroutines may use it at once, and many processes and hosts the same
// folder.
//
// Paths are slash-separated and relative to the folder, as in the database.
type Output struct {
	name   string
	root   *os.Root
	marked bool // must have the marker

	guarded bool // see KeepReserve
	reserve uint64

	mu      sync.Mutex
	settled map[string]struct{} // folders whose name is known to be on disk
	temp    *tempFolder         // nil until the first file
}

// CreateMarker makes dir an output folder. It creates the folder and its parents if
// they are missing, and writes the marker. A second call changes nothing. The caller
// must know that the volume is mounted.
func CreateMarker(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find output folder %s: %w", dir, err)
	}
	if err := MakeFolders(dir); err != nil {
		return WrapDisk("create output folder", dir, err)
	}
	name := filepath.Join(dir, MarkerName)
	if info, err := os.Lstat(name); err == nil {
		if !info.Mode().IsRegular() {
			return obstacle("create marker", name, info)
		}
		return nil
	}
	err = WriteNew(name, FileMode, func(w io.Writer) error {
		_, err := io.WriteString(w, markerText)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return nil // another process made it just now
	}
	return err
}

// IsMarked tells whether dir has the marker of an output folder.
func IsMarked(dir string) (bool, error) {
	name := filepath.Join(dir, MarkerName)
	_, err := os.Lstat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil, nil
	}
	return false, WrapDisk("look for", name, err)
}

// OpenOutput opens the output folder. If its marker is missing, the error is
// ErrNotMounted and a DiskError: nothing may be downloaded, and nothing counts
// against a record.
func OpenOutput(dir string) (*Output, error) {
	o, err := OpenPlain(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, WrapDisk("open output folder", dir, ErrNotMounted)
	}
	if err != nil {
		return nil, err
	}
	o.marked = true
	if err := o.Check(); err != nil {
		Release(o)
		return nil, err
	}
	return o, nil
}

// OpenPlain opens a folder that needs no marker, such as the target of a restore or a
// copy of the output folder.
func OpenPlain(dir string) (*Output, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find folder %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, WrapDisk("open folder", abs, err)
	}
	return &Output{name: abs, root: root, settled: map[string]struct{}{}}, nil
}

// MakePlain makes a folder for copies of files and opens it. It refuses an output folder;
// instead says what to do there.
func MakePlain(dir, instead string) (*Output, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the folder %s: %w", dir, err)
	}
	if err := MakeFolders(abs); err != nil {
		return nil, WrapDisk("create folder", abs, err)
	}
	if marked, err := IsMarked(abs); err == nil && marked {
		return nil, fmt.Errorf("restore to %s: this is an output folder: %s", abs, instead)
	}
	return OpenPlain(abs)
}

// Close closes the folder.
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

// Check returns ErrNotMounted unless the folder is still the one that was opened and
// has its marker. It costs three stats, little enough to check before each record.
func (o *Output) Check() error {
	if !o.marked {
		return nil
	}
	info, err := o.root.Lstat(MarkerName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return WrapDisk("look for "+MarkerName+" in", o.name, ErrNotMounted)
	case err != nil:
		return WrapDisk("look for "+MarkerName+" in", o.name, err)
	case !info.Mode().IsRegular():
		return WrapDisk("look for "+MarkerName+" in", o.name, ErrNotMounted)
	}
	// After a lazy unmount the open handle still leads to the volume, but the path
	// leads to the bare mount point.
	held, err := o.root.Stat(".")
	if err != nil {
		return WrapDisk("look at", o.name, err)
	}
	if now, err := os.Stat(o.name); err != nil || !os.SameFile(held, now) {
		return WrapDisk("look at", o.name, ErrNotMounted)
	}
	return nil
}

// CheckWritable is Check and also writes and names a file. It finds a full or read-only
// volume, a foreign owner, and a file system that cannot name files safely, before noggin sends a request to the API.
func (o *Output) CheckWritable() error {
	if err := o.Check(); err != nil {
		return err
	}
	t, err := o.Temp()
	if err != nil {
		return err
	}
	defer t.Discard()
	if _, err = t.Write(make([]byte, 4096)); err != nil {
		return err
	}
	return t.tryName()
}

// Free returns the free and total bytes of the folder's volume, as [VolumeSpace] does.
func (o *Output) Free() (free, total uint64, err error) {
	f, err := o.root.Open(".")
	if err != nil {
		return 0, 0, o.fail("look at", ".", err)
	}
	defer Release(f)
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, 0, o.fail("ask for free space of", ".", err)
	}
	free, total = space(st)
	return free, total, nil
}

// Remove removes a regular file. A missing file is no error. If anything else has the
// name, it stays and the error is ErrObstacle.
func (o *Output) Remove(name string) error {
	if err := ValidPath(name); err != nil {
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

// SweepTemp removes the temporary files that killed processes left: nobody wrote to
// them for olderThan and no process of this host has them open. It returns their
// number and size.
func (o *Output) SweepTemp(olderThan time.Duration, now time.Time) (n int, bytes int64, err error) {
	dir, err := o.root.Open(TempFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, o.fail("open", TempFolder, err)
	}
	defer Release(dir)
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, 0, o.fail("list", TempFolder, err)
	}
	for _, name := range names {
		name = path.Join(TempFolder, name)
		info, err := o.root.Lstat(name)
		// Abs: a clock that was wrong set a modification time far in the future.
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()).Abs() < olderThan || isLocked(o.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)) {
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

func (o *Output) full(name string) string { return filepath.Join(o.name, filepath.FromSlash(name)) }
