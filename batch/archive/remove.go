package archive

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"

	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/storage"
)

// removal is a record whose files the run is about to remove from the output folder.
type removal struct {
	record storage.FiledRecord
	files  []storage.File
	dir    string
	trace  uint64
}

// removeOriginals removes the archived files from the output folder. For each record
// it looks at the files again, and at their copies where they are required. It marks them
// as archived in the database, renames the folder aside and deletes it. After a kill at
// any point the next run finishes the work.
func (c *creation) removeOriginals(ctx context.Context, archive storage.Archive, traces []uint64) error {
	place := 0
	c.unfinished, c.uncopied = false, false
	err := format.EachGroup(ctx, archive.Path, func(_ *format.Reader, records [][]format.File) error {
		first := place
		place += len(records)
		var known []uint64
		if len(traces) >= place {
			known = traces[first:place]
		}
		c.report(Progress{Phase: "removing the originals of " + archive.Name, Done: place, Total: archive.Records})
		return c.removeGroup(ctx, archive, records, known)
	})
	if err != nil {
		return err
	}
	c.at("tidying")
	defer clear(c.tidy)
	return c.output.Tidy(c.tidy)
}

// removeGroup claims a group of records and removes their files. traces are their
// fingerprints, or nil.
func (c *creation) removeGroup(ctx context.Context, archive storage.Archive, records [][]format.File, traces []uint64) error {
	claims, err := c.keeper.Take(ctx, format.Tips(records), "")
	if err != nil {
		return err
	}
	defer c.keeper.GiveBack(ctx)
	filed, err := c.filed(ctx, format.Tips(records))
	if err != nil {
		return err
	}
	uncopied, err := c.uncopiedOf(ctx, filed)
	if err != nil {
		return err
	}
	var ready []removal
	var changed, waiting []string
	for i, listed := range records {
		r, known := filed[listed[0].Tip]
		in := filesIn(r, archive.ID, listed)
		if _, claimed := claims[r.Tip]; !known || !claimed {
			c.summary.Busy++
			c.unfinished = c.unfinished || len(in) > 0
			changed = append(changed, listed[0].Tip)
			continue
		}
		if len(in) > 0 { // an earlier run has begun to remove them
			if err := c.cleanUp(archive, r, in); err != nil {
				return err
			}
			continue
		}
		if uncopied[r.Tip] {
			waiting = append(waiting, r.Tip)
			continue
		}
		var trace uint64
		if traces != nil {
			trace = traces[i]
		}
		one, err := c.lookAgain(r, listed, trace)
		if err != nil {
			return err
		}
		if one == nil {
			changed = append(changed, r.Tip)
			continue
		}
		ready = append(ready, *one)
	}
	c.at("looked again")
	if archive.State == storage.ArchiveRemoving && len(changed) > 0 {
		if err := c.DB.DropArchiveRecords(ctx, archive.ID, changed); err != nil {
			return err
		}
	}
	if len(waiting) > 0 { // they stay this archive's, and no other run takes them
		c.uncopied = true
		c.summary.Uncopied += len(waiting)
		if err := c.DB.AddArchiveRecords(ctx, archive.ID, waiting); err != nil {
			return err
		}
	}
	return c.removeReady(ctx, archive, claims, ready)
}

// lookAgain returns nil when the record's files must stay. They may go when
// manifest, database and disk agree on them.
func (c *creation) lookAgain(r storage.FiledRecord, listed []format.File, trace uint64) (*removal, error) {
	known := onDisk(r)
	same := r.Status == storage.StatusComplete && len(known) == len(listed)
	for _, f := range known {
		same = same && has(listed, f)
	}
	if !same {
		c.leaveOut(r, []LeftOut{{Path: r.Folder, Reason: "the record changed after it was archived; the next archive takes it"}})
		return nil, nil
	}
	dir, wrong, err := inspect(c.output, known)
	if err != nil {
		return nil, err
	}
	if len(wrong) == 0 {
		trace, wrong, err = recheck(c.output, known, c.seed, trace)
	}
	if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		c.leaveOut(r, wrong)
		return nil, nil
	}
	return &removal{record: r, files: known, dir: dir, trace: trace}, nil
}

// removeReady marks the records as archived in the database and then removes their
// files.
func (c *creation) removeReady(ctx context.Context, archive storage.Archive, claims map[string]storage.Claim, ready []removal) error {
	if len(ready) == 0 {
		return nil
	}
	held := make([]storage.Claim, 0, len(ready))
	var files []storage.File
	for _, one := range ready {
		held = append(held, claims[one.record.Tip])
		files = append(files, one.files...)
	}
	owned, err := c.DB.MarkArchived(ctx, c.summary.RunID, archive.ID, held, files)
	if err != nil {
		return err
	}
	c.at("marked")
	for _, one := range ready {
		if !slices.Contains(owned, one.record.Tip) {
			c.summary.Busy++
			continue
		}
		removed, err := c.removeRecord(archive, one)
		if err != nil {
			return err
		}
		if !removed {
			claim := []storage.Claim{claims[one.record.Tip]}
			if _, err := c.DB.MarkRestored(ctx, c.summary.RunID, archive.ID, claim, one.files); err != nil {
				return err
			}
			continue
		}
		c.countRemoved(one.files)
		c.at("record removed")
	}
	return nil
}

func (c *creation) countRemoved(removed []storage.File) {
	c.summary.RecordsRemoved++
	for _, f := range removed {
		c.summary.FilesRemoved++
		c.summary.BytesRemoved += f.Size
	}
}

// asideName returns the name of a record's folder while it is removed.
func asideName(archive storage.Archive, tip string) string {
	return strconv.FormatInt(archive.ID, 10) + "-" + tip
}

// removeRecord renames the record's folder aside, where no other program looks,
// checks it once more, and deletes it. A folder that has changed is put back.
func (c *creation) removeRecord(archive storage.Archive, one removal) (removed bool, err error) {
	c.tidy[one.dir] = true
	as := asideName(archive, one.record.Tip)
	if err := c.output.SetAside(one.dir, as); err != nil {
		c.leaveOut(one.record, because(one.dir, err))
		return false, files.OwnFault(err)
	}
	c.at("aside")
	names := make([]string, len(one.files))
	aside := slices.Clone(one.files)
	for i, f := range one.files {
		names[i] = path.Base(f.Path)
		aside[i].Path = path.Join(files.RemovingFolder, as, names[i])
	}
	entries, err := c.output.AsideEntries(as)
	var wrong []LeftOut
	if err == nil {
		wrong = compareFolder(one.dir, one.files, entries)
	}
	if err == nil && len(wrong) == 0 {
		var trace uint64
		if trace, err = fingerprintOf(c.output, aside, c.seed); err == nil && trace != one.trace {
			wrong = []LeftOut{{Path: one.dir, Reason: "it changed just before it was removed"}}
		}
	}
	if err != nil || len(wrong) > 0 {
		c.leaveOut(one.record, wrong)
		return false, errors.Join(err, c.output.PutBack(as, one.dir))
	}
	c.at("aside and the same")
	emptied, err := c.output.RemoveAside(as, names)
	if err == nil && !emptied {
		err = fmt.Errorf("remove %s: %w: a file was added just before it was removed", path.Join(files.RemovingFolder, as), files.ErrObstacle)
	}
	return true, err
}

// cleanUp finishes the removal that a killed run has begun. The folder is aside, or
// still in its place. Only files with the archived content are removed.
func (c *creation) cleanUp(archive storage.Archive, r storage.FiledRecord, in []storage.File) error {
	dir := path.Dir(in[0].Path)
	c.tidy[dir] = true
	as := asideName(archive, r.Tip)
	var gone []storage.File
	var names []string
	for _, f := range in {
		name := path.Base(f.Path)
		if c.output.VerifyAside(as, name, f.Size, f.SHA256) == nil {
			names = append(names, name)
			gone = append(gone, f)
		}
	}
	emptied, err := c.output.RemoveAside(as, names)
	if err != nil {
		return err
	}
	if !emptied {
		err := c.output.PutBack(as, dir)
		c.leaveOut(r, []LeftOut{{Path: dir, Reason: "it was put back, as it holds a file that is not in the archive"}})
		if err != nil {
			c.leaveOut(r, because(path.Join(files.RemovingFolder, as), err))
		}
	}
	for _, f := range in {
		err := c.output.Verify(f.Path, f.Size, f.SHA256)
		if err == nil {
			err = c.output.Remove(f.Path)
			gone = append(gone, f)
		}
		if err != nil && !errors.Is(err, files.ErrMissing) {
			c.leaveOut(r, because(f.Path, err))
			if own := files.OwnFault(err); own != nil {
				return own
			}
		}
	}
	if len(gone) > 0 {
		c.countRemoved(gone)
	}
	if _, err := c.output.RemoveEmpty(dir); err != nil {
		return err
	}
	c.at("cleaned up")
	return nil
}
