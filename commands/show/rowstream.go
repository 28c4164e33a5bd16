package show

import (
	"bufio"
	"bytes"
	"encoding/json"
)

// RowStream prints rows as they come, as CSV or as one JSON array. Its memory does not
// grow with their number.
type RowStream struct {
	w       *bufio.Writer
	out     Output
	json    bool
	columns []string
	keys    [][]byte // "name":
	rows    int
}

// NewRowStream returns a stream that prints rows with these columns to out, as JSON
// when out is JSON, else as CSV. The caller ends it.
func NewRowStream(out Output, columns []string) *RowStream {
	s := &RowStream{w: bufio.NewWriterSize(out, 1<<16), out: out, json: out.Format == JSON, columns: columns}
	for _, name := range columns {
		s.keys = append(s.keys, append(appendJSON(nil, name), ':'))
	}
	return s
}

// begin writes what stands before the first row.
func (s *RowStream) begin() {
	if s.json {
		_ = s.w.WriteByte('[') // end reports what went wrong, as everywhere below
		return
	}
	for i, name := range s.columns {
		s.csvField(i, []byte(name))
	}
	_ = s.w.WriteByte('\n')
}

// Write prints a row of values as a table has them.
func (s *RowStream) Write(row []any) error {
	fields := make([][]byte, len(row))
	for i, value := range row {
		switch {
		case s.json:
			fields[i] = appendJSON(nil, value)
		case value != nil:
			fields[i] = []byte(s.out.csvValue(value))
		}
	}
	return s.raw(fields)
}

// Text prints a row of texts; nil is no value. bare tells which of them are numbers, or
// true and false.
func (s *RowStream) Text(row [][]byte, bare []bool) error {
	for i, value := range row {
		switch {
		case !s.json:
			if value != nil && !bare[i] && !s.out.Raw {
				row[i] = []byte(csvText(string(value)))
			}
		case value == nil:
			row[i] = []byte("null")
		case !bare[i]:
			row[i] = appendJSON(nil, string(value))
		}
	}
	return s.raw(row)
}

// raw prints a row of fields: JSON values, or texts for CSV.
func (s *RowStream) raw(fields [][]byte) error {
	if s.rows == 0 {
		s.begin()
	}
	if !s.json {
		for i, field := range fields {
			s.csvField(i, field)
		}
		s.rows++
		return s.w.WriteByte('\n')
	}
	separator := ",\n  "
	if s.rows == 0 {
		separator = "\n  "
	}
	_, _ = s.w.WriteString(separator)
	for i, field := range fields {
		_ = s.w.WriteByte("{,"[min(i, 1)])
		_, _ = s.w.Write(s.keys[i])
		_, _ = s.w.Write(field)
	}
	s.rows++
	return s.w.WriteByte('}')
}

// csvField writes a field as PostgreSQL's COPY does: nothing for no value, quotes
// for an empty one and where they are needed.
func (s *RowStream) csvField(i int, field []byte) {
	if i > 0 {
		_ = s.w.WriteByte(',')
	}
	switch {
	case field == nil:
	case len(field) == 0 || bytes.ContainsAny(field, "\",\r\n"):
		_ = s.w.WriteByte('"')
		for _, b := range field {
			if b == '"' {
				_ = s.w.WriteByte('"')
			}
			_ = s.w.WriteByte(b)
		}
		_ = s.w.WriteByte('"')
	default:
		_, _ = s.w.Write(field)
	}
}

// End writes what stands after the last row, and reports what could not be written.
func (s *RowStream) End() error {
	if s.rows == 0 {
		s.begin()
	}
	if s.json {
		if s.rows > 0 {
			_ = s.w.WriteByte('\n')
		}
		_, _ = s.w.WriteString("]\n")
	}
	return s.w.Flush()
}

// appendJSON appends a value as JSON; strings and numbers always have one.
func appendJSON(b []byte, value any) []byte {
	encoded, err := json.Marshal(value)
	if err != nil {
		encoded = []byte("null")
	}
	return append(b, safeJSON(encoded)...)
}
