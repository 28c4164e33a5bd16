package main

import (
	"context"
	"fmt"
	"time"

	"noggin/api/apitest"
)

// benchPrune drains a queue alone, and again while maintain prune deletes a million
// old errors.
func benchPrune(ctx context.Context, b *bench) error {
	simulated := apitest.New(apitest.Options{
		Records: b.size(1500), Forms: []string{"LCD"}, Photos: apitest.Range{Min: 0, Max: 6}, PhotosMean: 2.5,
		MediaBytes: apitest.Fixed(100_000), Latency: 40 * time.Millisecond,
	})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return err
	}
	defer simulated.Close()
	rows := b.size(1_000_000)
	var alone, beside, pruned, memory []float64
	for range b.rounds {
		c, err := b.drainOnce(ctx, simulated, 16)
		if err != nil {
			return err
		}
		alone = append(alone, c.wall.Seconds())
		drain, prune, err := b.drainWhilePruning(ctx, simulated, rows)
		if err != nil {
			return err
		}
		beside, pruned = append(beside, drain.wall.Seconds()), append(pruned, prune.wall.Seconds())
		memory = append(memory, float64(prune.maxRSS)/(1<<20))
	}
	b.compare(fmt.Sprintf("drain of %d records while errors are pruned", simulated.Len()), "s", beside, "alone", alone)
	b.compare(fmt.Sprintf("prune of %d errors beside it", rows), "s", pruned, "the drain", beside)
	b.state("prune, peak memory", "MiB", memory)
	return nil
}

func (b *bench) drainWhilePruning(ctx context.Context, simulated *apitest.Server, rows int) (drain, prune cost, err error) {
	m, err := b.newMirror(ctx, simulated, "concurrency = 16")
	if err != nil {
		return drain, prune, err
	}
	defer m.close()
	if err := m.enqueue(ctx, simulated); err != nil {
		return drain, prune, err
	}
	if err := m.exec(ctx, `INSERT INTO noggin_schema.processing_errors (tip, error_type, error_message, error_details, created_at)
		SELECT md5(i::text), 'server_error', 'the API answered 503: ' || md5(i::text), jsonb_build_object('status', 503, 'excerpt', repeat('x', 200)),
		       now() - interval '1 year' + i * interval '1 second' FROM generate_series(1, $1::int) AS i`, rows); err != nil {
		return drain, prune, err
	}
	ended := make(chan error, 1)
	go func() {
		var err error
		prune, err = m.run(ctx, "maintain", "prune")
		ended <- err
	}()
	drain, err = m.run(ctx, "process", "--until-empty", "--no-progress")
	if pruneErr := <-ended; err == nil {
		err = pruneErr
	}
	return drain, prune, err
}
