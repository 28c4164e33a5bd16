package apitest

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// writeExport writes the records of the form code as the platform exports them.
func (w *World) writeExport(out io.Writer, code string) error {
	i := slices.IndexFunc(w.shapes, func(s *shape) bool { return s.form.Code == code })
	if i < 0 {
		return fmt.Errorf("no form %q in this world", code)
	}
	rows := [][]string{{"nogginId", w.shapes[i].form.IDField, "date", "inspectedBy", "comments", "jobNumber"}}
	for index := range w.Len() {
		if w.shapeOf(index).form.Code == code {
			rows = append(rows, w.exportRow(index))
		}
	}
	return writeRows(out, rows)
}

// exportComments hold what is hard in CSV: separators, quotes, line breaks.
var exportComments = []string{"", "OK", "Strap frayed, replaced", `Driver said "fine"`, "Two\nlines", "Zoë's load"}

// Disagrees tells whether the exports tell another id and day of a record than its answer.
func (w *World) Disagrees(index int) bool {
	return fraction(w.draw(index, drawExport)) < w.opts.Disagree
}

func (w *World) exportRow(index int) []string {
	r := w.heading(index)
	dice := w.draw(index, drawName)
	comment := exportComments[dice%uint64(len(exportComments))]
	person := given[dice>>8%uint64(len(given))] + " " + family[dice>>16%uint64(len(family))]
	if w.Disagrees(index) {
		r.InspectionID, r.Day = r.InspectionID+"9", r.Day.AddDate(0, 0, 1)
	}
	return []string{r.Tip, r.InspectionID, r.Day.Format("02-Jan-06"), person, comment, strconv.FormatUint(1000+dice>>24%9000, 10)}
}

// WriteNamesCSV writes the names of one type of entities under the manual's header
// hash,name.
func (w *World) WriteNamesCSV(out io.Writer, kind EntityType) error {
	rows := [][]string{{"hash", "name"}}
	for e := range w.entities(kind) {
		if e.Named {
			rows = append(rows, []string{e.Tip, e.Name})
		}
	}
	if len(rows) == 1 {
		return fmt.Errorf("no names of type %q", kind)
	}
	return writeRows(out, rows)
}

// writeEntities writes the platform's export of entities: of assets (vehicles and
// trailers) or of sites (departments and teams).
func (w *World) writeEntities(out io.Writer, kinds ...EntityType) error {
	var rows [][]string
	for _, kind := range kinds {
		for e := range w.entities(kind) {
			header, row := []string{"nogginId"}, []string{e.Tip}
			for _, p := range e.properties() {
				header, row = append(header, p.name), append(row, p.value)
			}
			if rows == nil {
				rows = append(rows, header)
			}
			if e.Named {
				rows = append(rows, row)
			}
		}
	}
	return writeRows(out, rows)
}

// writeRows writes CSV as the platform does, with a byte order mark and CRLF.
func writeRows(out io.Writer, rows [][]string) error {
	if _, err := io.WriteString(out, "\uFEFF"); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	c := csv.NewWriter(out)
	c.UseCRLF = true
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// WriteFiles writes the platform's exports into dir: CODE.csv for each form, assets.csv
// and sites.csv, and the names of persons and customers, person.csv and customer.csv.
func (w *World) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make export folder: %w", err)
	}
	exports := map[string]func(io.Writer) error{
		"assets":         func(out io.Writer) error { return w.writeEntities(out, Vehicle, Trailer) },
		"sites":          func(out io.Writer) error { return w.writeEntities(out, Department, Team) },
		string(Person):   func(out io.Writer) error { return w.WriteNamesCSV(out, Person) },
		string(Customer): func(out io.Writer) error { return w.WriteNamesCSV(out, Customer) },
	}
	for _, s := range w.shapes {
		code := s.form.Code
		exports[code] = func(out io.Writer) error { return w.writeExport(out, code) }
	}
	for name, write := range exports {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".csv"), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}
