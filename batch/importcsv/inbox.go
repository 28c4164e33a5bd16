package importcsv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/files"
)

// inboxFile is a file that was found in the input folder.
type inboxFile struct {
	name, path string
	kind       string      // tips, or a kind of names
	info       fs.FileInfo // of a link itself, not of its target
}

// inboxFiles lists the CSV files of the input folder, oldest first. It leaves hidden
// files out: programs write them while they copy. Of very many files it lists the oldest,
// and counts those beyond.
func inboxFiles(folder string, most int) (found []inboxFile, beyond int64, err error) {
	dir, err := os.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("the input folder %s is missing: create it and let the user that runs noggin (uid %d) write in it, or set [paths] input", folder, os.Getuid())
	}
	if err != nil {
		return nil, 0, fmt.Errorf("[paths] input: %w", files.WrapDisk("list", folder, err))
	}
	defer files.Release(dir)
	oldest := func() {
		slices.SortFunc(found, func(a, b inboxFile) int {
			return cmp.Or(a.info.ModTime().Compare(b.info.ModTime()), strings.Compare(a.name, b.name))
		})
		n := min(len(found), most)
		beyond += int64(len(found) - n)
		clear(found[n:])
		found = found[:n]
	}
	for {
		entries, err := dir.ReadDir(1000)
		if errors.Is(err, io.EOF) {
			oldest()
			return found, beyond, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("[paths] input: %w", files.WrapDisk("list", folder, err))
		}
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
				return nil, 0, fmt.Errorf("look at a file of the input folder: %w", err)
			}
			found = append(found, inboxFile{name, filepath.Join(folder, name), kindTips, info})
		}
		if len(found) >= 2*most {
			oldest()
		}
	}
}

// waiting lists the files of the input folder, and of the folders of names in it. Names
// come first, so that records show them when they are fetched. It counts the files beyond
// those that a run looks at.
func (m *Importer) waiting() (all []inboxFile, beyond int64, err error) {
	most := cmp.Or(m.looks, waitingFiles)
	for _, kind := range slices.Sorted(maps.Keys(m.Names)) {
		folder := m.Names[kind]
		if info, err := os.Lstat(folder); err != nil || !info.IsDir() || files.KeptFromOthers(m.Paths.Input, folder, info) != nil {
			continue // nothing was ever fetched, or it is a link or open to others, which the fetch reports
		}
		found, more, err := inboxFiles(folder, most)
		if err != nil {
			return nil, 0, err
		}
		beyond += more
		for _, file := range found {
			file.kind = kind
			if short, err := filepath.Rel(m.Paths.Input, file.path); err == nil {
				file.name = short
			}
			all = append(all, file)
		}
	}
	tips, more, err := inboxFiles(m.Paths.Input, most)
	return append(all, tips...), beyond + more, err
}

// importWaiting imports the files of the input folder. While it waits for files to
// settle it also imports those that arrive.
func (m *Importer) importWaiting(ctx context.Context, opts Options, summary *Summary) error {
	deadline := time.Now().Add(opts.Wait)
	told := map[string]bool{} // files in the summary that stay where they are
	prepared := opts.DryRun
	for {
		files, beyond, err := m.waiting()
		if err != nil {
			return err
		}
		if !prepared && len(files) > 0 {
			if err := m.prepareFolders(); err != nil {
				return err
			}
			prepared = true
		}
		var next time.Time // when the first waiting file settles
		for i, file := range files {
			if told[file.name] {
				continue
			}
			if len(summary.taken) >= cmp.Or(m.takes, takenFiles) {
				summary.FilesLeft = int64(len(files)-i) + beyond
				m.Log.Warn("many files wait: this run took as many as a run takes, the next one goes on", "taken", len(summary.taken), "left", summary.FilesLeft)
				return m.importGrown(ctx, opts, summary)
			}
			result, err := m.importInbox(ctx, opts, file, summary.Rows)
			if settled := lastChange(file.info, time.Now()).Add(m.settle(file)); err == nil && result.Outcome == fileWaiting && settled.Before(deadline) {
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
			if summary.FilesLeft = beyond; beyond > 0 {
				m.Log.Warn("younger files wait behind as many as a run looks at, which cannot be taken: move those elsewhere", "looked_at", len(files), "left", beyond)
			}
			return m.importGrown(ctx, opts, summary)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Until(next)):
		}
	}
}

// unendedSettles is how many times [Config.Settle] a file without a final line end waits.
const unendedSettles = 10

// settle is how long a file must be unchanged before it is read. An upload that stalls
// mostly stops within a line, so a file without a final line end waits longer.
func (m *Importer) settle(file inboxFile) time.Duration {
	if endsLine(file) {
		return m.Config.Settle
	}
	return unendedSettles * m.Config.Settle
}

// endsLine tells whether a file ends with a line end, in UTF-8 or UTF-16. One that
// cannot be read counts as if it did: its import says why it cannot.
func endsLine(file inboxFile) bool {
	f, err := os.OpenFile(file.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer files.Release(f)
	end := make([]byte, 2)
	n, err := f.ReadAt(end[:min(2, file.info.Size())], max(0, file.info.Size()-2))
	if err != nil {
		return true
	}
	end = bytes.TrimSuffix(end[:n], []byte{0})
	return bytes.HasSuffix(end, []byte("\n")) || bytes.HasSuffix(end, []byte("\r"))
}

// importGrown looks once more at the files that were moved to the processed folder. A
// program that has a file open goes on writing to it after the move. What grew is
// imported as a whole, because rows that are known do no harm.
func (m *Importer) importGrown(ctx context.Context, opts Options, summary *Summary) error {
	for _, moved := range summary.taken {
		if moved.Outcome != fileImported || moved.MovedTo == "" || moved.Kind != kindTips {
			continue
		}
		again, err := m.importAgain(ctx, opts, moved, summary.Rows)
		if again != nil {
			summary.add(*again)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// importAgain imports a moved file if it grew; nil: it did not, or something else has
// its name.
func (m *Importer) importAgain(ctx context.Context, opts Options, moved fileResult, before int64) (*fileResult, error) {
	f, err := os.OpenFile(moved.MovedTo, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil // somebody took it
	}
	defer files.Release(f)
	info, err := f.Stat()
	if err != nil || !os.SameFile(info, moved.read) || info.Size() <= moved.read.Size() {
		return nil, nil
	}
	m.Log.Warn("a file grew after it was imported and moved: it is imported again", "file", moved.File, "moved_to", moved.MovedTo)
	again := fileResult{File: moved.MovedTo, Kind: kindTips, Outcome: fileImported, Warnings: 1}
	err = m.importOpen(ctx, opts, &again, f, info.Size(), filepath.Base(moved.MovedTo), before)
	return &again, again.settle(ctx, err)
}

// lastChange is when the file changed last. A modification time in the future tells
// nothing, so the inode's change time stands in. If that is in the future too, the
// clock was set back since: the change counts as long ago, as the zero time.
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

// unchanged tells whether two looks at a path found the same file with the same
// content, as far as its inode tells.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// openInboxFile opens a file of the input folder and locks it against other runs,
// where the file system has locks. Errors: errBusy, errGone.
func openInboxFile(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = errGone
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !files.Lock(f) {
		err = errBusy
	}
	if err == nil {
		// Another run may have moved it before the lock.
		var there fs.FileInfo
		if there, err = os.Lstat(path); errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, there) {
			err = errGone
		}
	}
	if err != nil {
		files.Release(f)
		return nil, nil, err
	}
	return f, info, nil
}

var (
	errBusy    = errors.New("another run reads it")
	errGone    = errors.New("another run took it meanwhile")
	errChanged = errors.New("it changed while it was read")
)

// moveInto moves the file at path into the tray, under its name or the next
// numbered one that is free. was is the file that was read; if another file stands at
// path, it stays there and the error is errChanged. before is called with each name
// ahead of the move; if its error is fs.ErrExist, the next name is tried.
func moveInto(tray *files.Tray, path string, was fs.FileInfo, before func(name string) error) (to string, err error) {
	for n := 1; n <= files.MaxNumbered; n++ {
		name := files.NumberedName(filepath.Base(path), n)
		to = filepath.Join(tray.Name(), name)
		if _, err := tray.Lstat(name); err == nil {
			continue
		}
		if err := before(name); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return "", err
		}
		err := tray.Take(path, name)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case errors.Is(err, unix.EXDEV):
			if to, err = copyInto(tray, path, was); err != nil {
				return "", err
			}
		case err != nil:
			return "", notMoved("move "+path+" to", to, err)
		default:
			if moved, err := tray.Lstat(name); err == nil && !unchanged(was, moved) {
				return "", errors.Join(errChanged, tray.GiveBack(name, path))
			}
		}
		return to, errors.Join(tray.Sync(), files.SyncFolder(filepath.Dir(path)))
	}
	return "", fmt.Errorf("move %s to %s: %w", path, tray.Name(), files.ErrTaken)
}

// copyInto is moveInto across file systems.
func copyInto(tray *files.Tray, path string, was fs.FileInfo) (to string, err error) {
	in, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", files.WrapDisk("copy", path, err)
	}
	defer files.Release(in)
	if opened, err := in.Stat(); err != nil || !unchanged(was, opened) {
		return "", errChanged
	}
	staged, err := tray.Stage(files.FileMode)
	if err != nil {
		return "", err
	}
	defer staged.Discard()
	if err := copyUnchanged(staged, in, was); errors.Is(err, errChanged) {
		return "", err
	} else if err != nil {
		return "", files.WrapDisk("copy "+path+" to", tray.Name(), err)
	}
	if err := staged.SetModified(was.ModTime()); err != nil {
		return "", files.WrapDisk("date a file in", tray.Name(), err)
	}
	if to, err = staged.Place(filepath.Base(path)); err != nil {
		return "", err
	}
	return to, removeCopied(path, was)
}

// removeCopied removes a file that was copied. Its copy took as long as the disk takes to
// flush: if the file changed meanwhile, it stays, beside the copy of what was read, and the
// error is errChanged.
func removeCopied(path string, was fs.FileInfo) error {
	now, err := os.Lstat(path)
	if err == nil && !unchanged(was, now) {
		return errChanged
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return notMoved("remove", path, files.Cause(err))
	}
	return nil
}

// notMoved says that a file stays where it is. The error is a [fs.PathError] where that is
// its own fault, as with one that a program on another host of a share has open.
func notMoved(op, path string, err error) error {
	for _, own := range []error{fs.ErrPermission, unix.EBUSY, unix.ETXTBSY} {
		if errors.Is(err, own) {
			return &fs.PathError{Op: op, Path: path, Err: fmt.Errorf("%s %s: %w", op, path, err)}
		}
	}
	return files.WrapDisk(op, path, err)
}

// copyUnchanged copies a file. If it changes meanwhile, the error is errChanged.
func copyUnchanged(to io.Writer, in *os.File, was fs.FileInfo) error {
	if _, err := io.Copy(to, in); err != nil {
		return err
	}
	if now, err := os.Lstat(in.Name()); err != nil || !unchanged(was, now) {
		return errChanged
	}
	return nil
}
