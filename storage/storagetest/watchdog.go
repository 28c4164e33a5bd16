package storagetest

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

//go:embed watchdog.sh
var watchdogScript string

const (
	folderPrefix = "noggin-postgres-"
	lockName     = "lock"
	// youngFolder is the age up to which a folder may have no lock yet.
	youngFolder = time.Minute
)

// watchdog is a process that ends a server and removes its folder when this process has
// ended.
type watchdog struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	// lock is a locked file in the folder. While it is locked, sweep leaves the folder.
	lock *os.File
}

// startWatchdog starts the watchdog of the folder. Both processes hold the lock.
func startWatchdog(folder string, as account) (*watchdog, error) {
	lock, err := os.OpenFile(filepath.Join(folder, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create the lock of %s: %w", folder, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "noggin-postgres-watchdog", folder)
	cmd.Dir = "/"
	cmd.Env = serverEnvironment(folder)
	// It has a session of its own, so that a signal to this process group does not end it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as.credential}
	cmd.ExtraFiles = []*os.File{lock}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, stdin: stdin, lock: lock}, nil
}

// clear makes the watchdog end the server and remove the folder, and waits for it.
func (w *watchdog) clear() {
	_ = w.stdin.Close()
	_ = w.cmd.Wait()
	_ = w.lock.Close()
}

// sweep removes the folders of servers that were killed together with their starter and
// watchdog, as when a container is stopped.
func sweep(parent string, as account) {
	folders, err := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	if err != nil {
		return
	}
	for _, folder := range folders {
		if !isOld(folder, as) {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(folder, lockName), os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(folder)
		}
		_ = lock.Close()
	}
}

// isOld reports whether the account owns the folder and the folder is not new.
func isOld(folder string, as account) bool {
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() || time.Since(info.ModTime()) < youngFolder {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == as.uid
}
