package powercut

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The shutdown of a file system, from linux/fs.h and xfs_fs.h.
const (
	ioctlShutdown      = 0x8004587d // FS_IOC_SHUTDOWN
	shutdownNoLogFlush = 2          // neither log nor data is written
)

// volumeSize is that of the sparse image; mkfs.xfs refuses less than 300 MB.
const volumeSize = 1 << 30

// A fileSystem is one that can be cut.
type fileSystem struct {
	name  string
	mkfs  []string
	mount string // options
}

// fileSystems are cut. ext4 writes its journal only every 300 s by itself, and flushes no
// file that replaces another: only noggin's own flushes put anything on disk.
var fileSystems = []fileSystem{
	{name: "ext4", mkfs: []string{"mkfs.ext4", "-q", "-F"}, mount: "commit=300,noauto_da_alloc"},
	{name: "xfs", mkfs: []string{"mkfs.xfs", "-q", "-f"}},
}

// volume is a file system on a loop device.
type volume struct {
	name   string
	system fileSystem
	device string
	dir    string // where it is mounted
}

// newVolume makes, mounts and, at the end of the test, removes a volume. It skips the
// test where the machine cannot have one.
func newVolume(t *testing.T, system fileSystem, name string) *volume {
	t.Helper()
	folder := t.TempDir()
	image := filepath.Join(folder, "image")
	v := &volume{name: name, system: system, dir: filepath.Join(folder, name)}
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, volumeSize), os.Mkdir(v.dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program(system.mkfs[0]), append(system.mkfs[1:], image)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", system.mkfs[0], err, out)
	}
	out, err := exec.Command(program("losetup"), "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("this machine gives no loop device: %s", strings.TrimSpace(string(out)))
	}
	v.device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command(program("losetup"), "--detach", v.device).CombinedOutput(); err != nil {
			t.Errorf("detach %s: %v: %s", v.device, err, out)
		}
	})
	if err := v.mount(); err != nil {
		t.Skipf("this machine mounts no %s: %v", system.name, err)
	}
	t.Cleanup(func() {
		if err := v.unmount(); err != nil {
			t.Errorf("unmount %s: %v", v.dir, err)
		}
	})
	return v
}

// program finds a program that may not be on an ordinary PATH.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}

// whyNot says why no trial can be made here; "" where one can.
func whyNot() string {
	if os.Geteuid() != 0 {
		return "cutting a volume takes root"
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return "this machine has no loop devices: " + err.Error()
	}
	for _, name := range []string{"losetup", "mkfs.ext4", "mkfs.xfs"} {
		if _, err := os.Stat(program(name)); err != nil {
			return name + " is missing; `NOGGIN_SETUP=all .ci/setup` installs it"
		}
	}
	return ""
}

func (v *volume) mount() error {
	if err := unix.Mount(v.device, v.dir, v.system.name, 0, v.system.mount); err != nil {
		return fmt.Errorf("mount %s as %s: %w", v.device, v.system.name, err)
	}
	return nil
}

// unmount waits for the last file of a killed process to be closed.
func (v *volume) unmount() error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Unmount(v.dir, 0)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}

// cut ends all writing to the device at once: what is not on it is lost.
func (v *volume) cut() error {
	dir, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), ioctlShutdown, shutdownNoLogFlush); err != nil {
		return fmt.Errorf("shut down %s: %w", v.dir, err)
	}
	return nil
}

// remount brings a volume that was cut back, as the next start of the machine does.
func (v *volume) remount() error {
	if err := v.unmount(); err != nil {
		return fmt.Errorf("unmount %s: %w", v.dir, err)
	}
	return v.mount()
}

// sync puts all of the volume on disk.
func (v *volume) sync() error {
	dir, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return unix.Syncfs(int(dir.Fd()))
}
