package importcsv

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"noggin/batch/csvfile"
	"noggin/storage"
)

const (
	// importChunk is the number of rows in one transaction. Four times as many are no
	// faster and take twice the memory.
	importChunk = 5_000
	// importWriters is the number of chunks written at the same time. A second writer
	// nearly doubles the speed if the server has two processors to spare. More writers
	// wait for each other.
	importWriters = 2
	// shownRows is the number of odd rows of a file that are logged one by one.
	shownRows = 5
)

// Progress tells how far an import has come.
type Progress struct {
	File  string
	Rows  int64 // of all files so far
	Bytes int64 // read of this file
	Size  int64 // of this file; 0: not known
}

// rowImport imports the rows of one file into the database.
type rowImport struct {
	*Importer
	opts    Options
	tips    storage.TipImport
	result  *fileResult
	rejects *rejects
	content hash.Hash // SHA-256 of what was read
	before  int64     // rows of the files before this one

	mu     sync.Mutex
	counts storage.ImportCounts
	others []storage.ImportedTip // the first rows with another inspection id
}

// run reads all rows and imports those that can be used. When ctx ends it reads no
// more and finishes the chunks that are being written.
func (r *rowImport) run(ctx context.Context, rows *tipReader, size int64, read func() int64) error {
	writing := context.WithoutCancel(ctx)
	group, failed := errgroup.WithContext(writing)
	chunks, free := make(chan []storage.ImportedTip), make(chan []storage.ImportedTip, importWriters+1)
	for range importWriters {
		free <- nil
		group.Go(func() error { return r.write(writing, chunks, free) })
	}
	free <- nil
	err := r.read(ctx, failed, rows, chunks, free, func() {
		r.progress(Progress{File: r.result.File, Rows: r.before + r.result.Rows, Bytes: read(), Size: size})
	})
	close(chunks)
	err = errors.Join(group.Wait(), err)
	r.result.ImportCounts = r.counts
	r.result.Warnings += r.counts.Conflicting + r.counts.OtherID
	for _, row := range r.others {
		if r.mayShow() {
			r.Log.Warn("odd row imported", "file", r.result.File, "line", row.Line, "tip", row.Tip,
				"warning", fmt.Sprintf("the record keeps the expected inspection id of an earlier row: it is not %q", row.ExpectedID))
		}
	}
	return err
}

// otherID notes a row whose inspection id is not the one that its record keeps.
func (r *rowImport) otherID(row storage.ImportedTip) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.others) < shownRows {
		r.others = append(r.others, row)
	}
}

// write imports chunks until there are no more. It gives their memory back for
// further rows.
func (r *rowImport) write(ctx context.Context, chunks <-chan []storage.ImportedTip, free chan<- []storage.ImportedTip) error {
	importTips := r.DB.ImportTips
	if r.opts.DryRun {
		importTips = r.DB.PreviewImport
	}
	tips := r.tips
	tips.OtherID = r.otherID
	for chunk := range chunks {
		counts, err := importTips(ctx, tips, chunk)
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
func (r *rowImport) read(ctx, failed context.Context, rows *tipReader, chunks chan<- []storage.ImportedTip, free <-chan []storage.ImportedTip, progress func()) error {
	for {
		var chunk []storage.ImportedTip
		select {
		case chunk = <-free:
		case <-failed.Done():
			return nil // the error is that of write
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

// fill reads rows until the chunk is full; io.EOF says that no row is left.
func (r *rowImport) fill(ctx context.Context, rows *tipReader, chunk []storage.ImportedTip) ([]storage.ImportedTip, error) {
	for len(chunk) < importChunk {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		row, err := rows.Next()
		if bad, ok := errors.AsType[*csvfile.RowError](err); ok {
			r.result.Rows++
			r.warnRejected(bad)
			if err := r.rejects.add(bad); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return chunk, err
		}
		r.result.Rows++
		what := "odd row imported"
		if row.Skipped {
			what = "row skipped"
			r.result.Skipped++
		}
		if row.Warning != "" {
			if r.result.Warnings++; r.result.Warnings <= shownRows && r.mayShow() {
				r.Log.Warn(what, "file", r.result.File, "line", row.Line, "tip", row.Tip, "warning", row.Warning)
			}
		}
		if row.Skipped {
			continue
		}
		chunk = append(chunk, row.ImportedTip)
	}
	return chunk, nil
}

// warnRejected logs the first rejected rows of a file.
func (r *rowImport) warnRejected(bad *csvfile.RowError) {
	if r.rejects.count < shownRows && r.mayShow() {
		r.Log.Warn("row rejected", "file", r.result.File, "line", bad.Line, "reason", bad.Reason)
	}
}

// mayShow tells whether the run logs one more odd row, and counts it.
func (r *rowImport) mayShow() bool {
	if r.shown++; r.shown == shownInRun {
		r.Log.Warn("further odd rows of this run are not logged; the rejected ones are in files in the error folder", "folder", r.Paths.Error)
	}
	return r.shown < shownInRun
}

func (m *Importer) progress(p Progress) {
	if m.Progress != nil {
		m.Progress(p)
	}
}

// countingReader counts the bytes that are read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
