package names

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
)

// maxName bounds the length of a name, in bytes. A longer one comes from a missing
// quote.
const maxName = 4096

// Layouts of files of names.
const (
	layoutNames  = "names"  // hash,name: the manual's and noggin's own export, which may have the column entity_type
	layoutValues = "values" // TIP,VALUE
	layoutAssets = "assets" // the platform's export of assets
	layoutSites  = "sites"  // the platform's export of sites
)

// nameLayouts tells, for each layout, the columns of the name and of the kind. The
// column of the name tells the layout.
var nameLayouts = []struct{ layout, name, kind string }{
	{layoutNames, "name", "entity_type"},
	{layoutValues, "value", ""},
	{layoutAssets, "assetname", "assettype"},
	{layoutSites, "sitename", "sitetype"},
}

// nameRow is a name for a hash.
type nameRow struct {
	Line       int
	Hash       string // empty: the row repeats the header
	Name       string // empty in a line of an export that nobody has filled in yet
	SourceKind string // the platform's kind, such as PRIME MOVER or team; empty if the layout has none
}

// nameReader reads the CSV files of names that noggin-api.md describes, one row
// after the other. Its memory does not grow with the file.
type nameReader struct {
	rows       *csvfile.Rows
	layout     string
	name, kind int // columns
}

// newNameReader reads the header, which tells the layout. Errors: ErrUnusableFile,
// that of the stream.
func newNameReader(r io.Reader) (*nameReader, error) {
	rows, err := csvfile.NewRows(r)
	if err != nil {
		return nil, err
	}
	n := &nameReader{rows: rows}
	for _, l := range nameLayouts {
		i := rows.Column(l.name)
		if i < 0 {
			continue
		}
		if n.layout != "" {
			return nil, fmt.Errorf("%w: its columns %s and %s could both be the name", csvfile.ErrUnusableFile, rows.Names[n.name], l.name)
		}
		n.layout, n.name, n.kind = l.layout, i, -1
		if l.kind != "" {
			n.kind = rows.Column(l.kind)
		}
	}
	if rows.Key = rows.Column("hash", "tip", "nogginid"); rows.Key < 0 && rows.Names[0] == "" {
		rows.Key = 0
	}
	if n.layout == "" || rows.Key < 0 {
		return nil, fmt.Errorf("%w: its header is not hash,name or TIP,VALUE, nor that of an export of assets or sites; it begins %s",
			csvfile.ErrUnusableFile, csvfile.QuotedStart(rows.Header))
	}
	return n, nil
}

// hasKinds tells whether the rows have a kind of their own.
func (n *nameReader) hasKinds() bool { return n.kind >= 0 }

// Next reads the next row and passes over blank ones. Errors: *RowError for a row
// that cannot be used, and the row after it can be read; io.EOF at the end; that of
// the stream.
func (n *nameReader) Next() (nameRow, error) {
	if err := n.rows.Next(); err != nil {
		return nameRow{}, err
	}
	if n.rows.IsHeader() {
		return nameRow{Line: n.rows.RowLine}, nil
	}
	text := n.rows.Field(n.rows.Key)
	if len(text) == 0 {
		return nameRow{}, n.rows.Bad("it has no hash")
	}
	hash, ok := forms.ParseTip(csvfile.UnguardFormula(string(text)))
	if !ok && numberForm.Match(text) {
		return nameRow{}, n.rows.Bad("a spreadsheet program made a number of its hash: export it again, and open the file with that column as text")
	}
	if !ok {
		return nameRow{}, n.rows.Bad("its hash is not 1 to 64 letters, digits, - or _")
	}
	if n.rows.Shifted() {
		return nameRow{}, n.rows.Bad("it has more values than columns; a name with a comma needs quotes")
	}
	name := string(n.rows.Field(n.name))
	if n.layout == layoutNames {
		name = csvfile.UnguardFormula(name)
	}
	name, reason := cleanName(name)
	if reason != "" {
		return nameRow{}, n.rows.Bad("its name " + reason)
	}
	row := nameRow{Line: n.rows.RowLine, Hash: hash, Name: name}
	if kind := string(n.rows.Field(n.kind)); utf8.ValidString(kind) {
		row.SourceKind = strings.Map(spaceForControl, kind)
	}
	return row, nil
}

// numberForm matches the number that a spreadsheet program makes of a hash of
// digits, or of digits around an e.
var numberForm = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?E[+-]?[0-9]+$`)

// cleanName returns the name on one line, or the reason why it cannot be used. A
// name of invisible characters is empty.
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

// spaceForControl turns line breaks and other control characters into spaces.
func spaceForControl(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}
