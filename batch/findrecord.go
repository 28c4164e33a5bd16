package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"noggin/storage"
)

// ErrAmbiguous says that a text means more than one record.
var ErrAmbiguous = errors.New("means more than one record")

// FindRecord returns the tip of the record that an operator means by text, as
// [FindRecords] finds it; "" where there is none. Error: [ErrAmbiguous].
func FindRecord(ctx context.Context, db *storage.DB, text string) (tip string, err error) {
	tips, err := FindRecords(ctx, db, text, 2)
	switch {
	case err != nil || len(tips) == 0:
		return "", err
	case len(tips) > 1:
		return "", fmt.Errorf("%s %w: `noggin report tip %s` lists them", quotedStart(text), ErrAmbiguous, ShellQuoted(text))
	}
	return tips[0], nil
}

// FindRecords returns the tips of the records that an operator may mean by text, at
// most so many: a tip, the beginning of one, or an inspection id however it is spelled.
func FindRecords(ctx context.Context, db *storage.DB, text string, most int) ([]string, error) {
	if !utf8.ValidString(text) {
		return nil, nil // which the database would not take
	}
	return db.FindRecords(ctx, text, spellings(text), most)
}

// spellings returns the ways in which an inspection id may be written in the
// database, given how somebody typed it: "lcd-045289" may be the platform's
// "LCD - 045289", or the "LCD-045289" of file names and exports.
func spellings(id string) []string {
	id = strings.Join(strings.Fields(id), " ")
	if id == "" {
		return nil
	}
	found := []string{id}
	add := func(s string) {
		if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	prefix := strings.TrimRight(id, "0123456789")
	number := id[len(prefix):]
	words := strings.FieldsFunc(prefix, func(r rune) bool { return r == ' ' || r == '_' || unicode.Is(unicode.Dash, r) })
	if len(words) == 0 || number == "" {
		return found
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
	return found
}
