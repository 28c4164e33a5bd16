// Package batchtest holds what the tests of several rooms share: a Mirror, which is a
// processor with its own database, simulated API and output folder. Helpers of a
// single room stay in that room's tests.
//
// It imports batch/process and everything below it. A test of one of those rooms must
// therefore be an external one (package names_test) to use it.
//
// Invariants:
//
//   - Every Mirror has an empty database and an empty folder, so tests run in parallel.
//   - Execute breaks no claim: its SQL runs as noggin's own does.
package batchtest
