package files

import (
	"context"
	"io"
	"io/fs"
	"os"
)

// Wait returns what do returns, or why ctx ended where that comes first. It is for what no
// context ends: a named pipe without a writer, or a terminal at which nobody answers. do
// then goes on until the process ends.
func Wait[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type done struct {
		value T
		err   error
	}
	ended := make(chan done, 1)
	go func() {
		value, err := do()
		ended <- done{value, err}
	}()
	select {
	case d := <-ended:
		return d.value, d.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// OpenNamed opens a file or pipe that a person named, for reading until ctx ends. Only a
// file can be read twice: it is an io.Seeker.
func OpenNamed(ctx context.Context, name string) (io.ReadCloser, fs.FileInfo, error) {
	file, err := Wait(ctx, func() (*os.File, error) { return os.Open(name) })
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		Release(file)
		return nil, nil, err
	case info.Mode().IsRegular(), info.IsDir():
		return file, info, nil
	}
	return io.NopCloser(Interruptible(ctx, file)), info, nil
}

// Interruptible reads from r until ctx ends, even if r blocks for ever.
func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	read, write := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = write.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		_, err := io.Copy(write, r)
		_ = write.CloseWithError(err)
	}()
	return read
}
