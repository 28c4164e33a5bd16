package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"noggin/batch/csvfile"
	"noggin/batch/files"
	"noggin/storage"
)

// ErrAmbiguous says that a text fits more than one record.
var ErrAmbiguous = errors.New("means more than one record")

// FindRecord returns the tip of the one record that [FindRecords] finds, or "" where there
// is none. Error: [ErrAmbiguous].
func FindRecord(ctx context.Context, db *storage.DB, text string) (tip string, err error) {
	tips, err := FindRecords(ctx, db, text, 2)
	switch {
	case err != nil || len(tips) == 0:
		return "", err
	case len(tips) > 1:
		return "", fmt.Errorf("%s %w: `noggin report tip %s` lists them", csvfile.QuotedStart(text), ErrAmbiguous, files.ShellQuoted(text))
	}
	return tips[0], nil
}

// FindRecords returns the tips of the records that text may mean, up to most of them. text
// is a tip, the beginning of one, or an inspection id in any spelling.
func FindRecords(ctx context.Context, db *storage.DB, text string, most int) ([]string, error) {
	if !utf8.ValidString(text) {
		return nil, nil // The database refuses such a text.
	}
	return db.FindRecords(ctx, text, spellings(text), most)
}

// NearRecords returns names of records that somebody may have meant by text, which names
// none.
func NearRecords(ctx context.Context, db *storage.DB, text string) ([]string, error) {
	if !utf8.ValidString(text) {
		return nil, nil // The database refuses such a text.
	}
	return db.NearRecords(ctx, append(spellings(text), text)[0])
}

// spellings returns the ways in which the database may write an inspection id that
// somebody typed. "lcd-045289" may be "LCD - 045289", as the platform writes it, or
// "LCD-045289", as file names and exports do.
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
		if i > 0 { // as in FL - Inspection - 00515
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
