package main

import (
	"context"
	"fmt"
	"time"

	"noggin/api/apitest"
	"noggin/storage/storagetest"
)

// benchMemory compares the peak memory of commands on a small and on a hundred
// times larger job.
func benchMemory(ctx context.Context, b *bench) error {
	const mib = 1 << 20
	for _, job := range []struct {
		name         string
		small, large int
		peak         func(context.Context, int) (cost, error)
	}{
		{"process", b.size(30), b.size(3000), b.peakProcess},
		{"import-csv", b.size(10_000), b.size(1_000_000), b.peakImport},
		{"report inspections", b.size(5_000), b.size(500_000), b.peakInspections},
		{"archive create", b.size(30), b.size(3000), b.peakArchive},
	} {
		small, err := job.peak(ctx, job.small)
		if err != nil {
			return fmt.Errorf("%s of %d: %w", job.name, job.small, err)
		}
		large, err := job.peak(ctx, job.large)
		if err != nil {
			return fmt.Errorf("%s of %d: %w", job.name, job.large, err)
		}
		peaks := [2][]float64{{float64(small.maxRSS) / mib}, {float64(large.maxRSS) / mib}}
		b.compare(fmt.Sprintf("peak memory, %s of %d", job.name, job.large), "MiB", peaks[1], fmt.Sprintf("of %d", job.small), peaks[0])
	}
	return nil
}

// filled makes an installation whose queue holds n small records, and runs use on it.
func (b *bench) filled(ctx context.Context, n int, use func(*mirror) (cost, error)) (cost, error) {
	simulated := apitest.New(apitest.Options{
		Records: n, Forms: []string{"LCD"}, Photos: apitest.Range{Min: 0, Max: 4}, MediaBytes: apitest.Fixed(50_000), Latency: time.Millisecond,
	})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return cost{}, err
	}
	defer simulated.Close()
	m, err := b.newMirror(ctx, simulated, "concurrency = 16")
	if err != nil {
		return cost{}, err
	}
	defer m.close()
	if err := m.enqueue(ctx, simulated); err != nil {
		return cost{}, err
	}
	return use(m)
}

func (b *bench) peakProcess(ctx context.Context, n int) (cost, error) {
	return b.filled(ctx, n, func(m *mirror) (cost, error) { return m.run(ctx, "process", "--until-empty", "--no-progress") })
}

func (b *bench) peakArchive(ctx context.Context, n int) (cost, error) {
	return b.filled(ctx, n, func(m *mirror) (cost, error) {
		if c, err := m.run(ctx, "process", "--until-empty", "--no-progress"); err != nil {
			return c, err
		}
		return m.run(ctx, "archive", "create", "--before", "2100-01-01", "--no-progress")
	})
}

func (b *bench) peakImport(ctx context.Context, n int) (cost, error) {
	m, err := b.newMirror(ctx, nil, "")
	if err != nil {
		return cost{}, err
	}
	defer m.close()
	file, err := m.writeTips("tips.csv", n)
	if err != nil {
		return cost{}, err
	}
	return m.run(ctx, "import-csv", "--no-progress", file)
}

func (b *bench) peakInspections(ctx context.Context, n int) (cost, error) {
	m, err := b.newMirror(ctx, nil, "")
	if err != nil {
		return cost{}, err
	}
	defer m.close()
	if err := storagetest.Fill(ctx, m.database, storagetest.FillOptions{Records: n, Attachments: n}); err != nil {
		return cost{}, err
	}
	return m.run(ctx, "report", "inspections", "--from", "2000-01-01", "--to", "2100-01-01", "--format", "csv")
}
