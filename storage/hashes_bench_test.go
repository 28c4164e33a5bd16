package storage

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// benchSize is how many names and records the benchmarks of names work on; another
// number is given in $NOGGIN_BENCH_NAMES.
func benchSize(b *testing.B) int {
	b.Helper()
	if text := os.Getenv("NOGGIN_BENCH_NAMES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	return 100_000
}

// benchNames makes a database in which every record refers to a vehicle of its own,
// to one of 300 trailers and one of 40 teams, none of which has a name yet.
func benchNames(b *testing.B, n int) *DB {
	b.Helper()
	cfg := DefaultConfig()
	cfg.URL, cfg.StatementTimeout = testDB(b).cfg.URL, 0
	db := openDB(b, cfg)
	statements(b, db,
		fmt.Sprintf(`INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, vehicle, vehicle_hash, trailer, trailer_hash,
				team, team_hash, has_unknown_hashes, payload)
			SELECT md5(i::text) || md5('r' || i), 'LCD', 'complete', 'Unknown (v)', 'v', 'Unknown (t)', 't', 'Unknown (m)', 'm', true,
				jsonb_build_object('a', (SELECT string_agg(md5(i::text || k), '') FROM generate_series(1, 60) k))
			FROM generate_series(1, %d) i`, n),
		`INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value, column_name)
			SELECT tip, f.name, f.name, f.hash, f.name FROM (SELECT tip, row_number() OVER () AS i FROM noggin_schema.noggin_data) d,
			LATERAL (VALUES ('vehicle', 'v' || i), ('trailer', 't' || i % 300), ('team', 'm' || i % 40)) AS f (name, hash)`,
		`INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, occurrence_count)
			SELECT hash_value, entity_type, count(*) FROM noggin_schema.record_hashes GROUP BY 1, 2`,
		`VACUUM ANALYZE`)
	return db
}

func statements(b *testing.B, db *DB, texts ...string) {
	b.Helper()
	for _, text := range texts {
		if _, err := db.pool.ExecContext(context.Background(), db.sql(text)); err != nil {
			b.Fatalf("%s: %v", text, err)
		}
	}
}

// vehicleNames returns a source of n names for vehicles.
func vehicleNames(n int) func() (NamedHash, error) {
	i := 0
	return func() (NamedHash, error) {
		if i++; i > n {
			return NamedHash{}, io.EOF
		}
		return NamedHash{Line: i + 1, Type: "vehicle", Hash: "v" + strconv.Itoa(i), Name: "TRUCK " + strconv.Itoa(i)}, nil
	}
}

// forget undoes an import, and lets the server start each round alike.
func forget(b *testing.B, db *DB) {
	b.Helper()
	statements(b, db, `TRUNCATE noggin_schema.entity_hashes, noggin_schema.entity_hash_history`,
		`UPDATE noggin_schema.unknown_hashes SET resolved_at = NULL, resolved_name = NULL WHERE resolved_at IS NOT NULL`,
		`UPDATE noggin_schema.noggin_data SET names_stale = false WHERE names_stale`, `VACUUM ANALYZE`, `CHECKPOINT`)
}

// timed runs work b.N times, each after an untimed prepare, and reports the seconds
// and what the heap took at most.
func timed(b *testing.B, prepare func(), work func() error) {
	b.Helper()
	prepare()
	runtime.GC()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		var m runtime.MemStats
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
	}()
	for b.Loop() {
		if err := work(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		prepare()
		b.StartTimer()
	}
	close(stop)
	b.ReportMetric(float64(<-peak)/(1<<20), "heap-MiB")
}

// BenchmarkImportNames100k imports as many names as there are records, all of which
// are marked, and beside it the plain SQL that does the same.
func BenchmarkImportNames100k(b *testing.B) {
	n := benchSize(b)
	db := benchNames(b, n)
	b.Run("noggin", func(b *testing.B) {
		timed(b, func() { forget(b, db) }, func() error {
			result, err := db.ImportNames(b.Context(), ImportOptions{Source: "bench"}, vehicleNames(n))
			if err == nil && (result.Marked != int64(n) || result.Resolved != int64(n)) {
				err = fmt.Errorf("found %+v", result)
			}
			return err
		})
	})
	b.Run("sql", func(b *testing.B) {
		timed(b, func() { forget(b, db) }, func() error { return plainImport(b.Context(), db, vehicleNames(n)) })
	})
}

// plainImport is what somebody would write in psql: \copy, INSERT … ON CONFLICT and
// two UPDATEs.
func plainImport(ctx context.Context, db *DB, next func() (NamedHash, error)) error {
	tx, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `CREATE TEMP TABLE names (hash text, name text) ON COMMIT DROP`); err != nil {
		return err
	}
	rows, err := tx.PrepareContext(ctx, `COPY names FROM STDIN`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for row, err := next(); err == nil; row, err = next() {
		if _, err := rows.ExecContext(ctx, row.Hash, row.Name); err != nil {
			return err
		}
	}
	if _, err := rows.ExecContext(ctx); err != nil {
		return err
	}
	for _, statement := range []string{
		`INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) SELECT hash, 'vehicle', name FROM names
			ON CONFLICT (hash_value, entity_type) DO UPDATE SET entity_name = excluded.entity_name, updated_at = now()`,
		`UPDATE noggin_schema.unknown_hashes u SET resolved_at = now(), resolved_name = n.name FROM names n
			WHERE u.hash_value = n.hash AND u.entity_type = 'vehicle'`,
		`UPDATE noggin_schema.noggin_data d SET names_stale = true FROM noggin_schema.record_hashes r, names n
			WHERE r.hash_value = n.hash AND r.entity_type = 'vehicle' AND d.tip = r.record_tip`,
	} {
		if _, err := tx.ExecContext(ctx, db.sql(statement)); err != nil {
			return err
		}
	}
	return tx.Commit()
}
