package csvfile

import (
	"bufio"
	"io"
	"strings"
)

// Writer writes rows of CSV. Beside what needs quotes it quotes fields with semicolons or
// tabs, which some spreadsheets take for separators: what follows one could be a formula.
type Writer struct{ w *bufio.Writer }

// NewWriter returns a writer to w. What is written reaches w with [Writer.Flush].
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriter(w)} }

// Write writes a row.
func (w *Writer) Write(row []string) error {
	var line []byte
	for i, field := range row {
		if i > 0 {
			line = append(line, ',')
		}
		line = appendField(line, field)
	}
	_, err := w.w.Write(append(line, '\n'))
	return err
}

// Flush writes what is left, and returns the first error of all writing.
func (w *Writer) Flush() error { return w.w.Flush() }

// appendField appends a field to a row.
func appendField(row []byte, field string) []byte {
	if field != `\.` && !strings.HasPrefix(field, " ") && !strings.ContainsAny(field, "\",;\t\r\n") {
		return append(row, field...)
	}
	row = append(row, '"')
	row = append(row, strings.ReplaceAll(field, `"`, `""`)...)
	return append(row, '"')
}
