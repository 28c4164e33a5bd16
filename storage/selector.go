package storage

import (
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
)

// Selector chooses records. Every command with the selector's flags uses it. The zero
// value chooses all.
type Selector struct {
	Tips          []string
	ObjectType    string // code
	Statuses      []Status
	Since         time.Time // the status last changed at this time or later
	Permanent     bool      // only permanently failed records
	ErrorType     string    // only records with an error of this type in processing_errors
	UnknownHashes bool      // only records with an unknown hash
	RequestedBy   int64     // only records that this retry-failed run reset

	// From and Until are the first and the last day of the inspection, YYYY-MM-DD; "" is no
	// bound. A record that was not fetched yet counts by the day that its export gave.
	From, Until string
	// Entities are vehicles, teams and so on: each is a list of hashes, and the record must
	// refer to one of each list.
	Entities   [][]string
	Compliance string // load_compliance
	Search     string // words that must all occur, as tsquery takes them
}

// OnlyForm tells whether nothing but the form is chosen by.
func (s Selector) OnlyForm() bool {
	s.ObjectType = ""
	conditions, _ := s.where(1)
	return conditions == ""
}

// placeholder is the nth parameter of a statement.
func placeholder(n int) string { return "$" + strconv.Itoa(n) }

// where returns conditions on d, an alias of noggin_data, and their arguments. Each
// condition begins with AND; the first argument is number first.
func (s Selector) where(first int) (conditions string, args []any) {
	return s.whereDay(`coalesce(d.inspection_date, d.expected_inspection_date)`, first)
}

// whereFetched is where for records that were fetched: only their own day counts, so that
// its index is used.
func (s Selector) whereFetched(first int) (conditions string, args []any) {
	return s.whereDay(`d.inspection_date`, first)
}

func (s Selector) whereDay(day string, first int) (conditions string, args []any) {
	var b strings.Builder
	add := func(condition string, arg any) {
		if strings.Contains(condition, "$?") {
			condition = strings.ReplaceAll(condition, "$?", placeholder(first+len(args)))
			args = append(args, arg)
		}
		b.WriteString(" AND " + condition)
	}
	if len(s.Tips) > 0 {
		add("d.tip = ANY($?::text[])", pq.Array(s.Tips))
	}
	if s.ObjectType != "" {
		add("d.object_type = $?", s.ObjectType)
	}
	if len(s.Statuses) > 0 {
		add("d.processing_status = ANY($?::text[])", pq.Array(s.Statuses))
	}
	if !s.Since.IsZero() {
		add("d.updated_at >= $?::timestamptz", s.Since.Format(time.RFC3339Nano))
	}
	if s.Permanent {
		add("d.permanently_failed", nil)
	}
	if s.ErrorType != "" {
		add("EXISTS (SELECT FROM noggin_schema.processing_errors e WHERE e.tip = d.tip AND e.error_type = $?)", s.ErrorType)
	}
	if s.UnknownHashes {
		add("d.has_unknown_hashes", nil)
	}
	if s.RequestedBy != 0 {
		add("d.retry_requested_by = $?::bigint", s.RequestedBy)
	}
	if s.From != "" {
		add(day+" >= $?::date", s.From)
	}
	if s.Until != "" {
		add(day+" <= $?::date", s.Until)
	}
	for _, hashes := range s.Entities {
		add("d.tip IN (SELECT h.record_tip FROM noggin_schema.record_hashes h WHERE h.hash_value = ANY($?::text[]))", pq.Array(hashes))
	}
	if s.Compliance != "" {
		add("d.load_compliance = $?", s.Compliance)
	}
	if s.Search != "" {
		rare, others := splitSearch(s.Search)
		add("d.tip IN (SELECT f.record_tip FROM noggin_schema.record_search f WHERE f.document @@ $?::tsquery", rare)
		if others != "" {
			b.WriteString(" AND (f.document @@ " + placeholder(first+len(args)) + "::tsquery) IS TRUE")
			args = append(args, others)
		}
		b.WriteString(")")
	}
	return b.String(), args
}
