// Package claims takes and renews the claims of commands that change records outside
// `noggin process`.
//
//	NewKeeper ─→ Take ─→ write under the claims ─→ GiveBack ─→ Take …
//	Keep runs beside it and renews what is taken
//
// What claims promises:
//
//   - A record that a run has claimed is not taken. The caller holds the maintenance lock,
//     so claims of an earlier archive command that did not end count as free.
//   - A keeper holds one group of claims at a time. It gives the group back before it
//     takes the next.
//   - A claim that cannot be renewed or given back ends with its lease.
//   - Whether a claim is still held is decided by the write that needs it: storage
//     checks the token. A keeper only renews.
//
// process has its own lease, because its claims come and go one by one.
package claims
