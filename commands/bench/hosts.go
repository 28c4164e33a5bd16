package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"noggin/api/apitest"
)

// benchHosts drains one queue with one, two and four processes, as on as many hosts.
// The API is slow and each process has 4 requests in flight, so that latency is the
// limit, not the machine.
func benchHosts(ctx context.Context, b *bench) error {
	const photo = 100_000
	simulated := apitest.New(apitest.Options{
		Records: b.size(200), Forms: []string{"LCD"}, Photos: apitest.Range{Min: 0, Max: 6}, PhotosMean: 2.5,
		MediaBytes: apitest.Fixed(photo), Latency: 200 * time.Millisecond,
	})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return err
	}
	defer simulated.Close()
	requests := 0.0
	for record := range simulated.Records() {
		requests += float64(1 + len(record.Attachments))
	}
	rates := map[int][]float64{}
	for range b.rounds {
		for _, n := range []int{1, 2, 4} {
			took, err := b.drainTogether(ctx, simulated, n)
			if err != nil {
				return err
			}
			rates[n] = append(rates[n], requests/took.Seconds())
		}
	}
	for _, n := range []int{2, 4} {
		b.compare(fmt.Sprintf("%d hosts with 4 in flight each, 200 ms", n), "requests/s", rates[n], "1 host", rates[1])
	}
	return nil
}

// drainTogether empties a fresh queue with several processes at the same time.
func (b *bench) drainTogether(ctx context.Context, simulated *apitest.Server, processes int) (time.Duration, error) {
	m, err := b.newMirror(ctx, simulated, "concurrency = 4")
	if err != nil {
		return 0, err
	}
	defer m.close()
	if err := m.enqueue(ctx, simulated); err != nil {
		return 0, err
	}
	if err := settle(ctx); err != nil {
		return 0, err
	}
	errs := make([]error, processes)
	var group sync.WaitGroup
	started := time.Now()
	for i := range errs {
		group.Go(func() { _, errs[i] = m.run(ctx, "process", "--until-empty", "--no-progress") })
	}
	group.Wait()
	return time.Since(started), errors.Join(errs...)
}
