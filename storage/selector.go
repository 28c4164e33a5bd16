package storage

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
)

// statuses are the values of processing_status, in the order of a record's life.
var statuses = []string{"pending", "api_success", "complete", "partial", "failed", "api_failed", "interrupted", "skipped"}

// Statuses returns the values of processing_status, in the order of a record's
// life.
func Statuses() []string { return slices.Clone(statuses) }

// Selector chooses records, the same for every command that takes its flags. The
// zero value chooses all.
type Selector struct {
	Tips          []string
	ObjectType    string // code
	Statuses      []string
	Since         time.Time // status last changed at or after
	Permanent     bool      // only permanently failed ones
	ErrorType     string    // has an error of this type in processing_errors
	UnknownHashes bool      // only those with a name unknown
	RequestedBy   int64     // only those that this retry-failed run reset
}

// IsZero reports whether the selector chooses all records.
func (s Selector) IsZero() bool {
	return len(s.Tips) == 0 && s.ObjectType == "" && len(s.Statuses) == 0 && s.Since.IsZero() &&
		!s.Permanent && s.ErrorType == "" && !s.UnknownHashes && s.RequestedBy == 0
}

// placeholder is the nth parameter of a statement.
func placeholder(n int) string { return "$" + strconv.Itoa(n) }

// where returns the conditions, each beginning with AND, over d, which stands for
// noggin_data, and their arguments, the first of which is numbered first.
func (s Selector) where(first int) (conditions string, args []any) {
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
	return b.String(), args
}
