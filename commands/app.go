package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"
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
	ExampleConfig string // config.example.toml
	Version       string // "" when the linker was not told
}

// environment is what the process gives to every command. The logger is set
// before a command's action runs; a command adds what it learns with With.
type environment struct {
	in       io.Reader
	out      io.Writer
	err      *guardedWriter
	assets   Assets
	log      *slog.Logger
	jsonLogs bool
	// endProfiles writes the profiles that were asked for; nil for none.
	endProfiles func() error
}

// Run executes the command line args, the program's name first, and returns the
// exit code. ctx ends when a signal asks the command to finish.
func Run(ctx context.Context, args []string, streams Streams, assets Assets) int {
	env := &environment{in: streams.In, out: streams.Out, err: new(secrets).guard(streams.Err), assets: assets}
	env.log = newLogger(env.err, formatText, slog.LevelInfo)

	app := newApp(env)
	call, err := permute(rootCommand(app), args[1:])
	switch {
	case err != nil:
	case call.help:
		err = printHelp(env.out, call)
	default:
		err = app.RunContext(ctx, call.args)
	}
	if env.endProfiles != nil {
		err = errors.Join(err, env.endProfiles())
	}
	code := exitCode(ctx, err)
	if err != nil {
		env.reportError(call.name(), code, err)
	}
	return code
}

// newApp builds the tree of commands. It is built anew for every run: urfave/cli
// writes into it.
func newApp(env *environment) *cli.App {
	app := &cli.App{
		Name:        "noggin",
		Usage:       "mirror inspection records into PostgreSQL and their photographs onto disk",
		Description: rootDescription(),
		Flags:       globalFlags(),
		Commands: []*cli.Command{
			initDBCommand(env),
			importCSVCommand(env),
			processCommand(env),
			retryFailedCommand(env),
			hashesCommand(env),
			reportCommand(env),
			validateCommand(env),
			skipCommand(env),
			archiveCommand(env),
			maintainCommand(env),
			completionCommand(env),
			completeCommand(env),
			versionCommand(env),
		},
		Reader:          env.in,
		Writer:          env.out,
		ErrWriter:       env.err,
		HideHelp:        true, // permute and help.go see to it
		HideVersion:     true, // and -v is nobody's
		HideHelpCommand: true,
		Before: func(c *cli.Context) error {
			if err := env.startLogging(c); err != nil {
				return err
			}
			return env.startProfiles(c)
		},
		ExitErrHandler: func(*cli.Context, error) {}, // the default one ends the process
		OnUsageError:   usageFromFlags,
	}
	for _, command := range app.Commands {
		settle(command)
	}
	return app
}

// exitChapter is the heading of the exit codes.
const exitChapter = "Exit codes"

func rootDescription() string {
	var b strings.Builder
	b.WriteString(`Every command comes to an end by itself: timers start it. Any may run beside any
other, on this host or another one, and may be killed at any instant.

Flags may stand anywhere behind their command. A flag goes before the environment,
that before the configuration file, that before the defaults.

Environment:
  NOGGIN_CONFIG        the configuration file, where --config does not name one
  NOGGIN_DATABASE_URL  how to reach PostgreSQL: goes before [database] url
  NOGGIN_BEARER_TOKEN  the API token: goes before all others
  PGHOST, PGUSER, …    libpq's variables: fill what the database's URL leaves out
  TZ                   the time zone, where the configuration names none
  NO_COLOR             when set, no colours

Files:
  /etc/noggin/config.toml  the configuration: noggin.toml(5)

` + exitChapter + `:
`)
	for _, exit := range exitMeanings {
		fmt.Fprintf(&b, "  %-3d  %s\n", exit.code, exit.meaning)
	}
	return b.String()
}

// rootCommand is the app as the command above all others.
func rootCommand(app *cli.App) *cli.Command {
	return &cli.Command{
		Name: app.Name, Usage: app.Usage, Description: app.Description, Flags: app.Flags, Subcommands: app.Commands,
	}
}

// settle makes a command and all below it leave help and usage errors to us.
func settle(command *cli.Command) {
	command.HideHelp = true
	command.OnUsageError = usageFromFlags
	for _, sub := range command.Subcommands {
		settle(sub)
	}
}

func globalFlags() []cli.Flag {
	return append(profileFlags(), []cli.Flag{
		&cli.StringFlag{
			Name: "config", Usage: "read the configuration from `FILE`", EnvVars: []string{"NOGGIN_CONFIG"},
			DefaultText: defaultConfigPath, TakesFile: true,
		},
		&cli.StringFlag{Name: "log-level", Usage: "log from `debug|info|warn|error` up", Value: "info"},
		&cli.StringFlag{Name: "log-format", Usage: "write logs as `text|json`", Value: "text"},
		&cli.BoolFlag{Name: "quiet", Usage: "only errors on stderr"},
		&cli.BoolFlag{Name: "no-progress", Usage: "neither progress bar nor progress lines"},
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help for a command"},
		&cli.BoolFlag{Name: "version", Usage: "show the version"},
	}...)
}

// commandName is what the database shows as application_name and the logs as
// command: "process", "hashes import".
func commandName(c *cli.Context) string {
	var names []string
	for _, context := range c.Lineage() {
		if context.Command != nil && context.Command.Name != "" && context.Command.Name != c.App.Name {
			names = append([]string{context.Command.Name}, names...)
		}
	}
	return strings.Join(names, " ")
}
