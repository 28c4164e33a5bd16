package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inboxFile is a file of the input folder as it was found there.
type inboxFile struct {
	name, path string
	info       fs.FileInfo // not of what a link leads to
}

// inboxFiles lists the CSV files of the input folder, oldest first. Hidden ones are
// left out: programs write them while they copy.
func inboxFiles(folder string) ([]inboxFile, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the input folder %s is missing: create it, for the user that runs noggin (uid %d) to write in, or set [paths] input", folder, os.Getuid())
	}
	if err != nil {
		return nil, fmt.Errorf("[paths] input: %w", diskError("list", folder, err))
	}
	var files []inboxFile
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || !strings.EqualFold(filepath.Ext(name), ".csv") {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another run took it
		}
		if err != nil {
			return nil, fmt.Errorf("look at a file of the input folder: %w", err)
		}
		files = append(files, inboxFile{name, filepath.Join(folder, name), info})
	}
	slices.SortStableFunc(files, func(a, b inboxFile) int {
		return cmp.Or(a.info.ModTime().Compare(b.info.ModTime()), strings.Compare(a.name, b.name))
	})
	return files, nil
}

// importWaiting imports the files of the input folder, and those that come or settle
// while it waits for others to do so.
func (m *Importer) importWaiting(ctx context.Context, opts ImportOptions, summary *ImportSummary) error {
	deadline := time.Now().Add(opts.Wait)
	told := map[string]bool{} // stay where they are
	prepared := opts.DryRun
	for {
		files, err := inboxFiles(m.Config.Paths.Input)
		if err != nil {
			return err
		}
		if !prepared && len(files) > 0 {
			if err := m.prepareFolders(); err != nil {
				return err
			}
			prepared = true
		}
		var next time.Time // when the first of those that wait has settled
		for _, file := range files {
			if told[file.name] {
				continue
			}
			result, err := m.importInbox(ctx, opts, file, summary.Rows)
			if settled := lastChange(file.info, time.Now()).Add(m.Config.Import.Settle); err == nil && result.Outcome == FileWaiting && settled.Before(deadline) {
				if next.IsZero() || settled.Before(next) {
					next = settled
				}
				continue
			}
			summary.add(result)
			if err != nil {
				return err
			}
			told[file.name] = opts.DryRun || result.MovedTo == ""
		}
		if next.IsZero() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Until(next)):
		}
	}
}

// lastChange is when the file changed last. A time of modification still to come
// says nothing; then that of its inode does. One to come as well was set by a clock
// that has been set back since: long ago, the zero time.
func lastChange(info fs.FileInfo, now time.Time) time.Time {
	changed := info.ModTime()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && changed.After(now) {
		changed = time.Unix(stat.Ctim.Unix())
	}
	if changed.Sub(now) > time.Minute { // clocks of hosts differ a little
		return time.Time{}
	}
	return changed
}

// unchanged tells whether the file is the same one with the same content, as far as
// its inode tells.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// openInboxFile opens a file of the input folder and keeps other runs from reading
// it at the same time, where the file system can: [errBusy].
func openInboxFile(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
		err = errBusy
	}
	if err == nil {
		// It may have been moved between the two.
		var there fs.FileInfo
		if there, err = os.Lstat(path); err == nil && !os.SameFile(info, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		release(f)
		return nil, nil, err
	}
	return f, info, nil
}

var errBusy = errors.New("another run reads it")

// ensureFolder makes the folder where it is missing, in one that is there, and
// makes sure that files can be put into it. key is its key in the configuration.
func ensureFolder(key, folder string) error {
	err := os.Mkdir(folder, folderMode)
	if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = os.Stat(folder); err == nil && !info.IsDir() {
			err = unix.ENOTDIR
		}
		if err == nil {
			err = unix.Access(folder, unix.W_OK|unix.X_OK)
		}
	}
	if err != nil {
		return fmt.Errorf("[paths] %s: %w", key, diskError("use the folder", folder, err))
	}
	return nil
}

// maxNumbered is how many names are tried: a daily export may come under the same
// name for many years.
const maxNumbered = 1_000_000

// numberedName is the nth name to try: tips.csv, tips-2.csv, tips-3.csv, …
func numberedName(name string, n int) string {
	const longest = 255
	ext := filepath.Ext(name)
	suffix := ext
	if n > 1 {
		suffix = fmt.Sprintf("-%d%s", n, ext)
	}
	return firstOf(strings.TrimSuffix(name, ext), longest-len(suffix)) + suffix
}

var errTaken = errors.New("all numbered names are taken")

// moveInto moves the file at path, which was read as was, into the folder, under its
// name or the next numbered one that is free. before is called with each name that is
// tried, ahead of the file itself. [errChanged] says that by then another file stood
// at path: it stays.
func moveInto(folder, path string, was fs.FileInfo, before func(name string) error) (to string, err error) {
	for n := 1; n <= maxNumbered; n++ {
		name := numberedName(filepath.Base(path), n)
		to = filepath.Join(folder, name)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if before != nil {
			if err := before(name); errors.Is(err, fs.ErrExist) {
				continue
			} else if err != nil {
				return "", err
			}
		}
		err := renameNew(path, to)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case errors.Is(err, unix.EXDEV):
			if to, err = copyInto(folder, path, was); err != nil {
				return "", err
			}
		case err != nil:
			return "", diskError("move "+path+" to", to, err)
		default:
			if moved, err := os.Lstat(to); err == nil && !unchanged(was, moved) {
				return "", errors.Join(errChanged, renameNew(to, path))
			}
		}
		return to, errors.Join(syncFolder(folder), syncFolder(filepath.Dir(path)))
	}
	return "", fmt.Errorf("move %s to %s: %w", path, folder, errTaken)
}

var errChanged = errors.New("it changed while it was read")

// renameNew moves a file to a name that nothing may have: fs.ErrExist.
func renameNew(from, to string) error {
	return renameNewAt(unix.AT_FDCWD, from, unix.AT_FDCWD, to)
}

// copyInto is moveInto across file systems.
func copyInto(folder, path string, was fs.FileInfo) (to string, err error) {
	in, err := os.Open(path)
	if err != nil {
		return "", diskError("copy", path, err)
	}
	defer release(in)
	staged, err := stage(folder)
	if err != nil {
		return "", err
	}
	defer staged.discard()
	if _, err := io.Copy(staged.file, in); err != nil {
		return "", diskError("copy "+path+" to", folder, err)
	}
	if now, err := os.Lstat(path); err != nil || !unchanged(was, now) {
		return "", errChanged
	}
	if err := os.Chtimes(staged.file.Name(), was.ModTime(), was.ModTime()); err != nil {
		return "", diskError("date", staged.file.Name(), err)
	}
	if to, err = staged.place(filepath.Base(path)); err != nil {
		return "", err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", diskError("remove", path, err)
	}
	return to, nil
}
