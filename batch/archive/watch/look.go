package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"noggin/batch/files"
	"noggin/storage"
)

// Sight is what a look at an archive's file found.
type Sight string

// What a look may find.
const (
	There     Sight = "there"
	Missing   Sight = "missing"
	WrongSize Sight = "wrong size"
	Unmounted Sight = "not mounted" // its folder is missing, empty or cannot be read
	Elsewhere Sight = "elsewhere"   // not seen here, but by another host within a day
	Unwritten Sight = "unwritten"   // a run writes it, or died while it did
	Lost      Sight = "lost"        // an operator gave it up; nobody looks for it
)

// Archive is an archive and what a look at its file found.
type Archive struct {
	storage.Archive
	Sight Sight  `json:"file"`
	Found string `json:"-"` // where the file is; "": nowhere
	Size  int64  `json:"-"` // of the file there
	Why   string `json:"-"` // why nothing is known: "is not there"
	// Spare means that the database has no file in it: its originals are on disk, or were
	// restored. Look leaves it false.
	Spare bool `json:"-"`
}

// Folder is the folder that the database has for the archive.
func (a Archive) Folder() string { return filepath.Dir(a.Path) }

const (
	// patience is how long a look at all archives may take. Volumes that answer do so in
	// milliseconds.
	patience = 5 * time.Second
	// SeenWithin is how long another host's sight of an archive holds. Hosts look every hour.
	SeenWithin = 26 * time.Hour
)

// Places are the paths at which an archive may be: the one in the database, and the one in
// [paths] archive.
func Places(a storage.Archive, folder string) []string {
	places := []string{a.Path}
	if second := filepath.Join(folder, a.Name); second != a.Path {
		places = append(places, second)
	}
	return places
}

// Look looks at the file of every archive, in their order. folder is [paths] archive, and
// host is this host's name.
func Look(ctx context.Context, archives []storage.Archive, folder, host string, now time.Time) []Archive {
	return disk{os.Stat, os.ReadDir, patience}.look(ctx, archives, folder, host, now)
}

// disk asks the file system. Tests have one that does not answer.
type disk struct {
	stat     func(string) (fs.FileInfo, error)
	readDir  func(string) ([]fs.DirEntry, error)
	patience time.Duration
}

func (d disk) look(ctx context.Context, archives []storage.Archive, folder, host string, now time.Time) []Archive {
	seen := make([]Archive, len(archives))
	byFolder := map[string][]int{}
	for i, a := range archives {
		seen[i] = Archive{Archive: a, Sight: Unwritten}
		if a.LostAt != nil {
			seen[i].Sight = Lost
			continue
		}
		if a.State != storage.ArchiveWriting {
			byFolder[filepath.Dir(a.Path)] = append(byFolder[filepath.Dir(a.Path)], i)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	for dir, answer := range d.ask(ctx, seen, byFolder, folder) {
		var found []Archive
		select {
		case found = <-answer:
		case <-ctx.Done():
		}
		for n, i := range byFolder[dir] {
			if found == nil {
				seen[i].Sight, seen[i].Why = Unmounted, fmt.Sprintf("does not answer within %s", d.patience)
			} else {
				seen[i] = found[n]
			}
			if a := &seen[i]; (a.Sight == Missing || a.Sight == Unmounted) && a.Host != host && a.SeenAt != nil && now.Sub(*a.SeenAt) < SeenWithin {
				a.Sight = Elsewhere
			}
		}
	}
	return seen
}

// ask looks at the folders at the same time. A folder that never answers keeps its
// goroutine until the process ends.
func (d disk) ask(ctx context.Context, archives []Archive, byFolder map[string][]int, folder string) map[string]chan []Archive {
	answers := map[string]chan []Archive{}
	for dir, indexes := range byFolder {
		answer, copies := make(chan []Archive, 1), make([]Archive, len(indexes))
		answers[dir] = answer
		for n, i := range indexes {
			copies[n] = archives[i]
		}
		go func() {
			why, known := "", false // about the folder
			for n := range copies {
				if ctx.Err() != nil {
					return
				}
				a := &copies[n]
				if d.lookAt(a, folder); a.Sight != Missing {
					continue
				}
				if !known {
					why, known = d.unmounted(dir), true
				}
				if why != "" {
					a.Sight, a.Why = Unmounted, why
				}
			}
			answer <- copies
		}()
	}
	return answers
}

// lookAt looks for the file at the archive's places. A whole one counts before a cut one.
func (d disk) lookAt(a *Archive, folder string) {
	a.Sight = Missing
	for _, at := range Places(a.Archive, folder) {
		info, err := d.stat(at)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if info.Size() == a.SizeBytes {
			a.Sight, a.Found, a.Size = There, at, info.Size()
			return
		}
		if a.Sight == Missing {
			a.Sight, a.Found, a.Size = WrongSize, at, info.Size()
		}
	}
}

// unmounted says why a folder in which an archive is missing is probably not mounted. ""
// means that it is there and holds something.
func (d disk) unmounted(dir string) string {
	entries, err := d.readDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is not there"
	case err != nil:
		return "cannot be read: " + files.Cause(err).Error()
	case len(entries) == 0:
		return "is empty"
	}
	return ""
}
