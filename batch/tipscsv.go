package batch

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TipOptions says what a file of tips cannot tell itself.
type TipOptions struct {
	Forms *ObjectTypes
	// ObjectType is the code of the form that somebody named for the file; empty
	// where its header has to tell.
	ObjectType string
	// Default is the code that is assumed where neither tells.
	Default string
}

// TipRow is one record to fetch.
type TipRow struct {
	Line         int
	Tip          string
	ObjectType   string // code
	Assumed      bool   // nothing said which form it is
	ExpectedID   string // inspection id; empty when not known
	ExpectedDate string // YYYY-MM-DD; empty when not known
	Warning      string // what is odd about a row that is used all the same
}

// TipReader reads the CSV exports of noggin-api.md, one row after the other, in
// memory that does not grow with the file.
type TipReader struct {
	rows     *csvRows
	form     string
	assumed  bool
	id, date int  // columns, -1 without
	bare     bool // no header
	begun    bool
}

// NewTipReader reads the header. The tip's column is the first, headed `tip`,
// `nogginId` or blank, else the one that is headed so; a file of nothing but
// tips needs no header. Errors: ErrUnusableFile, or that of the stream.
func NewTipReader(r io.Reader, opts TipOptions) (*TipReader, error) {
	rows, err := newCSVRows(r)
	if err != nil {
		return nil, err
	}
	t := &TipReader{rows: rows, id: -1, date: -1}
	if t.bare = len(rows.names) == 1 && IsPlatformTip(rows.names[0]); !t.bare {
		if rows.key, err = tipColumn(rows); err != nil {
			return nil, err
		}
	}
	form, err := t.findForm(opts)
	if err != nil {
		return nil, err
	}
	t.date = rows.column("date", "inspectiondate", "inspection date", strings.ToLower(form.DateField))
	return t, nil
}

func tipColumn(rows *csvRows) (int, error) {
	switch rows.names[0] {
	case "tip", "nogginid", "":
		return 0, nil
	}
	if i := rows.column("tip", "nogginid"); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%w: no column is headed tip or nogginId, and the first not blank; its header begins %s",
		ErrUnusableFile, quotedStart(rows.header))
}

// quotedStart is the beginning of a text from a file, safe to print.
func quotedStart(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// findForm looks for the column of an inspection id, which tells the form.
func (t *TipReader) findForm(opts TipOptions) (ObjectType, error) {
	var found ObjectType
	for i, name := range t.rows.names {
		form, ok := opts.Forms.ByIDField(name)
		if !ok || form.Code == found.Code {
			continue
		}
		if found.Code != "" {
			return found, fmt.Errorf("%w: its columns %s and %s belong to two forms, %s and %s",
				ErrUnusableFile, found.IDField, form.IDField, found.Code, form.Code)
		}
		found, t.id = form, i
	}
	code := opts.ObjectType
	switch {
	case found.Code != "" && code != "" && !strings.EqualFold(code, found.Code):
		return found, fmt.Errorf("%w: its column %s says that it is of the form %s, not %s",
			ErrUnusableFile, found.IDField, found.Code, code)
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

// ObjectType is the code of the form of the whole file; assumed says that
// nothing told it.
func (t *TipReader) ObjectType() (code string, assumed bool) { return t.form, t.assumed }

// Next reads the next row; blank ones are passed over. Errors: *RowError for a
// row that can't be used, after which the next can be read; io.EOF at the end;
// else that of the stream.
func (t *TipReader) Next() (TipRow, error) {
	// Without a header the first row stands in its place, and is read already.
	if t.begun || !t.bare {
		if err := t.rows.next(); err != nil {
			return TipRow{}, err
		}
	}
	t.begun = true
	text := t.rows.field(t.rows.key)
	if len(text) == 0 {
		return TipRow{}, t.rows.bad("it has no tip")
	}
	tip, ok := ParseTip(UnguardFormula(string(text)))
	if !ok {
		return TipRow{}, t.rows.bad("its tip is not 1 to 64 letters, digits, - or _")
	}
	row := TipRow{Line: t.rows.rowLine, Tip: tip, ObjectType: t.form, Assumed: t.assumed}
	if !IsPlatformTip(tip) {
		row.warn("the tip is not of 64 hexadecimal digits")
	}
	if t.rows.shifted() {
		row.warn("there are more values than columns: inspection id and date are left out")
		return row, nil
	}
	if id := t.rows.field(t.id); len(id) > 0 {
		if row.ExpectedID = string(id); !isPlainText(id) {
			row.ExpectedID = ""
			row.warn("the inspection id is not plain text: left out")
		}
	}
	if date := t.rows.field(t.date); len(date) > 0 {
		if row.ExpectedDate, ok = ParseDay(string(date)); !ok {
			row.warn("the date " + quotedStart(string(date)) + " is not understood: left out")
		}
	}
	return row, nil
}

func (r *TipRow) warn(what string) {
	if r.Warning != "" {
		what = r.Warning + "; " + what
	}
	r.Warning = what
}

// isPlainText tells whether the database will take it and people can read it.
func isPlainText(text []byte) bool {
	return utf8.Valid(text) && len(text) <= 200 && bytes.IndexFunc(text, unicode.IsControl) < 0
}
