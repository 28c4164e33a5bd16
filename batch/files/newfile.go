package files

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"noggin/batch/forms"
)

// WriteNew writes a new file and creates its folders. The file appears under its name
// whole and on disk, or not at all. If the file exists, the error is fs.ErrExist. The
// umask applies to mode.
func WriteNew(name string, mode fs.FileMode, write func(io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("write %s: %w", name, fs.ErrExist)
	}
	return writeWhole(name, mode, false, write)
}

// WriteReplacing writes a file in the place of an older one, in one step, and creates
// its folders. A reader finds the old or the new file, whole. It replaces a symbolic
// link and does not follow it.
func WriteReplacing(name string, mode fs.FileMode, write func(io.Writer) error) error {
	return writeWhole(name, mode, true, write)
}

// WriteOwned is WriteReplacing for a file of an owner, with exactly this mode. -1 leaves
// user or group as they are.
func WriteOwned(name string, mode fs.FileMode, uid, gid int, text []byte) error {
	t, err := Stage(filepath.Dir(name), 0o600)
	if err != nil {
		return err
	}
	defer t.Discard()
	if _, err := t.Write(text); err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 { // the sandbox of the units refuses every chown
		err = t.file.Chown(uid, gid)
	}
	if err := errors.Join(err, t.file.Chmod(mode)); err != nil {
		return WrapDisk("give owner and mode to", name, err)
	}
	return t.give(filepath.Base(name), true)
}

func writeWhole(name string, mode fs.FileMode, replace bool, write func(io.Writer) error) error {
	dir := filepath.Dir(name)
	if err := MakeFolders(dir); err != nil {
		return WrapDisk("create folder", dir, err)
	}
	t, err := Stage(dir, mode)
	if err != nil {
		return err
	}
	defer t.Discard()
	if err := write(t); err != nil {
		return err
	}
	return t.give(filepath.Base(name), replace)
}

const (
	stagedPrefix = ".noggin-"
	stagedSuffix = ".part"
)

// Stage begins a file in a folder other than the output folder. The file is hidden
// until it gets its name.
func Stage(folder string, mode fs.FileMode) (*TempFile, error) {
	out, err := OpenPlain(folder)
	if err != nil {
		return nil, err
	}
	return stage(out, mode)
}

// stage begins a file whose end closes out.
func stage(out *Output, mode fs.FileMode) (*TempFile, error) {
	folder := out.name
	in, err := newTempFolder(folder, out.root)
	if err != nil {
		Release(out)
		return nil, err
	}
	out.temp = in
	t, err := in.create(out, stagedPrefix+rand.Text()+stagedSuffix, mode)
	if err != nil {
		Release(out)
		return nil, WrapDisk("create a file in", folder, err)
	}
	t.staged = true
	return t, nil
}

// give flushes a staged file to disk and gives it its name. If something has that
// name, give replaces it, or without replace returns fs.ErrExist.
func (t *TempFile) give(name string, replace bool) error {
	to := filepath.Join(t.in.name, name)
	if err := t.sync(flushStaged); err != nil {
		return err
	}
	var err error
	if replace {
		err = t.in.root.Rename(t.name, name)
	} else {
		err = renameNewAt(t.in.handle, t.name, t.in.handle, name)
	}
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("write %s: %w", to, fs.ErrExist)
	default:
		return WrapDisk("name", to, err)
	}
	return t.flushNamed()
}

// flushNamed flushes the name of a staged file to disk.
func (t *TempFile) flushNamed() error {
	defer t.end()
	if err := flush(flushName, t.in.handle); err != nil {
		return WrapDisk("flush folder", t.in.name, err)
	}
	return nil
}

// Place flushes a staged file to disk and gives it its name or the next numbered one
// that is free. If a file with the same content has the name, that file stands in:
// another run wrote it, or a killed one.
func (t *TempFile) Place(name string) (to string, err error) {
	for n := 1; n <= MaxNumbered; n++ {
		to, err = t.PlaceAs(NumberedName(name, n))
		if !errors.Is(err, fs.ErrExist) {
			return to, err
		}
	}
	return "", fmt.Errorf("name a file %s in %s: %w", name, t.in.name, ErrTaken)
}

// PlaceAs is Place under this name only. If another file has it, the error is
// fs.ErrExist.
func (t *TempFile) PlaceAs(name string) (to string, err error) {
	to = filepath.Join(t.in.name, name)
	err = t.give(name, false)
	if !errors.Is(err, fs.ErrExist) {
		return to, err
	}
	// A file that cannot be read counts as another file.
	if same, _, sameErr := t.sameAs(name); sameErr != nil || !same {
		return to, err
	}
	_ = t.in.root.Remove(t.name) // if it stays, it is swept by age
	return to, t.flushNamed()
}

// IsStaged tells whether a name is that of a staged file.
func IsStaged(name string) bool {
	return strings.HasPrefix(name, stagedPrefix) && strings.HasSuffix(name, stagedSuffix)
}

// MaxNumbered is how many names are tried. An export may come every day under the
// same name, for many years.
const MaxNumbered = 1_000_000

// ErrTaken says that every name of a file, with a number behind it, is taken.
var ErrTaken = errors.New("all numbered names are taken")

// NumberedName is the nth name to try: tips.csv, tips-2.csv, tips-3.csv, …
func NumberedName(name string, n int) string {
	const longest = 255
	ext := filepath.Ext(name)
	suffix := ext
	if n > 1 {
		suffix = fmt.Sprintf("-%d%s", n, ext)
	}
	return forms.FirstOf(strings.TrimSuffix(name, ext), longest-len(suffix)) + suffix
}
