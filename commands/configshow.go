package commands

import (
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/commands/show"
)

func configCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "the configuration that holds",
		Description: `Examples:
  noggin config show
  noggin config show --changed
  noggin validate config     # is it right?
  noggin setup               # asks for the least that is needed, and writes it`,
		Subcommands: []*cli.Command{configShowCommand(open)},
	}
}

// shownConfig is what `noggin config show` prints.
type shownConfig struct {
	File     string           `json:"file"`      // that was read; empty: none
	Libpq    []string         `json:"variables"` // libpq's that are set
	Settings []config.Setting `json:"settings"`
}

func configShowCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "show",
		Usage: "show every key with its value and where that comes from",
		Description: `Values come from a flag, the environment, the file or the defaults, the first of these
that has one. Of secrets only "set" is shown. Needs neither database nor API.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "changed", Usage: "only keys that do not have their default"},
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV),
		},
		Action: func(c *cli.Context) error {
			cfg, err := open.Config(c)
			if err != nil {
				return err
			}
			shown := shownConfig{File: cfg.Path, Libpq: []string{}, Settings: cfg.Shown()}
			for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSSLMODE", "PGSSLROOTCERT"} {
				if os.Getenv(name) != "" {
					shown.Libpq = append(shown.Libpq, name)
				}
			}
			if c.Bool("changed") {
				shown.Settings = slices.DeleteFunc(shown.Settings, func(s config.Setting) bool { return s.From == "default" })
			}
			return printConfig(shown, cmdline.Output(c))
		},
	}
}

func printConfig(shown shownConfig, out show.Output) error {
	t := show.Table{Columns: []show.Column{{"key", "Key"}, {"value", "Value"}, {"from", "From"}}}
	for _, s := range shown.Settings {
		t.Rows = append(t.Rows, []any{show.ID(s.Key), show.PlainText(s.Value), strings.Replace(s.From, shown.File+", line", "line", 1)})
	}
	file := shown.File
	if file == "" {
		file = "none: " + config.DefaultPath + " is not there"
	}
	return out.Report(shown, t, func() show.Sheet {
		return show.Sheet{Title: "Configuration", Sections: []show.Section{
			{Facts: []show.Fact{{"file", file}, {"libpq's variables", strings.Join(shown.Libpq, ", ")}}},
			{Table: &t},
		}}
	})
}
