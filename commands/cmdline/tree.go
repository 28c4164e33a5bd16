package cmdline

import (
	"errors"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/commands/show"
)

// Prepare makes app leave help, the order of flags, usage errors and exit codes to
// this package.
func Prepare(app *cli.App) {
	app.HideHelp, app.HideHelpCommand = true, true
	app.HideVersion = true                            // -v is nobody's
	app.ExitErrHandler = func(*cli.Context, error) {} // the default one ends the process
	app.OnUsageError = usageFromFlags
	addShortForms(app.Flags)
	for _, command := range app.Commands {
		settle(command)
	}
}

// shortForms are the flags that have one letter too, in every command.
var shortForms = map[string]string{"dry-run": "n", "yes": "y", "quiet": "q", "format": "f"}

func addShortForms(flags []cli.Flag) {
	for _, flag := range flags {
		letter := shortForms[flag.Names()[0]]
		if letter == "" {
			continue
		}
		switch flag := flag.(type) {
		case *cli.BoolFlag:
			flag.Aliases = []string{letter}
		case *cli.StringFlag:
			flag.Aliases = []string{letter}
		}
	}
}

// settle makes a command and all below it leave help and usage errors to this package.
func settle(command *cli.Command) {
	command.HideHelp = true
	addTableFlags(command)
	addShortForms(command.Flags)
	command.OnUsageError = usageFromFlags
	for _, sub := range command.Subcommands {
		settle(sub)
	}
}

// Root returns the app as the command above all others.
func Root(app *cli.App) *cli.Command {
	return &cli.Command{
		Name: app.Name, Usage: app.Usage, Description: app.Description, Flags: app.Flags, Subcommands: app.Commands,
	}
}

// CommandName is the command's name for application_name in the database and for the
// logs: "process", "hashes import".
func CommandName(c *cli.Context) string {
	var names []string
	for _, context := range c.Lineage() {
		if context.Command != nil && context.Command.Name != "" && context.Command.Name != c.App.Name {
			names = append([]string{context.Command.Name}, names...)
		}
	}
	return strings.Join(names, " ")
}

// badValue is how Go's flag package words a value that a flag cannot take.
var badValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([a-z-]+): `)

// usageFromFlags turns urfave's own complaint about a flag's value into ours.
func usageFromFlags(c *cli.Context, err error, _ bool) error {
	found := badValue.FindStringSubmatch(err.Error())
	if found == nil {
		return Usagef("%w", errors.New(strings.Replace(err.Error(), " for flag -", " for flag --", 1)))
	}
	want := wantBool
	switch flagNamed(c.Command, found[2]).(type) {
	case *cli.DurationFlag:
		want = wantDuration
	case *cli.IntFlag:
		want = wantNumber
	}
	return Usagef("--%s %s: want %s", found[2], show.Printable(found[1]), want)
}
