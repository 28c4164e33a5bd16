package process_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

func TestAnOperatorsUpdateInMidRecordIsHonoured(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	acted := midway(m, func() {
		m.Query(`UPDATE noggin_schema.noggin_data SET processing_status = 'skipped'`, nil)
	})
	s := m.MustRun(process.Options{UntilEmpty: true})
	<-acted
	if status := m.Value(`SELECT processing_status FROM noggin_schema.noggin_data`); status != "skipped" || s.Lost != 1 {
		t.Errorf("status %s, summary %+v", status, s)
	}
}

func TestASlowRecordKeepsItsClaim(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.Processing.ClaimLease = 2 * time.Second
	m.Processing.AttachmentPause = 100 * time.Millisecond
	m.Server.AddFault(apitest.Fault{Kind: "delay", Delay: 1800 * time.Millisecond})
	for _, err := range inTwoRuns(m) {
		if err != nil {
			t.Error(err)
		}
	}
	if n := m.Value(`SELECT claim_token || ' ' || crash_count || ' ' || processing_status FROM noggin_schema.noggin_data`); n != "1 0 complete" {
		t.Errorf("token, crashes, status: %s", n)
	}
}

func TestTheTimeGivenEndsClaimingAlone(t *testing.T) {
	t.Parallel()
	world := plainWorld(300)
	world.Latency = 50 * time.Millisecond
	m := batchtest.NewQueue(t, world)
	s := m.MustRun(process.Options{UntilEmpty: true, MaxTime: 300 * time.Millisecond})
	if s.Complete == 0 || s.Complete != s.Claimed || s.Claimed == 300 || s.Stopped == "" {
		t.Errorf("summary %+v", s)
	}
	nothingCounted(m)
}

func TestWhatIsNotFinishedWithinTheGraceIsDueAtOnceUncounted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(3))
	m.Processing.StopGrace = 100 * time.Millisecond
	m.Server.AddFault(apitest.Fault{Kind: "hang"})
	ctx, cancel := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	acted := during(m, func() { cancel(told) })
	s, err := m.Run(ctx, process.Options{UntilEmpty: true})
	<-acted
	if !errors.Is(err, told) || s.Interrupted != s.Claimed || s.Claimed == 0 {
		t.Errorf("summary %+v, error %v", s, err)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'interrupted' AND next_retry_at <= now()`); n != strconv.Itoa(s.Claimed) {
		t.Errorf("%s are due at once, want %d", n, s.Claimed)
	}
	nothingCounted(m)
}

func TestWithoutTheMarkerNothingIsRequestedOrCounted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(60, 1))
	marker := filepath.Join(m.Output, files.MarkerName)
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, files.ErrNotMounted) {
		t.Errorf("error %v", err)
	}
	if n := m.Server.Stats().Requests; n != 0 {
		t.Errorf("%d requests", n)
	}
	nothingCounted(m)
	// It goes away in mid-run.
	if err := files.CreateMarker(m.Output); err != nil {
		t.Fatal(err)
	}
	acted := midway(m, func() { _ = os.Remove(marker) })
	s, err := m.TryRun(process.Options{UntilEmpty: true})
	<-acted
	if !errors.Is(err, files.ErrNotMounted) || s.Claimed == 60 {
		t.Errorf("error %v, summary %+v", err, s)
	}
	nothingCounted(m)
	if err := files.CreateMarker(m.Output); err != nil {
		t.Fatal(err)
	}
	m.MustRun(process.Options{UntilEmpty: true})
	m.CheckFiles()
}

// The rest of the volume is for the database and the operator.
func TestNothingIsRequestedWhenTheReserveOfTheVolumeIsReached(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(2))
	m.Reserve = math.MaxInt64
	if _, err := m.TryRun(process.Options{UntilEmpty: true}); !errors.Is(err, files.ErrReserve) || m.Server.Stats().Requests != 0 {
		t.Errorf("error %v after %d requests", err, m.Server.Stats().Requests)
	}
	nothingCounted(m)
}

// Records that failed before may be slow to fail again.
func TestRetriesThatHangLeavePlacesForNewRecords(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(60))
	m.Processing.Concurrency = 4
	retries := strings.Fields(m.Value(`SELECT string_agg(tip, ' ') FROM (SELECT tip FROM noggin_schema.noggin_data ORDER BY queue_order LIMIT 20) AS d`))
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', failing_since = now(), next_retry_at = now() WHERE tip IN ('` + strings.Join(retries, `', '`) + `')`)
	held := make(chan struct{})
	m.Server.AddFault(apitest.Fault{Kind: "delay", Held: held, Tips: retries})
	release := sync.OnceFunc(func() { close(held) })
	defer time.AfterFunc(45*time.Second, func() {
		t.Error("they keep the new records waiting")
		release()
	}).Stop()
	m.Progress = func(p process.Progress) {
		if p.Records >= 25 { // of 40 new ones
			release()
		}
	}
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 60 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
}

func TestRetriesTakeAtMostHalfOfABatch(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(60))
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'api_failed', next_retry_at = now()
		WHERE tip IN (SELECT tip FROM noggin_schema.noggin_data ORDER BY queue_order LIMIT 30)`)
	m.MustRun(process.Options{Batch: 20})
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'api_failed'`); n < "20" || n > "27" {
		t.Errorf("%s retries are left, want 20 to 27 of 30 after a batch of 20", n)
	}
}

// Records that kill runs are done each alone: their crash takes no other record with it.
func TestARecordThatCrashedRunsIsDoneAlone(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(3))
	m.Execute(`UPDATE noggin_schema.noggin_data SET crash_count = 3 WHERE tip <> '` + m.Server.Record(0).Tip + `'`)
	const delay = 200 * time.Millisecond
	m.Server.AddFault(apitest.Fault{Kind: "delay", Delay: delay})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 3 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	log := m.Server.Log()
	slices.SortFunc(log, func(a, b apitest.Entry) int { return a.Start.Compare(b.Start) })
	if len(log) != 3 || log[0].Record != m.Server.Record(0).Tip {
		t.Fatalf("requests: %+v", log)
	}
	for i, e := range log[1:] {
		if e.Start.Sub(log[i].Start) < delay {
			t.Errorf("%s, which crashed runs, was asked for while %s was in hand", e.Record, log[i].Record)
		}
	}
}

func TestRecordsThatCrashedRunsCountForTheBatch(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(3))
	m.Execute(`UPDATE noggin_schema.noggin_data SET crash_count = 3`)
	if s := m.MustRun(process.Options{Batch: 2}); s.Claimed != 2 || s.Complete != 2 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
}

// behindProxy puts a proxy between the mirror and its database.
func behindProxy(m *batchtest.Mirror) *storagetest.Proxy {
	m.T.Helper()
	return impatient(m, storage.DefaultConfig().RetryFor)
}

// loseClaim has the reply to the COMMIT of the next claim lost.
func loseClaim(proxy *storagetest.Proxy) {
	var mu sync.Mutex
	claimed, lost := false, false
	proxy.LoseReply(func(statement string) bool {
		mu.Lock()
		defer mu.Unlock()
		claimed = claimed || strings.Contains(statement, "SET claimed_by = $1")
		lose := claimed && !lost && statement == "COMMIT"
		lost = lost || lose
		return lose
	})
}

func TestClaimsWhoseReplyIsLostAreWorkedOnInTheSameRun(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(m *batchtest.Mirror) process.Options{
		"a batch":     func(*batchtest.Mirror) process.Options { return process.Options{Batch: 5} },
		"named tips":  func(m *batchtest.Mirror) process.Options { return process.Options{Selector: m.Only(3)} },
		"until empty": func(*batchtest.Mirror) process.Options { return process.Options{UntilEmpty: true} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, plainWorld(5))
			loseClaim(behindProxy(m))
			opts := options(m)
			want := 5
			if len(opts.Selector.Tips) > 0 {
				want = 1
			}
			if s := m.MustRun(opts); s.Complete != want || len(s.Busy) > 0 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			nothingCounted(m)
			if n := m.Value(`SELECT max(claim_token) || ' ' || max(crash_count) FROM noggin_schema.noggin_data`); n != "2 0" {
				t.Errorf("token and crash count: %s", n)
			}
		})
	}
}

func TestARecordWhoseResultIsRefusedIsNotTakenAgainInTheSameRun(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(3))
	m.Execute(`CREATE FUNCTION noggin_schema.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$`)
	m.Execute(`CREATE TRIGGER refuse BEFORE UPDATE ON noggin_schema.noggin_data FOR EACH ROW
		WHEN (NEW.processing_status = 'complete' AND NEW.queue_order = 1) EXECUTE FUNCTION noggin_schema.refuse()`)
	s := m.MustRun(process.Options{UntilEmpty: true, MaxTime: time.Minute})
	if s.Claimed != 3 || s.Complete != 2 || s.Unrecorded != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
}

func TestLostRepliesToCommitsLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(30, 1))
	proxy := behindProxy(m)
	acted := midway(m, func() { proxy.LoseCommits(12) })
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 30 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	<-acted
	if proxy.Lost() == 0 {
		t.Error("no reply was lost")
	}
	nothingCounted(m)
	m.CheckFiles()
}

func TestCutDatabaseConnectionsAreMadeAnew(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(40, 1))
	m.Server.AddFault(apitest.Fault{Kind: "delay", Delay: 20 * time.Millisecond})
	proxy := behindProxy(m)
	acted := during(m, func() {
		for range 5 {
			time.Sleep(40 * time.Millisecond)
			proxy.Cut()
		}
	})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 40 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	<-acted
	m.CheckFiles()
}

func TestADatabaseThatStallsIsWaitedFor(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(20, 1))
	proxy := behindProxy(m)
	acted := during(m, func() {
		proxy.Stall()
		time.Sleep(time.Second)
		proxy.Resume()
	})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 20 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	<-acted
	m.CheckFiles()
}

// hangs has the first request that fault applies to hang, in a run whose lease is shorter
// than any time limit of a request. It returns the way to the run's database.
func hangs(t *testing.T, fault apitest.Fault) (*batchtest.Mirror, *storagetest.Proxy) {
	t.Helper()
	world := batchtest.PhotoWorld(1, 1)
	world.Log = true
	m := batchtest.NewQueue(t, world)
	m.Processing.ClaimLease = 2 * time.Second
	fault.FirstHits = 1
	m.Server.AddFault(fault)
	return m, behindProxy(m)
}

// asked waits until the API has been asked for something of that kind.
func asked(m *batchtest.Mirror, kind string) {
	for !slices.ContainsFunc(m.Server.Log(), func(e apitest.Entry) bool { return e.Kind == kind }) {
		time.Sleep(5 * time.Millisecond)
	}
}

// hanging are requests of which no time limit ends the second one.
var hanging = map[string]apitest.Fault{
	"record": {Kind: "hang", On: apitest.OnRecord},
	"media":  {Kind: "drip", On: apitest.OnMedia, Pause: 50 * time.Millisecond},
}

// The run does not reach its database. Its lease ends while its request is under way.
func TestARequestEndsBeforeAnotherRunMayClaimItsRecord(t *testing.T) {
	t.Parallel()
	for kind, fault := range hanging {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m, proxy := hangs(t, fault)
			other := batchtest.NewMirrorOn(t, m.URL, apitest.Options{})
			other.API, other.Output = m.API, m.Output
			var first process.Summary
			var ended sync.WaitGroup
			ended.Go(func() { first = m.MustRun(process.Options{UntilEmpty: true}) })
			asked(m, kind)
			proxy.Stall()
			const free = `SELECT count(*) FROM noggin_schema.noggin_data WHERE claim_expires_at < now()`
			for other.Value(free) == "0" {
				time.Sleep(5 * time.Millisecond)
			}
			s := other.MustRun(process.Options{UntilEmpty: true})
			proxy.Resume()
			ended.Wait()
			if s.Complete != 1 || first.Lost != 1 {
				t.Errorf("summaries %+v and %+v", first, s)
			}
			for _, o := range apitest.Overlaps(m.Server.Log(), func(e apitest.Entry) string { return e.Client }) {
				t.Errorf("two runs asked for one record: %+v and %+v", o.First, o.Second)
			}
			m.CheckFiles()
		})
	}
}

func TestARequestIsSentAgainAfterADatabaseThatWasAwayForALease(t *testing.T) {
	t.Parallel()
	for kind, fault := range hanging {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m, proxy := hangs(t, fault)
			m.API.MaxRetries = 0
			acted := make(chan struct{})
			go func() {
				defer close(acted)
				asked(m, kind)
				proxy.Stall()
				for e := m.Server.Log(); e[len(e)-1].End.IsZero(); e = m.Server.Log() {
					time.Sleep(5 * time.Millisecond)
				}
				proxy.Resume()
			}()
			if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.Requests != 2 {
				t.Errorf("summary %+v\n%s", s, m.Logged)
			}
			<-acted
			if n := m.Value(`SELECT claim_token || ' ' || crash_count || ' ' || (SELECT count(*) FROM noggin_schema.processing_errors) FROM noggin_schema.noggin_data`); n != "1 0 0" {
				t.Errorf("token, crashes, errors: %s", n)
			}
			if n := len(m.Server.Log()); n != 3 {
				t.Errorf("%d requests, want one of each kind and one more", n)
			}
			nothingCounted(m)
			m.CheckFiles()
		})
	}
}
