package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// fromCopies stands before the remedy of files that a second place may have.
const fromCopies = "`noggin copy restore` (brings them back from the second place; move damaged ones elsewhere first), else "

// conclude adds the facts and findings.
func (c *fileCheck) conclude(a *Area) {
	c.report()
	fact := fmt.Sprintf("%s of %s compared with %s", health.Plural(c.files, "file"), health.Plural(c.records, "record"), c.name)
	if c.opts.Parts > 1 {
		fact += fmt.Sprintf(", part %d of %d", c.opts.Part, c.opts.Parts)
	}
	if c.opts.Deep {
		fact += ", " + health.BytesText(c.bytes.Load()) + " read"
	}
	a.Fact(fact)
	if c.busy > 0 {
		a.Fact(health.Plural(c.busy, "record") + " left out, as a run works on them")
	}
	for p := range problems {
		t := &c.found[p]
		if t.count == 0 {
			continue
		}
		f := fileFindings[p]
		f.Count, f.Examples = t.count, t.examples
		if f.Remedy == "" {
			f.Remedy = "`noggin validate files --fix` (fetches them again)"
			if p == fileHash { // which only --deep finds
				f.Remedy = "`noggin validate files --deep --fix` (fetches them again)"
			}
			if c.copied {
				f.Remedy = fromCopies + f.Remedy
			}
			if c.opts.Root != "" {
				f.Remedy = "copy them again from " + c.Paths.Output
			}
		}
		if p == fileFormer && c.copied && c.opts.Root == "" {
			f.Remedy = fromCopies + f.Remedy
		}
		if p == fileTemporary && c.opts.Root != "" {
			f.Remedy = "remove them"
		}
		a.Add(f)
	}
}

// fix queues records with lost files again, registers archives that hold missing ones, and
// removes temporary files.
func (c *fileCheck) fix(ctx context.Context, a *Area) error {
	if !c.Fix || c.opts.Root != "" {
		return nil
	}
	missing, known := c.found[fileMissing].count, c.files
	if missing > fewFiles && float64(missing) > manyMissing*float64(known) {
		a.Error("unmounted", fmt.Sprintf("%d of %d files are missing: the volume is probably the wrong one, or not mounted; nothing was mended", missing, known),
			"mount the right volume; after a real loss `noggin copy restore` brings the files back from a second place; those of a backup copy back yourself: `noggin validate files --root DIR` compares it")
		return nil
	}
	if len(c.lost) > 0 {
		c.Log.Info("mending: queue records with lost files again", "records", len(c.lost))
	}
	lost := len(c.lost)
	queued, err := c.queueLost(ctx, c.lost)
	if err != nil {
		return err
	}
	if lost > 0 {
		a.Fact(fmt.Sprintf("%s queued again; left alone: %d (skipped, permanently failed, or changed since)", health.Plural(int64(queued), "record"), lost-queued))
	}
	registered, err := c.registerArchives(ctx, a)
	if err != nil {
		return err
	}
	removed, err := c.removeTemporary()
	for i := range a.Findings {
		f := &a.Findings[i]
		switch {
		case f.Check == fileFindings[fileTemporary].Check:
			f.Fixed = removed
		case f.Check == fileFindings[fileArchived].Check:
			f.Fixed = registered
		case queued == lost && queued < maxLost && (f.Check == "missing" || f.Check == "wrong_size" || f.Check == "wrong_hash"):
			f.Fixed = f.Count
		}
	}
	return err
}

// queueLost queues records again and returns how many.
func (c *fileCheck) queueLost(ctx context.Context, lost []storage.LostFiles) (queued int, err error) {
	for page := range slices.Chunk(lost, filesPage) {
		n, err := c.DB.QueueLost(ctx, page)
		if err != nil {
			return queued, err
		}
		queued += n
	}
	return queued, nil
}

// removeTemporary removes old temporary files.
func (c *fileCheck) removeTemporary() (removed int64, err error) {
	output, err := files.OpenOutput(c.Paths.Output)
	if err != nil {
		return 0, err
	}
	defer files.Release(output)
	if len(c.temporary) == 0 && c.found[fileTemporary].count == 0 {
		return 0, nil
	}
	c.Log.Info("mending: remove temporary files", "files", c.found[fileTemporary].count)
	n, _, err := output.SweepTemp(files.TempAge, time.Now())
	for _, name := range c.temporary {
		if e := output.Remove(name); e != nil {
			err = errors.Join(err, e)
			continue
		}
		n++
	}
	return int64(n), err
}
