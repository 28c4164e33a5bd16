package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/storage"
)

// errUnknownContent says that the database has no such file, or has it with another hash.
var errUnknownContent = errors.New("the database does not know a file with this path, size and hash")

// maxSkipped is how much of a frame is read over in search of a file, beside the size of
// the record's files.
const maxSkipped = 1 << 30

// expected counts the files to restore that the database has in the archive.
func (r *restoration) expected(ctx context.Context, archive storage.Archive, only *storage.FiledRecord) (int, error) {
	if only == nil {
		return r.DB.CountFilesIn(ctx, archive.ID)
	}
	n := 0
	for _, f := range only.Files {
		if isIn(f, archive.ID) {
			n++
		}
	}
	return n, nil
}

// look takes note of what the database has of a record and its archive.
func (r *restoration) look(archive storage.Archive, record storage.FiledRecord, listed []format.File) {
	if record.Tip != "" && !r.seen[record.Tip] { // a manifest may name a record again
		r.seen[record.Tip] = true
		r.held += len(filesIn(record, archive.ID, listed))
	}
	r.recordBytes = 0
	for _, f := range record.Files {
		r.recordBytes += max(0, f.Size)
	}
}

// known returns the listed files whose content the database knows, and reports the
// others.
func (r *restoration) known(record storage.FiledRecord, listed []format.File) []format.File {
	return slices.DeleteFunc(slices.Clone(listed), func(m format.File) bool {
		if slices.ContainsFunc(record.Files, m.Is) {
			return false
		}
		if !r.done[m.Path] { // a newer archive had it
			r.leaveOut(m, errUnknownContent)
		}
		return true
	})
}

// extractFrame writes the wanted files of a record's frame. It deletes each file from
// wanted that it wrote or reported.
func (r *restoration) extractFrame(reader *format.Reader, frame int64, wanted map[string]format.File) (written []string, err error) {
	content, err := format.Decompress(reader.Section(frame))
	if err != nil {
		return nil, err
	}
	defer content.Close()
	members := tar.NewReader(content)
	left := r.recordBytes + maxSkipped
	for len(wanted) > 0 {
		header, err := members.Next()
		if err != nil || strings.HasSuffix(header.Name, format.ManifestExt) {
			return written, format.Damaged("a file of its manifest", err)
		}
		f, ok := wanted[header.Name]
		if !ok {
			// It is there, or was left out. Reading over it costs what it claims to be.
			if left -= header.Size; left < 0 {
				return written, fmt.Errorf("%w: a record's frame holds far more than the record", format.ErrDamaged)
			}
			continue
		}
		alreadyThere, err := r.write(f, header.ModTime, members)
		if err != nil && !errors.Is(err, files.ErrDiffers) && !errors.Is(err, files.ErrObstacle) && !errors.Is(err, errOtherContent) {
			return written, err
		}
		delete(wanted, header.Name)
		if err != nil {
			r.leaveOut(f, err)
			continue
		}
		written = append(written, f.Place())
		r.summary.Files++
		r.summary.Bytes += f.Size
		if alreadyThere {
			r.summary.AlreadyThere++
		}
	}
	return written, nil
}

func (r *restoration) write(f format.File, modified time.Time, content io.Reader) (alreadyThere bool, err error) {
	temp, err := r.output.Temp()
	if err != nil {
		return false, err
	}
	defer temp.Discard()
	if _, err := io.Copy(temp, io.LimitReader(content, f.Size+1)); err != nil {
		return false, format.Damaged(f.Path, err)
	}
	if temp.Size() > f.Size {
		return false, fmt.Errorf("%w: %w: more than %d bytes", format.ErrDamaged, errOtherContent, f.Size)
	}
	if temp.Size() != f.Size || !strings.EqualFold(temp.SHA256(), f.SHA256) {
		return false, fmt.Errorf("%w: %w: SHA-256 %s instead of %s", format.ErrDamaged, errOtherContent, temp.SHA256(), f.SHA256)
	}
	// Keeps the date of the original. An error does no harm.
	_ = temp.SetModified(modified)
	folder := r.output.Folder(path.Dir(f.Place()))
	defer folder.Close()
	if alreadyThere, err = folder.KeepExactly(temp, path.Base(f.Place())); err != nil {
		return alreadyThere, err
	}
	return alreadyThere, folder.Sync()
}
