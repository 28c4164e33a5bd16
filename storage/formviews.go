package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// ErrViews says why the views of the forms were not made. Nothing was changed.
var ErrViews = errors.New("the views were not made")

// viewMark begins the comment by which a view of a form is known.
const viewMark = "noggin: form "

// ViewKind says what a column of a view shows of a field.
type ViewKind int

// The kinds of columns.
const (
	ViewText ViewKind = iota
	ViewHTML
	ViewNumber
	ViewBool
	ViewAnswer    // of a checklist
	ViewReference // a name, or the names of a list
	ViewMedia     // the paths of the attachments
)

// ViewOption is a tick box of a question, and the answer that it stands for.
type ViewOption struct{ Field, Answer string }

// ViewColumn is a column of a view.
type ViewColumn struct {
	Name    string
	Kind    ViewKind
	Field   string
	Options []ViewOption // of a ViewAnswer
}

// FormView is the view of a form.
type FormView struct {
	Name       string
	ObjectType string // code
	Title      string // the form's name
	Columns    []ViewColumn
	Known      []string // the fields that are not in other_fields
}

// ViewsMade is what [DB.MakeViews] did.
type ViewsMade struct {
	Made    []string `json:"views"`
	Removed []string `json:"views_removed"` // views of forms that are no more
	Grants  int      `json:"grants_renewed"`
}

// viewBase are the columns with which every view begins.
var viewBase = [][2]string{
	{"tip", "d.tip"},
	{"inspection_id", "d.inspection_id"},
	{"inspection_date", "d.inspection_date"},
	{"processing_status", "d.processing_status"},
	{"load_compliance", "d.load_compliance"},
	{"total_attachments", "d.total_attachments"},
	{"created_at", "d.api_created_at"},
	{"modified_at", "d.api_modified_at"},
	{"folder", "d.folder"},
	{"report_path", "d.report_path"},
}

// ViewBaseColumns returns the names of the columns with which every view begins.
func ViewBaseColumns() (names []string) {
	for _, column := range viewBase {
		names = append(names, column[0])
	}
	return names
}

// sql returns the statement that makes the view.
func (v FormView) sql() string {
	var columns []string
	for _, column := range viewBase {
		columns = append(columns, column[1]+" AS "+column[0])
	}
	for _, column := range v.Columns {
		columns = append(columns, column.sql()+" AS "+pq.QuoteIdentifier(column.Name))
	}
	known := make([]string, len(v.Known))
	for i, field := range slices.Sorted(slices.Values(v.Known)) {
		known[i] = pq.QuoteLiteral(field)
	}
	columns = append(columns, `nullif(d.payload - ARRAY[`+strings.Join(known, ", ")+`]::text[], '{}'::jsonb) AS other_fields`)
	return `CREATE VIEW noggin_schema.` + pq.QuoteIdentifier(v.Name) + ` AS SELECT ` + strings.Join(columns, ",\n") + `
		FROM noggin_schema.noggin_data d WHERE d.object_type = ` + pq.QuoteLiteral(v.ObjectType) + ` AND d.payload IS NOT NULL`
}

func (c ViewColumn) sql() string {
	value := func(field string) string { return `d.payload -> ` + pq.QuoteLiteral(field) }
	text := func(field string) string { return `noggin_schema.answer_text(` + value(field) + `)` }
	switch c.Kind {
	case ViewHTML:
		return `nullif(noggin_schema.answer_plain(` + value(c.Field) + `), '')`
	case ViewNumber:
		return `noggin_schema.answer_number(` + value(c.Field) + `)`
	case ViewBool:
		return `CASE WHEN ` + text(c.Field) + ` <> '' THEN noggin_schema.answer_ticked(` + value(c.Field) + `) END`
	case ViewAnswer:
		var answers []string
		for _, o := range c.Options {
			answer := pq.QuoteLiteral(o.Answer)
			answers = append(answers, `CASE noggin_schema.answer_ticked(`+value(o.Field)+`) WHEN true THEN `+answer+` WHEN false THEN NULL ELSE `+answer+` || ': ' || `+text(o.Field)+` END`)
		}
		sql := `nullif(concat_ws(' and ', ` + strings.Join(append(answers, "NULL::text"), ", ") + `), '')`
		if len(c.Options) == 1 {
			sql = `coalesce(` + sql + `, CASE WHEN ` + text(c.Options[0].Field) + ` <> '' THEN 'No' END)`
		}
		return sql
	case ViewReference:
		field := pq.QuoteLiteral(c.Field)
		return `(SELECT string_agg(coalesce(n.entity_name, 'Unknown (' || h.hash_value || ')', nullif(btrim(noggin_schema.answer_text(e.value)), '')), ', ' ORDER BY e.n)
			FROM jsonb_array_elements(CASE jsonb_typeof(` + value(c.Field) + `) WHEN 'array' THEN ` + value(c.Field) + ` ELSE jsonb_build_array(` + value(c.Field) + `) END)
				WITH ORDINALITY AS e (value, n)
			LEFT JOIN noggin_schema.record_hashes h ON h.record_tip = d.tip AND h.field_name = ` + field + ` AND h.position = e.n - 1
			LEFT JOIN LATERAL (SELECT x.entity_name FROM noggin_schema.entity_hashes x WHERE x.hash_value = h.hash_value
				ORDER BY (x.entity_type = h.entity_type) DESC, x.updated_at DESC, x.entity_type LIMIT 1) n ON true)`
	case ViewMedia:
		return `(SELECT string_agg(a.file_path, E'\n' ORDER BY a.attachment_sequence) FROM noggin_schema.attachments a
			WHERE a.record_tip = d.tip AND a.field_name = ` + pq.QuoteLiteral(c.Field) + `)`
	default:
		return `nullif(btrim(` + text(c.Field) + `, E' \t\r\n'), '')`
	}
}

// MakeViews replaces the views of earlier forms by the given ones, in one transaction. Who
// had rights on a view has them on the new one of that name. Error: [ErrViews].
func (db *DB) MakeViews(ctx context.Context, views []FormView) (made ViewsMade, err error) {
	err = db.tx(ctx, "make the views of the forms", func(tx *sqlx.Tx) error {
		made = ViewsMade{Made: []string{}, Removed: []string{}}
		if err := db.lockSchema(ctx, tx); err != nil {
			return err
		}
		var old []struct {
			Name string `db:"name"`
			Ours bool   `db:"ours"`
		}
		if err := tx.SelectContext(ctx, &old, `
			SELECT c.relname AS name, c.relkind = 'v' AND coalesce(obj_description(c.oid, 'pg_class'), '') LIKE $2 || '%' AS ours
			FROM pg_class c WHERE c.relnamespace = to_regnamespace($1)`, pq.QuoteIdentifier(db.cfg.Schema), viewMark); err != nil {
			return err
		}
		var grants []string
		if err := tx.SelectContext(ctx, &grants, `
			SELECT format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, c.relname,
				CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) a
			WHERE n.oid = to_regnamespace($1) AND c.relkind = 'v' AND a.grantee <> c.relowner AND c.relname = ANY($2::text[])
			  AND obj_description(c.oid, 'pg_class') LIKE $3 || '%' ORDER BY 1`,
			pq.QuoteIdentifier(db.cfg.Schema), pq.Array(namesOfViews(views)), viewMark); err != nil {
			return err
		}
		for _, relation := range old {
			if !relation.Ours {
				if slices.Contains(namesOfViews(views), relation.Name) {
					return fmt.Errorf("%w: the schema has another %q: give the form another code, or rename that", ErrViews, relation.Name)
				}
				continue
			}
			if _, err := tx.ExecContext(ctx, db.sql(`DROP VIEW noggin_schema.`+pq.QuoteIdentifier(relation.Name))); err != nil {
				if e, ok := errors.AsType[*pq.Error](err); ok && e.Code == "2BP01" {
					return fmt.Errorf("%w: something of yours is built on %s, drop it and make it again afterwards: %s", ErrViews, relation.Name, strings.ReplaceAll(e.Detail, "\n", "; "))
				}
				return err
			}
			if !slices.Contains(namesOfViews(views), relation.Name) {
				made.Removed = append(made.Removed, relation.Name)
			}
		}
		for _, v := range views {
			comment := viewMark + v.ObjectType + ", " + v.Title
			if _, err := tx.ExecContext(ctx, db.sql(v.sql())); err != nil {
				return fmt.Errorf("make the view %s: %w", v.Name, err)
			}
			if _, err := tx.ExecContext(ctx, db.sql(`COMMENT ON VIEW noggin_schema.`+pq.QuoteIdentifier(v.Name)+` IS `+pq.QuoteLiteral(comment))); err != nil {
				return err
			}
			made.Made = append(made.Made, v.Name)
		}
		for _, grant := range grants {
			if _, err := tx.ExecContext(ctx, grant); err != nil {
				return err
			}
		}
		made.Grants = len(grants)
		return nil
	})
	return made, err
}

func namesOfViews(views []FormView) (names []string) {
	for _, v := range views {
		names = append(names, v.Name)
	}
	return names
}
