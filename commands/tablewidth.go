package commands

import (
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	// Up to this width a column is not broken as long as there are spare ones, or
	// wider ones.
	unbroken = 26
	// A wider column is made narrow down to this before shorter ones are broken.
	readable = 24
	// No column is made narrower than this, come what may.
	narrowest = 6
)

// cells are the texts of the table, headings first.
func (t table) cells() [][]string {
	cells := make([][]string, 0, len(t.rows)+1)
	headings := make([]string, len(t.columns))
	for i, col := range t.columns {
		headings[i] = col.heading
	}
	cells = append(cells, headings)
	for _, row := range t.rows {
		line := make([]string, len(row))
		for i, value := range row {
			line[i] = printable(humanText(value))
		}
		cells = append(cells, line)
	}
	return cells
}

// fitting is the table without as many of its spare columns as its lines are too
// long for limit; 0 is no limit.
func (t table) fitting(limit int) table {
	if limit == 0 {
		return t
	}
	for _, heading := range t.spare {
		needed := 0
		for _, c := range measure(t.cells()) {
			needed += max(c.unbroken(), c.word) + 2
		}
		if needed <= limit {
			return t
		}
		t = t.without(heading)
	}
	return t
}

func (t table) without(heading string) table {
	i := slices.IndexFunc(t.columns, func(c column) bool { return c.heading == heading })
	if i < 0 {
		return t
	}
	less := table{columns: slices.Delete(slices.Clone(t.columns), i, i+1)}
	for _, row := range t.rows {
		less.rows = append(less.rows, slices.Delete(slices.Clone(row), i, i+1))
	}
	return less
}

// columnMeasure is how wide a column's cells are, and their longest word.
type columnMeasure struct{ widest, word int }

// unbroken is the least width at which the column can be read with ease.
func (c columnMeasure) unbroken() int {
	if c.widest <= unbroken {
		return c.widest
	}
	return readable
}

func measure(cells [][]string) []columnMeasure {
	columns := make([]columnMeasure, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			c := &columns[i]
			c.widest = max(c.widest, text.StringWidth(cell))
			for word := range strings.FieldsSeq(cell) {
				c.word = max(c.word, text.StringWidth(word))
			}
		}
	}
	return columns
}

// columnWidths gives each column its widest cell, then takes from the widest
// columns until the line fits limit: first from those of sentences, then between
// the words of all, then within them.
func columnWidths(cells [][]string, limit int) []int {
	columns := measure(cells)
	widths := make([]int, len(columns))
	total := 0 // each is followed by two blanks, the last one too
	for i, c := range columns {
		widths[i] = c.widest
		total += widths[i] + 2
	}
	if limit == 0 {
		return widths
	}
	total = shrink(widths, total, limit, func(i int) int { return columns[i].unbroken() })
	total = shrink(widths, total, limit, func(i int) int { return max(narrowest, columns[i].word) })
	shrink(widths, total, limit, func(int) int { return narrowest })
	return widths
}

// shrink takes from the widest columns that are wider than least allows.
func shrink(widths []int, total, limit int, least func(i int) int) int {
	for total > limit {
		widest := -1
		for i, width := range widths {
			if width > least(i) && (widest < 0 || width > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	return total
}
