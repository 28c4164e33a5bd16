package search

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"noggin/batch/forms"
)

const (
	maxWord       = 200    // bytes; longer words are cut
	maxWords      = 20_000 // of a document
	maxDocument   = 1e6    // bytes; PostgreSQL refuses a tsvector of 1 << 20
	maxQueryWords = 5_000
)

// Errors of [Query].
var (
	ErrNoWords      = errors.New("nothing to search for: it has no letter and no digit")
	ErrTooManyWords = fmt.Errorf("more than %d different words", maxQueryWords)
)

// words calls yield for each word of a text, in its order, until yield returns false.
// begun tells that a "*" follows the word.
func words(text string, yield func(word string, begun bool) bool) {
	var b strings.Builder
	flush := func(begun bool) bool {
		word := b.String()
		b.Reset()
		return word == "" || yield(forms.FirstOf(word, maxWord), begun)
	}
	for _, r := range norm.NFKD.String(strings.ToValidUTF8(text, " ")) {
		switch {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r): // accents, and marks that cannot be seen
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.Mc, r):
			b.WriteRune(unicode.ToLower(unicode.ToUpper(r))) // both, as some letters have two small forms
		case !flush(r == '*'):
			return
		}
	}
	flush(false)
}

// list collects different words.
type list struct {
	seen map[string]bool
	out  strings.Builder
	most int
}

// add adds a word and tells whether there is room for more.
func (l *list) add(word, separator, suffix string) bool {
	if key := word + suffix; !l.seen[key] {
		if len(l.seen) >= l.most || l.out.Len()+len(separator)+len(key) > maxDocument {
			return false
		}
		if l.seen[key] = true; l.out.Len() > 0 {
			l.out.WriteString(separator)
		}
		l.out.WriteString(key)
	}
	return true
}

// addText adds the words of a text. A number is also found without its leading zeros.
func (l *list) addText(text string) {
	words(text, func(word string, _ bool) bool {
		if number := strings.TrimLeft(word, "0"); number != "" && number != word && strings.Trim(number, "0123456789") == "" {
			l.add(number, " ", "")
		}
		return l.add(word, " ", "")
	})
}

// Query returns the words of a text that must all occur, as the database takes them. A
// word with "*" at its end stands for all words that begin so. Errors: [ErrNoWords],
// [ErrTooManyWords].
func Query(text string) (string, error) {
	l := list{seen: map[string]bool{}, most: maxQueryWords}
	room := true
	words(text, func(word string, begun bool) bool {
		suffix := ""
		if begun {
			suffix = ":*"
		}
		room = l.add(word, " & ", suffix)
		return room
	})
	switch {
	case !room:
		return "", ErrTooManyWords
	case l.out.Len() == 0:
		return "", ErrNoWords
	}
	return l.out.String(), nil
}

// isText tells whether people may search for a word of an answer: not for the address of
// an attachment.
func isText(part string) bool {
	return utf8.RuneCountInString(part) < 10 || !forms.IsMediaReference(strings.Trim(part, ",;"))
}
