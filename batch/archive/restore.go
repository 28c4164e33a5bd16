package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"noggin/batch/archive/format"
	"noggin/batch/archive/watch"
	"noggin/batch/claims"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/batch/queue"
	"noggin/storage"
)

// ErrUnknown says that neither an archive nor a record has the name.
var ErrUnknown = errors.New("neither an archive nor a record is known under this name")

// ErrNotArchived says that no archive holds files of the record.
var ErrNotArchived = errors.New("the record is in no archive")

// errOtherContent says that one file of an archive is wrong. The others may be right.
var errOtherContent = errors.New("the archived content has changed")

// RestoreOptions say what Restore restores, and to which folder.
type RestoreOptions struct {
	Target  string // a tip, an inspection id, or the name of an archive
	To      string // the folder, created when it is missing; unused in place
	InPlace bool   // restore to the output folder and update the database
}

// RestoreSummary is what `archive restore` did.
type RestoreSummary struct {
	RunID        int64    `json:"run_id,omitempty"` // in place
	Folder       string   `json:"folder"`
	Archives     []string `json:"archives"`
	Records      int      `json:"records"`
	Files        int      `json:"files"`
	Bytes        int64    `json:"bytes"`
	AlreadyThere int      `json:"already_there"` // files that were there with the same content
	NotHeld      int      `json:"not_held"`      // files that the database has in the archives, and these do not hold
	leftAlone
}

// restoration is one run of `archive restore`.
type restoration struct {
	*Archiver
	opts   RestoreOptions
	output *files.Output
	keeper *claims.Keeper  // in place only
	done   map[string]bool // paths that a newer archive had; nil unless several archives are read
	last   string          // tip of the last counted record
	// recordBytes is the size of the current record's files, as the database has it.
	recordBytes int64
	seen        map[string]bool // tips of the current archive
	held        int             // files of the current archive that the database has in it
	summary     RestoreSummary
}

// Restore writes archived files back and compares each with the hash that the database
// has: an archive may come from a volume that others write to, so what it says of itself
// decides nothing. It overwrites
// nothing: a file that differs from the archived one stays and is reported. In place
// it also tells the database that the files are in the output folder.
func (a *Archiver) Restore(ctx context.Context, opts RestoreOptions) (RestoreSummary, error) {
	r := &restoration{Archiver: a, opts: opts, summary: RestoreSummary{Archives: []string{}, leftAlone: leftAlone{LeftOut: []LeftOut{}}}}
	if err := r.openFolder(); err != nil {
		return r.summary, err
	}
	defer files.Release(r.output)
	r.summary.Folder = r.output.Name()
	if !opts.InPlace {
		err := r.do(ctx)
		_, tidyErr := r.output.RemoveEmpty(files.TempFolder)
		return r.summary, errors.Join(err, tidyErr)
	}
	err := a.alone(ctx, "archive restore", func(keeper *claims.Keeper) error {
		r.keeper, r.summary.RunID = keeper, keeper.Run
		return r.do(ctx)
	})
	return r.summary, err
}

func (r *restoration) openFolder() (err error) {
	if r.opts.InPlace {
		r.output, err = files.OpenOutput(r.Paths.Output)
		return err
	}
	r.output, err = files.MakePlain(r.opts.To, "use --in-place, which also updates the database")
	return err
}

// do finds the archive or record of the target and restores it.
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
	if rest := slices.DeleteFunc(slices.Clone(archives), func(v storage.Archive) bool { return v.LostAt != nil }); len(rest) > 0 {
		archives = rest // else the first says why it cannot be read
	}
	for _, archive := range archives { // the newest first, as it has the latest report
		if err := r.restoreFrom(ctx, archive, record); err != nil {
			return err
		}
	}
	return nil
}

// Forget removes an archive from the database. Every file of it must have been
// restored. The archive's own file stays.
func (a *Archiver) Forget(ctx context.Context, name string) (run int64, err error) {
	err = a.alone(ctx, "archive forget", func(keeper *claims.Keeper) error {
		run = keeper.Run
		archive, err := a.archiveNamed(ctx, name)
		if err != nil {
			return err
		}
		held, err := a.DB.ForgetArchive(ctx, archive.ID)
		if err == nil && held > 0 {
			next := "run `noggin archive restore " + archive.Name + " --in-place` first"
			switch at, missing := a.findFile(archive); {
			case errors.Is(missing, files.ErrMissing):
				next = "`noggin copy restore --lost-archive " + archive.Name + "` brings back what has a copy; if nothing has: `noggin archive forget " + archive.Name + " --lost --reason TEXT`"
			case archive.Problem != nil:
				next += ", then `noggin copy restore`: it is damaged. What neither brings back is lost: move " + at + " elsewhere, and then `noggin archive forget " + archive.Name + " --lost --reason TEXT`"
			}
			err = fmt.Errorf("forget %s: %s only in this archive: %s", archive.Name, health.Plural(int64(held), "file is|files are"), next)
		}
		return err
	})
	return run, err
}

// Find returns the archive with the name or, if there is none, the record with the
// tip or inspection id. Errors: [queue.ErrAmbiguous], [ErrUnknown] when there is neither,
// [ErrNotArchived] when no archive holds the record.
func (a *Archiver) Find(ctx context.Context, given string) (*storage.Archive, *storage.FiledRecord, error) {
	archive, err := a.archiveNamed(ctx, given)
	if err == nil {
		return &archive, nil, nil
	}
	if !errors.Is(err, storage.ErrNoArchive) {
		return nil, nil, err
	}
	tip, err := queue.FindRecord(ctx, a.DB, given)
	if err != nil {
		return nil, nil, err
	}
	if tip == "" {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknown, given)
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

// archiveNamed accepts the name of an archive with or without its ending, and a path.
func (a *Archiver) archiveNamed(ctx context.Context, given string) (storage.Archive, error) {
	return a.DB.ArchiveByName(ctx, FullName(given))
}

// FullName is the name of the archive that a person names, perhaps by its path or without
// its extension.
func FullName(given string) string {
	return strings.TrimSuffix(filepath.Base(given), format.Ext) + format.Ext
}

// findFile returns the path of the archive: the one in the database or, if it is not
// there, the one in [paths] archive.
func (a *Archiver) findFile(archive storage.Archive) (string, error) {
	for _, at := range watch.Places(archive, a.Paths.Archive) {
		if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() {
			return at, nil
		}
	}
	if archive.LostAt != nil {
		return "", fmt.Errorf("open %s: %w: it was lost: %s", archive.Path, files.ErrMissing, storage.ValueOf(archive.LostReason))
	}
	return "", fmt.Errorf("open %s: %w: mount its volume, or run `noggin archive register FILE` with its new path", archive.Path, files.ErrMissing)
}

// restoreFrom restores the record's files from the archive, or all files when only
// is nil.
func (r *restoration) restoreFrom(ctx context.Context, archive storage.Archive, only *storage.FiledRecord) error {
	at, err := r.findFile(archive)
	if err != nil {
		return err
	}
	expected, err := r.expected(ctx, archive, only)
	if err != nil {
		return err
	}
	r.held, r.seen = 0, map[string]bool{}
	err = format.EachGroup(ctx, at, func(reader *format.Reader, records [][]format.File) error {
		if !slices.Contains(r.summary.Archives, archive.Name) {
			r.summary.Archives = append(r.summary.Archives, archive.Name)
		}
		if only != nil {
			records = slices.DeleteFunc(records, func(listed []format.File) bool { return listed[0].Tip != only.Tip })
		}
		if len(records) == 0 {
			return nil
		}
		if err := r.restoreGroup(ctx, archive, reader, records); err != nil {
			return err
		}
		if only != nil {
			return fs.SkipAll
		}
		r.report(Progress{Phase: "restoring from " + archive.Name, Done: r.summary.Records, Total: archive.Records, Bytes: r.summary.Bytes})
		return nil
	})
	if err == nil && r.held < expected {
		r.summary.NotHeld += expected - r.held
		r.Log.Warn("the archive does not hold all files that the database has in it", "archive", archive.Name, "files", expected, "held", r.held)
	}
	return err
}

func (r *restoration) restoreGroup(ctx context.Context, archive storage.Archive, reader *format.Reader, records [][]format.File) error {
	if !r.opts.InPlace {
		filed, err := r.filed(ctx, format.Tips(records))
		if err != nil {
			return err
		}
		for _, listed := range records {
			record := filed[listed[0].Tip]
			r.look(archive, record, listed)
			if _, err := r.extract(reader, r.known(record, listed)); err != nil {
				return err
			}
		}
		return nil
	}
	claims, err := r.keeper.Take(ctx, format.Tips(records), "")
	if err != nil {
		return err
	}
	defer r.keeper.GiveBack(ctx)
	filed, err := r.filed(ctx, format.Tips(records))
	if err != nil {
		return err
	}
	for _, listed := range records {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		record, known := filed[listed[0].Tip]
		r.look(archive, record, listed)
		claim, claimed := claims[listed[0].Tip]
		if !known || !claimed {
			r.summary.Busy++
			continue
		}
		for _, f := range onDisk(record) {
			if has(listed, f) {
				r.summary.AlreadyThere++ // restored before
			}
		}
		// A file that was downloaded again is on disk, and newer than the archive.
		in := filesIn(record, archive.ID, listed)
		listed = slices.DeleteFunc(listed, func(m format.File) bool { return !slices.ContainsFunc(in, m.Is) })
		for i := range listed {
			listed[i].Target = in[slices.IndexFunc(in, listed[i].Is)].Path
		}
		restored, err := r.extract(reader, listed)
		if err != nil {
			return err
		}
		in = slices.DeleteFunc(in, func(f storage.File) bool { return !slices.Contains(restored, f.Path) })
		if len(in) == 0 {
			continue
		}
		owned, err := r.DB.MarkRestored(ctx, r.summary.RunID, archive.ID, []storage.Claim{claim}, in)
		if err != nil {
			return err
		}
		if len(owned) == 0 { // the claim was lost meanwhile
			r.summary.Busy++
		}
	}
	return nil
}

// extract writes the missing files of one record. It returns the paths of the files
// that are there now.
func (r *restoration) extract(reader *format.Reader, found []format.File) (there []string, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	wanted := map[string]format.File{}
	for _, f := range found {
		if r.done[f.Path] {
			continue // a newer archive had it
		}
		err := r.output.Verify(f.Place(), f.Size, f.SHA256)
		if err == nil {
			err = r.flush(f.Place())
		}
		switch {
		case err == nil:
			r.summary.AlreadyThere++
			there = append(there, f.Place())
		case errors.Is(err, files.ErrMissing):
			wanted[f.Path] = f
		case errors.Is(err, files.ErrDiffers), errors.Is(err, files.ErrObstacle), errors.Is(err, files.ErrBadName):
			r.leaveOut(f, err)
		default:
			return there, err
		}
		if r.done != nil {
			r.done[f.Path] = true
		}
	}
	if len(wanted) > 0 {
		written, err := r.extractFrame(reader, found[0].Frame, wanted)
		there = append(there, written...)
		if err != nil && !errors.Is(err, format.ErrDamaged) {
			return there, err
		}
		// Each record has its own frame: the frames of the others may be whole.
		for _, f := range found {
			if _, missing := wanted[f.Path]; missing {
				r.leaveOut(f, err)
			}
		}
	}
	if len(there) > 0 && found[0].Tip != r.last {
		r.last = found[0].Tip
		r.summary.Records++
	}
	return there, nil
}

// flush flushes a file that is there already, and its name, to disk. The run that
// wrote it may have been killed before it did so.
func (r *restoration) flush(name string) error {
	f, _, err := r.output.Open(name)
	if err != nil {
		return err
	}
	defer files.Release(f)
	folder := r.output.Folder(path.Dir(name))
	defer folder.Close()
	return errors.Join(r.output.FlushFile(name, f), folder.Touch(), folder.Sync())
}

func (r *restoration) leaveOut(f format.File, err error) {
	r.summary.add(r.Log, f.Tip, f.InspectionID, because(f.Path, err))
}
