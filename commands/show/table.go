package show

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	prettytable "github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column is a column of a table: its key in JSON and CSV, snake_case and never
// renamed, and its heading for people.
type Column [2]string

func (c Column) key() string     { return c[0] }
func (c Column) heading() string { return c[1] }

// Headings are the columns of a table that only people see.
func Headings(names ...string) []Column {
	columns := make([]Column, len(names))
	for i, name := range names {
		columns[i][1] = name
	}
	return columns
}

// Table is a result of rows; each has a value for each column. Values are
// strings, numbers, booleans, times, or nil where there is none.
type Table struct {
	Columns []Column
	Rows    [][]any
	// Spare are the headings of columns that a narrow terminal does without, the first to
	// go first. Columns of an [ID] or [Tip] are never among them.
	Spare []string

	digits map[string]int // of each tip, as Output.shorten found them
}

// Table prints t in the format of the command: text that fits the terminal, a
// JSON array of objects, or CSV.
func (o Output) Table(t Table) error {
	switch o.Format {
	case JSON:
		return o.JSON(t.Objects())
	case CSV:
		return o.csv(t)
	default:
		return o.Text(t)
	}
}

// Objects returns the rows as JSON objects, for a result with more than a table.
func (t Table) Objects() []json.RawMessage {
	objects := make([]json.RawMessage, 0, len(t.Rows))
	for _, row := range t.Rows {
		var b strings.Builder
		for i, col := range t.Columns {
			value, err := json.Marshal(row[i])
			if err != nil { // a NaN, say
				value = []byte("null")
			}
			fmt.Fprintf(&b, ",%q:%s", col.key(), value)
		}
		objects = append(objects, json.RawMessage("{"+strings.TrimPrefix(b.String(), ",")+"}"))
	}
	return objects
}

func (o Output) csv(t Table) error {
	w := csv.NewWriter(o)
	record := make([]string, len(t.Columns))
	for i, col := range t.Columns {
		record[i] = col.key()
	}
	_ = w.Write(record) // Error reports it below
	for _, row := range t.Rows {
		for i, value := range row {
			record[i] = o.csvValue(value)
		}
		_ = w.Write(record)
	}
	w.Flush()
	return w.Error()
}

// csvValue is a value in CSV.
func (o Output) csvValue(value any) string {
	text := PlainText(value)
	if _, failed := value.(error); !o.Raw && (failed || reflect.ValueOf(value).Kind() == reflect.String) {
		return csvText(text)
	}
	return text
}

// Text prints a table as text that fits the terminal.
func (o Output) Text(t Table) error {
	o.shorten(&t)
	var b strings.Builder
	o.leftOut(&b, o.table(&b, t))
	_, err := io.WriteString(o, b.String())
	return err
}

// leftOut tells which columns a narrow terminal does without.
func (o Output) leftOut(b *strings.Builder, headings []string) {
	if len(headings) > 0 {
		o.wrap(b, Dim, "", "Left out at this width: "+strings.Join(headings, ", ")+" (--wide shows all).")
	}
}

// table lays a table out. It returns the headings of the columns that it left out.
func (o Output) table(b *strings.Builder, t Table) []string {
	width := o.Width
	if o.Wide {
		width = 0
	}
	fitted, left, fits := t.fitting(width)
	if !fits || len(left) > 0 && width < narrow {
		o.blocks(b, t)
		return nil
	}
	b.WriteString(o.columns(fitted, width) + "\n")
	return left
}

// columns lays the table out in columns that fit width; 0 is no limit.
func (o Output) columns(t Table, width int) string {
	cells := t.cells(o.Wide)
	w := prettytable.NewWriter()
	w.SetStyle(plainStyle())
	w.SuppressTrailingSpaces()
	for i, line := range cells {
		row := make(prettytable.Row, len(line))
		for j, c := range line {
			row[j] = o.Colour.Paint(c.tone, c.text)
		}
		if i == 0 {
			w.AppendHeader(row)
		} else {
			w.AppendRow(row)
		}
	}
	w.SetColumnConfigs(columnConfigs(t, columnWidths(measure(cells), width)))
	return w.Render()
}

// blocks lays each row out as lines of a heading and a value, for a terminal that is too
// narrow for columns.
func (o Output) blocks(b *strings.Builder, t Table) {
	cells := t.cells(o.Wide)
	widest := 0
	for i := range t.Columns {
		if cells[0][i].text != "" {
			widest = max(widest, text.StringWidth(cells[0][i].text))
		}
	}
	for n, line := range cells[1:] {
		if n > 0 {
			b.WriteByte('\n')
		}
		for i, c := range line {
			if heading := cells[0][i].text; heading != "" && c.text != "" {
				o.wrap(b, c.tone, text.Pad(heading, widest+2, ' '), c.text)
			}
		}
	}
}

// plainStyle is columns with two blanks between them and no lines.
func plainStyle() prettytable.Style {
	style := prettytable.StyleDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Options = prettytable.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	return style
}

func columnConfigs(t Table, widths []int) []prettytable.ColumnConfig {
	configs := make([]prettytable.ColumnConfig, len(t.Columns))
	for i := range t.Columns {
		configs[i] = prettytable.ColumnConfig{Number: i + 1, WidthMax: widths[i], WidthMaxEnforcer: breakCell}
		if isNumeric(t.Rows, i) {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	return configs
}

// breakCell breaks a cell that may be painted.
func breakCell(cell string, width int) string {
	before, after := "", ""
	if strings.HasPrefix(cell, "\x1b[") {
		end := strings.IndexByte(cell, 'm') + 1
		before, cell = cell[:end], cell[end:]
		cell, after = strings.TrimSuffix(cell, reset), reset
	}
	lines := Wrapped(cell, width)
	for i, line := range lines {
		lines[i] = before + line + after
	}
	return strings.Join(lines, "\n")
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
