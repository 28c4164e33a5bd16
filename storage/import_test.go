package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq/pqerror"
)

func importTips(t testing.TB, db *DB, imp TipImport, rows ...ImportedTip) ImportCounts {
	t.Helper()
	preview, err := db.PreviewImport(t.Context(), imp, rows)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := db.ImportTips(t.Context(), imp, rows)
	if err != nil {
		t.Fatal(err)
	}
	if preview != counts {
		t.Errorf("the preview said %+v, the import did %+v", preview, counts)
	}
	return counts
}

// recordLine is what an import may write, of one record.
func recordLine(t testing.TB, db *DB, tip string) string {
	t.Helper()
	return scalar[string](t, db, `
		SELECT concat_ws('|', object_type, CASE WHEN object_type_assumed THEN 'assumed' END, processing_status, source_filename,
			expected_inspection_id, expected_inspection_date, CASE WHEN csv_imported_at IS NULL THEN 'not imported' END)
		FROM noggin_schema.noggin_data WHERE tip = $1`, tip)
}

func TestImportInsertsNewTipsOnceAndCountsThem(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	imp := TipImport{Source: "week\x0037.csv", ObjectType: "LCD"}
	rows := []ImportedTip{{tip(2), "LCD - 2", "2025-09-17", 2}, {"NULL", "", "", 3}, {tip(1), `quote " and \`, "", 4}, {tip(2), "LCD - 3", "", 5}}
	if got, want := importTips(t, db, imp, rows...), (ImportCounts{New: 3, Known: 1, OtherID: 1}); got != want {
		t.Errorf("first: %+v, want %+v", got, want)
	}
	if got, want := importTips(t, db, imp, rows...), (ImportCounts{Known: 4, OtherID: 1}); got != want {
		t.Errorf("again: %+v, want %+v", got, want)
	}
	for tip, want := range map[string]string{
		tip(1): `LCD|pending|week�37.csv|quote " and \`,
		tip(2): "LCD|pending|week�37.csv|LCD - 2|2025-09-17",
		"NULL": "LCD|pending|week�37.csv",
	} {
		if got := recordLine(t, db, tip); got != want {
			t.Errorf("%s: %s, want %s", tip, got, want)
		}
	}
	if got := importTips(t, db, imp); got != (ImportCounts{}) {
		t.Errorf("no rows: %+v", got)
	}
	if got := scalar[int64](t, db, `SELECT records FROM noggin_schema.record_totals WHERE object_type = 'LCD' AND processing_status = 'pending'`); got != 3 {
		t.Errorf("%d records are counted, want 3", got)
	}
}

func TestImportThatNamesTheFormCorrectsAssumedOnesNeverFetched(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	importTips(t, db, TipImport{Source: "tips.csv", ObjectType: "LCD", Assumed: true},
		ImportedTip{Tip: "free"}, ImportedTip{Tip: "same"}, ImportedTip{Tip: "fetched"}, ImportedTip{Tip: "claimed"},
		ImportedTip{Tip: "givenup"}, ImportedTip{Tip: "skipped"})
	importTips(t, db, TipImport{Source: "lcs.csv", ObjectType: "LCS"}, ImportedTip{Tip: "named"})
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET payload = '{}' WHERE tip = 'fetched'`)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET object_type = 'SO' WHERE tip = 'same'`)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET processing_status = CASE tip WHEN 'skipped' THEN 'skipped' ELSE 'api_failed' END, permanently_failed = true, retry_count = 5,
		next_retry_at = now() + interval '1 hour', failing_since = now(), first_failed_at = now() WHERE tip IN ('givenup', 'skipped')`)
	if got := claim(t, db, 1, 1); len(got) != 1 || got[0].Tip != "claimed" {
		t.Fatalf("claimed %+v, want the first", got)
	}

	all := []ImportedTip{{Tip: "free", ExpectedID: "SO - 1"}, {Tip: "same"}, {Tip: "fetched"}, {Tip: "claimed"}, {Tip: "named"}, {Tip: "givenup"}, {Tip: "skipped"}}
	// One that does not name the form says nothing.
	if got, want := importTips(t, db, TipImport{ObjectType: "SO", Assumed: true}, all...), (ImportCounts{Known: 7}); got != want {
		t.Errorf("assumed again: %+v, want %+v", got, want)
	}
	// The form of a record that another export named stays, and is told.
	if got, want := importTips(t, db, TipImport{Source: "so.csv", ObjectType: "SO"}, all...), (ImportCounts{Known: 7, Corrected: 3, Conflicting: 1}); got != want {
		t.Errorf("named: %+v, want %+v", got, want)
	}
	for tip, want := range map[string]string{
		"free": "SO|pending|tips.csv", "same": "SO|pending|tips.csv", "fetched": "LCD|assumed|pending|tips.csv",
		"claimed": "LCD|assumed|pending|tips.csv", "named": "LCS|pending|lcs.csv",
		"givenup": "SO|pending|tips.csv", "skipped": "SO|skipped|tips.csv",
	} {
		if got := recordLine(t, db, tip); got != want {
			t.Errorf("%s: %s, want %s", tip, got, want)
		}
	}
	const left = `SELECT concat_ws(' ', retry_count, permanently_failed, next_retry_at IS NULL, failing_since IS NULL, first_failed_at IS NULL) FROM noggin_schema.noggin_data WHERE tip = $1`
	if got := scalar[string](t, db, left, "givenup"); got != "0 f t t t" {
		t.Errorf("what failed under the wrong form: %s", got)
	}
	if got := scalar[string](t, db, left, "skipped"); got != "5 t f f f" {
		t.Errorf("what is skipped: %s", got)
	}
	if got := scalar[string](t, db, `SELECT string_agg(object_type || ' ' || n, ', ' ORDER BY object_type)
		FROM (SELECT object_type, sum(records) AS n FROM noggin_schema.record_totals GROUP BY 1) AS c`); got != totalsByType(t, db) {
		t.Errorf("counted are %s, there are %s", got, totalsByType(t, db))
	}
}

func totalsByType(t testing.TB, db *DB) string {
	t.Helper()
	return scalar[string](t, db, `SELECT string_agg(object_type || ' ' || n, ', ' ORDER BY object_type)
		FROM (SELECT object_type, count(*) AS n FROM noggin_schema.noggin_data GROUP BY 1) AS c`)
}

func TestUpdateFillsWhatKnownRecordsLack(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	if _, err := db.EnsureRecords(t.Context(), []string{"empty"}, "LCD", false); err != nil {
		t.Fatal(err)
	}
	importTips(t, db, TipImport{Source: "old.csv", ObjectType: "LCD"}, ImportedTip{"id", "LCD - 1", "", 2}, ImportedTip{"full", "LCD - 2", "2025-01-02", 3})
	rows := []ImportedTip{{"empty", "LCD - 9", "2025-09-09", 2}, {"id", "LCD - 9", "2025-09-09", 3}, {"full", "LCD - 9", "2025-09-09", 4}, {"new", "LCD - 9", "", 5}}
	if got, want := importTips(t, db, TipImport{Source: "new.csv", ObjectType: "LCD"}, rows[:3]...), (ImportCounts{Known: 3, OtherID: 2}); got != want {
		t.Errorf("without update: %+v, want %+v", got, want)
	}
	if got, want := importTips(t, db, TipImport{Source: "new.csv", ObjectType: "LCD", Update: true}, rows...), (ImportCounts{New: 1, Known: 3, Updated: 2, OtherID: 2}); got != want {
		t.Errorf("with update: %+v, want %+v", got, want)
	}
	for tip, want := range map[string]string{
		"empty": "LCD|pending|new.csv|LCD - 9|2025-09-09", "id": "LCD|pending|old.csv|LCD - 1|2025-09-09",
		"full": "LCD|pending|old.csv|LCD - 2|2025-01-02", "new": "LCD|pending|new.csv|LCD - 9",
	} {
		if got := recordLine(t, db, tip); got != want {
			t.Errorf("%s: %s, want %s", tip, got, want)
		}
	}
}

func TestImportsOfTheSameTipsAtOnceInsertEachOnce(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	const importers, chunks, size = 4, 5, 400
	var mu sync.Mutex
	var sum ImportCounts
	var group sync.WaitGroup
	for i := range importers {
		group.Go(func() {
			for c := range chunks {
				rows := make([]ImportedTip, size)
				for n := range rows {
					rows[n].Tip = tip((c*size + n*(i+1)) % (chunks * size)) // in another order, and some twice
				}
				counts, err := db.ImportTips(t.Context(), TipImport{ObjectType: "LCD", Assumed: i%2 == 0}, rows)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				sum.Add(counts)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	there := scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.noggin_data`)
	counted := scalar[int64](t, db, `SELECT sum(records) FROM noggin_schema.record_totals`)
	if sum.New != there || counted != there || sum.New+sum.Known != importers*chunks*size {
		t.Errorf("there are %d records; counted are %d, reported %+v", there, counted, sum)
	}
}

// A chunk is looked up by the index, however large the table: reading all of it for
// each of a file's chunks would make a long import take time by the square.
// An operator's own unique index is no other import that will be known in a moment.
func TestAnImportThatNeverFitsEnds(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `CREATE UNIQUE INDEX ours ON noggin_schema.noggin_data (expected_inspection_id)`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := db.ImportTips(ctx, TipImport{ObjectType: "LCD"}, []ImportedTip{{Tip: tip(1), ExpectedID: "LCD - 1"}, {Tip: tip(2), ExpectedID: "LCD - 1"}})
	if !hasCode(err, pqerror.UniqueViolation) || !strings.Contains(err.Error(), "ours") {
		t.Errorf("the import ended with %v", err)
	}
}

func TestImportNeverReadsTheWholeTable(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	foreign(t, db, `ALTER TABLE noggin_schema.noggin_data SET (autovacuum_enabled = off)`)
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type)
		SELECT encode(sha256(i::text::bytea), 'hex'), 'LCD' FROM generate_series(1, 20000) AS i`)
	rows := make([]ImportedTip, 5000)
	for i := range rows {
		rows[i].Tip = tip(i)
	}
	_, args := importArguments(TipImport{ObjectType: "LCD", Update: true}, rows)
	for _, when := range []string{"before the table is analysed", "afterwards"} {
		tx, err := db.pool.BeginTxx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		err = planForLookups(t.Context(), tx)
		if err == nil {
			err = tx.SelectContext(t.Context(), &plan, db.sql("EXPLAIN "+importStatement), args...)
		}
		if err := errors.Join(err, tx.Rollback()); err != nil {
			t.Fatal(err)
		}
		lookups := 0
		for i, line := range plan {
			if !strings.Contains(line, "Scan") || !strings.Contains(line, "on noggin_data") {
				continue
			}
			if lookups++; !strings.Contains(line, "noggin_data_pkey") || !strings.Contains(plan[i+1], "Index Cond: (tip = ") {
				t.Errorf("%s the plan has\n%s\n%s", when, line, plan[i+1])
			}
		}
		if lookups != 5 {
			t.Errorf("%s the plan has %d lookups, want 5:\n%s", when, lookups, strings.Join(plan, "\n"))
		}
		foreign(t, db, `ANALYZE noggin_schema.noggin_data`)
	}
}

func TestTheCheckOnTipsIsAsStrictAsTheirForm(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	for tip, want := range map[string]bool{
		"A-z_09": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "a/b": false, "a\nb": false, "a\n": false, "ä": false, "a b": false,
	} {
		_, err := db.ImportTips(t.Context(), TipImport{ObjectType: "LCD"}, []ImportedTip{{Tip: tip}})
		if (err == nil) != want {
			t.Errorf("%s: %v", fmt.Sprintf("%q", tip), err)
		}
	}
}

func TestARowThatDiffersFromTheMirrorMakesItsRecordDueOnce(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 2)
	for _, c := range claim(t, db, 1, 2) {
		a := answer(c)
		for i := range a.Folders {
			a.Folders[i] += c.Tip
		}
		if _, err := db.Store(t.Context(), 1, []Answer{a}); err != nil {
			t.Fatal(err)
		}
		finish(t, db, 1, Result{Tip: c.Tip, Token: c.Token, Status: "complete"})
	}
	for _, step := range []struct {
		id, day string
		want    int64
	}{
		{"LCD-1", "2025-09-17", 0}, // as mirrored
		{"LCD - 2", "2025-09-17", 1},
		{"LCD-2", "2025-09-17", 0}, // as the last export said
		{"LCD - 1", "2025-09-18", 1},
		{"", "2025-09-18", 0},
		{"LCD - 1", "2025-09-17", 0},
	} {
		foreign(t, db, `UPDATE noggin_schema.refreshes SET due_at = NULL`)
		counts := importTips(t, db, TipImport{ObjectType: "LCD"}, ImportedTip{Tip: tip(0), ExpectedID: step.id, ExpectedDate: step.day})
		if counts.AskAgain != step.want {
			t.Errorf("%+v: %+v", step, counts)
		}
		if n := scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.refreshes WHERE due_at <= now()`); n != step.want {
			t.Errorf("%+v: %d records are due", step, n)
		}
	}
}
