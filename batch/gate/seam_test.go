package gate

import (
	"log/slog"
	"testing"
	"time"

	"noggin/storage"
)

// The run ends while its loop still judges.
func TestTheLastLookAtMediaMeetsTheJudge(t *testing.T) {
	now := time.Now()
	g := &Gate{run: Run{Log: slog.New(slog.DiscardHandler)}}
	g.failures = newFailures(g)
	g.breaker = newBreaker(g, storage.Standing{Circuit: storage.Circuit{MediaFailingSince: &now}, Now: now})
	g.witness = &witness{gate: g, now: time.Now, subjects: map[string]*subject{storage.SubjectMedia: {last: testimony{asked: now, said: answered}}}}
	g.failures.told[storage.SubjectMedia] = true
	judged := make(chan struct{})
	go func() { // as tell does for another subject
		defer close(judged)
		g.failures.mu.Lock()
		defer g.failures.mu.Unlock()
		g.failures.told["LCD"] = true
	}()
	g.lookAtMedia(t.Context(), t.Context())
	<-judged
}
