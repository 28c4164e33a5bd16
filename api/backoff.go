package api

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Retry-After is honoured within these bounds: 0 would be a hot loop, a huge value
// an outage of our own making.
const (
	minRetryAfter = time.Second
	maxRetryAfter = 15 * time.Minute
)

// retryAfter reads the header Retry-After, seconds or an HTTP date. It is 0 where
// there is none or it cannot be read, else between the two bounds.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) { // err: beyond 64 bits
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

// backoff is the wait after the n-th attempt, counted from 1: first × factor^(n-1),
// at most most; the jitter, between 0 and 1, spreads it over its upper half so that
// many clients do not come back in step.
func backoff(first, most time.Duration, factor float64, n int, jitter float64) time.Duration {
	wait := float64(first) * math.Pow(factor, float64(n-1))
	wait = min(wait, float64(most))
	return time.Duration(wait * (1 + jitter) / 2)
}
