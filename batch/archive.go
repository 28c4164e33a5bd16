package batch

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"noggin/storage"
)

const (
	// archiveGroup is how many records are claimed together.
	archiveGroup = 64
	// maxLeftOut is how many findings a summary lists; all are counted.
	maxLeftOut = 200
)

// ErrSameVolume says that an archive folder is on the output folder's own volume,
// so that archiving frees nothing.
var ErrSameVolume = errors.New("the archive folder is on the same volume as the output folder: photographs do not shrink, nothing would be gained")

// Archiver moves the files of old records out of the output folder into archives,
// and back.
type Archiver struct {
	DB       *storage.DB
	Config   Config
	Log      *slog.Logger
	Progress func(ArchiveProgress) // nil is harmless
	Version  string                // of the program, for the record of runs

	// step is called between any two steps that a killed run may have taken one
	// of. nil is harmless; tests die here.
	step func(name string)
}

// ArchiveProgress is how far an archive has come.
type ArchiveProgress struct {
	Phase       string // "writing noggin-2024-03.tar.zst"
	Done, Total int    // records, but files for Verify; Total is 0 when unknown
	Bytes       int64
}

// ArchiveOptions say what `archive create` takes and what becomes of it.
type ArchiveOptions struct {
	Before     string  // only inspections before this day: 2024-11-24
	ObjectType string  // code; "": every form
	UntilFree  float64 // stop when so many percent of the output volume are free; 0: take all
	To         string  // the folder; "": [paths] archive
	Keep       bool    // remove nothing
	DryRun     bool
}

// CreatedArchive is an archive that a run wrote or carried on with.
type CreatedArchive struct {
	Name        string `json:"name"`
	Path        string `json:"path"`
	Month       string `json:"month"`
	State       string `json:"state"`
	Records     int    `json:"records"`
	Files       int    `json:"files"`
	SourceBytes int64  `json:"source_bytes"`
	SizeBytes   int64  `json:"size_bytes"`
	SHA256      string `json:"sha256"`
	Resumed     bool   `json:"resumed"` // an earlier run had begun it
}

// ArchiveSummary is what `archive create` did; its JSON form is documented with
// the command.
type ArchiveSummary struct {
	RunID          int64            `json:"run_id"`
	DryRun         bool             `json:"dry_run"`
	Before         string           `json:"before"`
	Archives       []CreatedArchive `json:"archives"`
	RecordsRemoved int              `json:"records_removed"` // from the output folder
	FilesRemoved   int              `json:"files_removed"`
	BytesRemoved   int64            `json:"bytes_removed"`
	Busy           int              `json:"busy"` // in the hands of another run; a later run takes them
	LeftOutCount   int              `json:"left_out_count"`
	LeftOut        []LeftOut        `json:"left_out"` // the first of them
	Problems       []string         `json:"problems"` // with archives that earlier runs left unfinished
	FreePercent    float64          `json:"free_percent"`
	FreeReached    *bool            `json:"free_reached,omitempty"` // with --until-free
}

// creation is one run of `archive create`.
type creation struct {
	*Archiver
	opts   ArchiveOptions
	dir    string // absolute
	output *Output
	keeper *claimKeeper
	seed   maphash.Seed // of the fingerprints
	tidy   map[string]bool
	// unfinished says that something of the archive in hand is still on disk that
	// the database has in the archive already.
	unfinished bool
	summary    ArchiveSummary
}

// Create archives records that are old enough, month by month, after it has
// finished or cleaned up what earlier runs left. The summary is right also when an
// error ends the run early: [storage.ErrLocked], [ErrSameVolume], a [DiskError], or
// the cause of ctx. Nothing is removed that was not read back from its archive.
func (a *Archiver) Create(ctx context.Context, opts ArchiveOptions) (ArchiveSummary, error) {
	c := &creation{
		Archiver: a, opts: opts, seed: maphash.MakeSeed(), tidy: map[string]bool{},
		summary: ArchiveSummary{
			DryRun: opts.DryRun, Before: opts.Before,
			Archives: []CreatedArchive{}, LeftOut: []LeftOut{}, Problems: []string{},
		},
	}
	output, err := OpenOutput(a.Config.Paths.Output)
	if err != nil {
		return c.summary, err
	}
	defer release(output)
	c.output = output
	if err := c.openFolder(); err != nil {
		return c.summary, err
	}
	if opts.DryRun {
		err = c.rehearse(ctx)
		c.measureFree()
		return c.summary, err
	}
	err = a.alone(ctx, "archive create", func(keeper *claimKeeper) error {
		c.keeper, c.summary.RunID = keeper, keeper.run
		return c.do(ctx)
	})
	c.measureFree()
	return c.summary, err
}

// alone does the work of a command as a run of its own under the maintenance lock.
// The claims that it takes are renewed as long as it is at work.
func (a *Archiver) alone(ctx context.Context, command string, do func(*claimKeeper) error) error {
	unlock, err := a.DB.Lock(ctx, command)
	if err != nil {
		return err
	}
	defer unlock()
	run, err := a.DB.StartRun(ctx, command, a.Version)
	if err != nil {
		return err
	}
	k := &claimKeeper{db: a.DB, log: a.Log, run: run, lease: a.Config.Processing.ClaimLease}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewer sync.WaitGroup
	renewer.Go(func() { k.keep(renewing) })
	defer renewer.Wait()
	defer stop()
	return do(k)
}

// openFolder finds the archive folder. [paths] archive is created; what --to names
// has to be there: it may be a backup volume that is not mounted.
func (c *creation) openFolder() error {
	given := c.opts.To
	if given == "" {
		given = c.Config.Paths.Archive
	}
	dir, err := filepath.Abs(given)
	if err != nil {
		return fmt.Errorf("find the archive folder %s: %w", given, err)
	}
	c.dir = dir
	if c.opts.To == "" && !c.opts.DryRun {
		if err := makeFolders(dir); err != nil {
			return diskError("create archive folder", dir, err)
		}
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil && c.opts.DryRun && c.opts.To == "":
		return nil
	case err != nil:
		return diskError("open archive folder", dir, err)
	case !info.IsDir():
		return fmt.Errorf("open archive folder %s: it is no folder", dir)
	case c.opts.UntilFree == 0:
		return nil
	}
	if same, err := sameVolume(dir, c.output.Name()); err != nil || same {
		return errors.Join(fmt.Errorf("%s: %w", dir, ErrSameVolume), err)
	}
	return nil
}

func (c *creation) do(ctx context.Context) error {
	c.at("begin")
	if err := c.resume(ctx); err != nil {
		return err
	}
	months, err := c.DB.ArchiveMonths(ctx, c.filter())
	if err != nil {
		return err
	}
	for _, month := range months {
		enough, err := c.enoughFree()
		if err != nil || enough {
			return err
		}
		if err := c.archiveMonth(ctx, month); err != nil {
			return err
		}
	}
	_, err = c.enoughFree()
	return err
}

func (c *creation) filter() storage.ArchiveFilter {
	return storage.ArchiveFilter{Before: c.opts.Before, ObjectType: c.opts.ObjectType}
}

// enoughFree tells whether --until-free has what it wants.
func (c *creation) enoughFree() (bool, error) {
	if c.opts.UntilFree == 0 {
		return false, nil
	}
	free, total, err := c.output.Free()
	if err != nil {
		return false, err
	}
	enough := float64(free) >= c.opts.UntilFree/100*float64(total)
	c.summary.FreeReached = &enough
	return enough, nil
}

func (c *creation) measureFree() {
	if free, total, err := c.output.Free(); err == nil && total > 0 {
		c.summary.FreePercent = float64(free) / float64(total) * 100
	}
}

// at tells the tests where the run has come to.
func (a *Archiver) at(step string) {
	if a.step != nil {
		a.step(step)
	}
}

func (a *Archiver) report(p ArchiveProgress) {
	if a.Progress != nil {
		a.Progress(p)
	}
}

// leaveOut notes what keeps a record from being archived.
func (c *creation) leaveOut(r storage.FiledRecord, wrong []LeftOut) {
	for _, w := range wrong {
		w.Tip, w.InspectionID = r.Tip, r.InspectionID
		c.Log.Warn("left as it is: "+w.Reason, "tip", w.Tip, "inspection_id", w.InspectionID, "path", w.Path)
		if c.summary.LeftOutCount++; len(c.summary.LeftOut) < maxLeftOut {
			c.summary.LeftOut = append(c.summary.LeftOut, w)
		}
	}
}

// problem notes what is wrong with an archive.
func (c *creation) problem(archive storage.Archive, err error) {
	c.Log.Error("an archive is in trouble; nothing that it holds was removed", "archive", archive.Name, "path", archive.Path, "error", err)
	c.summary.Problems = append(c.summary.Problems, fmt.Sprintf("%s: %v", archive.Name, err))
}

// rehearse finds what a run would do.
func (c *creation) rehearse(ctx context.Context) error {
	months, err := c.DB.ArchiveMonths(ctx, c.filter())
	if err != nil {
		return err
	}
	for _, month := range months {
		planned := CreatedArchive{Month: month.Month, State: "planned"}
		planned.Name, planned.Path, err = c.freeName(month.Month, 1)
		if err != nil {
			return err
		}
		err := c.eachCandidate(ctx, month.Month, func(page []storage.ArchivePlace) error {
			records, err := c.filed(ctx, page)
			if err != nil {
				return err
			}
			for _, r := range records {
				files := onDisk(r)
				_, wrong, err := inspect(c.output, files)
				if err != nil {
					return err
				}
				if len(wrong) > 0 {
					c.leaveOut(r, wrong)
					continue
				}
				planned.Records++
				planned.Files += len(files)
				for _, f := range files {
					planned.SourceBytes += f.Size
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if planned.Records > 0 {
			c.summary.Archives = append(c.summary.Archives, planned)
		}
	}
	return nil
}

// eachCandidate walks through the records of a month that may be archived.
func (c *creation) eachCandidate(ctx context.Context, month string, fn func([]storage.ArchivePlace) error) error {
	var place storage.ArchivePlace
	for {
		page, err := c.DB.ArchiveCandidates(ctx, c.filter(), month, place, archiveGroup)
		if err != nil || len(page) == 0 {
			return err
		}
		place = page[len(page)-1]
		if err := fn(page); err != nil {
			return err
		}
	}
}

// filed reads the records of a page, in its order.
func (c *creation) filed(ctx context.Context, page []storage.ArchivePlace) ([]storage.FiledRecord, error) {
	tips := make([]string, len(page))
	for i, p := range page {
		tips[i] = p.Tip
	}
	return c.filedByTips(ctx, tips)
}

// filedByTips reads records in the order of their tips as given; those that are
// unknown are left out.
func (a *Archiver) filedByTips(ctx context.Context, tips []string) ([]storage.FiledRecord, error) {
	found, err := a.DB.FiledRecords(ctx, tips)
	if err != nil {
		return nil, err
	}
	byTip := make(map[string]storage.FiledRecord, len(found))
	for _, r := range found {
		byTip[r.Tip] = r
	}
	records := make([]storage.FiledRecord, 0, len(found))
	for _, tip := range tips {
		if r, ok := byTip[tip]; ok {
			records = append(records, r)
		}
	}
	return records, nil
}
