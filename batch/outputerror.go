package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotMounted says that the output folder or its marker is missing.
	ErrNotMounted = errors.New("this is not an output folder of noggin, its marker " + MarkerName + " is missing")
	// ErrMissing says that a file is not there.
	ErrMissing = errors.New("the file is missing")
	// ErrDiffers says that a file is there with other content than expected.
	ErrDiffers = errors.New("the file differs")
	// ErrObstacle says that something stands in a file's or folder's place that
	// noggin neither follows nor replaces: a symbolic link, a folder, a device.
	ErrObstacle = errors.New("something else is in its place")
	// ErrBadName says that a name is not a single safe component, or a path not
	// a clean relative one.
	ErrBadName = errors.New("not a usable file name")
)

// DiskError is a refusal of the file system that is no record's fault: it must
// never be counted against one, and the run that meets it should stop. Its
// message says what to do.
type DiskError struct {
	Op   string // a verb phrase, such as "write"
	Path string // absolute
	Err  error
}

func (e *DiskError) Error() string {
	msg := e.Op + " " + e.Path + ": " + e.Err.Error()
	if advice := diskAdvice(e.Err); advice != "" {
		msg += ": " + advice
	}
	return msg
}

// Unwrap gives the cause.
func (e *DiskError) Unwrap() error { return e.Err }

// IsDiskError tells whether err is a fault of the disk or its set-up (full, over
// quota, read-only, broken, no rights, not mounted), in the output folder or,
// for the unmistakable ones, anywhere.
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

func diskAdvice(err error) string {
	switch {
	case errors.Is(err, ErrNotMounted):
		return "mount its volume, or run `noggin init-db` if it is to be a new output folder"
	case errors.Is(err, unix.ENOSPC):
		return "free space on that volume and run again, nothing is lost"
	case errors.Is(err, unix.EDQUOT):
		return "raise the quota of this user or free space, then run again, nothing is lost"
	case errors.Is(err, unix.EROFS):
		return "the volume is mounted read-only, after an error perhaps (look at dmesg); remount it and run again"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Sprintf("give the user that runs noggin (uid %d) the right to write there (chown, chmod)", os.Getuid())
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ESTALE):
		return "the volume itself fails: look at dmesg, mend or remount it, and run again"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "raise LimitNOFILE or lower [processing] concurrency"
	case errors.Is(err, unix.EXDEV):
		return "the output folder with all that is in it has to be one file system"
	}
	return ""
}

// failRead is fail for a path that may rightly be missing: ErrMissing.
func (o *Output) failRead(op, name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return o.fail(op, name, err)
	}
	if gone := o.Check(); gone != nil {
		return gone
	}
	return fmt.Errorf("%s %s: %w", op, o.full(name), ErrMissing)
}

// fail names an error of the file system. What concerns just this one path is
// ErrObstacle or ErrBadName, all else a DiskError; a path that is missing
// because the whole folder has gone is ErrNotMounted.
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
		// Not an errno: os.Root met a link that leads out of the folder.
		return fmt.Errorf("%s %s: %w (%w)", op, full, ErrObstacle, cause(err))
	case errors.Is(err, unix.ENAMETOOLONG):
		return fmt.Errorf("%s %s: %w (%w)", op, full, ErrBadName, cause(err))
	}
	return diskError(op, full, err)
}

func diskError(op, full string, err error) error {
	return &DiskError{Op: op, Path: full, Err: cause(err)}
}

func obstacle(op, full string, info fs.FileInfo) error {
	return fmt.Errorf("%s %s: %w: %s, which noggin does not touch", op, full, ErrObstacle, whatIs(info))
}

func whatIs(info fs.FileInfo) string {
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

// cause takes off the os package's wrappers, whose paths our messages repeat.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// validPath refuses a path that is not clean, relative and below the folder.
func validPath(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%w: %q", ErrBadName, name)
	}
	if first, _, _ := strings.Cut(name, "/"); first == MarkerName || first == TempFolder || first == RemovingFolder {
		return fmt.Errorf("%w: %q is noggin's own", ErrBadName, name)
	}
	return nil
}

// validName refuses a name that is not one component.
func validName(name string) error {
	if strings.ContainsRune(name, '/') || len(name) > 255 {
		return fmt.Errorf("%w: %q", ErrBadName, path.Base(name))
	}
	return validPath(name)
}
