package process

import (
	"context"
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// The monotonic clock stands still while a host is suspended.
func TestALeaseRunsOutWhileTheHostIsSuspended(t *testing.T) {
	t.Parallel()
	r := &run{processor: &Processor{Processing: DefaultConfig()}, hands: map[string]*hand{}}
	for tip, ago := range map[string]time.Duration{"suspended": time.Hour, "held": time.Second} {
		h := &hand{renewed: storagetest.BeforeSuspension(ago)}
		h.requests, h.lapse = context.WithCancel(t.Context())
		r.hands[tip] = h
	}
	if !r.endLapsed() || r.hands["suspended"].requests.Err() == nil {
		t.Error("a record is worked on after its lease ran out")
	}
	if r.hands["held"].requests.Err() != nil {
		t.Error("the requests for a record end that the run holds")
	}
}
