package batch

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"path"
	"slices"
	"strings"

	"noggin/storage"
)

// LeftOut is something that keeps a record out of an archive, or on the disk.
type LeftOut struct {
	Tip          string `json:"tip"`
	InspectionID string `json:"inspection_id"`
	Path         string `json:"path"` // relative to the output folder
	Reason       string `json:"reason"`
}

// onDisk are the record's files that are in the output folder, as the database
// has it.
func onDisk(r storage.FiledRecord) []storage.File {
	return slices.DeleteFunc(slices.Clone(r.Files), func(f storage.File) bool { return f.ArchiveID != nil })
}

// checkFiles says what is wrong with a record's files before the disk is looked
// at. They have to lie in one folder, which is theirs alone.
func checkFiles(files []storage.File) (dir string, wrong []LeftOut) {
	for _, f := range files {
		parent := path.Dir(f.Path)
		if dir == "" {
			dir = parent
		}
		switch {
		case validPath(f.Path) != nil || parent == ".":
			wrong = append(wrong, LeftOut{Path: f.Path, Reason: "this is no path of a record's file"})
		case parent != dir:
			wrong = append(wrong, LeftOut{Path: f.Path, Reason: "the record's files are not all in one folder"})
		case f.Size < 0 || len(f.SHA256) != 64:
			wrong = append(wrong, LeftOut{Path: f.Path, Reason: "the database does not know its size and hash"})
		}
	}
	return dir, wrong
}

// compareFolder compares what the database knows to be in a folder with what is
// there: nothing may be missing, and nothing unknown.
func compareFolder(dir string, files []storage.File, entries []fs.FileInfo) (wrong []LeftOut) {
	known := make(map[string]storage.File, len(files))
	for _, f := range files {
		known[path.Base(f.Path)] = f
	}
	for _, entry := range entries {
		f, ok := known[entry.Name()]
		delete(known, entry.Name())
		at := path.Join(dir, entry.Name())
		switch {
		case !ok && entry.Mode().IsRegular():
			wrong = append(wrong, LeftOut{Path: at, Reason: "the database does not know this file"})
		case !entry.Mode().IsRegular():
			wrong = append(wrong, LeftOut{Path: at, Reason: whatIs(entry) + ", which noggin does not touch"})
		case entry.Size() != f.Size:
			wrong = append(wrong, LeftOut{Path: at, Reason: fmt.Sprintf("%d bytes instead of %d", entry.Size(), f.Size)})
		}
	}
	for _, f := range known {
		wrong = append(wrong, LeftOut{Path: f.Path, Reason: "the file is missing"})
	}
	slices.SortFunc(wrong, func(a, b LeftOut) int { return strings.Compare(a.Path, b.Path) })
	return wrong
}

// inspect compares a record's folder with the database by names, kinds and sizes.
func inspect(o *Output, files []storage.File) (dir string, wrong []LeftOut, err error) {
	dir, wrong = checkFiles(files)
	if len(wrong) > 0 {
		return dir, wrong, nil
	}
	entries, err := o.Entries(dir)
	switch {
	case errors.Is(err, ErrMissing):
		return dir, []LeftOut{{Path: dir, Reason: "the folder is missing"}}, nil
	case errors.Is(err, ErrObstacle), errors.Is(err, ErrBadName):
		return dir, []LeftOut{{Path: dir, Reason: "in the folder's place is something else, a symbolic link perhaps"}}, nil
	case err != nil:
		return dir, notAsKnown(dir, err), ownFault(err)
	}
	return dir, compareFolder(dir, files, entries), nil
}

// recheck looks at a record's files again: whether they are still those that were
// read, whose fingerprint is given; if that cannot be told, their content is read
// again. It returns the fingerprint of what it found.
func recheck(o *Output, files []storage.File, seed maphash.Seed, before uint64) (now uint64, wrong []LeftOut, err error) {
	now, err = fingerprintOf(o, files, seed)
	if err != nil {
		return 0, notAsKnown(files[0].Path, err), ownFault(err)
	}
	if now == before {
		return now, nil, nil
	}
	for _, f := range files {
		if err := o.Verify(f.Path, f.Size, f.SHA256); err != nil {
			return 0, notAsKnown(f.Path, err), ownFault(err)
		}
	}
	return now, nil, nil
}

// fingerprintOf looks at each of the files.
func fingerprintOf(o *Output, files []storage.File, seed maphash.Seed) (uint64, error) {
	trace := newFingerprint(seed)
	for _, f := range files {
		info, err := o.root.Lstat(f.Path)
		if err != nil {
			return 0, o.failRead("look at", f.Path, err)
		}
		trace.add(path.Base(f.Path), info)
	}
	return trace.sum(), nil
}

// notAsKnown is what keeps a file where it is.
func notAsKnown(at string, err error) []LeftOut {
	return []LeftOut{{Path: at, Reason: err.Error()}}
}

// ownFault is the error when it is no matter of the one file: the volume is gone,
// say. A file that cannot be read is left where it is.
func ownFault(err error) error {
	if errors.Is(err, ErrNotMounted) {
		return err
	}
	return nil
}
