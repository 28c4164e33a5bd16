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
	// youngFolder is how long after its making a folder may be without its lock.
	youngFolder = time.Minute
)

// watchdog is the process that ends a server and removes its folder when this
// process is gone.
type watchdog struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	// lock on a file in the folder says that somebody still takes care of it.
	lock *os.File
}

// startWatchdog makes the watchdog of the folder, which both processes lock.
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
	// In a session of its own, a signal to our process group does not end it.
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

// clear has the watchdog do its work now and waits for it.
func (w *watchdog) clear() {
	_ = w.stdin.Close()
	_ = w.cmd.Wait()
	_ = w.lock.Close()
}

// sweep removes the folders of servers whose starter and watchdog were killed
// together, as when a container is stopped. Their servers went with them.
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

// isOld says whether the folder is the account's own and not just being made.
func isOld(folder string, as account) bool {
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() || time.Since(info.ModTime()) < youngFolder {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == as.uid
}
