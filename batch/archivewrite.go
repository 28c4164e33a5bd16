package batch

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
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// The locator is the last thing in an archive: a zstd frame of the kind that every
// decompressor skips, which says where the manifest's frame begins.
const (
	locatorMagic   = 0x184D2A5E
	locatorText    = "noggin 1"
	locatorPayload = 8 + 8
	locatorSize    = 4 + 4 + locatorPayload

	writebackEvery = 16 << 20
)

// archiveWriter writes an archive under a name that ends in ".partial". Every
// record is a zstd frame of its own, so that one which turns out to be wrong half
// way can be cut off again, and one can be read without the others; for any
// decompressor the frames are one stream. The manifest comes last, when the file
// holds what it says.
type archiveWriter struct {
	final   string // absolute path
	file    *os.File
	out     *bufio.Writer
	written int64 // bytes behind out
	// flushing is how far the disk was told to write.
	flushing int64
	zstd     *zstd.Encoder
	tar      *tar.Writer
	copier   copier
	frame    int64 // where the record in hand begins

	spool      *os.File // the manifest of what is written, without a name
	spoolOut   *bufio.Writer
	spooled    hash.Hash
	pending    []ManifestFile // of the record in hand
	spoolBytes int64

	content ArchiveContent
}

// ArchiveContent says what an archive holds.
type ArchiveContent struct {
	Records     int
	Files       int
	SourceBytes int64
	SizeBytes   int64
	SHA256      string // of the archive itself, when it was read back
	LastDate    string // the latest inspection date in it
}

func newArchiveWriter(final string) (*archiveWriter, error) {
	w := &archiveWriter{final: final, spooled: sha256.New()}
	var err error
	if w.file, err = os.OpenFile(final+partialExt, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode); err != nil {
		return nil, diskError("create", final+partialExt, err)
	}
	// Tells a clean-up that somebody is at work, see removePartials.
	_ = unix.Flock(int(w.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	w.out = bufio.NewWriterSize(countingWriter{w}, 1<<20)
	if w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(true)); err != nil {
		return nil, errors.Join(err, w.discard())
	}
	if w.spool, err = namelessFile(filepath.Dir(final)); err != nil {
		return nil, errors.Join(err, w.discard())
	}
	w.spoolOut = bufio.NewWriterSize(w.spool, 256<<10)
	return w, nil
}

// countingWriter is the partial file.
type countingWriter struct{ *archiveWriter }

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.written += int64(n)
	if w.written-w.flushing >= writebackEvery {
		// Has the disk begin now with what it is asked to finish at the end. Where
		// that cannot be said, the end takes longer.
		_ = unix.SyncFileRange(int(w.file.Fd()), w.flushing, w.written-w.flushing, unix.SYNC_FILE_RANGE_WRITE)
		w.flushing = w.written
	}
	if err != nil {
		return n, diskError("write", w.final+partialExt, err)
	}
	return n, nil
}

// namelessPattern is what namelessFile's files are called for a moment.
const namelessPattern = ".noggin-*.tmp"

// namelessFile is a file in dir that is gone when it is closed, whatever ends the
// process.
func namelessFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, namelessPattern)
	if err != nil {
		return nil, diskError("create a file in", dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(diskError("remove", f.Name(), err), f.Close())
	}
	return f, nil
}

// offset is where the next byte goes.
func (w *archiveWriter) offset() int64 { return w.written + int64(w.out.Buffered()) }

// begin starts a record, or the manifest.
func (w *archiveWriter) begin() {
	w.frame = w.offset()
	w.pending = w.pending[:0]
	w.zstd.Reset(w.out)
	w.tar = tar.NewWriter(w.zstd)
}

// add writes a file of the record in hand. It returns an error that wraps
// [ErrDiffers] when the file is not what f says; then the record has to be cut
// off.
func (w *archiveWriter) add(f ManifestFile, modified time.Time, source io.Reader) error {
	f.Frame = w.frame
	sum := sha256.New()
	n, err := w.member(f.Path, f.Size, modified, io.TeeReader(io.LimitReader(sourceReader{source}, f.Size+1), sum))
	if unreadable, ok := errors.AsType[*sourceError](err); ok {
		return fmt.Errorf("%w: it cannot be read: %w", ErrDiffers, unreadable.err)
	}
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != f.Size {
		return fmt.Errorf("%w: it changed while it was read", ErrDiffers)
	}
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.ToLower(f.SHA256) {
		return fmt.Errorf("%w: SHA-256 %s instead of %s", ErrDiffers, got, f.SHA256)
	}
	w.pending = append(w.pending, f)
	return nil
}

// sourceReader tells what goes wrong with a source from what does with the
// archive: a bad sector costs one record, a full volume the archive.
type sourceReader struct{ source io.Reader }

type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (r sourceReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{cause(err)}
	}
	return n, err
}

func (w *archiveWriter) member(name string, size int64, modified time.Time, content io.Reader) (int64, error) {
	if err := w.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: modified.Truncate(time.Second),
	}); err != nil {
		return 0, w.failed(err)
	}
	n, err := w.copier.copy(w.tar, content)
	return n, w.failed(err)
}

// failed names the archive where an error does not.
func (w *archiveWriter) failed(err error) error {
	if err == nil || IsDiskError(err) || errors.Is(err, tar.ErrWriteTooLong) {
		return err
	}
	return fmt.Errorf("write %s: %w", w.final+partialExt, err)
}

// end keeps the record in hand.
func (w *archiveWriter) end() error {
	if err := errors.Join(w.tar.Flush(), w.zstd.Close()); err != nil {
		return w.failed(err)
	}
	encoder := json.NewEncoder(io.MultiWriter(w.spoolOut, w.spooled, (*byteCounter)(&w.spoolBytes)))
	encoder.SetEscapeHTML(false)
	for _, f := range w.pending {
		if err := encoder.Encode(f); err != nil {
			return diskError("write in", filepath.Dir(w.final), err)
		}
		w.content.Files++
		w.content.SourceBytes += f.Size
		w.content.LastDate = max(w.content.LastDate, f.InspectionDate)
	}
	w.content.Records++
	return nil
}

// byteCounter counts what is written.
type byteCounter int64

func (c *byteCounter) Write(p []byte) (int, error) {
	*c += byteCounter(len(p))
	return len(p), nil
}

// cut takes the record in hand off again.
func (w *archiveWriter) cut() error {
	_ = w.zstd.Close() // what it still writes is cut off too
	if err := w.out.Flush(); err != nil {
		return w.failed(err)
	}
	_, err := w.file.Seek(w.frame, io.SeekStart)
	if err := errors.Join(err, w.file.Truncate(w.frame)); err != nil {
		return diskError("cut", w.final+partialExt, err)
	}
	w.written, w.flushing = w.frame, min(w.flushing, w.frame)
	return nil
}

// finish writes the manifest, the checksums and the locator, and puts the file on
// disk under its final name, where nothing may be: fs.ErrExist.
func (w *archiveWriter) finish(now time.Time) error {
	w.begin()
	manifest := w.frame
	if err := w.spoolOut.Flush(); err != nil {
		return diskError("write in", filepath.Dir(w.final), err)
	}
	base := strings.TrimSuffix(filepath.Base(w.final), ArchiveExt)
	if _, err := w.member(base+manifestExt, w.spoolBytes, now, io.NewSectionReader(w.spool, 0, w.spoolBytes)); err != nil {
		return err
	}
	if err := w.checksums(base, now); err != nil {
		return err
	}
	if err := errors.Join(w.tar.Close(), w.zstd.Close()); err != nil {
		return w.failed(err)
	}
	if _, err := w.out.Write(locator(manifest)); err != nil {
		return w.failed(err)
	}
	if err := w.out.Flush(); err != nil {
		return w.failed(err)
	}
	if err := w.file.Sync(); err != nil {
		return diskError("flush", w.final+partialExt, err)
	}
	w.content.SizeBytes = w.written
	return w.name()
}

// checksums writes the file that sha256sum -c reads: twice through the manifest,
// because tar wants to know its size first.
func (w *archiveWriter) checksums(base string, now time.Time) error {
	var size int64
	last := checksumLine(hex.EncodeToString(w.spooled.Sum(nil)), base+manifestExt)
	lines := func(to io.Writer) error {
		m := newManifestReader(io.NewSectionReader(w.spool, 0, w.spoolBytes))
		for {
			f, err := m.file()
			if errors.Is(err, io.EOF) {
				_, err := io.WriteString(to, last)
				return err
			}
			if err != nil {
				return err
			}
			if _, err := io.WriteString(to, checksumLine(f.SHA256, f.Path)); err != nil {
				return err
			}
		}
	}
	if err := lines((*byteCounter)(&size)); err != nil {
		return err
	}
	read, write := io.Pipe()
	go func() {
		buffered := bufio.NewWriter(write)
		write.CloseWithError(errors.Join(lines(buffered), buffered.Flush()))
	}()
	defer release(read)
	_, err := w.member(base+checksumsExt, size, now, read)
	return err
}

// locator is the frame that says where the manifest begins.
func locator(manifest int64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, locatorMagic)
	b = binary.LittleEndian.AppendUint32(b, locatorPayload)
	b = append(b, locatorText...)
	return binary.LittleEndian.AppendUint64(b, uint64(manifest))
}

// name gives the file its final name; nothing is ever replaced.
func (w *archiveWriter) name() error {
	partial, dir := w.final+partialExt, filepath.Dir(w.final)
	if err := renameNew(partial, w.final); err != nil {
		return diskError("name", w.final, err)
	}
	if err := syncFolder(dir); err != nil {
		return diskError("flush", dir, err)
	}
	// What is read back next is to come from the disk, not from memory.
	_ = unix.Fadvise(int(w.file.Fd()), 0, 0, unix.FADV_DONTNEED)
	return errors.Join(w.file.Close(), w.spool.Close())
}

// discard removes what was written so far.
func (w *archiveWriter) discard() error {
	if w.zstd != nil {
		w.zstd.Reset(nil)
	}
	if w.spool != nil {
		release(w.spool)
	}
	release(w.file)
	if err := os.Remove(w.final + partialExt); err != nil && !errors.Is(err, os.ErrNotExist) {
		return diskError("remove", w.final+partialExt, err)
	}
	return nil
}
