package maintain

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
)

func TestEachPruningThatFailsIsTold(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	pool, err := sql.Open("postgres", m.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	rename := func(from, to string) {
		t.Helper()
		if _, err := pool.ExecContext(t.Context(), "ALTER TABLE noggin_schema."+from+" RENAME TO "+to); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"processing_errors", "unknown_hashes", "circuit_transitions", "samples", "record_counts"} {
		rename(table, "away")
		if _, err := m.Prune(t.Context()); !errors.Is(err, ErrIncomplete) {
			t.Errorf("without %s: %v", table, err)
		}
		rename("away", table)
	}
	if _, err := m.Prune(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEachKindOfRowsIsKeptForItsOwnTime(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	psql(t, m, `SET search_path = noggin_schema;
		CREATE TEMP VIEW ages AS SELECT n, current_date - n * interval '1 month' + interval '1 day' AS at FROM generate_series(1, 15) AS n; -- a day younger than so many months
		INSERT INTO processing_errors (error_type, error_message, created_at) SELECT 'x', 'x', at FROM ages;
		INSERT INTO unknown_hashes (hash_value, entity_type, resolved_at) SELECT n::text, 'team', at FROM ages;
		INSERT INTO runs (command, host, pid, started_at, seen_at, finished_at, exit_code) SELECT 'process', 'x', 1, at, at, at, 0 FROM ages;
		INSERT INTO circuit_transitions (from_state, to_state, reason, created_at) SELECT 'x', 'x', 'x', at FROM ages`)
	m.Config.ErrorsKeep, m.Config.ResolvedHashesKeep, m.Config.RunsKeep = "5 months", "8 months", "11 months"
	effect, err := m.Prune(t.Context())
	if want := (pruned{Errors: 10, ResolvedHashes: 7, Runs: 4, Transitions: 4}); err != nil || effect.Details != any(want) {
		t.Errorf("deleted %+v, %v; want %+v", effect.Details, err, want)
	}
}

func TestARebuildRemovesWhatOneThatFailedLeft(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	psql(t, m, "CREATE TABLE noggin_schema.twice AS SELECT 1 AS n FROM generate_series(1, 2)")
	pool := testPool(t, m.Database.URL)
	if _, err := pool.ExecContext(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY twice_n_ccnew ON noggin_schema.twice (n)"); err == nil {
		t.Fatal("the build did not fail")
	}
	effect, err := m.Reindex(t.Context())
	if err != nil || !strings.Contains(effect.Text, "; removed 1 invalid indexes") {
		t.Errorf("%s, %v", effect.Text, err)
	}
	if left := psql(t, m, "SELECT indexname FROM pg_indexes WHERE tablename = 'twice'"); strings.Contains(left, "ccnew") {
		t.Errorf("left over: %s", left)
	}
}
