// Package validate looks for what is wrong with the database, the data, the files and
// the disk, and mends what it can mend safely. The areas configuration and API need
// the configuration file and the token: commands checks them and uses [Area] too.
// The rules of the data and their SQL are in storage; here are their remedies.
//
//	Database  the server, the role's rights, the schema against schema.sql
//	Data      the rules of the data
//	Files     every file that the database names, every file in the output folder
//	Folders   the configured folders;  Disk: their volumes
//	Quick     what an hourly alert needs: disk, and the flags of room health
//
// Files compares in pages, so that its memory does not grow with the mirror:
//
//	read a page of records ──> compare with the disk ──> problems? ──> read the records again
//	                                ^                                   │ changed: compare again
//	                                └───────────────────────────────────┤ claimed: left out
//	                                                                    └ unchanged: a finding
//
// Invariants:
//   - Without Fix nothing is changed, neither in the database nor on disk, except that Quick
//     records when it saw the archives.
//   - A record that a run works on is never a finding.
//   - Fix removes no file but noggin's own old temporary files.
//   - A missing file is looked for in the manifests of all archives before it counts as
//     lost. Fix then registers the archive: the database's hash decides what is in it.
//   - Fix queues lost files again only while most files are there: otherwise the
//     volume is probably the wrong one.
//   - The name of a check never changes: scripts and alerts use it.
//   - A failure of the database or the schema is a finding, not an error, and the
//     area is marked as not checked to the end.
package validate
