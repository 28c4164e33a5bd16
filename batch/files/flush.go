package files

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A flushPoint is a place where a file, or the entries of a folder, are put on disk.
type flushPoint string

// All flush points. The trial of commands/powercut leaves out each in turn and expects
// damage.
const (
	flushKept     flushPoint = "attachment"     // content, in the output folder
	flushReplaced flushPoint = "report"         // content, in the output folder
	flushRestored flushPoint = "restored file"  // content, in the output folder
	flushAdopted  flushPoint = "adopted file"   // content that another program may have written
	flushFolder   flushPoint = "folder"         // the names of a record's files
	flushEntry    flushPoint = "folder's entry" // the name of a record's folder
	flushRemoval  flushPoint = "removal"        // what is gone from a folder
	flushStaged   flushPoint = "staged file"    // content, in another folder
	flushName     flushPoint = "staged name"    // its name
	flushHashed   flushPoint = "hashed file"    // content: a backup's
	flushPartial  flushPoint = "partial file"   // content: an archive's
	flushFinal    flushPoint = "final name"     // that of an archive or a backup
	flushMade     flushPoint = "made folder"    // the name of a folder that is configured
	flushMoved    flushPoint = "moved file"     // the old and new name of a CSV file
)

// flush puts a file, or the entries of a folder, on disk. Nothing else in noggin does.
func flush(at flushPoint, f *os.File) error {
	if isLeftOut(at) {
		return nil
	}
	if err := f.Sync(); err != nil {
		return err
	}
	watched.Lock()
	defer watched.Unlock()
	for dir, flushed := range watched.folders {
		if path := filepath.Clean(f.Name()); path == dir || strings.HasPrefix(path, dir+"/") {
			flushed(string(at), path)
		}
	}
	return nil
}

// watched holds what tests watch, by folder. It is empty outside of tests.
var watched struct {
	sync.Mutex
	folders map[string]func(point, path string)
}

// WatchFlushes lets a test see what is flushed, and when: until stop, flushed is called
// after each flush of dir or of what lies below it, and never twice at once. flushed may
// neither flush nor stop.
func WatchFlushes(dir string, flushed func(point, path string)) (stop func()) {
	watched.Lock()
	defer watched.Unlock()
	if watched.folders == nil {
		watched.folders = map[string]func(point, path string){}
	}
	watched.folders[dir] = flushed
	return func() {
		watched.Lock()
		defer watched.Unlock()
		delete(watched.folders, dir)
	}
}
