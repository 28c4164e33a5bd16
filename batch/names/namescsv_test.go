package names

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
)

const (
	tipA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	tipB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func readNames(t testing.TB, text string) (rows []nameRow, bad []csvfile.RowError, layout string) {
	t.Helper()
	reader, err := newNameReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	layout = reader.layout
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return rows, bad, layout
		}
		if e, ok := errors.AsType[*csvfile.RowError](err); ok {
			bad = append(bad, *e)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
}

func TestNamesOfEveryLayout(t *testing.T) {
	tests := []struct {
		name, text, layout string
		want               []nameRow
	}{
		{"the manual's", "hash,name\nabc123def456,TRUCK-NEW-001\n" + tipA + ",\"O'Brien, \"\"Bluey\"\" é 🚚\"\n", layoutNames, []nameRow{
			{2, "abc123def456", "TRUCK-NEW-001", ""}, {3, tipA, `O'Brien, "Bluey" é 🚚`, ""},
		}},
		{"saved by a spreadsheet", "\ufeffTIP;VALUE\r\n" + strings.ToUpper(tipA) + ";=1+1\r\n" + tipB + ";'=x\r\n;\r\n", layoutValues, []nameRow{
			{2, tipA, "=1+1", ""}, {3, tipB, "'=x", ""},
		}},
		{"assets", "nogginId,assetName,assetId,assetType,more\n" + tipA + ",1ABC234,17,PRIME MOVER,\n" + tipB + ",\"Trailer\n 22\",18,TRAILER\n", layoutAssets, []nameRow{
			{2, tipA, "1ABC234", "PRIME MOVER"}, {3, tipB, "Trailer  22", "TRAILER"},
		}},
		{"sites", ",siteId,siteName,goldstarId,siteType\n" + tipA + ",1,Perth,9,team\n", layoutSites, []nameRow{{2, tipA, "Perth", "team"}}},
		{"an export of unknown ones", "hash,name,first_seen_tip,inspection_id,occurrences,last_seen\n" +
			tipA + ",,x,LCD - 1,3,2025-09-17\n'-abc,'=SUM(A1),x,LCD - 1,3,2025-09-17\n", layoutNames, []nameRow{
			{2, tipA, "", ""}, {3, "-abc", "=SUM(A1)", ""},
		}},
		{"saved on an old Macintosh, with a line break in a name", "hash;name\ra;\"Two\nlines\"\rb;'-1\r", layoutNames, []nameRow{
			{2, "a", "Two lines", ""}, {4, "b", "-1", ""},
		}},
		{"invisible", "hash,name\na,\u200b\ufeff\nb,👩\u200d🔧\n", layoutNames, []nameRow{{2, "a", "", ""}, {3, "b", "👩\u200d🔧", ""}}},
		{"long", "hash,name\na," + strings.Repeat("n", 300), layoutNames, []nameRow{{2, "a", strings.Repeat("n", 300), ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, bad, layout := readNames(t, tt.text)
			if !slices.Equal(rows, tt.want) || len(bad) > 0 || layout != tt.layout {
				t.Errorf("%s: got  %+v\nwant %+v\nbad %+v", layout, rows, tt.want, bad)
			}
		})
	}
}

func TestNamesThatCannotBeUsedAreReported(t *testing.T) {
	rows, bad, _ := readNames(t, "hash,name\na b,x\n,x\nc,Smith, John\nd,caf\xe9\ne,"+strings.Repeat("n", 5000)+"\n1.23E+12,x\n\"1,23457E+63\",y\nf,good,\n")
	if want := []nameRow{{9, "f", "good", ""}}; !slices.Equal(rows, want) {
		t.Errorf("got %+v", rows)
	}
	var reasons []string
	for _, b := range bad {
		reasons = append(reasons, b.Reason)
	}
	const madeNumber = "a spreadsheet program made a number of its hash: export it again, and open the file with that column as text"
	want := []string{
		"its hash is not 1 to 64 letters, digits, - or _", "it has no hash", "it has more values than columns; a name with a comma needs quotes",
		"its name is not UTF-8 (save the file as CSV UTF-8)", "its name is longer than 4096 bytes",
		madeNumber, madeNumber,
	}
	if !slices.Equal(reasons, want) {
		t.Errorf("got %q", reasons)
	}
}

func TestNameFilesThatCannotBeUsed(t *testing.T) {
	for text, reason := range map[string]string{
		"hash,title\n":             "its header is not",
		"number,name\n":            "its header is not",
		"tip,assetName,siteName\n": "could both be the name",
		"":                         "empty",
	} {
		if _, err := newNameReader(strings.NewReader(text)); !errors.Is(err, csvfile.ErrUnusableFile) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzNameReader(f *testing.F) {
	f.Add("hash,name\na,'=1\n")
	f.Add("nogninId,assetName,assetType\n" + tipA + ",\"a\n\",b")
	f.Add(",siteName,siteType\n" + tipA + ",\x00,b")
	f.Fuzz(func(t *testing.T, text string) {
		for _, header := range []string{"", "hash,name,x\n", "TIP;VALUE\n"} {
			r, err := newNameReader(strings.NewReader(header + text))
			for err == nil || errors.As(err, new(*csvfile.RowError)) {
				var row nameRow
				row, err = r.Next()
				if _, ok := forms.ParseTip(row.Hash); err == nil && (!ok || strings.ContainsAny(row.Name, "\x00\r\n")) {
					t.Errorf("row %+v", row)
				}
			}
			if !errors.Is(err, io.EOF) && !errors.Is(err, csvfile.ErrUnusableFile) {
				t.Error(err)
			}
		}
	})
}
