package commands

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/files"
)

// soak is a restless mirror that four hosts keep for hours, with every command, while the
// API, the network and the database fail, processes are killed, and records are edited 500
// times a minute. Each host and each trouble follows a plan of its own, which a seed makes.
type soak struct {
	*restless
	seed   uint64
	ends   chan struct{} // closed when the time is over
	parts  []csvPart     // of exports, not yet in the input folder
	target string        // of copies

	counts sync.Mutex
	begun  map[string]int // processes by command and how they ended
	killed int
}

// csvPart is a part of a platform's export.
type csvPart struct{ name, text string }

// soakTime is how long troubles last: `make soak` sets it. `make test` has a short form.
func soakTime(t *testing.T) (length time.Duration, records int) {
	text := os.Getenv("NOGGIN_SOAK")
	if text == "" {
		return 6 * time.Second, 40
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("NOGGIN_SOAK: %v", err)
	}
	return length, 400
}

// soakSeed is random, or that of a run to be repeated.
func soakSeed(t *testing.T) uint64 {
	text := os.Getenv("NOGGIN_SOAK_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("NOGGIN_SOAK_SEED: %v", err)
	}
	return seed
}

func newSoak(t *testing.T, seed uint64, records int) *soak {
	d := newEmptyDrill(t, apitest.Options{Seed: seed, Records: records}, "concurrency = 3\nstop_grace = 10\n[refresh]\nafter = []\n[import]\nsettle = 0")
	s := &soak{
		restless: newRestless(hostsOf(d, 4), seed), seed: seed, ends: make(chan struct{}),
		target: filepath.Join(d.folder, "second"), begun: map[string]int{},
	}
	config := filepath.Join(s.folder, "noggin.toml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	// The circuit opens, and closes soon.
	changed := strings.Replace(string(text), "sample_size = 1000", "sample_size = 20\ncircuit_open_duration_seconds = 2", 1) +
		fmt.Sprintf("[copy]\nto = %q\n[seal]\nkey_file = %q\npublish = 'cp \"$1\" %q'\n", s.target, filepath.Join(s.folder, "seal.key"), filepath.Join(s.folder, "held"))
	if err := os.WriteFile(config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"second", "held", "input", "exports"} {
		if err := os.MkdirAll(filepath.Join(s.folder, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.mustRun("seal", "init", "--name", "example.com/soak")
	s.cutExports()
	return s
}

// cutExports cuts the platform's exports into parts, which arrive one after the other.
func (s *soak) cutExports() {
	s.t.Helper()
	exports := filepath.Join(s.folder, "exports")
	if err := s.api.WriteFiles(exports); err != nil {
		s.t.Fatal(err)
	}
	const rows = 10
	for _, form := range apitest.Forms() {
		content, err := os.ReadFile(filepath.Join(exports, form.Code+".csv"))
		if err != nil {
			s.t.Fatal(err)
		}
		all, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
		if err != nil {
			s.t.Fatal(err)
		}
		for part := range slices.Chunk(all[1:], rows) {
			var text bytes.Buffer
			if err := csv.NewWriter(&text).WriteAll(append([][]string{all[0]}, part...)); err != nil {
				s.t.Fatal(err)
			}
			s.parts = append(s.parts, csvPart{fmt.Sprintf("%s-%d.csv", form.Code, len(s.parts)), text.String()})
		}
	}
	s.random.Shuffle(len(s.parts), func(i, j int) { s.parts[i], s.parts[j] = s.parts[j], s.parts[i] })
}

// arrive puts the next part of an export into the input folder.
func (s *soak) arrive() {
	s.t.Helper()
	if len(s.parts) == 0 {
		return
	}
	part, whole := filepath.Join(s.folder, "exports", s.parts[0].name), filepath.Join(s.folder, "input", s.parts[0].name)
	if err := os.WriteFile(part, []byte(s.parts[0].text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(part, whole); err != nil {
		s.t.Fatal(err)
	}
	s.parts = s.parts[1:]
}

// broken is what no process may say.
var broken = regexp.MustCompile(`(?m)^panic: .*|^fatal error: .*|WARNING: DATA RACE`)

// listen looks at what processes said, and at what the API heard: no two live runs are at
// work on one record.
func (s *soak) listen() {
	s.t.Helper()
	s.mu.Lock()
	said := s.logs.String()
	if len(said) > 8<<20 {
		s.logs.Reset()
		s.logs.WriteString(tail(said, 1<<20))
	}
	s.mu.Unlock()
	if at := broken.FindStringIndex(said); at != nil {
		s.t.Fatalf("a process broke:\n%s", said[at[0]:min(len(said), at[0]+6000)])
	}
	log := s.api.Log()
	s.notTwice(log)
	if len(log) > 50_000 {
		s.api.ResetStats()
	}
}

// TestSoak ends with the comparison against the truth: the mirror has every version that
// was served and none twice, the newest is the current one, every file is on disk or in an
// archive with its hash, no evidence was replaced, the queue is empty, what was sealed is
// proved, the copies are verified, and noggin's own checks find nothing.
// NOGGIN_SOAK=2h is its length, NOGGIN_SOAK_SEED its plan.
func TestSoak(t *testing.T) {
	t.Parallel()
	length, records := soakTime(t)
	seed := soakSeed(t)
	t.Logf("seed %d: NOGGIN_SOAK_SEED=%d NOGGIN_SOAK=%s repeats the plan", seed, seed, length)
	s := newSoak(t, seed, records)
	for range 4 {
		s.arrive()
	}
	s.mustRun("import-csv", "--quiet")
	s.mustRun("process", "--until-empty", "--quiet")
	s.mustRun("copy", "run", "--quiet") // registers the target
	var work sync.WaitGroup
	for host := range s.proxies {
		work.Go(func() { s.work(host) })
	}
	work.Go(s.storm)
	work.Go(s.breakNetwork)
	restarts := 0
	work.Go(func() { restarts = s.restartDatabase(min(time.Minute, length/2)) })
	rest := sync.OnceFunc(func() { close(s.ends); work.Wait() })
	defer rest()
	begun := time.Now()
	s.live(length, 500)
	rest()
	lasted := time.Since(begun)
	s.calm()
	s.settle()
	s.conclude()
	s.verify()
	processes := 0
	for _, n := range s.begun {
		processes += n
	}
	t.Logf("%s: %d processes, %d of them killed, %d restarts of the database, %.0f edits a minute", lasted.Round(time.Second), processes, s.killed, restarts, float64(s.edits)/lasted.Minutes())
	for _, what := range slices.Sorted(maps.Keys(s.begun)) {
		t.Logf("%5d %s", s.begun[what], what)
	}
	if !s.shown() {
		t.Errorf("%d edits and %d kills: the test shows nothing", s.edits, s.killed)
	}
}

// shown tells whether there were enough edits and kills to show something.
func (s *soak) shown() bool {
	s.counts.Lock()
	defer s.counts.Unlock()
	return s.edits >= 10 && s.killed >= 2
}

// live edits records and looks at the files until the time is over. On a machine that is
// busy with other things it takes longer, until something is shown.
func (s *soak) live(length time.Duration, editsPerMinute int) {
	s.t.Helper()
	begun, looked, arrived := time.Now(), time.Now(), time.Now()
	for (time.Since(begun) < length || !s.shown() && time.Since(begun) < length+3*time.Minute) && !s.t.Failed() {
		if due := int(time.Since(begun).Minutes()*float64(editsPerMinute)) - s.edits; due > 0 {
			current := s.current()
			s.random.Shuffle(len(current), func(i, j int) { current[i], current[j] = current[j], current[i] })
			for _, record := range current[:min(due, len(current))] {
				s.edit(record)
				if s.random.IntN(10) == 0 { // a cache still has the version before
					s.api.AddFault(apitest.Fault{Kind: "stale", On: apitest.OnRecord, Tips: []string{record.Tip}, FirstHits: 1, For: 3 * time.Second})
				}
			}
		}
		if time.Since(looked) > 3*time.Second {
			s.look()
			s.listen()
			// Retries and copies do not wait as long as they would. The server may be down.
			_, _ = s.sql.ExecContext(s.t.Context(), `UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE next_retry_at > now() AND claimed_by IS NULL`)
			looked = time.Now()
		}
		if time.Since(arrived) > length/20 {
			s.arrive()
			arrived = time.Now()
		}
		s.pause(200 * time.Millisecond)
	}
}

// calm ends all troubles.
func (s *soak) calm() {
	s.t.Helper()
	s.api.ClearFaults()
	for _, p := range s.proxies {
		p.LoseCommits(0)
		p.Resume()
	}
	for len(s.parts) > 0 {
		s.arrive()
	}
	s.mustRun("maintain", "reset-circuit", "--quiet")
	s.mustRun("import-csv", "--quiet")
	if left, err := filepath.Glob(filepath.Join(s.folder, "input", "*.csv")); err != nil || len(left) > 0 {
		s.t.Errorf("exports are left in the input folder: %v %v", left, err)
	}
}

// conclude does what a day ends with, and has noggin look at everything.
func (s *soak) conclude() {
	s.t.Helper()
	s.listen()
	bag := filepath.Join(s.folder, "bag")
	// Copies that failed wait for their next try.
	if _, err := s.sql.ExecContext(s.t.Context(), `UPDATE noggin_schema.copies_due SET due_at = now()`); err != nil {
		s.t.Fatal(err)
	}
	for _, args := range [][]string{
		{"seal"},
		{"copy", "run"},
		{"copy", "verify", "--deep"},
		{"validate", "evidence"},
		{"maintain", "backup"},
		{"maintain", "verify-backup"},
		{"export", "--all", "--payload", bag},
		{"validate", "bag", bag},
		{"copy", "run"},
		{"maintain", "reindex"},
		// All but quick, which rightly tells of the last hour's troubles.
		{"validate", "config", "database", "api", "sources", "copy", "data", "files"},
	} {
		if said, code := s.saying(append(args, "--quiet")...); code != 0 {
			s.t.Errorf("noggin %s: exit code %d\n%s", strings.Join(args, " "), code, said)
		}
	}
	for what, query := range map[string]string{
		"copies are due":                    `SELECT count(*) FROM noggin_schema.copies_due`,
		"versions are not sealed":           `SELECT count(*) FROM noggin_schema.seal_due`,
		"records are claimed or given up":   `SELECT count(*) FROM noggin_schema.noggin_data WHERE claimed_by IS NOT NULL OR permanently_failed`,
		"files were added and not copied":   `SELECT abs((SELECT sum(files) FROM noggin_schema.file_counts) - (SELECT count(*) FROM noggin_schema.copies WHERE kind IN ('attachment', 'former', 'report') AND obsolete_at IS NULL))`,
		"versions are there more than once": `SELECT count(*) - count(DISTINCT (record_tip, sid)) FROM noggin_schema.record_versions`,
	} {
		if n := s.count(query); n != 0 {
			s.t.Errorf("%d %s", n, what)
		}
	}
	s.sweeps()
}

// sweeps has noggin remove what killed processes left, when it is old enough. Nothing is
// left then.
func (s *soak) sweeps() {
	s.t.Helper()
	long := time.Now().Add(-48 * time.Hour)
	temporary := func() (left []string) {
		ours := []string{files.MarkerName, ".noggin-copy"}
		for _, folder := range []string{"output", "archive", "backups", "reports", "second", "checkpoints", "input"} {
			err := filepath.WalkDir(filepath.Join(s.folder, folder), func(path string, entry os.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				if name := entry.Name(); !slices.Contains(ours, name) &&
					(strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".part") || strings.HasSuffix(name, files.PartialExt)) {
					left = append(left, path)
				}
				return nil
			})
			if err != nil && !os.IsNotExist(err) {
				s.t.Fatal(err)
			}
		}
		return left
	}
	for _, path := range temporary() {
		if err := os.Chtimes(path, long, long); err != nil {
			s.t.Fatal(err)
		}
	}
	s.mustRun("maintain", "temp", "--quiet")
	s.mustRun("copy", "run", "--quiet") // sweeps the folder of copies
	if left := temporary(); len(left) > 0 {
		s.t.Errorf("temporary files are left: %v", left)
	}
}
