// Package seal keeps a log of what was mirrored, proves that nothing of it was changed
// since, and checks such proofs without the database.
//
// A leaf of the log holds what noggin knows of one version of a record: its tip, its sid,
// the SHA-256 of its body, and the tip, size and SHA-256 of each attachment (leaf.go says
// how it is written). The leaves form the Merkle tree of RFC 6962, by
// golang.org/x/mod/sumdb/tlog. A checkpoint is its size and root, signed with Ed25519 in
// the note format of sumdb/note. Whoever holds one checkpoint can tell whether a later log
// still begins with the same leaves.
//
//	noggin_data ─trigger─> seal_due ─> leaves + tiles + checkpoint ─> read back, verify ─> [paths] checkpoints ─> [seal] publish
//	                       (a mark)    (one transaction, locked)                           (leaves first)          (again by the next run)
//
// What the folder of checkpoints knows and the database does not, because an older backup
// was restored, is taken back from there (settle.go). Without the leaves a new log begins,
// whose first leaf says why. Without published checkpoints nothing is sealed.
//
// Invariants:
//
//   - A leaf never changes and is never removed.
//   - Leaves, tiles and the checkpoint that has them commit together or not at all.
//   - A mark in seal_due goes in the transaction that seals its record; what changes the
//     record meanwhile marks it again.
//   - Nothing is published that was not read back and verified against the signature.
//   - Nothing published is replaced. A log that does not continue it is not appended to.
//   - The proof of a leaf, and the seal of a day, read O(log n) hashes.
package seal
