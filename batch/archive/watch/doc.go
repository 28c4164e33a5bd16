// Package watch looks after archives, which may be the only copy of their files: whether
// each file is there and in full size, and which archives are to be verified next. It only
// looks; batch/health judges what it sees, and batch/archive verifies.
//
// A folder is told as a whole: where it is missing, empty or silent, its volume is not
// mounted, and nothing is known about the archives in it.
//
// Invariants:
//
//   - A look ends within its patience, also on a network volume that does not answer.
//   - This host answers for the archives that it wrote or registered. For another host's it
//     answers only when no host has seen them for a day.
//   - When [Due] is followed every week, each archive is verified once in a quarter.
package watch
