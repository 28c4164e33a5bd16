package commands

import (
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// beside runs commands on both hosts at once, and kills each after a random time.
func (r *restless) beside(longest time.Duration, commands ...[]string) {
	r.t.Helper()
	var running sync.WaitGroup
	for i, args := range commands {
		cmd, done := r.startIn(r.envOf(i%len(r.proxies)), args...)
		running.Go(func() {
			select {
			case <-done:
			case <-time.After(time.Duration(20+rand.IntN(int(longest.Milliseconds()))) * time.Millisecond):
				_ = cmd.Process.Kill() // it may just have ended
				<-done
			}
		})
	}
	for _, record := range r.current() {
		if rand.IntN(3) == 0 {
			r.edit(record)
		}
	}
	running.Wait()
}

func TestKilledHostsKeepEveryVersionAndFile(t *testing.T) {
	t.Parallel()
	r := newRestless(newHosts(t, 2, sized(8, 60), "concurrency = 3\n[refresh]\nafter = []"), rand.Uint64())
	exports := filepath.Join(r.folder, "exports")
	if err := r.api.WriteFiles(exports); err != nil {
		t.Fatal(err)
	}
	r.settle()
	again := []string{"process", "--refresh", "--media", "--until-empty", "--quiet"}
	for round := range sized(3, 40) {
		names := []string{"hashes", "import", "auto", filepath.Join(exports, []string{"assets.csv", "sites.csv"}[round%2]), "--yes"}
		move := []string{"archive", "create", "--before", "2030-01-01"}
		if round%3 == 2 {
			if names, err := filepath.Glob(filepath.Join(r.folder, "archive", "*.zst")); err == nil && len(names) > 0 {
				move = []string{"archive", "restore", filepath.Base(names[rand.IntN(len(names))]), "--in-place"}
			}
		}
		r.beside(1500*time.Millisecond, again, again, names, move)
		r.look()
		if round%2 == 1 {
			r.settle()
		}
	}
	r.settle()
	if r.edits == 0 {
		t.Error("nothing was edited")
	}
	r.verify()
}
