package batchtest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Tmpfs mounts a small volume on a new folder, until the end of the test. options are those
// of tmpfs, such as size=64k. Without the right to mount, the test is skipped.
func Tmpfs(t testing.TB, options string) (volume string) {
	t.Helper()
	volume = t.TempDir()
	if err := unix.Mount("tmpfs", volume, "tmpfs", 0, options); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(volume, unix.MNT_DETACH) })
	return volume
}
