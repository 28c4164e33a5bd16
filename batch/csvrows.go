package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// RowError is a row that cannot be used; the rows after it can.
type RowError struct {
	Line   int    // where the row begins, from 1
	Raw    string // the row as it was read, of an overlong one the beginning
	Reason string
}

func (e *RowError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

const (
	maxRow     = 1 << 20 // bytes, a row with all its lines
	firstRead  = 64 << 10
	maxExcerpt = 1024
)

// csvRows splits a CSV stream into rows. It is not encoding/csv because that
// reads a row of any length into memory, and with an opened quote that is never
// closed the rest of the file: here such a row is reported, and reading goes on
// at the next line. It needs a window of the stream a little over maxRow.
type csvRows struct {
	src  io.Reader
	eof  bool
	data []byte // the window; everything from pos on is still to be read
	pos  int
	line int // lines before pos

	header string   // as it was read
	names  []string // its columns, trimmed, in lower case
	sep    byte
	key    int // the column of the tip, whose value cannot go over lines

	row      [2]int   // the row in data
	rowLine  int      // where it began
	spans    []span   // its fields
	fields   [][]byte // the same, with doubled quotes undone
	unquoted []byte   // where they are undone
}

type span struct {
	start, end int
	doubled    bool // holds doubled quotes
}

// field is the ith field of the row without white space around it, empty where
// the row has no such field. It is valid until the next row is read.
func (c *csvRows) field(i int) []byte {
	if i < 0 || i >= len(c.fields) {
		return nil
	}
	return bytes.TrimSpace(c.fields[i])
}

// shifted tells whether the row has values behind the last column, as an
// unquoted comma makes them: then any value may be in the wrong one.
func (c *csvRows) shifted() bool {
	for i := len(c.names); i < len(c.fields); i++ {
		if len(c.field(i)) > 0 {
			return true
		}
	}
	return false
}

// raw is the text of the row without its line end.
func (c *csvRows) raw() string {
	return string(bytes.TrimRight(c.data[c.row[0]:c.row[1]], "\r\n"))
}

// bad is an error about the row.
func (c *csvRows) bad(reason string) error {
	return &RowError{Line: c.rowLine, Raw: c.raw(), Reason: reason}
}

// next reads the next row that has anything in it. Errors: io.EOF, *RowError,
// or that of the stream.
func (c *csvRows) next() error {
	for {
		if err := c.read(); err != nil {
			return err
		}
		for _, f := range c.fields {
			if len(f) > 0 && len(bytes.TrimSpace(f)) > 0 {
				return nil
			}
		}
	}
}

func (c *csvRows) read() error {
	end, err := c.lineEnd()
	if err != nil {
		return err
	}
	c.row, c.rowLine = [2]int{c.pos, end}, c.line+1
	length := end - c.pos
	c.spans = c.spans[:0]
	if text := c.data[c.pos:end]; bytes.IndexByte(text, '"') < 0 {
		c.split(trimEnd(text), c.pos)
		c.line++
	} else if reason, err := c.splitQuoted(); err != nil {
		return err
	} else if reason != "" {
		// Only the line where it began is lost: the quote may be a stray one, and
		// what it seems to hold the rows after it.
		c.row = [2]int{c.pos, c.pos + length}
		c.pos, c.line = c.row[1], c.line+1
		return c.bad(reason)
	} else {
		c.line += max(bytes.Count(c.data[c.row[0]:c.row[1]], []byte("\n")), 1)
	}
	c.pos = c.row[1]
	if bytes.IndexByte(c.data[c.row[0]:c.row[1]], 0) >= 0 {
		return c.bad("it holds NUL bytes")
	}
	c.undouble()
	return nil
}

// lineEnd makes sure that a whole line is in the window and finds its end.
func (c *csvRows) lineEnd() (int, error) {
	for from := c.pos; ; {
		end := len(c.data)
		if i := bytes.IndexByte(c.data[from:], '\n'); i >= 0 {
			end = from + i + 1
		}
		switch seen := end - c.pos; {
		case seen > maxRow:
			return 0, c.passLine()
		case end > from && c.data[end-1] == '\n', c.eof && seen > 0:
			return end, nil
		case c.eof:
			return 0, io.EOF
		default:
			if err := c.fill(); err != nil {
				return 0, err
			}
			from = c.pos + seen
		}
	}
}

// passLine leaves an overlong line behind.
func (c *csvRows) passLine() error {
	bad := &RowError{
		Line:   c.line + 1,
		Raw:    strings.ToValidUTF8(string(c.data[c.pos:c.pos+maxExcerpt]), "") + "…",
		Reason: fmt.Sprintf("the line is longer than %d bytes", maxRow),
	}
	for {
		if i := bytes.IndexByte(c.data[c.pos:], '\n'); i >= 0 {
			c.pos += i + 1
			break
		}
		c.pos = len(c.data)
		if c.eof {
			break
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	c.line++
	return bad
}

// fill reads more of the stream behind what is still to be read.
func (c *csvRows) fill() error {
	window, rest := c.data[:cap(c.data)], c.data[c.pos:]
	if len(rest) >= len(window)/2 {
		window = make([]byte, max(2*len(rest), firstRead))
	}
	n := copy(window, rest)
	c.data, c.pos = window[:n], 0
	more, err := io.ReadFull(c.src, window[n:])
	c.data = window[:n+more]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		c.eof = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	return nil
}

// split takes a line without quotes apart; it begins at offset in the window.
func (c *csvRows) split(line []byte, offset int) {
	for {
		i := bytes.IndexByte(line, c.sep)
		if i < 0 {
			c.spans = append(c.spans, span{offset, offset + len(line), false})
			return
		}
		c.spans = append(c.spans, span{offset, offset + i, false})
		offset += i + 1
		line = line[i+1:]
	}
}

// splitQuoted takes a row apart that holds quotes, and may go over lines. It
// returns why that can't be, or an error of the stream.
func (c *csvRows) splitQuoted() (reason string, err error) {
	for {
		c.spans = c.spans[:0]
		reason, whole := c.scan()
		switch {
		case reason != "":
			return reason, nil
		case !whole && (c.eof || len(c.data)-c.pos > maxRow):
			return unclosed, nil
		case !whole:
			if err := c.fill(); err != nil {
				return "", err
			}
			c.row[0] = c.pos
			continue
		case c.row[1]-c.row[0] > maxRow:
			return fmt.Sprintf("the row is longer than %d bytes", maxRow), nil
		case c.key < len(c.spans) && bytes.IndexByte(c.data[c.spans[c.key].start:c.spans[c.key].end], '\n') >= 0:
			return unclosed, nil
		}
		return "", nil
	}
}

const unclosed = "a quote is opened and not closed"

// scan looks for the fields of the row at pos as far as the window goes. It is
// not whole where the window ends too early.
func (c *csvRows) scan() (reason string, whole bool) {
	lineEnd := -1 // of the line that at is in
	for at := c.pos; ; at++ {
		s := span{start: at}
		quoted := at < len(c.data) && c.data[at] == '"'
		if quoted {
			if s, reason, whole = c.quoted(at + 1); !whole {
				return reason, false
			}
			at = s.end + 1
		}
		if at > lineEnd {
			i := bytes.IndexByte(c.data[at:], '\n')
			if i < 0 && !c.eof {
				return "", false
			}
			if lineEnd = at + i; i < 0 {
				lineEnd = len(c.data)
			}
		}
		line := bytes.TrimSuffix(c.data[at:lineEnd], []byte("\r"))
		i := bytes.IndexByte(line, c.sep)
		last := i < 0
		if last {
			i = len(line)
		}
		switch {
		case quoted && len(bytes.TrimSpace(line[:i])) > 0:
			return "there is text behind a closing quote", false
		case !quoted: // a quote inside is just text
			s.end = at + i
		}
		c.spans = append(c.spans, s)
		if at += i; last {
			c.row[1] = min(lineEnd+1, len(c.data))
			return "", true
		}
	}
}

// quoted finds the closing quote of a field whose text begins at start.
func (c *csvRows) quoted(start int) (s span, reason string, whole bool) {
	s.start = start
	for at := start; ; {
		i := bytes.IndexByte(c.data[at:], '"')
		text := c.data[at:]
		if i >= 0 {
			text = text[:i]
		}
		if c.holdsRow(text) {
			return s, unclosed + " before the next row", false
		}
		if i < 0 {
			return s, "", false
		}
		at += i + 1
		if at == len(c.data) && !c.eof {
			return s, "", false // one more byte decides
		}
		if at == len(c.data) || c.data[at] != '"' {
			s.end = at - 1
			return s, "", true
		}
		s.doubled = true
		at++
	}
}

// holdsRow tells whether a line of what a quote holds begins with a tip and a
// separator: then the quote is a stray one that would swallow good rows.
func (c *csvRows) holdsRow(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return false
		}
		text = text[i+1:]
		if len(text) > maxTip && text[maxTip] == c.sep && IsPlatformTip(string(text[:maxTip])) {
			return true
		}
	}
}

// undouble makes fields of the spans.
func (c *csvRows) undouble() {
	c.fields, c.unquoted = c.fields[:0], c.unquoted[:0]
	for _, s := range c.spans {
		f := c.data[s.start:s.end]
		if s.doubled {
			from := len(c.unquoted)
			c.unquoted = append(c.unquoted, bytes.ReplaceAll(f, []byte(`""`), []byte(`"`))...)
			f = c.unquoted[from:]
		}
		c.fields = append(c.fields, f)
	}
}

// trimEnd takes the line end off.
func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}
