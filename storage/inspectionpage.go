package storage

import (
	"context"
	"encoding/json"
	"strconv"
)

const (
	// fewFound is up to how many records found by words are sorted by their day. With more,
	// going from the latest day on meets enough of them soon.
	fewFound = 30_000
	// MostCounted is up to how many inspections [DB.CountInspections] counts where the
	// records themselves are looked at.
	MostCounted = 10_000
	// mostIndexed is the same where an index tells of the records. These take a quarter of a
	// second.
	mostIndexed = 1_000_000
)

// inspectionPage returns a WITH clause whose page are the day and the tip of the first
// f.Limit inspections with a day, and its arguments. It reads no row of noggin_data that
// an index can tell of.
func (db *DB) inspectionPage(ctx context.Context, f InspectionFilter) (with string, args []any, err error) {
	limit := ` LIMIT ` + strconv.Itoa(f.Limit) + `) `
	indexed, more := splitSearch(f.Search)
	few, err := db.findsFew(ctx, indexed)
	if err != nil {
		return "", nil, err
	}
	if !few {
		conditions, args := f.whereFetched(1)
		return `WITH page AS MATERIALIZED (SELECT d.inspection_date, d.tip FROM noggin_schema.noggin_data d WHERE d.inspection_date IS NOT NULL` + conditions +
			` ORDER BY d.inspection_date DESC, d.tip DESC` + limit, args, nil
	}
	others := f.Selector
	others.Search = ""
	conditions, args := others.whereFetched(3)
	return `WITH found AS MATERIALIZED (SELECT f.inspection_date, f.record_tip AS tip FROM noggin_schema.record_search f
			WHERE f.document @@ $1::tsquery AND (f.document @@ nullif($2, '')::tsquery) IS NOT FALSE),
		page AS MATERIALIZED (SELECT d.inspection_date, d.tip FROM (SELECT * FROM found ORDER BY inspection_date DESC, tip DESC) o
			JOIN noggin_schema.noggin_data d ON d.tip = o.tip AND d.inspection_date IS NOT NULL` + conditions + `
			ORDER BY o.inspection_date DESC, o.tip DESC` + limit, append([]any{indexed, more}, args...), nil
}

// findsFew tells whether the words find at most about [fewFound] records, going by the
// database's statistics. Without words it is false.
func (db *DB) findsFew(ctx context.Context, words string) (bool, error) {
	if words == "" {
		return false, nil
	}
	var text string
	if err := db.get(ctx, "plan a search", &text, `EXPLAIN (FORMAT JSON) SELECT FROM noggin_schema.record_search f WHERE f.document @@ $1::tsquery`, words); err != nil {
		return false, err
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	err := json.Unmarshal([]byte(text), &plans)
	return err == nil && len(plans) == 1 && plans[0].Plan.Rows <= fewFound, err
}

// InspectionTotals counts what a filter chooses.
type InspectionTotals struct {
	Records    int64            // with and without a day
	Compliance map[string]int64 // records by load_compliance; "": without
	More       bool             // there are more than Records, which were not counted
}

// CountInspections counts the inspections that the filter chooses, whatever its limit, up
// to a million. If it must look at the records themselves, it counts up to [MostCounted].
func (db *DB) CountInspections(ctx context.Context, f InspectionFilter) (InspectionTotals, error) {
	if f.indexTells() {
		return db.countInspections(ctx, f, mostIndexed)
	}
	return db.countInspections(ctx, f, MostCounted)
}

func (db *DB) countInspections(ctx context.Context, f InspectionFilter, most int) (InspectionTotals, error) {
	totals := InspectionTotals{Compliance: map[string]int64{}}
	if indexed, more := splitSearch(f.Search); indexed != "" && more == "" && f.onlySearch() {
		// A word that very many have is counted without their records.
		err := db.get(ctx, "count the inspections", &totals.Records, `
			SELECT count(*) FROM (SELECT FROM noggin_schema.record_search f WHERE f.document @@ $1::tsquery LIMIT `+strconv.Itoa(most+1)+`) AS found`, indexed)
		if err != nil || totals.Records > int64(most) {
			return InspectionTotals{Records: int64(most), More: true}, err
		}
		totals.Records = 0
	}
	conditions, args := f.whereFetched(1)
	chosen := `SELECT d.load_compliance FROM noggin_schema.noggin_data d WHERE d.inspection_date IS NOT NULL` + conditions
	if f.From == "" && f.Until == "" {
		chosen += ` UNION ALL SELECT d.load_compliance FROM noggin_schema.noggin_data d WHERE d.inspection_date IS NULL AND d.folder IS NOT NULL` + conditions
	}
	chosen += ` LIMIT ` + strconv.Itoa(most+1)
	var rows []struct {
		Compliance string `db:"compliance"`
		Records    int64  `db:"records"`
	}
	err := db.selectAll(ctx, "count the inspections", &rows, `
		SELECT coalesce(load_compliance, '') AS compliance, count(*) AS records FROM (`+chosen+`) AS chosen GROUP BY 1`, args...)
	for _, r := range rows {
		totals.Compliance[r.Compliance] = r.Records
		totals.Records += r.Records
	}
	if totals.More = totals.Records > int64(most); totals.More {
		totals.Records, totals.Compliance = int64(most), nil
	}
	return totals, err
}

// onlySearch tells whether nothing but words is chosen by.
func (s Selector) onlySearch() bool {
	s.Search = ""
	conditions, _ := s.where(1)
	return conditions == ""
}

// indexTells tells whether the index noggin_data_found alone shows which inspections are
// chosen.
func (s Selector) indexTells() bool {
	s.From, s.Until, s.ObjectType, s.Compliance = "", "", "", ""
	conditions, _ := s.where(1)
	return conditions == ""
}
