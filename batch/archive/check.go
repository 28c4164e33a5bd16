package archive

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"

	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

// maxLeftOut bounds the findings that a summary lists. It counts all.
const maxLeftOut = 200

// LeftOut is a file or folder that a run left as it was, and why.
type LeftOut struct {
	Tip          string `json:"tip"`
	InspectionID string `json:"inspection_id"`
	Path         string `json:"path"` // relative to the output folder
	Reason       string `json:"reason"`
	unknown      bool   // the database does not know the file, and it is not a damaged one
}

// leftAlone is the part of a summary that tells what a run left as it was.
type leftAlone struct {
	Busy         int       `json:"busy"` // records that another run has claimed
	LeftOutCount int       `json:"left_out_count"`
	LeftOut      []LeftOut `json:"left_out"` // the first maxLeftOut
}

func (l *leftAlone) add(log *slog.Logger, tip, inspectionID string, wrong []LeftOut) {
	for _, w := range wrong {
		w.Tip, w.InspectionID = tip, inspectionID
		log.Warn("left as it is: "+w.Reason, "tip", w.Tip, "inspection_id", w.InspectionID, "path", w.Path)
		if l.LeftOutCount++; len(l.LeftOut) < maxLeftOut {
			l.LeftOut = append(l.LeftOut, w)
		}
	}
}

// UnknownTips are the tips of listed records in whose folders lie files that the database
// does not know. `process --adopt` records those that a killed run left there.
func (l *leftAlone) UnknownTips() (tips []string) {
	for _, left := range l.LeftOut {
		if left.unknown && !slices.Contains(tips, left.Tip) {
			tips = append(tips, left.Tip)
		}
	}
	return tips
}

// because names an error as the reason for which a file is left as it is.
func because(at string, err error) []LeftOut {
	return []LeftOut{{Path: at, Reason: err.Error()}}
}

// filed reads records by tip. Unknown tips are left out.
func (a *Archiver) filed(ctx context.Context, tips []string) (map[string]storage.FiledRecord, error) {
	records, err := a.DB.FiledRecords(ctx, tips)
	if err != nil {
		return nil, err
	}
	byTip := make(map[string]storage.FiledRecord, len(records))
	for _, r := range records {
		byTip[r.Tip] = r
	}
	return byTip, nil
}

// onDisk returns the record's files that the database expects in the output folder.
func onDisk(r storage.FiledRecord) []storage.File {
	return slices.DeleteFunc(slices.Clone(r.Files), func(f storage.File) bool { return f.ArchiveID != nil })
}

// isIn reports whether the database says that the archive holds the file.
func isIn(f storage.File, archive int64) bool { return f.ArchiveID != nil && *f.ArchiveID == archive }

// has reports whether the manifest lists the file with this content.
func has(listed []format.File, f storage.File) bool {
	return slices.ContainsFunc(listed, func(m format.File) bool { return m.Is(f) })
}

// filesIn returns the listed files that the database already has in the archive.
func filesIn(r storage.FiledRecord, archive int64, listed []format.File) []storage.File {
	return slices.DeleteFunc(slices.Clone(r.Files), func(f storage.File) bool { return !isIn(f, archive) || !has(listed, f) })
}

// checkFiles checks what the database says about a record's files: they lie in one
// folder, and each has a size and a hash.
func checkFiles(found []storage.File) (dir string, wrong []LeftOut) {
	for _, f := range found {
		parent := path.Dir(f.Path)
		if dir == "" {
			dir = parent
		}
		switch {
		case files.ValidPath(f.Path) != nil || parent == ".":
			wrong = append(wrong, LeftOut{Path: f.Path, Reason: "the database has an invalid path for this file"})
		case parent != dir:
			wrong = append(wrong, LeftOut{Path: f.Path, Reason: "the record's files are not all in one folder"})
		case f.Size < 0 || len(f.SHA256) != 64:
			wrong = append(wrong, LeftOut{Path: f.Path, Reason: "the database does not know its size and hash"})
		}
	}
	return dir, wrong
}

// compareFolder compares the files that the database has in a folder with the
// folder's entries. A missing file is a finding, and so is an unknown one.
func compareFolder(dir string, found []storage.File, entries []fs.FileInfo) (wrong []LeftOut) {
	known := make(map[string]storage.File, len(found))
	for _, f := range found {
		known[path.Base(f.Path)] = f
	}
	names := slices.Collect(maps.Keys(known))
	for _, entry := range entries {
		f, ok := known[entry.Name()]
		delete(known, entry.Name())
		at := path.Join(dir, entry.Name())
		switch {
		case !entry.Mode().IsRegular():
			wrong = append(wrong, LeftOut{Path: at, Reason: files.WhatIs(entry) + ", which noggin does not touch"})
		case !ok:
			left := LeftOut{Path: at, Reason: "the database does not know this file", unknown: true}
			if whole := forms.WholeBeside(entry.Name(), slices.Values(names)); whole != "" { // no run records it
				left.Reason, left.unknown = "the file is damaged, and "+whole+" beside it is whole: move the damaged one elsewhere", false
			}
			wrong = append(wrong, left)
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
func inspect(o *files.Output, found []storage.File) (dir string, wrong []LeftOut, err error) {
	dir, wrong = checkFiles(found)
	if len(wrong) > 0 {
		return dir, wrong, nil
	}
	entries, err := o.Entries(dir)
	switch {
	case errors.Is(err, files.ErrMissing):
		return dir, []LeftOut{{Path: dir, Reason: "the folder is missing"}}, nil
	case errors.Is(err, files.ErrObstacle), errors.Is(err, files.ErrBadName):
		return dir, []LeftOut{{Path: dir, Reason: "something else, perhaps a symbolic link, is in the folder's place"}}, nil
	case err != nil:
		return dir, because(dir, err), files.OwnFault(err)
	}
	return dir, compareFolder(dir, found, entries), nil
}

// recheck makes sure that a record's files are still those that were read. Where
// their fingerprint is not the one from before, it reads their content again. It
// returns the fingerprint of now.
func recheck(o *files.Output, found []storage.File, seed maphash.Seed, before uint64) (now uint64, wrong []LeftOut, err error) {
	now, err = fingerprintOf(o, found, seed)
	if err != nil {
		return 0, because(found[0].Path, err), files.OwnFault(err)
	}
	if now == before {
		return now, nil, nil
	}
	for _, f := range found {
		if err := o.Verify(f.Path, f.Size, f.SHA256); err != nil {
			return 0, because(f.Path, err), files.OwnFault(err)
		}
	}
	return now, nil, nil
}

func fingerprintOf(o *files.Output, found []storage.File, seed maphash.Seed) (uint64, error) {
	trace := newFingerprint(seed)
	for _, f := range found {
		info, err := o.Lstat(f.Path)
		if err != nil {
			return 0, err
		}
		addFile(trace, path.Base(f.Path), info)
	}
	return trace.Sum64(), nil
}

// A fingerprint of a record's files changes whenever somebody writes to one of
// them or replaces it.
func newFingerprint(seed maphash.Seed) *maphash.Hash {
	h := &maphash.Hash{}
	h.SetSeed(seed)
	return h
}

func addFile(fingerprint *maphash.Hash, name string, info fs.FileInfo) {
	state := struct {
		name              string
		size, modified    int64
		inode             uint64
		changed, changedN uint64
	}{name: name, size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		state.inode, state.changed, state.changedN = st.Ino, uint64(st.Ctim.Sec), uint64(st.Ctim.Nsec)
	}
	maphash.WriteComparable(fingerprint, state)
}
