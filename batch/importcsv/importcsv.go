package importcsv

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/csvfile"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

// stdinName is the name that stands for the standard input.
const stdinName = "-"

// Options say what to import.
type Options struct {
	Files      []string // [stdinName] stands for Stdin; empty: the input folder
	Stdin      io.Reader
	ObjectType string // code of the form of files that do not tell it
	Update     bool   // fill in expected values that known records lack
	DryRun     bool
	// Wait is the longest wait for files of the input folder to settle.
	Wait time.Duration
}

// Importer imports the tips of CSV exports into the queue.
type Importer struct {
	DB       *storage.DB
	Config   Config
	Paths    files.Paths
	Types    *forms.ObjectTypes
	Log      *slog.Logger
	Progress func(Progress) // may be nil
	// Names are the kinds of names that have a folder in the input folder, see
	// sources.Folder, and ImportNames imports a file of one.
	Names       map[string]string // kind to folder
	ImportNames func(ctx context.Context, kind, name string, r io.Reader, dryRun bool) (NamesImport, error)
	// Imported is told the content of each file whose rows are all in the database,
	// before the file moves. It may be nil.
	Imported func(ctx context.Context, kind, sha256 string) error
	// Unusable is told the content of each file of the input folder that cannot be used,
	// before the file moves. It may be nil.
	Unusable func(ctx context.Context, kind, sha256 string) error

	takes int // files that a run moves; 0: [takenFiles]
	looks int // files of a folder that a run looks at; 0: [waitingFiles]
	shown int // odd rows that the run has logged
}

// NamesImport tells what became of the rows of a file of names.
type NamesImport struct {
	Rows, New, Changed, Unchanged, Skipped, Bad int64
	BadRows                                     []csvfile.RowError // the first of them
	Unended                                     bool               // the last line has no line end
}

// kindTips is the kind of a file of tips.
const kindTips = "tips"

// Run imports the named files, which stay where they are, or those of the input
// folder, which move to the processed or error folder. It knows again whatever a
// killed run imported. An error ends the run. A file that fails alone is in the
// summary and is no error.
func (m *Importer) Run(ctx context.Context, opts Options) (summary Summary, err error) {
	began := time.Now()
	own := *m // runs beside each other count for themselves
	m, own.shown = &own, 0
	summary = Summary{DryRun: opts.DryRun, Files: []fileResult{}}
	defer func() { summary.DurationSeconds = time.Since(began).Seconds() }()
	if len(opts.Files) == 0 {
		return summary, m.importWaiting(ctx, opts, &summary)
	}
	for _, path := range opts.Files {
		result, err := m.importNamed(ctx, opts, path, summary.Rows)
		summary.add(result)
		if err != nil {
			return summary, err
		}
	}
	return summary, nil
}

// prepareFolders makes sure that files can be moved, before anything is imported.
func (m *Importer) prepareFolders() error {
	if err := unix.Access(m.Paths.Input, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("[paths] input: %w", files.WrapDisk("use the folder", m.Paths.Input, err))
	}
	for _, folder := range []struct{ key, path string }{{"processed", m.Paths.Processed}, {"error", m.Paths.Error}} {
		tray, err := openTray(folder.key, m.Paths, folder.path)
		if err != nil {
			return err
		}
		tray.SweepStaged(time.Now())
		files.Release(tray)
	}
	return nil
}

// openTray opens a folder for files of the input folder and makes sure that files can
// be put into it. key is the folder's key in the configuration.
func openTray(key string, paths files.Paths, folder string) (*files.Tray, error) {
	tray, err := files.OpenTray(paths.Input, folder)
	if err == nil {
		if err = tray.Writable(); err == nil {
			return tray, nil
		}
		files.Release(tray)
	}
	return nil, fmt.Errorf("[paths] %s: %w", key, err)
}

// importNamed imports a file that the command line names.
func (m *Importer) importNamed(ctx context.Context, opts Options, path string, before int64) (fileResult, error) {
	result := fileResult{File: path, Kind: kindTips, Outcome: fileImported}
	source, size, err := openNamed(ctx, path, opts.Stdin)
	if ctx.Err() != nil && err != nil {
		return result, result.settle(ctx, err)
	}
	if err != nil {
		result.fail(err)
		return result, nil
	}
	defer files.Release(source)
	name := filepath.Base(path)
	if path == stdinName {
		name = "stdin"
	}
	err = m.importOpen(ctx, opts, &result, source, size, name, before)
	return result, result.settle(ctx, err)
}

// importOpen imports an open file of tips that does not move.
func (m *Importer) importOpen(ctx context.Context, opts Options, result *fileResult, source io.Reader, size int64, name string, before int64) error {
	r := m.rowImport(result, opts, name, before)
	defer r.rejects.discard()
	err := r.file(ctx, source, size, m.tipOptions(opts.ObjectType, ""))
	if err == nil {
		err = r.imported(ctx)
	}
	if err == nil || errors.Is(err, csvfile.ErrUnusableFile) {
		if keepErr := r.keepRejects(name); keepErr != nil {
			err = keepErr
		}
	}
	return err
}

// openNamed opens a file or pipe that the command line names. Its size is 0 if that
// is not known.
func openNamed(ctx context.Context, path string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if path == stdinName {
		return io.NopCloser(files.Interruptible(ctx, stdin)), 0, nil
	}
	source, info, err := files.OpenNamed(ctx, path)
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir():
		files.Release(source)
		return nil, 0, errors.New("it is a folder; to read the input folder, run `noggin import-csv` without arguments")
	case info.Mode().IsRegular():
		return source, info.Size(), nil
	}
	return source, 0, nil
}

// importInbox imports a file of the input folder and moves it.
func (m *Importer) importInbox(ctx context.Context, opts Options, found inboxFile, before int64) (result fileResult, err error) {
	result = fileResult{File: found.name, Kind: found.kind, Outcome: fileImported}
	now := time.Now()
	age := now.Sub(lastChange(found.info, now))
	switch {
	case ctx.Err() != nil:
		result.end(fileInterrupted, "not begun")
		err = context.Cause(ctx)
	case !found.info.Mode().IsRegular():
		result.end(fileSkipped, "it is "+files.WhatIs(found.info)+", which noggin does not follow")
	case age < m.Config.Settle:
		result.end(fileWaiting, fmt.Sprintf("it changed %s ago, within [import] settle (%s): the next run takes it",
			max(age, 0).Round(time.Second), m.Config.Settle))
	case age < m.settle(found):
		result.end(fileWaiting, fmt.Sprintf("it has no line end at its end, so its upload may have stalled: noggin takes it when it has not changed for %d × [import] settle (%s); it changed %s ago",
			unendedSettles, m.settle(found), age.Round(time.Second)))
	default:
		err = result.settle(ctx, m.readInbox(ctx, opts, found, before, &result))
	}
	return result, err
}

// readInbox is importInbox for a file that has settled. Errors say what became of
// the file: errGone, errBusy, errChanged, [csvfile.ErrUnusableFile].
func (m *Importer) readInbox(ctx context.Context, opts Options, found inboxFile, before int64, result *fileResult) error {
	file, info, err := openInboxFile(found.path)
	if err != nil {
		return err
	}
	defer files.Release(file)
	result.read = info
	r := m.rowImport(result, opts, filepath.Base(found.path), before)
	defer r.rejects.discard()
	if found.kind == kindTips {
		// In the input folder --object-type is only for files that do not tell their form.
		err = r.file(ctx, file, info.Size(), m.tipOptions("", opts.ObjectType))
	} else {
		err = r.names(ctx, file)
	}
	if err != nil && !errors.Is(err, csvfile.ErrUnusableFile) {
		return err
	}
	there, statErr := os.Lstat(found.path)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return errGone
	case statErr != nil:
		return statErr
	case !unchanged(info, there):
		return errChanged
	case opts.DryRun:
		return err
	}
	var toldErr error
	if err == nil {
		toldErr = r.imported(ctx)
	} else {
		toldErr = r.unusable(ctx, file)
	}
	if toldErr != nil {
		return toldErr
	}
	return r.move(found, info, err)
}

// move keeps the rejected rows and moves the file to the processed folder. An
// unusable file moves to the error folder, with the reason beside it.
func (r *rowImport) move(found inboxFile, info fs.FileInfo, unusable error) (err error) {
	key, folder, reasonFile := "processed", r.Paths.Processed, ""
	if unusable != nil {
		key, folder = "error", r.Paths.Error
	}
	tray, err := openTray(key, r.Paths, folder)
	if err != nil {
		return err
	}
	defer files.Release(tray)
	before := func(string) error { return nil }
	if unusable != nil {
		before = func(name string) (err error) {
			reasonFile, err = r.writeReason(tray, name, unusable)
			return err
		}
	}
	if err := r.keepRejects(filepath.Base(found.path)); err != nil {
		return err
	}
	to, err := moveInto(tray, found.path, info, before)
	if err == nil {
		r.result.MovedTo = to
		return unusable
	}
	if reasonFile != "" {
		_ = tray.Remove(filepath.Base(reasonFile)) // the file itself did not move
	}
	if errors.Is(err, fs.ErrNotExist) {
		return errGone
	}
	return err
}

// writeReason writes why a file cannot be used, beside its future place. The error
// is fs.ErrExist if something else has that name.
func (r *rowImport) writeReason(tray *files.Tray, name string, unusable error) (path string, err error) {
	staged, err := tray.Stage(files.FileMode)
	if err != nil {
		return "", err
	}
	defer staged.Discard()
	quoted := strconv.Quote(r.result.File) // nothing in it is to steer the terminal that shows the reason
	if _, err := fmt.Fprintf(staged, "%s: %s\n", quoted[1:len(quoted)-1], unusable); err != nil {
		return "", err
	}
	return staged.PlaceAs(beside(name, ".reason.txt"))
}

func (r *rowImport) keepRejects(name string) (err error) {
	r.result.RejectedFile, err = r.rejects.keep(name)
	return err
}

func (m *Importer) rowImport(result *fileResult, opts Options, source string, before int64) *rowImport {
	r := &rowImport{
		Importer: m, opts: opts, result: result, before: before, rejects: &rejects{paths: m.Paths, keeps: !opts.DryRun}, content: sha256.New(),
		tips: storage.TipImport{Source: source, Update: opts.Update},
	}
	return r
}

// tipOptions says how to read a file of the form that a person named, or assumes one.
func (m *Importer) tipOptions(named, assumed string) tipOptions {
	return tipOptions{Forms: m.Types, ObjectType: named, Default: cmp.Or(assumed, m.Config.DefaultObjectType), AnyTip: m.Config.AnyTip}
}

// file imports all rows of one file. Its error wraps [csvfile.ErrUnusableFile] if no
// row can be used.
func (r *rowImport) file(ctx context.Context, source io.Reader, size int64, form tipOptions) error {
	counted := &countingReader{r: io.TeeReader(source, r.content)}
	rows, err := newTipReader(counted, form)
	if err != nil {
		return err
	}
	r.result.ObjectType, r.result.Assumed = rows.form, rows.assumed && r.opts.ObjectType == ""
	r.tips.ObjectType, r.tips.Assumed = r.result.ObjectType, r.result.Assumed
	err = r.run(ctx, rows, size, func() int64 { return counted.n })
	r.result.Rejected = r.rejects.count
	if err != nil {
		return err
	}
	r.warnUnended(rows.rows.Unended())
	switch r.result.Rows {
	case r.result.Skipped:
		return fmt.Errorf("%w: it has no rows", csvfile.ErrUnusableFile)
	case r.result.Skipped + r.result.Rejected:
		return fmt.Errorf("%w: none of its %d rows can be, the first being %w", csvfile.ErrUnusableFile, r.result.Rejected, r.rejects.first)
	}
	return nil
}

// names imports all rows of a file of names.
func (r *rowImport) names(ctx context.Context, source io.Reader) error {
	done, err := r.ImportNames(ctx, r.result.Kind, r.tips.Source, io.TeeReader(source, r.content), r.opts.DryRun)
	if err != nil {
		return err
	}
	r.result.Rows, r.result.Rejected, r.result.Skipped = done.Rows, done.Bad, done.Skipped
	r.result.New, r.result.Known, r.result.Updated = done.New, done.Unchanged+done.Changed, done.Changed
	r.warnUnended(done.Unended)
	for _, bad := range done.BadRows {
		r.warnRejected(&bad)
		if err := r.rejects.add(&bad); err != nil {
			return err
		}
	}
	if done.Rows == done.Bad {
		return fmt.Errorf("%w: none of its %d rows can be", csvfile.ErrUnusableFile, done.Rows)
	}
	return nil
}

// warnUnended warns of a file whose last line has no line end: it may have been cut within
// a row.
func (r *rowImport) warnUnended(unended bool) {
	if unended {
		r.result.Warnings++
		r.Log.Warn("a file without a line end at its end is imported: is it whole?", "file", r.result.File)
	}
}

// imported tells that all rows of the file that was read are in the database.
func (r *rowImport) imported(ctx context.Context) error {
	if r.Imported == nil || r.opts.DryRun {
		return nil
	}
	return r.Imported(ctx, r.result.Kind, hex.EncodeToString(r.content.Sum(nil)))
}

// unusable tells that the file cannot be used. rest is what was not read of it.
func (r *rowImport) unusable(ctx context.Context, rest io.Reader) error {
	if r.Unusable == nil {
		return nil
	}
	if _, err := io.Copy(r.content, files.ContextReader{Context: ctx, Source: rest}); err != nil {
		return err
	}
	return r.Unusable(ctx, r.result.Kind, hex.EncodeToString(r.content.Sum(nil)))
}
