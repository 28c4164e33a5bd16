// Package copies has the commands of noggin copy, one file each: it reads their flags,
// has batch/copies do the work, and prints what was done.
//
// What is copied, and what counts as copied, is decided in batch/copies.
//
// Invariants:
//   - What could not be copied, verified or restored is printed, and makes the exit code 3.
//   - Without [copy] to, what timers start does nothing and ends with 0.
package copies
