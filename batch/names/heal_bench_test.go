package names_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
)

// healBench is a mirror with many records that were processed, made in the database
// alone: each refers to a vehicle of its own, to one of 300 trailers and of 40 teams.
type healBench struct {
	*batchtest.Mirror
	db *sql.DB
	n  int
}

// newHealBench makes n records, all with the answer of one; no report is written yet.
func newHealBench(b *testing.B, n int) *healBench {
	b.Helper()
	h := &healBench{Mirror: batchtest.NewMirror(b, apitest.Options{Records: 1}), n: n}
	var err error
	if h.db, err = sql.Open("postgres", h.URL); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.db.Close() })
	h.db.SetMaxOpenConns(1)
	sample := h.Server.Payload(firstTip(h.Server))
	h.do("SET noggin.client = on")
	if _, err := h.db.ExecContext(b.Context(), `
		INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, inspection_id, vehicle, trailer, team, has_unknown_hashes, payload, folder)
		SELECT md5(i::text) || md5('r' || i), 'LCD', 'complete', 'LCD - ' || i, 'Unknown (v)', 'Unknown (t)', 'Unknown (m)', true, $1::jsonb,
		       'bench/' || i / 1000 || '/' || i FROM generate_series(1, $2::int) i`, string(sample), n); err != nil {
		b.Fatal(err)
	}
	h.do(`INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value, column_name)
		SELECT tip, f.name, f.name, f.hash, f.name FROM (SELECT tip, row_number() OVER () AS i FROM noggin_schema.noggin_data) d,
		LATERAL (VALUES ('vehicle', 'v' || i), ('trailer', 't' || i % 300), ('team', 'm' || i % 40)) AS f (name, hash)`)
	h.do(`INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		SELECT DISTINCT hash_value, entity_type, upper(hash_value) FROM noggin_schema.record_hashes`)
	return h
}

func firstTip(s *apitest.Server) string {
	for record := range s.Records() {
		return record.Tip
	}
	return ""
}

func (h *healBench) do(statement string) {
	h.T.Helper()
	if _, err := h.db.ExecContext(context.Background(), statement); err != nil {
		h.T.Fatalf("%s: %v", statement, err)
	}
}

// mark makes every record as it was before it was healed.
func (h *healBench) mark(report string) {
	h.T.Helper()
	h.do(`UPDATE noggin_schema.noggin_data SET names_stale = true, vehicle = 'Unknown', report_path = ` + report)
	h.do(`VACUUM ANALYZE`)
	h.do(`CHECKPOINT`)
}

func (h *healBench) check() {
	h.T.Helper()
	var left int
	if err := h.db.QueryRow(`SELECT count(*) FROM noggin_schema.noggin_data WHERE names_stale OR vehicle NOT LIKE 'V%'`).Scan(&left); err != nil || left > 0 {
		h.T.Fatalf("%d records are not renewed, %v", left, err)
	}
}

// measure times work and reports what the heap took at most, in MiB.
func (h *healBench) measure(b *testing.B, report string, work func()) {
	b.Helper()
	h.mark(report)
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
		work()
		b.StopTimer()
		h.check()
		h.mark(report)
		b.StartTimer()
	}
	close(stop)
	b.ReportMetric(float64(<-peak)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(h.n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkHeal100k renews the columns of all records, in batches under their
// claims; beside it the one UPDATE that does the same to a database that nobody else
// uses; and then with the text reports, of which SQL has none. $NOGGIN_BENCH_NAMES
// is the number of records, where it is not 100,000.
func BenchmarkHeal100k(b *testing.B) {
	n := 100_000
	if text := os.Getenv("NOGGIN_BENCH_NAMES"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	h := newHealBench(b, n)
	heal := func() {
		if s, err := healerOf(h.Mirror).Heal(b.Context()); err != nil || s.Healed != h.n {
			b.Fatalf("summary %+v, %v", s, err)
		}
	}
	b.Run("noggin", func(b *testing.B) { h.measure(b, "NULL", heal) })
	b.Run("sql", func(b *testing.B) { h.measure(b, "NULL", func() { h.do(plainHeal()) }) })
	b.Run("noggin-reports", func(b *testing.B) { h.measure(b, "folder || '/x.txt'", heal) })
}

// plainHeal is what somebody would write in psql.
func plainHeal() string {
	var columns, sets []string
	for _, column := range []string{"vehicle", "trailer", "trailer2", "trailer3", "department", "team", "inspected_by"} {
		columns = append(columns, fmt.Sprintf(`string_agg(coalesce(e.entity_name, 'Unknown (' || r.hash_value || ')'), ', ' ORDER BY r.position)
			FILTER (WHERE r.column_name = '%s') AS %[1]s`, column))
		sets = append(sets, fmt.Sprintf("%s = coalesce(v.%[1]s, d.%[1]s)", column))
	}
	return `UPDATE noggin_schema.noggin_data d SET ` + strings.Join(sets, ", ") + `, has_unknown_hashes = v.unknown, names_stale = false
		FROM (SELECT r.record_tip, bool_or(e.entity_name IS NULL) AS unknown, ` + strings.Join(columns, ", ") + `
			FROM noggin_schema.record_hashes r LEFT JOIN noggin_schema.entity_hashes e USING (hash_value, entity_type) GROUP BY r.record_tip) v
		WHERE d.tip = v.record_tip AND d.names_stale`
}
