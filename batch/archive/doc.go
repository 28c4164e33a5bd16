// Package archive moves the files of old records into archives, one or more for each
// month, and back. Create writes archives, Verify reads them, Restore and Forget undo
// them, and Register tells the database about an archive that it does not know.
//
// The disk itself is in package files, the queries are in package storage. Which
// records are due for archiving is decided by the caller. Around it lie the rooms format,
// the file format of archives; watch, which looks whether archives are there and says when
// to verify them; and shelf, which reads single files for exports and copies.
//
// The row of an archive in the database goes through these states:
//
//	         read back          after_create ran
//	writing ----------> verified ---------------> removing ----------> done
//	   |                    |                        ^     originals
//	   v                    | --keep                 |     removed
//	no row (damaged,        v                        |
//	empty, killed)         kept ---------------------+
//	                            a run without --keep
//
// With [archive] require_copy, originals without a verified copy stay: their archive goes
// from removing back to kept.
//
// An archive that is given up keeps its state, with lost_at: see Lose.
//
// A run that dies leaves its archive in one of these states, and the next Create
// continues from there.
//
// Invariants:
//
//   - An original is removed only after the whole archive was read back from the disk
//     and the original was looked at again. With [archive] require_copy, each file of its
//     record then has a verified copy in a second place.
//   - At any moment, also after a kill, each file is in the output folder, in
//     files.RemovingFolder or in an archive.
//   - The database has a file in the archive before the file leaves the disk.
//   - A folder that holds anything unknown or changed stays as it is and is reported.
//   - Every change of a record needs a claim on it.
//   - One run at a time works on archives: it holds the maintenance lock.
package archive
