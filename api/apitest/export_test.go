package apitest

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExportsHoldEveryRecordOfTheirForm(t *testing.T) {
	w := newWorld(Options{Records: 60})
	var b bytes.Buffer
	if err := w.writeExport(&b, "SO"); err != nil {
		t.Fatal(err)
	}
	text, hasBOM := strings.CutPrefix(b.String(), "\uFEFF")
	if !hasBOM || !strings.Contains(text, "\r\n") {
		t.Error("no byte order mark or no CRLF")
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 11 || rows[0][0] != "nogginId" || rows[0][1] != "siteObservationId" {
		t.Fatalf("%d rows, header %q", len(rows), rows[0])
	}
	for _, row := range rows[1:] {
		r, ok := w.find(row[0])
		if !ok || r.Code != "SO" || row[1] != r.InspectionID || row[2] != r.Day.Format("02-Jan-06") {
			t.Errorf("row %v does not fit %+v", row, r)
		}
	}
}

func TestExportsDisagreeWithTheAnswersOfSomeRecords(t *testing.T) {
	w := newWorld(Options{Records: 60, Forms: []string{"SO"}, Disagree: 0.3})
	n := 0
	for r := range w.Records() {
		row := w.exportRow(r.Index)
		other := row[1] != r.InspectionID && row[2] != r.Day.Format("02-Jan-06")
		if same := row[1] == r.InspectionID && row[2] == r.Day.Format("02-Jan-06"); other == same || other != w.Disagrees(r.Index) {
			t.Errorf("row %v of %+v", row, r)
		}
		if other {
			n++
		}
	}
	if n < 10 || n > 30 {
		t.Errorf("%d of 60 rows disagree, want about 18", n)
	}
}

func TestNamesCoverWhatRecordsRefer(t *testing.T) {
	w := newWorld(Options{Records: 200, Unnamed: 0.2})
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
			tip := doc.text(field)
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
	w := newWorld(Options{Forms: []string{"LCD"}})
	for name, err := range map[string]error{
		"form":  w.writeExport(&bytes.Buffer{}, "TA"),
		"names": w.WriteNamesCSV(&bytes.Buffer{}, "colour"),
	} {
		if err == nil {
			t.Error("no error for a wrong", name)
		}
	}
}
