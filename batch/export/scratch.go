package export

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"noggin/batch/files"
	"noggin/storage"
)

// The files of the scratch folder.
const (
	scratchName   = ".noggin-export"
	lockFile      = "lock"
	optionsFile   = "options.json"
	selectionFile = "selection" // a tip a line, in the order of the export
	journalFile   = "journal"   // an Entry a line, of each record that is in the bag
	manifestFile  = "manifest"
	workFolder    = "work"
	printFolder   = "print" // the part of each record on the page to print
)

// Errors of a target that cannot be used.
var (
	ErrNotEmpty = errors.New("the folder is not empty: name a new one")
	ErrFinished = errors.New("the folder holds a finished export: name a new one")
	ErrOthers   = errors.New("the folder holds an unfinished export with other options: give the same ones to go on with it, or remove the folder")
	errBusy     = errors.New("another export writes it")
	ErrInside   = errors.New("it is inside the output folder, which holds only what was mirrored")
)

// openScratch opens the place where the export is made, and takes its lock.
func (r *run) openScratch() error {
	target, err := filepath.Abs(r.Target)
	if err != nil {
		return fmt.Errorf("find %s: %w", r.Target, err)
	}
	r.target, r.zipped = target, strings.EqualFold(filepath.Ext(target), ".zip")
	for dir := target; ; dir = filepath.Dir(dir) {
		if marked, err := files.IsMarked(dir); err == nil && marked {
			return fmt.Errorf("export to %s: %w", target, ErrInside)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	dir := filepath.Join(target, scratchName)
	if r.zipped {
		if _, err := os.Lstat(target); err == nil {
			return fmt.Errorf("export to %s: %w", target, fs.ErrExist)
		}
		dir = filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+scratchName)
	} else if err := checkFolder(target); err != nil {
		return fmt.Errorf("export to %s: %w", target, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return files.WrapDisk("create folder", dir, err)
	}
	if r.scratch, err = os.OpenRoot(dir); err != nil {
		return files.WrapDisk("open folder", dir, err)
	}
	_, err = r.scratch.Lstat(lockFile)
	r.resumed = err == nil
	if r.lock, err = r.scratch.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return files.WrapDisk("create a file in", dir, err)
	}
	if !files.Lock(r.lock) {
		return fmt.Errorf("export to %s: %w", target, errBusy)
	}
	r.scratchDir = dir
	if r.zipped {
		return r.emptyScratch() // a ZIP is not resumed
	}
	if r.top, err = os.OpenRoot(target); err != nil {
		return files.WrapDisk("open folder", target, err)
	}
	return nil
}

// checkFolder refuses a folder that holds anything but an unfinished export.
func checkFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	there := func(name string) bool { _, err := os.Lstat(filepath.Join(dir, name)); return err == nil }
	switch {
	case there(scratchName):
		return nil
	case there("bagit.txt"):
		return ErrFinished
	}
	return ErrNotEmpty
}

func (r *run) emptyScratch() error {
	for _, name := range []string{optionsFile, selectionFile, journalFile, manifestFile, workFolder, printFolder} {
		if err := r.scratch.RemoveAll(name); err != nil {
			return files.WrapDisk("remove", filepath.Join(r.scratchDir, name), err)
		}
	}
	return nil
}

// closeScratch closes the scratch folder and, where nothing goes on from it, removes it.
func (r *run) closeScratch(done bool) {
	if r.scratchDir != "" && (done || r.zipped) {
		_ = os.RemoveAll(r.scratchDir) // what stays is removed by the next export
	}
	for _, file := range []*os.File{r.journal, r.manifest, r.lock} {
		if file != nil {
			files.Release(file)
		}
	}
	for _, root := range []*os.Root{r.scratch, r.top} {
		if root != nil {
			files.Release(root)
		}
	}
}

// sameOptions compares the options with those of the export that is there, or keeps
// them for a later one.
func (r *run) sameOptions() error {
	now, err := json.Marshal(struct {
		Format            int
		Selection         string
		NoPhotos, Payload bool
	}{1, r.Selection, r.NoPhotos, r.Payload})
	if err != nil {
		return err
	}
	before, err := r.scratch.ReadFile(optionsFile)
	if err == nil && len(before) > 0 && !bytes.Equal(before, now) {
		return fmt.Errorf("export to %s: %w", r.target, ErrOthers)
	}
	return r.scratch.WriteFile(optionsFile, now, 0o644)
}

// choose selects the records once, so that an export that was interrupted goes on with the
// same ones, and counts them.
func (r *run) choose(ctx context.Context) error {
	if _, err := r.scratch.Lstat(selectionFile); errors.Is(err, fs.ErrNotExist) {
		const part = selectionFile + ".part"
		file, err := r.scratch.Create(part)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(file)
		err = r.DB.EachSelected(ctx, r.Selector, func(s storage.SelectedRecord) error {
			mark := "+"
			if !s.Answered {
				mark = "-"
			}
			_, err := w.WriteString(mark + s.Tip + "\n")
			return err
		})
		if err = errors.Join(err, w.Flush(), file.Close()); err != nil {
			return err
		}
		if err := r.scratch.Rename(part, selectionFile); err != nil {
			return err
		}
	}
	return r.eachSelected(func(_ int, _ string, answered bool) error {
		if answered {
			r.summary.Selected++
		} else {
			r.summary.Unanswered++
		}
		return nil
	})
}

// eachSelected hands over the selected records with their numbers, from 1 on.
func (r *run) eachSelected(fn func(n int, tip string, answered bool) error) error {
	file, err := r.scratch.Open(selectionFile)
	if err != nil {
		return err
	}
	defer files.Release(file)
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		if text := lines.Text(); len(text) > 1 {
			if err := fn(n, text[1:], text[0] == '+'); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// openJournal opens the journal and keeps of it what is whole in the bag: an export that
// was killed goes on behind that.
func (r *run) openJournal(ctx context.Context) (err error) {
	if r.journal, err = r.scratch.OpenFile(journalFile, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return err
	}
	var whole int64
	broken := false
	lines := bufio.NewReader(r.journal)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		var e Entry
		complete := err == nil && json.Unmarshal(line, &e) == nil
		isWhole := complete && !broken && r.isWhole(ctx, e)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case isWhole:
			whole += int64(len(line))
			r.kept = e.Number
			r.summary.Resumed++
			if err := r.note(e); err != nil {
				return err
			}
		case complete && strings.HasPrefix(e.Folder, "data/"):
			if err := r.top.RemoveAll(e.Folder); err != nil {
				return err
			}
		}
		broken = !isWhole
		if err != nil {
			break // the end of the journal
		}
		r.Progress(Progress{Done: r.summary.Records, Total: r.summary.Selected, Bytes: r.summary.Bytes, Note: "comparing what is there"})
	}
	if err := r.journal.Truncate(whole); err != nil {
		return err
	}
	if _, err := r.journal.Seek(whole, io.SeekStart); err != nil {
		return err
	}
	return r.scratch.RemoveAll(workFolder)
}

// isWhole compares the files of a record with what the journal says of them.
func (r *run) isWhole(ctx context.Context, e Entry) bool {
	if e.Leaves == nil { // it cannot be told which of its leaves belong to it
		return false
	}
	if _, err := r.scratch.Lstat(printName(e.Number)); err != nil && r.printed() {
		return false
	}
	for _, f := range e.Files {
		file, err := r.top.Open(path.Join(e.Folder, f.Path))
		if err != nil {
			return false
		}
		sum := sha256.New()
		size, err := io.Copy(sum, files.ContextReader{Context: ctx, Source: file})
		files.Release(file)
		if err != nil || size != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
			return false
		}
	}
	return true
}

// eachEntry hands over the records of the bag in their order.
func (r *run) eachEntry(fn func(Entry) error) error {
	file, err := r.scratch.Open(journalFile)
	if err != nil {
		return err
	}
	defer files.Release(file)
	lines := json.NewDecoder(bufio.NewReader(file))
	for {
		var e Entry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}
