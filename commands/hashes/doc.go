// Package hashes has the commands of noggin hashes, one file each: it reads their
// arguments, has batch/names import, export and heal names, and prints what changed.
//
// Which rows of a file are names, and how records are renewed, is decided in batch/names.
//
// Invariants:
//   - Whatever changes names is a run of its own and then renews the records that show
//     them, or says how many still wait.
//   - A text in CSV is never a formula for a spreadsheet, and an import takes back what
//     export-unknown or a list with --raw wrote.
package hashes
