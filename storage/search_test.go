package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// found returns the tips of the records that the words find.
func found(t *testing.T, db *DB, words string) []string {
	t.Helper()
	tips := []string{}
	if err := db.EachInspection(t.Context(), InspectionFilter{Selector: Selector{Search: words}}, func(values [][]byte) error {
		tips = append(tips, string(values[len(values)-1]))
		return nil
	}); err != nil {
		t.Fatalf("search for %.60s: %v", words, err)
	}
	slices.Sort(tips)
	return tips
}

func TestASearchFindsRecordsWithAllWords(t *testing.T) {
	t.Parallel()
	db := findable(t)
	foreign(t, db, `INSERT INTO noggin_schema.record_search (record_tip, document)
		VALUES ('a', 'lcd 1 frayed מסגר'), ('b', 'lcd 2 frayed replaced'), ('c', 'ta 1 replacement')`)
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("w%d", i)
	}
	foreign(t, db, `INSERT INTO noggin_schema.record_search (record_tip, inspection_date, document)
		SELECT 'e', '2025-04-01', array_to_tsvector(array_agg('w' || i)) FROM generate_series(0, 99) AS i`)
	for words, want := range map[string]string{
		strings.Join(many[:100], " & "):             "[e]",
		strings.Join(many[:100], " & ") + " & miss": "[]",
		strings.Join(many[:100], " & ") + " & w9:*": "[e]",
		strings.Join(many[:31], " & ") + " & 7":     "[]",
		"lcd":                                       "[a b]",
		"frayed & lcd & 2":                          "[b]",
		"repl:*":                                    "[b c]",
		"מסגר":                                      "[a]",
		"nothing":                                   "[]",
		strings.Join(many, " & "):                   "[]",
		strings.Repeat("x", 200):                    "[]",
		"lcd & frayed & replaced:*":                 "[b]",
	} {
		if got := fmt.Sprint(found(t, db, words)); got != want {
			t.Errorf("%.60s finds %s, want %s", words, got, want)
		}
		n := 0
		f := InspectionFilter{Selector: Selector{Search: words, ObjectType: "LCD"}, Limit: 10}
		if err := db.EachInspection(t.Context(), f, func([][]byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		if totals, err := db.CountInspections(t.Context(), f); err != nil || totals.Records != int64(n) {
			t.Errorf("%.60s: %d are listed, the totals are %+v, %v", words, n, totals, err)
		}
	}
}

// The words of a record come with its result and with healing, and go with the record.
func TestWordsAreWrittenWithResultsAndWithNames(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	if _, err := db.Store(t.Context(), 1, []Answer{answer(c)}); err != nil {
		t.Fatal(err)
	}
	finish := func(r Result) {
		t.Helper()
		r.Tip, r.Token, r.Status = c.Tip, c.Token, StatusPartial
		if _, err := db.Finish(t.Context(), 1, []Result{r}, Backoff{Multiplier: 2, MaxAttempts: 5}); err != nil {
			t.Fatal(err)
		}
	}
	finish(Result{Document: "first words"})
	if got := found(t, db, "first & words"); len(got) != 1 {
		t.Errorf("the words of a result find %v", got)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET next_retry_at = now() - interval '1 s'`)
	c = claim(t, db, 2, 1)[0]
	if _, err := db.Finish(t.Context(), 1, []Result{{Tip: c.Tip, Token: c.Token, Status: StatusPartial, Document: "foreign"}}, Backoff{}); err != nil {
		t.Fatal(err)
	}
	if got := found(t, db, "foreign"); len(got) != 0 {
		t.Errorf("a run without the claim wrote the words of %v", got)
	}
	if _, err := db.Finish(t.Context(), 2, []Result{{Tip: c.Tip, Token: c.Token, Status: StatusComplete}}, Backoff{}); err != nil {
		t.Fatal(err)
	}
	if got := found(t, db, "first"); len(got) != 1 {
		t.Errorf("a result without words left %v", got)
	}
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET names_stale = true`)
	batch, err := db.ClaimStale(t.Context(), 3, "", 10, 1e9)
	if err != nil || len(batch.Records) != 1 {
		t.Fatalf("%+v, %v", batch, err)
	}
	if _, err := db.SaveHealed(t.Context(), 3, batch.Names, []Healed{{Record: &batch.Records[0], Document: "healed words", Done: true}}); err != nil {
		t.Fatal(err)
	}
	if old, now := found(t, db, "first"), found(t, db, "healed"); len(old) != 0 || len(now) != 1 {
		t.Errorf("after healing the old words find %v, the new ones %v", old, now)
	}
}

// The records of version 1 get their words in batches, and until then are counted.
func TestAfterAnUpgradeOldRecordsBecomeSearchableInBatches(t *testing.T) {
	t.Parallel()
	db := version1(t)
	foreign(t, db, `UPDATE noggin_schema.noggin_data SET payload = '{"a": 1}', folder = 'old/' || tip WHERE payload IS NOT NULL`)
	old := scalar[int64](t, db, `SELECT count(*) FROM noggin_schema.noggin_data WHERE payload IS NOT NULL`)
	if old < 5 {
		t.Fatalf("%d records with an answer: the test shows nothing", old)
	}
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	first := scalar[string](t, db, `SELECT max(tip) FROM noggin_schema.noggin_data WHERE payload IS NOT NULL`)
	foreign(t, db, `INSERT INTO noggin_schema.record_search (record_tip, document) VALUES ($1, 'newer')`, first)
	missing := old - 1
	for steps := 0; ; steps++ {
		standing, err := db.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n, err := db.NotSearchable(t.Context())
		if err != nil || n != missing || !standing.SearchFill {
			t.Fatalf("after %d steps %d records are not searchable, want %d; %v", steps, n, missing, err)
		}
		written, more, err := db.FillSearch(t.Context(), 3, func(r Unsearchable, _ Names) string {
			if string(r.Payload) != `{"a": 1}` {
				t.Errorf("the words are made from %s", r.Payload)
			}
			return "old " + r.ObjectType
		})
		if err != nil || written > 3 {
			t.Fatalf("a step wrote %d, %v", written, err)
		}
		if missing -= int64(written); !more {
			break
		}
	}
	if standing, err := db.Standing(t.Context()); err != nil || standing.SearchFill || missing != 0 {
		t.Errorf("at the end %d records are missing, to do %v, %v", missing, standing.SearchFill, err)
	}
	if got := int64(len(found(t, db, "old"))); got != old-1 {
		t.Errorf("%d records are found by their words, want %d", got, old-1)
	}
	if got := found(t, db, "newer"); len(got) != 1 {
		t.Errorf("what a run wrote meanwhile was overwritten: %v", got)
	}
	if n := scalar[int64](t, testDB(t), `SELECT count(*) FROM noggin_schema.search_fill WHERE after IS NULL`); n != 1 {
		t.Error("a new database has records to make searchable")
	}
}
