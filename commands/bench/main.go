package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"noggin/storage/storagetest"
)

func main() {
	var o options
	only := flag.String("only", "", "comma-separated groups: "+strings.Join(groupNames(), ", "))
	flag.StringVar(&o.noggin, "noggin", "./noggin", "the binary to measure")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; medians are printed")
	flag.BoolVar(&o.short, "short", false, "a tenth of the sizes, to see that it works")
	flag.IntVar(&o.records, "records", 10_000_000, "records of the group scale")
	flag.StringVar(&o.former, "former", "", "another build of noggin, `FILE`, that the group process drains with in the same rounds")
	flag.StringVar(&o.profiles, "cpuprofiles", "", "have each drain at 16 in flight write a CPU profile to `FOLDER`")
	out := flag.String("json", "bench.json", "write the figures to `FILE`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, *only, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	noggin  string
	rounds  int
	short   bool
	records int // of the group scale
	// former is another build to compare with, "" for none.
	former   string
	profiles string
}

// size is n, or a tenth of it for --short.
func (o options) size(n int) int {
	if o.short {
		return max(1, n/10)
	}
	return n
}

// group is a set of measurements that share their preparation.
type group struct {
	name string
	run  func(context.Context, *bench) error
	// apart says that the group runs only when --only names it.
	apart bool
}

func groups() []group {
	return []group{
		{name: "process", run: benchProcess},
		{name: "hosts", run: benchHosts},
		{name: "import", run: benchImport},
		{name: "claims", run: benchClaims},
		{name: "idle", run: benchIdle},
		{name: "refresh", run: benchRefresh},
		{name: "memory", run: benchMemory},
		{name: "archive", run: benchArchive},
		{name: "copy", run: benchCopy},
		{name: "verify", run: benchVerify},
		{name: "folder", run: benchFolder},
		{name: "prune", run: benchPrune},
		{name: "reports", run: benchReports},
		{name: "find", run: benchFind},
		{name: "export", run: benchExport},
		{name: "seal", run: benchSeal},
		{name: "held", run: benchHeld},
		{name: "scale", run: benchScale, apart: true}, // 100 GB
	}
}

func groupNames() (names []string) {
	for _, g := range groups() {
		names = append(names, g.name)
	}
	return names
}

// bench is the state that all groups share.
type bench struct {
	options
	folder  string
	server  *storagetest.Server
	results []result
	made    int // number of databases so far
}

// result is one figure: what was measured and what it is compared with.
type result struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Noggin  []float64 `json:"noggin"`
	Other   []float64 `json:"other,omitempty"`
	Against string    `json:"against,omitempty"`
	Ratio   float64   `json:"ratio,omitempty"` // of the medians, noggin to the other
}

func run(ctx context.Context, o options, only, out string) error {
	for _, binary := range []*string{&o.noggin, &o.former} {
		if *binary == "" {
			continue
		}
		absolute, err := filepath.Abs(*binary)
		if err != nil {
			return err
		}
		*binary = absolute
	}
	folder, err := os.MkdirTemp("", "noggin-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	server, err := storagetest.Start(storagetest.Options{
		Fsync: true, Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements", "shared_buffers": "256MB", "max_wal_size": "4GB"},
	})
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	b := &bench{options: o, folder: folder, server: server}
	wanted := strings.Split(only, ",")
	for _, g := range groups() {
		if only == "" && g.apart || only != "" && !slices.Contains(wanted, g.name) {
			continue
		}
		fmt.Printf("\n%s\n", g.name)
		if err := g.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	doc, err := json.MarshalIndent(map[string]any{"rounds": o.rounds, "short": o.short, "results": b.results}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("\nfigures written to %s\n", out)
	return os.WriteFile(out, append(doc, '\n'), 0o644)
}

// compare prints and keeps a figure beside another, with the ratio of their medians.
func (b *bench) compare(name, unit string, ours []float64, against string, theirs []float64) {
	r := result{Name: name, Unit: unit, Noggin: ours, Other: theirs, Against: against, Ratio: median(ours) / median(theirs)}
	b.results = append(b.results, r)
	fmt.Printf("  %-46s %10.4g %-9s %10.4g %-22s ratio %6.3g\n", name, median(ours), unit, median(theirs), against, r.Ratio)
}

// state prints and keeps a figure that is compared with nothing.
func (b *bench) state(name, unit string, ours []float64) {
	b.results = append(b.results, result{Name: name, Unit: unit, Noggin: ours})
	fmt.Printf("  %-46s %10.4g %s\n", name, median(ours), unit)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// cost is the time and memory that a process took.
type cost struct {
	wall   time.Duration
	cpu    time.Duration
	maxRSS int64 // bytes
	stdout string
}

// measure runs a command to its end.
func measure(ctx context.Context, env []string, name string, args ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, err
	}
	peak := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	c := cost{wall: time.Since(started), stdout: stdout.String(), maxRSS: peak()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return c, err
	}
	if err != nil {
		return c, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, tail(stderr.String()))
	}
	c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return c, nil
}

// watchMemory samples the peak memory of a process, in bytes, until peak is called.
// The figure of wait4 is of no use: a child begins with its parent's memory, so it is
// never below this program's own.
func watchMemory(pid int) (peak func() int64) {
	ended, result := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone when it has ended
			if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
				var kib int64
				if _, err := fmt.Sscan(rest, &kib); err == nil {
					most = kib * 1024
				}
			}
			select {
			case <-ended:
				result <- most
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(ended); return <-result }
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
