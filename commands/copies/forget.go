package copies

import (
	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func forgetCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Usage:     "forget a target to which nothing is copied any more",
		ArgsUsage: "TARGET",
		Description: `TARGET is its name in ` + "`noggin copy status`" + `. No file becomes due for it any more. What is
in the target stays there.`,
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action: func(c *cli.Context) error {
			s, err := open.Ready(c)
			if err != nil {
				return err
			}
			defer s.Close()
			targets, err := health.ReadCopies(c.Context, s.DB)
			if err != nil {
				return err
			}
			name := c.Args().First()
			var names []string
			for _, target := range targets {
				if names = append(names, target.Name()); target.Name() != name {
					continue
				}
				err := s.Recorded(c.Context, s.Command, func(int64) (any, error) {
					return target.CopyTarget, s.DB.ForgetCopyTarget(c.Context, target.ID)
				})
				if err != nil {
					return err
				}
				return cmdline.Output(c).Line("forgotten  "+show.Printable(name), target)
			}
			return cmdline.Near(cmdline.Usagef("%s is no target of copies", show.Quoted(name)), names)
		},
	}
}
