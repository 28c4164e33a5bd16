package batch

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Spellings returns the ways in which an inspection id may be written in the
// database, given how somebody typed it: "lcd-045289" may be the platform's
// "LCD - 045289", or the "LCD-045289" of file names and exports.
func Spellings(id string) []string {
	id = strings.Join(strings.Fields(id), " ")
	if id == "" {
		return nil
	}
	spellings := []string{id}
	add := func(s string) {
		if !slices.Contains(spellings, s) {
			spellings = append(spellings, s)
		}
	}
	prefix := strings.TrimRight(id, "0123456789")
	number := id[len(prefix):]
	words := strings.FieldsFunc(prefix, func(r rune) bool { return r == ' ' || r == '_' || unicode.Is(unicode.Dash, r) })
	if len(words) == 0 || number == "" {
		return spellings
	}
	upper := make([]string, len(words))
	for i, word := range words {
		upper[i] = strings.ToUpper(word)
		if i > 0 { // FL - Inspection - 00515
			first, size := utf8.DecodeRuneInString(word)
			upper[i] = strings.ToUpper(string(first)) + strings.ToLower(word[size:])
		}
	}
	for _, words := range [][]string{upper, words} {
		all := slices.Concat(words, []string{number})
		for _, separator := range []string{" - ", "-", " ", "_", ""} {
			add(strings.Join(all, separator))
		}
	}
	return spellings
}
