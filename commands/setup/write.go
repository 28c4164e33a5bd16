package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"noggin/batch/files"
	"noggin/commands/cmdline"
	"noggin/commands/config"
)

// owner is who owns the files, and their mode.
type owner struct {
	uid, gid int
	mode     fs.FileMode
	text     string // root:noggin
}

// newOwner is root and the service's group, where root runs this on a host that has it;
// else whoever runs this, alone.
func newOwner() owner {
	_, gid, ok := serviceIDs()
	switch {
	case os.Geteuid() != 0:
		name := "the user who ran this"
		if me, err := user.Current(); err == nil {
			name = me.Username
		}
		return owner{uid: -1, gid: -1, mode: 0o600, text: name}
	case !ok:
		return owner{uid: 0, gid: 0, mode: 0o600, text: "root"}
	}
	return owner{uid: 0, gid: int(gid), mode: 0o640, text: "root:" + serviceUser}
}

// String is owner and mode for people: root:noggin, mode 640.
func (o owner) String() string { return fmt.Sprintf("%s, mode %o", o.text, o.mode) }

// initDB is how the owner's next command is run. named is the configuration file, where
// it is not the one that noggin reads by itself.
func (o owner) initDB(named string) string {
	service := o.mode == 0o640
	switch {
	case named == "" && service:
		return "`sudo -u noggin noggin init-db`"
	case named == "":
		return "`noggin init-db`"
	case service:
		return "`sudo -u noggin noggin --config " + files.ShellQuoted(named) + " init-db`"
	default:
		return "`noggin --config " + files.ShellQuoted(named) + " init-db`"
	}
}

// canWrite tells before the questions that a file could not be written after them.
func (o owner) canWrite(path string) error {
	folder := filepath.Dir(path)
	if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
		return asRoot(cmdline.Usagef("%s could not be written: %s: %w", path, folder, err))
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return cmdline.Usagef("%s could not be written: it is no file", path)
	}
	return nil
}

// asRoot adds who may write, where that is the reason.
func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return cmdline.Hint(err, "run it as root: `sudo noggin setup`")
	}
	return err
}

// write writes the token, then the configuration that names it. When the second fails,
// the first is put back.
func (s *setup) write(text string) error {
	putBack := func() error { return nil }
	if !s.tokenStands() {
		former, err := os.ReadFile(s.tokenFile)
		switch {
		case err == nil:
			putBack = func() error { return s.owned(s.tokenFile, former) }
		case errors.Is(err, fs.ErrNotExist):
			putBack = func() error { return os.Remove(s.tokenFile) }
		default:
			return fmt.Errorf("read the former token: %w", err)
		}
		if err := s.owned(s.tokenFile, []byte(string(s.token)+"\n")); err != nil {
			return err
		}
	}
	if err := s.owned(s.path, []byte(text)); err != nil {
		return errors.Join(err, putBack())
	}
	return nil
}

// tokenStands tells whether the token's file is there as it would be written: a token that
// was kept may come from elsewhere, or from a file that the service cannot read.
func (s *setup) tokenStands() bool {
	text, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return false
	}
	info, err := os.Stat(s.tokenFile)
	if err != nil || info.Mode().Perm() != s.owner.mode {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || s.owner.uid >= 0 && (int(stat.Uid) != s.owner.uid || int(stat.Gid) != s.owner.gid) {
		return false
	}
	token, err := config.ParseToken(string(text))
	return err == nil && token == s.token
}

func (s *setup) owned(path string, text []byte) error {
	return files.WriteOwned(path, s.owner.mode, s.owner.uid, s.owner.gid, text)
}
