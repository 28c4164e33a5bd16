package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"noggin/batch/archive/format"
	"noggin/batch/claims"
	"noggin/batch/files"
	"noggin/storage"
)

// RegisterSummary is what `archive register` did.
type RegisterSummary struct {
	RunID       int64  `json:"run_id"`
	Name        string `json:"name"`
	Path        string `json:"path"`
	State       string `json:"state"`
	Records     int    `json:"records"`
	Files       int    `json:"files"`
	FilesLinked int    `json:"files_linked"`  // that the database has in this archive from now on
	FilesOnDisk int    `json:"files_on_disk"` // still in the output folder
	NewRecords  int    `json:"new_records"`   // that the database did not know; they are pending now
	// What the database does not know and RegisterOptions.AddUnknown did not let in.
	UnknownFiles   int `json:"unknown_files"`
	UnknownRecords int `json:"unknown_records"`
	leftAlone
}

// RegisterOptions say what to register.
type RegisterOptions struct {
	File string
	// AddUnknown takes the archive's word for records and files that the database does not
	// know. Whoever may write archives can put any there.
	AddUnknown bool
}

// registration is one run of `archive register`.
type registration struct {
	*Archiver
	addUnknown bool
	output     *files.Output
	keeper     *claims.Keeper
	archive    storage.Archive
	summary    RegisterSummary
}

// Register reads an archive and stores in the database what it holds. The archive
// may have moved, may come from another installation, or may be newer than a backup
// from which the database was restored. A file that is still on disk stays recorded
// as on disk. The database's hashes decide: what it does not know is counted and left
// out, unless opts say otherwise.
func (a *Archiver) Register(ctx context.Context, opts RegisterOptions) (RegisterSummary, error) {
	r := &registration{Archiver: a, addUnknown: opts.AddUnknown, summary: RegisterSummary{leftAlone: leftAlone{LeftOut: []LeftOut{}}}}
	at, err := filepath.Abs(opts.File)
	if err != nil {
		return r.summary, fmt.Errorf("find %s: %w", opts.File, err)
	}
	name := filepath.Base(at)
	match := format.NameForm.FindStringSubmatch(name)
	if match == nil {
		return r.summary, fmt.Errorf("register %s: the name of an archive is like noggin-2024-03%s or noggin-2024-03-2%s", at, format.Ext, format.Ext)
	}
	r.archive = storage.Archive{Name: name, Path: at, Month: match[1]}
	if r.output, err = files.OpenOutput(a.Paths.Output); err != nil {
		return r.summary, err
	}
	defer files.Release(r.output)
	err = a.alone(ctx, "archive register", func(keeper *claims.Keeper) error {
		r.keeper, r.summary.RunID = keeper, keeper.Run
		return r.do(ctx)
	})
	return r.summary, err
}

func (r *registration) do(ctx context.Context) error {
	found, err := format.Verify(ctx, r.archive.Path, nil)
	if err != nil {
		return err
	}
	a := &r.archive
	found.Describe(a)
	if a.ID, err = r.DB.RegisterArchive(ctx, *a); err != nil {
		return err
	}
	r.summary.Name, r.summary.Path, r.summary.Records, r.summary.Files = a.Name, a.Path, a.Records, a.Files
	err = format.EachGroup(ctx, a.Path, func(_ *format.Reader, records [][]format.File) error { return r.linkGroup(ctx, records) })
	if err != nil {
		return err
	}
	known, err := r.DB.ArchiveByName(ctx, a.Name)
	if err != nil {
		return err
	}
	// None of its files is on disk, so there is nothing to remove.
	if known.State == storage.ArchiveKept && r.summary.FilesOnDisk == 0 && r.summary.Busy == 0 {
		known.State = storage.ArchiveDone
		err = r.DB.SetArchiveState(ctx, a.ID, known.State)
	}
	r.summary.State = known.State
	return err
}

// linkGroup stores in the database what the archive holds of a group of records.
func (r *registration) linkGroup(ctx context.Context, records [][]format.File) error {
	records, err := r.known(ctx, records)
	if err != nil || len(records) == 0 {
		return err
	}
	tips := format.Tips(records)
	claims, err := r.keeper.Take(ctx, tips, "")
	if err != nil {
		return err
	}
	defer r.keeper.GiveBack(ctx)
	filed, err := r.everyFile(ctx, tips)
	if err != nil {
		return err
	}
	if err := r.DB.AddArchiveRecords(ctx, r.archive.ID, r.matching(filed, records)); err != nil {
		return err
	}
	var held []storage.Claim
	var link, add []storage.File
	for _, listed := range records {
		tip := listed[0].Tip
		claim, claimed := claims[tip]
		if !claimed {
			r.summary.Busy++
			continue
		}
		toLink, toAdd, err := r.sort(filed[tip], listed)
		if err != nil {
			return err
		}
		if !r.addUnknown {
			r.summary.UnknownFiles += len(toAdd)
			toAdd = nil
		}
		if len(toLink)+len(toAdd) > 0 {
			held = append(held, claim)
		}
		link, add = append(link, toLink...), append(add, toAdd...)
	}
	if len(link) > 0 {
		if _, err := r.DB.MarkArchived(ctx, r.summary.RunID, r.archive.ID, held, link); err != nil {
			return err
		}
	}
	if len(add) > 0 {
		if err := r.DB.AddArchivedFiles(ctx, r.summary.RunID, r.archive.ID, held, add); err != nil {
			return err
		}
	}
	r.summary.FilesLinked += len(link) + len(add)
	return nil
}

// everyFile is filed with the files that are to be fetched again: those of an archive that
// was given up, and is there after all.
func (r *registration) everyFile(ctx context.Context, tips []string) (map[string]storage.FiledRecord, error) {
	records, err := r.DB.RecordFiles(ctx, tips)
	byTip := make(map[string]storage.FiledRecord, len(records))
	for _, record := range records {
		byTip[record.Tip] = record
	}
	return byTip, err
}

// matching returns the records of which the archive holds any file that the database
// knows. What else the archive says of a record must not keep it out of later archives.
func (r *registration) matching(filed map[string]storage.FiledRecord, records [][]format.File) (tips []string) {
	for _, listed := range records {
		if r.addUnknown || slices.ContainsFunc(filed[listed[0].Tip].Files, func(f storage.File) bool { return has(listed, f) }) {
			tips = append(tips, listed[0].Tip)
		}
	}
	return tips
}

// known returns the records that the database knows, after it let the unknown ones in or
// counted them.
func (r *registration) known(ctx context.Context, records [][]format.File) ([][]format.File, error) {
	if r.addUnknown {
		for _, listed := range records {
			n, err := r.DB.EnsureRecords(ctx, []string{listed[0].Tip}, listed[0].ObjectType, false)
			if err != nil {
				return nil, err
			}
			r.summary.NewRecords += int(n)
		}
		return records, nil
	}
	filed, err := r.filed(ctx, format.Tips(records))
	return slices.DeleteFunc(records, func(listed []format.File) bool {
		_, is := filed[listed[0].Tip]
		if !is {
			r.summary.UnknownRecords++
			r.summary.UnknownFiles += len(listed)
		}
		return !is
	}), err
}

// sort returns the files that the database must learn about. link are files that it
// expects on disk although they are not there. add are files that it does not know.
func (r *registration) sort(record storage.FiledRecord, listed []format.File) (link, add []storage.File, err error) {
	for _, m := range listed {
		file, at := storage.File{}, m.Path
		i := slices.IndexFunc(record.Files, m.Is)
		if i < 0 && m.Former == "" {
			i = slices.IndexFunc(record.Files, func(f storage.File) bool { return f.AttachmentTip == m.AttachmentTip && f.Former == "" })
		}
		if i >= 0 {
			file = record.Files[i]
			at = file.Path
		}
		if file.ArchiveID != nil {
			continue
		}
		there, err := r.isOnDisk(at)
		switch {
		case err != nil:
			return nil, nil, err
		case there:
			r.summary.FilesOnDisk++
		case i < 0, m.AttachmentTip == "" && !m.Is(file):
			add = append(add, m.Stored())
		case strings.EqualFold(file.SHA256, m.SHA256):
			link = append(link, file)
		default:
			r.summary.add(r.Log, m.Tip, m.InspectionID, because(m.Path, fmt.Errorf("%w: the database has it with SHA-256 %s", files.ErrDiffers, file.SHA256)))
		}
	}
	return link, add, nil
}

// isOnDisk reports whether anything, a file or not, has the name.
func (r *registration) isOnDisk(name string) (bool, error) {
	if files.ValidPath(name) != nil {
		return false, nil
	}
	_, err := r.output.Lstat(name)
	if errors.Is(err, files.ErrMissing) {
		return false, nil
	}
	return true, files.OwnFault(err)
}
