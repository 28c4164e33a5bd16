package importcsv

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
	"noggin/storage"
)

// tipHeadings are those of a column of tips, as [csvfile.Rows] gives them.
var tipHeadings = []string{"tip", "nogginid"}

// tipOptions tell what a file of tips may leave open.
type tipOptions struct {
	Forms *forms.ObjectTypes
	// ObjectType is the code of the form that a person named; empty: the header
	// tells it.
	ObjectType string
	// Default is the code that is assumed if neither tells.
	Default string
	AnyTip  bool // see Config
}

// tipRow is one record to fetch.
type tipRow struct {
	storage.ImportedTip
	Warning string // what is odd about a row that is used all the same
	Skipped bool   // it repeats the header, and holds no tip
}

// tipReader reads the CSV exports that noggin-api.md describes, one row after the
// other. Its memory does not grow with the file.
type tipReader struct {
	rows     *csvfile.Rows
	form     string // code of the form of the whole file
	assumed  bool   // neither the header nor a person told the form
	id, date int    // columns; -1: none
	others   []int  // further columns that are headed like that of the tips
	bare     bool   // the file has no header
	begun    bool
	anyTip   bool
}

// newTipReader reads the header. The first column has the tips if its heading is
// `tip` or `nogginId`, or if it is blank and another column is the inspection id of a
// form. Otherwise another column with the heading `tip` or `nogginId` has them. A file
// of nothing but tips needs no header. Errors: ErrUnusableFile, that of the stream.
func newTipReader(r io.Reader, opts tipOptions) (*tipReader, error) {
	rows, err := csvfile.NewRows(r)
	if err != nil {
		return nil, err
	}
	t := &tipReader{rows: rows, id: -1, date: -1, anyTip: opts.AnyTip}
	form, err := t.findForm(opts)
	if err != nil {
		return nil, err
	}
	if t.bare = len(rows.Names) == 1 && forms.IsPlatformTip(rows.Names[0]); !t.bare {
		if rows.Key, err = t.tipColumn(); err != nil {
			return nil, err
		}
		for i, name := range rows.Names {
			if i != rows.Key && slices.Contains(tipHeadings, name) {
				t.others = append(t.others, i)
			}
		}
	}
	t.date = rows.Column("date", "inspectiondate", "inspection date", strings.ToLower(form.DateField))
	return t, nil
}

// tipColumn finds the column of the tips. A blank heading alone says nothing: the
// corner of any table of a spreadsheet is blank.
func (t *tipReader) tipColumn() (int, error) {
	rows := t.rows
	if t.id < 0 && isFileOfNames(rows) {
		return 0, fmt.Errorf("%w: it holds names, not records: `noggin hashes import auto FILE` reads it", csvfile.ErrUnusableFile)
	}
	switch first := rows.Names[0]; {
	case slices.Contains(tipHeadings, first), first == "" && t.id > 0:
		return 0, nil
	}
	if i := rows.Column(tipHeadings...); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%w: no column is headed tip or nogginId (a blank first heading counts only beside the inspection id of a form); its header begins %s",
		csvfile.ErrUnusableFile, csvfile.QuotedStart(rows.Header))
}

// isFileOfNames tells an export of assets or sites, a list TIP,VALUE or tip,name, and
// noggin's own export of all types of names, from a file of tips: their tips are those of
// vehicles, trailers and teams.
func isFileOfNames(rows *csvfile.Rows) bool {
	if rows.Column("name") >= 0 && rows.Column("hash", "tip", "nogginid") >= 0 && (len(rows.Names) == 2 || rows.Column("entity_type") >= 0) {
		return true
	}
	return rows.Column("assetname", "sitename") >= 0 || len(rows.Names) == 2 && rows.Column("value") == 1
}

// findForm looks for the column of the inspection id, which tells the form.
func (t *tipReader) findForm(opts tipOptions) (forms.ObjectType, error) {
	var found forms.ObjectType
	for i, name := range t.rows.Names {
		form, ok := opts.Forms.ByIDField(name)
		if !ok || form.Code == found.Code {
			continue
		}
		if found.Code != "" {
			return found, fmt.Errorf("%w: its columns %s and %s belong to two forms, %s and %s",
				csvfile.ErrUnusableFile, found.IDField, form.IDField, found.Code, form.Code)
		}
		found, t.id = form, i
	}
	code := opts.ObjectType
	switch {
	case found.Code != "" && code != "" && !strings.EqualFold(code, found.Code):
		return found, fmt.Errorf("%w: its column %s belongs to the form %s, not %s",
			csvfile.ErrUnusableFile, found.IDField, found.Code, code)
	case found.Code != "":
		t.form = found.Code
		return found, nil
	case code == "":
		code, t.assumed = opts.Default, true
	}
	form, ok := opts.Forms.ByCode(code)
	if !ok {
		return form, fmt.Errorf("no object type has the code %q; there are %s", code, strings.Join(opts.Forms.Codes(), ", "))
	}
	t.form = form.Code
	return form, nil
}

// Next reads the next row and passes over blank ones. Errors: *RowError for a row
// that cannot be used, and the row after it can be read; io.EOF at the end; that of
// the stream.
func (t *tipReader) Next() (tipRow, error) {
	// Without a header, NewRows has already read the first row.
	if t.begun || !t.bare {
		if err := t.rows.Next(); err != nil {
			return tipRow{}, err
		}
	}
	t.begun = true
	if !t.bare && t.rows.IsHeader() {
		return tipRow{ImportedTip: storage.ImportedTip{Line: t.rows.RowLine}, Skipped: true, Warning: "it repeats the header"}, nil
	}
	text := t.rows.Field(t.rows.Key)
	if len(text) == 0 {
		return tipRow{}, t.rows.Bad("it has no tip")
	}
	tip, ok := forms.ParseTip(csvfile.UnguardFormula(string(text)))
	switch {
	case !t.anyTip && !forms.IsPlatformTip(tip):
		return tipRow{}, t.rows.Bad("its tip " + csvfile.QuotedStart(string(text)) + " is not 64 hexadecimal digits")
	case !ok:
		return tipRow{}, t.rows.Bad("its tip is not 1 to 64 letters, digits, - or _")
	}
	for _, i := range t.others { // as of exports that were pasted beside each other
		if other, _ := forms.ParseTip(string(t.rows.Field(i))); forms.IsPlatformTip(other) && other != tip {
			return tipRow{}, t.rows.Bad("it has tips of several records")
		}
	}
	row := tipRow{ImportedTip: storage.ImportedTip{Tip: tip, Line: t.rows.RowLine}}
	if !forms.IsPlatformTip(tip) {
		row.warn("the tip is not of 64 hexadecimal digits")
	}
	if n := t.rows.HeldRows; n > 0 {
		row.warn(fmt.Sprintf("lines of a quoted value begin with a tip (%d): they are text, not rows", n))
	}
	if t.rows.Shifted() {
		row.warn("there are more values than columns: inspection id and date are left out")
		return row, nil
	}
	if id := t.rows.Field(t.id); len(id) > 0 {
		if isPlainText(id) {
			row.ExpectedID = forms.ShortID(string(id))
		} else {
			row.warn("the inspection id is not plain text: left out")
		}
	}
	if date := t.rows.Field(t.date); len(date) > 0 {
		if row.ExpectedDate, ok = forms.ParseDay(string(date)); !ok {
			row.warn("the date " + csvfile.QuotedStart(string(date)) + " is not understood: left out")
		}
	}
	return row, nil
}

func (r *tipRow) warn(what string) {
	if r.Warning != "" {
		what = r.Warning + "; " + what
	}
	r.Warning = what
}

// isPlainText tells whether the database takes a text and people can read it.
func isPlainText(text []byte) bool {
	return utf8.Valid(text) && bytes.IndexFunc(text, unicode.IsControl) < 0
}
