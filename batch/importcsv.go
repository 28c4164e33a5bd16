package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"noggin/storage"
)

// Stdin is the name that stands for the standard input.
const Stdin = "-"

// What became of a file.
const (
	FileImported    = "imported"    // read to its end; rows may be rejected
	FileUnusable    = "unusable"    // nothing in it could be used
	FileWaiting     = "waiting"     // changed a moment ago: for the next run
	FileChanged     = "changed"     // changed while it was read: for the next run
	FileGone        = "gone"        // taken by another run
	FileBusy        = "busy"        // being read by another run
	FileSkipped     = "skipped"     // no regular file
	FileFailed      = "failed"      // could not be read or moved
	FileInterrupted = "interrupted" // for the next run
)

// FileResult is what became of one file.
type FileResult struct {
	File       string `json:"file"`        // its name in the input folder, or as it was given
	ObjectType string `json:"object_type"` // code; empty when it was not read
	Assumed    bool   `json:"assumed"`     // nothing told its form
	Rows       int64  `json:"rows"`
	storage.ImportCounts
	Rejected     int64  `json:"rejected"`
	Warnings     int64  `json:"warnings"`
	Outcome      string `json:"outcome"`
	Reason       string `json:"reason"`        // for any outcome but imported
	MovedTo      string `json:"moved_to"`      // empty: it stays
	RejectedFile string `json:"rejected_file"` // where the rows are that can't be used
}

// ImportSummary is what an import did: all files and their sums.
type ImportSummary struct {
	RunID  int64        `json:"run_id"`
	DryRun bool         `json:"dry_run"`
	Files  []FileResult `json:"files"`
	Rows   int64        `json:"rows"`
	storage.ImportCounts
	Rejected        int64   `json:"rejected"`
	Warnings        int64   `json:"warnings"`
	Unusable        int64   `json:"unusable"` // files
	Failed          int64   `json:"failed"`   // files
	DurationSeconds float64 `json:"duration_seconds"`
}

func (s *ImportSummary) add(f FileResult) {
	s.Files = append(s.Files, f)
	s.Rows += f.Rows
	s.Add(f.ImportCounts)
	s.Rejected += f.Rejected
	s.Warnings += f.Warnings
	switch f.Outcome {
	case FileUnusable:
		s.Unusable++
	case FileFailed:
		s.Failed++
	}
}

// ImportOptions say what to import.
type ImportOptions struct {
	Files      []string // [Stdin] among them; none: the input folder
	Stdin      io.Reader
	ObjectType string // code of the form of files that do not tell it
	Update     bool   // fill expected values that known records lack
	DryRun     bool
	// Wait is how long to wait at most for files of the input folder to settle.
	Wait time.Duration
}

// Importer brings the tips of CSV exports into the queue.
type Importer struct {
	DB       *storage.DB
	Config   Config
	Types    *ObjectTypes
	Log      *slog.Logger
	Progress func(ImportProgress) // may be nil
}

// Run imports the named files, which stay where they are, or those of the input
// folder, which move to the processed or error folder. Whatever a run that was
// killed has imported is known to the next one. An error ends the run; a file that
// fails alone is in the summary.
func (m *Importer) Run(ctx context.Context, opts ImportOptions) (ImportSummary, error) {
	began := time.Now()
	summary := ImportSummary{DryRun: opts.DryRun, Files: []FileResult{}}
	err := m.runFiles(ctx, opts, &summary)
	summary.DurationSeconds = time.Since(began).Seconds()
	return summary, err
}

func (m *Importer) runFiles(ctx context.Context, opts ImportOptions, summary *ImportSummary) error {
	if len(opts.Files) > 0 {
		for _, path := range opts.Files {
			result, err := m.importNamed(ctx, opts, path, summary.Rows)
			summary.add(result)
			if err != nil {
				return err
			}
		}
		return nil
	}
	return m.importWaiting(ctx, opts, summary)
}

// prepareFolders makes sure, before anything is imported, that files can be moved.
func (m *Importer) prepareFolders() error {
	paths := m.Config.Paths
	for _, folder := range []struct{ key, path string }{{"input", paths.Input}, {"processed", paths.Processed}, {"error", paths.Error}} {
		if err := ensureFolder(folder.key, folder.path); err != nil {
			return err
		}
	}
	sweepStaged(paths.Processed, time.Now())
	sweepStaged(paths.Error, time.Now())
	return nil
}

// importNamed imports a file that the command line names.
func (m *Importer) importNamed(ctx context.Context, opts ImportOptions, path string, before int64) (FileResult, error) {
	result := FileResult{File: path, Outcome: FileImported}
	source, size, err := openNamed(ctx, path, opts.Stdin)
	if err != nil {
		return result.failed(err), nil
	}
	defer release(source)
	name := filepath.Base(path)
	if path == Stdin {
		name = "stdin"
	}
	r := m.rowImport(&result, opts, name, before)
	defer r.rejects.discard()
	err = r.file(ctx, source, size, TipOptions{Forms: m.Types, ObjectType: opts.ObjectType, Default: m.Config.Import.DefaultObjectType})
	if err == nil || errors.Is(err, ErrUnusableFile) {
		if keepErr := r.keepRejects(name); keepErr != nil {
			err = keepErr
		}
	}
	return result, r.settle(ctx, err)
}

// openNamed opens a file or pipe that the command line names; its size is 0 where
// that is not known.
func openNamed(ctx context.Context, path string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if path == Stdin {
		return io.NopCloser(interruptible(ctx, stdin)), 0, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = errors.New("it is a folder; without arguments noggin import-csv reads the input folder")
	case info.Mode().IsRegular():
		return file, info.Size(), nil
	default: // a pipe: it ends with the process, which may be waiting for it
		return io.NopCloser(interruptible(ctx, file)), 0, nil
	}
	release(file)
	return nil, 0, err
}

// importInbox imports a file of the input folder and moves it.
func (m *Importer) importInbox(ctx context.Context, opts ImportOptions, found inboxFile, before int64) (FileResult, error) {
	result := FileResult{File: found.name, Outcome: FileImported}
	if ctx.Err() != nil {
		result.Outcome, result.Reason = FileInterrupted, "not begun"
		return result, context.Cause(ctx)
	}
	if !found.info.Mode().IsRegular() {
		result.Outcome, result.Reason = FileSkipped, "it is "+whatIs(found.info)+", which noggin does not follow"
		return result, nil
	}
	now := time.Now()
	if changed := lastChange(found.info, now); now.Sub(changed) < m.Config.Import.Settle {
		result.Outcome = FileWaiting
		result.Reason = fmt.Sprintf("it changed %s ago, within [import] settle (%s): the next run takes it",
			max(now.Sub(changed), 0).Round(time.Second), m.Config.Import.Settle)
		return result, nil
	}
	file, info, err := openInboxFile(found.path)
	if err != nil {
		return result.notOpened(err), nil
	}
	defer release(file)
	r := m.rowImport(&result, opts, found.name, before)
	defer r.rejects.discard()
	// Here --object-type is for the files that do not tell their form; it says
	// nothing against those that do.
	form := TipOptions{Forms: m.Types, Default: m.Config.Import.DefaultObjectType}
	if opts.ObjectType != "" {
		form.Default = opts.ObjectType
	}
	err = r.file(ctx, file, info.Size(), form)
	if err != nil && !errors.Is(err, ErrUnusableFile) {
		return result, r.settle(ctx, err)
	}
	there, statErr := os.Lstat(found.path)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return result.gone(), nil
	case statErr != nil:
		return result, r.settle(ctx, statErr)
	case !unchanged(info, there):
		return result.changed(), nil
	case opts.DryRun:
		return result, r.settle(ctx, err)
	}
	return result, r.settle(ctx, r.move(found, info, err))
}

// move keeps the rejected rows and puts the file where it belongs; unusable says
// that nothing in it could be used.
func (r *rowImport) move(found inboxFile, info fs.FileInfo, unusable error) (err error) {
	folder := r.Config.Paths.Processed
	var reasonFile string
	var before func(string) error
	if unusable != nil {
		folder = r.Config.Paths.Error
		before = func(name string) (err error) {
			reasonFile, err = r.writeReason(folder, name, unusable)
			return err
		}
	}
	if err := r.keepRejects(found.name); err != nil {
		return err
	}
	to, err := moveInto(folder, found.path, info, before)
	if err == nil {
		r.result.MovedTo = to
		return unusable
	}
	if reasonFile != "" {
		_ = os.Remove(reasonFile) // it stands beside nothing
	}
	switch {
	case errors.Is(err, errChanged):
		*r.result = r.result.changed()
		return nil
	case errors.Is(err, fs.ErrNotExist):
		*r.result = r.result.gone()
		return nil
	}
	return err
}

// writeReason writes why a file can't be used beside where it will be: fs.ErrExist
// where something else has that name.
func (r *rowImport) writeReason(folder, name string, unusable error) (path string, err error) {
	staged, err := stage(folder)
	if err != nil {
		return "", err
	}
	defer staged.discard()
	if _, err := fmt.Fprintf(staged.file, "%s: %s\n", r.result.File, unusable); err != nil {
		return "", diskError("write a file in", folder, err)
	}
	return staged.placeAs(beside(name, ".reason.txt"))
}

func (r *rowImport) keepRejects(name string) (err error) {
	r.result.RejectedFile, err = r.rejects.keep(name)
	return err
}

func (m *Importer) rowImport(result *FileResult, opts ImportOptions, source string, before int64) *rowImport {
	r := &rowImport{
		Importer: m, opts: opts, result: result, before: before, rejects: &rejects{folder: m.Config.Paths.Error},
		tips: storage.TipImport{Source: source, Update: opts.Update},
	}
	if opts.DryRun {
		r.rejects.folder = ""
	}
	return r
}

// file imports all rows of one file. Its error wraps [ErrUnusableFile] where there
// is none that can be used.
func (r *rowImport) file(ctx context.Context, source io.Reader, size int64, form TipOptions) error {
	counted := &countingReader{r: source}
	rows, err := NewTipReader(counted, form)
	if err != nil {
		return err
	}
	r.result.ObjectType, r.result.Assumed = rows.ObjectType()
	r.result.Assumed = r.result.Assumed && r.opts.ObjectType == ""
	r.tips.ObjectType, r.tips.Assumed = r.result.ObjectType, r.result.Assumed
	err = r.run(ctx, rows, size, func() int64 { return counted.n })
	r.result.Rejected = r.rejects.count
	switch {
	case err != nil:
		return err
	case r.result.Rows == 0:
		return fmt.Errorf("%w: it has no rows", ErrUnusableFile)
	case r.result.Rows == r.result.Rejected:
		return fmt.Errorf("%w: none of its %d rows can be, the first being %w", ErrUnusableFile, r.result.Rows, r.rejects.first)
	}
	return nil
}

// settle writes into the result what err means for this one file, and returns it
// where it ends the run: an interruption, a database that is gone.
func (r *rowImport) settle(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnusableFile):
		r.result.Outcome, r.result.Reason = FileUnusable, err.Error()
		return nil
	case ctx.Err() != nil:
		r.result.Outcome, r.result.Reason = FileInterrupted, "stopped in the middle: the next run takes it from the beginning"
		return err
	case isFileError(err):
		*r.result = r.result.failed(err)
		return nil
	}
	r.result.Outcome, r.result.Reason = FileFailed, err.Error()
	return err
}

// isFileError tells an error about one file from one that all files would meet.
func isFileError(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

func (f FileResult) failed(err error) FileResult {
	f.Outcome, f.Reason = FileFailed, cause(err).Error()
	return f
}

// changed leaves the rejected rows out: the next run finds them again, or finds them
// whole.
func (f FileResult) changed() FileResult {
	f.Rejected = 0
	f.Outcome, f.Reason = FileChanged, errChanged.Error()+": it stays for the next run"
	return f
}

func (f FileResult) gone() FileResult {
	f.Rejected = 0 // the other run's
	f.Outcome, f.Reason = FileGone, "another run took it meanwhile"
	return f
}

// notOpened tells what an error of openInboxFile means.
func (f FileResult) notOpened(err error) FileResult {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.gone()
	case errors.Is(err, errBusy):
		f.Outcome, f.Reason = FileBusy, errBusy.Error()
		return f
	}
	return f.failed(err)
}
