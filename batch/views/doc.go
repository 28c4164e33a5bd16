// Package views makes a view of the database for each form, so that Excel, Power BI,
// Metabase and psql read inspections without JSON.
//
//	form ── Of ──→ columns with names and kinds ──→ storage ──→ view noggin_schema.lcd
//
// What views promises:
//
//   - Every field of the form is a column: a text, a number, a yes or no, or a name. What
//     the form does not list is in other_fields.
//   - A column has the name of its label, so it stays as long as the label does.
//   - A checklist's answer is the text that the text report shows.
//   - Who could read a view can read its new form.
//
// The SQL is in package storage.
package views
