package storage

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// EntityMonth counts inspections of a month, a form and an answer on compliance.
type EntityMonth struct {
	Month      string `db:"month"` // 2025-03; "": without a day
	ObjectType string `db:"object_type"`
	Compliance string `db:"compliance"` // "": without
	Records    int64  `db:"records"`
}

// EntityMonths counts the inspections that the selector chooses, by month, form and
// compliance.
func (db *DB) EntityMonths(ctx context.Context, s Selector) (months []EntityMonth, err error) {
	conditions, args := s.whereFetched(1)
	err = db.selectAll(ctx, "count the inspections by month", &months, `
		SELECT coalesce(to_char(d.inspection_date, 'YYYY-MM'), '') AS month, d.object_type, coalesce(d.load_compliance, '') AS compliance, count(*) AS records
		FROM noggin_schema.noggin_data d WHERE (d.inspection_date IS NOT NULL OR d.folder IS NOT NULL)`+conditions+`
		GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3`, args...)
	return months, err
}

// LastInspection is the latest inspection of an entity.
type LastInspection struct {
	Tip          string     `db:"tip" json:"tip"`
	InspectionID *string    `db:"inspection_id" json:"inspection_id"`
	Date         *time.Time `db:"inspection_date" json:"-"`
	Day          *string    `db:"day" json:"inspection_date"`
	ObjectType   string     `db:"object_type" json:"object_type"`
	Compliance   *string    `db:"load_compliance" json:"load_compliance"`
}

// LatestInspections returns up to limit inspections with a day that the selector chooses,
// the latest first.
func (db *DB) LatestInspections(ctx context.Context, s Selector, limit int) (found []LastInspection, err error) {
	page, args, err := db.inspectionPage(ctx, InspectionFilter{Selector: s, Limit: limit})
	if err != nil {
		return nil, err
	}
	err = db.selectAll(ctx, "look for the latest inspections", &found, page+`
		SELECT d.tip, d.inspection_id, d.inspection_date, d.inspection_date::text AS day, d.object_type, d.load_compliance
		FROM page p JOIN noggin_schema.noggin_data d ON d.tip = p.tip ORDER BY p.inspection_date DESC, p.tip DESC`, args...)
	return found, err
}

// OpenUnknown is an unknown hash in records of an entity.
type OpenUnknown struct {
	Hash    string `db:"hash_value" json:"hash"`
	Type    string `db:"entity_type" json:"entity_type"`
	Records int64  `db:"records" json:"records"`
}

// UnknownsBeside returns up to limit hashes without a name in the inspections that the
// selector chooses, the most frequent first.
func (db *DB) UnknownsBeside(ctx context.Context, s Selector, limit int) (found []OpenUnknown, err error) {
	s.UnknownHashes = true
	conditions, args := s.whereFetched(2)
	err = db.selectAll(ctx, "look for unknown hashes", &found, `
		SELECT r.hash_value, r.entity_type, count(DISTINCT r.record_tip) AS records
		FROM noggin_schema.noggin_data d JOIN noggin_schema.record_hashes r ON r.record_tip = d.tip
		WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value)`+conditions+`
		GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT $1`, append([]any{limit}, args...)...)
	return found, err
}

// FormerNames returns former names of the hashes, each once.
func (db *DB) FormerNames(ctx context.Context, hashes []string) (names []string, err error) {
	err = db.selectAll(ctx, "read former names", &names, `
		SELECT DISTINCT h.entity_name FROM noggin_schema.entity_hash_history h WHERE h.hash_value = ANY($1::text[])
		  AND NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = h.hash_value AND e.entity_name = h.entity_name)
		ORDER BY 1`, pq.Array(hashes))
	return names, err
}
