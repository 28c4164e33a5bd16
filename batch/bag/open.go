package bag

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Bag is a bag that is open for reading: a folder or a ZIP.
type Bag struct {
	Name string // its path
	root *os.Root
	zip  *zip.ReadCloser
	base string               // of the ZIP's names, with a slash; empty: none
	file map[string]*zip.File // of the ZIP, by name within the bag
	odd  []string             // what the ZIP holds outside the bag, or twice
	old  bool                 // it is older than version 1.0 of the format; Check sets it
}

// ErrNoBag says that a path leads to nothing that has the form of a bag.
var ErrNoBag = errors.New("this is no bag")

// Open opens a bag.
func Open(name string) (*Bag, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open the bag: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, fmt.Errorf("open the bag: %w", err)
		}
		return &Bag{Name: name, root: root}, nil
	}
	if !info.Mode().IsRegular() { // a pipe may block for ever, and no ZIP can be read from it
		return nil, fmt.Errorf("open %s: %w: it is neither a folder nor a file", filepath.Base(name), ErrNoBag)
	}
	reader, err := zip.OpenReader(name)
	if reader == nil {
		return nil, fmt.Errorf("open %s: %w: it is neither a folder nor a whole ZIP: %w", filepath.Base(name), ErrNoBag, err)
	}
	b := &Bag{Name: name, zip: reader, file: map[string]*zip.File{}}
	err = overlaps(reader.File, info.Size())
	if err == nil {
		err = b.index()
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// overlaps refuses a ZIP whose files share bytes: a small one could hold more than a
// lifetime is enough to read.
func overlaps(files []*zip.File, size int64) error {
	left := uint64(size)
	for _, f := range files {
		if f.CompressedSize64 > left {
			return fmt.Errorf("%w: its files are larger than the ZIP", ErrNoBag)
		}
		left -= f.CompressedSize64
	}
	return nil
}

// index finds the bag in a ZIP: at its top, or in the one folder that it has there.
func (b *Bag) index() error {
	found := false
	for _, f := range b.zip.File {
		if dir, ok := strings.CutSuffix(f.Name, declaration); ok && (dir == "" || strings.Count(dir, "/") == 1 && strings.HasSuffix(dir, "/")) {
			if found {
				return fmt.Errorf("open %s: %w: it holds several", filepath.Base(b.Name), ErrNoBag)
			}
			b.base, found = dir, true
		}
	}
	if !found {
		return fmt.Errorf("open %s: %w: it has no %s", filepath.Base(b.Name), ErrNoBag, declaration)
	}
	if base := strings.TrimSuffix(b.base, "/"); b.base != "" && validName(base) != nil {
		return fmt.Errorf("open %s: %w: its folder: %w", filepath.Base(b.Name), ErrNoBag, validName(base))
	}
	for _, f := range b.zip.File {
		name, inside := strings.CutPrefix(f.Name, b.base)
		if folder, ok := strings.CutSuffix(f.Name, "/"); ok && validName(folder) == nil && f.UncompressedSize64 == 0 {
			continue
		}
		switch {
		case !inside:
			b.odd = append(b.odd, fmt.Sprintf("%q is outside the bag", f.Name))
		case validName(name) != nil:
			b.odd = append(b.odd, validName(name).Error())
		case b.file[name] != nil:
			b.odd = append(b.odd, fmt.Sprintf("%q is there twice", name))
		case !f.Mode().IsRegular():
			b.odd = append(b.odd, fmt.Sprintf("%q is no regular file", name))
		default:
			b.file[name] = f
		}
	}
	return nil
}

// Close closes the bag.
func (b *Bag) Close() {
	if b.root != nil {
		_ = b.root.Close() // nothing was written
	}
	if b.zip != nil {
		_ = b.zip.Close() // nothing was written
	}
}

// Open opens a file of the bag. The error for a missing one is fs.ErrNotExist.
func (b *Bag) Open(name string) (io.ReadCloser, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	if b.zip != nil {
		f, ok := b.file[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return f.Open()
	}
	info, err := b.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: it is no regular file", name)
	}
	return b.root.Open(name)
}

// each calls fn with every file of the bag, and odd with what is no file.
func (b *Bag) each(fn func(name string, size int64), odd func(problem string)) error {
	if b.zip != nil {
		for _, problem := range b.odd {
			odd(problem)
		}
		for name, f := range b.file {
			fn(name, int64(min(f.UncompressedSize64, 1<<62)))
		}
		return nil
	}
	return fs.WalkDir(b.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			odd(fmt.Sprintf("%q is no regular file", name))
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fn(name, info.Size())
		return nil
	})
}
