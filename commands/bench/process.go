package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"noggin/api/apitest"
)

// workload is what the simulated API serves in one comparison with curl.
type workload struct {
	name        string
	records     int
	photos      apitest.Range
	bytes       int
	latency     time.Duration
	concurrency []int
}

func benchProcess(ctx context.Context, b *bench) error {
	for _, w := range []workload{
		{"300 KB at 40 ms", b.size(300), apitest.Range{Min: 0, Max: 6}, 300_000, 40 * time.Millisecond, []int{1, 4, 16, 64}},
		{"300 KB at 0 ms", b.size(300), apitest.Range{Min: 0, Max: 6}, 300_000, 0, []int{16}},
		{"5 MB at 40 ms", b.size(60), apitest.Range{Min: 0, Max: 6}, 5_000_000, 40 * time.Millisecond, []int{16}},
	} {
		simulated := apitest.New(apitest.Options{
			Records: w.records, Forms: []string{"LCD"}, Photos: w.photos, PhotosMean: 2.5, MediaBytes: apitest.Fixed(w.bytes), Latency: w.latency,
		})
		if err := simulated.Listen("127.0.0.1:0"); err != nil {
			return err
		}
		err := b.processWorkload(ctx, simulated, w)
		simulated.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) processWorkload(ctx context.Context, simulated *apitest.Server, w workload) error {
	bytes := 0.0
	for record := range simulated.Records() {
		bytes += float64(len(record.Attachments) * w.bytes)
	}
	single, err := b.oneAtATime(ctx, simulated, b.size(40))
	if err != nil {
		return err
	}
	for _, n := range w.concurrency {
		var ours, curls, formers, oursCPU, curlsCPU, formersCPU []float64
		rounds := b.rounds
		if n == 1 {
			rounds = 1 // 43 s each at 40 ms
		}
		for range rounds {
			if b.former != "" {
				c, err := b.drainWithFormer(ctx, simulated, n)
				if err != nil {
					return err
				}
				formers, formersCPU = append(formers, bytes/c.wall.Seconds()/1e6), append(formersCPU, c.cpu.Seconds()/bytes*1e9)
			}
			var flags []string
			if b.profiles != "" && n == 16 {
				flags = []string{"--cpuprofile", filepath.Join(b.profiles, strings.ReplaceAll(w.name, " ", "-")+".prof")}
			}
			c, err := b.drainOnce(ctx, simulated, n, flags...)
			if err != nil {
				return err
			}
			ours, oursCPU = append(ours, bytes/c.wall.Seconds()/1e6), append(oursCPU, c.cpu.Seconds()/bytes*1e9)
			if c, err = b.curl(ctx, simulated, n); err != nil {
				return err
			}
			curls, curlsCPU = append(curls, bytes/c.wall.Seconds()/1e6), append(curlsCPU, c.cpu.Seconds()/bytes*1e9)
		}
		drain := fmt.Sprintf("process, %s, %d in flight", w.name, n)
		b.compare(drain, "MB/s", ours, "curl --parallel", curls)
		b.compare(drain, "MB/s", ours, "one at a time, no sync", []float64{single})
		b.compare("CPU of "+drain, "ns/byte", oursCPU, "curl --parallel", curlsCPU)
		if b.former != "" {
			b.compare(drain, "MB/s", ours, "the other build", formers)
			b.compare("CPU of "+drain, "ns/byte", oursCPU, "the other build", formersCPU)
		}
	}
	return nil
}

// drainWithFormer is drainOnce of the other build, with its own schema.
func (b *bench) drainWithFormer(ctx context.Context, simulated *apitest.Server, concurrency int) (cost, error) {
	defer func(noggin string) { b.noggin = noggin }(b.noggin)
	b.noggin = b.former
	return b.drainOnce(ctx, simulated, concurrency)
}

// drainOnce empties a fresh queue with noggin process, with these flags too.
func (b *bench) drainOnce(ctx context.Context, simulated *apitest.Server, concurrency int, flags ...string) (cost, error) {
	m, err := b.newMirror(ctx, simulated, fmt.Sprintf("concurrency = %d", concurrency))
	if err != nil {
		return cost{}, err
	}
	defer m.close()
	if err := m.enqueue(ctx, simulated); err != nil {
		return cost{}, err
	}
	args := append([]string{"process", "--until-empty", "--no-progress"}, flags...)
	if err := settle(ctx); err != nil {
		return cost{}, err
	}
	return m.run(ctx, args...)
}

// curl fetches the same URLs into files, with the same number in flight.
func (b *bench) curl(ctx context.Context, simulated *apitest.Server, concurrency int) (cost, error) {
	folder, err := os.MkdirTemp(b.folder, "curl")
	if err != nil {
		return cost{}, err
	}
	var config strings.Builder
	n := 0
	add := func(url string) {
		n++
		fmt.Fprintf(&config, "url = %q\noutput = %q\n", url, filepath.Join(folder, strconv.Itoa(n)))
	}
	for record := range simulated.Records() {
		add(recordURL(simulated, record))
		for _, a := range record.Attachments {
			add(simulated.URL() + a.Ref)
		}
	}
	path := filepath.Join(folder, "urls.txt")
	if err := os.WriteFile(path, []byte(config.String()), 0o600); err != nil {
		return cost{}, err
	}
	if err := settle(ctx); err != nil {
		return cost{}, err
	}
	return measure(ctx, nil, "curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-immediate",
		"--parallel-max", strconv.Itoa(concurrency), "--header", "en-namespace: "+simulated.Namespace(),
		"--header", "authorization: Bearer "+simulated.Token(), "--config", path)
}

func recordURL(simulated *apitest.Server, record apitest.Record) string {
	return simulated.URL() + "/rest/object/" + record.APIName + "/" + record.Tip
}

// oneAtATime does what the replaced service did at its best: one request after the
// other over one connection, files without sync, no database. It fetches the first
// records only and returns megabytes of photographs a second.
func (b *bench) oneAtATime(ctx context.Context, simulated *apitest.Server, records int) (float64, error) {
	folder, err := os.MkdirTemp(b.folder, "single")
	if err != nil {
		return 0, err
	}
	started, bytes, n := time.Now(), int64(0), 0
	fetch := func(url string) (int64, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return 0, err
		}
		request.Header.Set("en-namespace", simulated.Namespace())
		request.Header.Set("authorization", "Bearer "+simulated.Token())
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, err
		}
		defer func() { _ = response.Body.Close() }()
		n++
		file, err := os.Create(filepath.Join(folder, strconv.Itoa(n)))
		if err != nil {
			return 0, err
		}
		defer func() { _ = file.Close() }()
		return io.Copy(file, response.Body)
	}
	for record := range simulated.Records() {
		if records--; records < 0 {
			break
		}
		if _, err := fetch(recordURL(simulated, record)); err != nil {
			return 0, err
		}
		for _, a := range record.Attachments {
			size, err := fetch(simulated.URL() + a.Ref)
			if err != nil {
				return 0, err
			}
			bytes += size
		}
	}
	return float64(bytes) / time.Since(started).Seconds() / 1e6, nil
}
