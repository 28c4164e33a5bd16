package hashes

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func listCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the hashes of a type with their names, the unknown ones last",
		ArgsUsage: "TYPE|all",
		Description: "`noggin hashes import auto FILE`" + ` takes back exactly what --format csv --raw wrote. Without --raw, CSV
has escapes for characters that cannot be seen, and an import would take these for names.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "known", Usage: "only those with a name"},
			&cli.BoolFlag{Name: "unknown", Usage: "only those without"},
			&cli.BoolFlag{Name: "unused", Usage: "only those to which no record refers"},
			cmdline.NumberFlag("limit", "at most `N`; 0: all", 0, 0, "all"),
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV),
		},
		Action: withSession(open, func(c *cli.Context, s *session.Session) error {
			kind, err := typeOrAll(s.Types, c.Args().Get(0))
			if err != nil {
				return err
			}
			f := storage.HashFilter{Type: kind, Known: c.Bool("known"), Unknown: c.Bool("unknown"), Unused: c.Bool("unused"), Limit: c.Int("limit")}
			if f.Known && f.Unknown {
				return cmdline.Usagef("--known and --unknown exclude each other")
			}
			return runList(c.Context, s.DB, f, s.Output(c), "no such hashes")
		}),
	}
}

func searchCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "search",
		Usage:     "find hashes by a part of the name or the beginning of the hash",
		ArgsUsage: "TEXT",
		Flags: []cli.Flag{
			cmdline.NumberFlag("limit", "at most `N`; 0: all", 0, 100, ""),
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV),
		},
		Action: withSession(open, func(c *cli.Context, s *session.Session) error {
			text := strings.TrimSpace(c.Args().First())
			if text == "" {
				return cmdline.Usagef("nothing to search for")
			}
			return runList(c.Context, s.DB, storage.HashFilter{Text: text, Limit: c.Int("limit")}, s.Output(c), "nothing found")
		}),
	}
}

// runList prints the hashes that the filter chooses, or the text none when there
// are none.
func runList(ctx context.Context, db *storage.DB, f storage.HashFilter, out show.Output, none string) error {
	t, err := eachHashRow(ctx, db, f, out.Format)
	if err != nil {
		return err
	}
	if len(t.Rows) == 0 && out.Format == show.Text {
		_, err := fmt.Fprintln(out, none)
		return err
	}
	return out.Table(t)
}
