package commands

import (
	"math/rand/v2"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"noggin/api/apitest"
)

func TestKilledRunsLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(60, 300), "concurrency = 4")
	for range sized(8, 100) {
		cmd, done := d.start("process", "--until-empty", "--quiet")
		select {
		case <-done:
		case <-time.After(time.Duration(30+rand.IntN(400)) * time.Millisecond):
			_ = cmd.Process.Kill() // it may just have ended
			<-done
		}
	}
	d.finishOff()
	d.verify()
}

func TestARestartedDatabaseLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(60, 300), "max_requests_per_second = 60")
	cmd, done := d.start("process", "--until-empty", "--quiet")
	for d.api.Stats().Requests == 0 { // a run that has begun waits for the database, a start does not
		time.Sleep(5 * time.Millisecond)
	}
	for range sized(3, 20) {
		select {
		case <-done:
		case <-time.After(time.Duration(200+rand.IntN(600)) * time.Millisecond):
		}
		if err := d.postgres.StopImmediate(); err != nil {
			t.Fatal(err)
		}
		if err := d.postgres.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the run did not outlive the restarts: exit code %d", code)
	}
	d.finishOff()
	d.verify()
}

func TestMixedFailuresEndComplete(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(60, 300), "")
	for _, fault := range []apitest.Fault{
		{Status: 503, Share: 0.05},
		{Status: 500, Share: 0.05},
		{Kind: "reset", Share: 0.04},
		{Kind: "reset-body", On: apitest.OnMedia, Share: 0.04},
		{Kind: "cut", On: apitest.OnMedia, Share: 0.04},
		{Kind: "html", On: apitest.OnRecord, Share: 0.04},
		{Kind: "malformed", Share: 0.04},
		{Status: 429, RetryAfter: "1", Share: 0.004},
	} {
		d.api.AddFault(fault)
	}
	for range 3 {
		d.makeDue()
		d.run("process", "--until-empty", "--quiet")
	}
	d.api.ClearFaults()
	if n := d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE permanently_failed`); n > 0 {
		t.Errorf("%d records were given up after three runs", n)
	}
	d.finishOff()
	d.verify()
}

func TestSeveralRunsShareOneQueueWhileSomeAreKilled(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(80, 300), "concurrency = 3")
	var runs sync.WaitGroup
	for worker := range sized(2, 4) {
		runs.Go(func() {
			for range sized(3, 8) {
				cmd, done := d.start("process", "--until-empty", "--quiet")
				if worker%2 == 1 {
					select {
					case <-done:
					case <-time.After(time.Duration(100+rand.IntN(400)) * time.Millisecond):
						_ = cmd.Process.Kill()
					}
				}
				<-done
			}
		})
	}
	runs.Wait()
	d.finishOff()
	d.verify()
}

func TestASignalFinishesTheRecordsInHand(t *testing.T) {
	t.Parallel()
	d := newDrill(t, 40, "concurrency = 2")
	d.api.AddFault(apitest.Fault{Kind: "delay", Delay: 50 * time.Millisecond, On: apitest.OnMedia})
	cmd, done := d.start("process", "--until-empty")
	for d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	<-done
	if code := cmd.ProcessState.ExitCode(); code != ExitInterrupted {
		t.Errorf("exit code %d, want %d", code, ExitInterrupted)
	}
	if n := d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE claimed_by IS NOT NULL OR processing_status NOT IN ('pending', 'complete')`); n > 0 {
		t.Errorf("%d records were left half done", n)
	}
	if n := d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'pending'`); n == 0 {
		t.Error("the run took everything before it ended")
	}
	d.mu.Lock()
	if logs := d.logs.String(); !regexp.MustCompile(`level=WARN msg="told to stop: finishing [1-9] records?, at most [0-9ms. ]+; a second signal stops at once"`).MatchString(logs) {
		t.Errorf("the log does not say what the signal does:\n%s", logs)
	}
	d.mu.Unlock()
	d.finishOff()
	d.verify()
}
