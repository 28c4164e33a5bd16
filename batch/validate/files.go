package validate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"noggin/batch/files"
	"noggin/storage"
)

// filesPage is the number of records that are compared at a time, which bounds the memory;
// tests lower it.
var filesPage = 500

const (
	// filesWorkers is the number of folders that are read at the same time.
	filesWorkers = 4
	// maxLost bounds the records that one run queues again. The next run does the rest.
	maxLost = 50_000
	// maxTemporary bounds the temporary files that one run removes.
	maxTemporary = 10_000
	// More than fewFiles missing files, and more than this share of all files, mean
	// that the volume is the wrong one.
	fewFiles    = 20
	manyMissing = 0.5
)

// FileOptions say which files are compared, and how.
type FileOptions struct {
	Root  string // a copy elsewhere; "": the output folder
	Deep  bool   // read every file and compare its hash
	Part  int    // the share to compare, 1 to Parts; 0: all
	Parts int
}

// FilesProgress is the progress of a comparison of files.
type FilesProgress struct {
	Records, Total int64
	Files, Bytes   int64 // Bytes are read with Deep only
}

// fileProblem is a kind of problem of a file.
type fileProblem int

const (
	fileMissing fileProblem = iota
	fileSize
	fileHash
	fileFormer
	fileArchived
	fileOdd
	fileUnreadable
	fileStray
	folderStray
	fileTemporary
	fileForeign
	problems // their number
)

// fileFindings are the findings for the problems.
var fileFindings = [problems]Finding{
	fileMissing:    {Severity: SeverityError, Check: "missing", Message: "files are not on disk"},
	fileSize:       {Severity: SeverityError, Check: "wrong_size", Message: "files have a different size than when they were downloaded"},
	fileHash:       {Severity: SeverityError, Check: "wrong_hash", Message: "files have different content than when they were downloaded"},
	fileFormer:     {Severity: SeverityError, Check: "former", Message: "files of former versions are missing or differ from when they were downloaded", Remedy: "copy them back from a backup or an archive; the platform has only the current version"},
	fileArchived:   {Severity: SeverityError, Check: "in_archive", Message: "files are not on disk, but in archives in which the database does not have them", Remedy: "`noggin validate files --fix` (registers those archives)"},
	fileOdd:        {Severity: SeverityError, Check: "not_regular", Message: "links, devices or the like stand in place of files or folders", Remedy: "find out what put them there; noggin neither follows nor replaces them"},
	fileUnreadable: {Severity: SeverityError, Check: "unreadable", Message: "files or folders cannot be read", Remedy: "check that this user may read them (ls -l) and that the volume has no errors (dmesg)"},
	fileStray:      {Severity: SeverityWarning, Check: "stray", Message: "files are not known to the database", Remedy: strayRemedy},
	folderStray:    {Severity: SeverityWarning, Check: "stray_folder", Message: "folders are not known to the database", Remedy: strayRemedy},
	fileTemporary:  {Severity: SeverityWarning, Check: "temporary", Message: "temporary files were left by runs that died", Remedy: "`noggin validate files --fix` (removes them)"},
	fileForeign:    {Severity: SeverityError, Check: "foreign_owner", Message: "files or folders belong to another user than the output folder's marker", Remedy: "chown them to its user: somebody ran noggin as another user, such as by sudo"},
}

const strayRemedy = "`noggin process --adopt --tip TIP` records those that a killed run left in the folder of a record; check the others and move them elsewhere, such as a damaged one beside the same name with -again: noggin never removes files that it does not know"

// fileCheck is one comparison of files with the database.
type fileCheck struct {
	*Validator
	opts FileOptions
	tree *files.Output // or a copy of it, without a marker
	name string        // of the folder, absolute
	// owner is that of the marker. In a copy nobody minds the owner.
	owner uint32

	found          [problems]tally
	busy           int64        // records left out, as a run works on them
	total          int64        // records
	files, records int64        // so far; files that should exist
	bytes          atomic.Int64 // read so far
	missing        []missingFile
	copied         bool              // a second place has copies
	holding        map[string]string // the archive of each missing file that is in one, by their paths
	lost           []storage.LostFiles
	lostAt         map[string]int // in lost, by tip
	temporary      []string
}

// Files compares the files with the database, in both directions.
func (v *Validator) Files(ctx context.Context, opts FileOptions) (*Area, error) {
	a := NewArea("files")
	c := &fileCheck{Validator: v, opts: opts, lostAt: map[string]int{}}
	err := c.open(a)
	if err != nil {
		a.Reason = "the folder cannot be read"
		return a, nil
	}
	defer files.Release(c.tree)
	if err = v.DB.CheckSchema(ctx); err == nil {
		err = c.compare(ctx)
	}
	if err == nil {
		c.conclude(a)
		err = c.fix(ctx, a)
	}
	return a, a.Done(ctx, err)
}

// open opens the folder. The output folder must have its marker: without its volume
// every file would be missing.
func (c *fileCheck) open(a *Area) error {
	c.name = c.opts.Root
	if c.name == "" {
		c.name = c.Paths.Output
		if !c.checkOutput(a, (*files.Output).Check) {
			return files.ErrNotMounted
		}
	}
	tree, err := files.OpenPlain(c.name)
	if err != nil {
		why := err
		if disk, ok := errors.AsType[*files.DiskError](err); ok {
			why = disk.Err
		}
		a.Error("root", fmt.Sprintf("%s cannot be read: %v", c.name, why), "check that it exists, is mounted and is readable: ls -ld "+files.ShellQuoted(c.name))
		return err
	}
	c.tree, c.name = tree, tree.Name()
	if c.opts.Root == "" {
		c.owner, err = tree.Owner(files.MarkerName)
	}
	return err
}

// compare compares the records with the disk, then the disk with the records.
func (c *fileCheck) compare(ctx context.Context) error {
	total, err := c.DB.CountFiled(ctx)
	if err != nil {
		return err
	}
	if c.copied, err = c.DB.HasCopies(ctx); err != nil {
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
	if err := c.searchArchives(ctx); err != nil {
		return err
	}
	return c.walk(ctx)
}

// ours reports whether a folder belongs to the share that is compared.
func (c *fileCheck) ours(folder string) bool {
	if c.opts.Parts < 2 {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(folder)) // never fails
	return h.Sum64()%uint64(c.opts.Parts) == uint64(c.opts.Part-1)
}

// checkPage compares the files of a page of records.
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

// look is the result of one comparison of a record's files.
type look struct {
	record   storage.FiledRecord
	problems []problemFile
	expected int64 // files that should exist
}

// inspectAll compares the records' files with the disk, several records at a time.
func (c *fileCheck) inspectAll(ctx context.Context, records []storage.FiledRecord) ([]look, error) {
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

// confirm reads the records with problems again. It counts the problems of unchanged
// records and compares changed ones again. It reads a whole page in one statement, as a
// volume may have lost every file.
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
		var again []storage.FiledRecord
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

// note counts a record's problems and keeps the files to fetch again. Missing files are
// counted once the archives were searched for them.
func (c *fileCheck) note(r storage.FiledRecord, found []problemFile) {
	for _, p := range found {
		if p.gone && c.opts.Root == "" && len(c.missing) < maxLost {
			c.missing = append(c.missing, missingFile{r.Tip, r.Token, p})
			continue
		}
		c.count(p.problem, p.path)
		if p.problem <= fileHash {
			c.lose(r.Tip, r.Token, p.attachmentTip)
		}
	}
}

// lose keeps a file to fetch again. The text report has no attachmentTip.
func (c *fileCheck) lose(tip string, token int64, attachmentTip string) {
	if !c.Fix || c.opts.Root != "" {
		return
	}
	i, known := c.lostAt[tip]
	if !known {
		if i = len(c.lost); i == maxLost {
			return
		}
		c.lost, c.lostAt[tip] = append(c.lost, storage.LostFiles{Tip: tip, Token: token, Attachments: []string{}}), i
	}
	if attachmentTip != "" {
		c.lost[i].Attachments = append(c.lost[i].Attachments, attachmentTip)
	}
}

// count counts a file with a problem.
func (c *fileCheck) count(problem fileProblem, name string) {
	c.found[problem].add(name)
	if problem == fileTemporary && len(c.temporary) < maxTemporary {
		c.temporary = append(c.temporary, name)
	}
}
