package batch

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"noggin/storage"
)

const (
	// importChunk is how many rows go into the database in one transaction. Four times
	// as many are no faster, and take twice the memory.
	importChunk = 5_000
	// importWriters is how many chunks are written at the same time. A second one
	// nearly doubles the speed where the server has two processors to spare; with
	// more they wait for each other.
	importWriters = 2
	// shownRows is how many odd rows of a file are logged one by one.
	shownRows = 5
)

// ImportProgress tells how far an import is.
type ImportProgress struct {
	File  string
	Rows  int64 // of all files so far
	Bytes int64 // read of this file
	Size  int64 // of this file; 0 is not known
}

// rowImport brings the rows of one file into the database.
type rowImport struct {
	*Importer
	opts    ImportOptions
	tips    storage.TipImport
	result  *FileResult
	rejects *rejects
	before  int64 // rows of the files before this one

	mu     sync.Mutex
	counts storage.ImportCounts
}

// run reads all rows and imports those that can be used. When ctx ends, what is
// being written is finished and nothing more is read.
func (r *rowImport) run(ctx context.Context, rows *TipReader, size int64, read func() int64) error {
	writing := context.WithoutCancel(ctx)
	group, failed := errgroup.WithContext(writing)
	chunks, free := make(chan []storage.ImportedTip), make(chan []storage.ImportedTip, importWriters+1)
	for range importWriters {
		free <- nil
		group.Go(func() error { return r.write(writing, chunks, free) })
	}
	free <- nil
	err := r.read(ctx, failed, rows, chunks, free, func() {
		r.progress(ImportProgress{File: r.result.File, Rows: r.before + r.result.Rows, Bytes: read(), Size: size})
	})
	close(chunks)
	err = errors.Join(group.Wait(), err)
	r.result.ImportCounts = r.counts
	return err
}

// write imports chunks until there are no more, and gives their memory back.
func (r *rowImport) write(ctx context.Context, chunks <-chan []storage.ImportedTip, free chan<- []storage.ImportedTip) error {
	importTips := r.DB.ImportTips
	if r.opts.DryRun {
		importTips = r.DB.PreviewImport
	}
	for chunk := range chunks {
		counts, err := importTips(ctx, r.tips, chunk)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.counts.Add(counts)
		r.mu.Unlock()
		free <- chunk
	}
	return nil
}

// read fills chunks with the rows that can be used.
func (r *rowImport) read(ctx, failed context.Context, rows *TipReader, chunks chan<- []storage.ImportedTip, free <-chan []storage.ImportedTip, progress func()) error {
	for {
		var chunk []storage.ImportedTip
		select {
		case chunk = <-free:
		case <-failed.Done():
			return nil // the writer tells why
		}
		chunk, err := r.fill(ctx, rows, chunk[:0])
		progress()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(chunk) > 0 {
			select {
			case chunks <- chunk:
			case <-failed.Done():
				return nil
			}
		}
		if err != nil {
			return nil
		}
	}
}

// fill reads rows until the chunk is full; io.EOF says that they are all read.
func (r *rowImport) fill(ctx context.Context, rows *TipReader, chunk []storage.ImportedTip) ([]storage.ImportedTip, error) {
	for len(chunk) < importChunk {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		row, err := rows.Next()
		if bad, ok := errors.AsType[*RowError](err); ok {
			r.result.Rows++
			if r.rejects.count < shownRows {
				r.Log.Warn("row rejected", "file", r.result.File, "line", bad.Line, "reason", bad.Reason)
			}
			if err := r.rejects.add(bad); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return chunk, err
		}
		r.result.Rows++
		if row.Warning != "" {
			if r.result.Warnings++; r.result.Warnings <= shownRows {
				r.Log.Warn("odd row imported", "file", r.result.File, "line", row.Line, "tip", row.Tip, "warning", row.Warning)
			}
		}
		chunk = append(chunk, storage.ImportedTip{Tip: row.Tip, ExpectedID: row.ExpectedID, ExpectedDate: row.ExpectedDate})
	}
	return chunk, nil
}

func (m *Importer) progress(p ImportProgress) {
	if m.Progress != nil {
		m.Progress(p)
	}
}

// countingReader counts what is read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// interruptible reads from r, which may block for ever, until ctx ends.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	read, write := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = write.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		_, err := io.Copy(write, r)
		_ = write.CloseWithError(err)
	}()
	return read
}
