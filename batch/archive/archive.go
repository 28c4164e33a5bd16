package archive

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"noggin/batch/archive/format"
	"noggin/batch/claims"
	"noggin/batch/files"
	"noggin/storage"
)

// Config is the section [archive].
type Config struct {
	// AfterCreate is a shell command that copies a new archive to another place. It
	// gets the archive's path as $1. When it fails, nothing is removed.
	AfterCreate string `toml:"after_create"`
	// RequireCopy keeps originals on disk until a copy of each file of their record is in a
	// second place, verified within [health.VerifiedPatience].
	RequireCopy bool `toml:"require_copy"`
}

// ErrSameVolume says that the archive folder is on the volume of the output folder,
// so that archiving frees no space.
var ErrSameVolume = errors.New("the archive folder is on the same volume as the output folder: an archive there frees no space")

// Archiver moves the files of old records out of the output folder into archives,
// and back.
type Archiver struct {
	DB     *storage.DB
	Config Config
	Paths  files.Paths
	// Second is the second place in which copies count for [archive] require_copy.
	Second storage.CopyPlace
	// ClaimLease is the time for which a claim holds unless it is renewed.
	ClaimLease time.Duration
	Log        *slog.Logger
	Progress   func(Progress) // may be nil
	Version    string         // of noggin, stored with each run

	// step is called after each step at which a run may be killed. Tests kill the
	// program there. It may be nil.
	step func(name string)
}

// Progress says how much of an archive is done.
type Progress struct {
	Phase       string // "writing noggin-2024-03.tar.zst"
	Done, Total int    // records, or files in Verify; Total is 0 when it is unknown
	Bytes       int64
}

// CreateOptions say which records `archive create` takes, and where to.
type CreateOptions struct {
	Selector  storage.Selector
	Before    string  // only inspections before this day, such as 2024-11-24
	UntilFree float64 // stop when so many percent of the output volume are free; 0: take all
	To        string  // the folder; "": [paths] archive
	Keep      bool    // remove nothing
	DryRun    bool
}

// Created is an archive that a run wrote or continued.
type Created struct {
	Name        string `json:"name"`
	Path        string `json:"path"`
	Month       string `json:"month"`
	State       string `json:"state"`
	Records     int    `json:"records"`
	Files       int    `json:"files"`
	SourceBytes int64  `json:"source_bytes"`
	SizeBytes   int64  `json:"size_bytes"`
	SHA256      string `json:"sha256"`
	Resumed     bool   `json:"resumed"` // an earlier run began it
}

// CreateSummary says what `archive create` did. The command's help describes its JSON
// form.
type CreateSummary struct {
	RunID          int64     `json:"run_id"`
	DryRun         bool      `json:"dry_run"`
	Before         string    `json:"before"`
	Archives       []Created `json:"archives"`
	Records        int       `json:"records"` // of all archives, as the next two
	Files          int       `json:"files"`
	SourceBytes    int64     `json:"source_bytes"`
	RecordsRemoved int       `json:"records_removed"` // from the output folder
	FilesRemoved   int       `json:"files_removed"`
	BytesRemoved   int64     `json:"bytes_removed"`
	Uncopied       int       `json:"uncopied"` // records that stay on disk until their copies are verified: [archive] require_copy
	leftAlone
	Problems    []string `json:"problems"` // of archives that earlier runs left unfinished
	FreePercent float64  `json:"free_percent"`
	FreeReached *bool    `json:"free_reached,omitempty"` // with --until-free
	SameVolume  bool     `json:"same_volume"`            // the archives go to the volume of the output folder
}

// creation is one run of `archive create`.
type creation struct {
	*Archiver
	opts   CreateOptions
	dir    string // absolute
	output *files.Output
	keeper *claims.Keeper
	seed   maphash.Seed    // of the fingerprints
	tidy   map[string]bool // record folders whose empty parents are removed
	// unfinished says that a file of the current archive is still on disk although
	// the database has it in the archive. The next run removes it.
	unfinished bool
	// uncopied says that originals of the current archive wait for their copies.
	uncopied bool
	summary  CreateSummary
}

// Create finishes the archives that earlier runs left and then archives old records,
// month by month. It removes only files that it read back from their archive. The
// summary is right also when Create returns an error: [storage.ErrLocked],
// [ErrSameVolume], a [files.DiskError], or the cause of ctx.
func (a *Archiver) Create(ctx context.Context, opts CreateOptions) (CreateSummary, error) {
	c := &creation{
		Archiver: a, opts: opts, seed: maphash.MakeSeed(), tidy: map[string]bool{},
		summary: CreateSummary{
			DryRun: opts.DryRun, Before: opts.Before,
			Archives: []Created{}, leftAlone: leftAlone{LeftOut: []LeftOut{}}, Problems: []string{},
		},
	}
	output, err := files.OpenOutput(a.Paths.Output)
	if err != nil {
		return c.summary, err
	}
	defer files.Release(output)
	c.output = output
	if err := c.openFolder(ctx); err != nil {
		return c.summary, err
	}
	if err := c.checkTarget(ctx); err != nil {
		return c.summary, err
	}
	if opts.DryRun {
		err = c.rehearse(ctx)
		c.addUp()
		return c.summary, err
	}
	err = a.alone(ctx, "archive create", func(keeper *claims.Keeper) error {
		c.keeper, c.summary.RunID = keeper, keeper.Run
		return c.do(ctx)
	})
	c.addUp()
	return c.summary, err
}

// alone takes the maintenance lock, begins a run for the command and calls do. It
// renews the claims of the keeper until do returns.
func (a *Archiver) alone(ctx context.Context, command string, do func(*claims.Keeper) error) error {
	unlock, err := a.DB.Lock(ctx, command)
	if err != nil {
		return err
	}
	defer unlock()
	run, err := a.DB.StartRun(ctx, command, a.Version)
	if err != nil {
		return err
	}
	k := claims.NewKeeper(a.DB, a.Log, run, a.ClaimLease)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewer sync.WaitGroup
	renewer.Go(func() { k.Keep(renewing) })
	defer renewer.Wait()
	defer stop()
	return do(k)
}

// openFolder finds the archive folder. It creates [paths] archive. The folder of --to
// must exist, as it may be on a volume that is not mounted.
func (c *creation) openFolder(ctx context.Context) error {
	given := c.opts.To
	if given == "" {
		given = c.Paths.Archive
	}
	dir, err := filepath.Abs(given)
	if err != nil {
		return fmt.Errorf("find the archive folder %s: %w", given, err)
	}
	c.dir = dir
	if err := c.checkMounted(ctx); err != nil {
		return err
	}
	if c.opts.To == "" && !c.opts.DryRun {
		if err := files.MakeFolders(dir); err != nil {
			return files.WrapDisk("create archive folder", dir, err)
		}
	}
	same, err := files.SameVolume(dir, c.output.Name())
	if err != nil {
		return err
	}
	c.summary.SameVolume = same
	info, err := os.Stat(dir)
	switch {
	case err != nil && c.opts.DryRun && c.opts.To == "":
		return nil
	case err != nil:
		return files.WrapDisk("open archive folder", dir, err)
	case !info.IsDir():
		return fmt.Errorf("open archive folder %s: it is not a folder", dir)
	case c.opts.UntilFree > 0 && same:
		return fmt.Errorf("%s: %w", dir, ErrSameVolume)
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
		enough, err := c.enoughFree(0)
		if err != nil || enough {
			return err
		}
		if err := c.archiveMonth(ctx, month); err != nil {
			return err
		}
	}
	_, err = c.enoughFree(0)
	return err
}

func (c *creation) filter() storage.ArchiveFilter {
	return storage.ArchiveFilter{Selector: c.opts.Selector, Before: c.opts.Before}
}

// enoughFree reports whether as much of the output volume is free as --until-free
// asks for, when freed bytes more are free.
func (c *creation) enoughFree(freed int64) (bool, error) {
	if c.opts.UntilFree == 0 {
		return false, nil
	}
	free, total, err := c.output.Free()
	if err != nil {
		return false, err
	}
	enough := float64(free)+float64(freed) >= c.opts.UntilFree/100*float64(total)
	c.summary.FreeReached = &enough
	return enough, nil
}

// addUp adds up the archives and measures what is free.
func (c *creation) addUp() {
	s := &c.summary
	for _, a := range s.Archives {
		s.Records += a.Records
		s.Files += a.Files
		s.SourceBytes += a.SourceBytes
	}
	if free, total, err := c.output.Free(); err == nil && total > 0 {
		s.FreePercent = float64(free) / float64(total) * 100
	}
}

// at tells the tests which step is done.
func (a *Archiver) at(step string) {
	if a.step != nil {
		a.step(step)
	}
}

func (a *Archiver) report(p Progress) {
	if a.Progress != nil {
		a.Progress(p)
	}
}

// leaveOut records why the record is not archived. A dry run only prints it.
func (c *creation) leaveOut(r storage.FiledRecord, wrong []LeftOut) {
	log := c.Log
	if c.opts.DryRun {
		log = slog.New(slog.DiscardHandler)
	}
	c.summary.add(log, r.Tip, r.InspectionID, wrong)
}

// problem records what is wrong with an archive.
func (c *creation) problem(archive storage.Archive, err error) {
	c.Log.Error("an archive is damaged or missing; none of its originals was removed", "archive", archive.Name, "path", archive.Path, "error", err)
	c.summary.Problems = append(c.summary.Problems, fmt.Sprintf("%s: %v", archive.Name, err))
}

// rehearse fills the summary of a dry run. It takes the months that a run would take.
func (c *creation) rehearse(ctx context.Context) error {
	months, err := c.DB.ArchiveMonths(ctx, c.filter())
	if err != nil {
		return err
	}
	freed := int64(0)
	for _, month := range months {
		if enough, err := c.enoughFree(freed); err != nil || enough {
			return err
		}
		planned := Created{Month: month.Month, State: "planned"}
		planned.Name, planned.Path, err = c.freeName(month.Month, 1)
		if err != nil {
			return err
		}
		err := c.eachCandidate(ctx, month.Month, func(tips []string) error {
			records, err := c.copied(ctx, tips)
			if err != nil {
				return err
			}
			for _, tip := range tips {
				r, known := records[tip]
				if !known {
					continue
				}
				found := onDisk(r)
				_, wrong, err := inspect(c.output, found)
				if err != nil {
					return err
				}
				if len(wrong) > 0 {
					c.leaveOut(r, wrong)
					continue
				}
				planned.Records++
				planned.Files += len(found)
				for _, f := range found {
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
			freed += planned.SourceBytes
		}
	}
	_, err = c.enoughFree(freed)
	return err
}

// eachCandidate calls fn with the tips of the records of a month that may be archived,
// a group at a time.
func (c *creation) eachCandidate(ctx context.Context, month string, fn func(tips []string) error) error {
	var place storage.ArchivePlace
	for {
		page, err := c.DB.ArchiveCandidates(ctx, c.filter(), month, place, format.GroupSize)
		if err != nil || len(page) == 0 {
			return err
		}
		place = page[len(page)-1]
		tips := make([]string, len(page))
		for i, p := range page {
			tips[i] = p.Tip
		}
		if err := fn(tips); err != nil {
			return err
		}
	}
}
