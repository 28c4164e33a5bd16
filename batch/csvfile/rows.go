package csvfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"noggin/batch/forms"
)

// RowError says why one row cannot be used. Reading goes on after it.
type RowError struct {
	Line   int    // where the row begins, from 1
	Raw    string // the row as the file has it; of an overlong one the beginning
	Reason string
}

func (e *RowError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

const (
	maxRow     = 1 << 20 // bytes of a row with all its lines
	firstRead  = 64 << 10
	maxExcerpt = 1024
)

// Rows splits a CSV stream into rows. encoding/csv does not suffice: it reads a row of any
// length into memory, and the rest of the file when a quote is never closed. Rows reports
// such a row and goes on at the next line. It holds a window of the stream a little larger
// than maxRow.
type Rows struct {
	src  io.Reader
	eof  bool
	last byte   // that was read
	data []byte // the window
	pos  int    // where the unread part of data begins
	line int    // lines before pos

	Header string   // as the file has it
	Names  []string // names of the columns, trimmed, in lower case
	sep    byte
	Key    int // the column of the tip, whose value has no line break

	// HeldRows is the number of lines within a quoted value of the row that look like
	// rows of their own: the text of a comment, or rows behind a stray quote.
	HeldRows int

	row      [2]int   // the row in data
	RowLine  int      // the line where the row begins, from 1
	spans    []span   // the fields of the row in data
	fields   [][]byte // their texts, in which "" has become "
	unquoted []byte   // holds those texts that differ from data
}

var byteOrderMark = []byte("\xef\xbb\xbf")

type span struct {
	start, end int
	doubled    bool // holds doubled quotes
}

// Field is the ith field of the row without white space around it, empty where the row
// has no such field. It is valid until the next call of [Rows.Next].
func (c *Rows) Field(i int) []byte {
	if i < 0 || i >= len(c.fields) {
		return nil
	}
	return bytes.TrimSpace(c.fields[i])
}

// Shifted tells whether the row has values behind the last column. An unquoted comma
// causes that, so any value may be in the wrong column.
func (c *Rows) Shifted() bool {
	for i := len(c.Names); i < len(c.fields); i++ {
		if len(c.Field(i)) > 0 {
			return true
		}
	}
	return false
}

// Unended tells, once [Rows.Next] has returned io.EOF, whether the last line has no line
// end: the file may have been cut within a row.
func (c *Rows) Unended() bool { return c.last != '\n' }

// raw is the text of the row without its line end.
func (c *Rows) raw() string {
	return string(bytes.TrimRight(c.data[c.row[0]:c.row[1]], "\r\n"))
}

// Bad returns a [RowError] about the row.
func (c *Rows) Bad(reason string) error {
	return &RowError{Line: c.RowLine, Raw: c.raw(), Reason: reason}
}

// Next reads the next row that is not blank. Errors: io.EOF, *[RowError], or that of the
// stream.
func (c *Rows) Next() error {
	for {
		if err := c.read(); err != nil {
			return err
		}
		for i := range c.fields {
			if len(c.Field(i)) > 0 {
				return nil
			}
		}
	}
}

func (c *Rows) read() error {
	end, err := c.lineEnd()
	if err != nil {
		return err
	}
	if bytes.HasPrefix(c.data[c.pos:], byteOrderMark) { // of another file that was joined to this one
		c.pos += len(byteOrderMark)
	}
	c.row, c.RowLine = [2]int{c.pos, end}, c.line+1
	length := end - c.pos
	c.spans, c.HeldRows = c.spans[:0], 0
	if text := c.data[c.pos:end]; bytes.IndexByte(text, '"') < 0 {
		c.split(bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r")), c.pos)
		c.line++
	} else if reason, err := c.splitQuoted(); err != nil {
		return err
	} else if reason != "" {
		// Only the first line is lost. The quote may be a stray one, before good rows.
		c.row = [2]int{c.pos, c.pos + length}
		c.pos, c.line = c.row[1], c.line+1
		return c.Bad(reason)
	} else {
		text := c.data[c.row[0]:c.row[1]]
		c.line += bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) + 1
	}
	c.pos = c.row[1]
	if bytes.IndexByte(c.data[c.row[0]:c.row[1]], 0) >= 0 {
		return c.Bad("it holds NUL bytes")
	}
	c.undouble()
	return nil
}

// lineEnd reads until the window holds a whole line, and finds its end.
func (c *Rows) lineEnd() (int, error) {
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

// passLine skips an overlong line and returns the error about it.
func (c *Rows) passLine() error {
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

// fill drops what is read from the window and reads more of the stream into it.
func (c *Rows) fill() error {
	window, rest := c.data[:cap(c.data)], c.data[c.pos:]
	if len(rest) >= len(window)/2 {
		window = make([]byte, max(2*len(rest), firstRead))
	}
	n := copy(window, rest)
	c.data, c.pos = window[:n], 0
	more, err := io.ReadFull(c.src, window[n:])
	if c.data = window[:n+more]; more > 0 {
		c.last = window[n+more-1]
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		c.eof = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	return nil
}

// split finds the fields of a line without quotes that begins at offset in the window.
func (c *Rows) split(line []byte, offset int) {
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

// splitQuoted finds the fields of a row with quotes, which may span several lines. It
// returns what is wrong with the row, or an error of the stream.
func (c *Rows) splitQuoted() (reason string, err error) {
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
		case c.Key < len(c.spans) && bytes.IndexByte(c.data[c.spans[c.Key].start:c.spans[c.Key].end], '\n') >= 0:
			return unclosed, nil
		}
		if c.HeldRows = c.heldRows(); c.HeldRows > 0 && !c.fits() {
			return unclosed + " before the next row", nil
		}
		return "", nil
	}
}

const unclosed = "a quote is opened and not closed"

// scan finds the fields of the row at pos. whole is false where the window ends before
// the row does.
func (c *Rows) scan() (reason string, whole bool) {
	lineEnd := -1 // end of the line that holds at
	for at := c.pos; ; at++ {
		s := span{start: at}
		quoted := at < len(c.data) && c.data[at] == '"'
		if quoted {
			if s, whole = c.quoted(at + 1); !whole {
				return "", false
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
		case !quoted: // A quote within the field is text.
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
func (c *Rows) quoted(start int) (s span, whole bool) {
	s.start = start
	for at := start; ; {
		i := bytes.IndexByte(c.data[at:], '"')
		if i < 0 {
			return s, false
		}
		at += i + 1
		if at == len(c.data) && !c.eof {
			return s, false // One more byte decides.
		}
		if at == len(c.data) || c.data[at] != '"' {
			s.end = at - 1
			return s, true
		}
		s.doubled = true
		at++
	}
}

// heldRows counts the lines within values of the row that look like rows: they have a
// tip in the column of the tip.
func (c *Rows) heldRows() (n int) {
	for _, s := range c.spans {
		_, text, _ := bytes.Cut(c.data[s.start:s.end], []byte("\n"))
		for len(text) > 0 {
			var line []byte
			line, text, _ = bytes.Cut(text, []byte("\n"))
			for column := 0; column < c.Key && line != nil; column++ {
				_, line, _ = bytes.Cut(line, []byte{c.sep})
			}
			if len(line) > forms.MaxTip && line[forms.MaxTip] == c.sep && forms.IsPlatformTip(string(line[:forms.MaxTip])) {
				n++
			}
		}
	}
	return n
}

// fits tells whether the row has as many values as the header has columns. A stray quote
// that another one closed leaves more or fewer.
func (c *Rows) fits() bool {
	want := len(c.Names)
	for want > 0 && c.Names[want-1] == "" {
		want--
	}
	for i := len(c.Names); i < len(c.spans); i++ {
		if len(bytes.TrimSpace(c.data[c.spans[i].start:c.spans[i].end])) > 0 {
			return false
		}
	}
	return len(c.spans) >= want
}

// IsHeader tells whether the row repeats the header, as it does in exports that were
// joined.
func (c *Rows) IsHeader() bool {
	for i := range max(len(c.Names), len(c.fields)) {
		name := ""
		if i < len(c.Names) {
			name = c.Names[i]
		}
		if !strings.EqualFold(string(c.Field(i)), name) {
			return false
		}
	}
	return true
}

// undouble sets fields from spans.
func (c *Rows) undouble() {
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
