// Package importcsv imports the tips of CSV exports into the queue. It reads the
// input folder or the files that the command line names. A row becomes a pending
// record.
//
// How a CSV file is decoded lives in batch/csvfile. What makes a record due lives
// in storage. Files of names are imported by batch/names, and fetched files come from
// batch/sources; the commands bring the rooms together.
//
// A file of the input folder goes this way:
//
//	input ──> settled? ──> read ──> unchanged? ──> processed   imported
//	  │          │           │           │
//	  │          no          │ no usable row      error        unusable, with a reason file
//	  │          │           │           no
//	  └ stays <──┴───────────┴───────────┘         waiting, busy, changed, failed, interrupted
//
// A file without a line end at its end settles only after ten times the time: its upload
// may have stalled.
//
// Invariants:
//
//   - A file moves only after all its usable rows are in the database.
//   - A file that changes while it is read stays for the next run.
//   - The size of a moved file of tips is looked at once more, and what grew is imported too.
//   - A moved file replaces nothing: it takes the next numbered name that is free.
//   - Only one run reads a file at a time, where the file system has locks.
//   - Importing a row again changes nothing, so a killed run does no harm.
//   - Every row is counted once: new, known, rejected or skipped, as a repeated header
//     is. Rejected rows are written to a file in the error folder; of a file of names the
//     first hundred, by their line and reason.
//   - A named file stays where it is.
//   - Memory does not grow with the file.
//   - A folder of very many files is bounded: a run looks at the oldest 100,000 of them, counts
//     those behind, takes 2,000, names 100 and logs 100 odd rows. Files that stay where they
//     are, such as folders and links, do not count as taken.
package importcsv
