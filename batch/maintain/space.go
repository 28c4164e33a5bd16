package maintain

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"noggin/batch/files"
)

// countFor bounds the time in which the used space is counted.
const countFor = 30 * time.Second

// SpaceUse is the space that a folder takes on its volume.
type SpaceUse struct {
	What       string `json:"what"`
	Path       string `json:"path"`
	Files      int64  `json:"files"`
	Bytes      int64  `json:"bytes"`
	AtLeast    bool   `json:"at_least"`    // the time was too short to count all
	SameVolume bool   `json:"same_volume"` // the folder is on the volume of the output folder
}

// spaceUses returns the space of each month in the output folder and of noggin's other
// folders, the largest first.
func spaceUses(paths files.Paths, deadline time.Time) []SpaceUse {
	var uses []SpaceUse
	add := func(what, path string) {
		use := SpaceUse{What: what, Path: path}
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() {
			return
		}
		use.SameVolume, _ = files.SameVolume(path, paths.Output) // false when it is unknown
		use.Files, use.Bytes, use.AtLeast = sizeOf(path, deadline)
		if use.Files > 0 {
			uses = append(uses, use)
		}
	}
	add("temporary files", filepath.Join(paths.Output, files.TempFolder))
	add("backups", paths.Backups)
	add("archives", paths.Archive)
	add("reports", paths.Reports)
	add("imported CSV files", paths.Processed)
	add("rejected CSV files", paths.Error)
	for _, year := range foldersIn(paths.Output) {
		if year == files.TempFolder {
			continue
		}
		months := foldersIn(filepath.Join(paths.Output, year))
		if len(months) > 12 { // this is unknown-date, not a year
			add("output, "+year, filepath.Join(paths.Output, year))
			continue
		}
		for _, month := range months {
			add("output, "+year+"/"+month, filepath.Join(paths.Output, year, month))
		}
	}
	slices.SortStableFunc(uses, func(a, b SpaceUse) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return uses
}

// foldersIn returns the names of the folders in a folder. It does not follow links.
func foldersIn(path string) []string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

var errNoTime = errors.New("no time is left")

// sizeOf adds up the files below a folder until the deadline.
func sizeOf(path string, deadline time.Time) (files, bytes int64, atLeast bool) {
	err := filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // an unreadable or removed file is not counted
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() {
			files++
			bytes += info.Size()
		}
		if files%1024 == 0 && time.Now().After(deadline) {
			return errNoTime
		}
		return nil
	})
	return files, bytes, err != nil || time.Now().After(deadline)
}
