package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// inspectionsShown is how many rows text shows without --limit.
const inspectionsShown = 50

// mostFields is how many columns an export may have: PostgreSQL joins no more.
const mostFields = 90

func inspectionsCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "inspections",
		Usage: "find inspections: by day, vehicle, team, words and more; list or export them",
		Description: `The latest day first; inspections without a day come last, and only where no
bound is given. Text is for a look and ends with totals. CSV is what psql's COPY of
the same columns would write; it and JSON stream, however many rows there are.
--fields names the columns: those of the record, such as job_number, customer or
report_path, and every field of the platform's answers, such as noOfStraps.

Examples:
  noggin report inspections --trailer 7TRL286 --from 2025-03-01 --until 2025-03-31
  noggin report inspections --team Kewdale --compliance not-compliant
  noggin report inspections --search "job 4949"
  noggin report inspections --from 2025-01-01 --format csv > report.csv`,
		Flags: inspectionFlags(
			&cli.BoolFlag{Name: "attachments", Usage: "a row an attachment, in place of a row an inspection"},
			&cli.StringFlag{Name: "fields", Usage: "the columns `NAMES`, with commas between them, in this order"},
			cmdline.NumberFlag("limit", "at most `N` rows; 0: all", 0, 0, fmt.Sprintf("%d in text, else all", inspectionsShown)),
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV),
		),
		Action: func(c *cli.Context) error {
			s, err := open.Unbound(c)
			if err != nil {
				return err
			}
			defer s.Close()
			out := s.Output(c)
			f := storage.InspectionFilter{Attachments: c.Bool("attachments"), Limit: c.Int("limit"), RFC3339: out.Format == show.JSON}
			if !c.IsSet("limit") && out.Format == show.Text {
				f.Limit = inspectionsShown
			}
			if f.Fields, err = inspectionFields(c, s.Types, f.Attachments); err != nil {
				return err
			}
			if f.Selector, err = s.Selector(c); err != nil {
				return err
			}
			return runInspections(c.Context, s.DB, f, out)
		},
	}
}

// inspectionFields reads --fields.
func inspectionFields(c *cli.Context, types *forms.ObjectTypes, attachments bool) ([]string, error) {
	if !c.IsSet("fields") {
		return nil, nil
	}
	known := storage.InspectionFields(attachments)
	for _, form := range types.All() {
		for field := range form.OwnedFields() {
			if field != forms.MetaField {
				known = append(known, field)
			}
		}
	}
	var names []string
	for name := range strings.SplitSeq(c.String("fields"), ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(known, name) {
			err := cmdline.Usagef("--fields: no column and no field of a form is called %s", show.Quoted(name))
			if near := cmdline.Nearest(name, known); near != "" && name != "" {
				return nil, cmdline.Near(err, []string{near})
			}
			return nil, cmdline.Hint(err, "columns are: "+strings.Join(storage.InspectionFields(attachments), ", "))
		}
		if slices.Contains(names, name) {
			return nil, cmdline.Usagef("--fields: %s stands there twice", name)
		}
		names = append(names, name)
	}
	if len(names) > mostFields {
		return nil, cmdline.Usagef("--fields: at most %d columns", mostFields)
	}
	return names, nil
}

// inspectionFlags returns the whole selector and more flags. Its --until was --to once.
func inspectionFlags(more ...cli.Flag) []cli.Flag {
	names := append(session.InspectionFlags(), "tip", "object-type", "status", "since", "permanent", "error-type", "unknown-hashes")
	flags := session.SelectorFlags(names...)
	for _, flag := range flags {
		if until, ok := flag.(*cli.StringFlag); ok && until.Name == "until" {
			until.Aliases = []string{"to"}
		}
	}
	return append(flags, more...)
}

func runInspections(ctx context.Context, db *storage.DB, f storage.InspectionFilter, out show.Output) error {
	if err := db.CheckSchema(ctx); err != nil {
		return err
	}
	columns := f.Fields
	if len(columns) == 0 {
		columns = storage.InspectionColumns(f.Attachments)
	}
	if out.Format == show.Text {
		return printInspections(ctx, db, f, columns, out)
	}
	bare := make([]bool, len(columns)) // numbers, and true or false
	for i, name := range columns {
		bare[i] = slices.Contains(bareColumns, name)
	}
	rows := show.NewRowStream(out, columns)
	if err := db.EachInspection(ctx, f, func(values [][]byte) error { return rows.Text(values, bare) }); err != nil {
		return err
	}
	return rows.End()
}

// bareColumns are the columns whose values JSON has without quotes.
var bareColumns = []string{
	"total_attachments", "completed_attachment_count", "attachment_sequence", "file_size_bytes", "size_mb",
	"has_unknown_hashes", "permanently_failed", "archived",
}

// pageRows is how many rows of text are laid out together: widths may change
// between such pages, memory does not grow. Tests lower it.
var pageRows = 500

// textColumns are the columns that a look at some needs.
var textColumns = map[bool][]string{
	false: {"lcd_inspection_id", "inspection_date", "vehicle", "trailer", "department", "team", "load_compliance", "total_attachments", "processing_status"},
	true:  {"lcd_inspection_id", "inspection_date", "filename", "size_mb", "attachment_status"},
}

// longHash is a hash that stands for a name that is not known; its beginning is
// enough for `noggin hashes search`.
var longHash = regexp.MustCompile(`\b([0-9a-f]{10})[0-9a-f]{54}\b`)

func printInspections(ctx context.Context, db *storage.DB, f storage.InspectionFilter, columns []string, out show.Output) error {
	headings := map[string]string{
		"lcd_inspection_id": "Inspection", "inspection_date": "Day", "vehicle": "Vehicle", "trailer": "Trailer", "department": "Department", "team": "Team",
		"load_compliance": "Compliance", "total_attachments": "Files", "processing_status": "Status", "filename": "File", "size_mb": "MB", "attachment_status": "Status",
	}
	var shown []int
	page := show.Table{Spare: []string{"Department", "Team", "Trailer", "Files", "Status"}}
	names := textColumns[f.Attachments]
	if len(f.Fields) > 0 {
		names = f.Fields
		page.Spare = nil
	}
	for _, name := range names {
		shown = append(shown, slices.Index(columns, name))
		page.Columns = append(page.Columns, show.Column{name, cmp.Or(headings[name], name)})
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
		page.Rows = append(page.Rows, row)
		if len(page.Rows) < pageRows {
			return nil
		}
		err := out.Text(page)
		page.Rows = page.Rows[:0]
		return err
	})
	if err != nil {
		return err
	}
	if total == 0 {
		return out.Line("No inspections.", nil)
	}
	if len(page.Rows) > 0 {
		if err := out.Text(page); err != nil {
			return err
		}
	}
	totals, err := db.CountInspections(ctx, f)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%s\n", totalsText(totals, total, f))
	return err
}

// totalsText says how many inspections there are, and how many of their loads are
// compliant.
func totalsText(t storage.InspectionTotals, shown int, f storage.InspectionFilter) string {
	switch {
	case t.More && f.Limit == 0:
		return fmt.Sprintf("More than %s; these are all, %s.", health.Plural(t.Records, "inspection"), health.Plural(shown, "row"))
	case t.More:
		return fmt.Sprintf("More than %s; these are the latest, --limit 0 shows all.", health.Plural(t.Records, "inspection"))
	}
	text := health.Plural(t.Records, "inspection")
	var parts []string
	for _, answer := range slices.Sorted(maps.Keys(t.Compliance)) {
		if answer != "" {
			parts = append(parts, show.Textf("%d %s", t.Compliance[answer], show.Printable(answer)))
		}
	}
	if n := t.Compliance[""]; n > 0 && len(parts) > 0 {
		parts = append(parts, show.Textf("%d without an answer", n))
	}
	if len(parts) > 0 {
		text += " (compliance: " + strings.Join(parts, ", ") + ")"
	}
	if f.Limit > 0 && shown >= f.Limit && (f.Attachments || int64(shown) < t.Records) {
		text += fmt.Sprintf("\nThese are the latest %s; --limit 0 shows all.", health.Plural(shown, "row"))
	}
	return text
}
