package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"noggin/batch/seal"
	"noggin/storage"
)

const (
	sealedDay     = 3000   // records of a day
	provedRecords = 10_000 // records of an export
)

// benchSeal measures the log on a large database beside a small one: the first seal of all
// records, the seal of a day, proofs, and the check of all leaves against their rows.
func benchSeal(ctx context.Context, b *bench) error {
	sizes := [2]int{b.size(1_000_000), 10_000}
	var figures [2]map[string]float64
	for i, records := range sizes {
		m, err := b.filledMirror(ctx, records)
		if err != nil {
			return err
		}
		figures[i], err = b.sealFigures(ctx, m)
		m.close()
		if err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, unit string }{
		{"first seal, a record", "µs"},
		{"first seal, peak memory", "MiB"},
		{"seal of a day", "s"},
		{"seal of a day, peak memory", "MiB"},
		{"proof of a record", "µs"},
		{"validate evidence, a record", "µs"},
		{"validate evidence, peak memory", "MiB"},
	} {
		b.compare(fmt.Sprintf("%s, of %d", f.name, sizes[0]), f.unit, []float64{figures[0][f.name]}, fmt.Sprintf("of %d", sizes[1]), []float64{figures[1][f.name]})
	}
	return nil
}

// initSeal makes a log.
func (m *mirror) initSeal(ctx context.Context) error {
	config, err := os.OpenFile(filepath.Join(m.folder, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(config, "\n[seal]\nkey_file = %q\n", filepath.Join(m.folder, "seal.key"))
	if err := errors.Join(err, config.Close()); err != nil {
		return err
	}
	_, err = m.run(ctx, "seal", "init", "--name", "bench")
	return err
}

func (b *bench) sealFigures(ctx context.Context, m *mirror) (map[string]float64, error) {
	if err := m.initSeal(ctx); err != nil {
		return nil, err
	}
	var records float64
	if err := m.db.QueryRowContext(ctx, `SELECT count(*) FROM noggin_schema.seal_due`).Scan(&records); err != nil {
		return nil, err
	}
	const mib = 1 << 20
	first, err := m.run(ctx, "seal", "--no-progress")
	if err != nil {
		return nil, err
	}
	evidence, err := m.run(ctx, "validate", "evidence", "--no-files", "--no-progress")
	if err != nil {
		return nil, err
	}
	// Other bytes of attachments make another leaf of their records.
	if err := m.exec(ctx, `UPDATE noggin_schema.attachments SET file_hash_sha256 = md5(file_hash_sha256)
		WHERE record_tip IN (SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ORDER BY tip LIMIT $1)`, sealedDay); err != nil {
		return nil, err
	}
	day, err := m.run(ctx, "seal", "--no-progress")
	if err != nil {
		return nil, err
	}
	proof, err := b.proofTime(ctx, m)
	if err != nil {
		return nil, err
	}
	return map[string]float64{
		"first seal, a record": first.wall.Seconds() * 1e6 / records, "first seal, peak memory": float64(first.maxRSS) / mib,
		"seal of a day": day.wall.Seconds(), "seal of a day, peak memory": float64(day.maxRSS) / mib,
		"proof of a record":           proof,
		"validate evidence, a record": evidence.wall.Seconds() * 1e6 / records, "validate evidence, peak memory": float64(evidence.maxRSS) / mib,
	}, nil
}

// proofTime is the time of a proof, in microseconds, among those of an export.
func (b *bench) proofTime(ctx context.Context, m *mirror) (float64, error) {
	cfg := storage.DefaultConfig()
	cfg.URL = m.database
	db, err := storage.Open(cfg, "bench")
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }() // it only read
	var tips []string
	if err := db.EachLeaf(ctx, 1, 0, 1<<62, func(l storage.SealedLeaf) error {
		if l.Position%7 == 0 && len(tips) < provedRecords {
			tips = append(tips, l.Tip)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	started := time.Now()
	err = seal.BagProofs(ctx, db, func(fn func(seal.Bagged) error) error {
		for _, tip := range tips {
			if err := fn(seal.Bagged{Tip: tip, Leaves: math.MaxInt}); err != nil {
				return err
			}
		}
		return nil
	}, func(_ string, write func(io.Writer) error) error { return write(io.Discard) })
	return time.Since(started).Seconds() * 1e6 / float64(len(tips)), err
}
