package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// sheet is a report for people: a title, then sections of facts, tables and lines.
type sheet struct {
	title    string
	sections []section
}

// section is a part of a sheet. What it lacks is left out; one without anything is
// not shown.
type section struct {
	title string
	lines []string // sentences; those that begin with blanks are wrapped behind them
	facts []fact
	table *table
	notes []string // sentences after the table
}

// fact is a name and its value; one without a value is left out.
type fact struct{ label, value string }

// report prints one report: doc as JSON, main as CSV, or doc's every value a line
// where main has no columns, and the sheet as text.
func (o output) report(doc any, main table, text func() sheet) error {
	switch {
	case o.format == formatJSON:
		return o.json(doc)
	case o.format == formatCSV && len(main.columns) > 0:
		return o.csv(main)
	case o.format == formatCSV:
		t, err := flattened(doc)
		if err != nil {
			return err
		}
		return o.csv(t)
	default:
		return o.sheet(text())
	}
}

func (o output) sheet(s sheet) error {
	var b strings.Builder
	b.WriteString(o.bold(printable(s.title)) + "\n")
	for _, section := range s.sections {
		o.section(&b, section)
	}
	_, err := io.WriteString(o, b.String())
	return err
}

func (o output) section(b *strings.Builder, s section) {
	told := slices.ContainsFunc(s.facts, func(f fact) bool { return f.value != "" })
	if len(s.lines) == 0 && !told && len(s.notes) == 0 && (s.table == nil || len(s.table.rows) == 0) {
		return
	}
	b.WriteByte('\n')
	if s.title != "" {
		b.WriteString(o.bold(s.title) + "\n")
	}
	for _, line := range s.lines {
		o.wrap(b, "", line)
	}
	widest := 0
	for _, f := range s.facts {
		widest = max(widest, text.StringWidth(f.label))
	}
	for _, f := range s.facts {
		if f.value != "" {
			o.wrap(b, text.Pad(f.label, widest+2, ' '), f.value)
		}
	}
	if s.table != nil && len(s.table.rows) > 0 {
		b.WriteString(s.table.render(o.width, o.colour) + "\n")
	}
	for _, note := range s.notes {
		o.wrap(b, "", note)
	}
}

// wrap writes label and sentence, broken at the terminal's width, further lines
// indented by the label's width and the sentence's own leading blanks.
func (o output) wrap(b *strings.Builder, label, sentence string) {
	sentence = printable(sentence)
	body := strings.TrimLeft(sentence, " ")
	label += strings.Repeat(" ", len(sentence)-len(body))
	if o.width == 0 {
		b.WriteString(label + body + "\n")
		return
	}
	indent := text.StringWidth(label)
	for _, bullet := range []string{"! ", "- ", "> "} {
		if strings.HasPrefix(body, bullet) {
			label, body, indent = label+bullet, body[len(bullet):], indent+len(bullet)
		}
	}
	lines := strings.Split(text.WrapSoft(body, max(20, o.width-indent)), "\n")
	for i, line := range lines {
		if i > 0 {
			label = strings.Repeat(" ", indent)
		}
		b.WriteString(strings.TrimRight(label+line, " ") + "\n")
	}
}

func (o output) bold(s string) string {
	if !o.colour || s == "" {
		return s
	}
	return text.Bold.Sprint(s)
}

// flattened is a document as a table of its values, each with its path:
// queue.due,12.
func flattened(doc any) (table, error) {
	encoded, err := json.Marshal(doc)
	if err != nil {
		return table{}, fmt.Errorf("encode the report: %w", err)
	}
	t := table{columns: []column{{"measure", ""}, {"value", ""}}}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	return t, t.flatten(decoder, "")
}

func (t *table) flatten(d *json.Decoder, path string) error {
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	delim, nested := token.(json.Delim)
	if !nested {
		if number, ok := token.(json.Number); ok {
			token = number.String()
		}
		t.rows = append(t.rows, []any{path, token})
		return nil
	}
	for i := 0; d.More(); i++ {
		key := strconv.Itoa(i)
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			key = fmt.Sprint(name)
		}
		if path != "" {
			key = path + "." + key
		}
		if err := t.flatten(d, key); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}
