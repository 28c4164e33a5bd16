package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/commands/archive"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/copies"
	"noggin/commands/hashes"
	"noggin/commands/maintain"
	"noggin/commands/report"
	"noggin/commands/session"
	"noggin/commands/setup"
	"noggin/commands/validate"
)

// Streams are the standard streams of the process. Results go to Out, everything
// else to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Assets are what main embeds for the commands.
type Assets struct {
	Schema        string // schema.sql
	ExampleConfig string // config.example.toml: the manual of the configuration
	Version       string // "" when the linker was not told
}

// ErrInterrupted is the cause of a context that a signal ended.
var ErrInterrupted = session.ErrInterrupted

// ExitInterrupted is the exit code of a command that a signal ended.
const ExitInterrupted = cmdline.ExitInterrupted

// Run executes the command line args, the program's name first, and returns the
// exit code. ctx ends when a signal asks the command to finish.
func Run(ctx context.Context, args []string, streams Streams, assets Assets) int {
	hidden := new(config.Secrets)
	console := session.NewConsole(streams.In, streams.Err, hidden)
	app := newApp(assets, &session.Opener{Console: console, Secrets: hidden, Version: readVersion(assets.Version).Version})
	app.Reader, app.Writer, app.ErrWriter = streams.In, streams.Out, console.Err
	var profiles profiles
	untold := func() bool { return true }
	defer func() { untold() }()
	app.Before = func(c *cli.Context) error {
		if err := console.Start(c); err != nil {
			return err
		}
		untold = context.AfterFunc(ctx, console.ToldToStop)
		return profiles.start(c)
	}
	call, err := cmdline.Parse(cmdline.Root(app), args[1:])
	switch {
	case err != nil:
	case call.Help:
		err = cmdline.PrintHelp(streams.Out, call)
	default:
		err = app.RunContext(ctx, call.Args)
	}
	err = errors.Join(err, profiles.end())
	code := session.ExitCode(ctx, err)
	if err != nil {
		console.ReportError(call.Name(), args, code, err)
	}
	return code
}

// Tree returns the tree of commands to read, not to run: for the manual pages.
func Tree(assets Assets) *cli.App { return newApp(assets, new(session.Opener)) }

// newApp builds the tree of commands. Each run builds its own, because urfave/cli
// writes into it.
func newApp(assets Assets, open *session.Opener) *cli.App {
	version := readVersion(assets.Version)
	app := &cli.App{
		Name:        "noggin",
		Usage:       "mirror inspection records into PostgreSQL and their attachments onto disk",
		Description: rootDescription(),
		Version:     version.Version,
		Flags:       globalFlags(),
		Commands: []*cli.Command{
			initDBCommand(open, assets.Schema),
			importCSVCommand(open),
			processCommand(open),
			retryFailedCommand(open),
			hashes.Command(open),
			report.Command(open),
			validate.Command(open, assets.Schema),
			skipCommand(open),
			archive.Command(open),
			exportCommand(open),
			copies.Command(open),
			maintain.Command(open),
			setup.Command(open, assets.ExampleConfig),
			configCommand(open),
			sealCommand(open),
			completionCommand(),
			completeCommand(),
			versionCommand(version),
		},
	}
	cmdline.Prepare(app)
	return app
}

func rootDescription() string {
	var b strings.Builder
	b.WriteString(`Every command ends by itself; timers start it. Any may run beside any other, on this
host or another one, and may be killed at any instant.

Flags may stand anywhere after their command. A flag overrides the environment, which
overrides the configuration file, which overrides the defaults.

Examples:
  noggin setup                           # as root: the first minute
  noggin init-db                         # after setup, and after every upgrade
  noggin import-csv                      # take the exports in the input folder
  noggin process --until-empty           # fetch what is due
  noggin report                          # the dashboard: what needs attention
  noggin report tip 'LCD - 045289'       # everything about one record
  noggin hashes export-unknown all unknown/
  noggin help maintain                   # help for a command

Environment:
  NOGGIN_CONFIG        the configuration file, when --config names none
  NOGGIN_DATABASE_URL  how to reach PostgreSQL: overrides [database] url
  NOGGIN_BEARER_TOKEN  the API token: overrides all others
  PGHOST, PGUSER, …    libpq's variables: fill in what the database's URL leaves out
  TZ                   the time zone, when the configuration names none
  NO_COLOR             when set, no colours

Files:
  /etc/noggin/config.toml  the configuration: noggin.toml(5)

` + cmdline.ExitChapter + `:
`)
	for _, exit := range cmdline.ExitMeanings() {
		fmt.Fprintf(&b, "  %-3d  %s\n", exit.Code, exit.Meaning)
	}
	return b.String()
}

func globalFlags() []cli.Flag {
	return append(profileFlags(), []cli.Flag{
		&cli.StringFlag{
			Name: "config", Usage: "read the configuration from `FILE`", EnvVars: []string{"NOGGIN_CONFIG"},
			DefaultText: config.DefaultPath, TakesFile: true,
		},
		&cli.StringFlag{Name: "log-level", Usage: "log from `debug|info|warn|error` up", Value: "info"},
		&cli.StringFlag{Name: "log-format", Usage: "write logs as `text|json`", Value: "text"},
		&cli.BoolFlag{Name: "quiet", Usage: "only errors on stderr"},
		&cli.BoolFlag{Name: "no-progress", Usage: "neither progress bar nor progress lines"},
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help for a command"},
		&cli.BoolFlag{Name: "version", Usage: "show the version"},
	}...)
}
