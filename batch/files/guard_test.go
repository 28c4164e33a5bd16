package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func markedOutput(t *testing.T) *Output {
	t.Helper()
	dir := t.TempDir()
	if err := CreateMarker(dir); err != nil {
		t.Fatal(err)
	}
	o, err := OpenOutput(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Release(o) })
	return o
}

func TestRootDoesNotWriteIntoTheFolderOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be in the wrong folder in this way")
	}
	o := markedOutput(t)
	if err := o.CheckWritable(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(o.Name(), MarkerName), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	err := o.CheckWritable()
	if _, ok := errors.AsType[*ForeignError](err); !ok || !IsDiskError(err) || !strings.Contains(err.Error(), "sudo -u "+UserName(65534)+" ") {
		t.Errorf("root writes: %v", err)
	}
}

func TestDownloadsStopAtTheReserve(t *testing.T) {
	o := markedOutput(t)
	free, _, err := o.Free()
	if err != nil {
		t.Fatal(err)
	}
	o.KeepReserve(1)
	if err := o.CheckWritable(); err != nil {
		t.Fatal(err)
	}
	o.KeepReserve(int64(2 * free))
	if err := o.CheckWritable(); !errors.Is(err, ErrReserve) || !IsDiskError(err) || !strings.Contains(err.Error(), "free space on that volume") {
		t.Errorf("below the reserve: %v", err)
	}
}

func TestTheReserveIsTheLesserOfANumberAndAShare(t *testing.T) {
	const gb = 1_000_000_000
	for _, test := range []struct {
		free, total, inodesFree, inodes, reserve uint64
		stops                                    bool
	}{
		{free: 3 * gb, total: 1000 * gb},
		{free: 2 * gb, total: 1000 * gb, stops: true},
		{free: 2 * gb, total: 50 * gb},
		{free: 1 * gb, total: 50 * gb, stops: true},
		{free: 1 * gb, total: 50 * gb, reserve: gb / 2},
		{free: 9 * gb, total: 50 * gb, reserve: 10 * gb, stops: true},
		{free: 9 * gb, total: 50 * gb, inodes: 1_000_000, inodesFree: 10_001},
		{free: 9 * gb, total: 50 * gb, inodes: 1_000_000, inodesFree: 10_000, stops: true},
		{free: 9 * gb, total: 50 * gb, inodes: 1000, inodesFree: 20, stops: true},
		{free: 9 * gb, total: 50 * gb, inodes: 1000, inodesFree: 21},
		{free: 9 * gb, total: 50 * gb}, // it has no inodes, such as btrfs
	} {
		st := unix.Statfs_t{Frsize: 1, Bavail: test.free, Bfree: test.free, Blocks: test.total, Files: test.inodes, Ffree: test.inodesFree}
		if err := reserveLeft(st, test.reserve); errors.Is(err, ErrReserve) != test.stops {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// A folder has no hard links on any file system.
func TestAFileSystemWithoutASafeRenameIsNamed(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	if err := os.Mkdir(from, 0o700); err != nil {
		t.Fatal(err)
	}
	err := WrapDisk("name", from, linkNew(unix.AT_FDCWD, from, unix.AT_FDCWD, filepath.Join(dir, "to")))
	if !errors.Is(err, ErrCannotName) || !IsDiskError(err) || !strings.Contains(err.Error(), "another file system") {
		t.Errorf("%v", err)
	}
}
