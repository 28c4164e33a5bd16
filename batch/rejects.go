package batch

import (
	"encoding/csv"
	"strconv"
	"strings"
)

// rejects writes the rows of one file that can't be used into a CSV file of their
// own, which spreadsheets can open without harm. Without any there is no file.
type rejects struct {
	folder string // "": rows are only counted
	staged *stagedFile
	rows   *csv.Writer
	count  int64
	first  *RowError
}

func (r *rejects) add(row *RowError) error {
	r.count++
	if r.first == nil {
		r.first = &RowError{Line: row.Line, Reason: row.Reason}
	}
	if r.folder == "" {
		return nil
	}
	if r.staged == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	raw := strings.ReplaceAll(strings.ToValidUTF8(row.Raw, "\uFFFD"), "\x00", "\u2400")
	return r.write(strconv.Itoa(row.Line), row.Reason, GuardFormula(raw))
}

func (r *rejects) begin() (err error) {
	if err := ensureFolder("error", r.folder); err != nil {
		return err
	}
	if r.staged, err = stage(r.folder); err != nil {
		return err
	}
	r.rows = csv.NewWriter(r.staged.file)
	return r.write("line", "reason", "row")
}

func (r *rejects) write(fields ...string) error {
	if err := r.rows.Write(fields); err != nil {
		return diskError("write a file in", r.folder, err)
	}
	return nil
}

// keep gives the file its name, which begins with that of the file whose rows they
// are, and returns its path; "" where there is none.
func (r *rejects) keep(of string) (path string, err error) {
	if r.staged == nil {
		return "", nil
	}
	r.rows.Flush()
	if err := r.rows.Error(); err != nil {
		return "", diskError("write a file in", r.folder, err)
	}
	return r.staged.place(beside(of, ".rejected.csv"))
}

// discard removes what was not kept.
func (r *rejects) discard() {
	if r.staged != nil {
		r.staged.discard()
	}
}

// beside is a file's name with another ending behind its own.
func beside(name, ending string) string {
	const longest = 200 // leaves room for the ending and a number
	return firstOf(name, longest) + ending
}
