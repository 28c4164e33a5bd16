// Package archive has the commands of noggin archive, one file each: it reads their
// flags, has batch/archive do the work, and prints what was done.
//
// What is archived, how an archive is written, and what is compared before anything is
// removed is decided in batch/archive.
//
// Invariants:
//   - Whatever changes an archive waits for the maintenance lock as long as --wait says,
//     and ends the run that batch/archive began.
//   - What was left undone is printed, and makes the exit code 3.
package archive
