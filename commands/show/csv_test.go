package show

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
)

func TestCSVSteersNoTerminalAndNoSpreadsheet(t *testing.T) {
	for given, want := range map[string]string{
		"plain é 日": "plain é 日", "two\nlines": "two\nlines", "-5": "-5", "+61.5": "+61.5", "-1e3": "-1e3", "LCD - 1": "LCD - 1",
		"=1+1": "'=1+1", "+cmd|'/C calc'!A0": "'+cmd|'/C calc'!A0", "-2+3": "'-2+3", "@SUM(A1)": "'@SUM(A1)", " =1": "' =1", "\t=1": "'\t=1", "|x": "'|x",
		"＝1": "'＝1", "-inf": "'-inf", "+0x1p4": "'+0x1p4", "\u200b=1": `'\u200b=1`, "-": "'-",
		"\x1b]0;x\a": `\x1b]0;x\a`, "\u009b31m": `\u009b31m`, "a\u202eb": `a\u202eb`, "\u2066x": `\u2066x`, "a\rb": `a\rb`, "x\x9by": `x\x9by`, "nul\x00": `nul\x00`,
	} {
		table := Table{Columns: []Column{{"a", "A"}, {"n", "N"}}, Rows: [][]any{{given, -5}}}
		for name, write := range map[string]func(o Output) error{
			"table": func(o Output) error { return o.Table(table) },
			"stream": func(o Output) error {
				s := NewRowStream(o, []string{"a", "n"})
				_ = s.Text([][]byte{[]byte(given), []byte("-5")}, []bool{false, true})
				return s.End()
			},
			"stream of values": func(o Output) error {
				s := NewRowStream(o, []string{"a", "n"})
				_ = s.Write([]any{given, -5})
				return s.End()
			},
		} {
			var out bytes.Buffer
			if err := write(Output{Writer: &out, Format: CSV}); err != nil {
				t.Fatal(err)
			}
			rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
			if err != nil || rows[1][0] != want || rows[1][1] != "-5" {
				t.Errorf("%s of %q: %q, want %q (%v)", name, given, rows, want, err)
			}
			out.Reset()
			if err := write(Output{Writer: &out, Format: CSV, Raw: true}); err != nil || !strings.Contains(out.String(), given) {
				t.Errorf("%s of %q, raw: %q", name, given, out.String())
			}
		}
	}
}
