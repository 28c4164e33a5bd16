package csvfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"noggin/batch/forms"
)

// ErrUnusableFile says that no row of a file can be read: it is no CSV text, or it has no
// header, or an unknown one.
var ErrUnusableFile = errors.New("the file cannot be used")

// NewRows reads the header. It finds out the encoding (UTF-8, or UTF-16 with a byte order
// mark, as in "Unicode text" of spreadsheets) and the separator (comma, semicolon or tab).
func NewRows(r io.Reader) (*Rows, error) {
	in := bufio.NewReader(r)
	mark, _ := in.Peek(2) // an error comes again with the first read
	if string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff" {
		utf16 := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()
		in = bufio.NewReader(transform.NewReader(in, utf16))
	}
	c := &Rows{src: lineEnds{in}}
	if err := c.fill(); err != nil {
		return nil, err
	}
	if what := notText(bytes.TrimPrefix(c.data, byteOrderMark)); what != "" {
		return nil, fmt.Errorf("%w: %s", ErrUnusableFile, what)
	}
	return c, c.readHeader()
}

// notText says what is wrong with a file that is no CSV text, though its name may end in
// .csv.
func notText(head []byte) string {
	first, _, _ := bytes.Cut(head, []byte("\n"))
	switch {
	case len(bytes.TrimSpace(head)) == 0 && len(head) < firstRead:
		return "it is empty"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")):
		return `it is a workbook; save it as "CSV UTF-8" in the spreadsheet program`
	case bytes.IndexByte(first, 0) >= 0:
		return "it is not text in UTF-8: its first line holds NUL bytes"
	}
	return ""
}

func (c *Rows) readHeader() error {
	for {
		first, _, _ := bytes.Cut(bytes.TrimLeft(bytes.TrimPrefix(c.data[c.pos:], byteOrderMark), "\r\n"), []byte("\n"))
		c.sep = separator(first)
		err := c.Next()
		if bad, ok := errors.AsType[*RowError](err); ok {
			return fmt.Errorf("%w: its header: %s", ErrUnusableFile, bad.Reason)
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: it has no header", ErrUnusableFile)
		}
		if err != nil {
			return err
		}
		// Some programs write a first line "sep=;" for spreadsheets.
		if raw := c.raw(); !strings.HasPrefix(strings.ToLower(raw), "sep=") || len(raw) > len("sep=;") {
			break
		}
	}
	c.Header = c.raw()
	for _, f := range c.fields {
		c.Names = append(c.Names, strings.ToLower(strings.TrimSpace(string(f))))
	}
	return nil
}

// separator is the one that occurs most often in the line, outside of quotes. A line
// without one has a comma.
func separator(line []byte) byte {
	var count [256]int
	quoted := false
	for _, b := range line {
		if b == '"' {
			quoted = !quoted
		}
		if !quoted {
			count[b]++
		}
	}
	best := byte(',')
	for _, sep := range []byte{';', '\t'} {
		if count[sep] > count[best] {
			best = sep
		}
	}
	return best
}

// Column finds the first column that has one of the names, given in lower case. It returns
// -1 where there is none.
func (c *Rows) Column(names ...string) int {
	return slices.IndexFunc(c.Names, func(have string) bool { return slices.Contains(names, have) })
}

// QuotedStart quotes the beginning of a text from a file, safe to print.
func QuotedStart(s string) string {
	const most = 60
	if len(s) > most {
		s = forms.FirstOf(s, most) + "…"
	}
	return fmt.Sprintf("%q", s)
}
