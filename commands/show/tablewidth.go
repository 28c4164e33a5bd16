package show

import (
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	// On terminals narrower than this, a table that would lose columns is shown as
	// blocks.
	narrow = 72
	// Sentences up to this width are not broken as long as there are spare columns, or
	// wider sentences.
	unbroken = 26
	// A column of wider sentences is made this narrow before others are left out.
	readable = 24
)

// cell is a value of a table as people see it.
type cell struct {
	text  string
	tone  Tone
	solid bool // never broken: a name, a number, a time
}

// mostAsked bounds the tips of a table that the database is asked about. Of more, the
// table itself knows nearly all neighbours.
const mostAsked = 1000

// shorten finds out how many digits of each tip in the tables are unique.
func (o Output) shorten(tables ...*Table) {
	var tips []string
	for _, t := range tables {
		for _, row := range t.Rows {
			for _, value := range row {
				if tip, ok := value.(Tip); ok && len(tip) == tipDigits {
					tips = append(tips, string(tip))
				}
			}
		}
	}
	if len(tips) == 0 || o.Wide {
		return
	}
	if o.Neighbours != nil {
		near, err := o.Neighbours(tips[:min(len(tips), mostAsked)])
		if err == nil { // else those of the tables must do
			tips = append(tips, near...)
		}
	}
	slices.Sort(tips)
	digits := unique(slices.Compact(tips))
	for _, t := range tables {
		t.digits = digits
	}
}

// unique returns how many digits of each of the sorted tips none of the others shares.
func unique(tips []string) map[string]int {
	digits := make(map[string]int, len(tips))
	for i := 1; i < len(tips); i++ {
		n := shared(tips[i-1], tips[i]) + 1
		digits[tips[i-1]], digits[tips[i]] = max(digits[tips[i-1]], n), n
	}
	return digits
}

// shared is how many digits two tips have in common at their beginning.
func shared(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// cells are the cells of the table, headings first.
func (t Table) cells(wide bool) [][]cell {
	cells := make([][]cell, 0, len(t.Rows)+1)
	headings := make([]cell, len(t.Columns))
	for i, col := range t.Columns {
		headings[i] = cell{text: col.heading(), tone: Bold}
	}
	cells = append(cells, headings)
	for _, row := range t.Rows {
		line := make([]cell, len(row))
		for i, value := range row {
			line[i] = t.cell(value, wide)
		}
		cells = append(cells, line)
	}
	return cells
}

func (t Table) cell(value any, wide bool) cell {
	c := cell{text: Printable(HumanText(value)), solid: true}
	switch v := value.(type) {
	case string:
		if c.solid = false; !wide {
			c.text = ShortTips(c.text)
		}
	case error:
		c.solid = false
	case State:
		c.tone = v.tone()
	case Tip:
		if !wide {
			c.text = Printable(v.beginning(t.digits[string(v)]))
		} else {
			c.text = Printable(string(v))
		}
	}
	return c
}

// fitting leaves spare columns out until the table fits limit; 0 is no limit. It returns
// the headings of those that it left out, and whether the rest fits.
func (t Table) fitting(limit int) (fitted Table, left []string, fits bool) {
	fitted = t
	for _, heading := range append(slices.Clone(t.Spare), "") {
		needed := -2 // between the columns
		for _, c := range measure(fitted.cells(false)) {
			needed += c.least() + 2
		}
		if limit == 0 || needed <= limit {
			return fitted, left, true
		}
		if less, ok := fitted.without(heading); ok {
			fitted, left = less, append(left, heading)
		}
	}
	return fitted, left, false
}

// without returns the table without the column of a heading, if it has one that names
// nothing.
func (t Table) without(heading string) (Table, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.heading() == heading })
	if i < 0 || heading == "" {
		return t, false
	}
	less := t
	less.Columns, less.Rows = slices.Delete(slices.Clone(t.Columns), i, i+1), nil
	for _, row := range t.Rows {
		less.Rows = append(less.Rows, slices.Delete(slices.Clone(row), i, i+1))
	}
	return less, true
}

// columnMeasure is how wide a column is.
type columnMeasure struct {
	widest  int // of its cells
	heading int
	solid   int // the widest that is never broken, or word of the heading
}

// least is the least width at which the column can be read with ease.
func (c columnMeasure) least() int {
	if c.widest <= unbroken {
		return max(c.solid, c.widest)
	}
	return max(c.solid, readable)
}

func measure(cells [][]cell) []columnMeasure {
	columns := make([]columnMeasure, len(cells[0]))
	for n, line := range cells {
		for i, cell := range line {
			c, width := &columns[i], text.StringWidth(cell.text)
			switch {
			case n == 0: // a heading is broken between its words
				for word := range strings.FieldsSeq(cell.text) {
					c.solid = max(c.solid, text.StringWidth(word))
				}
			case cell.solid:
				c.solid = max(c.solid, width)
				fallthrough
			default:
				c.widest = max(c.widest, width)
			}
		}
	}
	for i, heading := range cells[0] { // whole where there is room
		columns[i].heading = text.StringWidth(heading.text)
	}
	return columns
}

// columnWidths gives each column its widest cell, then takes from the widest columns
// until the line fits limit.
func columnWidths(columns []columnMeasure, limit int) []int {
	widths := make([]int, len(columns))
	total := -2 // between the columns
	for i, c := range columns {
		widths[i] = max(c.widest, c.heading)
		total += widths[i] + 2
	}
	for limit > 0 && total > limit {
		widest := -1
		for i, width := range widths {
			if width > columns[i].least() && (widest < 0 || width > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}
