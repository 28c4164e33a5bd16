package apitest

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExportsHoldEveryRecordOfTheirForm(t *testing.T) {
	w := NewWorld(Options{Records: 60})
	layouts := map[string]string{
		"platform": "02-Jan-06", "plain": "2006-01-02", "blank": "02/01/2006", "site": "2006-01-02T15:04:05.000Z07:00",
	}
	for _, variant := range ExportVariants() {
		t.Run(variant, func(t *testing.T) {
			look := exportVariants[variant]
			var b bytes.Buffer
			if err := w.WriteExportCSV(&b, "SO", variant); err != nil {
				t.Fatal(err)
			}
			text, hasBOM := strings.CutPrefix(b.String(), "\uFEFF")
			if hasBOM != look.BOM || strings.Contains(text, "\r\n") != look.CRLF {
				t.Error("byte order mark or line ends are not as they should be")
			}
			rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != 11 || rows[0][0] != look.TipHeader {
				t.Fatalf("%d rows, header %q", len(rows), rows[0])
			}
			for _, row := range rows[1:] {
				r, ok := w.Find(row[0])
				if !ok || r.Code != "SO" {
					t.Fatalf("row %v is no site observation", row)
				}
				if look.OnlyTips {
					continue
				}
				day, err := time.Parse(layouts[variant], row[2])
				if rows[0][1] != "siteObservationId" || row[1] != r.InspectionID || err != nil || day.Format(time.DateOnly) != r.Day.Format(time.DateOnly) {
					t.Errorf("row %v does not fit %+v: %v", row, r, err)
				}
			}
		})
	}
}

func TestNamesCoverWhatRecordsRefer(t *testing.T) {
	w := NewWorld(Options{Records: 200, Unnamed: 0.2})
	dir := t.TempDir()
	if err := w.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, file := range []string{"assets", "sites", "person", "customer"} {
		raw, err := os.ReadFile(filepath.Join(dir, file+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\uFEFF")))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		column := map[string]int{"assets": 1, "sites": 2, "person": 1, "customer": 1}[file]
		for _, row := range rows[1:] {
			names[row[0]] = row[column]
		}
	}
	known, unknown := 0, 0
	for r := range w.Records() {
		doc := w.document(&r)
		for _, field := range []string{"vehicle", "trailer", "team", "department", "siteManager", "customerClient"} {
			tip := doc.Text(field)
			if tip == "" {
				continue
			}
			e, ok := w.Entity(tip)
			if !ok || e.Type != entityOf(field) {
				t.Fatalf("%s refers to %+v", field, e)
			}
			name, named := names[tip]
			if named != e.Named || named && name != e.Name {
				t.Errorf("%s %q stands as %q in the names", field, e.Name, name)
			}
			known, unknown = known+int(count(named)), unknown+int(count(!named))
		}
	}
	if share := float64(unknown) / float64(known+unknown); share < 0.05 || share > 0.4 {
		t.Errorf("%.2f of the references have no name", share)
	}
}

func TestWrongExportsAreRefused(t *testing.T) {
	w := NewWorld(Options{Forms: []string{"LCD"}})
	for name, err := range map[string]error{
		"variant":       w.WriteExportCSV(&bytes.Buffer{}, "LCD", "x"),
		"form":          w.WriteExportCSV(&bytes.Buffer{}, "TA", "plain"),
		"names":         w.WriteNamesCSV(&bytes.Buffer{}, "colour", "hash"),
		"names variant": w.WriteNamesCSV(&bytes.Buffer{}, Vehicle, "x"),
	} {
		if err == nil {
			t.Error("no error for a wrong", name)
		}
	}
}

func BenchmarkMillionTips(b *testing.B) {
	w := NewWorld(Options{Records: 1_000_000, Forms: []string{"LCD"}})
	for b.Loop() {
		var n discard
		if err := w.WriteExportCSV(&n, "LCD", "platform"); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(n))
	}
}

// discard counts what it drops.
type discard int64

func (d *discard) Write(p []byte) (int, error) { *d += discard(len(p)); return len(p), nil }
