package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// legacySchema is where `init-db --migrate-legacy` puts the replaced service's
// tables. They are kept: dropping them is the administrator's decision.
const legacySchema = "noggin_legacy"

// LegacyCopied counts what was copied from one table of the replaced service.
type LegacyCopied struct {
	Table   string `json:"table"`
	Rows    int64  `json:"rows"`
	Copied  int64  `json:"copied"`
	Columns string `json:"columns"`
}

// legacyTable says how one table is copied: every column that both sides have is
// cast to our type, but for those computed from the legacy row l.
type legacyTable struct {
	name     string
	needs    []string // columns without which nothing can be copied
	computed map[string]computedColumn
	where    string
}

// computedColumn fills a column of ours from the legacy columns it reads, or with
// otherwise where one of them is missing; "" leaves the column out.
type computedColumn struct {
	reads      []string
	expression string
	otherwise  string
}

func legacyTables(codes map[string]string) []legacyTable {
	var cases strings.Builder
	for _, from := range slices.Sorted(maps.Keys(codes)) {
		fmt.Fprintf(&cases, " WHEN %s THEN %s", pq.QuoteLiteral(from), pq.QuoteLiteral(codes[from]))
	}
	form := "CASE lower(l.object_type::text) WHEN '' THEN 'LCD'" + cases.String() + " ELSE 'LCD' END"
	return []legacyTable{
		{
			name: "noggin_data", needs: []string{"tip"},
			computed: map[string]computedColumn{
				"object_type": {[]string{"object_type"}, form, "'LCD'"},
				"processing_status": {
					[]string{"processing_status"},
					`CASE WHEN l.processing_status::text IN ('pending', 'api_success', 'complete', 'partial', 'failed',
					'api_failed', 'interrupted', 'skipped') THEN l.processing_status::text ELSE 'pending' END`, "",
				},
				"inspection_id": {[]string{"lcd_inspection_id"}, "l.lcd_inspection_id::text", ""},
			},
			where: `l.tip::text ~ '^[A-Za-z0-9_-]{1,64}$'`,
		},
		{
			name: "attachments", needs: []string{"record_tip", "attachment_tip"},
			computed: map[string]computedColumn{
				"attachment_sequence": {
					[]string{"attachment_sequence"},
					"row_number() OVER (PARTITION BY l.record_tip ORDER BY l.attachment_sequence, l.attachment_tip)",
					"row_number() OVER (PARTITION BY l.record_tip ORDER BY l.attachment_tip)",
				},
				"attachment_status": {
					[]string{"attachment_status"},
					`CASE WHEN l.attachment_status::text IN ('complete', 'completed', 'downloaded', 'success') THEN 'complete'
					WHEN l.attachment_status::text = 'failed' THEN 'failed' ELSE 'pending' END`, "",
				},
				"attachment_validation_status": {
					[]string{"attachment_validation_status"},
					`CASE WHEN l.attachment_validation_status::text IN ('valid', 'suspect', 'validation_failed')
					THEN l.attachment_validation_status::text ELSE 'not_validated' END`, "",
				},
				"field_name": {[]string{"field_name"}, "coalesce(l.field_name::text, '')", "''"},
			},
			where: `EXISTS (SELECT FROM noggin_schema.noggin_data n WHERE n.tip = l.record_tip::text)`,
		},
		{name: "entity_hashes", needs: []string{"hash_value", "entity_type", "entity_name"}, where: "l.entity_name IS NOT NULL"},
		{name: "unknown_hashes", needs: []string{"hash_value", "entity_type"}, where: "l.hash_value IS NOT NULL"},
	}
}

// copyLegacy copies records, attachments and hashes out of the renamed schema.
func (db *DB) copyLegacy(ctx context.Context, tx *sqlx.Tx, codes map[string]string) ([]LegacyCopied, error) {
	var copied []LegacyCopied
	for _, table := range legacyTables(codes) {
		theirs, err := legacyColumnsOf(ctx, tx, legacySchema, table.name)
		if err != nil {
			return nil, err
		}
		if len(theirs) == 0 {
			continue
		}
		for _, need := range table.needs {
			if _, ok := theirs[need]; !ok {
				return nil, fmt.Errorf("%s.%s has no column %s: it cannot be copied", legacySchema, table.name, need)
			}
		}
		ours, err := legacyColumnsOf(ctx, tx, db.cfg.Schema, table.name)
		if err != nil {
			return nil, err
		}
		columns, values := legacyColumns(table, theirs, ours)
		c := LegacyCopied{Table: table.name, Columns: strings.Join(columns, ", ")}
		if err := tx.GetContext(ctx, &c.Rows, "SELECT count(*) FROM "+legacySchema+"."+table.name); err != nil {
			return nil, err
		}
		res, err := tx.ExecContext(ctx, db.sql(fmt.Sprintf(
			"INSERT INTO noggin_schema.%s (%s) SELECT %s FROM %s.%s l WHERE %s ON CONFLICT DO NOTHING",
			table.name, c.Columns, strings.Join(values, ", "), legacySchema, table.name, table.where)))
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", table.name, err)
		}
		if c.Copied, err = res.RowsAffected(); err != nil {
			return nil, err
		}
		copied = append(copied, c)
	}
	return copied, db.recount(ctx, tx)
}

// legacyColumns returns the columns to fill, sorted, and what fills each.
func legacyColumns(table legacyTable, theirs, ours map[string]legacyColumn) (columns, values []string) {
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		column := ours[name]
		value := ""
		if _, have := theirs[name]; have {
			value = fmt.Sprintf("CAST(l.%s AS %s)", pq.QuoteIdentifier(name), column.Type)
			if column.NotNull && column.Default != "" {
				value = fmt.Sprintf("coalesce(%s, %s)", value, column.Default)
			}
		}
		if computed, ok := table.computed[name]; ok {
			value = computed.otherwise
			if !slices.ContainsFunc(computed.reads, func(c string) bool { _, have := theirs[c]; return !have }) {
				value = computed.expression
			}
		}
		if value != "" {
			columns, values = append(columns, pq.QuoteIdentifier(name)), append(values, value)
		}
	}
	return columns, values
}

type legacyColumn struct {
	Name, Type, Default string
	NotNull             bool `db:"not_null"`
}

// legacyColumnsOf returns the columns of a table that can be written.
func legacyColumnsOf(ctx context.Context, tx *sqlx.Tx, schema, table string) (map[string]legacyColumn, error) {
	var rows []legacyColumn
	err := tx.SelectContext(ctx, &rows, `
		SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
		       coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS default
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
		  AND a.attidentity = ''`, schema, table)
	columns := make(map[string]legacyColumn, len(rows))
	for _, r := range rows {
		columns[r.Name] = r
	}
	return columns, err
}
