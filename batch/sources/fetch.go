package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pkg/sftp"

	"noggin/batch/files"
	"noggin/storage"
)

// Patience is how long a server may take for an answer.
const Patience = 30 * time.Second

const (
	// lookedUp is the number of files that one statement looks up.
	lookedUp = 1_000
	// maxSize is the size of the largest export in bytes.
	maxSize  = 4 << 30
	maxChunk = 1 << 20 // bytes that are asked for at a time
	// shownFiles is the number of odd files of a source that are logged one by one.
	shownFiles = 5
)

// Fetcher fetches exports.
type Fetcher struct {
	DB       *storage.DB
	Input    string // [paths] input
	Log      *slog.Logger
	Patience time.Duration
	Progress func(name string, files int64) // may be nil
}

// Result tells what became of one source.
type Result struct {
	Source  string `json:"source"`
	Place   string `json:"place"`
	Kind    string `json:"kind"`
	Listed  int64  `json:"listed"`  // files whose name fits the pattern
	Fetched int64  `json:"fetched"` // files
	Bytes   int64  `json:"bytes"`
	Skipped int64  `json:"skipped"` // links, folders, names that no file may have
	Changed int64  `json:"changed"` // while they were read: the next run fetches them
	Gone    int64  `json:"gone"`    // before they could be read
	Deleted int64  `json:"deleted"` // on the server, after their import
	Reason  string `json:"reason"`  // why not all was fetched; empty: all was

	err error
}

// Err is why not all was fetched or deleted; it wraps [ErrRefused] or [ErrUnreachable]
// where that is the reason.
func (r *Result) Err() error { return r.err }

func (r *Result) fail(err error) {
	r.err = fmt.Errorf("the source %s (%s): %w", r.Source, r.Place, err)
	r.Reason = err.Error()
}

// Folder is where the files of a kind are put.
func Folder(input, kind string) string {
	if kind == KindTips {
		return input
	}
	return filepath.Join(input, "names-"+kind)
}

// Fetch fetches what is new at a source. What goes wrong with the source is in the
// result; the error is that of the context or of the database.
func (f *Fetcher) Fetch(ctx context.Context, s Source) (r Result, err error) {
	r = Result{Source: s.Name, Place: s.Place(), Kind: s.Kind}
	release, err := f.DB.TryFetchTurn(ctx)
	if err != nil {
		return r, err
	}
	if release == nil {
		r.Reason = "another run fetches exports at the moment"
		return r, nil
	}
	defer release()
	err = f.fetch(ctx, s, &r)
	return r, r.settle(ctx, err)
}

// settle keeps an error in the result, unless it ends the run.
func (r *Result) settle(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrSchema):
		return err
	}
	r.fail(err)
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, s Source, r *Result) error {
	if _, err := os.Stat(f.Input); err != nil { // perhaps a volume that is not mounted
		return files.WrapDisk("look at [paths] input", f.Input, err)
	}
	tray, err := f.openTray(s.Kind)
	if err != nil {
		return err
	}
	defer files.Release(tray)
	tray.SweepStaged(time.Now())
	c, err := connect(ctx, s, f.Patience)
	if err != nil {
		return err
	}
	defer c.Close()
	return eachBatch(c, s, r, f.odd(s, r), func(found []storage.RemoteFile) error {
		missing, err := f.DB.NotFetched(ctx, s.Name, found)
		if err != nil {
			return err
		}
		for _, file := range missing {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := f.file(ctx, c, tray, file, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// openTray opens the folder for files of a kind. A folder of names that somebody else made
// or may write into is refused: whoever may upload tips must not name vehicles.
func (f *Fetcher) openTray(kind string) (*files.Tray, error) {
	tray, err := files.OpenTray(f.Input, Folder(f.Input, kind))
	if err != nil || kind == KindTips {
		return tray, err
	}
	info, err := tray.Lstat(".")
	if err == nil {
		err = files.KeptFromOthers(f.Input, tray.Name(), info)
	}
	if err != nil {
		files.Release(tray)
		return nil, err
	}
	return tray, nil
}

// odd logs the first files of a source that are left out.
func (f *Fetcher) odd(s Source, r *Result) func(name, why string) {
	return func(name, why string) {
		if r.Skipped++; r.Skipped <= shownFiles {
			f.Log.Warn("a file of the source is left out", "source", s.Name, "file", name, "reason", why)
		}
	}
}

// eachBatch lists the folder of a source and hands the files that fit over, some hundred
// at a time.
func eachBatch(c *connection, s Source, r *Result, odd func(name, why string), each func([]storage.RemoteFile) error) error {
	l, err := c.openFolder(c.folder)
	if err != nil {
		return err
	}
	defer l.close()
	var batch []storage.RemoteFile
	for {
		entries, err := l.next()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		for _, e := range entries {
			if !s.fits(e.name) {
				continue
			}
			if why := unfit(e); why != "" {
				odd(e.name, why)
				continue
			}
			r.Listed++
			batch = append(batch, storage.RemoteFile{Path: path.Join(c.folder, e.name), Size: e.size, Modified: e.modified})
		}
		if len(batch) >= lookedUp || end && len(batch) > 0 {
			if err := each(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if end {
			return nil
		}
	}
}

// fits tells whether a name fits the pattern. Hidden files do not: programs write them
// while they copy.
func (s Source) fits(name string) bool {
	ok, err := path.Match(strings.ToLower(s.Pattern), strings.ToLower(path.Base(name)))
	return err == nil && ok && !strings.HasPrefix(path.Base(name), ".")
}

// unfit says why a file is not fetched.
func unfit(e entry) string {
	switch {
	case e.link:
		return "it is a symbolic link, which noggin does not follow"
	case !e.regular:
		return "it is no regular file"
	case strings.ContainsAny(e.name, "/\x00") || e.name == "." || e.name == "..":
		return "its name leads out of the folder"
	case !utf8.ValidString(e.name):
		return "its name is not UTF-8"
	case e.size < 0 || e.size > maxSize:
		return fmt.Sprintf("it is larger than %d bytes", int64(maxSize))
	}
	return ""
}

// localName is the name of a fetched file: a plain one, which ends so that the import
// takes it.
func localName(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '/' || r == '\\' {
			return '_'
		}
		return r
	}, name)
	if strings.HasPrefix(name, ".") {
		name = "_" + name[1:]
	}
	if !strings.EqualFold(path.Ext(name), ".csv") {
		name += ".csv"
	}
	return name
}

// file fetches one file. A file that vanishes or changes meanwhile is counted and is no
// error.
func (f *Fetcher) file(ctx context.Context, c *connection, tray *files.Tray, file storage.RemoteFile, r *Result) error {
	id, err := f.DB.BeginFetch(ctx, r.Source, r.Kind, file)
	if err != nil || id == 0 {
		return err
	}
	err = f.place(ctx, c, tray, id, file)
	switch {
	case err == nil:
		r.Fetched, r.Bytes = r.Fetched+1, r.Bytes+file.Size
		f.Log.Info("export fetched", "source", r.Source, "file", file.Path, "bytes", file.Size)
		if f.Progress != nil {
			f.Progress(path.Base(file.Path), r.Fetched)
		}
		return nil
	case errors.Is(err, errChanged):
		r.Changed++
	case errors.Is(err, fs.ErrNotExist) && !isDisk(err):
		r.Gone++
	case isOfFile(err):
		f.Log.Warn("the server refuses a file", "source", r.Source, "file", file.Path, "error", err)
		r.fail(fmt.Errorf("fetch %q: the server refuses it: %w", file.Path, err))
	default:
		return errors.Join(fmt.Errorf("fetch %q: %w", file.Path, err), f.drop(ctx, id))
	}
	return f.drop(ctx, id)
}

// isOfFile tells whether an error is what the server says of one file, so that it may still
// give the others.
func isOfFile(err error) bool {
	_, status := errors.AsType[*sftp.StatusError](err)
	return (status || errors.Is(err, fs.ErrPermission)) && !isDisk(err)
}

func isDisk(err error) bool {
	_, ok := errors.AsType[*files.DiskError](err)
	return ok
}

// drop removes the row of a file that was not fetched, also after a signal.
func (f *Fetcher) drop(ctx context.Context, id int64) error {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return f.DB.DropFetch(ending, id)
}

var errChanged = errors.New("it changed while it was read")

// place reads a file into the folder.
func (f *Fetcher) place(ctx context.Context, c *connection, tray *files.Tray, id int64, file storage.RemoteFile) error {
	staged, err := tray.Stage(files.FileMode)
	if err != nil {
		return err
	}
	defer staged.Discard()
	if err := c.read(staged, file); err != nil {
		return err
	}
	if err := staged.SetModified(file.Modified); err != nil {
		return files.WrapDisk("date a file in", tray.Name(), err)
	}
	if err := f.DB.SetFetchedContent(ctx, id, staged.SHA256()); err != nil {
		return err
	}
	if _, err := staged.Place(localName(path.Base(file.Path))); err != nil {
		return err
	}
	return f.DB.FinishFetch(ctx, id)
}

// read copies a file of the server, which must have the size and time that was listed,
// before and after. The open file is looked at: its name may go meanwhile.
func (c *connection) read(to io.Writer, file storage.RemoteFile) (err error) {
	var from *sftp.File
	if err := c.within(func() error { from, err = c.sftp.Open(file.Path); return err }); err != nil {
		return c.explain(err)
	}
	defer func() { _ = c.within(from.Close) }() // it was only read
	if err := c.compare(from.Stat, file); err != nil {
		return err
	}
	chunk := make([]byte, min(maxChunk, file.Size+1)) // one byte more shows that it grew
	for size := int64(0); ; {
		var n int
		err := c.within(func() error { n, err = from.Read(chunk); return err })
		if size += int64(n); size > file.Size {
			return errChanged
		}
		if _, err := to.Write(chunk[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			if size < file.Size {
				return errChanged
			}
			return c.compare(from.Stat, file)
		}
		if err != nil {
			return c.explain(err)
		}
	}
}

// compare looks at a file of the server and returns [errChanged] if it is not that one.
func (c *connection) compare(look func() (fs.FileInfo, error), file storage.RemoteFile) error {
	var info fs.FileInfo
	err := c.within(func() (err error) { info, err = look(); return err })
	switch {
	case err != nil:
		return c.explain(err)
	case !info.Mode().IsRegular() || info.Size() != file.Size || info.ModTime().Unix() != file.Modified.Unix():
		return errChanged
	}
	return nil
}
