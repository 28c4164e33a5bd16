package batch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// VolumeSpace is the space that is left for this user on the volume of a folder,
// or of the nearest one above it that is there, and all that users can have of it, in
// bytes: what df reckons its percentage with.
func VolumeSpace(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	dir = existing(dir)
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, diskError("ask for free space of", dir, err)
	}
	free, total = space(st)
	return free, total, nil
}

func space(st unix.Statfs_t) (free, total uint64) {
	block := uint64(st.Frsize)
	if block == 0 {
		block = uint64(st.Bsize)
	}
	return st.Bavail * block, (st.Blocks - st.Bfree + st.Bavail) * block
}

// UsedPercent is how much of a volume is in use, as df counts it.
func UsedPercent(free, total uint64) float64 {
	if total == 0 {
		return 0
	}
	return 100 * float64(total-free) / float64(total)
}

// existing is the path, or the nearest above it, that is there. One that cannot be
// looked at counts: what lies above a broken mount is another volume.
func existing(path string) string {
	for {
		_, err := os.Stat(path)
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// deviceAt tells which volume a path, or the nearest above it that is there, is on.
func deviceAt(path string) (uint64, error) {
	var st unix.Stat_t
	path = existing(path)
	if err := unix.Stat(path, &st); err != nil {
		return 0, diskError("look at", path, err)
	}
	return st.Dev, nil
}

// sameVolume tells whether two paths are on one volume.
func sameVolume(path, other string) (bool, error) {
	one, err := deviceAt(path)
	if err != nil {
		return false, err
	}
	two, err := deviceAt(other)
	return err == nil && one == two, err
}

// volume is a file system with configured folders on it.
type volume struct {
	mount  string
	keys   []string
	free   uint64 // for this user, bytes
	total  uint64
	used   float64 // percent, as df counts it
	inodes float64 // percent in use
}

// volumes returns the volumes of the places, in their order.
func volumes(places []place) ([]*volume, error) {
	var all []*volume
	byDevice := map[uint64]*volume{}
	var errs []error
	for _, p := range places {
		device, err := deviceAt(p.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		v, known := byDevice[device]
		if !known {
			if v, err = statVolume(existing(p.path)); err != nil {
				errs = append(errs, err)
				continue
			}
			byDevice[device] = v
			all = append(all, v)
		}
		v.keys = append(v.keys, p.key)
	}
	return all, errors.Join(errs...)
}

func statVolume(path string) (*volume, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, diskError("ask for free space of", path, err)
	}
	v := &volume{mount: mountPoint(path)}
	v.free, v.total = space(st)
	v.used = UsedPercent(v.free, v.total)
	if st.Files > 0 {
		v.inodes = 100 * float64(st.Files-st.Ffree) / float64(st.Files)
	}
	return v, nil
}

// mountPoint is where the volume of path is mounted.
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
