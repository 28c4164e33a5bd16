package batch

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
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// ErrDamaged is wrapped by every error that means that an archive does not hold
// what it says, or is none.
var ErrDamaged = errors.New("the archive is damaged")

// archiveReader reads an archive from its file alone.
type archiveReader struct {
	file     *os.File
	size     int64
	manifest int64 // where its frame begins
	base     string
}

// openArchive opens an archive and finds its manifest. A file that is missing is
// ErrMissing.
func openArchive(path string) (*archiveReader, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", path, ErrMissing)
	}
	if err != nil {
		return nil, diskError("open", path, err)
	}
	r := &archiveReader{file: file, base: strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), partialExt), ArchiveExt)}
	if err := r.locate(); err != nil {
		release(file)
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return r, nil
}

func (r *archiveReader) locate() error {
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

func (r *archiveReader) close() { release(r.file) }

// stream decompresses from a frame's beginning. end gives the decoder back.
func (r *archiveReader) stream(source io.Reader) (content io.Reader, end func(), err error) {
	decoder, err := zstd.NewReader(source, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, nil, err
	}
	return decoder, decoder.Close, nil
}

// section reads the file from a frame's beginning to its end.
func (r *archiveReader) section(frame int64) io.Reader {
	return io.NewSectionReader(r.file, frame, r.size-frame)
}

// openManifest reads the manifest; end has to be called.
func (r *archiveReader) openManifest() (m *manifestReader, end func(), err error) {
	content, end, err := r.stream(r.section(r.manifest))
	if err != nil {
		return nil, nil, err
	}
	archive := tar.NewReader(content)
	header, err := archive.Next()
	if err != nil || !strings.HasSuffix(header.Name, manifestExt) {
		end()
		return nil, nil, damaged("its manifest", err)
	}
	return newManifestReader(archive), end, nil
}

// damaged says that a part of an archive is not as it should be.
func damaged(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s is missing", ErrDamaged, what)
	}
	if IsDiskError(err) || errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
}

// each calls fn with every file of the archive in the order of the manifest, the
// content from the place in the archive where it is: the whole of it is read. fn
// reads the content to its end.
func (r *archiveReader) each(ctx context.Context, raw io.Reader, fn func(f ManifestFile, content io.Reader) error) error {
	manifest, end, err := r.openManifest()
	if err != nil {
		return err
	}
	defer end()
	content, endContent, err := r.stream(raw)
	if err != nil {
		return err
	}
	defer endContent()
	archive := tar.NewReader(content)
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
		header, err := archive.Next()
		switch {
		case err != nil:
			return damaged(f.Path, err)
		case header.Name != f.Path || header.Typeflag != tar.TypeReg || header.Size != f.Size:
			return fmt.Errorf("%w: it holds %q where its manifest says %q", ErrDamaged, header.Name, f.Path)
		}
		if err := fn(f, archive); err != nil {
			return err
		}
		_, _ = io.WriteString(sums, checksumLine(f.SHA256, f.Path)) // a hash takes all
	}
	return r.tail(archive, sums, content)
}

// tail checks what comes behind the files: the manifest, the checksums, nothing.
func (r *archiveReader) tail(archive *tar.Reader, sums hash.Hash, content io.Reader) error {
	header, err := archive.Next()
	if err != nil || !strings.HasSuffix(header.Name, manifestExt) {
		return damaged("its manifest", err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, archive); err != nil {
		return damaged("its manifest", err)
	}
	_, _ = io.WriteString(sums, checksumLine(hex.EncodeToString(sum.Sum(nil)), header.Name))
	header, err = archive.Next()
	if err != nil || !strings.HasSuffix(header.Name, checksumsExt) {
		return damaged("its list of checksums", err)
	}
	listed := sha256.New()
	if _, err := io.Copy(listed, archive); err != nil {
		return damaged("its list of checksums", err)
	}
	if !bytes.Equal(listed.Sum(nil), sums.Sum(nil)) {
		return fmt.Errorf("%w: its list of checksums is not that of its files", ErrDamaged)
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return damaged("its end", err)
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return damaged("its end", err)
	}
	return nil
}

// verifyArchive decompresses the whole archive and compares every file with its
// manifest. visit is called with each that is right. What is wrong wraps
// [ErrDamaged] or [ErrMissing].
func verifyArchive(ctx context.Context, path string, visit func(ManifestFile) error) (ArchiveContent, error) {
	r, err := openArchive(path)
	if err != nil {
		return ArchiveContent{}, err
	}
	defer r.close()
	content := ArchiveContent{SizeBytes: r.size}
	whole := sha256.New()
	raw := bufio.NewReaderSize(io.TeeReader(r.section(0), whole), 1<<20)
	_ = unix.Fadvise(int(r.file.Fd()), 0, 0, unix.FADV_SEQUENTIAL) // has more read ahead
	var copier copier
	var tip string
	err = r.each(ctx, raw, func(f ManifestFile, member io.Reader) error {
		sum := sha256.New()
		if _, err := copier.copy(sum, member); err != nil {
			return damaged(f.Path, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, f.SHA256) {
			return fmt.Errorf("%w: %s has SHA-256 %s instead of %s", ErrDamaged, f.Path, got, f.SHA256)
		}
		if f.Tip != tip {
			tip = f.Tip
			content.Records++
		}
		content.Files++
		content.SourceBytes += f.Size
		content.LastDate = max(content.LastDate, f.InspectionDate)
		if visit == nil {
			return nil
		}
		return visit(f)
	})
	if err != nil {
		return content, fmt.Errorf("verify %s: %w", path, err)
	}
	content.SHA256 = hex.EncodeToString(whole.Sum(nil))
	return content, nil
}

// hashFile is the SHA-256 of a file outside of the output folder.
func hashFile(ctx context.Context, path string) (sum string, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read %s: %w", path, ErrMissing)
	}
	if err != nil {
		return "", diskError("read", path, err)
	}
	defer release(file)
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, file}); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", diskError("read", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx    context.Context
	source io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.source.Read(p)
}
