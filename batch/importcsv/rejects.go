package importcsv

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"noggin/batch/csvfile"
	"noggin/batch/files"
	"noggin/batch/forms"
)

// rejects writes the rejected rows of one file into a CSV file of their own, which a
// spreadsheet program can open without harm. Without rejected rows there is no file.
type rejects struct {
	paths  files.Paths
	keeps  bool // false: only count the rows
	staged *files.TempFile
	rows   *csvfile.Writer
	count  int64
	first  *csvfile.RowError
}

func (r *rejects) add(row *csvfile.RowError) error {
	r.count++
	if r.first == nil {
		r.first = &csvfile.RowError{Line: row.Line, Reason: row.Reason}
	}
	if !r.keeps {
		return nil
	}
	if r.staged == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	raw := strings.ReplaceAll(strings.ToValidUTF8(row.Raw, "\uFFFD"), "\x00", "\u2400")
	return r.rows.Write([]string{strconv.Itoa(row.Line), row.Reason, csvfile.GuardFormula(raw)})
}

func (r *rejects) begin() (err error) {
	tray, err := openTray("error", r.paths, r.paths.Error)
	if err != nil {
		return err
	}
	defer files.Release(tray)
	if r.staged, err = tray.Stage(files.FileMode); err != nil {
		return err
	}
	r.rows = csvfile.NewWriter(r.staged)
	return r.rows.Write([]string{"line", "reason", "row"})
}

// keep gives the file its name, made of the name of the imported file, and returns
// its path; "" if there is no file.
func (r *rejects) keep(of string) (path string, err error) {
	if r.staged == nil {
		return "", nil
	}
	if err := r.rows.Flush(); err != nil {
		return "", err
	}
	return r.staged.Place(beside(of, ".rejected.csv"))
}

// discard removes the file unless it was kept.
func (r *rejects) discard() {
	if r.staged != nil {
		r.staged.Discard()
	}
}

// beside is a file's name with a further ending. A long name is cut and gets the
// beginning of its SHA-256, so that other long names do not become the same.
func beside(name, ending string) string {
	const longest = 200 // bytes; leaves room for the ending and a number
	if len(name) > longest {
		sum := sha256.Sum256([]byte(name))
		name = forms.FirstOf(name, longest-9) + "-" + hex.EncodeToString(sum[:4])
	}
	return name + ending
}
