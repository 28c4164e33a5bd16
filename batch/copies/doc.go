// Package copies keeps a copy of every file in a second place: attachments, former files,
// text reports, the backups of the database, and the log of `noggin seal`. It copies what
// is due, verifies copies, removes those whose originals are replaced, and puts files back.
//
// How a folder or a bucket is written lives in package place, below. Which files are due
// is decided by triggers of the database. A file that left the disk is read out of its
// archive by archive/shelf.
//
//	   triggers, walk                 Put, then the row
//	file ------------> due ------------------------------------> copied
//	                    ^  \ damaged, missing: due again later      |
//	                    |   \ not the database's any more: dropped  | Verify
//	                    |                                           v
//	                    +---- missing, damaged ---- problem <--- verified
//	                                                                |
//	     a newer report was copied, rotation removed the backup     v
//	     no row, no object <------------------------------------ obsolete
//
// Invariants:
//
//   - A key ends in the SHA-256 of its content, so no copy is ever replaced by another content.
//   - A file counts as copied only after its content, as it was read, had the recorded
//     SHA-256 and the target had it whole.
//   - Nothing is listed to find what is due, but the files of the log: a run asks for due
//     rows until there are none.
//   - Any number of hosts share the work by leases. A file that two hosts copy is copied once.
//   - A run that is killed leaves due rows, which are due again when their lease ends.
//   - A target that is away ends the run and counts against no file.
//   - Restoring replaces nothing, and writes only content with the recorded SHA-256. Only on
//     demand it believes the SHA-256 in a key of which the database knows nothing.
package copies
