package hashes

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func statsCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "stats",
		Usage: "count the known and unknown hashes of each type, and the records affected",
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON, show.CSV)},
		Action: withSession(open, func(c *cli.Context, s *session.Session) error {
			return runStats(c.Context, s, s.Output(c))
		}),
	}
}

// runStats prints a line for each type that records refer to, also when its
// counts are zero.
func runStats(ctx context.Context, s *session.Session, out show.Output) error {
	stats, err := s.DB.HashStats(ctx)
	if err != nil {
		return err
	}
	stats.Types = inOrder(s.Types.EntityTypes(), stats.Types)
	if out.Format == show.JSON {
		return out.JSON(stats)
	}
	t := show.Table{Columns: []show.Column{
		{"entity_type", "Type"},
		{"known", "Known"},
		{"unknown", "Unknown"},
		{"resolved_last_7_days", "Resolved, 7 days"},
		{"records_affected", "Records affected"},
	}}
	for _, n := range stats.Types {
		t.Rows = append(t.Rows, []any{n.Type, n.Known, n.Unknown, n.Resolved, n.Records})
	}
	if err := out.Table(t); err != nil || out.Format == show.CSV {
		return err
	}
	_, err = fmt.Fprintf(out, "\nrecords with unknown hashes  %s\nrecords to renew             %s\n", show.Count(stats.Records).Human(), show.Count(stats.Stale).Human())
	return err
}

// inOrder puts the counts in the order of the types, with zeros for a type that has
// none, then the types that are no longer configured.
func inOrder(types []string, counts []storage.HashCounts) []storage.HashCounts {
	ordered := make([]storage.HashCounts, len(types))
	for i, t := range types {
		ordered[i].Type = t
	}
	for _, n := range counts {
		if i := slices.Index(types, n.Type); i >= 0 {
			ordered[i] = n
		} else {
			ordered = append(ordered, n)
		}
	}
	return ordered
}
