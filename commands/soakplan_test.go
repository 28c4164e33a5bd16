package commands

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"noggin/api/apitest"
	"noggin/commands/cmdline"
)

// endless is longer than any command takes beside all troubles, on a loaded machine.
const endless = 4 * time.Minute

// work is what one host does until the time is over: commands by its plan, of which it
// kills some and asks some to end.
func (s *soak) work(host int) {
	plan := rand.New(rand.NewPCG(s.seed, uint64(host)))
	for !s.over() {
		args := s.command(plan, host)
		after := time.Duration(50+plan.IntN(4000)) * time.Millisecond
		end := plan.IntN(100)
		cmd, done := s.startIn(s.envOf(host), args...)
		how := ""
		select {
		case <-done:
		case <-time.After(after):
			switch {
			case end < 25:
				how = "killed"
				_ = cmd.Process.Kill() // it may just have ended
			case end < 40:
				how = "told to end"
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
			select {
			case <-done:
			case <-time.After(endless):
				s.t.Errorf("noggin %s does not end; what its goroutines wait for:", strings.Join(args, " "))
				_ = cmd.Process.Signal(syscall.SIGQUIT)
				<-done
				s.mu.Lock()
				s.t.Error(tail(s.logs.String(), 20_000))
				s.mu.Unlock()
			}
		}
		if how == "" {
			how = fmt.Sprintf("exit code %d", cmd.ProcessState.ExitCode())
		}
		if how == "exit code 1" || how == "exit code 3" && args[0] == "maintain" { // no code tells why
			s.mu.Lock()
			s.t.Logf("noggin %s: %s; the processes said:\n%s", strings.Join(args, " "), how, tail(s.logs.String(), 2000))
			s.mu.Unlock()
		}
		s.tally(args, how)
		wait := time.Duration(plan.IntN(300)) * time.Millisecond
		if code := cmd.ProcessState.ExitCode(); code == cmdline.ExitDatabase || code == cmdline.ExitAPI {
			wait *= 5
		}
		s.pause(wait)
	}
}

func (s *soak) over() bool {
	select {
	case <-s.ends:
		return true
	default:
		return false
	}
}

// pause waits, or until the time is over.
func (s *soak) pause(d time.Duration) {
	select {
	case <-s.ends:
	case <-time.After(d):
	}
}

// tally counts a process. A usage error is a mistake of the plan, and nobody has spoilt
// the token.
func (s *soak) tally(args []string, how string) {
	s.counts.Lock()
	defer s.counts.Unlock()
	words := args[:1]
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") && !slices.Contains([]string{"export", "import-csv"}, args[0]) {
		words = args[:2]
	}
	s.begun[strings.Join(words, " ")+": "+how]++
	if how == "killed" {
		s.killed++
	}
	if how == "exit code 2" || how == "exit code 12" {
		s.t.Errorf("noggin %s: %s", strings.Join(args, " "), how)
	}
}

// command picks the next command of a host. None of them mends: what is damaged has to be
// seen at the end.
func (s *soak) command(plan *rand.Rand, host int) []string {
	part, names := fmt.Sprintf("%d/4", 1+plan.IntN(4)), []string{"assets.csv", "sites.csv", "person.csv", "customer.csv"}
	kind := plan.IntN(4)
	imported := []string{"hashes", "import", []string{"auto", "auto", "person", "customer"}[kind], filepath.Join(s.folder, "exports", names[kind]), "--yes"}
	drains := [][]string{
		{"process", "--until-empty", "--quiet"},
		{"process", "--until-empty", "--max-time", "2s", "--quiet"},
		{"process", "--refresh", "--media", "--until-empty", "--quiet"},
		{"process", "--refresh", "--media", "--until-empty", "--quiet"},
		{"process", "--refresh", "--media", "--batch", "30", "--quiet"},
		{"process", "--refresh", "--batch", "30", "--quiet"},
	}
	others := [][]string{
		{"import-csv", "--quiet"},
		{"import-csv", "--quiet"},
		{"import-csv", "--quiet"},
		{"archive", "create", "--before", "2030-01-01", "--quiet"},
		{"archive", "create", "--before", "2025-07-01", "--quiet"},
		{"archive", "verify", "all", "--quiet"},
		{"archive", "verify", "--part", part, "--quiet"},
		{"archive", "list"},
		s.restoring(plan), s.restoring(plan),
		{"copy", "run", "--quiet"},
		{"copy", "run", "--quiet"},
		{"copy", "run", "--max-time", "1s", "--quiet"},
		{"copy", "verify", "--quiet"},
		{"copy", "verify", "--deep", "--part", part, "--quiet"},
		{"copy", "status"},
		{"copy", "restore", "--to", filepath.Join(s.folder, fmt.Sprintf("look-%d", host)), "--quiet"},
		{"seal", "--quiet"},
		{"seal", "--quiet"},
		{"validate", "evidence", "--quiet"},
		{"export", "--all", "--payload", "--quiet", s.bag(host, "")},
		{"export", "--all", "--quiet", s.bag(host, ".zip")},
		{"validate", "quick", "--quiet"},
		{"validate", "data", "--quiet"},
		{"validate", "files", "--deep", "--quiet"},
		{"validate", "all", "--quiet"},
		{"report"},
		{"report", "queue"},
		{"report", "daily", "--save"},
		{"report", "errors"},
		{"report", "changes"},
		{"report", "storage"},
		{"report", "inspections", "--format", "csv"},
		{"report", "html"},
		{"report", "metrics"},
		{"report", "runs"},
		{"report", "circuit"},
		imported, imported,
		{"hashes", "fetch", "--quiet"},
		{"hashes", "resolve", "--quiet"},
		{"hashes", "stats"},
		{"retry-failed", "--yes", "--quiet"},
		{"maintain", "weekly", "--quiet"},
		{"maintain", "analyze", "--quiet"},
		{"maintain", "reindex", "--quiet"},
		{"maintain", "prune", "--quiet"},
		{"maintain", "temp", "--quiet"},
		{"maintain", "backup", "--quiet"},
		{"maintain", "verify-backup", "--quiet"},
		{"init-db", "--quiet"},
	}
	if plan.IntN(2) == 0 {
		return drains[plan.IntN(len(drains))]
	}
	return others[plan.IntN(len(others))]
}

// bag is the folder or ZIP of a host's exports. An unfinished folder goes on there; what is
// whole makes room.
func (s *soak) bag(host int, ext string) string {
	bag := filepath.Join(s.folder, fmt.Sprintf("bag-%d%s", host, ext))
	if _, err := os.Stat(filepath.Join(bag, "bagit.txt")); err == nil || ext != "" {
		if err := os.RemoveAll(bag); err != nil {
			s.t.Errorf("make room for an export: %v", err)
		}
	}
	return bag
}

// restoring brings an archive back, if there is one.
func (s *soak) restoring(plan *rand.Rand) []string {
	found, err := filepath.Glob(filepath.Join(s.folder, "archive", "*.zst"))
	draw := plan.IntN(1 << 20) // the plan draws as often whatever there is
	if err != nil || len(found) == 0 {
		return []string{"archive", "list"}
	}
	return []string{"archive", "restore", filepath.Base(found[draw%len(found)]), "--in-place", "--quiet"}
}

// storm has the API fail for some seconds, over and over.
func (s *soak) storm() {
	plan := rand.New(rand.NewPCG(s.seed, 100))
	for !s.over() {
		faults := []apitest.Fault{
			{Status: 503, Share: 0.3},
			{Status: 500, Share: 0.1},
			{Status: 502},
			{Status: 429, RetryAfter: "1", Share: 0.02},
			{Kind: "reset", Share: 0.1},
			{Kind: "reset-body", On: apitest.OnMedia, Share: 0.1},
			{Kind: "cut", On: apitest.OnMedia, Share: 0.2},
			{Kind: "drip", On: apitest.OnMedia, Share: 0.1, Pause: 100 * time.Millisecond},
			{Kind: "html", On: apitest.OnRecord, Share: 0.2},
			{Kind: "malformed", Share: 0.1},
			{Kind: "delay", Delay: 300 * time.Millisecond, Share: 0.3},
			{Kind: "hang", Share: 0.02},
			{Kind: "cut-picture", Share: 0.05},
			{Kind: "stale", On: apitest.OnMedia, Share: 0.1},
		}
		for range 1 + plan.IntN(3) {
			s.api.AddFault(faults[plan.IntN(len(faults))])
		}
		s.pause(time.Duration(500+plan.IntN(5000)) * time.Millisecond)
		s.api.ClearFaults()
		s.pause(time.Duration(plan.IntN(5000)) * time.Millisecond)
	}
}

// breakNetwork breaks the way of single hosts to the database.
func (s *soak) breakNetwork() {
	plan := rand.New(rand.NewPCG(s.seed, 101))
	for !s.over() {
		s.pause(time.Duration(500+plan.IntN(4000)) * time.Millisecond)
		p := s.proxies[plan.IntN(len(s.proxies))]
		switch plan.IntN(6) {
		case 0:
			p.Cut()
		case 1:
			p.LoseCommits(1 + plan.IntN(3))
		case 2:
			p.Delay(time.Duration(plan.IntN(50)) * time.Millisecond)
		case 3:
			p.Refuse()
		case 4:
			p.Stall()
		case 5:
			p.SwallowAnswers()
		}
		s.pause(time.Duration(plan.IntN(3000)) * time.Millisecond)
		p.Resume()
	}
}

func (s *soak) restartDatabase(every time.Duration) (restarts int) {
	plan := rand.New(rand.NewPCG(s.seed, 102))
	for {
		s.pause(every/2 + time.Duration(plan.Int64N(int64(every))))
		if s.over() {
			return restarts
		}
		end := []func() error{s.postgres.Stop, s.postgres.StopImmediate, s.postgres.Kill}[plan.IntN(3)]
		if err := end(); err != nil {
			s.t.Errorf("end the database's server: %v", err)
		}
		s.pause(time.Duration(plan.IntN(2000)) * time.Millisecond)
		if err := s.postgres.Restart(); err != nil {
			s.t.Errorf("start the database's server: %v", err)
			return restarts
		}
		restarts++
	}
}
