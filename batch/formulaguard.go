package batch

import "strings"

// formulaStart are the characters that make a spreadsheet take a cell for a
// formula.
const formulaStart = "=+-@\t\r\n"

// GuardFormula makes a value safe in a CSV file that is opened in a spreadsheet:
// one that could be taken for a formula gets an apostrophe in front, and so does
// one that already looks guarded, so that UnguardFormula gives back exactly what
// was there.
func GuardFormula(s string) string {
	if looksLikeFormula(strings.TrimLeft(s, "'")) {
		return "'" + s
	}
	return s
}

// UnguardFormula undoes GuardFormula; what was never guarded stays as it is,
// unless it is itself an apostrophe before a formula.
func UnguardFormula(s string) string {
	if strings.HasPrefix(s, "'") && looksLikeFormula(strings.TrimLeft(s, "'")) {
		return s[1:]
	}
	return s
}

func looksLikeFormula(s string) bool {
	return s != "" && strings.IndexByte(formulaStart, s[0]) >= 0
}
