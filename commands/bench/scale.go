package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"noggin/storage"
)

// scaleStep is something that the group scale times on each database.
type scaleStep struct {
	name, unit string
	once       bool // it takes long, or changes what it would measure again
	do         func(ctx context.Context, m *mirror) (float64, error)
}

// benchScale compares what timers and people do on a very large database, three
// attachments to a record, with the same on one of ten thousand records.
func benchScale(ctx context.Context, b *bench) error {
	sizes := [2]int{b.size(b.records), 10_000}
	var mirrors [2]*mirror
	// Large indexes are filled in memory, or it would take days.
	if err := b.settings(ctx, `fsync = off`, `full_page_writes = off`, `autovacuum = off`, `max_wal_size = '8GB'`, `checkpoint_timeout = '1h'`, `shared_buffers = '6GB'`); err != nil {
		return err
	}
	for i, records := range sizes {
		started := time.Now()
		m, simulated, err := b.scaleMirror(ctx, records)
		if err != nil {
			return fmt.Errorf("generate %d records: %w", records, err)
		}
		defer m.close()
		defer simulated.Close()
		mirrors[i] = m
		var bytes float64
		if err := m.db.QueryRowContext(ctx, `SELECT pg_database_size(current_database())`).Scan(&bytes); err != nil {
			return err
		}
		b.state(fmt.Sprintf("%d records generated", records), "s", []float64{time.Since(started).Seconds()})
		b.state(fmt.Sprintf("%d records, size of the database", records), "GB", []float64{bytes / 1e9})
	}
	if err := b.settings(ctx); err != nil {
		return err
	}
	for _, step := range scaleSteps() {
		var figures [2][]float64
		rounds := b.rounds
		if step.once {
			rounds = 1
		}
		for range rounds {
			for i, m := range mirrors {
				figure, err := step.do(ctx, m)
				if err != nil {
					return fmt.Errorf("%s, %d records: %w", step.name, sizes[i], err)
				}
				figures[i] = append(figures[i], figure)
			}
		}
		b.compare(fmt.Sprintf("%s, %d records", step.name, sizes[0]), step.unit, figures[0], fmt.Sprintf("%d records", sizes[1]), figures[1])
	}
	return nil
}

// scaleSteps come in an order in which each finds what it needs: nothing is due for the
// idle run, and a claim of records to ask for again finds no others.
func scaleSteps() []scaleStep {
	command := func(name string, args ...string) scaleStep {
		return scaleStep{name: name, unit: "ms", do: func(ctx context.Context, m *mirror) (float64, error) {
			c, err := m.run(ctx, args...)
			return c.wall.Seconds() * 1e3, err
		}}
	}
	return []scaleStep{
		command("idle run", "process", "--until-empty"),
		command("report", "report"),
		command("report queue", "report", "queue"),
		command("report storage", "report", "storage"),
		command("search, the latest of all", "report", "inspections"),
		command("search, a vehicle", "report", "inspections", "--vehicle", "TRUCK 77"),
		command("search, a form and a compliance", "report", "inspections", "--object-type", "TA", "--compliance", "not-compliant"),
		command("search, a number", "report", "inspections", "--search", "0000777"),
		command("search, a word that few have", "report", "inspections", "--search", "w15001"),
		command("search, a word that all have", "report", "inspections", "--search", "inspector"),
		command("search, a vehicle and a word", "report", "inspections", "--vehicle", "TRUCK 77", "--search", "w15001"),
		{name: "claim of 10 to ask for again", unit: "ms", do: claimRefreshes},
		{name: "claim of 10", unit: "ms", do: claimPending},
		{name: "claim of 100 files to copy", unit: "ms", do: claimCopies},
		command("copy status", "copy", "status"),
		{name: "seal of 100 that are due", unit: "ms", do: sealFew},
		command("seal, nothing due", "seal"),
		{name: "validate data", unit: "s", once: true, do: func(ctx context.Context, m *mirror) (float64, error) {
			c, err := m.run(ctx, "validate", "data", "--no-progress")
			// 3: it found something, as generated rows do not keep every rule.
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
				err = nil
			}
			return c.wall.Seconds(), err
		}},
	}
}

// claimed returns the mean time of 20 claims of ten records, in milliseconds, and frees
// the records.
func (m *mirror) claimed(ctx context.Context) (float64, error) {
	each, err := m.claim(ctx, 1, 20)
	if err != nil {
		return 0, err
	}
	var claimed int
	if err := m.db.QueryRowContext(ctx, `WITH freed AS (UPDATE noggin_schema.noggin_data SET claimed_by = NULL, claim_expires_at = NULL WHERE tip IN
		(SELECT tip FROM noggin_schema.noggin_data WHERE claimed_by IS NOT NULL) RETURNING tip) SELECT count(*) FROM freed`).Scan(&claimed); err != nil {
		return 0, err
	}
	if claimed != 200 {
		return 0, fmt.Errorf("%d records were claimed", claimed)
	}
	return each.Seconds() * 1e3, nil
}

func claimRefreshes(ctx context.Context, m *mirror) (float64, error) {
	if err := m.exec(ctx, `UPDATE noggin_schema.refreshes SET due_at = now() - random() * interval '1 minute' WHERE record_tip IN
		(SELECT record_tip FROM noggin_schema.refreshes ORDER BY due_at LIMIT 300)`); err != nil {
		return 0, err
	}
	figure, err := m.claimed(ctx)
	return figure, errors.Join(err, m.exec(ctx, `UPDATE noggin_schema.refreshes SET due_at = due_at + interval '1 day' WHERE due_at < now()`))
}

// claimPending makes a few of the generated records pending that the others left aside.
func claimPending(ctx context.Context, m *mirror) (float64, error) {
	if err := m.exec(ctx, `SET noggin.client = on; UPDATE noggin_schema.noggin_data SET processing_status = 'pending', permanently_failed = false WHERE tip IN
		(SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'skipped' ORDER BY updated_at LIMIT 300)`); err != nil {
		return 0, err
	}
	figure, err := m.claimed(ctx)
	return figure, errors.Join(err, m.exec(ctx, `UPDATE noggin_schema.noggin_data SET processing_status = 'skipped' WHERE processing_status = 'pending'`))
}

func claimCopies(ctx context.Context, m *mirror) (float64, error) {
	if err := m.exec(ctx, `INSERT INTO noggin_schema.copies_due (target_id, path, hash_sha256, size_bytes, kind)
		SELECT 1, 'x' || clock_timestamp() || i, md5(i::text), 1, 'attachment' FROM generate_series(1, 1000) AS i`); err != nil {
		return 0, err
	}
	cfg := storage.DefaultConfig()
	cfg.URL = m.database
	db, err := storage.Open(cfg, "bench")
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }() // what it wrote is committed
	if err := db.Ping(ctx); err != nil {
		return 0, err
	}
	const claims = 8
	started := time.Now()
	for range claims {
		due, err := db.ClaimCopies(ctx, 1, 100, time.Hour)
		if err != nil || len(due) != 100 {
			return 0, fmt.Errorf("%d files were claimed: %w", len(due), err)
		}
	}
	return time.Since(started).Seconds() * 1e3 / claims, nil
}

func sealFew(ctx context.Context, m *mirror) (float64, error) {
	if err := m.exec(ctx, `UPDATE noggin_schema.attachments SET file_hash_sha256 = md5(file_hash_sha256) WHERE record_tip IN
		(SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete' AND tip > '7' ORDER BY tip LIMIT 100)`); err != nil {
		return 0, err
	}
	c, err := m.run(ctx, "seal", "--no-progress")
	return c.wall.Seconds() * 1e3, err
}
