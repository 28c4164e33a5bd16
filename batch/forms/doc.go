// Package forms knows the forms: their fields, how a record's answer is read, stored and
// named. A form is data. A new one is an entry in builtin.go, or an [[object_type]] table
// of the configuration; no other code changes.
//
//	built-in + configuration ── New ──→ ObjectTypes, checked
//	                                        │ ByCode, ByIDField
//	                                        ↓
//	answer of the API ── ParseRecord ──→ Record: id, day, columns, references,
//	                                     attachments, Stored, Warnings
//	id, day, tip ── FolderName, AttachmentName, ReportName ──→ names on disk
//
// What forms promises:
//
//   - A payload field belongs to one part of its form. [New] reports every conflict.
//   - Nothing of a payload is lost. A field that no form lists is stored, printed and
//     searched for media references like any other.
//   - [ParseRecord] accepts every JSON object that is not nested too deep. What it cannot
//     read becomes a warning.
//   - A stored payload, read back from the database, gives the same [Record].
//   - The inspection day is the day that the site wrote. No time zone moves it.
//   - A name made from a hostile text stays one safe path component of bounded length.
//   - No warning holds the tenant's namespace.
//
// Network, database, disk and clock do not belong here. Writing files is the work of
// files, printing a record that of textreport.
package forms
