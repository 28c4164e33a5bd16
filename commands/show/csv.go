package show

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// csvText makes text safe in CSV: whatever steers a terminal or turns the reading
// direction shows as its escape, and a text that a spreadsheet would take for a formula
// begins with an apostrophe. Line ends and tabs within it stay.
func csvText(s string) string {
	var b strings.Builder
	if isFormula(s) {
		b.WriteByte('\'')
	}
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i]), 16))
		case r == '\n' || r == '\t' || r == '\r' && strings.HasPrefix(s[i+1:], "\n") || visible(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// isFormula reports whether a spreadsheet may run the text. White space, which some skip,
// does not hide a formula. A plain number is none.
func isFormula(s string) bool {
	if s != "" && strings.ContainsRune("\t\r\n", rune(s[0])) {
		return true
	}
	first, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }))
	if !strings.ContainsRune("=+-@|%＝＋－＠", first) || first == utf8.RuneError {
		return false
	}
	_, err := strconv.ParseFloat(s, 64)
	return err != nil || strings.ContainsAny(s, "xXpPnN_") // hexadecimal, Inf and NaN
}
