// Package names gives entity hashes their names. It imports files of names, asks the API
// for names, exports the unknown hashes for people to fill in, and heals the records that
// show a name which changed.
//
// How a record gets its names when it is fetched lives in batch/process and
// storage. How a text report looks lives in batch/textreport.
//
//	file of names ──> Import ──> entity_hashes ──> records marked stale ──> Heal
//	     ^                            │                                      │
//	     │ filled in by people        │ no name                    columns, text report
//	     └── WriteUnknown <── unknown_hashes ──> Fetch ──> the API's names ──> entity_hashes
//
// Healing passes over the marked records until none is left that it can claim:
//
//	claim a batch ──> write its reports ──> save columns, free the claims
//	      ^                                          │
//	      └──────────── next batch, next pass <──────┘
//
// Invariants:
//
//   - A hash names one object, whatever its type. It shows the name of the type that the
//     field suggests; without one, the name of any type that was updated last.
//   - Healing sends no request to the API: a report is written from the stored answer.
//   - A record stays marked until its columns and its report show the same names.
//   - A healer writes no report when the end of its lease is near.
//   - Columns are healed even if the report cannot be written.
//   - Every row of a file of names is counted once: imported, left out or bad.
//   - An import is one transaction. A dry run writes nothing.
//   - A cell that a spreadsheet might run as a formula is guarded in an export and
//     unguarded in an import.
package names
