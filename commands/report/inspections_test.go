package report

import (
	"bytes"
	"strings"
	"testing"

	"noggin/commands/show"
	"noggin/storage"
)

func init() { pageRows = 2 }

func TestEveryInspectionIsInOnePage(t *testing.T) {
	t.Parallel()
	db := filledSession(t, 20).DB
	var out bytes.Buffer
	f := storage.InspectionFilter{Fields: []string{"tip"}}
	if err := printInspections(t.Context(), db, f, f.Fields, show.Output{Writer: &out, Format: show.Text, Wide: true}); err != nil {
		t.Fatal(err)
	}
	rows := 0
	if err := db.EachInspection(t.Context(), f, func(values [][]byte) error {
		rows++
		if strings.Count(out.String(), string(values[0][:10])) != 1 {
			t.Errorf("%s is not in the list once", values[0])
		}
		return nil
	}); err != nil || rows < 5 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
