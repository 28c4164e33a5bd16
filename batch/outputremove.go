package batch

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Entries lists what is in a folder, without following anything. A folder that is
// missing is ErrMissing; ErrObstacle says that on the way to it something is no
// folder, but a symbolic link, say.
func (o *Output) Entries(dir string) ([]fs.FileInfo, error) {
	if err := validPath(dir); err != nil {
		return nil, err
	}
	return o.entries(dir)
}

func (o *Output) entries(dir string) ([]fs.FileInfo, error) {
	parts := strings.Split(dir, "/")
	for i := range parts {
		step := path.Join(parts[:i+1]...)
		info, err := o.root.Lstat(step)
		if err != nil {
			return nil, o.failRead("look at", step, err)
		}
		if !info.IsDir() {
			return nil, obstacle("look into", o.full(step), info)
		}
	}
	folder, err := o.root.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, o.failRead("open", dir, err)
	}
	defer release(folder)
	entries, err := folder.Readdir(-1)
	if err != nil {
		return nil, o.fail("list", dir, err)
	}
	return entries, nil
}

// setAside moves a record's folder out of everybody's sight; what it is called
// there is removed by removeAside, or put back.
func (o *Output) setAside(dir, as string) error {
	if err := validPath(dir); err != nil {
		return err
	}
	if err := o.root.Mkdir(RemovingFolder, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return o.fail("create folder", RemovingFolder, err)
	}
	return o.failRead("set aside", dir, o.root.Rename(dir, path.Join(RemovingFolder, as)))
}

// putBack undoes setAside, unless there is something in the folder's place.
func (o *Output) putBack(as, dir string) error {
	return o.failRead("put back", dir, o.root.Rename(path.Join(RemovingFolder, as), dir))
}

// asideEntries lists a folder that was set aside.
func (o *Output) asideEntries(as string) ([]fs.FileInfo, error) {
	return o.entries(path.Join(RemovingFolder, as))
}

// verifyAside is Verify for a file of a folder that was set aside.
func (o *Output) verifyAside(as, name string, size int64, sum string) error {
	return o.verify(path.Join(RemovingFolder, as, name), size, sum)
}

// removeAside removes the named files of a folder that was set aside, and the
// folder if that leaves it empty: emptied says so.
func (o *Output) removeAside(as string, names []string) (emptied bool, err error) {
	for _, name := range names {
		file := path.Join(RemovingFolder, as, name)
		if err := o.root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, o.fail("remove", file, err)
		}
	}
	return o.removeEmpty(path.Join(RemovingFolder, as))
}

// removeEmpty removes a folder that is empty; a missing one counts as removed.
func (o *Output) removeEmpty(dir string) (removed bool, err error) {
	err = o.root.Remove(dir)
	switch {
	case err == nil:
		o.forget(dir)
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, fs.ErrExist):
		return false, nil
	}
	return false, o.fail("remove folder", dir, err)
}

// tidy removes the folders above a record's that have become empty, and puts on
// disk what is left of them.
func (o *Output) tidy(dirs map[string]bool) error {
	for dir := range dirs {
		for parent := path.Dir(dir); ; parent = path.Dir(parent) {
			if parent != "." {
				removed, err := o.removeEmpty(parent)
				if err != nil {
					return err
				}
				if removed {
					continue
				}
			}
			if err := o.flush(parent); err != nil {
				return err
			}
			break
		}
	}
	_, err := o.removeEmpty(RemovingFolder)
	return err
}

func (o *Output) flush(dir string) error {
	folder, err := o.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return o.fail("open folder", dir, err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return o.fail("flush folder", dir, err)
	}
	return nil
}

// fingerprint changes whenever one of the files is written to or replaced: what
// was read before is then no longer known to be what is there.
type fingerprint struct{ hash maphash.Hash }

func newFingerprint(seed maphash.Seed) *fingerprint {
	f := &fingerprint{}
	f.hash.SetSeed(seed)
	return f
}

func (f *fingerprint) add(name string, info fs.FileInfo) {
	_, _ = f.hash.WriteString(name + "\x00") // a maphash takes all
	var b []byte
	b = binary.LittleEndian.AppendUint64(b, uint64(info.Size()))
	b = binary.LittleEndian.AppendUint64(b, uint64(info.ModTime().UnixNano()))
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		b = binary.LittleEndian.AppendUint64(b, st.Ino)
		b = binary.LittleEndian.AppendUint64(b, uint64(st.Ctim.Sec))
		b = binary.LittleEndian.AppendUint64(b, uint64(st.Ctim.Nsec))
	}
	_, _ = f.hash.Write(b)
}

func (f *fingerprint) sum() uint64 { return f.hash.Sum64() }
