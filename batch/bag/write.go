package bag

import (
	"archive/zip"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// Builder writes a bag. It is for one goroutine.
type Builder struct {
	place   place
	payload spool
	tags    strings.Builder
	octets  int64
	streams int64
}

// place takes the files of a bag.
type place interface {
	// create writes a new file, or one in the place of an older one.
	create(name string, write func(io.Writer) error) error
	// flush brings what was created to disk.
	flush() error
}

// spool collects the lines of the manifest, which may be millions.
type spool struct {
	file *os.File
	w    *bufio.Writer
}

// NewFolder returns a builder for a bag in the folder. The list of files grows in the
// file scratch.
func NewFolder(root *os.Root, scratch *os.File) *Builder {
	return &Builder{place: folder{root}, payload: spool{scratch, bufio.NewWriter(scratch)}}
}

// NewZip returns a builder for a bag in a ZIP, in which it has the folder base.
func NewZip(w *zip.Writer, base string, at time.Time, scratch *os.File) *Builder {
	return &Builder{place: zipped{w, base, at}, payload: spool{scratch, bufio.NewWriter(scratch)}}
}

// File writes a file: with a name below data/ one of the payload, else a tag file. It
// returns the file's size in bytes and SHA-256.
func (b *Builder) File(name string, write func(io.Writer) error) (size int64, sum string, err error) {
	if err := validName(name); err != nil {
		return 0, "", err
	}
	m := &meter{}
	err = b.place.create(name, func(w io.Writer) error {
		*m = newMeter(w)
		return write(m)
	})
	if err != nil {
		return 0, "", fmt.Errorf("write %s: %w", name, err)
	}
	sum = hex.EncodeToString(m.hash.Sum(nil))
	return m.size, sum, b.List(name, m.size, sum)
}

// List lists a file that is in the bag's place already.
func (b *Builder) List(name string, size int64, sum string) error {
	if err := validName(name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, payload) {
		b.tags.WriteString(line(name, sum))
		return nil
	}
	b.octets, b.streams = b.octets+size, b.streams+1
	_, err := b.payload.w.WriteString(line(name, sum))
	return err
}

// Field is a line of bag-info.txt.
type Field struct{ Label, Value string }

// Finish writes the lists and, last of all, the declaration that this is a bag.
func (b *Builder) Finish(info []Field) error {
	if err := b.payload.w.Flush(); err != nil {
		return err
	}
	if _, err := b.payload.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, _, err := b.File(manifestFile, func(w io.Writer) error { _, err := io.Copy(w, b.payload.file); return err }); err != nil {
		return err
	}
	info = append(info, Field{"Payload-Oxum", fmt.Sprintf("%d.%d", b.octets, b.streams)})
	if _, _, err := b.File(infoFile, func(w io.Writer) error { return writeInfo(w, info) }); err != nil {
		return err
	}
	const declared = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
	sum := sha256.Sum256([]byte(declared))
	if err := b.List(declaration, int64(len(declared)), hex.EncodeToString(sum[:])); err != nil {
		return err
	}
	list := b.tags.String()
	for _, file := range []struct{ name, text string }{{tagManifest, list}, {declaration, declared}} {
		if file.name == declaration {
			if err := b.place.flush(); err != nil {
				return err
			}
		}
		if err := b.place.create(file.name, func(w io.Writer) error { _, err := io.WriteString(w, file.text); return err }); err != nil {
			return fmt.Errorf("write %s: %w", file.name, err)
		}
	}
	return b.place.flush()
}

// writeInfo writes bag-info.txt. A value stands on one line.
func writeInfo(w io.Writer, info []Field) error {
	var b strings.Builder
	for _, f := range info {
		if value := strings.Join(strings.Fields(f.Value), " "); value != "" {
			b.WriteString(f.Label + ": " + value + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// folder is a place on disk.
type folder struct{ root *os.Root }

func (f folder) create(name string, write func(io.Writer) error) error {
	if dir := path.Dir(name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	part := name + ".part"
	file, err := f.root.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = write(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, f.root.Remove(part))
	}
	return f.root.Rename(part, name)
}

func (f folder) flush() error {
	top, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(syncVolume(top), top.Close())
}

// zipped is a place in a ZIP.
type zipped struct {
	w    *zip.Writer
	base string
	at   time.Time
}

func (z zipped) create(name string, write func(io.Writer) error) error {
	method := zip.Deflate
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".png", ".heic", ".webp", ".gif", ".mp4", ".mov", ".zip", ".docx", ".xlsx", ".gz": // compressed already
		method = zip.Store
	}
	file, err := z.w.CreateHeader(&zip.FileHeader{Name: z.base + "/" + name, Method: method, Modified: z.at})
	if err != nil {
		return err
	}
	return write(file)
}

// flush leaves the flushing to whoever made the ZIP's file: it appears under its name
// only when it is whole.
func (z zipped) flush() error { return nil }
