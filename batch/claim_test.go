package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// during runs act once the API has been asked for something.
func (m *mirror) during(act func()) (acted chan struct{}) {
	acted = make(chan struct{})
	go func() {
		defer close(acted)
		for m.server.Stats().Requests == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		act()
	}()
	return acted
}

func TestAnOperatorsUpdateInMidRecordIsHonoured(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(1, 1))
	m.server.AddFault(apitest.Fault{Kind: "delay", Delay: 300 * time.Millisecond})
	acted := m.during(func() {
		m.query(`UPDATE noggin_schema.noggin_data SET processing_status = 'skipped'`, nil)
	})
	s := m.mustRun(ProcessOptions{UntilEmpty: true})
	<-acted
	if status := m.value(`SELECT processing_status FROM noggin_schema.noggin_data`); status != "skipped" || s.Lost != 1 {
		t.Errorf("status %s, summary %+v", status, s)
	}
}

func TestASlowRecordKeepsItsClaim(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(1, 2))
	m.Config.Processing.ClaimLease = time.Second
	m.Config.Processing.AttachmentPause = 100 * time.Millisecond
	m.server.AddFault(apitest.Fault{Kind: "delay", Delay: 900 * time.Millisecond})
	for _, err := range m.inTwoRuns() {
		if err != nil {
			t.Error(err)
		}
	}
	if n := m.value(`SELECT claim_token || ' ' || crash_count || ' ' || processing_status FROM noggin_schema.noggin_data`); n != "1 0 complete" {
		t.Errorf("token, crashes, status: %s", n)
	}
}

func TestTheTimeGivenEndsClaimingAlone(t *testing.T) {
	t.Parallel()
	world := plainWorld(300)
	world.Latency = 50 * time.Millisecond
	m := newQueue(t, world)
	s := m.mustRun(ProcessOptions{UntilEmpty: true, MaxTime: 300 * time.Millisecond})
	if s.Complete == 0 || s.Complete != s.Claimed || s.Claimed == 300 || s.Stopped == "" {
		t.Errorf("summary %+v", s)
	}
	m.nothingCounted()
}

func TestWhatIsNotFinishedWithinTheGraceIsDueAtOnceUncounted(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(3))
	m.Config.Processing.StopGrace = 100 * time.Millisecond
	m.server.AddFault(apitest.Fault{Kind: "hang"})
	ctx, cancel := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	acted := m.during(func() { cancel(told) })
	standing, err := m.DB.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Run(ctx, ProcessOptions{UntilEmpty: true}, standing)
	<-acted
	if !errors.Is(err, told) || s.Interrupted != s.Claimed || s.Claimed == 0 {
		t.Errorf("summary %+v, error %v", s, err)
	}
	if n := m.value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'interrupted' AND next_retry_at <= now()`); n != strconv.Itoa(s.Claimed) {
		t.Errorf("%s are due at once, want %d", n, s.Claimed)
	}
	m.nothingCounted()
}

func TestWithoutTheMarkerNothingIsRequestedOrCounted(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(30, 1))
	marker := filepath.Join(m.Config.Paths.Output, MarkerName)
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if _, err := m.run(ProcessOptions{UntilEmpty: true}); !errors.Is(err, ErrNotMounted) {
		t.Errorf("error %v", err)
	}
	if n := m.server.Stats().Requests; n != 0 {
		t.Errorf("%d requests", n)
	}
	m.nothingCounted()
	// It goes away in mid-run.
	if err := CreateMarker(m.Config.Paths.Output); err != nil {
		t.Fatal(err)
	}
	m.server.AddFault(apitest.Fault{Kind: "delay", Delay: 20 * time.Millisecond})
	acted := m.during(func() { _ = os.Remove(marker) })
	s, err := m.run(ProcessOptions{UntilEmpty: true})
	<-acted
	if !errors.Is(err, ErrNotMounted) || s.Claimed == 30 {
		t.Errorf("error %v, summary %+v", err, s)
	}
	m.nothingCounted()
	if err := CreateMarker(m.Config.Paths.Output); err != nil {
		t.Fatal(err)
	}
	m.mustRun(ProcessOptions{UntilEmpty: true})
	m.checkFiles()
}

func TestRetriesTakeAtMostHalfOfABatch(t *testing.T) {
	t.Parallel()
	m := newQueue(t, plainWorld(60))
	m.execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', next_retry_at = now()
		WHERE tip IN (SELECT tip FROM noggin_schema.noggin_data ORDER BY queue_order LIMIT 30)`)
	m.mustRun(ProcessOptions{Batch: 20})
	if n := m.value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'api_failed'`); n != "20" {
		t.Errorf("%s retries are left, want 20 of 30 after a batch of 20", n)
	}
}

// behindProxy puts a proxy between the mirror and its database.
func (m *mirror) behindProxy() *storagetest.Proxy {
	m.t.Helper()
	proxy := storagetest.NewProxy(m.t, m.url)
	cfg := storage.DefaultConfig()
	cfg.URL = proxy.URL(m.url)
	db, err := storage.Open(cfg, "process")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = db.Close() })
	m.DB = db
	return proxy
}

func TestLostRepliesToCommitsLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(30, 1))
	m.Config.Processing.ClaimLease = time.Second
	proxy := m.behindProxy()
	acted := m.during(func() { proxy.LoseCommits(12) })
	m.mustRun(ProcessOptions{UntilEmpty: true})
	<-acted
	if proxy.Lost() == 0 {
		t.Error("no reply was lost")
	}
	// A claim whose reply was lost is free when its lease ends.
	for deadline := time.Now().Add(10 * time.Second); m.value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status <> 'complete'`) != "0"; {
		if time.Now().After(deadline) {
			t.Fatalf("not everything is complete\n%s", m.log)
		}
		m.mustRun(ProcessOptions{UntilEmpty: true})
	}
	m.nothingCounted()
	m.checkFiles()
}

func TestCutDatabaseConnectionsAreMadeAnew(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(40, 1))
	m.server.AddFault(apitest.Fault{Kind: "delay", Delay: 20 * time.Millisecond})
	proxy := m.behindProxy()
	acted := m.during(func() {
		for range 5 {
			time.Sleep(40 * time.Millisecond)
			proxy.Cut()
		}
	})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 40 {
		t.Errorf("summary %+v\n%s", s, m.log)
	}
	<-acted
	m.checkFiles()
}

func TestADatabaseThatStallsIsWaitedFor(t *testing.T) {
	t.Parallel()
	m := newQueue(t, photoWorld(20, 1))
	proxy := m.behindProxy()
	acted := m.during(func() {
		proxy.Stall()
		time.Sleep(time.Second)
		proxy.Resume()
	})
	if s := m.mustRun(ProcessOptions{UntilEmpty: true}); s.Complete != 20 {
		t.Errorf("summary %+v\n%s", s, m.log)
	}
	<-acted
	m.checkFiles()
}
