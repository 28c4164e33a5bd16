package maintain

import (
	"context"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

var hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

func verifyBackupCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "verify-backup",
		Usage:     "restore a backup on trial and compare it with its manifest",
		ArgsUsage: "[FILE]",
		Description: `Without FILE, the newest one. It is restored into a database of its own, which is
dropped again: the role needs CREATEDB. Exit code 3 means that the backup is bad.

A dump can hold any SQL. So only one is restored that this database recorded when
it was made. For another, --sha256 says what its SHA-256 must be: not from the
manifest beside it, but from where nobody else can write.`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "sha256", Usage: "restore FILE although this database did not record it, if its SHA-256 is `HEX`"}),
			session.WaitFlag(), cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			sum := strings.ToLower(c.String("sha256"))
			if c.IsSet("sha256") && (c.Args().First() == "" || !hexSHA256.MatchString(sum)) {
				return cmdline.Usagef("--sha256 HEX wants 64 hexadecimal digits, and the FILE that has them")
			}
			return runStep(open, c, func(m *maintain.Maintenance) maintain.Step {
				return maintain.Step{Name: "verify-backup", Do: func(ctx context.Context) (maintain.Effect, error) {
					return m.VerifyBackup(ctx, c.Args().First(), sum)
				}}
			})
		},
	}
}
