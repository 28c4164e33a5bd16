package commands

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
)

func restorePlanCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "restore-plan",
		Usage:     "print, command by command, how to restore a backup and close the gap since",
		ArgsUsage: "[FILE]",
		Description: `Without FILE, for the newest backup. Changes nothing and needs no database. What is
printed can be followed line by line, or run as a shell script by somebody who has
read it.`,
		Flags: []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: func(c *cli.Context) error {
			cfg, err := env.config(c)
			if err != nil {
				return err
			}
			noggin := "noggin"
			if path := c.String("config"); path != "" && path != defaultConfigPath {
				absolute, err := filepath.Abs(path)
				if err != nil {
					return err
				}
				noggin += " --config " + batch.ShellQuoted(absolute)
			}
			plan, err := batch.PlanRestore(c.Context, cfg.batch, cfg.storage, c.Args().First(), noggin, cfg.now())
			if err != nil {
				return err
			}
			return printPlan(plan, cfg.now(), env.output(c))
		},
	}
}

// printPlan prints a plan as a shell script whose comments are the steps.
func printPlan(plan batch.RestorePlan, now time.Time, out output) error {
	if out.format == formatJSON {
		return out.json(plan)
	}
	var b strings.Builder
	comment := func(format string, args ...any) {
		fmt.Fprintf(&b, "# %s\n", printable(fmt.Sprintf(format, args...)))
	}
	comment("Recovery from %s", plan.Backup)
	comment("taken %s, %s; the gap since then is %s", plan.TakenAt.In(now.Location()).Format("2006-01-02 15:04:05"),
		plural(plan.Records, "record"), now.Sub(plan.TakenAt).Round(time.Minute))
	if plan.Verified == nil {
		comment("It was never restored on trial: step 3 does so.")
	} else {
		comment("It was restored on trial at %s.", plan.Verified.In(now.Location()).Format("2006-01-02 15:04:05"))
	}
	for i, step := range plan.Steps {
		b.WriteString("\n")
		comment("%d. %s", i+1, step.Title)
		for _, note := range step.Notes {
			comment("   %s", note)
		}
		for _, command := range step.Commands {
			b.WriteString(printable(command) + "\n")
		}
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}
