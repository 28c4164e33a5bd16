// Package shelf reads the files of single records out of archives, for whoever needs a
// file and changes nothing: exports and copies. The format of archives is in package
// archive.
package shelf

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"noggin/batch/archive"
	"noggin/batch/files"
	"noggin/storage"
)

// Shelf holds the archives that were read last open, and remembers where their records
// begin. Many goroutines may use it.
type Shelf struct {
	DB    *storage.DB
	Paths files.Paths

	mu   sync.Mutex
	open []*shelved // the one that was used last is the last
}

// shelved is an open archive.
type shelved struct {
	name  string
	ready sync.Once
	err   error
	file  *archive.Frames
	frame map[string]int64 // of each record, by tip
	users int
}

const (
	mostOpen   = 8
	mostReport = 16 << 20 // bytes of a text report that is found by its hash
	mostAround = 1 << 30  // bytes of other files in a frame that are read over
)

// Read hands those of a record's files that the archive holds to each, in the order of
// the archive. A file is found by its path; a former report also by its hash, as its
// name may be another one since. Read does not compare the content: each does. Errors:
// an error of each, or why the archive cannot be read, for which
// [archive.IsUnreadable] is true.
func (s *Shelf) Read(ctx context.Context, name, tip string, wanted []storage.File, each func(f storage.File, content io.Reader) error) error {
	a, err := s.take(ctx, name)
	if err != nil {
		return err
	}
	defer s.giveBack(a)
	frame, ok := a.frame[tip]
	if !ok || len(wanted) == 0 {
		return nil
	}
	left, bound := slices.Clone(wanted), int64(mostAround)
	for _, f := range wanted {
		bound += max(0, f.Size)
	}
	return a.file.Read(ctx, frame, bound, func(header *tar.Header, content io.Reader) error {
		i, content, err := pick(left, header, content)
		if err != nil || i < 0 {
			return err
		}
		f := left[i]
		left = slices.Delete(left, i, i+1)
		if err := each(f, content); err != nil {
			return err
		}
		if len(left) == 0 {
			return fs.SkipAll
		}
		return nil
	})
}

// pick returns which of the wanted files a member of an archive is, or -1.
func pick(wanted []storage.File, header *tar.Header, content io.Reader) (int, io.Reader, error) {
	if i := slices.IndexFunc(wanted, func(f storage.File) bool { return f.Path == header.Name }); i >= 0 {
		return i, content, nil
	}
	like := func(f storage.File) bool {
		return f.Former == "report" && f.Size == header.Size && f.Size <= mostReport && path.Dir(f.Path) == path.Dir(header.Name)
	}
	if !slices.ContainsFunc(wanted, like) {
		return -1, nil, nil
	}
	text, err := io.ReadAll(io.LimitReader(content, mostReport))
	if err != nil {
		return -1, nil, err
	}
	sum := sha256.Sum256(text)
	i := slices.IndexFunc(wanted, func(f storage.File) bool { return like(f) && strings.EqualFold(f.SHA256, hex.EncodeToString(sum[:])) })
	return i, bytes.NewReader(text), nil
}

// take opens an archive, or finds it open. The caller gives it back.
func (s *Shelf) take(ctx context.Context, name string) (*shelved, error) {
	s.mu.Lock()
	a := &shelved{name: name}
	if i := slices.IndexFunc(s.open, func(a *shelved) bool { return a.name == name }); i >= 0 {
		a = s.open[i]
		s.open = slices.Delete(s.open, i, i+1)
	}
	s.open = append(s.open, a)
	a.users++
	for i := 0; len(s.open) > mostOpen && i < len(s.open); {
		if s.open[i].users > 0 {
			i++
			continue
		}
		s.open[i].close()
		s.open = slices.Delete(s.open, i, i+1)
	}
	s.mu.Unlock()
	a.ready.Do(func() { a.err = s.index(ctx, a) })
	if a.err != nil {
		s.giveBack(a)
		return nil, a.err
	}
	return a, nil
}

// giveBack ends the use of an archive. One that could not be opened leaves the shelf, so
// that the next use tries again.
func (s *Shelf) giveBack(a *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.users--; a.err == nil {
		return
	}
	s.open = slices.DeleteFunc(s.open, func(o *shelved) bool { return o == a })
	if a.users == 0 {
		a.close()
	}
}

// index opens an archive and notes where its records begin. What the archive names twice
// is read where it was named first.
func (s *Shelf) index(ctx context.Context, a *shelved) error {
	row, err := s.DB.ArchiveByName(ctx, a.name)
	if err != nil {
		return err
	}
	if a.file, err = archive.OpenFrames(s.Paths, row); err != nil {
		a.file = nil
		return err
	}
	a.frame = map[string]int64{}
	return a.file.Each(ctx, func(tip string, frame int64) {
		if _, twice := a.frame[tip]; !twice {
			a.frame[tip] = frame
		}
	})
}

func (a *shelved) close() {
	if a.file != nil {
		a.file.Close()
		a.file = nil
	}
}

// Close closes all archives. Nobody reads them any more.
func (s *Shelf) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.open {
		a.close()
	}
	s.open = nil
}
