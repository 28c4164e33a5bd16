package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"sync"
)

// buffers are lent to whoever copies or hashes: few of them serve many files. Large ones
// spare the kernel work for each file that is written.
var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// Copy is io.Copy with a large buffer, which it borrows.
func Copy(to io.Writer, from io.Reader) (int64, error) {
	buffer := buffers.Get().(*[256 << 10]byte) //nolint:forcetypeassert // nothing else is put
	defer buffers.Put(buffer)
	// The structs hide methods by which io would copy without the buffer.
	return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buffer[:])
}

// HashReader reads r to its end, or until ctx ends. It returns the size in bytes and the
// SHA-256 in lower-case hex. It copies everything to also.
func HashReader(ctx context.Context, r io.Reader, also ...io.Writer) (size int64, sum string, err error) {
	h := sha256.New()
	size, err = Copy(io.MultiWriter(append(also, h)...), ContextReader{ctx, r})
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// HashFile flushes any file to disk, reads it back and returns its size and SHA-256.
// If the file is missing, the error is ErrMissing.
func HashFile(ctx context.Context, path string) (size int64, sum string, err error) {
	f, _, err := OpenRegular(path, 0)
	if err != nil {
		return 0, "", err
	}
	defer Release(f)
	if err := flush(flushHashed, f); err != nil {
		return 0, "", WrapDisk("flush", path, err)
	}
	if size, sum, err = HashReader(ctx, f); err != nil && ctx.Err() == nil {
		err = WrapDisk("read", path, err)
	}
	return size, sum, err
}

// HashOpen reads an open file from its beginning and returns its size and SHA-256. It
// copies everything to also.
func HashOpen(ctx context.Context, f *os.File, also ...io.Writer) (size int64, sum string, err error) {
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		size, sum, err = HashReader(ctx, f, also...)
	}
	if err != nil && ctx.Err() == nil {
		err = WrapDisk("read", f.Name(), err)
	}
	return size, sum, err
}

// ContextReader reads until its context ends. The error is then the context's cause.
type ContextReader struct {
	Context context.Context
	Source  io.Reader
}

// Read is part of io.Reader.
func (r ContextReader) Read(p []byte) (int, error) {
	if r.Context.Err() != nil {
		return 0, context.Cause(r.Context)
	}
	return r.Source.Read(p)
}
