package batch

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds the length of a name, in bytes; more is a quote gone wrong.
const maxName = 4096

// Layouts of files of names, which are also the source of what they hold.
const (
	LayoutNames  = "names"  // hash,name: the manual's, and what noggin exports itself, with entity_type for all types
	LayoutValues = "values" // TIP,VALUE
	LayoutAssets = "assets" // the platform's export of assets
	LayoutSites  = "sites"  // the platform's export of sites
)

// nameLayouts are found by the column of the name.
var nameLayouts = []struct{ layout, name, kind string }{
	{LayoutNames, "name", "entity_type"},
	{LayoutValues, "value", ""},
	{LayoutAssets, "assetname", "assettype"},
	{LayoutSites, "sitename", "sitetype"},
}

// NameRow is a name for a hash.
type NameRow struct {
	Line       int
	Hash       string
	Name       string // empty in the lines of an export that nobody has filled in yet
	SourceKind string // the platform's kind, such as PRIME MOVER or team; empty where the layout has none
}

// NameReader reads the CSV files of names of noggin-api.md, one row after the
// other, in memory that does not grow with the file.
type NameReader struct {
	rows       *csvRows
	layout     string
	name, kind int // columns
}

// NewNameReader reads the header and finds the layout by it. Errors:
// ErrUnusableFile, or that of the stream.
func NewNameReader(r io.Reader) (*NameReader, error) {
	rows, err := newCSVRows(r)
	if err != nil {
		return nil, err
	}
	n := &NameReader{rows: rows}
	for _, l := range nameLayouts {
		i := rows.column(l.name)
		if i < 0 {
			continue
		}
		if n.layout != "" {
			return nil, fmt.Errorf("%w: its columns %s and %s could both be the name", ErrUnusableFile, rows.names[n.name], l.name)
		}
		n.layout, n.name, n.kind = l.layout, i, -1
		if l.kind != "" {
			n.kind = rows.column(l.kind)
		}
	}
	if rows.key = rows.column("hash", "tip", "nogginid"); rows.key < 0 && rows.names[0] == "" {
		rows.key = 0
	}
	if n.layout == "" || rows.key < 0 {
		return nil, fmt.Errorf("%w: its header is not hash,name or TIP,VALUE, nor that of an export of assets or sites; it begins %s",
			ErrUnusableFile, quotedStart(rows.header))
	}
	return n, nil
}

// Layout tells which kind of file it is, and whether its rows have a kind of
// their own.
func (n *NameReader) Layout() (layout string, kinds bool) { return n.layout, n.kind >= 0 }

// Next reads the next row; blank ones are passed over. Errors: *RowError for a
// row that can't be used, after which the next can be read; io.EOF at the end;
// else that of the stream.
func (n *NameReader) Next() (NameRow, error) {
	if err := n.rows.next(); err != nil {
		return NameRow{}, err
	}
	text := n.rows.field(n.rows.key)
	if len(text) == 0 {
		return NameRow{}, n.rows.bad("it has no hash")
	}
	hash, ok := ParseTip(UnguardFormula(string(text)))
	if !ok && numberForm.Match(text) {
		return NameRow{}, n.rows.bad("its hash is a number that a spreadsheet program made of it: export it again, and open the file with that column as text")
	}
	if !ok {
		return NameRow{}, n.rows.bad("its hash is not 1 to 64 letters, digits, - or _")
	}
	if n.rows.shifted() {
		return NameRow{}, n.rows.bad("it has more values than columns; a name with a comma needs quotes")
	}
	name := string(n.rows.field(n.name))
	if n.layout == LayoutNames {
		name = UnguardFormula(name)
	}
	name, reason := cleanName(name)
	if reason != "" {
		return NameRow{}, n.rows.bad("its name " + reason)
	}
	row := NameRow{Line: n.rows.rowLine, Hash: hash, Name: name}
	if kind := string(n.rows.field(n.kind)); utf8.ValidString(kind) {
		row.SourceKind = strings.Map(spaceForControl, kind)
	}
	return row, nil
}

// numberForm matches what a spreadsheet program makes of a hash that happens to be
// all digits, or digits around an e.
var numberForm = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?E[+-]?[0-9]+$`)

// cleanName is a name as it is kept, on one line; else why it can't be. One that
// nobody could see is empty.
func cleanName(s string) (name, reason string) {
	switch {
	case !utf8.ValidString(s):
		return "", "is not UTF-8 (save the file as CSV UTF-8)"
	case len(s) > maxName:
		return "", fmt.Sprintf("is longer than %d bytes", maxName)
	}
	s = strings.TrimSpace(strings.Map(spaceForControl, s))
	if strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }) == "" {
		return "", ""
	}
	return s, ""
}

// spaceForControl makes line breaks and other control characters spaces.
func spaceForControl(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}
