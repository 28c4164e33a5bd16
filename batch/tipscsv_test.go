package batch

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func tipOptions(t testing.TB) TipOptions {
	t.Helper()
	forms, err := NewObjectTypes(DefaultObjectTypes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return TipOptions{Forms: forms, Default: "LCD"}
}

// readTips returns the rows that can be used and the ones that can't.
func readTips(t testing.TB, r io.Reader, opts TipOptions) (rows []TipRow, bad []RowError) {
	t.Helper()
	reader, err := NewTipReader(r, opts)
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return rows, bad
		}
		if e, ok := errors.AsType[*RowError](err); ok {
			bad = append(bad, *e)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
}

func TestTipsOfTheExports(t *testing.T) {
	tests := []struct {
		name, text string
		want       []TipRow
	}{
		{"an export", "\ufeff\"nogginId\",lcdInspectionId,date,vehicle\r\n" + strings.ToUpper(tipA) + ",LCD - 045289,17-Sep-25,\"a, b\"\r\n" + tipB + ",,,\r\n", []TipRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", ExpectedID: "LCD - 045289", ExpectedDate: "2025-09-17"},
			{Line: 3, Tip: tipB, ObjectType: "LCD"},
		}},
		{"blank header, any case", " ;Date;COUPLINGID\n" + tipA + ";17/09/2025;C - 003825\n", []TipRow{
			{Line: 2, Tip: tipA, ObjectType: "CCC", ExpectedID: "C - 003825", ExpectedDate: "2025-09-17"},
		}},
		{"tip in another column", "trailerAuditId,TIP\nTA - 00003," + tipA + "\n", []TipRow{
			{Line: 2, Tip: tipA, ObjectType: "TA", ExpectedID: "TA - 00003"},
		}},
		{"only tips", "tip\n" + tipA + "\n\n'-short_1\n", []TipRow{
			{Line: 2, Tip: tipA, ObjectType: "LCD", Assumed: true},
			{Line: 4, Tip: "-short_1", ObjectType: "LCD", Assumed: true, Warning: "the tip is not of 64 hexadecimal digits"},
		}},
		{"without a header", tipA + "\r\n" + tipB, []TipRow{
			{Line: 1, Tip: tipA, ObjectType: "LCD", Assumed: true},
			{Line: 2, Tip: tipB, ObjectType: "LCD", Assumed: true},
		}},
		{"odd values beside a good tip", "tip,siteObservationId,date\n" + tipA + ",SO\x85,yesterday\n" + tipB + ",SO - 1,17/09/2025,more\n" + tipC + ",SO - 2\n", []TipRow{
			{Line: 2, Tip: tipA, ObjectType: "SO", Warning: `the inspection id is not plain text: left out; the date "yesterday" is not understood: left out`},
			{Line: 3, Tip: tipB, ObjectType: "SO", Warning: "there are more values than columns: inspection id and date are left out"},
			{Line: 4, Tip: tipC, ObjectType: "SO", ExpectedID: "SO - 2"},
		}},
		{"header only", "tip,lcsInspectionId\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, bad := readTips(t, strings.NewReader(tt.text), tipOptions(t))
			if !slices.Equal(rows, tt.want) || len(bad) > 0 {
				t.Errorf("got  %+v\nwant %+v\nbad %+v", rows, tt.want, bad)
			}
		})
	}
}

func TestTipsOfANamedForm(t *testing.T) {
	opts := tipOptions(t)
	opts.ObjectType = "fpi"
	rows, _ := readTips(t, strings.NewReader("tip\n"+tipA), opts)
	if want := []TipRow{{Line: 2, Tip: tipA, ObjectType: "FPI"}}; !slices.Equal(rows, want) {
		t.Errorf("got %+v", rows)
	}
	_, err := NewTipReader(strings.NewReader("tip,couplingId\n"), opts)
	if !errors.Is(err, ErrUnusableFile) || !strings.Contains(err.Error(), "CCC") {
		t.Errorf("a file of another form: %v", err)
	}
	opts.ObjectType = "XYZ"
	if _, err = NewTipReader(strings.NewReader("tip\n"), opts); err == nil || errors.Is(err, ErrUnusableFile) {
		t.Errorf("an unknown form is not the file's fault: %v", err)
	}
}

func TestRowsWithoutAUsableTipAreReported(t *testing.T) {
	text := "tip,lcdInspectionId\n" + tipA + ",1\n,2\nno tip,3\n" + tipA + "0,4\n\"" + tipB + ",5\n" + tipC + ",6\n"
	rows, bad := readTips(t, strings.NewReader(text), tipOptions(t))
	if len(rows) != 2 || rows[0].Tip != tipA || rows[1].Tip != tipC || rows[1].Line != 7 {
		t.Errorf("rows: %+v", rows)
	}
	want := []RowError{
		{3, ",2", "it has no tip"},
		{4, "no tip,3", "its tip is not 1 to 64 letters, digits, - or _"},
		{5, tipA + "0,4", "its tip is not 1 to 64 letters, digits, - or _"},
		{6, "\"" + tipB + ",5", unclosed + " before the next row"},
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
		"":                                      "empty",
	} {
		_, err := NewTipReader(strings.NewReader(text), tipOptions(t))
		if !errors.Is(err, ErrUnusableFile) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.30q: %v", text, err)
		}
	}
}

func TestTipReaderGivesTheStreamsErrorAway(t *testing.T) {
	broken := errors.New("broken")
	text := "tip\n" + strings.Repeat(tipA+"\n", 3000)
	r, err := NewTipReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), tipOptions(t))
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
	r, err := NewTipReader(export(200_000), tipOptions(t))
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
	if got := cap(r.rows.data); got > 2*firstRead {
		t.Errorf("a window of %d bytes", got)
	}
}

func FuzzTipReader(f *testing.F) {
	for _, seed := range []string{
		"", "a,1\nb,2\n", "\"a\",\"1\"\r\n", "a,\"1\n2\"\n", "a,\"1\n", "\"\"\"\n", "a,\"\"\"", "\xff\xfe", "sep=;\n", "\r", ",,\n\n;", "a\x00b",
		tipA + ",LCD - 1,\"x\"\n", "\"" + tipB + "\nc\",1", strings.Repeat("\"\n", 9),
	} {
		f.Add(seed)
	}
	opts := tipOptions(f)
	f.Fuzz(func(t *testing.T, text string) {
		// Whatever a file holds, a good row at its end is found, in its line.
		whole := "tip,lcdInspectionId\n" + text + "\n" + tipC + ",LCD - 9"
		rows, bad := readTips(t, strings.NewReader(whole), opts)
		last := TipRow{Line: strings.Count(whole, "\n") + 1, Tip: tipC, ObjectType: "LCD", ExpectedID: "LCD - 9"}
		if len(rows) == 0 || rows[len(rows)-1] != last {
			t.Errorf("the last row was lost: %+v, bad %+v", rows, bad)
		}
		line := 1
		for _, row := range rows {
			if _, ok := ParseTip(row.Tip); !ok || row.Line <= line {
				t.Errorf("row %+v after line %d", row, line)
			}
			line = row.Line
		}
		again, badAgain := readTips(t, iotest.OneByteReader(strings.NewReader(whole)), opts)
		if !slices.Equal(rows, again) || !slices.Equal(bad, badAgain) {
			t.Errorf("byte by byte: %+v and %+v, at once %+v and %+v", again, badAgain, rows, bad)
		}
		// As a file of its own it may be unusable, but nothing worse.
		if r, err := NewTipReader(strings.NewReader(text), opts); err == nil {
			for err == nil || errors.As(err, new(*RowError)) {
				_, err = r.Next()
			}
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
	})
}

func BenchmarkTipReader(b *testing.B) {
	opts := tipOptions(b)
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
				r, err := NewTipReader(strings.NewReader(data), opts)
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
