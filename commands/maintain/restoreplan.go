package maintain

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/commands/show"
)

func restorePlanCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "restore-plan",
		Usage:     "print, command by command, how to restore a backup and close the gap since",
		ArgsUsage: "[FILE]",
		Description: `Without FILE, for the newest backup. Changes nothing and needs no database. Follow what
is printed line by line: it says of each line who runs it, root or the user noggin. Run
as a script it stops at the first command that fails, and starts nothing.`,
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action: func(c *cli.Context) error {
			cfg, err := open.Config(c)
			if err != nil {
				return err
			}
			noggin := "noggin"
			if path := c.String("config"); path != "" && path != config.DefaultPath {
				absolute, err := filepath.Abs(path)
				if err != nil {
					return err
				}
				noggin += " --config " + files.ShellQuoted(absolute)
			}
			plan, err := maintain.PlanRestore(c.Context, cfg.Batch.Paths, cfg.Storage, c.Args().First(), noggin, cfg.Now())
			if err != nil {
				return err
			}
			return printPlan(plan, cfg.Now(), cmdline.Output(c))
		},
	}
}

// stopAtFailure ends a script at the first command that fails: the last one starts
// everything. A shell in which somebody follows the plan stays open.
const stopAtFailure = "case $- in *i*) ;; *) set -e ;; esac"

// printPlan prints a plan as a shell script whose comments are the steps.
func printPlan(plan maintain.RestorePlan, now time.Time, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(plan)
	}
	var b strings.Builder
	comment := func(format string, args ...any) {
		fmt.Fprintf(&b, "# %s\n", show.Printable(fmt.Sprintf(format, args...)))
	}
	comment("Recovery from %s", plan.Backup)
	comment("taken %s, %s; the gap since then is %s", show.Time(plan.TakenAt.In(now.Location())),
		health.Plural(plan.Records, "record"), show.Lasting(now.Sub(plan.TakenAt)))
	if plan.Verified == nil {
		comment("It was never restored on trial: step 3 does so.")
	} else {
		comment("It was restored on trial at %s.", show.Time(plan.Verified.In(now.Location())))
	}
	comment("A script stops at the first command that fails or leaves something out. Go on by hand then.")
	b.WriteString(stopAtFailure + "\n")
	for i, step := range plan.Steps {
		b.WriteString("\n")
		comment("%d. %s", i+1, step.Title)
		for _, note := range step.Notes {
			comment("   %s", note)
		}
		for j, command := range step.Commands {
			if by := step.RunBy[j]; j == 0 || by != step.RunBy[j-1] {
				comment("   As the user %s:", by)
			}
			b.WriteString(show.Printable(command) + "\n")
		}
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}
