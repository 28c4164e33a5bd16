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

// Without the failure the photograph would be broken off by every run, and nobody told.
func TestAPhotographTooSlowForARunIsNoted(t *testing.T) {
	t.Parallel()
	o := batchtest.PhotoWorld(1, 2)
	o.MediaBytes = apitest.Fixed(4_000_000)
	m := batchtest.NewQueue(t, o)
	m.Processing.StopGrace, m.Refresh = time.Second, process.DefaultRefresh()
	slow := apitest.Fault{Kind: "drip", On: apitest.OnMedia, Tips: []string{m.Server.Record(0).Attachments[0].Tip}, Size: 1000, Pause: time.Second / 20}
	m.Server.AddFault(slow)
	short := process.Options{UntilEmpty: true, MaxTime: time.Second}
	for n := range 2 {
		m.MakeDue()
		if s := m.MustRun(short); s.Partial != 1 || s.Unsuccessful() != 1 {
			t.Errorf("run %d: summary %+v\n%s", n, s, m.Logged)
		}
	}
	const state = `SELECT concat_ws(' ', processing_status, retry_count, permanently_failed, failing_since IS NOT NULL, next_retry_at > now()) FROM noggin_schema.noggin_data`
	if got := m.Value(state); got != "partial 0 f t t" {
		t.Errorf("the record is %s", got)
	}
	if got := m.Value(`SELECT string_agg(error_type, ' ') FROM noggin_schema.processing_errors`); got != "too_slow too_slow" {
		t.Errorf("error types %s", got)
	}
	m.Server.ClearFaults()
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("summary %+v", s)
	}
	m.CheckFiles()

	m.Server.AddFault(slow)
	m.Execute(`UPDATE noggin_schema.refreshes SET due_at = now()`)
	if s := m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true, MaxTime: time.Second}); s.AskedAgain != 1 {
		t.Errorf("comparing: summary %+v", s)
	}
	if due := m.Value(`SELECT due_at > now() + interval '1 hour' FROM noggin_schema.refreshes`); due != "true" {
		t.Errorf("a photograph that is too slow to be compared is compared by every run\n%s", m.Logged)
	}
}

// Who stops a run has not given it its time.
func TestAPhotographBrokenOffByASignalHasNotFailed(t *testing.T) {
	t.Parallel()
	o := batchtest.PhotoWorld(1, 1)
	o.MediaBytes = apitest.Fixed(4_000_000)
	m := batchtest.NewQueue(t, o)
	m.Processing.StopGrace = time.Second
	m.Server.AddFault(apitest.Fault{Kind: "drip", On: apitest.OnMedia, Size: 1000, Pause: time.Second / 20})
	ctx, stop := context.WithCancel(t.Context())
	defer time.AfterFunc(time.Second, stop).Stop()
	if s, err := m.Run(ctx, process.Options{UntilEmpty: true, MaxTime: 2 * time.Second}); err == nil || s.Interrupted != 1 || s.Failed != 0 {
		t.Errorf("%v, summary %+v", err, s)
	}
}
