package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func processCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "process",
		Usage: "fetch due records from the API, with their photographs and reports",
		Description: `Takes records that are due, retries first but never more than half: fetches each,
stores it, downloads its photographs and writes its text report. Run it as often
as you like, on as many hosts as you like.

--tip works on a record at once, whatever its status, and inserts it when it is
new.

Examples:
  noggin process --until-empty --max-time 4m    # what a timer does
  noggin process --tip 15805eb5323b95a4
  noggin process --batch 50 --object-type LCD
  noggin process --dry-run
  noggin process --until-empty --adopt          # after a restore`,
		Flags: append(append(selectorFlags("tip", "object-type", "status", "since", "error-type", "unknown-hashes"), processFlags()...),
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be taken and do nothing"},
			formatFlag(formatText, formatJSON)),
		Action: func(c *cli.Context) error {
			s, err := env.open(c)
			if err != nil {
				return err
			}
			defer s.close()
			opts := processOptions(c, s)
			if opts.Selector, err = s.selector(c); err != nil {
				return err
			}
			p, err := env.processor(c, s)
			if err != nil {
				return err
			}
			return runProcess(c.Context, env, s, p, opts, c.Bool("dry-run"), env.output(c))
		},
	}
}

// processFlags are those that process and retry-failed share.
func processFlags() []cli.Flag {
	return []cli.Flag{
		numberFlag("batch", "take at most `N` records", 1, 0, "[retry] tips_per_batch"),
		&cli.BoolFlag{Name: "until-empty", Usage: "go on until nothing is due"},
		&cli.BoolFlag{Name: "adopt", Usage: "take whole files that are on disk already instead of downloading them: after a restore, or a migration"},
		maxTimeFlag(),
	}
}

func maxTimeFlag() cli.Flag {
	return durationFlag("max-time", "claim nothing more after `DURATION`, such as 4m", 1)
}

func processOptions(c *cli.Context, s *session) batch.ProcessOptions {
	opts := batch.ProcessOptions{
		Batch: s.cfg.batch.Retry.TipsPerBatch, UntilEmpty: c.Bool("until-empty"), MaxTime: c.Duration("max-time"), Adopt: c.Bool("adopt"),
		ObjectType: s.cfg.batch.Import.DefaultObjectType,
	}
	if c.IsSet("batch") {
		opts.Batch = c.Int("batch")
	}
	return opts
}

// processor makes the engine with this command's configuration and progress bar.
func (env *environment) processor(c *cli.Context, s *session) (*batch.Processor, error) {
	client, err := env.apiConfig(s.cfg)
	if err != nil {
		return nil, err
	}
	bar := env.progress(c, "records")
	return &batch.Processor{
		DB: s.db, API: client, Config: s.cfg.batch, Types: s.types, Log: env.log,
		Version: readVersion(env.assets.Version).Version, Command: commandName(c),
		Progress: func(p batch.Progress) {
			if p.Done {
				bar.finish(env)
				return
			}
			bar.update(progressState{done: p.Records, total: p.Total, files: p.Attachments, bytes: p.Bytes})
		},
	}, nil
}

// runProcess drains the queue once and prints what was done.
func runProcess(ctx context.Context, env *environment, s *session, p *batch.Processor, opts batch.ProcessOptions, dryRun bool, out output) error {
	read := p.Standing
	if dryRun {
		read = s.db.Standing // it changes nothing
	}
	standing, err := read(ctx)
	if err != nil {
		return err
	}
	if standing.Paused {
		return out.line(pausedLine(standing), map[string]any{"paused": true, "reason": standing.PauseReason, "until": standing.PausedUntil})
	}
	if dryRun {
		return showDue(ctx, s.db, opts, out)
	}
	if standing.CircuitOpen() {
		if standing.HealNeeded {
			renewNames(ctx, env, p, 0, opts.MaxTime, 0)
		}
		due, err := s.db.CountDue(ctx, opts.Selector)
		if err != nil {
			return err
		}
		return hint(fmt.Errorf("%w; %s due", &batch.CircuitOpenError{Until: *standing.OpenUntil}, plural(due.Due, "record")), circuitHint)
	}
	if err := insertNamed(ctx, s.db, opts); err != nil {
		return err
	}
	if terminal(env.err.Writer) != nil {
		due, err := s.db.CountDue(ctx, opts.Selector)
		if err != nil {
			return err
		}
		if opts.Expect = int(due.Due); !opts.UntilEmpty {
			opts.Expect = min(opts.Expect, opts.Batch)
		}
	}
	summary, err := p.Run(ctx, opts, standing)
	worked := standing.Due || len(opts.Selector.Tips) > 0
	if summary.RunID != 0 && (worked || standing.HealNeeded) {
		spent := time.Duration(summary.DurationSeconds * float64(time.Second))
		summary.RecordsRenewed = renewNames(ctx, env, p, summary.RunID, opts.MaxTime, spent)
	}
	if _, opened := errors.AsType[*batch.CircuitOpenError](err); opened {
		err = hint(err, circuitHint)
	}
	if err == nil && summary.Unsuccessful() > 0 {
		err = unsuccessful(summary)
	}
	switch {
	case summary.RunID == 0:
		return err
	case worked:
		s.endRun(ctx, env, summary.RunID, summary, err)
	default:
		s.sample(ctx, env)
	}
	if err != nil && summary.Claimed == 0 && out.format == formatText {
		return err // it says all there is to say
	}
	if printErr := printSummary(summary, out); err == nil {
		err = printErr
	}
	return err
}

const circuitHint = "`noggin report circuit` shows why, `noggin maintain reset-circuit` closes it"

// unsuccessful is the error of a run that ended well but for some of its records.
func unsuccessful(s batch.Summary) error {
	err := hint(partialf("%d of %d records did not succeed", s.Unsuccessful(), max(s.Claimed, s.Unsuccessful())),
		"`noggin report errors` shows why; they are tried again by themselves until `noggin report failed` lists them as permanently failed")
	switch {
	case s.APIFailed > 0 && s.APIFailed == s.Claimed:
		return hint(err, "the API gave not one record, so nothing was counted against them: if they should be there, check [api] base_url and namespace with `noggin validate api`")
	case s.AttachmentsFailed > 1 && s.AttachmentsDownloaded+s.AttachmentsAdopted == 0:
		return hint(err, "the API gave not one photograph: check [api] media_service_url with `noggin validate api`")
	}
	return err
}

// renewNames finishes what an import of names has left: it needs no API, and what
// it cannot do is no fault of the records in hand. run is 0 where none was recorded;
// limit is the --max-time, 0 for none, of which spent has passed.
func renewNames(ctx context.Context, env *environment, p *batch.Processor, run int64, limit, spent time.Duration) int {
	if run == 0 {
		var err error
		if run, err = p.DB.RecordRun(ctx, p.Command, p.Version); err != nil {
			env.log.Warn("records wait to be given their new names", "error", err)
			return 0
		}
	}
	if limit > 0 {
		const least = 5 * time.Second
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(limit-spent, least))
		defer cancel()
	}
	healer := batch.Healer{DB: p.DB, Types: p.Types, Config: p.Config, Log: p.Log, Run: run}
	healed, err := healer.Heal(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		env.log.Warn("not every record could be given its new names", "waiting", healed.Waiting, "error", err)
	case healed.Waiting > 0:
		env.log.Info("records wait to be given their new names by a later run", "waiting", healed.Waiting)
	}
	return healed.Healed
}

// insertNamed makes sure that records named by their tip are in the queue's table.
func insertNamed(ctx context.Context, db *storage.DB, opts batch.ProcessOptions) error {
	if len(opts.Selector.Tips) == 0 {
		return nil
	}
	objectType, assumed := opts.Selector.ObjectType, false
	if objectType == "" {
		objectType, assumed = opts.ObjectType, true
	}
	_, err := db.EnsureRecords(ctx, opts.Selector.Tips, objectType, assumed)
	return err
}

// showDue prints what a run would take.
func showDue(ctx context.Context, db *storage.DB, opts batch.ProcessOptions, out output) error {
	due, err := db.CountDue(ctx, opts.Selector)
	if err != nil {
		return err
	}
	take := min(due.Due, int64(opts.Batch))
	if opts.UntilEmpty {
		take = due.Due
	}
	text := fmt.Sprintf("would take %d of %s due", take, plural(due.Due, "record"))
	if due.NextAt != nil {
		text += fmt.Sprintf("; %d more later, the next at %s", due.Later, due.NextAt.Format("2006-01-02 15:04:05"))
	}
	return out.line(text, struct {
		WouldTake int64 `json:"would_take"`
		storage.DueCounts
	}{take, due})
}

// printSummary prints what a run did.
func printSummary(s batch.Summary, out output) error {
	if out.format == formatJSON {
		return out.json(s)
	}
	renewed := ""
	if s.RecordsRenewed > 0 {
		renewed = fmt.Sprintf("names        renewed in %s\n", plural(s.RecordsRenewed, "record"))
	}
	if s.Claimed == 0 && s.Stopped == "" {
		_, err := fmt.Fprint(out, "nothing is due\n", renewed)
		return err
	}
	var parts []string
	for _, part := range []struct {
		n    int
		name string
	}{
		{s.Complete, "complete"},
		{s.Partial, "partial"},
		{s.Failed, "failed"},
		{s.APIFailed, "api_failed"},
		{s.Interrupted, "interrupted"},
		{s.Lost, "taken over by others"},
		{len(s.Busy), "in the hands of another run"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.name))
		}
	}
	if len(parts) == 0 {
		parts = []string{"none finished"}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "records      %d: %s", s.Claimed, strings.Join(parts, ", "))
	if s.PermanentlyFailed > 0 {
		fmt.Fprintf(&b, "; %d permanently failed (`noggin report failed --permanent`)", s.PermanentlyFailed)
	}
	b.WriteByte('\n')
	photographs := fmt.Sprintf("%d downloaded", s.AttachmentsDownloaded)
	if s.AttachmentsAdopted > 0 {
		photographs += fmt.Sprintf(", %d adopted", s.AttachmentsAdopted)
	}
	if s.AttachmentsFailed > 0 {
		photographs += fmt.Sprintf(", %d failed", s.AttachmentsFailed)
	}
	rate := ""
	if s.BytesDownloaded > 0 && s.DurationSeconds > 0 {
		rate = fmt.Sprintf(", %s/s", humanize.Bytes(uint64(float64(s.BytesDownloaded)/s.DurationSeconds)))
	}
	fmt.Fprintf(&b, "photographs  %s, %s%s\n", photographs, humanize.Bytes(uint64(s.BytesDownloaded)), rate)
	b.WriteString(renewed)
	fmt.Fprintf(&b, "time         %s, %s\n", time.Duration(s.DurationSeconds*float64(time.Second)).Round(10*time.Millisecond), plural(s.Requests, "request"))
	fmt.Fprintf(&b, "circuit      %s\n", s.Circuit)
	if s.Stopped != "" {
		fmt.Fprintf(&b, "stopped      %s\n", printable(s.Stopped))
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}
