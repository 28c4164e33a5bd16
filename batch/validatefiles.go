package batch

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"noggin/storage"
)

const (
	// filesPage is how many records are looked at together: the memory that a check
	// of any number of files needs.
	filesPage = 500
	// filesWorkers look at folders at the same time.
	filesWorkers = 4
	// maxLost bounds the memory of records to be queued again: what is beyond it
	// is left to the next run.
	maxLost = 50_000
	// maxTemporary likewise, of temporary files to be removed.
	maxTemporary = 10_000
	// fewFiles and manyMissing tell files that got lost from a volume that is not
	// the right one: more than half of more than so many.
	fewFiles    = 20
	manyMissing = 0.5
)

// FileOptions say what of the files is compared, and how.
type FileOptions struct {
	Root  string // a copy elsewhere; "": the output folder
	Deep  bool   // read every file and compare its hash
	Part  int    // this of Parts shares, from 1; 0: all
	Parts int
}

// FilesProgress is how far a comparison of files is.
type FilesProgress struct {
	Records, Total int64
	Files, Bytes   int64 // bytes: read, with Deep
}

// fileProblem is a way in which a file is not as it should be.
type fileProblem int

const (
	fileMissing fileProblem = iota
	fileSize
	fileHash
	fileOdd
	fileUnreadable
	fileStray
	folderStray
	fileTemporary
	problems // how many there are
)

// fileFindings are the problems as they are told.
var fileFindings = [problems]Finding{
	fileMissing:    {Severity: SeverityError, Check: "missing", Message: "files are not on disk"},
	fileSize:       {Severity: SeverityError, Check: "wrong_size", Message: "files have another size than was downloaded"},
	fileHash:       {Severity: SeverityError, Check: "wrong_hash", Message: "files have another content than was downloaded"},
	fileOdd:        {Severity: SeverityError, Check: "not_regular", Message: "links, devices or the like are where files or folders should be", Remedy: "look what put them there; noggin neither follows nor replaces them"},
	fileUnreadable: {Severity: SeverityError, Check: "unreadable", Message: "files or folders cannot be read", Remedy: "see that this user may read them (ls -l), and that the volume is sound (dmesg)"},
	fileStray:      {Severity: SeverityWarning, Check: "stray", Message: "files are not known to the database", Remedy: "look at them and move them elsewhere; noggin never removes what it does not know"},
	folderStray:    {Severity: SeverityWarning, Check: "stray_folder", Message: "folders are not known to the database", Remedy: "look at them and move them elsewhere; noggin never removes what it does not know"},
	fileTemporary:  {Severity: SeverityWarning, Check: "temporary", Message: "temporary files were left by runs that died", Remedy: "noggin validate files --fix (removes them)"},
}

// fileCheck is one comparison of files with the database.
type fileCheck struct {
	*Validator
	opts FileOptions
	root *os.Root
	name string // of the folder, absolute

	found          [problems]tally
	busy           int64        // records left out: a run is at work on them
	total          int64        // records
	files, records int64        // so far; files are those that should be there
	bytes          atomic.Int64 // read so far
	lost           []storage.LostFiles
	temporary      []string
}

// Files compares the files with the database, in both directions.
func (v *Validator) Files(ctx context.Context, opts FileOptions) (*Area, error) {
	a := NewArea("files")
	c := &fileCheck{Validator: v, opts: opts}
	err := c.open(a)
	if err != nil {
		a.Reason = "the folder cannot be looked at"
		return a, nil
	}
	defer release(c.root)
	if err = v.DB.CheckSchema(ctx); err == nil {
		err = c.compare(ctx)
	}
	if err == nil {
		c.conclude(a)
		err = c.fix(ctx, a)
	}
	return a, a.Done(ctx, err)
}

// open opens the folder. Of the output folder the marker has to be there: without
// it every file would be missing.
func (c *fileCheck) open(a *Area) error {
	c.name = c.opts.Root
	if c.name == "" {
		c.name = c.Config.Paths.Output
		if !c.checkOutput(a, (*Output).Check) {
			return ErrNotMounted
		}
	}
	name, err := filepath.Abs(c.name)
	if err == nil {
		c.name = name
		c.root, err = os.OpenRoot(name)
	}
	if err != nil {
		a.Error("root", fmt.Sprintf("%s cannot be looked into: %v", c.name, cause(err)), "see that it is there, mounted and readable: ls -ld "+c.name)
	}
	return err
}

// compare goes through the records, then through the tree.
func (c *fileCheck) compare(ctx context.Context) error {
	total, err := c.DB.CountFiled(ctx)
	if err != nil {
		return err
	}
	if c.total = total; c.opts.Parts > 1 {
		c.total /= int64(c.opts.Parts)
	}
	for _, next := range []func(context.Context, string, int) ([]storage.Filed, error){c.DB.FiledAfter, c.DB.UnfiledAfter} {
		after := ""
		for {
			page, err := next(ctx, after, filesPage)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			if after = page[len(page)-1].Folder; after == "" {
				after = page[len(page)-1].Tip
			}
			if err := c.checkPage(ctx, page); err != nil {
				return err
			}
		}
	}
	return c.walk(ctx)
}

// ours tells whether a folder belongs to the share that is looked at.
func (c *fileCheck) ours(folder string) bool {
	if c.opts.Parts < 2 {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(folder)) // never fails
	return h.Sum64()%uint64(c.opts.Parts) == uint64(c.opts.Part-1)
}

// checkPage looks at the files of some records.
func (c *fileCheck) checkPage(ctx context.Context, page []storage.Filed) error {
	var tips []string
	for _, r := range page {
		key := r.Folder
		if key == "" {
			key = r.Tip
		}
		if c.ours(key) {
			tips = append(tips, r.Tip)
		}
	}
	if len(tips) == 0 {
		return nil
	}
	records, err := c.DB.RecordFiles(ctx, tips)
	if err != nil {
		return err
	}
	looks, err := c.inspectAll(ctx, records)
	if err != nil {
		return err
	}
	for _, l := range looks {
		c.files += l.expected
	}
	c.records += int64(len(looks))
	c.report()
	return c.confirm(ctx, looks)
}

// look is what a look at a record's files showed.
type look struct {
	record   storage.RecordFiles
	problems []problemFile
	expected int64 // files that should be there
}

// inspectAll compares the records' files with the disk, several records at a time.
func (c *fileCheck) inspectAll(ctx context.Context, records []storage.RecordFiles) ([]look, error) {
	looks := make([]look, len(records))
	workers, working := errgroup.WithContext(ctx)
	workers.SetLimit(filesWorkers)
	for i, r := range records {
		workers.Go(func() error {
			looks[i].record = r
			looks[i].problems, looks[i].expected = c.inspect(working, r)
			return working.Err()
		})
	}
	return looks, workers.Wait()
}

// confirm counts the problems of the records that nobody touched from before the
// look until after it, by what the database says by then; the others are looked at
// again. It asks for all of a page together: a volume may have lost every file.
func (c *fileCheck) confirm(ctx context.Context, looks []look) error {
	const tries = 3
	for range tries {
		suspect := map[string]look{}
		for _, l := range looks {
			if len(l.problems) > 0 {
				suspect[l.record.Tip] = l
			}
		}
		if len(suspect) == 0 {
			return nil
		}
		now, err := c.DB.RecordFiles(ctx, slices.Collect(maps.Keys(suspect)))
		if err != nil {
			return err
		}
		var again []storage.RecordFiles
		for _, r := range now {
			before := suspect[r.Tip]
			switch {
			case r.Claimed:
				c.busy++
			case before.record.Token == r.Token && !before.record.Claimed:
				c.note(r, before.problems)
			default:
				again = append(again, r)
			}
		}
		if looks, err = c.inspectAll(ctx, again); err != nil {
			return err
		}
	}
	for _, l := range looks {
		if len(l.problems) > 0 {
			c.busy++
		}
	}
	return nil
}

func (c *fileCheck) report() {
	if c.Progress != nil {
		c.Progress(FilesProgress{Records: c.records, Total: c.total, Files: c.files, Bytes: c.bytes.Load()})
	}
}

// note counts a record's problems, and remembers what may be fetched again.
func (c *fileCheck) note(r storage.RecordFiles, found []problemFile) {
	lost := storage.LostFiles{Tip: r.Tip, Token: r.Token, Attachments: []string{}}
	again := false
	for _, p := range found {
		c.count(p.problem, p.path)
		if p.problem > fileHash {
			continue
		}
		again = true
		if p.attachmentTip != "" {
			lost.Attachments = append(lost.Attachments, p.attachmentTip)
		}
	}
	if again && c.Fix && c.opts.Root == "" && len(c.lost) < maxLost {
		c.lost = append(c.lost, lost)
	}
}

// count counts a file that is not as it should be.
func (c *fileCheck) count(problem fileProblem, name string) {
	c.found[problem].add(name)
	if problem == fileTemporary && len(c.temporary) < maxTemporary {
		c.temporary = append(c.temporary, name)
	}
}

// conclude tells what was found.
func (c *fileCheck) conclude(a *Area) {
	c.report()
	fact := fmt.Sprintf("%s of %s compared with %s", plural(c.files, "file"), plural(c.records, "record"), c.name)
	if c.opts.Parts > 1 {
		fact += fmt.Sprintf(", part %d of %d", c.opts.Part, c.opts.Parts)
	}
	if c.opts.Deep {
		fact += ", " + bytesText(c.bytes.Load()) + " read"
	}
	a.Fact(fact)
	if c.busy > 0 {
		a.Fact(plural(c.busy, "record") + " left out: a run is at work on them")
	}
	for p := range problems {
		t := &c.found[p]
		if t.count == 0 {
			continue
		}
		f := fileFindings[p]
		f.Count, f.Examples = t.count, t.examples
		if f.Remedy == "" {
			f.Remedy = "noggin validate files --fix (fetches them again)"
			if c.opts.Root != "" {
				f.Remedy = "copy them once more from " + c.Config.Paths.Output
			}
		}
		if p == fileTemporary && c.opts.Root != "" {
			f.Remedy = "remove them"
		}
		a.Add(f)
	}
}

// fix mends what may be mended: lost files are fetched again by the next run,
// temporary ones are removed.
func (c *fileCheck) fix(ctx context.Context, a *Area) error {
	if !c.Fix || c.opts.Root != "" {
		return nil
	}
	missing, known := c.found[fileMissing].count, c.files
	if missing > fewFiles && float64(missing) > manyMissing*float64(known) {
		a.Error("unmounted", fmt.Sprintf("%d of %d files are missing: this looks like the wrong volume, or one that is not mounted; nothing was mended", missing, known),
			"mount the right volume; after a real loss copy the files back from the backup: noggin validate files --root shows what that has")
		return nil
	}
	if len(c.lost) > 0 {
		c.Log.Info("mending: records whose files were lost are put into the queue again", "records", len(c.lost))
	}
	queued := 0
	for at := 0; at < len(c.lost); at += filesPage {
		n, err := c.DB.QueueLost(ctx, c.lost[at:min(at+filesPage, len(c.lost))])
		if err != nil {
			return err
		}
		queued += n
	}
	if len(c.lost) > 0 {
		a.Fact(fmt.Sprintf("%s put into the queue again; left alone: %d (skipped, permanently failed, or touched meanwhile)", plural(int64(queued), "record"), len(c.lost)-queued))
	}
	removed, err := c.removeTemporary()
	for i := range a.Findings {
		f := &a.Findings[i]
		switch {
		case f.Check == fileFindings[fileTemporary].Check:
			f.Fixed = removed
		case queued == len(c.lost) && queued < maxLost && (f.Check == "missing" || f.Check == "wrong_size" || f.Check == "wrong_hash"):
			f.Fixed = f.Count
		}
	}
	return err
}

// removeTemporary removes old unfinished files.
func (c *fileCheck) removeTemporary() (removed int64, err error) {
	output, err := OpenOutput(c.Config.Paths.Output)
	if err != nil {
		return 0, err
	}
	defer release(output)
	if len(c.temporary) == 0 && c.found[fileTemporary].count == 0 {
		return 0, nil
	}
	c.Log.Info("mending: temporary files are removed", "files", c.found[fileTemporary].count)
	n, _, err := output.SweepTemp(tempAge, time.Now())
	for _, name := range c.temporary {
		if e := output.Remove(name); e != nil {
			err = errors.Join(err, e)
			continue
		}
		n++
	}
	return int64(n), err
}
