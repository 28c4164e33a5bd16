package batch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"noggin/storage"
)

// RegisterSummary is what `archive register` did.
type RegisterSummary struct {
	RunID        int64     `json:"run_id"`
	Name         string    `json:"name"`
	Path         string    `json:"path"`
	State        string    `json:"state"`
	Records      int       `json:"records"`
	Files        int       `json:"files"`
	FilesLinked  int       `json:"files_linked"`  // known to be in this archive from now on
	FilesOnDisk  int       `json:"files_on_disk"` // still in the output folder
	NewRecords   int       `json:"new_records"`   // the database did not know them; they are pending now
	Busy         int       `json:"busy"`
	LeftOutCount int       `json:"left_out_count"`
	LeftOut      []LeftOut `json:"left_out"`
}

// registration is one run of `archive register`.
type registration struct {
	*Archiver
	output  *Output
	keeper  *claimKeeper
	archive storage.Archive
	summary RegisterSummary
}

// Register reads an archive back and makes the database know it: one that was
// moved, that another installation wrote, or that is newer than the backup which
// the database was restored from. Files that are on disk stay known to be there.
func (a *Archiver) Register(ctx context.Context, file string) (RegisterSummary, error) {
	r := &registration{Archiver: a, summary: RegisterSummary{LeftOut: []LeftOut{}}}
	at, err := filepath.Abs(file)
	if err != nil {
		return r.summary, fmt.Errorf("find %s: %w", file, err)
	}
	name := filepath.Base(at)
	month, ok := monthOfArchive(name)
	if !ok {
		return r.summary, fmt.Errorf("register %s: an archive is called noggin-2024-03%s, or noggin-2024-03-2%s", at, ArchiveExt, ArchiveExt)
	}
	r.archive = storage.Archive{Name: name, Path: at, Month: month}
	if r.output, err = OpenOutput(a.Config.Paths.Output); err != nil {
		return r.summary, err
	}
	defer release(r.output)
	err = a.alone(ctx, "archive register", func(keeper *claimKeeper) error {
		r.keeper, r.summary.RunID = keeper, keeper.run
		return r.do(ctx)
	})
	return r.summary, err
}

func (r *registration) do(ctx context.Context) error {
	content, err := verifyArchive(ctx, r.archive.Path, nil)
	if err != nil {
		return err
	}
	a := &r.archive
	a.Records, a.Files, a.SourceBytes, a.SizeBytes = content.Records, content.Files, content.SourceBytes, content.SizeBytes
	a.SHA256, a.LastDate = content.SHA256, optional(content.LastDate)
	if a.ID, err = r.DB.RegisterArchive(ctx, *a); err != nil {
		return err
	}
	r.summary.Name, r.summary.Path, r.summary.Records, r.summary.Files = a.Name, a.Path, a.Records, a.Files
	err = r.eachGroup(ctx, a.Path, func(records [][]ManifestFile) error { return r.linkGroup(ctx, records) })
	if err != nil {
		return err
	}
	known, err := r.DB.ArchiveByName(ctx, a.Name)
	if err != nil {
		return err
	}
	// With nothing of it on disk there is nothing left to remove either.
	if known.State == storage.ArchiveKept && r.summary.FilesOnDisk == 0 && r.summary.Busy == 0 {
		known.State = storage.ArchiveDone
		err = r.DB.SetArchiveState(ctx, a.ID, known.State)
	}
	r.summary.State = known.State
	return err
}

// linkGroup makes the database know what the archive has of a group of records.
func (r *registration) linkGroup(ctx context.Context, records [][]ManifestFile) error {
	tips := tipsOf(records)
	for _, files := range records {
		n, err := r.DB.EnsureRecords(ctx, []string{files[0].Tip}, files[0].ObjectType, false)
		if err != nil {
			return err
		}
		r.summary.NewRecords += int(n)
	}
	if err := r.DB.AddArchiveRecords(ctx, r.archive.ID, tips); err != nil {
		return err
	}
	claims, err := r.keeper.take(ctx, tips, "")
	if err != nil {
		return err
	}
	defer r.keeper.giveBack(ctx)
	filed, err := r.DB.FiledRecords(ctx, tips)
	if err != nil {
		return err
	}
	byTip := make(map[string]storage.FiledRecord, len(filed))
	for _, f := range filed {
		byTip[f.Tip] = f
	}
	var held []storage.Claim
	var link, add []storage.File
	for _, files := range records {
		claim, ours := claims[files[0].Tip]
		if !ours {
			r.summary.Busy++
			continue
		}
		l, a, err := r.sort(byTip[files[0].Tip], files)
		if err != nil {
			return err
		}
		if len(l)+len(a) > 0 {
			held = append(held, claim)
		}
		link, add = append(link, l...), append(add, a...)
	}
	return r.link(ctx, held, link, add)
}

func (r *registration) link(ctx context.Context, held []storage.Claim, link, add []storage.File) error {
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

// sort tells which of a record's files the database has to learn about: those that
// it takes to be on disk where they are not, and those it never heard of.
func (r *registration) sort(known storage.FiledRecord, files []ManifestFile) (link, add []storage.File, err error) {
	for _, m := range files {
		var file *storage.File
		for i := range known.Files {
			if known.Files[i].AttachmentTip == m.AttachmentTip {
				file = &known.Files[i]
			}
		}
		if file != nil && file.ArchiveID != nil {
			continue
		}
		at := m.Path
		if file != nil {
			at = file.Path
		}
		there, err := r.isOnDisk(at)
		switch {
		case err != nil:
			return nil, nil, err
		case there:
			r.summary.FilesOnDisk++
		case file == nil, m.AttachmentTip == "" && !isSame(m, *file):
			add = append(add, fileOf(m))
		case strings.EqualFold(file.SHA256, m.SHA256):
			link = append(link, *file)
		default:
			r.leaveOut(m, fmt.Errorf("%w: the database knows another content of it, with SHA-256 %s", ErrDiffers, file.SHA256))
		}
	}
	return link, add, nil
}

// isOnDisk tells whether anything has the name; what it is, is for others to say.
func (r *registration) isOnDisk(name string) (bool, error) {
	if validPath(name) != nil {
		return false, nil
	}
	_, err := r.output.root.Lstat(name)
	err = r.output.failRead("look at", name, err)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return true, ownFault(err)
}

// fileOf is the file that a line of a manifest tells of.
func fileOf(m ManifestFile) storage.File {
	return storage.File{
		RecordTip: m.Tip, AttachmentTip: m.AttachmentTip, Sequence: m.Sequence, Field: m.Field, Path: m.Path, Size: m.Size,
		SHA256: m.SHA256, ContentType: m.ContentType, Validation: m.Validation,
	}
}

func (r *registration) leaveOut(f ManifestFile, err error) {
	r.Log.Warn("not linked", "tip", f.Tip, "inspection_id", f.InspectionID, "path", f.Path, "error", err)
	if r.summary.LeftOutCount++; len(r.summary.LeftOut) < maxLeftOut {
		r.summary.LeftOut = append(r.summary.LeftOut, LeftOut{Tip: f.Tip, InspectionID: f.InspectionID, Path: f.Path, Reason: err.Error()})
	}
}
