package format

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"noggin/batch/files"
)

// ErrDamaged is wrapped by every error about an archive whose content is wrong, and
// about a file that is no archive.
var ErrDamaged = errors.New("the archive is damaged")

// Reader reads an archive from its file alone.
type Reader struct {
	file     *os.File
	size     int64
	manifest int64 // offset of its frame
}

// Open opens an archive and finds its manifest. The error for a missing file
// is [files.ErrMissing].
func Open(path string) (*Reader, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe in its place does not keep it waiting
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", path, files.ErrMissing)
	}
	if err != nil {
		return nil, files.WrapDisk("open", path, err)
	}
	r := &Reader{file: file}
	if err := r.locate(); err != nil {
		files.Release(file)
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return r, nil
}

func (r *Reader) locate() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if r.size = info.Size(); !info.Mode().IsRegular() || r.size < locatorSize {
		return fmt.Errorf("%w: this is no archive of noggin", ErrDamaged)
	}
	end := make([]byte, locatorSize)
	if _, err := r.file.ReadAt(end, r.size-locatorSize); err != nil {
		return err
	}
	r.manifest = int64(binary.LittleEndian.Uint64(end[locatorSize-8:]))
	if string(end) != string(locator(r.manifest)) || r.manifest < 0 || r.manifest >= r.size-locatorSize {
		return fmt.Errorf("%w: it does not end as an archive of noggin does", ErrDamaged)
	}
	return nil
}

// Close closes the file.
func (r *Reader) Close() { files.Release(r.file) }

// Size is the number of bytes of the file.
func (r *Reader) Size() int64 { return r.size }

// Section reads the file from the offset of a frame to its end.
func (r *Reader) Section(frame int64) io.Reader {
	return io.NewSectionReader(r.file, frame, r.size-frame)
}

// maxWindow is the memory that a frame may demand. The writer's frames demand a quarter.
const maxWindow = 16 << 20

// Decompress reads an archive from the beginning of a frame.
func Decompress(source io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(source, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
}

// openManifest opens the manifest. The caller calls end.
func (r *Reader) openManifest() (m *manifestReader, end func(), err error) {
	content, err := Decompress(r.Section(r.manifest))
	if err != nil {
		return nil, nil, err
	}
	members := tar.NewReader(content)
	header, err := members.Next()
	if err != nil || !strings.HasSuffix(header.Name, ManifestExt) {
		content.Close()
		return nil, nil, Damaged("its manifest", err)
	}
	return newManifestReader(members), content.Close, nil
}

// GroupSize is the number of records in a group, which is claimed together.
const GroupSize = 64

// EachGroup calls fn with the manifest's records, a group at a time. When fn returns
// fs.SkipAll, EachGroup ends without an error.
func EachGroup(ctx context.Context, path string, fn func(r *Reader, records [][]File) error) error {
	r, err := Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	manifest, end, err := r.openManifest()
	if err != nil {
		return err
	}
	defer end()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		records, err := manifest.records(GroupSize)
		if err != nil || len(records) == 0 {
			return err
		}
		if err := fn(r, records); errors.Is(err, fs.SkipAll) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Damaged says which part of an archive is wrong. Without err it is missing.
func Damaged(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s is missing", ErrDamaged, what)
	}
	if files.IsDiskError(err) || errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
}

// each reads the whole archive from raw and calls fn with every file in the order
// of the manifest. fn reads the content to its end. An interruption says nothing against
// the archive: its error is the cause of ctx alone, also inside of a file.
func (r *Reader) each(ctx context.Context, raw io.Reader, fn func(f File, content io.Reader) error) error {
	err := r.eachFile(ctx, raw, fn)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *Reader) eachFile(ctx context.Context, raw io.Reader, fn func(f File, content io.Reader) error) error {
	manifest, end, err := r.openManifest()
	if err != nil {
		return err
	}
	defer end()
	expanded, err := Decompress(raw)
	if err != nil {
		return err
	}
	defer expanded.Close()
	content := files.ContextReader{Context: ctx, Source: expanded} // a foreign archive may expand without end
	members := tar.NewReader(content)
	sums := sha256.New()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f, err := manifest.file()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		header, err := members.Next()
		switch {
		case err != nil:
			return Damaged(f.Path, err)
		case header.Name != f.Path || header.Typeflag != tar.TypeReg || header.Size != f.Size:
			return fmt.Errorf("%w: it holds %q where its manifest says %q", ErrDamaged, header.Name, f.Path)
		}
		if err := fn(f, members); err != nil {
			return err
		}
		_, _ = io.WriteString(sums, checksumLine(f.SHA256, f.Path)) // writing to a hash cannot fail
	}
	return checkTail(members, sums, content)
}

// checkTail checks the members after the files: the manifest, the checksums, and
// nothing else. sums is the hash of the checksums that the manifest demands.
func checkTail(archive *tar.Reader, sums hash.Hash, content io.Reader) error {
	header, err := archive.Next()
	if err != nil || !strings.HasSuffix(header.Name, ManifestExt) {
		return Damaged("its manifest", err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, archive); err != nil {
		return Damaged("its manifest", err)
	}
	_, _ = io.WriteString(sums, checksumLine(hex.EncodeToString(sum.Sum(nil)), header.Name))
	header, err = archive.Next()
	if err != nil || !strings.HasSuffix(header.Name, checksumsExt) {
		return Damaged("its list of checksums", err)
	}
	listed := sha256.New()
	if _, err := io.Copy(listed, archive); err != nil {
		return Damaged("its list of checksums", err)
	}
	if !bytes.Equal(listed.Sum(nil), sums.Sum(nil)) {
		return fmt.Errorf("%w: its list of checksums does not match its files", ErrDamaged)
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return Damaged("its end", err)
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return Damaged("its end", err)
	}
	return nil
}

// Verify decompresses the whole archive and compares every file with the
// manifest. It calls progress, which may be nil, with what it has read so far. When
// the archive is wrong, the error wraps [ErrDamaged] or [files.ErrMissing].
func Verify(ctx context.Context, path string, progress func(Contents)) (Contents, error) {
	r, err := Open(path)
	if err != nil {
		return Contents{}, err
	}
	defer r.Close()
	found := Contents{SizeBytes: r.size}
	whole := sha256.New()
	raw := bufio.NewReaderSize(io.TeeReader(r.Section(0), whole), 1<<20)
	_ = unix.Fadvise(int(r.file.Fd()), 0, 0, unix.FADV_SEQUENTIAL) // the kernel reads further ahead
	var copier copier
	var tip string
	err = r.each(ctx, raw, func(f File, member io.Reader) error {
		sum := sha256.New()
		if _, err := copier.copy(sum, member); err != nil {
			return Damaged(f.Path, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, f.SHA256) {
			return fmt.Errorf("%w: %s has SHA-256 %s instead of %s", ErrDamaged, f.Path, got, f.SHA256)
		}
		if f.Tip != tip {
			tip = f.Tip
			found.Records++
		}
		found.addFile(f)
		if progress != nil && found.Files%100 == 0 {
			progress(found)
		}
		return nil
	})
	if err != nil {
		return found, fmt.Errorf("verify %s: %w", path, err)
	}
	found.SHA256 = hex.EncodeToString(whole.Sum(nil))
	return found, nil
}
