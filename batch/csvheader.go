package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// ErrUnusableFile is wrapped by the error about a file in which no row can be
// read at all: it is no CSV text, has no header, or not one that is understood.
var ErrUnusableFile = errors.New("the file cannot be used")

// newCSVRows finds the encoding (UTF-8, or UTF-16 with a byte order mark, as
// spreadsheets save "Unicode text"), the line ends (LF, CRLF or CR) and the
// separator (comma, semicolon or tab), and reads the header.
func newCSVRows(r io.Reader) (*csvRows, error) {
	c := &csvRows{src: r}
	if err := c.fill(); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(c.data, []byte("\xff\xfe")) || bytes.HasPrefix(c.data, []byte("\xfe\xff")) {
		utf16 := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()
		c = &csvRows{src: transform.NewReader(io.MultiReader(bytes.NewReader(c.data), r), utf16)}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	if bytes.HasPrefix(c.data, []byte("\xef\xbb\xbf")) {
		c.pos = 3
	}
	// A line break in a cell stays LF: the first line end decides.
	if i := bytes.IndexAny(c.data, "\r\n"); i >= 0 && c.data[i] == '\r' && !bytes.HasPrefix(c.data[i:], []byte("\r\n")) {
		c.src = carriageReturns{c.src}
		endLines(c.data)
	}
	if what := notText(c.data[c.pos:]); what != "" {
		return nil, fmt.Errorf("%w: %s", ErrUnusableFile, what)
	}
	return c, c.readHeader()
}

// notText recognises what is often given a name that ends in .csv.
func notText(head []byte) string {
	first, _, _ := bytes.Cut(head, []byte("\n"))
	switch {
	case len(bytes.TrimSpace(head)) == 0 && len(head) < firstRead:
		return "it is empty"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")):
		return `it is a workbook; save it as "CSV UTF-8" in the spreadsheet program`
	case bytes.IndexByte(first, 0) >= 0:
		return "it is not text in UTF-8, its first line holds NUL bytes"
	}
	return ""
}

func (c *csvRows) readHeader() error {
	for {
		first, _, _ := bytes.Cut(bytes.TrimLeft(c.data[c.pos:], "\r\n"), []byte("\n"))
		c.sep = separator(first)
		err := c.next()
		if bad, ok := errors.AsType[*RowError](err); ok {
			return fmt.Errorf("%w: its header: %s", ErrUnusableFile, bad.Reason)
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: it has no header", ErrUnusableFile)
		}
		if err != nil {
			return err
		}
		// A hint for spreadsheets that some programs write first.
		if raw := c.raw(); !strings.HasPrefix(strings.ToLower(raw), "sep=") || len(raw) > len("sep=;") {
			break
		}
	}
	c.header = c.raw()
	for _, f := range c.fields {
		c.names = append(c.names, strings.ToLower(strings.TrimSpace(string(f))))
	}
	return nil
}

// separator is what the line has most of outside of quotes; a comma without any.
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

// column finds a column by any of its names, which are in lower case; -1 says
// there is none.
func (c *csvRows) column(names ...string) int {
	for i, have := range c.names {
		for _, name := range names {
			if have == name {
				return i
			}
		}
	}
	return -1
}

// carriageReturns makes the line ends of old Macintoshes, a single CR, into LF.
type carriageReturns struct{ r io.Reader }

func (c carriageReturns) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	endLines(p[:n])
	return n, err
}

func endLines(p []byte) {
	for i := range p {
		if p[i] == '\r' {
			p[i] = '\n'
		}
	}
}
