package export

import (
	"fmt"
	"io"
	"os"
	"path"

	"noggin/batch/files"
)

// mostPrinted is how many inspections a page holds that is made to be printed: each
// begins a sheet.
const mostPrinted = 200

const printPage = "data/print.html"

// printed tells whether the export has a page of all inspections.
func (r *run) printed() bool { return r.summary.Selected > 0 && r.summary.Selected <= mostPrinted }

// printName is the file in the scratch folder with a record's part of that page. An
// export that goes on needs the parts of before.
func printName(number int) string { return fmt.Sprintf("%s/%06d", printFolder, number) }

// keepForPrint writes the record's part of the page to print.
func (m *making) keepForPrint(view *recordView) error {
	if !m.printed() {
		return nil
	}
	if err := m.scratch.MkdirAll(printFolder, 0o755); err != nil {
		return files.WrapDisk("create a folder in", m.scratchDir, err)
	}
	file, err := m.scratch.OpenFile(printName(m.number), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return files.WrapDisk("write", m.scratchDir, err)
	}
	view.base = path.Base(path.Dir(m.entry.Folder)) + "/" + path.Base(m.entry.Folder) + "/"
	err = pages().ExecuteTemplate(file, "inspection", view)
	view.base = ""
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return files.WrapDisk("write", printName(m.number), err)
	}
	return nil
}

// writePrint writes the page to print.
func (r *run) writePrint(view pageView) error {
	if !r.printed() {
		return nil
	}
	view.At, view.Up = "print", upFrom(printPage)
	_, _, err := r.bag.File(printPage, func(w io.Writer) error {
		if err := pages().ExecuteTemplate(w, "print", view); err != nil {
			return err
		}
		err := r.eachEntry(func(e Entry) error {
			part, err := r.scratch.Open(printName(e.Number))
			if err != nil {
				return err
			}
			defer files.Release(part)
			_, err = io.Copy(w, part)
			return err
		})
		if err != nil {
			return err
		}
		return pages().ExecuteTemplate(w, "foot", view.Footer)
	})
	return err
}
