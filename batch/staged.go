package batch

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stagedFile is a file in the making in a folder other than the output folder: a
// hidden one until it is placed, so that a name always stands for a whole file.
type stagedFile struct {
	file   *os.File
	folder string
	over   bool
}

const (
	stagedPrefix = ".noggin-"
	stagedSuffix = ".part"
)

func stage(folder string) (*stagedFile, error) {
	name := filepath.Join(folder, stagedPrefix+rand.Text()+stagedSuffix)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, diskError("create a file in", folder, err)
	}
	return &stagedFile{file: f, folder: folder}, nil
}

// discard removes the file; after it was placed it does nothing.
func (s *stagedFile) discard() {
	if s.over {
		return
	}
	s.over = true
	_ = os.Remove(s.file.Name()) // what stays is swept by age
	release(s.file)
}

// place puts the file on disk and gives it its name or the next numbered one that is
// free. One of the same content is as good: another run, or this one before it was
// killed, wrote it.
func (s *stagedFile) place(name string) (to string, err error) {
	for n := 1; n <= maxNumbered; n++ {
		to, err = s.placeAs(numberedName(name, n))
		if !errors.Is(err, fs.ErrExist) {
			return to, err
		}
	}
	return "", fmt.Errorf("name a file %s in %s: %w", name, s.folder, errTaken)
}

// placeAs is place with just this name: fs.ErrExist.
func (s *stagedFile) placeAs(name string) (to string, err error) {
	to = filepath.Join(s.folder, name)
	if err := s.file.Sync(); err != nil {
		return "", diskError("flush a file in", s.folder, err)
	}
	err = renameNew(s.file.Name(), to)
	switch {
	case err == nil:
		s.over = true
		release(s.file)
	case !errors.Is(err, fs.ErrExist):
		return "", diskError("name", to, err)
	case !s.sameAs(to):
		return "", fmt.Errorf("name %s: %w", to, fs.ErrExist)
	default:
		s.discard()
	}
	return to, syncFolder(s.folder)
}

// sameAs tells whether there is a file of that name with the same content. What
// can't be read is another one.
func (s *stagedFile) sameAs(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if own, err := s.file.Stat(); err != nil || own.Size() != info.Size() {
		return false
	}
	other, err := os.Open(path)
	if err != nil {
		return false
	}
	defer release(other)
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for at := int64(0); ; {
		n, err := s.file.ReadAt(a, at)
		m, _ := io.ReadFull(other, b[:n])
		if !bytes.Equal(a[:n], b[:m]) {
			return false
		}
		if at += int64(n); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// sweepStaged removes what killed runs left in the folder a day ago or earlier.
func sweepStaged(folder string, now time.Time) {
	left, _ := filepath.Glob(filepath.Join(folder, stagedPrefix+"*"+stagedSuffix)) // a folder whose name is no pattern is not swept
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && now.Sub(info.ModTime()) > 24*time.Hour {
			_ = os.Remove(path) // the next run tries again
		}
	}
}
