package apitest

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// ExportVariant is one of the looks that exports of records have.
type ExportVariant struct {
	TipHeader  string
	DateLayout string // of package time; "site": midnight in the site's offset
	BOM        bool
	CRLF       bool
	OnlyTips   bool // the one column of tips and nothing else
}

var exportVariants = map[string]ExportVariant{
	"platform": {TipHeader: "nogginId", DateLayout: "02-Jan-06", BOM: true, CRLF: true},
	"plain":    {TipHeader: "tip", DateLayout: time.DateOnly},
	"blank":    {TipHeader: " ", DateLayout: "02/01/2006", BOM: true, CRLF: true},
	"site":     {TipHeader: "TIP", DateLayout: "site"},
	"tips":     {TipHeader: "tip", OnlyTips: true},
}

// ExportVariants lists the names that WriteExportCSV takes.
func ExportVariants() []string { return slices.Sorted(maps.Keys(exportVariants)) }

// WriteExportCSV writes the records of a form (its code; "": of all forms, which
// only the variant tips can hold) as the platform exports them.
func (w *World) WriteExportCSV(out io.Writer, code, variant string) error {
	v, ok := exportVariants[variant]
	if !ok {
		return fmt.Errorf("no export variant %q: there are %v", variant, ExportVariants())
	}
	return w.WriteExport(out, code, v)
}

// WriteExport is WriteExportCSV with a look of one's own.
func (w *World) WriteExport(out io.Writer, code string, v ExportVariant) error {
	i := slices.IndexFunc(w.shapes, func(s *shape) bool { return s.form.Code == code })
	if i < 0 && (code != "" || !v.OnlyTips) {
		return fmt.Errorf("no form %q in this world", code)
	}
	if v.BOM {
		if _, err := io.WriteString(out, "\uFEFF"); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
	}
	c := csv.NewWriter(out)
	c.UseCRLF = v.CRLF
	header := []string{v.TipHeader}
	if !v.OnlyTips {
		header = append(header, w.shapes[i].form.IDField, "date", "inspectedBy", "comments", "jobNumber")
	}
	_ = c.Write(header) // c.Error tells below
	for index := range w.Len() {
		if code != "" && w.shapeOf(index).form.Code != code {
			continue
		}
		_ = c.Write(w.exportRow(index, v)) // c.Error tells below
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// exportComments hold what makes CSV hard: separators, quotes, line breaks.
var exportComments = []string{"", "OK", "Strap frayed, replaced", `Driver said "fine"`, "Two\nlines", "Zoë's load"}

func (w *World) exportRow(index int, v ExportVariant) []string {
	r := w.heading(index)
	if v.OnlyTips {
		return []string{r.Tip}
	}
	date := r.Day.Format(v.DateLayout)
	if v.DateLayout == "site" {
		date = w.siteDate(&r)
	}
	dice := w.draw(index, drawName)
	comment := exportComments[dice%uint64(len(exportComments))]
	person := given[dice>>8%uint64(len(given))] + " " + family[dice>>16%uint64(len(family))]
	return []string{r.Tip, r.InspectionID, date, person, comment, strconv.FormatUint(1000+dice>>24%9000, 10)}
}

// nameHeaders are the looks of plain CSV files of names.
var nameHeaders = map[string][]string{"hash": {"hash", "name"}, "tip": {"TIP", "VALUE"}}

// WriteNamesCSV writes the names of one type of entities; variant is "hash" (the
// manual's header hash,name) or "tip" (TIP,VALUE).
func (w *World) WriteNamesCSV(out io.Writer, kind EntityType, variant string) error {
	header, ok := nameHeaders[variant]
	if !ok {
		return fmt.Errorf("no variant %q of names: there are hash and tip", variant)
	}
	rows := [][]string{header}
	for e := range w.Entities(kind) {
		if e.Named {
			rows = append(rows, []string{e.Tip, e.Name})
		}
	}
	if len(rows) == 1 {
		return fmt.Errorf("no names of type %q", kind)
	}
	return writeRows(out, rows)
}

var (
	assetTypes = map[EntityType][]string{Vehicle: {"PRIME MOVER", "PRIME MOVER", "RIGID", "FORKLIFT"}, Trailer: {"TRAILER"}}
	siteTypes  = map[EntityType]string{Department: "department", Team: "team"}
)

// WriteAssetExport writes the platform's export of assets: vehicles and trailers.
func (w *World) WriteAssetExport(out io.Writer) error {
	rows := [][]string{{"nogginId", "assetName", "assetId", "assetType", "make", "comments"}}
	for _, kind := range []EntityType{Vehicle, Trailer} {
		for e := range w.Entities(kind) {
			if e.Named {
				types := assetTypes[kind]
				assetType := types[e.index%len(types)]
				rows = append(rows, []string{e.Tip, e.Name, "A" + strconv.Itoa(1000+e.index), assetType, "Kenworth, \"K200\"", ""})
			}
		}
	}
	return writeRows(out, rows)
}

// WriteSiteExport writes the platform's export of sites: departments and teams.
func (w *World) WriteSiteExport(out io.Writer) error {
	rows := [][]string{{"nogginId", "siteId", "siteName", "goldstarId", "state", "siteType", "comments"}}
	for _, kind := range []EntityType{Department, Team} {
		for e := range w.Entities(kind) {
			if e.Named {
				id := strconv.Itoa(100 + e.index)
				rows = append(rows, []string{e.Tip, "S" + id, e.Name, "GS" + id, "WA", siteTypes[kind], ""})
			}
		}
	}
	return writeRows(out, rows)
}

// writeRows writes as the platform does: byte order mark, CRLF.
func writeRows(out io.Writer, rows [][]string) error {
	if _, err := io.WriteString(out, "\uFEFF"); err != nil {
		return fmt.Errorf("write names: %w", err)
	}
	c := csv.NewWriter(out)
	c.UseCRLF = true
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write names: %w", err)
	}
	return nil
}

func (w *World) exportOver(out io.Writer, code, variant string) error {
	if variant == "" {
		variant = "platform"
	}
	return w.WriteExportCSV(out, code, variant)
}

func (w *World) namesOver(out io.Writer, name, variant string) error {
	switch name {
	case "assets":
		return w.WriteAssetExport(out)
	case "sites":
		return w.WriteSiteExport(out)
	}
	if variant == "" {
		variant = "hash"
	}
	return w.WriteNamesCSV(out, EntityType(name), variant)
}

// WriteFiles writes into dir what an operator would find there: one export of
// each form (CODE.csv), assets.csv, sites.csv, person.csv and customer.csv.
func (w *World) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make export folder: %w", err)
	}
	for _, code := range w.codes() {
		err := writeFile(dir, code, func(out io.Writer) error { return w.exportOver(out, code, "") })
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"assets", "sites", string(Person), string(Customer)} {
		err := writeFile(dir, name, func(out io.Writer) error { return w.namesOver(out, name, "") })
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *World) codes() []string {
	var codes []string
	for _, s := range w.shapes {
		if !slices.Contains(codes, s.form.Code) {
			codes = append(codes, s.form.Code)
		}
	}
	return codes
}

func writeFile(dir, name string, write func(io.Writer) error) (err error) {
	f, err := os.Create(filepath.Join(dir, name+".csv"))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	return write(f)
}
