package show

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// PlainText writes a value for a program to read.
func PlainText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case time.Time:
		return v.Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// HumanText writes a value for a person.
func HumanText(value any) string {
	switch v := value.(type) {
	case interface{ Human() string }:
		return v.Human()
	case time.Time:
		return Time(v)
	case time.Duration:
		return Lasting(v)
	case int:
		return humanize.Comma(int64(v))
	case int64:
		return humanize.Comma(v)
	case float64:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	default:
		return PlainText(value)
	}
}

// Printable makes text from the API, a file or the database safe to show: line
// ends and tabs become blanks, and whatever else would steer the terminal or turn
// the reading direction shows as its escape.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case visible(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// visible tells whether a character neither steers a terminal nor turns the reading
// direction.
func visible(r rune) bool {
	return r == unicode.ReplacementChar || unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) || r == '\u200d'
}

// Quoted is printable text from the command line or a file, between quotes and cut
// after 80 characters.
func Quoted(s string) string {
	if runes := []rune(s); len(runes) > 80 {
		s = string(runes[:80]) + "…"
	}
	return `"` + Printable(s) + `"`
}
