// Command bench measures noggin side by side with other programs on the same machine:
// the real binary beside curl, psql, tar and plain SQL, on a private PostgreSQL with
// fsync and the simulated API.
//
//	group → mirror (database, folders, configuration) → rounds → medians → ratio
//
// A group is a set of measurements that share their preparation; the function groups
// lists them. The README beside this file holds the figures and says where the time goes.
//
//   - Both sides of a comparison run alternately, so that a slow minute hurts both.
//   - It states what was measured: medians, and ratios of medians. It judges nothing.
//     Seconds differ from machine to machine, ratios less so.
//   - Earlier writes are flushed before a measurement that writes files.
//   - Every measurement of a drain begins with a new database.
package main
