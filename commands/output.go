package commands

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	prettytable "github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// The values of --format.
const (
	formatText = "text"
	formatJSON = "json"
	formatCSV  = "csv"
)

// formatFlag is the --format flag of a command that prints a result in any of the
// formats, the first being the default.
func formatFlag(formats ...string) cli.Flag {
	return &cli.StringFlag{
		Name:  "format",
		Usage: "print the result as `" + strings.Join(formats, "|") + "`",
		Value: formats[0],
		Action: func(_ *cli.Context, given string) error {
			for _, format := range formats {
				if given == format {
					return nil
				}
			}
			return usagef("--format %s: allowed are %s", quoted(given), strings.Join(formats, ", "))
		},
	}
}

// output is where a command prints its result.
type output struct {
	io.Writer
	format string
	width  int  // columns of the terminal, 0: no limit
	colour bool // a terminal whose user did not set NO_COLOR
}

// output returns stdout in the format that the command's flags ask for.
func (env *environment) output(c *cli.Context) output {
	out := output{Writer: env.out, format: c.String("format")}
	if file := terminal(env.out); file != nil {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			out.width = width
		}
		out.colour = os.Getenv("NO_COLOR") == ""
	}
	return out
}

// terminal returns the terminal that w writes to, or nil.
func terminal(w io.Writer) *os.File {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// json prints v as the one JSON document of a command's result.
func (o output) json(v any) error {
	encoder := json.NewEncoder(o)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// line prints one line for people, or doc as JSON.
func (o output) line(text string, doc any) error {
	if o.format == formatJSON {
		return o.json(doc)
	}
	_, err := fmt.Fprintln(o, text)
	return err
}

// column is a column of a table: its key in JSON and CSV, snake_case and never
// renamed, and its heading for people.
type column struct{ key, heading string }

// headings are the columns of a table that only people see.
func headings(names ...string) []column {
	columns := make([]column, len(names))
	for i, name := range names {
		columns[i].heading = name
	}
	return columns
}

// table is a result of rows; each has a value for each column. Values are
// strings, numbers, booleans, times, or nil where there is none.
type table struct {
	columns []column
	rows    [][]any
	spare   []string // headings of columns that a narrow terminal does without, the first to go first
}

// table prints t in the format of the command: text that fits the terminal, a
// JSON array of objects, or CSV.
func (o output) table(t table) error {
	switch o.format {
	case formatJSON:
		return o.json(t.objects())
	case formatCSV:
		return o.csv(t)
	default:
		return o.text(t)
	}
}

// objects returns the rows as JSON objects, for a result with more than a table.
func (t table) objects() []json.RawMessage {
	objects := make([]json.RawMessage, 0, len(t.rows))
	for _, row := range t.rows {
		var b strings.Builder
		for i, col := range t.columns {
			value, err := json.Marshal(row[i])
			if err != nil { // a NaN, say
				value = []byte("null")
			}
			fmt.Fprintf(&b, ",%q:%s", col.key, value)
		}
		objects = append(objects, json.RawMessage("{"+strings.TrimPrefix(b.String(), ",")+"}"))
	}
	return objects
}

func (o output) csv(t table) error {
	w := csv.NewWriter(o)
	record := make([]string, len(t.columns))
	for i, col := range t.columns {
		record[i] = col.key
	}
	_ = w.Write(record) // Error reports it below
	for _, row := range t.rows {
		for i, value := range row {
			record[i] = plainText(value)
		}
		_ = w.Write(record)
	}
	w.Flush()
	return w.Error()
}

func (o output) text(t table) error {
	_, err := fmt.Fprintln(o, t.render(o.width, o.colour))
	return err
}

// render lays the table out in columns that fit width; 0 is no limit.
func (t table) render(width int, colour bool) string {
	t = t.fitting(width)
	cells := t.cells()
	w := prettytable.NewWriter()
	w.SetStyle(plainStyle(colour))
	w.SuppressTrailingSpaces()
	w.AppendHeader(toRow(cells[0]))
	for _, line := range cells[1:] {
		w.AppendRow(toRow(line))
	}
	w.SetColumnConfigs(columnConfigs(t, columnWidths(cells, width)))
	return w.Render()
}

// plainStyle is columns with two blanks between them and no lines.
func plainStyle(colour bool) prettytable.Style {
	style := prettytable.StyleDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Options = prettytable.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	if colour {
		style.Color.Header = text.Colors{text.Bold}
	}
	return style
}

func toRow(cells []string) prettytable.Row {
	row := make(prettytable.Row, len(cells))
	for i, cell := range cells {
		row[i] = cell
	}
	return row
}

func columnConfigs(t table, widths []int) []prettytable.ColumnConfig {
	configs := make([]prettytable.ColumnConfig, len(t.columns))
	for i := range t.columns {
		configs[i] = prettytable.ColumnConfig{Number: i + 1, WidthMax: widths[i], WidthMaxEnforcer: text.WrapSoft}
		if isNumeric(t.rows, i) {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	return configs
}

func isNumeric(rows [][]any, i int) bool {
	numbers := 0
	for _, row := range rows {
		switch reflect.ValueOf(row[i]).Kind() {
		case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
			numbers++
		case reflect.Invalid:
		default:
			return false
		}
	}
	return numbers > 0
}

// plainText writes a value for a program to read.
func plainText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case time.Time:
		return v.Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// humanText writes a value for a person.
func humanText(value any) string {
	switch v := value.(type) {
	case interface{ human() string }:
		return v.human()
	case time.Time:
		return v.Format("2006-01-02 15:04:05")
	case float64:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	default:
		return plainText(value)
	}
}

// printable makes text from the API, a file or the database safe to show: line
// ends and tabs become blanks, and whatever else would steer the terminal or turn
// the reading direction shows as its escape.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case r == unicode.ReplacementChar || unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) || r == '\u200d':
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// quoted is printable text from the command line or a file between quotes, cut
// where it is long.
func quoted(s string) string {
	if runes := []rune(s); len(runes) > 80 {
		s = string(runes[:80]) + "…"
	}
	return `"` + printable(s) + `"`
}
