package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
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
	var expressions []string
	for _, column := range inspectionColumns[f.Attachments] {
		expressions = append(expressions, column.sql)
	}
	// One composite a row: of all that lib/pq can hand over it costs least, less
	// than half of a column each.
	query := `SELECT ROW(` + strings.Join(expressions, ", ") + `) FROM noggin_schema.noggin_data n`
	order := ` ORDER BY n.inspection_date DESC`
	if f.Attachments {
		query += ` LEFT JOIN noggin_schema.attachments a ON a.record_tip = n.tip`
		order = ` ORDER BY n.inspection_date DESC, n.tip, a.attachment_sequence`
	}
	form := ` AND ($1 = '' OR n.object_type = $1)`
	dated := query + ` WHERE n.inspection_date IS NOT NULL AND n.inspection_date >= coalesce(nullif($2, '')::date, '-infinity')
		AND n.inspection_date <= coalesce(nullif($3, '')::date, 'infinity')` + form + order
	if err := db.eachComposite(ctx, dated, each, len(expressions), f.ObjectType, f.From, f.To); err != nil || f.From != "" || f.To != "" {
		return err
	}
	undated := query + ` WHERE n.inspection_date IS NULL AND n.folder IS NOT NULL` + form + strings.Replace(order, "n.inspection_date DESC", "n.folder", 1)
	return db.eachComposite(ctx, undated, each, len(expressions), f.ObjectType)
}

func (db *DB) eachComposite(ctx context.Context, query string, each func([][]byte) error, columns int, args ...any) error {
	rows, err := db.pool.QueryContext(ctx, db.sql(query), args...)
	if err != nil {
		return describe(ctx, "list the inspections", err)
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	var text sql.RawBytes
	values := make([][]byte, 0, columns)
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			return describe(ctx, "read an inspection", err)
		}
		if values, err = splitComposite(text, values[:0]); err != nil {
			return fmt.Errorf("read an inspection: %w", err)
		}
		if err := each(values); err != nil {
			return err
		}
	}
	return describe(ctx, "list the inspections", rows.Err())
}

var errComposite = errors.New("not a composite value")

// splitComposite appends the fields of a composite value as PostgreSQL writes it,
// (1,"two, ""three""",,""), to fields; nil is NULL. It unquotes in place: text is
// spoilt by it.
func splitComposite(text []byte, fields [][]byte) ([][]byte, error) {
	if len(text) < 2 || text[0] != '(' || text[len(text)-1] != ')' {
		return fields, errComposite
	}
	end := len(text) - 1
	for i := 1; ; i++ { // text[i] begins a field
		start, out := i, i
		isNull := text[i] == ',' || i == end
		quoted := false
		for ; i < end && (quoted || text[i] != ','); i++ {
			switch {
			case text[i] == '"' && quoted && text[i+1] == '"', text[i] == '\\' && i+1 < end:
				i++ // what follows stands for itself
			case text[i] == '"':
				quoted = !quoted
				continue
			}
			text[out] = text[i]
			out++
		}
		switch {
		case quoted:
			return fields, errComposite
		case isNull:
			fields = append(fields, nil)
		default:
			fields = append(fields, text[start:out:out])
		}
		if i == end {
			return fields, nil
		}
	}
}
