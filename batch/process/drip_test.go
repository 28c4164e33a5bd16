package process_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// Without room for slow answers the photographs would hold every place for minutes.
func TestEightDrippingPhotographsDoNotCostARunItsProgress(t *testing.T) {
	t.Parallel()
	const others = 60
	o := plainWorld(others + 1)
	o.MediaBytes = apitest.Fixed(4_000_000)
	m := batchtest.NewQueue(t, o)
	m.API.Timeout, m.API.MaxRetries, m.Processing.StopGrace = 2*time.Second, 5, time.Second/2
	record := m.Server.Record(0) // the first in the queue
	for range m.Processing.Concurrency {
		record = m.Server.Edit(record.Tip, apitest.Edit{Add: []string{"attachments"}})
	}
	m.Server.AddFault(apitest.Fault{Kind: "drip", On: apitest.OnMedia, Size: 1000, Pause: time.Second / 20})
	// So that the photographs have every place before the other records are answered.
	m.Server.AddFault(apitest.Fault{Kind: "delay", On: apitest.OnRecord, Delay: time.Second / 4})

	done, held := errors.New("all other records have ended"), errors.New("the photographs kept other records waiting")
	ctx, stop := context.WithCancelCause(t.Context())
	defer time.AfterFunc(45*time.Second, func() { stop(held) }).Stop()
	m.Progress = func(p process.Progress) {
		if p.Records >= others {
			stop(done)
		}
	}
	s, err := m.Run(ctx, process.Options{UntilEmpty: true})
	if !errors.Is(err, done) || s.Complete != others || s.Interrupted != 1 {
		t.Errorf("the run ended with %v\n%+v", err, s)
	}
	nothingCounted(m)
}

func TestAPhotographThatDripsForTooLongFailsWithoutAnotherAttempt(t *testing.T) {
	t.Parallel()
	o := batchtest.PhotoWorld(1, 1)
	o.MediaBytes = apitest.Fixed(4_000_000)
	m := batchtest.NewQueue(t, o)
	m.API.MaxRetries, m.API.MaxTransferTime = 5, time.Second
	m.Server.AddFault(apitest.Fault{Kind: "drip", On: apitest.OnMedia, Size: 1000, Pause: time.Second / 20})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != 1 {
		t.Errorf("summary %+v", s)
	}
	if n := m.MediaRequests(); n != 1 {
		t.Errorf("%d requests for the photograph, want 1", n)
	}
	if got := m.Value(`SELECT string_agg(error_type, ' ') FROM noggin_schema.processing_errors`); got != "too_slow" {
		t.Errorf("error types %s", got)
	}
}
