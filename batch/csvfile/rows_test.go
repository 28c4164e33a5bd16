package csvfile

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

const (
	tipA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	tipB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	tipC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// readRows prints each row as line:fields, and bad ones as line!reason.
func readRows(t *testing.T, r io.Reader) []string {
	t.Helper()
	c, err := NewRows(r)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		err := c.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if bad, ok := errors.AsType[*RowError](err); ok {
			got = append(got, fmt.Sprintf("%d!%s", bad.Line, bad.Reason))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d:%s", c.RowLine, fields(c)))
	}
}

func fields(c *Rows) string {
	var all []string
	for _, f := range c.fields {
		all = append(all, string(f))
	}
	return strings.Join(all, "|")
}

func utf16Text(s string, order binary.AppendByteOrder) string {
	var out []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
		out = order.AppendUint16(out, u)
	}
	return string(out)
}

func TestRowsOfEveryDialect(t *testing.T) {
	want := []string{"2:a|b c|é", "4:d||"}
	tests := map[string]string{
		"LF":                "tip,x,y\na,b c,é\n\nd,,\n",
		"CRLF":              "tip,x,y\r\na,b c,é\r\n\r\nd,,\r\n",
		"CR":                "tip,x,y\ra,b c,é\r\rd,,\r",
		"mixed":             "tip,x,y\r\na,b c,é\r\rd,,\n",
		"mixed, quoted":     "tip,x,y\n\"a\",b c,\"é\"\r\n\rd,,\r",
		"CR, UTF-16":        utf16Text("tip,x,y\r\na,b c,é\r\rd,,\r", binary.BigEndian),
		"joined":            "\ufefftip,x,y\n\ufeffa,b c,é\n\n\ufeff\"d\",,",
		"no end":            "tip,x,y\na,b c,é\n\nd,,",
		"byte order mark":   "\ufefftip,x,y\na,b c,é\n,,\nd,,\n",
		"semicolon":         "tip;x;y\na;b c;é\n;;\nd;;\n",
		"tab":               "tip\tx\ty\na\tb c\té\n\nd\t\t\n",
		"quoted":            "\"tip\",\"x\",\"y\"\n\"a\",\"b c\",\"é\"\n\"\",\"\",\"\"\n\"d\",\"\",\"\"\n",
		"quoted, spaced":    "\"tip\" ,x,y\n\"a\" ,\"b c\" ,\"é\" \n\nd,,\"\"",
		"UTF-16 of Windows": utf16Text("tip\tx\ty\r\na\tb c\té\r\n\r\nd\t\t\r\n", binary.LittleEndian),
		"UTF-16, other end": utf16Text("tip,x,y\na,b c,é\n\nd,,", binary.BigEndian),
		"commas in quotes":  "\"tip, the\";x;y\na;b c;é\n\nd;;",
	}
	for name, text := range tests {
		if got := readRows(t, strings.NewReader(text)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q", name, got)
		}
		if got := readRows(t, iotest.OneByteReader(strings.NewReader(text))); !slices.Equal(got, want) {
			t.Errorf("%s, byte by byte: got %q", name, got)
		}
	}
	hint := readRows(t, strings.NewReader("\r\nsep=;\r\ntip;x\r\na;b\r\n"))
	if !slices.Equal(hint, []string{"4:a|b"}) {
		t.Errorf("separator hint: %q", hint)
	}
}

func TestDamagedRowsDoNotTakeOthersAlong(t *testing.T) {
	long := strings.Repeat("x", maxRow)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"quote over lines", "a,\"1\n\"\"2\"\"\r\n3\",z\nb", []string{"2:a|1\n\"2\"\r\n3|z", "5:b"}},
		{"quote never closed", "a,\"1\nb,2\nc,3", []string{"2!" + unclosed, "3:b|2", "4:c|3"}},
		{"at the end", "a,1\nb,\"", []string{"2:a|1", "3!" + unclosed}},
		{"closed by the next one", "a,\"1\nb,2\nc,\"3\"\n", []string{"2!there is text behind a closing quote", "3:b|2", "4:c|3"}},
		{"closed further down", "a,\"1\n" + tipB + ",2\nc,3\"\nd,4", []string{"2!" + unclosed + " before the next row", "3:" + tipB + "|2", "4:c|3\"", "5:d|4"}},
		{"a line like a row", "a,\"1\n" + tipB + ",2\nc\",3\nd,4", []string{"2:a|1\n" + tipB + ",2\nc|3", "5:d|4"}},
		{"lines of CR in quotes", "a,\"1\r2\",3\rd,4", []string{"2:a|1\n2|3", "4:d|4"}},
		{"in the tip itself", "\"a\nb\nc\"\nd", []string{"2!" + unclosed, "3:b", "4:c\"", "5:d"}},
		{"text behind a quote", "a,\"1\"2\nb,3", []string{"2!there is text behind a closing quote", "3:b|3"}},
		{"quote within text", "a,5\" pipe,\"6\"\"\"\nb", []string{"2:a|5\" pipe|6\"", "3:b"}},
		{"NULs", "a,\x00\x00\nb", []string{"2!it holds NUL bytes", "3:b"}},
		{"long line", "a\n" + long + long + long + "\nb", []string{"2:a", "3!the line is longer than 1048576 bytes", "4:b"}},
		{"long last line", "a\n" + long + "x", []string{"2:a", "3!the line is longer than 1048576 bytes"}},
		{"longest line", long[1:] + "\nb", []string{"2:" + long[1:], "3:b"}},
		{"long quoted line", "a\n\"" + long + "\"\nb", []string{"2:a", "3!the line is longer than 1048576 bytes", "4:b"}},
		{"long quoted row", "a\nx,\"" + strings.Repeat("q\n", maxRow/2) + "\"\nb", append(append(
			[]string{"2:a", "3!the row is longer than 1048576 bytes"}, lines(4, maxRow/2-1, "q")...), fmt.Sprintf("%d!%s", maxRow/2+3, unclosed), fmt.Sprintf("%d:b", maxRow/2+4))},
		{"CR at the end", "a,\"b\"\r", []string{"2:a|b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := readRows(t, strings.NewReader("tip,x,y\n"+tt.text)); !slices.Equal(got, tt.want) {
				t.Errorf("got  %.300q\nwant %.300q", got, tt.want)
			}
		})
	}
}

func lines(from, n int, text string) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%d:%s", from+i, text))
	}
	return all
}

func TestWellFormedRowsComeOutAsTheyWentIn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"a", "\"", "\"\"", ",", ";", "\n", "\r\n", " ", "é", "'", "=1"}
	var text strings.Builder
	w := csv.NewWriter(&text)
	var want []string
	_ = w.Write([]string{"tip", "x", "y"})
	for i := range 20000 {
		row := []string{fmt.Sprint("tip", i)}
		for range 2 {
			var field strings.Builder
			for range r.IntN(6) {
				field.WriteString(pieces[r.IntN(len(pieces))])
			}
			row = append(row, field.String())
		}
		_ = w.Write(row)
		want = append(want, strings.Join(row, "|"))
	}
	w.Flush()
	c, err := NewRows(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range want {
		if err := c.Next(); err != nil {
			t.Fatal(err)
		}
		if got := fields(c); got != row {
			t.Fatalf("line %d: got %q, want %q", c.RowLine, got, row)
		}
	}
	if want := strings.Count(text.String(), "\n"); c.line != want {
		t.Errorf("%d lines counted of %d", c.line, want)
	}
}

// Whatever a file holds, each of its lines belongs to one row or rejected row, and a line
// that is no row of its own lies within the quotes of one.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{
		"", "a,1\nb,2\n", "\"a\",\"1\"\r\n", "a,\"1\n2\"\r3", "a,\"1\n", "\"\"\"\n", "\r\r\n\n", ",,\n\n;", "a\x00b\rc",
		"\ufeffa\r\ufeff\"b\",\n", tipA + ",\"x\n" + tipB + ",y\"\nc", "\"" + tipA + ",\"\"\r\n\r,", "a,\"b\" c\n\"d",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := NewRows(strings.NewReader("tip,x\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		for line := 1; ; line = c.line {
			err := c.read()
			if errors.Is(err, io.EOF) {
				if want := len(lineBreaks.Split(strings.TrimSuffix(lineBreaks.ReplaceAllString("tip,x\n"+text, "\n"), "\n"), -1)); line != want {
					t.Errorf("%d lines of %d were read", line, want)
				}
				return
			}
			if bad, ok := errors.AsType[*RowError](err); ok {
				if bad.Line != line+1 || c.line != line+1 && !strings.Contains(bad.Reason, "NUL") {
					t.Errorf("line %d is rejected as line %d, to line %d: %s", line+1, bad.Line, c.line, bad.Reason)
				}
				continue
			}
			if err != nil || c.RowLine != line+1 {
				t.Fatalf("the row of line %d begins in line %d: %v", line+1, c.RowLine, err)
			}
			within := 0
			for _, s := range c.spans {
				within += strings.Count(string(c.data[s.start:s.end]), "\n")
			}
			if c.line != line+1+within {
				t.Errorf("the row of line %d ends in line %d and holds %d line breaks within quotes", line+1, c.line, within)
			}
			blank := true
			for i := range c.fields {
				blank = blank && len(c.Field(i)) == 0
			}
			if left := strings.Trim(c.raw(), "\", \n\t\v\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\r"); blank && left != "" {
				t.Errorf("the row %q of line %d counts as blank", c.raw(), line+1)
			}
		}
	})
}

var lineBreaks = regexp.MustCompile("\r\n|\r|\n")

func TestFilesThatAreNoCSV(t *testing.T) {
	for text, reason := range map[string]string{
		"":                                  "empty",
		"\r\n \n":                           "empty",
		"PK\x03\x04\x14\x00[Content_Types]": "workbook",
		"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":  "workbook",
		"\x7fELF\x02\x01\x00\x00\x00\n\x00": "NUL",
		"t\x00i\x00p\x00\n\x00":             "NUL",
		"\"tip,x\na,b":                      "header",
		strings.Repeat("x", maxRow+1):       "longer",
	} {
		_, err := NewRows(strings.NewReader(text))
		if !errors.Is(err, ErrUnusableFile) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.20q: got %v, want %q", text, err, reason)
		}
	}
	broken := errors.New("broken")
	if _, err := NewRows(iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrUnusableFile) {
		t.Errorf("a stream's error: %v", err)
	}
}

func TestFormulasAreGuardedAndComeBackUnharmed(t *testing.T) {
	for value, guarded := range map[string]string{
		"": "", "TRUCK": "TRUCK", "=1+1": "'=1+1", "-5": "'-5", "+61": "'+61", "@x": "'@x", "\t=x": "'\t=x",
		" =cmd|' /C calc'!A0": "' =cmd|' /C calc'!A0", "\u00a0-1": "'\u00a0-1", "\u200b@x": "'\u200b@x", "|x": "'|x", "%0": "'%0", "＝1": "'＝1", "' ＋1": "'' ＋1", " '=x": " '=x", "\x9b=x": "\x9b=x",
		"'t Hof": "'t Hof", "'=x": "''=x", "'": "'", "''": "''", "''-": "'''-",
	} {
		if got := GuardFormula(value); got != guarded {
			t.Errorf("GuardFormula(%q) = %q, want %q", value, got, guarded)
		}
		if got := UnguardFormula(guarded); got != value {
			t.Errorf("UnguardFormula(%q) = %q, want %q", guarded, got, value)
		}
	}
}

func TestWhatIsWrittenComesBackInOneCellEach(t *testing.T) {
	rows := [][]string{{"", "a", " b", `\.`, "'"}, {"Truck;=cmd|' /C calc'!A0", "a\t=1", `say "so"`, "two\r\nlines", "a,b"}}
	var text bytes.Buffer
	w := NewWriter(&text)
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	// For whoever splits at semicolons or tabs as well, the text stays in one cell.
	if want := `"Truck;=cmd|' /C calc'!A0","a` + "\t" + `=1","say ""so""",`; !strings.Contains(text.String(), want) {
		t.Errorf("%q, want %q in it", text.String(), want)
	}
	rows[1][3] = "two\nlines" // as encoding/csv reads line ends
	if got, err := csv.NewReader(&text).ReadAll(); err != nil || !slices.EqualFunc(got, rows, slices.Equal) {
		t.Errorf("%q, %v, want %q", got, err, rows)
	}
	broken := NewWriter(brokenPipe{})
	if err := errors.Join(broken.Write([]string{"a"}), broken.Flush()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("an error of the stream: %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
