package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// VolumeSpace returns the free and total bytes of the volume of a folder, or of the
// nearest folder above it that exists. They are what this user can use, as in df's
// percentage.
func VolumeSpace(dir string) (free, total uint64, err error) {
	v, err := statVolume(Existing(dir))
	if err != nil {
		return 0, 0, err
	}
	return v.Free, v.Total, nil
}

func space(st unix.Statfs_t) (free, total uint64) {
	block := uint64(st.Frsize)
	if block == 0 {
		block = uint64(st.Bsize)
	}
	return st.Bavail * block, (st.Blocks - st.Bfree + st.Bavail) * block
}

// UsedPercent is the percentage of a volume that is in use, as df counts it.
func UsedPercent(free, total uint64) float64 {
	if total == 0 {
		return 0
	}
	return 100 * float64(total-free) / float64(total)
}

// Existing returns path, or the nearest path above it that exists. A path that stat
// cannot read counts as existing: above a broken mount lies another volume.
func Existing(path string) string {
	for {
		_, err := os.Stat(path)
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// deviceAt returns the device of path, or of the nearest path above it that exists.
func deviceAt(path string) (uint64, error) {
	var st unix.Stat_t
	path = Existing(path)
	if err := unix.Stat(path, &st); err != nil {
		return 0, WrapDisk("look at", path, err)
	}
	return st.Dev, nil
}

// SameVolume tells whether two paths are on one volume.
func SameVolume(path, other string) (bool, error) {
	one, err := deviceAt(path)
	if err != nil {
		return false, err
	}
	two, err := deviceAt(other)
	return err == nil && one == two, err
}

// Volume is a file system with configured folders on it.
type Volume struct {
	Mount  string
	Keys   []string
	Free   uint64 // for this user, bytes
	Total  uint64
	Used   float64 // percent, as df counts it
	Inodes float64 // percent in use
}

// Volumes returns the volumes of the places, in the order of the places.
func Volumes(places []Place) ([]*Volume, error) {
	var all []*Volume
	byDevice := map[uint64]*Volume{}
	var errs []error
	for _, p := range places {
		device, err := deviceAt(p.Path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		v, known := byDevice[device]
		if !known {
			if v, err = statVolume(Existing(p.Path)); err != nil {
				errs = append(errs, err)
				continue
			}
			byDevice[device] = v
			all = append(all, v)
		}
		v.Keys = append(v.Keys, p.Key)
	}
	return all, errors.Join(errs...)
}

func statVolume(path string) (*Volume, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, WrapDisk("ask for free space of", path, err)
	}
	v := &Volume{Mount: mountPoint(path)}
	v.Free, v.Total = space(st)
	v.Used = UsedPercent(v.Free, v.Total)
	if st.Files > 0 {
		v.Inodes = 100 * float64(st.Files-st.Ffree) / float64(st.Files)
	}
	return v, nil
}

// mountPoint returns the mount point of the volume of path.
func mountPoint(path string) string {
	var here, above unix.Stat_t
	for path != filepath.Dir(path) {
		if unix.Stat(path, &here) != nil || unix.Stat(filepath.Dir(path), &above) != nil || here.Dev != above.Dev {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}
