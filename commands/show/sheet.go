package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Sheet is a report for people: a title, then sections of facts, tables and lines.
type Sheet struct {
	Title    string
	Sections []Section
}

// Section is a part of a sheet. What it lacks is left out; one without anything is
// not shown.
type Section struct {
	Title string
	Lines []string // sentences; those that begin with blanks are wrapped behind them
	Facts []Fact
	Table *Table
	Notes []string // sentences after the table
}

// Fact is a label and its value; one without a value is left out.
type Fact [2]string

func (f Fact) label() string { return f[0] }
func (f Fact) value() string { return f[1] }

// Report prints one report: doc as JSON, main as CSV, or doc's every value a line
// where main has no columns, and the sheet as text.
func (o Output) Report(doc any, main Table, text func() Sheet) error {
	switch {
	case o.Format == JSON:
		return o.JSON(doc)
	case o.Format == CSV && len(main.Columns) > 0:
		return o.csv(main)
	case o.Format == CSV:
		t, err := flattened(doc)
		if err != nil {
			return err
		}
		return o.csv(t)
	default:
		return o.Sheet(text())
	}
}

// Sheet prints a sheet as text.
func (o Output) Sheet(s Sheet) error {
	var b strings.Builder
	var tables []*Table
	for _, section := range s.Sections {
		if section.Table != nil {
			tables = append(tables, section.Table)
		}
	}
	o.shorten(tables...)
	b.WriteString(o.Colour.Paint(Bold, Printable(s.Title)) + "\n")
	var left []string
	for _, section := range s.Sections {
		for _, heading := range o.section(&b, section) {
			if !slices.Contains(left, heading) {
				left = append(left, heading)
			}
		}
	}
	if len(left) > 0 {
		b.WriteByte('\n')
		o.leftOut(&b, left)
	}
	_, err := io.WriteString(o, b.String())
	return err
}

// section prints a part of a sheet. It returns the headings of the columns that it left
// out.
func (o Output) section(b *strings.Builder, s Section) (left []string) {
	told := slices.ContainsFunc(s.Facts, func(f Fact) bool { return f.value() != "" })
	if len(s.Lines) == 0 && !told && len(s.Notes) == 0 && (s.Table == nil || len(s.Table.Rows) == 0) {
		return nil
	}
	b.WriteByte('\n')
	if s.Title != "" {
		b.WriteString(o.Colour.Paint(Bold, Printable(s.Title)) + "\n")
	}
	for _, line := range s.Lines {
		o.wrap(b, "", "", line)
	}
	o.facts(b, s.Facts)
	if s.Table != nil && len(s.Table.Rows) > 0 {
		left = o.table(b, *s.Table)
	}
	for _, note := range s.Notes {
		o.wrap(b, Dim, "", note)
	}
	return left
}

func (o Output) facts(b *strings.Builder, facts []Fact) {
	widest := 0
	for _, f := range facts {
		if f.value() != "" {
			widest = max(widest, text.StringWidth(f.label()))
		}
	}
	for _, f := range facts {
		if f.value() != "" {
			o.wrap(b, "", text.Pad(f.label(), widest+2, ' '), f.value())
		}
	}
}

// bullets begin the lines of what needs attention, each with its tone.
var bullets = map[string]Tone{"! ": Bad, "- ": Warn, "> ": Dim}

// wrap writes label and sentence, broken at the terminal's width, further lines
// indented by the label's width and the sentence's own leading blanks.
func (o Output) wrap(b *strings.Builder, tone Tone, label, sentence string) {
	sentence = Printable(sentence)
	body := strings.TrimLeft(sentence, " ")
	lead, painted := strings.Repeat(" ", len(sentence)-len(body)), Dim
	if len(body) > 2 && bullets[body[:2]] != "" {
		lead, painted, body = lead+body[:2], bullets[body[:2]], body[2:]
	}
	indent := text.StringWidth(label + lead)
	lines := []string{body}
	if o.Width > 0 {
		lines = Wrapped(body, max(20, o.Width-indent))
	}
	for i, line := range lines {
		before := o.Colour.Paint(painted, label+lead)
		if i > 0 {
			before = strings.Repeat(" ", indent)
		}
		b.WriteString(strings.TrimRight(before+o.Colour.Paint(tone, line), " ") + "\n")
	}
}

// whole matches what a line end would spoil: an inspection id, and a command between
// backquotes, which is run when it is copied.
var whole = regexp.MustCompile("\\b\\p{Lu}[\\pL\\pN]* - \\pN+\\b|`[^`]+`")

// glue stands for a blank at which no line ends. No printable text has it.
const glue = "\uE000"

// Wrapped breaks a sentence into lines of at most width columns; 0 is no limit. It keeps
// commands in backquotes and inspection ids whole.
func Wrapped(sentence string, width int) []string {
	if width == 0 {
		return []string{sentence}
	}
	glued := whole.ReplaceAllStringFunc(sentence, func(s string) string {
		if text.StringWidth(s) > width {
			return s
		}
		return strings.ReplaceAll(s, " ", glue)
	})
	var lines []string
	for line := range strings.SplitSeq(text.WrapSoft(glued, width), "\n") {
		lines = append(lines, strings.TrimRight(strings.ReplaceAll(line, glue, " "), " "))
	}
	return lines
}

// flattened is a document as a table of its values, each with its path:
// queue.due,12.
func flattened(doc any) (Table, error) {
	encoded, err := json.Marshal(doc)
	if err != nil {
		return Table{}, fmt.Errorf("encode the report: %w", err)
	}
	t := Table{Columns: []Column{{"measure", ""}, {"value", ""}}}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	return t, t.flatten(decoder, "")
}

func (t *Table) flatten(d *json.Decoder, path string) error {
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
		t.Rows = append(t.Rows, []any{path, token})
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

// Told breaks a sentence as [Wrapped] does, except that a command in backquotes that is
// longer than a line is a line of its own, which the terminal breaks: a copied line end
// would run the command without its last words.
func Told(sentence string, width int) (lines []string) {
	if width == 0 {
		return []string{sentence}
	}
	from := 0
	wrap := func(part string) {
		if part = strings.TrimSpace(part); part != "" || sentence == "" {
			lines = append(lines, Wrapped(part, width)...)
		}
	}
	for _, at := range toldCommand.FindAllStringIndex(sentence, -1) {
		if command := sentence[at[0]:at[1]]; text.StringWidth(command) > width {
			wrap(sentence[from:at[0]])
			lines = append(lines, command)
			from = at[1]
		}
	}
	wrap(sentence[from:])
	return lines
}

// toldCommand matches a command in backquotes, with what follows it without a blank.
var toldCommand = regexp.MustCompile("`[^`]+`\\S*")
