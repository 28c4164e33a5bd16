package show

import (
	"bytes"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// safeJSON is a JSON document in which what steers a terminal or turns the reading
// direction is escaped. Its meaning is the same: such characters stand only in strings,
// and those below a blank are escaped by every encoder.
func safeJSON(doc []byte) []byte {
	const hex = "0123456789abcdef"
	if bytes.IndexFunc(doc, func(r rune) bool { return r >= 0x7f && !visible(r) }) < 0 {
		return doc
	}
	safe := make([]byte, 0, len(doc)+64)
	for len(doc) > 0 {
		r, size := utf8.DecodeRune(doc)
		if r < 0x7f || visible(r) {
			safe = append(safe, doc[:size]...)
		} else {
			units := utf16.AppendRune(nil, r)
			for _, u := range units {
				safe = append(safe, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
		}
		doc = doc[size:]
	}
	return safe
}

// SafeJSON returns a writer of JSON documents whose strings steer no terminal. Each Write
// is of a whole document.
func SafeJSON(w io.Writer) io.Writer { return safeWriter{w} }

type safeWriter struct{ w io.Writer }

func (s safeWriter) Write(doc []byte) (int, error) {
	if _, err := s.w.Write(safeJSON(doc)); err != nil {
		return 0, err
	}
	return len(doc), nil
}
