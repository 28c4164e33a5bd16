package seal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/batch/seal/tree"
	"noggin/batch/validate"
	"noggin/storage"
)

// Evidence compares what is mirrored with the logs, and the logs with their checkpoints.
type Evidence struct {
	DB          *storage.DB // without a statement timeout
	Paths       files.Paths
	Types       *forms.ObjectTypes
	Checkpoints []string // files of checkpoints that somebody else kept
	PublicKey   string   // the key that is trusted; "": those beside the checkpoints and in the database
	NoFiles     bool     // leave out the files on disk and in archives
	// Archives reads every archive that this host sees and compares it with the database.
	Archives func(ctx context.Context) (Archives, error)
	Log      *slog.Logger
	Progress func(leaves, total, bytes int64) // nil is harmless
}

// Archives is what a look at the archives found.
type Archives struct {
	Compared int
	Wrong    []string
}

// heldCheckpoint is a checkpoint to compare a log with.
type heldCheckpoint struct {
	tree.Checkpoint
	source string // a file, or that the database has it
	given  bool   // by the caller: nobody here could change it
}

// evidence is one check.
type evidence struct {
	*Evidence
	area   *validate.Area
	logs   []storage.SealLog
	held   map[string][]heldCheckpoint // by log
	kept   []keptLog
	keys   []note.Verifier // that are trusted
	output *files.Output   // nil: files are left out
	found  map[string]*validate.Finding
	order  []string                        // of the findings
	places map[string][]storage.SealedLeaf // of the examples that leaves gave
	leaves int64
	total  int64
	files  int64
	bytes  int64
}

// Area checks all logs and returns what it found. The first of each kind of problem is the
// one with the lowest position in the oldest log.
func (e *Evidence) Area(ctx context.Context) (*validate.Area, error) {
	c := &evidence{Evidence: e, area: validate.NewArea("evidence"), held: map[string][]heldCheckpoint{}, found: map[string]*validate.Finding{}, places: map[string][]storage.SealedLeaf{}}
	err := e.DB.CheckSchema(ctx)
	if err == nil {
		err = c.check(ctx)
	}
	if c.output != nil {
		files.Release(c.output)
	}
	for _, name := range c.order {
		c.area.Add(*c.found[name])
	}
	if errors.Is(err, ErrBadKey) {
		return c.area, err
	}
	return c.area, c.area.Done(ctx, err)
}

func (c *evidence) check(ctx context.Context) (err error) {
	if c.logs, err = c.DB.SealLogs(ctx); err != nil {
		return err
	}
	if err := c.gather(ctx); err != nil {
		return err
	}
	if len(c.logs) == 0 && len(c.held) == 0 {
		c.area.Warn("nothing_sealed", "nothing was ever sealed, so there is nothing to compare with", "`sudo noggin seal init`, then: `sudo systemctl start noggin-seal`")
		return nil
	}
	if !c.NoFiles {
		if c.output, err = files.OpenOutput(c.Paths.Output); err != nil {
			c.problem("output", fmt.Sprintf("the output folder %s cannot be read, so no file in it was compared: %v", c.Paths.Output, files.Cause(err)), "", "mount its volume, then validate again")
			c.output = nil
		}
	}
	for _, log := range c.logs {
		head, err := c.DB.SealHead(ctx, log.ID)
		if err != nil {
			return err
		}
		c.total += head.Size
	}
	for _, log := range c.logs {
		if err := c.checkLog(ctx, log); err != nil {
			return err
		}
	}
	c.unknownLogs()
	if err := c.unsealed(ctx); err != nil {
		return err
	}
	if c.output != nil {
		c.area.Fact(fmt.Sprintf("%s on disk as the log says, %s", health.Plural(c.files, "file"), health.BytesText(c.bytes)))
		return c.archives(ctx)
	}
	return nil
}

// maxExamples bounds the examples of a finding.
const maxExamples = 5

// problem adds to the finding of a check. The first one of each check gives the message.
func (c *evidence) problem(check, message, example, remedy string) {
	f := c.found[check]
	if f == nil {
		f = &validate.Finding{Severity: validate.SeverityError, Check: check, Message: message, Remedy: remedy}
		c.found[check], c.order = f, append(c.order, check)
	}
	if f.Count++; example != "" && len(f.Examples) < maxExamples {
		f.Examples = append(f.Examples, example)
	}
}

// gather collects the checkpoints: those that the caller gives, those in the folder of
// checkpoints, and those in the database.
func (c *evidence) gather(ctx context.Context) error {
	public, err := publicKeys(c.Paths.Checkpoints)
	if err != nil {
		return err
	}
	for _, log := range c.logs {
		public = append(public, log.Verifier)
	}
	if c.PublicKey != "" {
		public = []string{strings.TrimSpace(c.PublicKey)}
		if len(verifiers(public...)) == 0 {
			return fmt.Errorf("--public-key: %w", ErrBadKey)
		}
	}
	c.keys = verifiers(public...)
	for _, path := range c.Checkpoints {
		h, err := readCheckpointFile(path, c.keys)
		switch {
		case errors.Is(err, tree.ErrForeignKey):
			c.problem("checkpoint_key", "a checkpoint is not signed by the key of the log", fmt.Sprintf("%s: %v", path, err),
				"find out whose key it is: the log may have been rebuilt with another one; --public-key names the right one")
		case err != nil:
			c.problem("checkpoint_unreadable", "a checkpoint cannot be read", fmt.Sprintf("%s: %v", path, err), "give the file as `noggin seal` wrote it")
			continue
		}
		c.held[h.Origin] = append(c.held[h.Origin], heldCheckpoint{h, path, true})
	}
	if c.kept, err = readKept(c.Paths.Checkpoints, c.keys); err != nil {
		return err
	}
	for _, k := range c.kept {
		for _, h := range k.heads {
			if h.err != nil {
				c.problem("kept_checkpoint", "a checkpoint beside the leaves is damaged", fmt.Sprintf("%s: %v", h.path, h.err), "copy it back from a copy of [paths] checkpoints")
				continue
			}
			c.held[h.Origin] = append(c.held[h.Origin], heldCheckpoint{h.Checkpoint, h.path, false})
		}
	}
	for _, log := range c.logs {
		heads, err := c.DB.SealHeads(ctx, log.ID)
		if err != nil {
			return err
		}
		for _, h := range heads {
			source := fmt.Sprintf("the checkpoint of %d leaves in the database", h.Size)
			read, err := tree.OpenCheckpoint(h.Note, c.keys...)
			if err == nil && (read.N != h.Size || read.Origin != log.Origin) {
				err = fmt.Errorf("it is of %s and has %d leaves", read.Origin, read.N)
			}
			if err != nil {
				c.problem("stored_checkpoint", "a checkpoint in the database is damaged or not signed by the log's key", source+": "+err.Error(), rebuilt)
				continue
			}
			c.held[log.Origin] = append(c.held[log.Origin], heldCheckpoint{read, source, false})
		}
	}
	for _, held := range c.held {
		slices.SortStableFunc(held, func(a, b heldCheckpoint) int { return cmp.Compare(a.N, b.N) })
	}
	return nil
}

const rebuilt = "somebody changed the log: find the last backup whose log has this checkpoint (`noggin maintain restore-plan`), and keep the database as it is for whoever looks into it"

// unknownLogs names checkpoints of logs that the database does not have.
func (c *evidence) unknownLogs() {
	for origin, held := range c.held {
		if slices.ContainsFunc(c.logs, func(l storage.SealLog) bool { return l.Origin == origin }) {
			continue
		}
		for _, h := range held {
			c.problem("log_missing", "the database has no log of a checkpoint's name", fmt.Sprintf("%s is of %s and has %d leaves", h.source, origin, h.N),
				"if a backup was restored: `noggin seal` takes the log back from [paths] checkpoints; else somebody removed it or gave it another name")
		}
	}
}

// unsealed names complete records that no leaf proves and that are not due.
func (c *evidence) unsealed(ctx context.Context) error {
	records, count, err := c.DB.Unsealed(ctx, 5)
	if err != nil {
		return err
	}
	for _, r := range records {
		c.problem("unsealed", "complete records have no leaf, and nothing says that they are to be sealed", named(r.Tip, storage.ValueOf(r.InspectionID)),
			"find out who put the rows there: what noggin itself completes is marked to be sealed")
	}
	if f := c.found["unsealed"]; f != nil {
		f.Count = count
	}
	state, err := c.DB.SealState(ctx)
	if err == nil && state.Due > 0 {
		many := ""
		if state.Due == storage.SealDueMost {
			many = "at least "
		}
		c.area.Fact("waiting for the next `noggin seal`: " + many + health.Plural(state.Due, "record"))
	}
	return err
}

// archives compares the archives with the database, whose rows are as the log says. Those
// that only another host sees are compared there.
func (c *evidence) archives(ctx context.Context) error {
	found, err := c.Archives(ctx)
	for _, what := range found.Wrong {
		c.problem("archive", "archives do not hold what the database and the log say", what, "`noggin archive verify`, then copy the archive back from a copy")
	}
	if err != nil {
		return err
	}
	all, err := c.DB.Archives(ctx)
	if err == nil && len(all) > 0 {
		c.area.Fact(fmt.Sprintf("%d of %d archives were read on this host", found.Compared, len(all)))
	}
	return err
}

// named is a record as people know it.
func named(tip, inspection string) string {
	if inspection == "" {
		return tip
	}
	return inspection + " (" + tip + ")"
}
