package maintain

import (
	"database/sql"
	"errors"
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
