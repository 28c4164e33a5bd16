package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"noggin/storage"
)

// writeTips writes an export with n tips and returns its path.
func (m *mirror) writeTips(name string, n int) (string, error) {
	path := filepath.Join(m.folder, name)
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	w := bufio.NewWriter(file)
	_, _ = fmt.Fprintln(w, "tip,lcdInspectionId,date") // Flush reports what went wrong
	for i := range n {
		// Spread like real tips, which are hashes.
		_, _ = fmt.Fprintf(w, "%016x%048x,LCD - %06d,17-Sep-25\n", uint64(i)*0x9e3779b97f4a7c15, i, i)
	}
	return path, w.Flush()
}

// benchImport compares import-csv with COPY of the same file into a table with the columns,
// checks and indexes of noggin_data, and into one with only the file's columns and the same
// primary key.
func benchImport(ctx context.Context, b *bench) error {
	rows := b.size(1_000_000)
	var fresh, wide, copied, known, copiedAgain []float64
	for range b.rounds {
		m, err := b.newMirror(ctx, nil, "")
		if err != nil {
			return err
		}
		file, err := m.writeTips("tips.csv", rows)
		if err != nil {
			return err
		}
		if err := m.exec(ctx, `
			CREATE TABLE wide (LIKE noggin_schema.noggin_data INCLUDING ALL) WITH (fillfactor = 85);
			ALTER TABLE wide ALTER object_type SET DEFAULT 'LCD', ALTER csv_imported_at SET DEFAULT now(), ALTER source_filename SET DEFAULT 'tips.csv';
			CREATE TABLE bare (tip text COLLATE "C" PRIMARY KEY, id text, day text)`); err != nil {
			return err
		}
		rate := func(into *[]float64, c cost, err error) error {
			*into = append(*into, float64(rows)/c.wall.Seconds())
			return err
		}
		imports := func(into *[]float64) error {
			c, err := m.run(ctx, "import-csv", "--no-progress", file)
			return rate(into, c, err)
		}
		copies := func(into *[]float64, table, columns string) error {
			c, err := measure(ctx, nil, "psql", m.database, "-qc", "TRUNCATE "+table, "-c", fmt.Sprintf(`\copy %s (%s) FROM '%s' CSV HEADER`, table, columns, file))
			return rate(into, c, err)
		}
		const all = "tip, id, day"
		if err := cmp.Or(
			imports(&fresh), copies(&wide, "wide", "tip, expected_inspection_id, expected_inspection_date"),
			copies(&copied, "bare", all), imports(&known), copies(&copiedAgain, "bare", all),
		); err != nil {
			return err
		}
		m.close()
	}
	b.compare(fmt.Sprintf("import-csv, %d new tips", rows), "rows/s", fresh, "COPY, same table", wide)
	b.compare(fmt.Sprintf("import-csv, %d new tips", rows), "rows/s", fresh, "COPY, bare table", copied)
	b.compare(fmt.Sprintf("import-csv, %d known tips", rows), "rows/s", known, "COPY, bare table", copiedAgain)
	return nil
}

// benchClaims compares one claim from a long queue with one from a short queue.
func benchClaims(ctx context.Context, b *bench) error {
	const claims = 48 // of ten records each, half of the short queue's due records
	short, long := 10_000, b.size(5_000_000)
	for _, processes := range []int{1, 8} {
		var times [2][]float64
		for i, rows := range []int{short, long} {
			m, err := b.newMirror(ctx, nil, "")
			if err != nil {
				return err
			}
			if err := m.fillQueue(ctx, rows); err != nil {
				return err
			}
			for range b.rounds {
				each, err := m.claim(ctx, processes, claims/processes)
				if err != nil {
					return err
				}
				times[i] = append(times[i], each.Seconds()*1e3)
				if err := m.exec(ctx, `UPDATE noggin_schema.noggin_data SET claimed_by = NULL, claim_expires_at = NULL WHERE claimed_by IS NOT NULL`); err != nil {
					return err
				}
			}
			m.close()
		}
		b.compare(fmt.Sprintf("a claim of 10 from %d, %d at once", long, processes), "ms", times[1], fmt.Sprintf("from %d", short), times[0])
	}
	return nil
}

// fillQueue makes a table of rows records: a tenth are pending, one in a thousand is
// due for a retry, the others are complete.
func (m *mirror) fillQueue(ctx context.Context, rows int) error {
	return m.exec(ctx, fmt.Sprintf(`
		INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, next_retry_at)
		SELECT md5(i::text) || md5((-i)::text), 'LCD',
		       CASE WHEN i %% 10 = 0 THEN 'pending' WHEN i %% 1000 = 1 THEN 'api_failed' ELSE 'complete' END,
		       CASE WHEN i %% 1000 = 1 THEN now() - interval '1 minute' END
		FROM generate_series(1, %d) i;
		ANALYZE noggin_schema.noggin_data`, rows))
}

// claim claims batches of ten over several connections at once and returns the mean
// time of one claim.
func (m *mirror) claim(ctx context.Context, processes, each int) (time.Duration, error) {
	cfg := storage.DefaultConfig()
	cfg.URL = m.database
	errs := make(chan error, processes)
	var group sync.WaitGroup
	var pools []*storage.DB
	for range processes {
		db, err := storage.Open(cfg, "bench")
		if err != nil {
			return 0, err
		}
		defer func() { _ = db.Close() }()
		if err := db.Ping(ctx); err != nil {
			return 0, err
		}
		pools = append(pools, db)
	}
	started := time.Now()
	for p, db := range pools {
		group.Go(func() {
			for range each {
				if _, err := db.Claim(ctx, storage.ClaimRequest{Run: int64(p + 1), Limit: 10, Retries: 5, Lease: time.Hour}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return time.Since(started) / time.Duration(each*processes), nil
	}
}
