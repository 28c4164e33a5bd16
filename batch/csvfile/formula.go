package csvfile

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// formulaStart are the characters at which a spreadsheet takes a cell for a formula.
const formulaStart = "=+-@|%＝＋－＠"

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

// looksLikeFormula reports whether a spreadsheet may run the text. White space, which some
// skip, does not hide a formula.
func looksLikeFormula(s string) bool {
	if s != "" && strings.IndexByte("\t\r\n", s[0]) >= 0 {
		return true
	}
	first, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }))
	return first != utf8.RuneError && strings.ContainsRune(formulaStart, first)
}
