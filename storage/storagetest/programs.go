package storagetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// programFolders are the folders of the server's programs in Debian and Ubuntu, one for
// each version. Other distributions put the programs on the PATH.
const programFolders = "/usr/lib/postgresql/*/bin"

// findPrograms returns the folder of the newest initdb and postgres.
func findPrograms() (string, error) {
	folders, err := filepath.Glob(programFolders)
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL in %s: %w", programFolders, err)
	}
	newest, folder := -1, ""
	for _, f := range folders {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil || version <= newest || !isExecutable(filepath.Join(f, "initdb")) || !isExecutable(filepath.Join(f, "postgres")) {
			continue
		}
		newest, folder = version, f
	}
	if folder != "" {
		return folder, nil
	}
	// A link on the PATH may lead to a folder that holds initdb alone.
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if initdb, err = filepath.EvalSymlinks(initdb); err == nil && isExecutable(filepath.Join(filepath.Dir(initdb), "postgres")) {
			return filepath.Dir(initdb), nil
		}
	}
	return "", errors.New("no PostgreSQL server programs in " + programFolders + " or on the PATH: run .ci/setup, or set $" + EnvURL)
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// account is the user that the server runs as.
type account struct {
	uid, gid int
	// credential is nil when the server runs as the calling user.
	credential *syscall.Credential
}

// serverAccount returns the calling user. For root, as which initdb and postgres refuse
// to run, it returns an unprivileged user.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("user id of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("group id of %s: %w", name, err)
		}
		return account{
			uid:        int(uid),
			gid:        int(gid),
			credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		}, nil
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// temporaryFolder returns the usual temporary folder, or /tmp if the account cannot pass
// through the usual one.
func (a account) temporaryFolder() (string, error) {
	folder, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return "", fmt.Errorf("look up the temporary folder: %w", err)
	}
	if a.credential == nil {
		return filepath.Abs(folder)
	}
	for f := folder; f != "/" && f != "."; f = filepath.Dir(f) {
		info, err := os.Stat(f)
		if err != nil {
			return "", fmt.Errorf("look up the temporary folder: %w", err)
		}
		if info.Mode()&0o001 == 0 {
			return "/tmp", nil
		}
	}
	return filepath.Abs(folder)
}

// memoryFolder is Linux's folder in memory. Making and dropping databases, as tests do all
// the time, costs a file system on a disk much more.
const memoryFolder = "/dev/shm"

// memoryHasRoom tells whether the data of servers, a few GB at most, fit into memory beside
// all else.
func memoryHasRoom() bool {
	const enough = 8 << 30
	var at unix.Statfs_t
	err := unix.Statfs(memoryFolder, &at)
	return err == nil && at.Type == unix.TMPFS_MAGIC && at.Bavail*uint64(at.Bsize) >= enough
}

// serverEnvironment is the whole environment of the server's programs. A developer's
// PGPORT or LC_ALL must not reach them.
func serverEnvironment(folder string) []string {
	return []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=" + folder}
}
