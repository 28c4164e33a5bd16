package format

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"noggin/batch/files"
	"noggin/storage"
)

// The locator is the last frame of an archive. It says where the manifest's frame
// begins. zstd skips frames of this kind.
const (
	locatorMagic   = 0x184D2A5E
	locatorText    = "noggin 1"
	locatorPayload = 8 + 8
	locatorSize    = 4 + 4 + locatorPayload

	writebackEvery = 16 << 20
)

// Writer writes an archive under a name that ends in ".partial". Each
// record is a zstd frame of its own: it can be cut off again, and it can be read
// without the others. A decompressor sees the frames as one stream. The manifest
// comes last.
type Writer struct {
	final   string // absolute path
	file    *os.File
	out     *bufio.Writer
	written int64 // bytes in file, without those in out
	// flushing is the offset up to which the disk was told to write.
	flushing int64
	zstd     *zstd.Encoder
	tar      *tar.Writer
	copier   copier

	frame    int64  // offset at which the current record begins
	pending  []File // of the current record
	manifest *spool
	sum      hash.Hash // of the manifest
	checks   *spool    // the lines for sha256sum

	Contents Contents // so far
}

// Contents says what an archive holds.
type Contents struct {
	Records     int
	Files       int
	SourceBytes int64
	SizeBytes   int64
	SHA256      string // of the archive itself, known when it was read back
	LastDate    string // the latest inspection date
}

// Describe copies the contents into the archive's row.
func (c Contents) Describe(a *storage.Archive) {
	a.Records, a.Files, a.SourceBytes, a.SizeBytes = c.Records, c.Files, c.SourceBytes, c.SizeBytes
	a.SHA256, a.LastDate = c.SHA256, storage.Optional(c.LastDate)
}

func (c *Contents) addFile(f File) {
	c.Files++
	c.SourceBytes += f.Size
	c.LastDate = max(c.LastDate, f.InspectionDate)
}

// NewWriter begins the archive that gets the name at the end. The caller ends it by Finish or
// Discard.
func NewWriter(final string) (*Writer, error) {
	w := &Writer{final: final, sum: sha256.New()}
	var err error
	if w.file, err = files.CreatePartial(final, files.FileMode); err != nil {
		return nil, err
	}
	w.out = bufio.NewWriterSize(partialFile{w}, 1<<20)
	if w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(true)); err != nil {
		return nil, errors.Join(err, w.Discard())
	}
	for _, s := range []**spool{&w.manifest, &w.checks} {
		if *s, err = newSpool(filepath.Dir(final)); err != nil {
			return nil, errors.Join(err, w.Discard())
		}
	}
	return w, nil
}

// partialFile counts what it writes to the file.
type partialFile struct{ *Writer }

func (w partialFile) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.written += int64(n)
	if w.written-w.flushing >= writebackEvery {
		// Starts the disk early, so that the sync at the end is short. An error here
		// costs only time.
		_ = unix.SyncFileRange(int(w.file.Fd()), w.flushing, w.written-w.flushing, unix.SYNC_FILE_RANGE_WRITE)
		w.flushing = w.written
	}
	if err != nil {
		return n, files.WrapDisk("write", w.final+files.PartialExt, err)
	}
	return n, nil
}

// Begin starts a record, or the manifest.
func (w *Writer) Begin() {
	w.frame = w.written + int64(w.out.Buffered())
	w.pending = w.pending[:0]
	w.zstd.Reset(w.out)
	w.tar = tar.NewWriter(w.zstd)
}

// Add writes a file of the current record. When the file is not what f says, the
// error wraps [files.ErrDiffers] and the caller cuts the record off.
func (w *Writer) Add(f File, modified time.Time, source io.Reader) error {
	f.Frame = w.frame
	sum := sha256.New()
	n, err := w.member(f.Path, f.Size, modified, io.TeeReader(io.LimitReader(sourceReader{source}, f.Size+1), sum))
	if unreadable, ok := errors.AsType[*sourceError](err); ok {
		return fmt.Errorf("%w: it cannot be read: %w", files.ErrDiffers, unreadable.err)
	}
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != f.Size {
		return fmt.Errorf("%w: it changed while it was read", files.ErrDiffers)
	}
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%w: SHA-256 %s instead of %s", files.ErrDiffers, got, f.SHA256)
	}
	w.pending = append(w.pending, f)
	return nil
}

// sourceReader marks the errors of the source. A bad sector there costs one
// record, while a full archive volume ends the archive.
type sourceReader struct{ source io.Reader }

type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (r sourceReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{files.Cause(err)}
	}
	return n, err
}

func (w *Writer) member(name string, size int64, modified time.Time, content io.Reader) (int64, error) {
	if err := w.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: modified.Truncate(time.Second),
	}); err != nil {
		return 0, w.failed(err)
	}
	n, err := w.copier.copy(w.tar, content)
	return n, w.failed(err)
}

// failed adds the archive's path to an error that does not name it.
func (w *Writer) failed(err error) error {
	if err == nil || files.IsDiskError(err) || errors.Is(err, tar.ErrWriteTooLong) {
		return err
	}
	return fmt.Errorf("write %s: %w", w.final+files.PartialExt, err)
}

// End keeps the current record.
func (w *Writer) End() error {
	if err := errors.Join(w.tar.Flush(), w.zstd.Close()); err != nil {
		return w.failed(err)
	}
	encoder := json.NewEncoder(io.MultiWriter(w.manifest, w.sum))
	encoder.SetEscapeHTML(false)
	for _, f := range w.pending {
		if err := encoder.Encode(f); err != nil {
			return w.failed(err)
		}
		if _, err := io.WriteString(w.checks, checksumLine(f.SHA256, f.Path)); err != nil {
			return w.failed(err)
		}
		w.Contents.addFile(f)
	}
	w.Contents.Records++
	return nil
}

// Cut removes the current record from the archive.
func (w *Writer) Cut() error {
	_ = w.zstd.Close() // the truncation below removes what it still writes
	if err := w.out.Flush(); err != nil {
		return w.failed(err)
	}
	_, err := w.file.Seek(w.frame, io.SeekStart)
	if err := errors.Join(err, w.file.Truncate(w.frame)); err != nil {
		return files.WrapDisk("cut", w.final+files.PartialExt, err)
	}
	w.written, w.flushing = w.frame, min(w.flushing, w.frame)
	return nil
}

// Finish writes the manifest, the checksums and the locator, flushes the file to
// disk and gives it its final name. A file that has the name already stays:
// fs.ErrExist.
func (w *Writer) Finish(now time.Time) error {
	w.Begin()
	locator := locator(w.frame)
	base := strings.TrimSuffix(filepath.Base(w.final), Ext)
	if err := w.spooled(base+ManifestExt, w.manifest, now); err != nil {
		return err
	}
	if _, err := io.WriteString(w.checks, checksumLine(hex.EncodeToString(w.sum.Sum(nil)), base+ManifestExt)); err != nil {
		return w.failed(err)
	}
	if err := w.spooled(base+checksumsExt, w.checks, now); err != nil {
		return err
	}
	if err := errors.Join(w.tar.Close(), w.zstd.Close()); err != nil {
		return w.failed(err)
	}
	if _, err := w.out.Write(locator); err != nil {
		return w.failed(err)
	}
	if err := w.out.Flush(); err != nil {
		return w.failed(err)
	}
	if err := files.FlushPartial(w.final, w.file); err != nil {
		return err
	}
	w.Contents.SizeBytes = w.written
	if err := files.NamePartial(w.final); err != nil {
		return err
	}
	// Drops the file from memory, so that it is read back from the disk.
	_ = unix.Fadvise(int(w.file.Fd()), 0, 0, unix.FADV_DONTNEED)
	return errors.Join(w.file.Close(), w.manifest.file.Close(), w.checks.file.Close())
}

func (w *Writer) spooled(name string, s *spool, now time.Time) error {
	if err := s.out.Flush(); err != nil {
		return w.failed(err)
	}
	_, err := w.member(name, s.size, now, io.NewSectionReader(s.file, 0, s.size))
	return err
}

// locator returns the frame that says where the manifest begins.
func locator(manifest int64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, locatorMagic)
	b = binary.LittleEndian.AppendUint32(b, locatorPayload)
	b = append(b, locatorText...)
	return binary.LittleEndian.AppendUint64(b, uint64(manifest))
}

// Discard removes the partial file.
func (w *Writer) Discard() error {
	if w.zstd != nil {
		w.zstd.Reset(nil)
	}
	for _, s := range []*spool{w.manifest, w.checks} {
		if s != nil {
			files.Release(s.file)
		}
	}
	files.Release(w.file)
	return RemoveFile(w.final + files.PartialExt)
}

// RemoveFile removes a file if it is there.
func RemoveFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files.WrapDisk("remove", name, err)
	}
	return nil
}

// SpoolPattern matches the name that a spool has until newSpool removes it.
const SpoolPattern = ".noggin-*.tmp"

// spool collects the content of a member on disk, as tar writes its size first.
// Its file has no name, so that it is gone however the process ends.
type spool struct {
	file *os.File
	out  *bufio.Writer
	size int64
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, SpoolPattern)
	if err != nil {
		return nil, files.WrapDisk("create a file in", dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(files.WrapDisk("remove", f.Name(), err), f.Close())
	}
	return &spool{file: f, out: bufio.NewWriterSize(f, 256<<10)}, nil
}

func (s *spool) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	s.size += int64(n)
	return n, err
}

// copier copies while another goroutine reads ahead: one side hashes while the
// other compresses. It keeps its buffers and is used by one goroutine at a time.
type copier struct{ reading, writing []byte }

// copy copies all of src to dst. When it returns, it has stopped reading src.
func (c *copier) copy(dst io.Writer, src io.Reader) (written int64, err error) {
	if c.reading == nil {
		c.reading, c.writing = make([]byte, 256<<10), make([]byte, 256<<10)
	}
	out, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.CopyBuffer(in, src, c.reading)
		_ = in.CloseWithError(err) // a pipe's close cannot fail
	}()
	written, err = io.CopyBuffer(dst, out, c.writing)
	_ = out.CloseWithError(err) // stops the reading after an error of dst
	<-done
	return written, err
}
