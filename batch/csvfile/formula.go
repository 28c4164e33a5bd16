package csvfile

import "strings"

// formulaStart are the characters at which a spreadsheet takes a cell for a formula.
const formulaStart = "=+-@\t\r\n"

// GuardFormula puts an apostrophe before a value that a spreadsheet would take for a
// formula. A value that already looks guarded gets one more, so that [UnguardFormula]
// gives back exactly the value.
func GuardFormula(s string) string {
	if looksLikeFormula(strings.TrimLeft(s, "'")) {
		return "'" + s
	}
	return s
}

// UnguardFormula undoes [GuardFormula]. Of a value that nobody guarded it changes only an
// apostrophe before a formula.
func UnguardFormula(s string) string {
	if strings.HasPrefix(s, "'") && looksLikeFormula(strings.TrimLeft(s, "'")) {
		return s[1:]
	}
	return s
}

func looksLikeFormula(s string) bool {
	return s != "" && strings.IndexByte(formulaStart, s[0]) >= 0
}
