package batch

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"noggin/storage"
)

// ErrNotArchived says that there is nothing to restore under a name.
var ErrNotArchived = errors.New("neither an archive nor an archived record is known under this name")

// errOtherContent says that a file of an archive is not what its manifest says; the
// files behind it may be.
var errOtherContent = errors.New("it holds another content")

// RestoreOptions say what is restored, and where to.
type RestoreOptions struct {
	Target  string // a tip, an inspection id, or an archive's name
	To      string // a folder, created where it is missing; "": in place
	InPlace bool   // into the output folder, and the database knows it
}

// RestoreSummary is what `archive restore` did.
type RestoreSummary struct {
	RunID        int64     `json:"run_id,omitempty"` // in place
	Folder       string    `json:"folder"`
	Archives     []string  `json:"archives"`
	Records      int       `json:"records"`
	Files        int       `json:"files"`
	Bytes        int64     `json:"bytes"`
	AlreadyThere int       `json:"already_there"` // of the files: the same was there
	Busy         int       `json:"busy"`          // records in the hands of another run
	LeftOutCount int       `json:"left_out_count"`
	LeftOut      []LeftOut `json:"left_out"`
}

// restoration is one run of `archive restore`.
type restoration struct {
	*Archiver
	opts    RestoreOptions
	output  *Output
	keeper  *claimKeeper    // in place only
	done    map[string]bool // paths of the records that were named; nil: no two archives are read
	last    string          // tip of the record that was counted last
	summary RestoreSummary
}

// Restore brings files back from archives, each compared with its hash. It never
// overwrites anything: a file that differs from the archived one stays, and is
// reported. In place, the database knows the files to be in the output folder
// again.
func (a *Archiver) Restore(ctx context.Context, opts RestoreOptions) (RestoreSummary, error) {
	r := &restoration{Archiver: a, opts: opts, summary: RestoreSummary{Archives: []string{}, LeftOut: []LeftOut{}}}
	if err := r.openFolder(); err != nil {
		return r.summary, err
	}
	defer release(r.output)
	r.summary.Folder = r.output.Name()
	if !opts.InPlace {
		err := r.do(ctx)
		_, tidyErr := r.output.removeEmpty(TempFolder)
		return r.summary, errors.Join(err, tidyErr)
	}
	err := a.alone(ctx, "archive restore", func(keeper *claimKeeper) error {
		r.keeper, r.summary.RunID = keeper, keeper.run
		return r.do(ctx)
	})
	return r.summary, err
}

func (r *restoration) openFolder() (err error) {
	if r.opts.InPlace {
		r.output, err = OpenOutput(r.Config.Paths.Output)
		return err
	}
	dir, err := filepath.Abs(r.opts.To)
	if err != nil {
		return fmt.Errorf("find the folder %s: %w", r.opts.To, err)
	}
	if err := makeFolders(dir); err != nil {
		return diskError("create folder", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return diskError("open folder", dir, err)
	}
	if _, err := root.Lstat(MarkerName); err == nil {
		return errors.Join(fmt.Errorf("restore to %s: this is an output folder: use --in-place, so that the database knows", dir), root.Close())
	}
	r.output = &Output{name: dir, root: root, settled: map[string]struct{}{}, unmarked: true}
	return nil
}

// do finds what is meant, and restores it.
func (r *restoration) do(ctx context.Context) error {
	archive, record, err := r.Find(ctx, r.opts.Target)
	if err != nil {
		return err
	}
	if archive != nil {
		return r.restoreFrom(ctx, *archive, nil)
	}
	archives, err := r.DB.ArchivesOf(ctx, record.Tip)
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return fmt.Errorf("%w: %s", ErrNotArchived, r.opts.Target)
	}
	if !r.opts.InPlace {
		r.done = map[string]bool{}
	}
	for _, archive := range archives { // the newest first: its report is the latest
		if err := r.restoreFrom(ctx, archive, record); err != nil {
			return err
		}
	}
	return nil
}

// Forget makes the database forget an archive from which every file was restored, so
// that nobody misses its file, which is left alone.
func (a *Archiver) Forget(ctx context.Context, name string) (run int64, err error) {
	err = a.alone(ctx, "archive forget", func(keeper *claimKeeper) error {
		run = keeper.run
		archive, err := a.archiveNamed(ctx, name)
		if err != nil {
			return err
		}
		held, err := a.DB.ForgetArchive(ctx, archive.ID)
		if err == nil && held > 0 {
			err = fmt.Errorf("forget %s: %s known to be in it and nowhere else: `noggin archive restore %s --in-place` first",
				archive.Name, plural(int64(held), "file is|files are"), archive.Name)
		}
		return err
	})
	return run, err
}

// Find finds the archive or, where none has that name, the record that an operator
// means. Errors: [ErrAmbiguous], [ErrNotArchived] where there is neither.
func (a *Archiver) Find(ctx context.Context, given string) (*storage.Archive, *storage.FiledRecord, error) {
	archive, err := a.archiveNamed(ctx, given)
	if err == nil {
		return &archive, nil, nil
	}
	if !errors.Is(err, storage.ErrNoArchive) {
		return nil, nil, err
	}
	tip, err := FindRecord(ctx, a.DB, given)
	if err != nil {
		return nil, nil, err
	}
	records, err := a.DB.FiledRecords(ctx, []string{tip})
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("%w: %s", ErrNotArchived, given)
	}
	if err != nil {
		return nil, nil, err
	}
	return nil, &records[0], nil
}

// archiveNamed also takes noggin-2024-03 for the archive's name, or a path to it.
func (a *Archiver) archiveNamed(ctx context.Context, given string) (storage.Archive, error) {
	return a.DB.ArchiveByName(ctx, strings.TrimSuffix(filepath.Base(given), ArchiveExt)+ArchiveExt)
}

// findFile returns where the archive is: where the database has it, or in [paths]
// archive.
func (a *Archiver) findFile(archive storage.Archive) (string, error) {
	for _, at := range []string{archive.Path, filepath.Join(a.Config.Paths.Archive, archive.Name)} {
		if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() {
			return at, nil
		}
	}
	return "", fmt.Errorf("open %s: %w: mount its volume, or tell with `noggin archive register FILE` where it is now", archive.Path, ErrMissing)
}

// restoreFrom restores what the archive has of the record; of all when only is nil.
func (r *restoration) restoreFrom(ctx context.Context, archive storage.Archive, only *storage.FiledRecord) error {
	at, err := r.findFile(archive)
	if err != nil {
		return err
	}
	reader, err := openArchive(at)
	if err != nil {
		return err
	}
	defer reader.close()
	manifest, end, err := reader.openManifest()
	if err != nil {
		return err
	}
	defer end()
	r.summary.Archives = append(r.summary.Archives, archive.Name)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		records, err := manifest.records(archiveGroup)
		if err != nil || len(records) == 0 {
			return err
		}
		if only != nil {
			records = slices.DeleteFunc(records, func(files []ManifestFile) bool { return files[0].Tip != only.Tip })
		}
		if len(records) == 0 {
			continue
		}
		if err := r.restoreGroup(ctx, archive, reader, records); err != nil || only != nil {
			return err
		}
		r.report(ArchiveProgress{Phase: "restoring from " + archive.Name, Done: r.summary.Records, Total: archive.Records, Bytes: r.summary.Bytes})
	}
}

func (r *restoration) restoreGroup(ctx context.Context, archive storage.Archive, reader *archiveReader, records [][]ManifestFile) error {
	if !r.opts.InPlace {
		for _, files := range records {
			if _, err := r.extract(reader, files); err != nil {
				return err
			}
		}
		return nil
	}
	claims, err := r.keeper.take(ctx, tipsOf(records), "")
	if err != nil {
		return err
	}
	defer r.keeper.giveBack(ctx)
	filed, err := r.DB.FiledRecords(ctx, tipsOf(records))
	if err != nil {
		return err
	}
	for _, files := range records {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		i := slices.IndexFunc(filed, func(f storage.FiledRecord) bool { return f.Tip == files[0].Tip })
		claim, claimed := claims[files[0].Tip]
		if i < 0 || !claimed {
			r.summary.Busy++
			continue
		}
		// What came again since is newer than the archive, and on disk already.
		in := filesIn(filed[i], archive.ID, files)
		for _, f := range onDisk(filed[i]) {
			if slices.ContainsFunc(files, func(m ManifestFile) bool { return isSame(m, f) }) {
				r.summary.AlreadyThere++ // restored before
			}
		}
		files = slices.DeleteFunc(files, func(m ManifestFile) bool {
			return !slices.ContainsFunc(in, func(f storage.File) bool { return isSame(m, f) })
		})
		restored, err := r.extract(reader, files)
		if err != nil {
			return err
		}
		in = slices.DeleteFunc(in, func(f storage.File) bool { return !slices.Contains(restored, f.Path) })
		if len(in) == 0 {
			continue
		}
		if _, err := r.DB.MarkRestored(ctx, r.summary.RunID, archive.ID, []storage.Claim{claim}, in); err != nil {
			return err
		}
	}
	return nil
}

// extract writes files of one record that are not there yet, and returns the paths
// of those that are there now.
func (r *restoration) extract(reader *archiveReader, files []ManifestFile) (there []string, err error) {
	wanted := map[string]ManifestFile{}
	for _, f := range files {
		if r.done[f.Path] {
			continue // a newer archive had it
		}
		err := r.output.Verify(f.Path, f.Size, f.SHA256)
		switch {
		case err == nil:
			r.summary.AlreadyThere++
			there = append(there, f.Path)
		case errors.Is(err, ErrMissing):
			wanted[f.Path] = f
		case errors.Is(err, ErrDiffers), errors.Is(err, ErrObstacle), errors.Is(err, ErrBadName):
			r.leaveOut(f, err)
		default:
			return there, err
		}
		if r.done != nil {
			r.done[f.Path] = true
		}
	}
	if len(wanted) > 0 {
		written, err := r.extractFrame(reader, files[0].Frame, wanted)
		there = append(there, written...)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return there, err
		}
		// Every record is a frame of its own: the others may be whole.
		for _, f := range files {
			if _, missing := wanted[f.Path]; missing {
				r.leaveOut(f, err)
			}
		}
	}
	if len(there) > 0 && files[0].Tip != r.last {
		r.last = files[0].Tip
		r.summary.Records++
	}
	return there, nil
}

// extractFrame writes the wanted files of a record's frame, and takes each that is
// dealt with out of wanted.
func (r *restoration) extractFrame(reader *archiveReader, frame int64, wanted map[string]ManifestFile) (written []string, err error) {
	content, end, err := reader.stream(reader.section(frame))
	if err != nil {
		return nil, err
	}
	defer end()
	members := tar.NewReader(content)
	for len(wanted) > 0 {
		header, err := members.Next()
		if err != nil || strings.HasSuffix(header.Name, manifestExt) {
			return written, damaged("a file of its manifest", err)
		}
		f, ok := wanted[header.Name]
		if !ok {
			continue
		}
		alreadyThere, err := r.write(f, header.ModTime, members)
		if err != nil && !errors.Is(err, ErrDiffers) && !errors.Is(err, ErrObstacle) && !errors.Is(err, errOtherContent) {
			return written, err
		}
		delete(wanted, header.Name)
		if err != nil {
			r.leaveOut(f, err)
			continue
		}
		written = append(written, f.Path)
		r.summary.Files++
		r.summary.Bytes += f.Size
		if alreadyThere {
			r.summary.AlreadyThere++
		}
	}
	return written, nil
}

func (r *restoration) write(f ManifestFile, modified time.Time, content io.Reader) (alreadyThere bool, err error) {
	temp, err := r.output.Temp()
	if err != nil {
		return false, err
	}
	defer temp.Discard()
	if _, err := io.Copy(temp, content); err != nil {
		return false, damaged(f.Path, err)
	}
	if temp.Size() != f.Size || !strings.EqualFold(temp.SHA256(), f.SHA256) {
		return false, fmt.Errorf("%w: %w: SHA-256 %s instead of %s", ErrDamaged, errOtherContent, temp.SHA256(), f.SHA256)
	}
	// The day of the photograph, not of its return; that it fails does no harm.
	_ = r.output.root.Chtimes(path.Join(TempFolder, temp.name), modified, modified)
	folder := r.output.Folder(path.Dir(f.Path))
	defer folder.Close()
	if alreadyThere, err = folder.keepExactly(temp, path.Base(f.Path)); err != nil {
		return alreadyThere, err
	}
	return alreadyThere, folder.Sync()
}

func (r *restoration) leaveOut(f ManifestFile, err error) {
	r.Log.Warn("left as it is", "tip", f.Tip, "inspection_id", f.InspectionID, "path", f.Path, "error", err)
	if r.summary.LeftOutCount++; len(r.summary.LeftOut) < maxLeftOut {
		r.summary.LeftOut = append(r.summary.LeftOut, LeftOut{Tip: f.Tip, InspectionID: f.InspectionID, Path: f.Path, Reason: err.Error()})
	}
}
