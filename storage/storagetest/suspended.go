package storagetest

import (
	"time"
	"unsafe"
)

// BeforeSuspension returns the time of a moment since which the host was suspended: its
// wall clock has gone on for so long, its monotonic clock has stood still.
func BeforeSuspension(suspended time.Duration) time.Time {
	t := time.Now().Add(-suspended)
	parts := (*struct {
		wall uint64
		mono int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	parts.mono += int64(suspended)
	return t
}
