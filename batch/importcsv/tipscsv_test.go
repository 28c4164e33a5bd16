package importcsv

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
)

const (
	tipA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	tipB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	tipC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

func testOptions(t testing.TB) tipOptions {
	t.Helper()
	forms, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return tipOptions{Forms: forms, Default: "LCD"}
}

// readRow is a row with the form of its file.
type readRow struct {
	Line            int
	Tip, ObjectType string
	Assumed         bool

	ExpectedID, ExpectedDate, Warning string
}

// readTips returns the rows that can be used and the ones that can't.
func readTips(t testing.TB, r io.Reader, opts tipOptions) (rows []readRow, bad []csvfile.RowError) {
	t.Helper()
	reader, err := newTipReader(r, opts)
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return rows, bad
		}
		if e, ok := errors.AsType[*csvfile.RowError](err); ok {
			bad = append(bad, *e)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, readRow{row.Line, row.Tip, reader.form, reader.assumed, row.ExpectedID, row.ExpectedDate, row.Warning})
	}
}

// Else the second record would never be fetched, and nothing would say so.
func TestARowWithTheTipsOfTwoRecordsIsRejected(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"tip,lcdInspectionId,tip,lcdInspectionId", "tip,lcdInspectionId,nogginId,date", ",lcdInspectionId,TIP,date"} {
		rows, bad := readTips(t, strings.NewReader(header+"\n"+tipA+",LCD - 1,"+tipB+",\n"+tipA+",LCD - 1,"+strings.ToUpper(tipA)+",\n"+
			tipB+",LCD - 2,,\n"+tipC+",LCD - 3,4711,\n"), testOptions(t))
		if len(bad) != 1 || bad[0].Line != 2 || bad[0].Reason != "it has tips of several records" {
			t.Errorf("%s: rejected %+v", header, bad)
		}
		if len(rows) != 3 || rows[0].Tip != tipA || rows[1].Tip != tipB || rows[2].Tip != tipC {
			t.Errorf("%s: rows %+v", header, rows)
		}
	}
}

func TestTipsOfTheExports(t *testing.T) {
	tests := []struct {
		name, text string
		want       []readRow
	}{
		{"an export", "\ufeff\"nogginId\",lcdInspectionId,date,vehicle\r\n" + strings.ToUpper(tipA) + ",LCD - 045289,17-Sep-25,\"a, b\"\r\n" + tipB + ",,,\r\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", ExpectedID: "LCD - 045289", ExpectedDate: "2025-09-17"},
			{Line: 3, Tip: tipB, ObjectType: "LCD"},
		}},
		{"blank header, any case", " ;Date;COUPLINGID\n" + tipA + ";17/09/2025;C - 003825\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "CCC", ExpectedID: "C - 003825", ExpectedDate: "2025-09-17"},
		}},
		{"tip in another column", "trailerAuditId,TIP\nTA - 00003," + tipA + "\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "TA", ExpectedID: "TA - 00003"},
		}},
		{"only tips", "tip\n" + tipA + "\n\n" + tipB + "\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", Assumed: true},
			{Line: 4, Tip: tipB, ObjectType: "LCD", Assumed: true},
		}},
		{"a comment that looks like rows", "tip,comment,lcdInspectionId\n" + tipA + ",\"as in\n" + tipB + ",x,LCD - 2\n" + tipC + ",\",LCD - 1\n" + tipB + ",,LCD - 3\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", ExpectedID: "LCD - 1", Warning: "lines of a quoted value begin with a tip (2): they are text, not rows"},
			{Line: 5, Tip: tipB, ObjectType: "LCD", ExpectedID: "LCD - 3"},
		}},
		{"its tips in the last column", "comment,tip,lcdInspectionId\n\"a\nb," + tipB + ",c\"," + tipA + ",LCD - 1\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", ExpectedID: "LCD - 1", Warning: "lines of a quoted value begin with a tip (1): they are text, not rows"},
		}},
		{"line ends of several programs", "tip,lcdInspectionId\r\n" + tipA + ",LCD - 1\r" + tipB + ",\"LCD - 2\"\r" + tipC + ",LCD - 3\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", ExpectedID: "LCD - 1"},
			{Line: 3, Tip: tipB, ObjectType: "LCD", ExpectedID: "LCD - 2"},
			{Line: 4, Tip: tipC, ObjectType: "LCD", ExpectedID: "LCD - 3"},
		}},
		{"joined exports", "\ufeff\"nogginId\",lcdInspectionId\n" + tipA + ",LCD - 1\n\ufeff\"nogginId\",lcdInspectionId\nNOGGINID , lcdInspectionId\n" + tipB + ",LCD - 2\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", ExpectedID: "LCD - 1"},
			{Line: 3, ObjectType: "LCD", Warning: "it repeats the header"},
			{Line: 4, ObjectType: "LCD", Warning: "it repeats the header"},
			{Line: 5, Tip: tipB, ObjectType: "LCD", ExpectedID: "LCD - 2"},
		}},
		{"without a header", tipA + "\r\n" + tipB, []readRow{
			{Line: 1, Tip: tipA, ObjectType: "LCD", Assumed: true},
			{Line: 2, Tip: tipB, ObjectType: "LCD", Assumed: true},
		}},
		{"odd values beside a good tip", "tip,siteObservationId,date\n" + tipA + ",SO\x85,yesterday\n" + tipB + ",SO - 1,17/09/2025,more\n" + tipC + ",SO - 2\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "SO", Warning: `the inspection id is not plain text: left out; the date "yesterday" is not understood: left out`},
			{Line: 3, Tip: tipB, ObjectType: "SO", Warning: "there are more values than columns: inspection id and date are left out"},
			{Line: 4, Tip: tipC, ObjectType: "SO", ExpectedID: "SO - 2"},
		}},
		{"an inspection id that is cut as that of an answer", "tip,siteObservationId\n" + tipA + ",SO" + strings.Repeat("é", 99) + "é\n" + tipB + ",SO" + strings.Repeat("é", 99) + "\n", []readRow{
			{Line: 2, Tip: tipA, ObjectType: "SO", ExpectedID: "SO" + strings.Repeat("é", 99)},
			{Line: 3, Tip: tipB, ObjectType: "SO", ExpectedID: "SO" + strings.Repeat("é", 99)},
		}},
		{"header only", "tip,lcsInspectionId\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, bad := readTips(t, strings.NewReader(tt.text), testOptions(t))
			if !slices.Equal(rows, tt.want) || len(bad) > 0 {
				t.Errorf("got  %+v\nwant %+v\nbad %+v", rows, tt.want, bad)
			}
		})
	}
}

func TestTipsOfANamedForm(t *testing.T) {
	opts := testOptions(t)
	opts.ObjectType = "fpi"
	rows, _ := readTips(t, strings.NewReader("tip\n"+tipA), opts)
	if want := []readRow{{Line: 2, Tip: tipA, ObjectType: "FPI"}}; !slices.Equal(rows, want) {
		t.Errorf("got %+v", rows)
	}
	_, err := newTipReader(strings.NewReader("tip,couplingId\n"), opts)
	if !errors.Is(err, csvfile.ErrUnusableFile) || !strings.Contains(err.Error(), "CCC") {
		t.Errorf("a file of another form: %v", err)
	}
	opts.ObjectType = "XYZ"
	if _, err = newTipReader(strings.NewReader("tip\n"), opts); err == nil || errors.Is(err, csvfile.ErrUnusableFile) {
		t.Errorf("an unknown form is not the file's fault: %v", err)
	}
}

func TestWordsAreTipsOnlyIfTheConfigurationSaysSo(t *testing.T) {
	words := []string{"hash", "Andy", "Total", "0", "OK", "2025", "'-short_1", tipA[:40], tipA + "0"}
	text := "tip,lcdInspectionId\n" + strings.Join(words, ",3\n") + ",3\n" + tipA + ",LCD - 1\n"
	opts := testOptions(t)
	rows, bad := readTips(t, strings.NewReader(text), opts)
	if len(rows) != 1 || rows[0].Tip != tipA || len(bad) != len(words) {
		t.Fatalf("rows %+v, bad %+v", rows, bad)
	}
	for i, row := range bad {
		if row.Line != i+2 || !strings.HasSuffix(row.Reason, "is not 64 hexadecimal digits") {
			t.Errorf("%s: %+v", words[i], row)
		}
	}
	// One that is torn or added is no tip without a header either.
	if rows, bad = readTips(t, strings.NewReader(tipA+"\nTotal\n"+tipB[:40]), opts); len(rows) != 1 || len(bad) != 2 {
		t.Errorf("without a header: rows %+v, bad %+v", rows, bad)
	}
	opts.AnyTip = true
	rows, bad = readTips(t, strings.NewReader(text), opts)
	if len(rows) != len(words) || rows[6].Tip != "-short_1" || rows[6].Warning != "the tip is not of 64 hexadecimal digits" || len(bad) != 1 || bad[0].Line != len(words)+1 {
		t.Errorf("with any_tip: rows %+v, bad %+v", rows, bad)
	}
}

func TestRowsWithoutAUsableTipAreReported(t *testing.T) {
	text := "tip,lcdInspectionId\n" + tipA + ",1\n,2\nno tip,3\n" + tipA + "0,4\n\"" + tipB + ",5\n" + tipC + ",6\n"
	rows, bad := readTips(t, strings.NewReader(text), testOptions(t))
	if len(rows) != 2 || rows[0].Tip != tipA || rows[1].Tip != tipC || rows[1].Line != 7 {
		t.Errorf("rows: %+v", rows)
	}
	want := []csvfile.RowError{
		{Line: 3, Raw: ",2", Reason: "it has no tip"},
		{Line: 4, Raw: "no tip,3", Reason: `its tip "no tip" is not 64 hexadecimal digits`},
		{Line: 5, Raw: tipA + "0,4", Reason: "its tip \"" + tipA[:60] + "…\" is not 64 hexadecimal digits"},
		{Line: 6, Raw: "\"" + tipB + ",5", Reason: "a quote is opened and not closed"},
	}
	if !slices.Equal(bad, want) {
		t.Errorf("got  %+v\nwant %+v", bad, want)
	}
}

func TestTipFilesThatCannotBeUsed(t *testing.T) {
	for text, reason := range map[string]string{
		"id,name\n1,2\n":                        `its header begins "id,name"`,
		"tip,lcdInspectionId,couplingId\n":      "two forms, LCD and CCC",
		tipA + ",LCD - 1\n" + tipB + ",LCD - 2": "no column is headed tip",
		",2024,2025\n" + tipA + ",1,2\n":        "no column is headed tip",
		"nogginId,assetName,assetType\n":        "noggin hashes import",
		"nogginId,siteId,siteName\n":            "noggin hashes import",
		"TIP,VALUE\n" + tipA + ",TRUCK 1\n":     "noggin hashes import",
		"tip,name\n" + tipA + ",TEAM 1\n":       "noggin hashes import",
		"name;nogginId\nTEAM 1;" + tipA + "\n":  "noggin hashes import",
		"tip,name,entity_type\n":                "noggin hashes import",
		"":                                      "empty",
	} {
		_, err := newTipReader(strings.NewReader(text), testOptions(t))
		if !errors.Is(err, csvfile.ErrUnusableFile) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.30q: %v", text, err)
		}
	}
}

func TestTipReaderGivesTheStreamsErrorAway(t *testing.T) {
	broken := errors.New("broken")
	text := "tip\n" + strings.Repeat(tipA+"\n", 3000)
	r, err := newTipReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), testOptions(t))
	for err == nil {
		_, err = r.Next()
	}
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// export is a file of n rows that is never in memory as a whole.
func export(n int) io.Reader {
	read, write := io.Pipe()
	go func() {
		var text strings.Builder
		fmt.Fprint(&text, "nogginId,lcdInspectionId,date,vehicle,trailer,team,comments,driver\r\n")
		for i := range n {
			fmt.Fprintf(&text, "%064x,LCD - %06d,17-Sep-25,TRUCK 1,TRAILER 22,Team Perth,checked and found well,J. Example\r\n", i, i)
			if text.Len() > 32<<10 || i == n-1 {
				_, _ = io.WriteString(write, text.String())
				text.Reset()
			}
		}
		_ = write.Close()
	}()
	return read
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	r, err := newTipReader(export(200_000), testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	var stats runtime.MemStats
	var most uint64
	for n := 0; ; n++ {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n%50_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&stats)
			if most == 0 {
				most = stats.HeapAlloc + 2<<20
			}
			if stats.HeapAlloc > most {
				t.Fatalf("%d bytes in use after %d rows", stats.HeapAlloc, n)
			}
		}
	}
}

func FuzzTipReader(f *testing.F) {
	for _, seed := range []string{
		"", "a,1\nb,2\n", "\"a\",\"1\"\r\n", "a,\"1\n2\"\n", "a,\"1\n", "\"\"\"\n", "a,\"\"\"", "\xff\xfe", "sep=;\n", "\r", ",,\n\n;", "a\x00b", "a\rb\r\nc\n\rd", "tip,lcdInspectionId\r\ufefftip,lcdInspectionId\n",
		tipA + ",\"x\n" + tipB + ",y\"\nc", "\"" + tipA + ",\"\"\r\n\r,",
		tipA + ",LCD - 1,\"x\"\n", "\"" + tipB + "\nc\",1", strings.Repeat("\"\n", 9),
	} {
		f.Add(seed)
	}
	opts := testOptions(f)
	f.Fuzz(func(t *testing.T, text string) {
		// Whatever a file holds, a good row at its end is found, in its line.
		whole := "tip,lcdInspectionId\n" + text + "\n" + tipC + ",LCD - 9"
		lines := textLines(whole)
		rows, bad := readTips(t, strings.NewReader(whole), opts)
		last := readRow{Line: len(lines), Tip: tipC, ObjectType: "LCD", ExpectedID: "LCD - 9"}
		if len(rows) == 0 || rows[len(rows)-1] != last {
			t.Errorf("the last row was lost: %+v, bad %+v", rows, bad)
		}
		begins := map[int]bool{1: true}
		line := 1
		for _, row := range rows {
			if _, ok := forms.ParseTip(row.Tip); !ok && row.Warning != "it repeats the header" || row.Line <= line {
				t.Errorf("row %+v after line %d", row, line)
			}
			line = row.Line
			begins[line] = true
		}
		for _, row := range bad {
			if begins[row.Line] || row.Reason == "" {
				t.Errorf("rejected twice or without a reason: %+v", row)
			}
			begins[row.Line] = true
		}
		// Nothing is left out: each line is a row or blank. The room csvfile tests that
		// with quotes, too.
		for i, text := range lines {
			if !begins[i+1] && !strings.Contains(whole, `"`) && strings.TrimLeft(text, ", \t\v\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff") != "" {
				t.Errorf("line %d is lost: %q; rows %+v, bad %+v", i+1, text, rows, bad)
			}
		}
		again, badAgain := readTips(t, iotest.OneByteReader(strings.NewReader(whole)), opts)
		if !slices.Equal(rows, again) || !slices.Equal(bad, badAgain) {
			t.Errorf("byte by byte: %+v and %+v, at once %+v and %+v", again, badAgain, rows, bad)
		}
		// As a file of its own it may be unusable, but nothing worse.
		if r, err := newTipReader(strings.NewReader(text), opts); err == nil {
			for err == nil || errors.As(err, new(*csvfile.RowError)) {
				_, err = r.Next()
			}
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
	})
}

// textLines splits a text at LF, CRLF and CR.
func textLines(text string) []string {
	return strings.Split(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"), "\n")
}

func BenchmarkTipReader(b *testing.B) {
	opts := testOptions(b)
	text, err := io.ReadAll(export(100_000))
	if err != nil {
		b.Fatal(err)
	}
	for _, quoted := range []bool{false, true} {
		data := string(text)
		if quoted {
			data = strings.ReplaceAll(data, "checked and found well", `"checked, and ""found"" well"`)
		}
		b.Run(fmt.Sprintf("quoted=%v", quoted), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				rows, bad := 0, 0
				r, err := newTipReader(strings.NewReader(data), opts)
				for err == nil {
					if _, err = r.Next(); err == nil {
						rows++
					}
				}
				if rows != 100_000 || bad != 0 {
					b.Fatal(rows, err)
				}
			}
			b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
