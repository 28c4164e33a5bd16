package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"math/big"
	"strings"

	"github.com/lib/pq"
)

// InspectionFilter chooses the inspections of an export; the zero value chooses all
// that were fetched.
type InspectionFilter struct {
	From, To    string // calendar days, YYYY-MM-DD, both included; "" is no bound
	ObjectType  string // code
	Attachments bool   // a row an attachment, in place of a row a record
}

// inspectionColumns are the columns of an export, the manual's first, with the SQL
// that each is made of.
var inspectionColumns = map[bool][]struct{ name, sql string }{
	false: {
		{"lcd_inspection_id", "n.lcd_inspection_id"},
		{"inspection_date", "n.inspection_date"},
		{"vehicle", "n.vehicle"},
		{"trailer", "n.trailer"},
		{"department", "n.department"},
		{"team", "n.team"},
		{"load_compliance", "n.load_compliance"},
		{"total_attachments", "n.total_attachments"},
		{"processing_status", "n.processing_status"},
		{"object_type", "n.object_type"},
		{"tip", "n.tip"},
	},
	true: {
		{"lcd_inspection_id", "n.lcd_inspection_id"},
		{"inspection_date", "n.inspection_date"},
		{"vehicle", "n.vehicle"},
		{"trailer", "n.trailer"},
		{"filename", "a.filename"},
		{"size_mb", "round(a.file_size_bytes / 1048576.0, 2)"},
		{"attachment_status", "a.attachment_status"},
		{"file_path", "a.file_path"},
		{"file_size_bytes", "a.file_size_bytes"},
		{"file_hash_sha256", "a.file_hash_sha256"},
		{"object_type", "n.object_type"},
		{"tip", "n.tip"},
	},
}

// InspectionColumns returns the names of an export's columns.
func InspectionColumns(attachments bool) []string {
	var names []string
	for _, column := range inspectionColumns[attachments] {
		names = append(names, column.name)
	}
	return names
}

// EachInspection hands the inspections to each, the latest day first, those without
// a day last and only where neither bound is given. A value is nil for NULL and
// valid during the call alone. Memory stays flat whatever their number; the
// connection should be opened without a statement timeout.
func (db *DB) EachInspection(ctx context.Context, f InspectionFilter, each func(values [][]byte) error) error {
	var columns []string
	for _, column := range inspectionColumns[f.Attachments] {
		columns = append(columns, column.sql)
	}
	line := newJoinedColumns(len(columns))
	query := `SELECT ` + line.sql(columns) + ` FROM noggin_schema.noggin_data n`
	order := ` ORDER BY n.inspection_date DESC`
	if f.Attachments {
		query += ` LEFT JOIN noggin_schema.attachments a ON a.record_tip = n.tip`
		order = ` ORDER BY n.inspection_date DESC, n.tip, a.attachment_sequence`
	}
	form := ` AND ($1 = '' OR n.object_type = $1)`
	dated := query + ` WHERE n.inspection_date IS NOT NULL AND n.inspection_date >= coalesce(nullif($2, '')::date, '-infinity')
		AND n.inspection_date <= coalesce(nullif($3, '')::date, 'infinity')` + form + order
	if err := db.eachJoined(ctx, dated, line, each, f.ObjectType, f.From, f.To); err != nil || f.From != "" || f.To != "" {
		return err
	}
	undated := query + ` WHERE n.inspection_date IS NULL AND n.folder IS NOT NULL` + form + strings.Replace(order, "n.inspection_date DESC", "n.folder", 1)
	return db.eachJoined(ctx, undated, line, each, f.ObjectType)
}

func (db *DB) eachJoined(ctx context.Context, query string, line joinedColumns, each func([][]byte) error, args ...any) error {
	rows, err := db.pool.QueryContext(ctx, db.sql(query), args...)
	if err != nil {
		return describe(ctx, "list the inspections", err)
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	var text sql.RawBytes
	values := make([][]byte, 0, line.columns)
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			return describe(ctx, "read an inspection", err)
		}
		if values, err = line.split(text, values[:0]); err != nil {
			return fmt.Errorf("read an inspection: %w", err)
		}
		if err := each(values); err != nil {
			return err
		}
	}
	return describe(ctx, "list the inspections", rows.Err())
}

// joinedColumns has the server join a row's columns to one text. Of all ways to get
// millions of rows through lib/pq that costs least: a third of a column each, and
// the server no more than COPY. What stands between two values, and for NULL, is
// drawn anew for each export, so that no value can hold it but by chance.
type joinedColumns struct {
	columns         int
	separator, null string
}

func newJoinedColumns(columns int) joinedColumns {
	return joinedColumns{columns, randomControls(), randomControls()}
}

// randomControls are six random control characters: one text of 27^6.
func randomControls() string {
	b := make([]byte, 6)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(27))
		if err != nil {
			panic(err) // it never fails
		}
		b[i] = byte(n.Int64()) + 1
	}
	return string(b)
}

// sql is the expression of the joined columns. It ends as a cstring, which lib/pq
// hands over without a copy.
func (j joinedColumns) sql(columns []string) string {
	args := []string{pq.QuoteLiteral(j.separator)}
	for _, column := range columns {
		args = append(args, `coalesce((`+column+`)::text, `+pq.QuoteLiteral(j.null)+`)`)
	}
	return `textout(concat_ws(` + strings.Join(args, ", ") + `))`
}

// split appends the values of a row to values, nil for NULL.
func (j joinedColumns) split(text []byte, values [][]byte) ([][]byte, error) {
	for {
		value, rest, more := bytes.Cut(text, []byte(j.separator))
		if string(value) == j.null {
			value = nil
		}
		values = append(values, value)
		if !more {
			break
		}
		text = rest
	}
	if len(values) != j.columns {
		return values, fmt.Errorf("%d values in place of %d", len(values), j.columns)
	}
	return values, nil
}
