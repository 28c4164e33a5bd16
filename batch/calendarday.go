package batch

import (
	"strings"
	"time"
)

// ParseDay reads a calendar day as CSV exports write it: 17-Sep-25, 17/09/2025
// (the day first, as in Australia), 2025-09-17, or any of them with a time
// behind, as in 2025-09-17T00:00:00.000+08:00. The time and its offset are not
// looked at: the day is the one that is written. It returns YYYY-MM-DD.
func ParseDay(s string) (day string, ok bool) {
	s = strings.TrimSpace(s)
	first, rest := leading(s, isDigit)
	month, rest := afterSeparator(rest)
	if month == "" || rest == "" || rest[0] != s[len(first)] {
		return "", false
	}
	last, rest := leading(rest[1:], isDigit)
	if rest != "" && strings.IndexByte("T ,", rest[0]) < 0 {
		return "", false
	}
	if len(first) == 4 {
		first, last = last, first
	}
	d, m, y := number(first), monthNumber(month), number(last)
	switch {
	case len(first) == 0 || len(first) > 2:
		return "", false
	case len(last) == 2:
		y += 2000
	case len(last) != 4 || y < 1900 || y > 2199:
		return "", false
	}
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if m == 0 || t.Day() != d || int(t.Month()) != m {
		return "", false
	}
	return t.Format(time.DateOnly), true
}

// afterSeparator reads a month, in digits or letters, behind one of the
// separators.
func afterSeparator(s string) (month, rest string) {
	if s == "" || strings.IndexByte("-/. ", s[0]) < 0 {
		return "", ""
	}
	if month, rest = leading(s[1:], isDigit); month != "" {
		return month, rest
	}
	return leading(s[1:], isLetter)
}

func leading(s string, is func(byte) bool) (head, rest string) {
	n := 0
	for n < len(s) && is(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

func isDigit(b byte) bool  { return b >= '0' && b <= '9' }
func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// number reads up to four digits.
func number(s string) int {
	n := 0
	for i := 0; i < len(s) && i < 5; i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// monthNumber reads 9, 09, Sep, Sept or September; 0 says it is no month.
func monthNumber(s string) int {
	if isDigit(s[0]) {
		if len(s) > 2 {
			return 0
		}
		return number(s)
	}
	if len(s) < 3 {
		return 0
	}
	for m := time.January; m <= time.December; m++ {
		if name := m.String(); len(s) <= len(name) && strings.EqualFold(s, name[:len(s)]) {
			return int(m)
		}
	}
	return 0
}
