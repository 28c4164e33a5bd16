package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/batch/seal"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func sealCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "seal",
		Usage: "append what was mirrored to a signed log, so that nobody can change it unnoticed",
		Description: `Each version of a record gets a leaf once it is complete: the hashes of its body and of
each attachment. The leaves form a tree whose root is signed: a checkpoint. The run
writes leaves and checkpoint into [paths] checkpoints, and gives the checkpoint to
[seal] publish. What somebody else holds cannot be rewritten:
` + "`noggin validate evidence --checkpoint FILE`" + ` compares it with everything that is there.

Ends with 3 when something needs a person: a new log began, [seal] publish failed (the
next run tries again), or a stored body is damaged.

Examples:
  noggin seal init                  # once, as root: makes the key
  noggin seal --once                # what the timer does, before the backup
  noggin seal --new-log 'the key was lost with the old server'`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "do nothing when a host has sealed today already"},
			&cli.StringFlag{Name: "new-log", Usage: "begin a new log, for the `REASON` that its first leaf tells"},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Subcommands: []*cli.Command{sealInitCommand(open)},
		Action: func(c *cli.Context) error {
			reason := strings.TrimSpace(c.String("new-log"))
			switch {
			case c.IsSet("new-log") && reason == "":
				return cmdline.Usagef("--new-log needs a reason: the log shows it for ever")
			case c.Bool("once") && reason != "":
				return cmdline.Usagef("--once cannot be combined with --new-log")
			}
			return runSeal(open, c, reason)
		},
	}
}

func runSeal(open *session.Opener, c *cli.Context, reason string) error {
	s, err := open.Ready(c)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.Bool("once") {
		by, err := sealedToday(c.Context, s)
		if err != nil {
			return err
		}
		if by != "" {
			return cmdline.Output(c).Line("sealed today by "+by, map[string]any{"done_by": by})
		}
	}
	bar := s.Console.Progress(c, "records sealed")
	sealer := &seal.Sealer{
		DB: s.DB, Config: s.Config.Batch.Seal, Checkpoints: s.Config.Batch.Paths.Checkpoints, Credentials: s.Config.CredentialFolder(), Log: s.Log,
		Progress: func(records int) { bar.Update(session.State{Done: records}) },
	}
	return s.Recorded(c.Context, "seal", func(run int64) (any, error) {
		summary, err := sealer.Run(c.Context, run, reason)
		bar.Finish()
		if err != nil {
			return summary, err
		}
		if err := printSeal(cmdline.Output(c), summary); err != nil {
			return summary, err
		}
		if !summary.Complete() {
			return summary, cmdline.Partialf("%s", strings.Join(sealTroubles(summary), "; "))
		}
		return summary, nil
	})
}

// sealedToday returns the host of today's last good run, or "".
func sealedToday(ctx context.Context, s *session.Session) (string, error) {
	runs, err := s.DB.RunsThis(ctx, "day", "seal")
	for _, run := range runs {
		if run.ExitCode == cmdline.ExitDone {
			return run.Host + " at " + run.Finished.Format("15:04"), nil
		}
	}
	return "", err
}

// sealTroubles are what a person should look at after a run.
func sealTroubles(s seal.Summary) (troubles []string) {
	if s.NewLog != "" {
		troubles = append(troubles, "a new log began: "+s.NewLog)
	}
	if s.DamagedCount > 0 {
		troubles = append(troubles, health.Plural(s.DamagedCount, "version")+" not sealed, as the stored body differs from its SHA-256")
	}
	if s.PublishError != "" {
		troubles = append(troubles, "the checkpoint was not published: "+s.PublishError)
	}
	return troubles
}

func printSeal(out show.Output, s seal.Summary) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "sealed      %s, %s\n", health.Plural(s.Records, "record"), health.Plural(s.Leaves, "new leaf|new leaves"))
	if s.Restored > 0 {
		fmt.Fprintf(&b, "taken back  %s from the published ones\n", health.Plural(s.Restored, "leaf|leaves"))
	}
	if s.Root != "" {
		fmt.Fprintf(&b, "log         %s, %s\nroot        %s\ncheckpoint  %s\n", s.Origin, health.Plural(s.Size, "leaf|leaves"), s.Root, s.Checkpoint)
	}
	if s.Published {
		b.WriteString("published   by [seal] publish\n")
	}
	for _, version := range s.Damaged {
		fmt.Fprintf(&b, "damaged     %s\n", version)
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}

func sealInitCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make the key to seal with, once",
		Description: `Writes a new secret key into [seal] key_file (0600) and the public key beside the
checkpoints, and prints the public key. An existing key stays: then only the public key
is printed. Whoever has the secret key can sign another log, so keep it off other hosts'
disks and backups; whoever has the public key can check.`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "name", Usage: "call the key and its log `NAME`, such as example.com/inspections (default: after this host)"}),
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			cfg, err := open.Config(c)
			if err != nil {
				return err
			}
			name := c.String("name")
			if name == "" {
				name = hostKeyName()
			}
			public, made, err := seal.Init(cfg.Batch.Seal, cfg.Batch.Paths.Checkpoints, name)
			if errors.Is(err, seal.ErrBadName) {
				return cmdline.Usagef("--name: %w", err)
			}
			if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
				return cmdline.Hint(cmdline.Usagef("this user may not make %s", cfg.Batch.Seal.KeyFile), "root keeps the key: `sudo noggin seal init --name NAME`")
			}
			if err != nil {
				return err
			}
			text := "the public key of " + cfg.Batch.Seal.KeyFile + " is:\n" + public
			if made {
				text = "a new key is in " + cfg.Batch.Seal.KeyFile + "; keep a copy of it where this host cannot reach.\n" +
					"Its public key, which whoever checks needs, is:\n" + public
			}
			return cmdline.Output(c).Line(text, map[string]any{"key_file": cfg.Batch.Seal.KeyFile, "public_key": public, "made": made})
		},
	}
}

var notInKeyName = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// hostKeyName names a key after this host.
func hostKeyName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	host = strings.Trim(notInKeyName.ReplaceAllString(host, "-"), ".-")
	return host[:min(len(host), 40)] + "/inspections"
}
