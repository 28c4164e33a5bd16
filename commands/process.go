package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/gate"
	"noggin/batch/health"
	"noggin/batch/process"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func processCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "process",
		Usage: "fetch due records from the API, with their attachments and reports",
		Description: `Takes records that are due, retries first but at most half of them: fetches each,
stores it, downloads its attachments and writes its text report. Run it as often
as you like, on as many hosts as you like.

--tip works on a record at once, whatever its status, and inserts it when it is
new.

Complete records are asked for again when [refresh] after says so. --refresh asks
now for those that the other flags choose, all of them unless --batch limits it.
Exit code 3 then also says that the API gave no answer for some of them, or that some
attachments could not be compared. An answer that is older, reduced or missing never
replaces what is mirrored. A file that a killed run left is used by the next run that
asks for its record, or becomes a former file; --adopt --tip does so at once. A run
with --adopt renews no text reports for names that changed: the next run without it
does.

Examples:
  noggin process --until-empty --max-time 4m    # what a timer does
  noggin process --tip 15805eb5323b95a4
  noggin process --batch 50 --object-type LCD
  noggin process --dry-run
  noggin process --refresh --object-type SO --since 30d
  noggin process --refresh --media --team Kewdale --from 2025-09-01
  noggin process --until-empty --adopt          # after a restore`,
		Flags: append(append(session.SelectorFlags(append(session.InspectionFlags(), "tip", "object-type", "status", "since", "error-type", "unknown-hashes")...), processFlags()...),
			&cli.BoolFlag{Name: "refresh", Usage: "ask for complete records again, now, whenever they are due"},
			&cli.BoolFlag{Name: "media", Usage: "with --refresh: compare the bytes of their attachments too"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be taken and do nothing"},
			cmdline.FormatFlag(show.Text, show.JSON)),
		Action: func(c *cli.Context) error {
			s, err := openRun(c, open)
			if err != nil {
				return err
			}
			defer s.Close()
			opts := processOptions(c, s)
			if opts.Selector, err = s.Selector(c); err != nil {
				return err
			}
			if err := refreshOptions(c, &opts); err != nil {
				return err
			}
			if err := refuseLeftOut(c.Context, s.DB, opts.Selector); err != nil {
				return err
			}
			if c.Bool("dry-run") {
				return showDue(c.Context, s.DB, opts, cmdline.Output(c))
			}
			p, err := processor(c, s)
			if err != nil {
				return err
			}
			end := s.Heartbeat(c.Context)
			err = runProcess(c.Context, s, p, opts, cmdline.Output(c))
			end(err)
			return err
		},
	}
}

// refreshOptions reads --refresh and --media, and refuses what asks for complete records
// without them.
func refreshOptions(c *cli.Context, opts *process.Options) error {
	opts.Refresh, opts.Media = c.Bool("refresh"), c.Bool("media")
	if opts.Refresh {
		opts.UntilEmpty = opts.UntilEmpty || !c.IsSet("batch")
		if slices.ContainsFunc(opts.Selector.Statuses, func(s storage.Status) bool { return s != storage.StatusComplete }) {
			return cmdline.Usagef("--refresh asks for complete records; other statuses need no flag")
		}
		return nil
	}
	if opts.Media {
		return cmdline.Usagef("--media goes with --refresh")
	}
	return refuseComplete(opts.Selector)
}

// refuseComplete refuses a selector that names complete records, which no run takes.
func refuseComplete(s storage.Selector) error {
	if slices.Contains(s.Statuses, storage.StatusComplete) {
		return cmdline.Hint(cmdline.Usagef("--status complete: complete records are neither due nor failed"),
			"`noggin process --refresh` asks for complete records again; --tip, --object-type, --from and --vehicle choose them")
	}
	return nil
}

// refuseLeftOut refuses a selector that names a record by tip which its other conditions
// leave out: it is neither taken nor claimed by another run.
func refuseLeftOut(ctx context.Context, db *storage.DB, s storage.Selector) error {
	if len(s.Tips) == 0 {
		return nil
	}
	left, err := db.LeftOut(ctx, s)
	if err != nil || len(left) == 0 {
		return err
	}
	return cmdline.Hint(cmdline.Usagef("--tip %s: the other flags leave this record out, which is %s and %s", left[0].Tip, left[0].ObjectType, left[0].Status),
		"`noggin process --tip "+files.ShellQuoted(left[0].Tip)+"` takes it, whatever its status")
}

// processFlags are those that process and retry-failed share.
func processFlags() []cli.Flag {
	return []cli.Flag{
		cmdline.NumberFlag("batch", "take at most `N` records", 1, 0, "[retry] tips_per_batch"),
		&cli.BoolFlag{Name: "until-empty", Usage: "go on until nothing is due"},
		&cli.BoolFlag{Name: "adopt", Usage: "take whole files that are on disk already instead of downloading them: after a restore, or a migration"},
		maxTimeFlag(),
	}
}

func maxTimeFlag() cli.Flag {
	return cmdline.DurationFlag("max-time", "claim nothing more after `DURATION`, such as 4m", 1)
}

// openRun opens the session of a run that must end in time.
func openRun(c *cli.Context, open *session.Opener) (*session.Session, error) {
	return open.With(c, func(cfg *config.Config) { cfg.Storage = cfg.Storage.ForRuns() })
}

func processOptions(c *cli.Context, s *session.Session) process.Options {
	opts := process.Options{
		Batch: s.Config.Batch.Retry.TipsPerBatch, UntilEmpty: c.Bool("until-empty"), MaxTime: c.Duration("max-time"), Adopt: c.Bool("adopt"),
	}
	if c.IsSet("batch") {
		opts.Batch = c.Int("batch")
	}
	return opts
}

// processor makes the engine with this command's configuration and progress bar.
func processor(c *cli.Context, s *session.Session) (*process.Processor, error) {
	p, err := files.Wait(c.Context, s.Processor) // the token's file may be a pipe
	if err != nil {
		return nil, err
	}
	bar := s.Console.Progress(c, "records")
	s.Console.Finishing(func() string {
		n := p.InHand.Load()
		if n == 0 {
			return "stopping"
		}
		return fmt.Sprintf("finishing %s, at most %s", health.Plural(n, "record"), show.Duration(p.Processing.StopGrace.Seconds()).Human())
	})
	p.Progress = func(progress process.Progress) {
		if progress.Done {
			bar.Finish()
			return
		}
		bar.Update(session.State{Done: progress.Records, Total: progress.Total, Files: progress.Attachments, Bytes: progress.Bytes})
	}
	return p, nil
}

// runProcess drains the queue once and prints what was done.
func runProcess(ctx context.Context, s *session.Session, p *process.Processor, opts process.Options, out show.Output) error {
	opts.CountDue = s.Console.OnTerminal()
	summary, err := p.Run(ctx, opts)
	if paused, ok := errors.AsType[*gate.PausedError](err); ok {
		return showPaused(paused.Standing, out)
	}
	if _, opened := errors.AsType[*gate.CircuitOpenError](err); opened {
		err = cmdline.Hint(err, circuitHint)
	}
	if err == nil && summary.Unsuccessful() > 0 {
		err = unsuccessful(summary)
	}
	if err == nil && (opts.Refresh || len(opts.Selector.Tips) > 0) { // somebody asked for it; a timer's run asks again by itself
		err = notAsked(summary)
	}
	switch {
	case summary.RunID == 0:
		return err
	case summary.Ended:
		s.Sample(ctx)
	default:
		s.Ended(ctx, summary.RunID, summary, err)
	}
	if err != nil && summary.Claimed == 0 && out.Format == show.Text {
		return err // it says all there is to say
	}
	if printErr := printSummary(summary, out); err == nil {
		err = printErr
	}
	return err
}

// showPaused prints that a maintenance pause keeps the command from working.
func showPaused(standing storage.Standing, out show.Output) error {
	return out.Line("paused "+session.PauseText(standing.PausedUntil, standing.PauseReason)+"; nothing was done",
		map[string]any{"paused": true, "reason": standing.PauseReason, "until": standing.PausedUntil})
}

const circuitHint = "`noggin report circuit` shows why, `noggin maintain reset-circuit` closes it"

// unsuccessful returns the error of a run that ended well except for some of its
// records.
func unsuccessful(s process.Summary) error {
	err := cmdline.Hint(cmdline.Partialf("%s", show.Textf("%d of %d records did not succeed", s.Unsuccessful(), max(s.Claimed, s.Unsuccessful()))),
		"`noggin report errors` shows why; they are tried again by themselves until `noggin report failed` lists them as permanently failed")
	switch {
	case s.APIFailed > 0 && s.APIFailed == s.Claimed:
		return cmdline.Hint(err, "the API gave not one record, so nothing was counted against them: if they should be there, check [api] base_url and namespace with `noggin validate api`")
	case s.AttachmentsFailed > 1 && s.AttachmentsDownloaded+s.AttachmentsAdopted == 0:
		return cmdline.Hint(err, "the API gave not one attachment: check [api] media_service_url with `noggin validate api`")
	}
	return err
}

// notAsked returns the error of a run that was to ask for complete records again, when the
// API did not answer for some, or did not give attachments to compare.
func notAsked(s process.Summary) error {
	var missing []string
	if n := notAnswered(s); n > 0 {
		missing = append(missing, health.Plural(n, "record")+" without an answer")
	}
	if s.NotCompared > 0 {
		missing = append(missing, health.Plural(s.NotCompared, "attachment")+" not compared")
	}
	if len(missing) == 0 {
		return nil
	}
	return cmdline.Hint(cmdline.Partialf("asked again: %s", strings.Join(missing, ", ")),
		"what is mirrored stays as it is; the log and `noggin report errors` show why; the same command asks again")
}

// showDue prints what a run would take.
func showDue(ctx context.Context, db *storage.DB, opts process.Options, out show.Output) error {
	standing, err := db.Standing(ctx)
	if err != nil {
		return err
	}
	if standing.Paused {
		return showPaused(standing, out)
	}
	if opts.Refresh {
		n, err := db.CountComplete(ctx, opts.Selector)
		if err != nil {
			return err
		}
		if !opts.UntilEmpty {
			n = min(n, int64(opts.Batch))
		}
		return out.Line("would ask "+health.Plural(n, "complete record")+" again", map[string]any{"would_ask_again": n})
	}
	due, err := db.CountDue(ctx, opts.Selector)
	if err != nil {
		return err
	}
	refreshes, err := db.CountRefreshes(ctx, opts.Selector)
	if err != nil {
		return err
	}
	take := min(due.Due, int64(opts.Batch))
	if opts.UntilEmpty {
		take = due.Due
	}
	text := show.Textf("would take %d of %s due", take, health.Plural(due.Due, "record"))
	if refreshes > 0 {
		text += fmt.Sprintf(", and ask %s again", health.Plural(refreshes, "complete record"))
	}
	if due.NextAt != nil {
		text += show.Textf("; %d more later, the next at %s", due.Later, show.Time(*due.NextAt))
	}
	if len(opts.Selector.Tips) > 0 { // these are taken whatever their status
		var busy int64
		if take, busy, err = db.CountNamed(ctx, opts.Selector); err != nil {
			return err
		}
		text = "would take " + health.Plural(take, "record")
		if busy > 0 {
			text += ", and leave " + health.Plural(busy, "record") + " alone that a run is at work on"
		}
	}
	return out.Line(text, struct {
		WouldTake int64 `json:"would_take"`
		storage.DueCounts
		Refreshes int64 `json:"refreshes_due"`
	}{take, due, refreshes})
}

// askedAgain says how the askings of records ended that were complete before.
func askedAgain(s process.Summary) string {
	if s.AskedAgain == 0 {
		return ""
	}
	return show.Textf("%d: %s", s.AskedAgain, strings.Join(append([]string{show.Textf("%d unchanged", s.Unchanged), show.Textf("%d changed", s.Changed)},
		counted(counts{{s.Reduced, "reduced"}, {s.Older, "older"}, {s.Gone, "gone"}, {notAnswered(s), "without an answer"}})...), ", "))
}

// notAnswered is how many records that were asked for again got no answer.
func notAnswered(s process.Summary) int {
	return s.AskedAgain - s.Unchanged - s.Changed - s.Reduced - s.Older - s.Gone
}

// counts are numbers of things, each with its word.
type counts []struct {
	n    int
	word string
}

// counted are the texts of the counts that are not zero: "12 complete".
func counted(all counts) []string {
	var parts []string
	for _, part := range all {
		if part.n > 0 {
			parts = append(parts, show.Textf("%d %s", part.n, part.word))
		}
	}
	return parts
}

// printSummary prints what a run did.
func printSummary(s process.Summary, out show.Output) error {
	var named []string
	if s.NamesFetched > 0 {
		named = append(named, show.Textf("%d fetched", s.NamesFetched))
	}
	if s.RecordsRenewed > 0 {
		named = append(named, "renewed in "+health.Plural(s.RecordsRenewed, "record"))
	}
	names := show.Fact{"names", strings.Join(named, ", ")}
	if s.Claimed == 0 && s.Stopped == "" && out.Format == show.Text {
		if _, err := fmt.Fprintln(out, "nothing is due"); err != nil {
			return err
		}
		return out.Facts(s, names)
	}
	records := show.Textf("%d: ", s.Claimed) + cmp.Or(strings.Join(counted(counts{
		{s.Complete, "complete"},
		{s.Partial, "partial"},
		{s.Failed, "failed"},
		{s.APIFailed, "api_failed"},
		{s.Interrupted, "interrupted"},
		{s.Unrecorded, "not stored"},
		{s.Lost, "taken over by others"},
		{len(s.Busy), "in the hands of another run"},
	}), ", "), "none finished")
	if s.PermanentlyFailed > 0 {
		records += show.Textf("; %d permanently failed (`noggin report failed --permanent`)", s.PermanentlyFailed)
	}
	attachments := strings.Join(append([]string{show.Textf("%d downloaded", s.AttachmentsDownloaded)},
		counted(counts{{s.AttachmentsAdopted, "adopted"}, {s.AttachmentsFailed, "failed"}, {s.NotCompared, "not compared"}})...), ", ") + ", " + show.Size(s.BytesDownloaded).Human()
	if s.BytesDownloaded > 0 && s.DurationSeconds > 0 {
		attachments += ", " + show.Speed(float64(s.BytesDownloaded)/s.DurationSeconds).Human()
	}
	return out.Facts(s, show.Fact{"records", records}, show.Fact{"attachments", attachments}, show.Fact{"asked again", askedAgain(s)}, names,
		show.Fact{"time", show.Duration(s.DurationSeconds).Human() + ", " + health.Plural(s.Requests, "request")},
		show.Fact{"circuit", string(s.Circuit)}, show.Fact{"stopped", s.Stopped})
}
