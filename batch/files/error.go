package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotMounted says that the output folder or its marker is missing.
	ErrNotMounted = errors.New("this is not an output folder of noggin, its marker " + MarkerName + " is missing")
	// ErrMissing says that a file is missing.
	ErrMissing = errors.New("the file is missing")
	// ErrDiffers says that a file has other content than expected.
	ErrDiffers = errors.New("the file differs")
	// ErrObstacle says that a symbolic link, a folder or a device stands in the place
	// of a file or folder. noggin neither follows nor replaces it.
	ErrObstacle = errors.New("something else is in its place")
	// ErrBadName says that a name is not one safe component, or that a path is not
	// clean and relative.
	ErrBadName = errors.New("not a usable file name")
)

// DiskError is a refusal of the file system. It is no record's fault, so it never
// counts against a record, and the run that meets it should stop. Its message says
// what to do.
type DiskError struct {
	Op   string // a verb phrase, such as "write"
	Path string // absolute
	Err  error
}

func (e *DiskError) Error() string {
	msg := e.Op + " " + e.Path + ": " + e.Err.Error()
	if advice := DiskAdvice(e.Err); advice != "" {
		msg += ": " + advice
	}
	return msg
}

// Unwrap gives the cause.
func (e *DiskError) Unwrap() error { return e.Err }

// IsDiskError tells whether err is a fault of the disk or its set-up: full, over
// quota, read-only, broken, no rights, not mounted. It knows every DiskError, and
// elsewhere the errors that only a disk gives.
func IsDiskError(err error) bool {
	if _, ok := errors.AsType[*DiskError](err); ok {
		return true
	}
	for _, errno := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, ErrNotMounted} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// DiskAdvice says what to do about an error of the disk; "" if noggin does not know.
func DiskAdvice(err error) string {
	if foreign, ok := errors.AsType[*ForeignError](err); ok {
		return foreign.advice()
	}
	switch {
	case errors.Is(err, ErrReserve):
		return "free space on that volume and run again, nothing is lost"
	case errors.Is(err, ErrCannotName):
		return "use another file system, such as ext4 or XFS: exFAT and some others cannot keep a mirror"
	case errors.Is(err, ErrNotMounted):
		return "mount its volume; to make it a new output folder, run `noggin init-db`"
	case errors.Is(err, unix.ENOSPC):
		return "free space on that volume and run again, nothing is lost"
	case errors.Is(err, unix.EDQUOT):
		return "raise the quota of this user or free space, then run again, nothing is lost"
	case errors.Is(err, unix.EROFS):
		advice := "the volume is mounted read-only, perhaps after an error (look at dmesg); remount it and run again"
		if os.Getenv("INVOCATION_ID") != "" { // in a unit of systemd
			advice += `; or the unit may not write there: name the folder in paths.conf, see "Your own times and folders" in ` + "`man noggin-operations`"
		}
		return advice
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Sprintf("give the user that runs noggin (uid %d) the right to write there (chown, chmod)", os.Getuid())
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ESTALE):
		return "the volume itself fails: look at dmesg, repair or remount it, and run again"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "raise LimitNOFILE or lower [processing] concurrency"
	case errors.Is(err, unix.EXDEV):
		return "the output folder and everything in it must be one file system"
	}
	return ""
}

// failRead is fail for a path that may be missing: then the error is ErrMissing.
func (o *Output) failRead(op, name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return o.fail(op, name, err)
	}
	if gone := o.Check(); gone != nil {
		return gone
	}
	return fmt.Errorf("%s %s: %w", op, o.full(name), ErrMissing)
}

// fail classifies an error of the file system. An error of this one path is
// ErrObstacle or ErrBadName. Every other error is a DiskError. If the path is missing
// because the whole output folder is, the error is ErrNotMounted.
func (o *Output) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	full := o.full(name)
	_, isErrno := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if gone := o.Check(); gone != nil {
			return gone
		}
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ELOOP),
		errors.Is(err, fs.ErrExist), !isErrno:
		// An error that is no errno: os.Root met a link that leads out of the folder.
		return fmt.Errorf("%s %s: %w (%w)", op, full, ErrObstacle, Cause(err))
	case errors.Is(err, unix.ENAMETOOLONG):
		return fmt.Errorf("%s %s: %w (%w)", op, full, ErrBadName, Cause(err))
	}
	return WrapDisk(op, full, err)
}

// WrapDisk returns the DiskError of op on the file or folder at full.
func WrapDisk(op, full string, err error) error {
	return &DiskError{Op: op, Path: full, Err: Cause(err)}
}

func obstacle(op, full string, info fs.FileInfo) error {
	return fmt.Errorf("%s %s: %w: %s, which noggin does not touch", op, full, ErrObstacle, WhatIs(info))
}

// WhatIs names the kind of a file, for people.
func WhatIs(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return "another file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	default:
		return "a device, socket or pipe"
	}
}

// Cause removes the os package's wrappers: noggin's messages already give the path.
func Cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// ValidPath refuses a path that is not clean, relative and below the output folder,
// and one of noggin's own files there.
func ValidPath(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%w: %q", ErrBadName, name)
	}
	if first, _, _ := strings.Cut(name, "/"); first == MarkerName || first == TempFolder || first == RemovingFolder {
		return fmt.Errorf("%w: %q is noggin's own", ErrBadName, name)
	}
	return nil
}

// ValidName refuses a name that is not one component of a path.
func ValidName(name string) error {
	if strings.ContainsRune(name, '/') || len(name) > 255 {
		return fmt.Errorf("%w: %q", ErrBadName, path.Base(name))
	}
	return ValidPath(name)
}

// OfOneFile tells whether the file system refuses this one file or folder: it gives no
// right to it, or cannot read it. The whole volume may be gone as well: then the next file
// that is written is refused too.
func OfOneFile(err error) bool {
	disk, ok := errors.AsType[*DiskError](err)
	return ok && slices.ContainsFunc([]error{unix.EACCES, unix.EPERM, unix.EIO, unix.ESTALE, unix.EUCLEAN, unix.EBADMSG}, func(errno error) bool { return errors.Is(disk.Err, errno) })
}

// OwnFault returns err if the volume is gone, so that the fault is not that of one
// file; else nil.
func OwnFault(err error) error {
	if errors.Is(err, ErrNotMounted) {
		return err
	}
	return nil
}
