package forms

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// dayForm matches day, month and year, or year, month and day, up to what may follow.
var dayForm = regexp.MustCompile(`^([0-9]{1,4})([-/. ])([0-9]{1,2}|[A-Za-z]{3,9})([-/. ])([0-9]{1,4})(?:[T ,]|$)`)

// ParseDay reads a calendar day as CSV exports write it: 17-Sep-25, 17/09/2025 (the day
// first, as in Australia) or 2025-09-17. A time may follow, as in
// 2025-09-17T00:00:00.000+08:00; it and its offset are ignored. ParseDay returns
// YYYY-MM-DD.
func ParseDay(s string) (day string, ok bool) {
	m := dayForm.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil || m[2] != m[4] {
		return "", false
	}
	first, last := m[1], m[5]
	if len(first) == 4 {
		first, last = last, first
	}
	d, _ := strconv.Atoi(first) // dayForm lets only digits through
	y, _ := strconv.Atoi(last)
	switch {
	case len(first) > 2:
		return "", false
	case len(last) == 2:
		y += 2000
	case len(last) != 4 || y < 1900 || y > 2199:
		return "", false
	}
	month := monthNumber(m[3])
	t := time.Date(y, month, d, 0, 0, 0, 0, time.UTC)
	if t.Day() != d || t.Month() != month {
		return "", false
	}
	return t.Format(time.DateOnly), true
}

// monthNumber reads 9, 09, Sep, Sept or September. It returns 0 for what is no month.
func monthNumber(s string) time.Month {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Month(n)
	}
	for m := time.January; m <= time.December; m++ {
		if name := m.String(); len(s) <= len(name) && strings.EqualFold(s, name[:len(s)]) {
			return m
		}
	}
	return 0
}
