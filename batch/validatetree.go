package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noggin/storage"
)

// problemFile is a file that is not as it should be.
type problemFile struct {
	problem       fileProblem
	path          string
	attachmentTip string
}

// inspect compares one record's files with the disk.
// expected is how many files there should be.
func (c *fileCheck) inspect(ctx context.Context, r storage.RecordFiles) (found []problemFile, expected int64) {
	entries := map[string]fs.DirEntry{} // of the record's folder
	if r.Folder != "" {
		list, err := c.list(r.Folder)
		switch {
		case err == nil:
			for _, e := range list {
				entries[e.Name()] = e
			}
		case !errors.Is(err, fs.ErrNotExist):
			return []problemFile{{problemOf(err), r.Folder + "/", ""}}, 0
		}
	}
	for _, f := range r.Files {
		dir, name := path.Split(f.Path)
		if strings.TrimSuffix(dir, "/") == r.Folder {
			delete(entries, name)
		}
		if !f.Complete || f.Archived || r.Archived {
			continue // it need not be there
		}
		expected++
		if problem, wrong := c.checkFile(ctx, f); wrong {
			found = append(found, problemFile{problem, f.Path, f.AttachmentTip})
		}
	}
	if r.Status == "api_success" || r.Status == "interrupted" || r.Status == "pending" {
		return found, expected // what a run that died has put here is taken up by the next
	}
	for name, entry := range entries {
		full := path.Join(r.Folder, name)
		found = append(found, problemFile{c.strayKind(entry), full, ""})
	}
	return found, expected
}

// checkFile compares one file.
func (c *fileCheck) checkFile(ctx context.Context, f storage.RecordFile) (problem fileProblem, wrong bool) {
	if !fs.ValidPath(f.Path) {
		return fileMissing, true // an absolute path of the replaced service, say
	}
	info, err := c.root.Lstat(f.Path)
	switch {
	case err != nil:
		return problemOf(err), true
	case !info.Mode().IsRegular():
		return fileOdd, true
	case f.Size >= 0 && info.Size() != f.Size:
		return fileSize, true
	case !c.opts.Deep || f.SHA256 == "":
		return 0, false
	}
	sum, err := c.hash(ctx, f.Path)
	switch {
	case ctx.Err() != nil:
		return 0, false
	case err != nil:
		return problemOf(err), true
	default:
		return fileHash, !strings.EqualFold(sum, f.SHA256)
	}
}

func (c *fileCheck) hash(ctx context.Context, name string) (string, error) {
	f, err := c.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer release(f)
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, readCounter{c}), contextReader{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type readCounter struct{ *fileCheck }

func (c readCounter) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}

// problemOf sorts an error of the file system.
func problemOf(err error) fileProblem {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fileMissing
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return fileOdd
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return fileOdd // os.Root met a link that leads out of the folder
	}
	return fileUnreadable
}

// list returns the entries of a folder, which must not be a link.
func (c *fileCheck) list(dir string) ([]fs.DirEntry, error) {
	f, err := c.openFolder(dir)
	if err != nil {
		return nil, err
	}
	defer release(f)
	return f.ReadDir(-1)
}

func (c *fileCheck) openFolder(dir string) (*os.File, error) {
	info, err := c.root.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, unix.ENOTDIR
	}
	return c.root.Open(dir)
}

// strayKind says what an entry is that the database does not know.
func (c *fileCheck) strayKind(entry fs.DirEntry) fileProblem {
	switch {
	case entry.IsDir():
		return folderStray
	case !entry.Type().IsRegular():
		return fileOdd
	case !strings.HasSuffix(entry.Name(), ".tmp"):
		return fileStray
	}
	info, err := entry.Info()
	if err != nil || time.Since(info.ModTime()) < tempAge {
		return fileStray
	}
	return fileTemporary
}

var (
	yearForm  = regexp.MustCompile(`^[0-9]{4}$`)
	monthForm = regexp.MustCompile(`^(0[1-9]|1[0-2])$`)
)

// walk looks for what the database does not know, above the records' own folders:
// month folder by month folder, some hundred names at a time.
func (c *fileCheck) walk(ctx context.Context) error {
	return c.eachEntry(ctx, ".", func(entries []fs.DirEntry) error {
		for _, e := range entries {
			name := e.Name()
			var err error
			switch {
			case name == MarkerName && e.Type().IsRegular():
			case name == TempFolder && e.IsDir():
				err = c.walkTemp(ctx)
			case name == RemovingFolder && e.IsDir(): // archive's business
			case yearForm.MatchString(name) && e.IsDir():
				err = c.walkYear(ctx, name)
			case name == unknownDate && e.IsDir():
				err = c.walkRecords(ctx, name)
			default:
				c.stray(name, e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *fileCheck) walkYear(ctx context.Context, year string) error {
	return c.eachEntry(ctx, year, func(entries []fs.DirEntry) error {
		for _, e := range entries {
			full := path.Join(year, e.Name())
			if !e.IsDir() || !monthForm.MatchString(e.Name()) {
				c.stray(full, e)
				continue
			}
			if err := c.walkRecords(ctx, full); err != nil {
				return err
			}
		}
		return nil
	})
}

// walkRecords looks for folders that are no record's.
func (c *fileCheck) walkRecords(ctx context.Context, dir string) error {
	return c.eachEntry(ctx, dir, func(entries []fs.DirEntry) error {
		var folders []string
		for _, e := range entries {
			full := path.Join(dir, e.Name())
			switch {
			case !e.IsDir():
				c.stray(full, e)
			case c.ours(full):
				folders = append(folders, full)
			}
		}
		if len(folders) == 0 {
			return nil
		}
		known, err := c.DB.KnownFolders(ctx, folders)
		if err != nil {
			return err
		}
		for _, folder := range folders {
			if !known[folder] {
				c.found[folderStray].add(folder + "/")
			}
		}
		return nil
	})
}

// walkTemp counts what runs that died have left.
func (c *fileCheck) walkTemp(ctx context.Context) error {
	if !c.ours(TempFolder) {
		return nil
	}
	return c.eachEntry(ctx, TempFolder, func(entries []fs.DirEntry) error {
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && time.Since(info.ModTime()).Abs() >= tempAge {
				c.found[fileTemporary].add(path.Join(TempFolder, e.Name()))
			}
		}
		return nil
	})
}

// stray counts an entry above the records' folders that is none of noggin's.
func (c *fileCheck) stray(full string, e fs.DirEntry) {
	if !c.ours(full) {
		return
	}
	if e.IsDir() {
		c.found[folderStray].add(full + "/")
		return
	}
	c.count(c.strayKind(e), full)
}

// eachEntry hands the entries of a folder on, some hundred at a time: a month may
// have any number. A folder that cannot be read is a finding.
func (c *fileCheck) eachEntry(ctx context.Context, dir string, each func([]fs.DirEntry) error) error {
	f, err := c.openFolder(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			c.found[problemOf(err)].add(dir + "/")
		}
		return nil
	}
	defer release(f)
	for {
		entries, err := f.ReadDir(filesPage)
		if len(entries) > 0 {
			if err := each(entries); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF), err == nil && len(entries) == 0:
			return nil
		case err != nil:
			c.found[fileUnreadable].add(fmt.Sprintf("%s/ (%v)", dir, cause(err)))
			return nil
		}
	}
}
