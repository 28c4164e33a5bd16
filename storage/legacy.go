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

// legacySchema is the new name that `init-db --migrate-legacy` gives to the schema of
// the replaced service. noggin never drops it.
const legacySchema = "noggin_legacy"

// LegacyCopied counts the rows copied from one table of the replaced service.
type LegacyCopied struct {
	Table   string `json:"table"`
	Rows    int64  `json:"rows"`
	Copied  int64  `json:"copied"`
	Columns string `json:"columns"`
}

// legacyTable says how to copy one table. A column that both tables have is cast to
// noggin's type, unless computed has an expression for it.
type legacyTable struct {
	name     string
	needs    []string // columns that the legacy table must have
	computed map[string][]computedColumn
	where    string
}

// computedColumn fills a column of noggin's from legacy columns of the row l. The first
// one counts whose columns all exist. If none does, the column is left out.
type computedColumn struct {
	reads      []string
	expression string
}

// notCopied marks columns that describe what noggin itself wrote. noggin asks for the
// answer again, and checks files before it counts them.
var notCopied = []computedColumn{}

// relativePath turns a path of the replaced service into one relative to the output
// folder, or NULL. An absolute path begins with the output folder's name, or with the
// name that the folder had before: then the relative path begins at year and month.
func relativePath(column, output string) string {
	prefix := pq.QuoteLiteral(strings.TrimSuffix(output, "/") + "/")
	relative := fmt.Sprintf(`CASE WHEN starts_with(%[1]s, %[2]s) THEN substr(%[1]s, length(%[2]s) + 1)
		WHEN %[1]s LIKE '/%%' THEN substring(%[1]s FROM '/((?:[0-9]{4}/[0-9]{2}|unknown-date)/.+)$')
		WHEN %[1]s LIKE './%%' THEN substr(%[1]s, 3)
		WHEN %[1]s LIKE '%%/%%' THEN %[1]s END`, column, prefix)
	return fmt.Sprintf(`(SELECT p FROM (SELECT %s AS p) AS r WHERE p !~ '(^|/)(\.{0,2}|\.noggin-.*)(/|$)')`, relative)
}

func legacyTables(codes map[string]string, output string) []legacyTable {
	var cases strings.Builder
	for _, from := range slices.Sorted(maps.Keys(codes)) {
		fmt.Fprintf(&cases, " WHEN %s THEN %s", pq.QuoteLiteral(from), pq.QuoteLiteral(codes[from]))
	}
	entityType := map[string][]computedColumn{"entity_type": {{[]string{"entity_type"}, "lower(btrim(l.entity_type::text))"}}}
	form := "CASE lower(l.object_type::text) WHEN '' THEN 'LCD'" + cases.String() + " ELSE 'LCD' END"
	return []legacyTable{
		{
			name: "noggin_data", needs: []string{"tip"},
			computed: map[string][]computedColumn{
				"object_type": {{[]string{"object_type"}, form}, {nil, "'LCD'"}},
				// A complete record stays so only if noggin has checked its files, which
				// `process --adopt` does. Records archived by hand have no files to check.
				"processing_status": {
					{[]string{"processing_status", "archived"}, legacyStatus("coalesce(l.archived::text, '') NOT IN ('true', 't', '1')")},
					{[]string{"processing_status"}, legacyStatus("true")},
				},
				"inspection_id": {{[]string{"lcd_inspection_id"}, "l.lcd_inspection_id::text"}},
				"folder":        notCopied, "payload": notCopied,
				"report_path": notCopied, "report_size_bytes": notCopied, "report_hash_sha256": notCopied,
			},
			where: `l.tip::text ~ '^[A-Za-z0-9_-]{1,64}$'`,
		},
		{
			name: "attachments", needs: []string{"record_tip", "attachment_tip"},
			computed: map[string][]computedColumn{
				"attachment_sequence": {
					{[]string{"attachment_sequence"}, "row_number() OVER (PARTITION BY l.record_tip ORDER BY l.attachment_sequence, l.attachment_tip)"},
					{nil, "row_number() OVER (PARTITION BY l.record_tip ORDER BY l.attachment_tip)"},
				},
				"attachment_status": {{
					[]string{"attachment_status"},
					`CASE WHEN l.attachment_status::text IN ('complete', 'completed', 'downloaded', 'success') THEN 'complete'
					WHEN l.attachment_status::text = 'failed' THEN 'failed' ELSE 'pending' END`,
				}},
				"attachment_validation_status": {{
					[]string{"attachment_validation_status"},
					`CASE WHEN l.attachment_validation_status::text IN ('valid', 'suspect', 'validation_failed')
					THEN l.attachment_validation_status::text ELSE 'not_validated' END`,
				}},
				"field_name": {{[]string{"field_name"}, "coalesce(l.field_name::text, '')"}, {nil, "''"}},
				"filename": {
					{[]string{"filename", "file_path"}, baseName("coalesce(nullif(l.filename::text, ''), l.file_path::text)")},
					{[]string{"filename"}, baseName("l.filename::text")},
					{[]string{"file_path"}, baseName("l.file_path::text")},
				},
				"file_path": {
					{[]string{"filename", "file_path"}, "coalesce(" + relativePath("l.file_path::text", output) + ", " + relativePath("l.filename::text", output) + ")"},
					{[]string{"filename"}, relativePath("l.filename::text", output)},
					{[]string{"file_path"}, relativePath("l.file_path::text", output)},
				},
				"file_hash_sha256": {{[]string{"file_hash_sha256"}, "substring(lower(l.file_hash_sha256::text) FROM '^[0-9a-f]{64}$')"}},
				// Only a file that noggin has checked has one.
				"content_type": notCopied,
			},
			where: `l.attachment_tip IS NOT NULL AND EXISTS (SELECT FROM noggin_schema.noggin_data n WHERE n.tip = l.record_tip::text)`,
		},
		{
			name: "entity_hashes", needs: []string{"hash_value", "entity_type", "entity_name"}, computed: entityType,
			where: "l.hash_value IS NOT NULL AND l.entity_type IS NOT NULL AND btrim(l.entity_name::text) <> ''",
		},
		{
			name: "unknown_hashes", needs: []string{"hash_value", "entity_type"}, computed: entityType,
			where: "l.hash_value IS NOT NULL AND l.entity_type IS NOT NULL",
		},
	}
}

// legacyStatus is the status that a record of the replaced service gets. taken is the
// condition on complete records whose files noggin has to check.
func legacyStatus(taken string) string {
	return `CASE WHEN l.processing_status::text = 'complete' AND ` + taken + ` THEN 'interrupted'
		WHEN l.processing_status::text IN ('pending', 'api_success', 'complete', 'partial', 'failed',
		'api_failed', 'interrupted', 'skipped') THEN l.processing_status::text ELSE 'pending' END`
}

func baseName(path string) string { return "nullif(regexp_replace(" + path + ", '^.*/', ''), '')" }

// copyLegacy copies records, attachments and hashes out of the renamed schema.
func (db *DB) copyLegacy(ctx context.Context, tx *sqlx.Tx, opts InitOptions) ([]LegacyCopied, error) {
	var copied []LegacyCopied
	for _, table := range legacyTables(opts.ObjectTypeCodes, opts.Output) {
		theirs, err := legacyColumnsOf(ctx, tx, legacySchema, table.name)
		if err != nil {
			return nil, err
		}
		if len(theirs) == 0 {
			continue
		}
		for _, need := range table.needs {
			if _, ok := theirs[need]; !ok {
				return nil, fmt.Errorf("%s.%s has no column %s, so it cannot be copied", legacySchema, table.name, need)
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
	if err := db.settleLegacyFiles(ctx, tx); err != nil {
		return nil, fmt.Errorf("assign the files of the replaced service: %w", err)
	}
	// Without statistics the planner takes the new tables for empty ones.
	if _, err := tx.ExecContext(ctx, db.sql("ANALYZE noggin_schema.noggin_data; ANALYZE noggin_schema.attachments; ANALYZE noggin_schema.entity_hashes")); err != nil {
		return nil, err
	}
	// The copied names may be known under other types than the unknown hashes.
	if _, err := tx.ExecContext(ctx, db.sql("UPDATE noggin_schema.names_recheck SET after = ''")); err != nil {
		return nil, err
	}
	return copied, db.recount(ctx, tx)
}

// settleLegacyFiles clears a path that several attachments share, unless all have the
// same SHA-256: the file can belong to only one. A folder that holds the files of one
// record alone becomes that record's folder, so that the files stay in their place.
func (db *DB) settleLegacyFiles(ctx context.Context, tx *sqlx.Tx) error {
	return db.exec(ctx, tx, nil,
		`UPDATE noggin_schema.attachments a SET file_path = NULL WHERE a.file_path IN (
			SELECT s.file_path FROM noggin_schema.attachments s GROUP BY s.file_path
			HAVING count(*) > 1 AND (count(*) > count(s.file_hash_sha256) OR count(DISTINCT s.file_hash_sha256) > 1))`,
		`WITH places AS (SELECT DISTINCT record_tip, regexp_replace(file_path, '/[^/]*$', '') AS dir
				FROM noggin_schema.attachments WHERE file_path IS NOT NULL),
			own AS (SELECT min(record_tip) AS tip, dir FROM places
				WHERE dir ~ '^([0-9]{4}/(0[1-9]|1[0-2])|unknown-date)/[^/]+$' GROUP BY dir HAVING count(*) = 1),
			single AS (SELECT record_tip FROM places GROUP BY record_tip HAVING count(*) = 1)
		UPDATE noggin_schema.noggin_data d SET folder = own.dir FROM own JOIN single ON single.record_tip = own.tip
		WHERE d.tip = own.tip AND d.folder IS NULL`)
}

// legacyColumns returns the columns to fill, sorted, and an expression for each.
func legacyColumns(table legacyTable, theirs, ours map[string]legacyColumn) (columns, values []string) {
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		column := ours[name]
		value := ""
		if _, have := theirs[name]; have {
			value = "l." + pq.QuoteIdentifier(name)
			if column.Type != "text" {
				value = "nullif(btrim(" + value + "::text), '')" // their column may be text
			}
			value = fmt.Sprintf("CAST(%s AS %s)", value, column.Type)
			if column.NotNull && column.Default != "" {
				value = fmt.Sprintf("coalesce(%s, %s)", value, column.Default)
			}
		}
		if computed, ok := table.computed[name]; ok {
			lacks := func(c string) bool { _, have := theirs[c]; return !have }
			value = ""
			if i := slices.IndexFunc(computed, func(c computedColumn) bool { return !slices.ContainsFunc(c.reads, lacks) }); i >= 0 {
				value = computed[i].expression
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
