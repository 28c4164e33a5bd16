package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"noggin/storage"
)

// mostRefused is how many files a server may refuse to delete before a run tries no other.
const mostRefused = 100

// Clean deletes on the server what was fetched from a source and is imported. A file
// that changed since it was fetched stays: it is fetched again. What goes wrong with
// the source is in the result; the error is that of the context or of the database.
func (f *Fetcher) Clean(ctx context.Context, s Source, r *Result) error {
	return r.settle(ctx, f.clean(ctx, s, r))
}

func (f *Fetcher) clean(ctx context.Context, s Source, r *Result) error {
	var c *connection
	for after := int64(0); ; {
		exports, err := f.DB.ImportedOnServer(ctx, s.Name, after, lookedUp)
		if err != nil || len(exports) == 0 {
			return err
		}
		if c == nil {
			if c, err = connect(ctx, s, f.Patience); err != nil {
				return err
			}
			defer c.Close()
		}
		if err := f.removeAll(ctx, c, exports, r); err != nil {
			return err
		}
		after = exports[len(exports)-1].ID
	}
}

// removeAll deletes the files of a page. One that the server refuses to delete holds up no
// other, unless it refuses so many.
func (f *Fetcher) removeAll(ctx context.Context, c *connection, exports []storage.RemoteFile, r *Result) error {
	refused := 0
	for _, file := range exports {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := f.remove(ctx, c, file, r)
		if err != nil && (!isOfFile(err) || refused == mostRefused) {
			return err
		}
		if err != nil {
			refused++
			r.fail(err)
		}
	}
	return nil
}

func (f *Fetcher) remove(ctx context.Context, c *connection, file storage.RemoteFile, r *Result) error {
	err := c.compare(func() (fs.FileInfo, error) { return c.sftp.Lstat(file.Path) }, file)
	switch {
	case err == nil:
		err = c.within(func() error { return c.sftp.Remove(file.Path) })
	case errors.Is(err, errChanged):
		return f.DB.GoneFromServer(ctx, file.ID) // another version has its name
	}
	switch {
	case err == nil:
		r.Deleted++
		f.Log.Info("imported export deleted on the server", "source", r.Source, "file", file.Path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("delete %q: the server refuses it: set after = \"keep\", or let this user delete there: %w", file.Path, err)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("delete %q: %w", file.Path, c.explain(err))
	}
	return f.DB.GoneFromServer(ctx, file.ID)
}

// Look logs in and lists, for a check. missing is the number of files that were not
// fetched yet.
func (f *Fetcher) Look(ctx context.Context, s Source) (r Result, missing int64, err error) {
	r = Result{Source: s.Name, Place: s.Place(), Kind: s.Kind}
	c, err := connect(ctx, s, f.Patience)
	if err != nil {
		return r, 0, r.settle(ctx, err)
	}
	defer c.Close()
	err = eachBatch(c, s, &r, func(string, string) { r.Skipped++ }, func(found []storage.RemoteFile) error {
		left, err := f.DB.NotFetched(ctx, s.Name, found)
		missing += int64(len(left))
		return err
	})
	return r, missing, r.settle(ctx, err)
}
