package copies

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"sync"

	"noggin/batch/claims"
	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/storage"
)

// RestoreOptions say what Restore puts back, and where.
type RestoreOptions struct {
	Selector storage.Selector
	To       string // a folder; "": the output folder
	// LostArchives are the names of archives that are lost though their folder may only be
	// not mounted, or another host has seen them; [AllArchives]: of all such.
	LostArchives []string
	// AddUnknown also restores files of which the database has no row.
	AddUnknown bool
}

// RestoreSummary is what `copy restore` did.
type RestoreSummary struct {
	RunID        int64    `json:"run_id,omitempty"` // in place
	Target       string   `json:"target"`
	Folder       string   `json:"folder"`
	Records      int64    `json:"records"` // looked at
	Files        int64    `json:"files"`   // restored
	Bytes        int64    `json:"bytes"`
	Unknown      int64    `json:"unknown"` // there now, and without a row in the database
	AlreadyThere int64    `json:"already_there"`
	InArchives   int64    `json:"in_archives"` // left there: their archive is whole
	Unseen       []Unseen `json:"unseen"`      // what was left in archives that are not seen here
	Unarchived   int64    `json:"unarchived"`  // of the restored: their archive is missing or damaged, and they are in the output folder now
	Busy         int64    `json:"busy"`        // records in the hands of another run
	Problems
}

// restorePage is how many records, or files that no record has, are looked at together;
// tests lower it.
var restorePage = 64

// restorer is one run of `copy restore`.
type restorer struct {
	*Copier
	opts    RestoreOptions
	to      target
	id      int64 // of the target
	known   bool  // the database has the target
	output  *files.Output
	keeper  *claims.Keeper     // in place only
	stays   map[string]bool    // whether files stay in an archive, by its name
	unseen  map[string]*Unseen // archives that are not seen here, by name
	lost    []string           // archives that are lost, as the options say
	allLost bool
	mu      sync.Mutex
	missed  []storage.CheckedCopy // copies that are missing or damaged, of the present page
	summary RestoreSummary
}

// Restore writes files back under their own paths and compares each with the hash that
// the database has. It replaces nothing: a file that differs stays and is reported. In
// place, files whose archive is missing or damaged come back into the output folder, and
// the database is told so; files whose archive is whole stay in it, and so do those whose
// archive is not seen here, unless opts say that it is lost.
func (c *Copier) Restore(ctx context.Context, opts RestoreOptions) (RestoreSummary, error) {
	r := &restorer{Copier: c, opts: opts, stays: map[string]bool{}, unseen: map[string]*Unseen{}, summary: RestoreSummary{Target: c.Config.url(), Unseen: []Unseen{}, Problems: Problems{First: []Problem{}}}}
	if err := r.nameLost(ctx); err != nil {
		return r.summary, err
	}
	to, err := c.openThere(ctx)
	if err != nil {
		return r.summary, err
	}
	defer files.Release(to)
	r.to = to
	if r.id, r.known, err = c.DB.CopyTargetID(ctx, c.Config.url(), c.Config.endpoint()); err != nil {
		return r.summary, err
	}
	if err := r.openFolder(); err != nil {
		return r.summary, err
	}
	defer files.Release(r.output)
	r.summary.Folder = r.output.Name()
	if opts.To != "" {
		err := r.restore(ctx)
		_, tidyErr := r.output.RemoveEmpty(files.TempFolder)
		return r.summary, errors.Join(err, tidyErr)
	}
	unlock, err := c.DB.Lock(ctx, "copy restore")
	if err != nil {
		return r.summary, err
	}
	defer unlock()
	if r.summary.RunID, err = c.DB.StartRun(ctx, "copy restore", c.Version); err != nil {
		return r.summary, err
	}
	r.keeper = claims.NewKeeper(c.DB, c.Log, r.summary.RunID, c.ClaimLease)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewer sync.WaitGroup
	renewer.Go(func() { r.keeper.Keep(renewing) })
	defer renewer.Wait()
	defer stop()
	err = r.restore(ctx)
	r.listUnseen()
	return r.summary, err
}

func (r *restorer) openFolder() (err error) {
	if r.opts.To == "" {
		r.output, err = files.OpenOutput(r.Paths.Output)
		return err
	}
	r.output, err = files.MakePlain(r.opts.To, "leave --to out")
	return err
}

// restore goes through the chosen records.
func (r *restorer) restore(ctx context.Context) error {
	after := ""
	for {
		tips, err := r.DB.SelectedTips(ctx, r.opts.Selector, after, restorePage)
		if err == nil && len(tips) == 0 && r.opts.AddUnknown {
			return r.addUnknown(ctx)
		}
		if err != nil || len(tips) == 0 {
			return err
		}
		after = tips[len(tips)-1]
		if err := r.restoreRecords(ctx, tips); err != nil {
			return err
		}
		r.report(Progress{Phase: "restoring", Done: r.summary.Files, Bytes: r.summary.Bytes})
	}
}

func (r *restorer) restoreRecords(ctx context.Context, tips []string) error {
	records, err := r.DB.RecordFiles(ctx, tips)
	if err != nil {
		return err
	}
	held := map[string]storage.Claim{}
	if r.keeper != nil {
		var archived []string
		for _, record := range records {
			lacks := false // an archive; restoreRecord asks of all what was found out here
			for _, f := range record.Files {
				if f.ArchiveName == nil {
					continue
				}
				stays, err := r.staysIn(ctx, *f.ArchiveName)
				if err != nil {
					return err
				}
				lacks = lacks || !stays
			}
			if lacks {
				archived = append(archived, record.Tip)
			}
		}
		if len(archived) > 0 {
			if held, err = r.keeper.Take(ctx, archived, ""); err != nil {
				return err
			}
			defer r.keeper.GiveBack(ctx)
			if records, err = r.DB.RecordFiles(ctx, tips); err != nil { // as they are under the claims
				return err
			}
		}
	}
	r.summary.Records += int64(len(records))
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	each(r.Config.Concurrency, len(records), func(i int) {
		if working.Err() == nil {
			claim, claimed := held[records[i].Tip]
			if err := r.restoreRecord(working, records[i], claim, claimed); err != nil {
				cancel(err)
			}
		}
	})
	if working.Err() != nil {
		return context.Cause(working)
	}
	missed := r.missed
	r.missed = nil
	if len(missed) == 0 || !r.known {
		return nil
	}
	if err := r.to.Check(ctx); err != nil { // a proxy in the place of a server has no object at all
		return err
	}
	return r.DB.SaveChecked(ctx, r.id, missed)
}

// restoreRecord restores the files of one record.
func (r *restorer) restoreRecord(ctx context.Context, record storage.FiledRecord, claim storage.Claim, claimed bool) error {
	folders := map[string]*files.Folder{}
	defer func() {
		for _, folder := range folders {
			folder.Close()
		}
	}()
	back := map[int64][]storage.File{} // whose archive is not whole, by archive
	busy := false
	for _, f := range record.Files {
		if len(f.SHA256) != 64 || f.Size < 0 {
			continue // never downloaded whole
		}
		if f.ArchiveID != nil && r.keeper != nil {
			if f.ArchiveName != nil && r.stays[*f.ArchiveName] {
				r.countLeft(*f.ArchiveName)
				continue
			}
			if busy = busy || !claimed; busy {
				continue
			}
		}
		there, err := r.restoreFile(ctx, f, folders)
		if err != nil {
			return err
		}
		if there && f.ArchiveID != nil {
			back[*f.ArchiveID] = append(back[*f.ArchiveID], f)
		}
	}
	for _, folder := range folders {
		if err := folder.Sync(); err != nil {
			return err
		}
	}
	if r.keeper == nil {
		return nil
	}
	for archive, restored := range back {
		owned, err := r.DB.MarkRestored(ctx, r.summary.RunID, archive, []storage.Claim{claim}, restored)
		if err != nil {
			return err
		}
		if len(owned) == 0 { // the claim was lost meanwhile
			busy = true
			continue
		}
		r.mu.Lock()
		r.summary.Unarchived += int64(len(restored))
		r.mu.Unlock()
	}
	if busy {
		r.count(&r.summary.Busy)
	}
	return nil
}

func (r *restorer) count(n *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// miss notes that a copy is missing or damaged, as a verification would.
func (r *restorer) miss(o place.Object, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed = append(r.missed, storage.CheckedCopy{CopyKey: storage.CopyKey{Path: path, SHA256: o.SHA256}, Problem: err.Error(), Deep: true})
}

func (r *restorer) problem(path, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.add(r.Log, path, what)
}

// restoreFile restores a file that is missing. there says that it is there now. The error
// ends the run.
func (r *restorer) restoreFile(ctx context.Context, f storage.File, folders map[string]*files.Folder) (there bool, err error) {
	err = r.output.Verify(f.Path, f.Size, f.SHA256)
	switch {
	case err == nil:
		r.count(&r.summary.AlreadyThere)
		return true, nil
	case errors.Is(err, files.ErrDiffers), errors.Is(err, files.ErrObstacle), errors.Is(err, files.ErrBadName):
		r.problem(f.Path, "another file is in the way and stays: "+err.Error())
		return false, nil
	case !errors.Is(err, files.ErrMissing):
		return false, err
	}
	o := object(storage.CopyAttachment, storage.CopyKey{Path: f.Path, SHA256: strings.ToLower(f.SHA256)}, f.Size)
	content, err := r.to.Read(ctx, o)
	if errors.Is(err, files.ErrMissing) {
		r.miss(o, f.Path, err)
	}
	if errors.Is(err, files.ErrMissing) && (!f.Complete || f.ArchiveLost) {
		return false, nil // it is to be fetched again, or was given up, and need not be there
	}
	if err == nil {
		defer files.Release(content)
		dir := path.Dir(f.Path)
		if folders[dir] == nil {
			folders[dir] = r.output.Folder(dir)
		}
		if err = r.write(o, content, folders[dir], path.Base(f.Path)); errors.Is(err, place.ErrSource) && errors.Is(err, files.ErrDiffers) {
			r.miss(o, f.Path, err)
		}
	}
	switch {
	case err == nil:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.summary.Files++
		r.summary.Bytes += f.Size
		return true, nil
	case ctx.Err() != nil, files.IsDiskError(err) && !errors.Is(err, place.ErrAway), isAway(ctx, r.to, err):
		return false, err
	case errors.Is(err, files.ErrMissing):
		r.problem(f.Path, "the target has no copy of it")
	default:
		r.problem(f.Path, "its copy cannot be used: "+err.Error())
	}
	return false, nil
}

// write writes content as a new file, if it is the object's.
func (r *restorer) write(o place.Object, content io.Reader, folder *files.Folder, name string) error {
	temp, err := r.output.Temp()
	if err != nil {
		return err
	}
	defer temp.Discard()
	if err := place.CopyChecked(temp, o, content); err != nil {
		return err
	}
	_, err = folder.KeepExactly(temp, name)
	return err
}
