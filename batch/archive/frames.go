package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/storage"
)

// Frames is an archive that is open for reading single records. Many goroutines may
// read it at a time.
type Frames struct {
	r    *format.Reader
	path string
}

// OpenFrames opens an archive where the database has it, or in [paths] archive.
func OpenFrames(paths files.Paths, archive storage.Archive) (*Frames, error) {
	at, err := (&Archiver{Paths: paths}).findFile(archive)
	if err != nil {
		return nil, err
	}
	r, err := format.Open(at)
	return &Frames{r, at}, err
}

// Close closes the archive.
func (f *Frames) Close() { f.r.Close() }

// Each calls fn with every record and the byte at which its frame begins.
func (f *Frames) Each(ctx context.Context, fn func(tip string, frame int64)) error {
	return format.EachGroup(ctx, f.path, func(_ *format.Reader, records [][]format.File) error {
		for _, listed := range records {
			fn(listed[0].Tip, listed[0].Frame)
		}
		return nil
	})
}

// Read calls fn with the members of the archive from a frame on, until fn returns
// fs.SkipAll or the files end. It ends with an error once it read over bound bytes.
func (f *Frames) Read(ctx context.Context, frame, bound int64, fn func(header *tar.Header, content io.Reader) error) error {
	content, err := format.Decompress(f.r.Section(frame))
	if err != nil {
		return err
	}
	defer content.Close()
	members := tar.NewReader(content)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		header, err := members.Next()
		if errors.Is(err, io.EOF) || err == nil && strings.HasSuffix(header.Name, format.ManifestExt) {
			return nil
		}
		if err != nil {
			return format.Damaged("the files of a record", err)
		}
		if bound -= header.Size; bound < 0 {
			return fmt.Errorf("%w: the frame of a record holds far more than the record", format.ErrDamaged)
		}
		if err := fn(header, memberReader{header.Name, members}); errors.Is(err, fs.SkipAll) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// memberReader says of the errors of a member's content that the archive is damaged.
type memberReader struct {
	name    string
	content io.Reader
}

func (r memberReader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = format.Damaged(r.name, err)
	}
	return n, err
}

// IsWhole tells whether an archive can be opened where [OpenFrames] finds it, has its full
// size, and has no problem that a verification found.
func IsWhole(paths files.Paths, archive storage.Archive) bool {
	if archive.Problem != nil {
		return false
	}
	frames, err := OpenFrames(paths, archive)
	if err != nil {
		return false
	}
	defer frames.Close()
	return frames.r.Size() == archive.SizeBytes
}

// IsUnreadable tells whether an error says that an archive is missing or damaged.
func IsUnreadable(err error) bool {
	return errors.Is(err, format.ErrDamaged) || errors.Is(err, files.ErrMissing) || errors.Is(err, storage.ErrNoArchive)
}
