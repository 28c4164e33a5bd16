package batch

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"

	"noggin/storage"
)

// removal is a record whose files are about to leave the output folder.
type removal struct {
	record storage.FiledRecord
	files  []storage.File
	dir    string
	trace  uint64
}

// removeOriginals removes what the archive holds from the output folder, record by
// record: first the sources are looked at again, then the database is told that
// the archive has them from now on, then the folder is renamed aside and deleted.
// A run that is killed on the way leaves nothing that the next one cannot finish.
func (c *creation) removeOriginals(ctx context.Context, archive storage.Archive, traces []uint64) error {
	place := 0
	c.unfinished = false
	err := c.eachGroup(ctx, archive.Path, func(records [][]ManifestFile) error {
		first := place
		place += len(records)
		var known []uint64
		if len(traces) >= place {
			known = traces[first:place]
		}
		c.report(ArchiveProgress{Phase: "removing what is in " + archive.Name, Done: place, Total: archive.Records})
		return c.removeGroup(ctx, archive, records, known)
	})
	if err != nil {
		return err
	}
	c.at("tidying")
	defer clear(c.tidy)
	return c.output.tidy(c.tidy)
}

func (c *creation) removeGroup(ctx context.Context, archive storage.Archive, records [][]ManifestFile, traces []uint64) error {
	claims, err := c.keeper.take(ctx, tipsOf(records), "")
	if err != nil {
		return err
	}
	defer c.keeper.giveBack(ctx)
	filed, err := c.DB.FiledRecords(ctx, tipsOf(records))
	if err != nil {
		return err
	}
	byTip := make(map[string]storage.FiledRecord, len(filed))
	for _, r := range filed {
		byTip[r.Tip] = r
	}
	var ready []removal
	var changed []string
	for i, files := range records {
		r, ours := byTip[files[0].Tip]
		if _, claimed := claims[r.Tip]; !ours || !claimed {
			c.summary.Busy++
			c.unfinished = c.unfinished || len(filesIn(r, archive.ID, files)) > 0
			changed = append(changed, files[0].Tip)
			continue
		}
		if in := filesIn(r, archive.ID, files); len(in) > 0 {
			if err := c.cleanUp(archive, r, in); err != nil {
				return err
			}
			continue
		}
		var trace uint64
		if traces != nil {
			trace = traces[i]
		}
		one, err := c.lookAgain(r, files, trace)
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
	return c.removeReady(ctx, archive, claims, ready)
}

// filesIn are those of the manifest's files of which the database says already
// that they are in the archive: an earlier run had begun to remove them.
func filesIn(r storage.FiledRecord, archive int64, files []ManifestFile) (in []storage.File) {
	for _, f := range r.Files {
		if f.ArchiveID != nil && *f.ArchiveID == archive && slices.ContainsFunc(files, func(m ManifestFile) bool { return isSame(m, f) }) {
			in = append(in, f)
		}
	}
	return in
}

func isSame(m ManifestFile, f storage.File) bool {
	return m.AttachmentTip == f.AttachmentTip && m.Path == f.Path && m.Size == f.Size && m.SHA256 == f.SHA256
}

// lookAgain decides whether the record's files may go: the database has to know
// just what the archive holds, and on disk it has to be the same. nil says no.
func (c *creation) lookAgain(r storage.FiledRecord, files []ManifestFile, trace uint64) (*removal, error) {
	known := onDisk(r)
	same := r.Status == "complete" && len(known) == len(files)
	for _, f := range known {
		same = same && slices.ContainsFunc(files, func(m ManifestFile) bool { return isSame(m, f) })
	}
	if !same {
		c.leaveOut(r, []LeftOut{{Path: r.Folder, Reason: "the record changed since it was written to the archive; the next one takes it"}})
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

// removeReady tells the database, then removes.
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

func (c *creation) countRemoved(files []storage.File) {
	c.summary.RecordsRemoved++
	for _, f := range files {
		c.summary.FilesRemoved++
		c.summary.BytesRemoved += f.Size
	}
}

// asideName is what a record's folder is called while it is removed.
func asideName(archive storage.Archive, tip string) string {
	return strconv.FormatInt(archive.ID, 10) + "-" + tip
}

// removeRecord renames the record's folder aside, where nobody else comes by, looks
// once more, and deletes it. What turns out to have changed is put back.
func (c *creation) removeRecord(archive storage.Archive, one removal) (removed bool, err error) {
	c.tidy[one.dir] = true
	as := asideName(archive, one.record.Tip)
	if err := c.output.setAside(one.dir, as); err != nil {
		c.leaveOut(one.record, notAsKnown(one.dir, err))
		return false, ownFault(err)
	}
	c.at("aside")
	names := make([]string, len(one.files))
	aside := slices.Clone(one.files)
	for i, f := range one.files {
		names[i] = path.Base(f.Path)
		aside[i].Path = path.Join(RemovingFolder, as, names[i])
	}
	entries, err := c.output.asideEntries(as)
	var wrong []LeftOut
	if err == nil {
		wrong = compareFolder(one.dir, one.files, entries)
	}
	if err == nil && len(wrong) == 0 {
		var trace uint64
		if trace, err = fingerprintOf(c.output, aside, c.seed); err == nil && trace != one.trace {
			wrong = []LeftOut{{Path: one.dir, Reason: "it changed at the last moment"}}
		}
	}
	if err != nil || len(wrong) > 0 {
		c.leaveOut(one.record, wrong)
		return false, errors.Join(err, c.output.putBack(as, one.dir))
	}
	c.at("aside and the same")
	emptied, err := c.output.removeAside(as, names)
	if err == nil && !emptied {
		err = fmt.Errorf("remove %s: %w: something came into it at the last moment", path.Join(RemovingFolder, as), ErrObstacle)
	}
	return true, err
}

// cleanUp removes what a killed run left of a record that the database has in the
// archive already: its folder aside, or still in its place. Only what is the same
// as in the archive goes.
func (c *creation) cleanUp(archive storage.Archive, r storage.FiledRecord, in []storage.File) error {
	dir := path.Dir(in[0].Path)
	c.tidy[dir] = true
	as := asideName(archive, r.Tip)
	var gone []storage.File
	var names []string
	for _, f := range in {
		name := path.Base(f.Path)
		if c.output.verifyAside(as, name, f.Size, f.SHA256) == nil {
			names = append(names, name)
			gone = append(gone, f)
		}
	}
	emptied, err := c.output.removeAside(as, names)
	if err != nil {
		return err
	}
	if !emptied {
		err := c.output.putBack(as, dir)
		c.leaveOut(r, []LeftOut{{Path: dir, Reason: "something in it is not in the archive; it was put back"}})
		if err != nil {
			c.leaveOut(r, notAsKnown(path.Join(RemovingFolder, as), err))
		}
	}
	for _, f := range in {
		err := c.output.Verify(f.Path, f.Size, f.SHA256)
		if err == nil {
			err = c.output.Remove(f.Path)
			gone = append(gone, f)
		}
		if err != nil && !errors.Is(err, ErrMissing) {
			c.leaveOut(r, notAsKnown(f.Path, err))
			if own := ownFault(err); own != nil {
				return own
			}
		}
	}
	if len(gone) > 0 {
		c.countRemoved(gone)
	}
	if _, err := c.output.removeEmpty(dir); err != nil {
		return err
	}
	c.at("cleaned up")
	return nil
}
