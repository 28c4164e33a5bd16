package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

// problemFile is a file with a problem.
type problemFile struct {
	problem       fileProblem
	path          string
	attachmentTip string
	gone          bool // a file that should be there is not on disk
}

// inspect compares one record's files with the disk. expected is the number of files
// that should exist.
func (c *fileCheck) inspect(ctx context.Context, r storage.FiledRecord) (found []problemFile, expected int64) {
	entries := map[string]fs.DirEntry{} // of the record's folder
	if r.Folder != "" {
		list, err := c.list(r.Folder)
		switch {
		case err == nil:
			for _, e := range list {
				entries[e.Name()] = e
			}
		case !errors.Is(err, files.ErrMissing):
			return []problemFile{{problem: problemOf(err), path: r.Folder + "/"}}, 0
		}
	}
	for _, f := range r.Files {
		dir, name := path.Split(f.Path)
		if strings.TrimSuffix(dir, "/") == r.Folder {
			delete(entries, name)
		}
		if !f.Complete || f.ArchiveID != nil {
			continue // the file need not exist
		}
		problem, wrong := c.checkFile(ctx, f)
		if wrong && problem == fileMissing && r.ArchivedByHand {
			continue // the check archived_nowhere tells of it
		}
		expected++
		if wrong {
			gone := problem == fileMissing
			if f.Former != "" && problem <= fileHash {
				problem = fileFormer
			}
			found = append(found, problemFile{problem, f.Path, f.AttachmentTip, gone})
		}
	}
	if r.Status == storage.StatusAPISuccess || r.Status == storage.StatusInterrupted || r.Status == storage.StatusPending {
		return found, expected // the next run uses the files of a run that died
	}
	for name, entry := range entries {
		full := path.Join(r.Folder, name)
		found = append(found, problemFile{problem: c.strayKind(entry), path: full})
	}
	return found, expected
}

// checkFile compares one file.
func (c *fileCheck) checkFile(ctx context.Context, f storage.File) (problem fileProblem, wrong bool) {
	if !fs.ValidPath(f.Path) {
		return fileMissing, true // such as an absolute path of the replaced service
	}
	info, err := c.tree.Lstat(f.Path)
	switch {
	case err != nil:
		return problemOf(err), true
	case !info.Mode().IsRegular():
		return fileOdd, true
	case f.Size >= 0 && info.Size() != f.Size:
		return fileSize, true
	case c.isForeign(info):
		return fileForeign, true
	case !c.opts.Deep || f.SHA256 == "":
		return 0, false
	}
	sum, err := c.tree.Hash(ctx, f.Path, readCounter{c})
	switch {
	case ctx.Err() != nil:
		return 0, false
	case err != nil:
		return problemOf(err), true
	default:
		return fileHash, !strings.EqualFold(sum, f.SHA256)
	}
}

// isForeign tells whether a file of the output folder has another owner than its marker.
func (c *fileCheck) isForeign(info fs.FileInfo) bool {
	return c.opts.Root == "" && files.OwnerOf(info) != c.owner
}

type readCounter struct{ *fileCheck }

func (c readCounter) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}

// problemOf classifies an error of the file system.
func problemOf(err error) fileProblem {
	switch {
	case errors.Is(err, files.ErrMissing):
		return fileMissing
	case errors.Is(err, files.ErrObstacle), errors.Is(err, files.ErrDiffers): // replaced during the open
		return fileOdd
	default:
		return fileUnreadable
	}
}

// list returns the entries of a folder. It follows no link.
func (c *fileCheck) list(dir string) ([]fs.DirEntry, error) {
	f, err := c.tree.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer files.Release(f)
	return f.ReadDir(-1)
}

// strayKind classifies an entry that the database does not know.
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
	if err != nil || time.Since(info.ModTime()) < files.TempAge {
		return fileStray
	}
	return fileTemporary
}

var (
	yearForm  = regexp.MustCompile(`^[0-9]{4}$`)
	monthForm = regexp.MustCompile(`^(0[1-9]|1[0-2])$`)
)

// walk looks for entries that the database does not know, down to the records' folders.
// It reads one month's folder after the other, some hundred names at a time.
func (c *fileCheck) walk(ctx context.Context) error {
	return c.eachEntry(ctx, ".", func(entries []fs.DirEntry) error {
		for _, e := range entries {
			name := e.Name()
			var err error
			switch {
			case name == files.MarkerName && e.Type().IsRegular():
			case name == files.TempFolder && e.IsDir():
				err = c.walkTemp(ctx)
			case name == files.RemovingFolder && e.IsDir(): // room archive cleans it
			case yearForm.MatchString(name) && e.IsDir():
				err = c.walkYear(ctx, name)
			case name == forms.UnknownDate && e.IsDir():
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

// walkRecords looks for folders that belong to no record.
func (c *fileCheck) walkRecords(ctx context.Context, dir string) error {
	return c.eachEntry(ctx, dir, func(entries []fs.DirEntry) error {
		var folders []string
		for _, e := range entries {
			full := path.Join(dir, e.Name())
			switch {
			case !e.IsDir():
				c.stray(full, e)
			case c.ours(full):
				if info, err := e.Info(); err == nil && c.isForeign(info) {
					c.found[fileForeign].add(full + "/")
				}
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

// walkTemp counts temporary files of runs that died.
func (c *fileCheck) walkTemp(ctx context.Context) error {
	if !c.ours(files.TempFolder) {
		return nil
	}
	return c.eachEntry(ctx, files.TempFolder, func(entries []fs.DirEntry) error {
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && time.Since(info.ModTime()).Abs() >= files.TempAge {
				c.found[fileTemporary].add(path.Join(files.TempFolder, e.Name()))
			}
		}
		return nil
	})
}

// stray counts an unknown entry above the records' folders.
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

// eachEntry hands the entries of a folder to each, some hundred at a time, as a month
// may have any number. A folder that cannot be read is a finding.
func (c *fileCheck) eachEntry(ctx context.Context, dir string, each func([]fs.DirEntry) error) error {
	f, err := c.tree.OpenFolder(dir)
	if err != nil {
		if !errors.Is(err, files.ErrMissing) { // it was removed since
			c.found[problemOf(err)].add(dir + "/")
		}
		return nil
	}
	defer files.Release(f)
	if info, err := f.Stat(); err == nil && c.isForeign(info) {
		c.found[fileForeign].add(dir + "/")
	}
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
			c.found[fileUnreadable].add(fmt.Sprintf("%s/ (%v)", dir, files.Cause(err)))
			return nil
		}
	}
}
