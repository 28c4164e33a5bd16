package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"sync"
	"time"

	"noggin/batch/files"
)

// MarkerName is the file that marks a folder as a place for copies. It is missing in the
// bare mount point of a volume that is not mounted.
const MarkerName = ".noggin-copy"

const markerText = `This file marks a folder into which noggin copies its files. While it is missing,
noggin takes the volume for unmounted and copies nothing here.
`

// Folder is a place on a volume of this host. Many goroutines may use it, and many hosts
// the same folder.
type Folder struct {
	output *files.Output

	mu      sync.Mutex
	folders map[string]*opened // with names that may not be on disk yet
	lost    error              // of a flush
}

// opened is an open folder.
type opened struct {
	*files.Folder
	users int // Puts that are at work in it
}

// CreateMarker makes an existing folder a place for copies.
func CreateMarker(dir string) error {
	err := files.WriteNew(filepath.Join(dir, MarkerName), files.FileMode, writeMarker)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func writeMarker(w io.Writer) error {
	_, err := io.WriteString(w, markerText)
	return err
}

// OpenFolder opens the folder. The error is [ErrAway] if it is missing. Check looks for
// its marker.
func OpenFolder(dir string) (*Folder, error) {
	output, err := files.OpenPlain(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAway, err)
	}
	return &Folder{output: output, folders: map[string]*opened{}}, nil
}

// Close closes the folder.
func (f *Folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, folder := range f.folders {
		folder.Close()
	}
	return f.output.Close()
}

// Check returns [ErrAway] unless the folder has its marker.
func (f *Folder) Check(context.Context) error {
	marked, err := f.output.IsFile(MarkerName)
	if err == nil && !marked {
		err = fmt.Errorf("%s has no %s", f.output.Name(), MarkerName)
	}
	if err != nil {
		return fmt.Errorf("%w: %w: mount its volume; if this is the right folder and new, `touch %s`, and `noggin copy verify` finds what it lacks",
			ErrAway, err, files.ShellQuoted(filepath.Join(f.output.Name(), MarkerName)))
	}
	return nil
}

// IsBare tells whether the marker is empty: a person made it, as Check advises.
func (f *Folder) IsBare() (bool, error) {
	info, err := f.output.Lstat(MarkerName)
	if err != nil {
		return false, f.classify(err)
	}
	return info.Size() == 0, nil
}

// Mark writes the marker's text in the place of a bare one.
func (f *Folder) Mark() error {
	return f.classify(files.WriteReplacing(filepath.Join(f.output.Name(), MarkerName), files.FileMode, writeMarker))
}

// Put writes the object. It is on disk when Flush has returned nil. A folder cannot keep
// an object from being deleted, so Retain must be zero.
func (f *Folder) Put(ctx context.Context, o Object, opts PutOptions, content io.Reader) (stored Stored, err error) {
	if !opts.Retain.IsZero() {
		return stored, fmt.Errorf("%s: %w", f.output.Name(), ErrNoLock)
	}
	temp, err := f.output.Temp()
	if err != nil {
		return stored, f.classify(err)
	}
	defer temp.Discard()
	from := &original{Reader: files.ContextReader{Context: ctx, Source: io.LimitReader(content, o.Size+1)}}
	_, err = files.Copy(temp, from)
	switch {
	case from.err != nil:
		return stored, fmt.Errorf("%w: %w", ErrSource, from.err)
	case err != nil:
		return stored, f.classify(err)
	}
	if err := o.compare(temp.Size(), temp.SHA256()); err != nil { // the file hashed what was written
		return stored, fmt.Errorf("%w: %w", ErrSource, err)
	}
	dir, name := f.take(path.Dir(o.Key)), path.Base(o.Key)
	defer f.giveBack(dir)
	stored.Already, err = dir.KeepExactly(temp, name)
	if errors.Is(err, files.ErrDiffers) {
		stored.Already, stored.Mended = false, true
		_, _, err = dir.Replace(name, func(w io.Writer) error {
			_, err := io.Copy(w, io.NewSectionReader(temp, 0, o.Size))
			return err
		})
	}
	if err == nil {
		err = dir.Touch()
	}
	return stored, f.classify(err)
}

// original keeps the error of a content, which is none of the folder.
type original struct {
	io.Reader
	err error
}

// Read is part of io.Reader.
func (o *original) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = err
	}
	return n, err
}

// take returns the open folder of a key. The caller gives it back.
func (f *Folder) take(dir string) *opened {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folders[dir] == nil {
		f.folders[dir] = &opened{Folder: f.output.Folder(dir)}
	}
	f.folders[dir].users++
	return f.folders[dir]
}

func (f *Folder) giveBack(dir *opened) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir.users--
}

// Flush flushes to disk the names of all objects whose Put has returned. When it has failed
// once it fails always, as the system tells only once of a write that is lost.
func (f *Folder) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for dir, folder := range f.folders {
		f.lost = errors.Join(f.lost, folder.Sync())
		if folder.users == 0 {
			folder.Close()
			delete(f.folders, dir)
		}
	}
	return f.classify(f.lost)
}

// Look compares presence and size. The SHA-256 shows only when the object is read.
func (f *Folder) Look(_ context.Context, o Object) error {
	return f.classify(f.output.Verify(o.Key, o.Size, ""))
}

// Read opens the object. The error is [files.ErrMissing] if there is none.
func (f *Folder) Read(_ context.Context, o Object) (io.ReadCloser, error) {
	content, _, err := f.output.Open(o.Key)
	if err != nil {
		return nil, f.classify(err)
	}
	return content, nil
}

// Remove removes the object, and its folder if that is empty then.
func (f *Folder) Remove(_ context.Context, o Object, _ string) error {
	err := f.output.Remove(o.Key)
	if err == nil && path.Dir(o.Key) != "." {
		err = f.output.Tidy(map[string]bool{o.Key: true})
	}
	return f.classify(err)
}

// List calls each with every object below the folder of the place.
func (f *Folder) List(ctx context.Context, folder string, each func(Found) error) error {
	entries, err := f.output.Entries(folder)
	if errors.Is(err, files.ErrMissing) {
		return nil
	}
	if err != nil {
		return f.classify(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := f.List(ctx, path.Join(folder, entry.Name()), each); err != nil {
				return err
			}
		}
		if !entry.Mode().IsRegular() {
			continue
		}
		if err := each(Found{path.Join(folder, entry.Name()), entry.Size(), entry.ModTime()}); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the unfinished files that killed runs left.
func (f *Folder) Sweep(now time.Time) error {
	_, _, err := f.output.SweepTemp(files.TempAge, now)
	return f.classify(err)
}

// classify makes a refusal of the disk [ErrAway]. A single object that cannot be read,
// while the folder is there, is damaged.
func (f *Folder) classify(err error) error {
	if err == nil || errors.Is(err, files.ErrMissing) && f.Check(context.Background()) == nil {
		return err
	}
	if errors.Is(err, files.ErrDiffers) || errors.Is(err, files.ErrObstacle) || errors.Is(err, files.ErrBadName) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}
