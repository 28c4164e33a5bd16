package files

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	// ErrReserve says that only the reserve of a volume is free.
	ErrReserve = errors.New("only the reserve is free")
	// ErrCannotName says that a file system cannot give a file its name without
	// replacing another.
	ErrCannotName = errors.New("this file system has neither a rename that replaces nothing nor hard links")
)

// ForeignError says that root would write into the output folder of another user, who
// could then not write there.
type ForeignError struct{ User string }

func (e *ForeignError) Error() string {
	return "the output folder belongs to user " + e.User + ", and what root writes there stops that user's runs"
}

func (e *ForeignError) advice() string { return "`" + SudoLine(e.User, os.Args) + "`" }

// SudoLine returns the line for a shell that runs a command as user, with every word of the
// command, so that it does no more than what was typed. It names $NOGGIN_CONFIG again, as
// sudo drops the environment.
func SudoLine(user string, command []string) string {
	words := []string{"sudo", "-u", ShellQuoted(user)}
	if config := os.Getenv("NOGGIN_CONFIG"); config != "" {
		words = append(words, "env", ShellQuoted("NOGGIN_CONFIG="+config))
	}
	for _, word := range command {
		words = append(words, ShellQuoted(word))
	}
	return strings.Join(words, " ")
}

// The reserve of a volume, unless the configuration has another: the lesser of a number
// and a share.
const (
	reserveBytes   = 2_000_000_000
	reserveInodes  = 10_000
	reservePercent = 2
)

// KeepReserve makes Temp refuse files when no more than the reserve is free: bytes, or
// the default when that is 0. A volume that is quite full stops a database, too.
func (o *Output) KeepReserve(bytes int64) { o.guarded, o.reserve = true, uint64(max(bytes, 0)) }

// admit returns an error when nothing may be written: root is not the owner, or only the
// reserve is free.
func (o *Output) admit() error {
	if o.marked && os.Geteuid() == 0 {
		if owner, err := o.Owner(MarkerName); err == nil && owner != 0 {
			return WrapDisk("write in", o.name, &ForeignError{UserName(owner)})
		}
	}
	if !o.guarded {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(o.name, &st); err != nil {
		return WrapDisk("ask for free space of", o.name, err)
	}
	if err := reserveLeft(st, o.reserve); err != nil {
		return WrapDisk("write in", o.name, err)
	}
	return nil
}

// reserveLeft returns an error unless more than the reserve is free.
func reserveLeft(st unix.Statfs_t, reserve uint64) error {
	free, total := space(st)
	if reserve == 0 {
		reserve = min(reserveBytes, total/100*reservePercent)
	}
	if free <= reserve {
		return fmt.Errorf("%w: %d bytes of [paths] reserve = %d", ErrReserve, free, reserve)
	}
	if inodes := min(reserveInodes, st.Files/100*reservePercent); st.Files > 0 && st.Ffree <= inodes {
		return fmt.Errorf("%w: %d inodes, which each file needs, of %d", ErrReserve, st.Ffree, inodes)
	}
	return nil
}

// Owner returns the user id of the owner of a file or folder.
func (o *Output) Owner(name string) (uint32, error) {
	info, err := o.root.Lstat(name)
	if err != nil {
		return 0, o.failRead("look at", name, err)
	}
	return OwnerOf(info), nil
}

// OwnerOf returns the user id of the owner of a file.
func OwnerOf(info os.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid } //nolint:forcetypeassert // so it is on Linux

// UserName returns the name of a user, or # and the id.
func UserName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "#" + id
}

// tryName gives the file another name as it will get its last one.
func (t *TempFile) tryName() error {
	name := t.name + ".named"
	if err := renameNewAt(t.in.handle, t.name, t.in.handle, name); err != nil {
		return WrapDisk("name a file in", t.in.name, err)
	}
	t.name = name
	return nil
}
