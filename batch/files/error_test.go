package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatToDoAboutAnErrorOfTheDisk(t *testing.T) {
	for advice, causes := range map[string][]error{
		"free space on that volume": {unix.ENOSPC, ErrReserve},
		"raise the quota":           {unix.EDQUOT},
		"mounted read-only":         {unix.EROFS},
		fmt.Sprintf("(uid %d) the right to write", os.Getuid()): {unix.EACCES, unix.EPERM},
		"the volume itself fails":                               {unix.EIO, unix.ESTALE},
		"raise LimitNOFILE":                                     {unix.EMFILE, unix.ENFILE},
		"must be one file system":                               {unix.EXDEV},
		"use another file system":                               {fmt.Errorf("%w: %w", ErrCannotName, unix.EPERM)},
		"run `noggin init-db`":                                  {ErrNotMounted},
	} {
		for _, cause := range causes {
			err := WrapDisk("write", "/a", &fs.PathError{Op: "open", Path: "b", Err: cause})
			if text := err.Error(); !strings.HasPrefix(text, "write /a: "+cause.Error()+": ") || !strings.Contains(text, advice) {
				t.Errorf("%v: %s, want %q", cause, text, advice)
			}
		}
	}
	if text := WrapDisk("write", "/a", unix.EBADF).Error(); text != "write /a: "+unix.EBADF.Error() {
		t.Errorf("without advice: %q", text)
	}
}

// ProtectSystem= makes what is not in ReadWritePaths= look read-only.
func TestInAUnitAReadOnlyFolderMayBeOneThatItMayNotWriteTo(t *testing.T) {
	for id, inUnit := range map[string]bool{"": false, "3e0c6d3ba0e94b6d9b1b7f2a5b8ac1d2": true} {
		t.Setenv("INVOCATION_ID", id)
		if advice := DiskAdvice(unix.EROFS); strings.Contains(advice, "paths.conf") != inUnit {
			t.Errorf("INVOCATION_ID=%s: %s", id, advice)
		}
	}
}

func TestWhichErrorsAreTheDisks(t *testing.T) {
	for _, err := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, ErrNotMounted, WrapDisk("write", "/a", unix.EBADF)} {
		if !IsDiskError(fmt.Errorf("copy: %w", err)) {
			t.Errorf("%v is no fault of the disk", err)
		}
	}
	for _, err := range []error{nil, unix.ENOENT, unix.EACCES, ErrMissing, ErrDiffers, ErrObstacle} {
		if IsDiskError(err) {
			t.Errorf("%v is a fault of the disk", err)
		}
	}
	for _, err := range []error{nil, ErrMissing, ErrDiffers, unix.EIO} {
		if OwnFault(err) != nil {
			t.Errorf("%v is no fault of the file", err)
		}
	}
	if err := fmt.Errorf("look at: %w", ErrNotMounted); !errors.Is(OwnFault(err), err) {
		t.Error("a volume that is gone is the fault of a file")
	}
}

func TestWhichRefusalsAreOfOneFile(t *testing.T) {
	for _, err := range []error{unix.EACCES, unix.EPERM, unix.EIO, unix.ESTALE, unix.EUCLEAN, unix.EBADMSG} {
		if err := fmt.Errorf("copy: %w", WrapDisk("read", "/a", err)); !OfOneFile(err) {
			t.Errorf("%v is of the whole disk", err)
		}
	}
	for _, err := range []error{
		nil, unix.EACCES, ErrMissing, ErrDiffers, WrapDisk("read", "/a", unix.EMFILE), WrapDisk("write", "/a", unix.ENOSPC), WrapDisk("write", "/a", unix.EROFS),
		WrapDisk("look for", "/a", ErrNotMounted), WrapDisk("write", "/a", ErrReserve),
	} {
		if OfOneFile(err) {
			t.Errorf("%v is of one file", err)
		}
	}
}

// What is wrong with one path does not stop a run; what is wrong with the disk does.
func TestAnErrorIsThatOfOnePathOrOfTheDisk(t *testing.T) {
	o := newOutput(t)
	for want, causes := range map[error][]error{
		ErrObstacle: {unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EEXIST, errors.New("path escapes from parent")},
		ErrBadName:  {unix.ENAMETOOLONG},
	} {
		for _, cause := range causes {
			err := o.fail("open", "a/b", &fs.PathError{Op: "openat", Path: "b", Err: cause})
			if !errors.Is(err, want) || IsDiskError(err) || !strings.HasPrefix(err.Error(), "open "+o.Name()+"/a/b: ") {
				t.Errorf("%v: %v, want %v", cause, err, want)
			}
		}
	}
	for _, cause := range []syscall.Errno{unix.ENOENT, unix.EIO, unix.EACCES, unix.ENOSPC, unix.EMFILE} {
		err := o.fail("open", "a/b", &os.LinkError{Op: "renameat", Old: "a", New: "b", Err: cause})
		if disk, ok := errors.AsType[*DiskError](err); !ok || disk.Path != o.Name()+"/a/b" || !errors.Is(disk.Err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
	}
	if err := errors.Join(o.fail("open", "a", nil), o.failRead("open", "a", nil)); err != nil {
		t.Errorf("no error is %v", err)
	}
	if err := o.failRead("open", "a", unix.ENOENT); !errors.Is(err, ErrMissing) || IsDiskError(err) {
		t.Errorf("a file is missing: %v", err)
	}
	if err := o.failRead("open", "a", unix.EIO); errors.Is(err, ErrMissing) || !IsDiskError(err) {
		t.Errorf("a file cannot be read: %v", err)
	}
	if err := os.Remove(filepath.Join(o.Name(), MarkerName)); err != nil {
		t.Fatal(err)
	}
	for name, fail := range map[string]func(op, name string, err error) error{"fail": o.fail, "failRead": o.failRead} {
		if err := fail("open", "a", unix.ENOENT); !errors.Is(err, ErrNotMounted) || errors.Is(err, ErrMissing) {
			t.Errorf("%s: the volume is gone: %v", name, err)
		}
	}
}

func TestANameIsAsLongAsTheFileSystemAllows(t *testing.T) {
	longest := strings.Repeat("n", 255)
	if err := ValidName(longest); err != nil {
		t.Error(err)
	}
	if err := ValidName(longest + "n"); !errors.Is(err, ErrBadName) {
		t.Errorf("a name of 256 bytes: %v", err)
	}
	for n, want := range map[int]string{1: longest[:251] + ".csv", 12: longest[:248] + "-12.csv"} {
		if got := NumberedName(longest+".csv", n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestAProgramGetsNoSecret(t *testing.T) {
	for name, there := range map[string]bool{
		"PATH": true, "HOME": true, "LC_MESSAGES": true, "KRB5CCNAME": true, "PGPASSFILE": true, "PGSSL_X": true,
		"NOGGIN_API_TOKEN": false, "PGPASSWORD": false, "AWS_SECRET_ACCESS_KEY": false, "PATH_TOKEN": false, "HOM": false, "MY_LC_X": false, "PG": false,
	} {
		t.Setenv(name, "value of "+name)
		found := false
		for _, variable := range Environment("PGPASSFILE", "PGSSL*") {
			found = found || variable == name+"=value of "+name
		}
		if found != there {
			t.Errorf("%s is there: %t", name, found)
		}
	}
}
