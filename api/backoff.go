package api

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Retry-After is honoured within these bounds. Without the lower one, 0 would make a
// hot loop; without the upper one, a huge value would stop us for days.
const (
	minRetryAfter = time.Second
	maxRetryAfter = 15 * time.Minute
)

// retryAfter reads the header Retry-After, which holds seconds or an HTTP date. It
// returns a time within the bounds, or 0 when the header is missing or unreadable.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) { // err: more than 64 bits
			return maxRetryAfter
		}
		return max(time.Duration(seconds)*time.Second, minRetryAfter)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), minRetryAfter), maxRetryAfter)
}

// backoff returns the wait after the n-th attempt, counted from 1: first × factor^(n-1),
// at most longest. The jitter, between 0 and 1, picks a point in the upper half of that,
// so that many clients do not come back at the same moment.
func backoff(first, longest time.Duration, factor float64, n int, jitter float64) time.Duration {
	wait := min(float64(first)*math.Pow(factor, float64(n-1)), float64(longest))
	return time.Duration(wait * (1 + jitter) / 2)
}
