// Package textreport writes the text report of a record: a page that shows the whole
// inspection to people.
//
//	form + record + names + attachments ─→ sections ─→ labels, wrapped lines ─→ file
//	                                         │
//	                             rich text ─→ plain text
//
// What textreport promises:
//
//   - The same input gives the same bytes, so a renewed report does not differ needlessly.
//   - Every answer of the inspection is on the page, also of fields that no form lists.
//   - Text from outside cannot forge a line of the page, steer a terminal or turn the
//     direction of text. It never shows the namespace.
//   - Rich text is read once from front to back, however deep its markup is nested.
//   - The file appears whole or not at all.
//
// Which records need a new report is decided in process and names.
package textreport
