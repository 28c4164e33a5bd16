package commands

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/storage/storagetest"
)

// hosts are processes as on as many hosts: one database and one output folder, a
// network of its own for each.
type hosts struct {
	*drill
	proxies []*storagetest.Proxy
}

func newHosts(t *testing.T, n, records int, config string) *hosts {
	t.Helper()
	return hostsOf(newDrill(t, records, config), n)
}

func hostsOf(d *drill, n int) *hosts {
	h := &hosts{drill: d}
	for range n {
		h.proxies = append(h.proxies, storagetest.NewProxy(d.t, d.postgres.URL("noggin_db")))
	}
	return h
}

// envOf is the environment of processes on a host.
func (h *hosts) envOf(host int) []string {
	return append(slices.Clone(h.env), "NOGGIN_DATABASE_URL="+h.proxies[host].URL(h.postgres.URL("noggin_db")))
}

// hostRun is a run on one host; done closes when it has ended.
type hostRun struct {
	*exec.Cmd
	done chan struct{}
}

// drain starts a run on every host.
func (h *hosts) drain() (runs []hostRun) {
	h.t.Helper()
	for host := range h.proxies {
		cmd, done := h.startIn(h.envOf(host), "process", "--until-empty", "--quiet")
		runs = append(runs, hostRun{cmd, done})
	}
	return runs
}

func (h *hosts) completed() int {
	return h.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
}

// clients are the runs that the API heard of.
func clients(log []apitest.Entry) []string {
	var seen []string
	for _, e := range log {
		if !slices.Contains(seen, e.Client) {
			seen = append(seen, e.Client)
		}
	}
	return seen
}

func TestFourHostsShareTheQueueTheRateAndAPause(t *testing.T) {
	t.Parallel()
	const perSecond, pause = 60, 4 * time.Second
	h := newHosts(t, 4, 80, "concurrency = 4\nmax_requests_per_second = 60")
	h.api.AddFault(apitest.Fault{Status: 429, RetryAfter: "4", From: 60, Until: 60})
	for i, run := range h.drain() {
		<-run.done
		if code := run.ProcessState.ExitCode(); code != 0 {
			t.Errorf("host %d: exit code %d", i, code)
		}
	}
	log := h.api.Log()
	if seen := clients(log); len(seen) != 4 {
		t.Errorf("only %v were at work", seen)
	}
	slices.SortFunc(log, func(a, b apitest.Entry) int { return a.Start.Compare(b.Start) })
	// Three seconds' worth, as a process that has to wait for its processor sends late,
	// and then several at once. Four limits instead of one would take three quarters of
	// a second.
	const some = 3 * perSecond
	if len(log) < some+perSecond {
		t.Errorf("only %d requests: the test shows nothing", len(log))
	}
	for i := some; i < len(log); i++ {
		if span := log[i].Start.Sub(log[i-some].Start); span < 1500*time.Millisecond {
			t.Errorf("%d requests within %s", some, span)
		}
	}
	refused := slices.IndexFunc(log, func(e apitest.Entry) bool { return e.Status == 429 })
	if refused < 0 {
		t.Fatal("no request was refused")
	}
	before, after := 0, 0
	for _, e := range log {
		switch since := e.Start.Sub(log[refused].End); {
		case since < 0:
			before++
		case since > time.Second && since < pause-200*time.Millisecond:
			t.Errorf("%s sent a request %s after the API asked for %s of silence", e.Client, since, pause)
		case since >= pause:
			after++
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%d requests before the pause and %d after it: the test shows nothing", before, after)
	}
	h.verify()
}

func TestAHostCutOffFromTheDatabaseHarmsNothing(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 4, sized(80, 300), "concurrency = 3")
	runs := h.drain()
	for h.completed() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	h.proxies[0].Refuse()
	for _, run := range runs[1:] {
		<-run.done
		if code := run.ProcessState.ExitCode(); code != 0 {
			t.Errorf("a host that was not cut off: exit code %d", code)
		}
	}
	h.proxies[0].Resume()
	<-runs[0].done
	h.finishOff()
	h.verify()
}
