// Package report has the commands of noggin report, one file each: it reads the state
// of the mirror and shows it as text, JSON or CSV, as a page (html, its template
// html.gohtml) or as metrics.
//
// What needs attention, and what to do about it, is judged in batch; sentences and
// columns are made here, and laid out by show.
//
// Invariants:
//   - A report changes no record, and makes no other command wait. It takes samples for
//     its own history, and sums up counts.
//   - The time is the server's, in the site's zone: [reporter].now.
//   - Records and attachments stream in JSON and CSV: memory does not grow with their
//     number.
package report
