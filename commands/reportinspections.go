package commands

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func reportInspectionsCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "inspections",
		Usage: "export the inspections, or with --attachments their photographs, by day",
		Description: `The latest day first; inspections without a day come last, and only where no
bound is given. Any number of rows streams through. Text is for a look at some;
CSV is what psql's COPY of the same columns would write.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "inspections of `DAY`, such as 2025-01-01, and later"},
			&cli.StringFlag{Name: "to", Usage: "inspections of `DAY` and earlier"},
			&cli.StringFlag{Name: "object-type", Usage: "only records of the form `CODE`, such as LCD"},
			&cli.BoolFlag{Name: "attachments", Usage: "a row an attachment, in place of a row an inspection"},
			formatFlag(formatText, formatJSON, formatCSV),
		},
		Action: func(c *cli.Context) error {
			s, err := env.openUnbound(c)
			if err != nil {
				return err
			}
			defer s.close()
			chosen, err := s.selector(c)
			if err != nil {
				return err
			}
			f := storage.InspectionFilter{ObjectType: chosen.ObjectType, Attachments: c.Bool("attachments")}
			if f.From, err = dayFlag(c, "from"); err != nil {
				return err
			}
			if f.To, err = dayFlag(c, "to"); err != nil {
				return err
			}
			if f.From != "" && f.To != "" && f.From > f.To {
				return usagef("--from %s is after --to %s", f.From, f.To)
			}
			return runReportInspections(c.Context, s.db, f, env.output(c))
		},
	}
}

// dayFlag reads a flag that is a calendar day, "" when it is not given.
func dayFlag(c *cli.Context, name string) (string, error) {
	given := c.String(name)
	if given == "" && !c.IsSet(name) {
		return "", nil
	}
	day, err := time.Parse(time.DateOnly, given)
	if err != nil {
		return "", usagef("--%s %s: want a day such as 2025-10-22", name, quoted(given))
	}
	return day.Format(time.DateOnly), nil
}

func runReportInspections(ctx context.Context, db *storage.DB, f storage.InspectionFilter, out output) error {
	if err := db.CheckSchema(ctx); err != nil {
		return err
	}
	columns := storage.InspectionColumns(f.Attachments)
	if out.format == formatText {
		return printInspections(ctx, db, f, columns, out)
	}
	numeric := make([]bool, len(columns))
	for i, name := range columns {
		numeric[i] = slices.Contains([]string{"total_attachments", "file_size_bytes", "size_mb"}, name)
	}
	rows := newRowStream(out, columns)
	if err := db.EachInspection(ctx, f, func(values [][]byte) error { return rows.text(values, numeric) }); err != nil {
		return err
	}
	return rows.end()
}

// pageRows is how many rows of text are laid out together: widths may change
// between such pages, memory does not grow.
const pageRows = 500

// textColumns are the columns that a look at some needs.
var textColumns = map[bool][]string{
	false: {"lcd_inspection_id", "inspection_date", "vehicle", "trailer", "department", "team", "load_compliance", "total_attachments", "processing_status"},
	true:  {"lcd_inspection_id", "inspection_date", "filename", "size_mb", "attachment_status"},
}

// longHash is a hash that stands for a name that is not known; its beginning is
// enough for `noggin hashes search`.
var longHash = regexp.MustCompile(`\b([0-9a-f]{10})[0-9a-f]{54}\b`)

func printInspections(ctx context.Context, db *storage.DB, f storage.InspectionFilter, columns []string, out output) error {
	headings := map[string]string{
		"lcd_inspection_id": "Inspection", "inspection_date": "Day", "vehicle": "Vehicle", "trailer": "Trailer", "department": "Department", "team": "Team",
		"load_compliance": "Compliance", "total_attachments": "Files", "processing_status": "Status", "filename": "File", "size_mb": "MB", "attachment_status": "Status",
	}
	var shown []int
	page := table{spare: []string{"Department", "Team", "Trailer", "Files", "Status"}}
	for _, name := range textColumns[f.Attachments] {
		shown = append(shown, slices.Index(columns, name))
		page.columns = append(page.columns, column{name, headings[name]})
	}
	total := 0
	err := db.EachInspection(ctx, f, func(values [][]byte) error {
		row := make([]any, len(shown))
		for i, c := range shown {
			if values[c] != nil {
				row[i] = longHash.ReplaceAllString(string(values[c]), "$1…")
			}
		}
		total++
		page.rows = append(page.rows, row)
		if len(page.rows) < pageRows {
			return nil
		}
		err := out.text(page)
		page.rows = page.rows[:0]
		return err
	})
	if err != nil {
		return err
	}
	if total == 0 {
		return out.line("No inspections.", nil)
	}
	if len(page.rows) > 0 {
		return out.text(page)
	}
	return nil
}
