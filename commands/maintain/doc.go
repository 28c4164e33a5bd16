// Package maintain has the commands of noggin maintain, one file each: single steps, the
// weekly and monthly lists, backups, pause and resume, and the emergency.
//
// What a step does is in batch/maintain. Which steps a list has, and how a run of them is
// recorded, is there too.
//
// Invariants:
//   - Steps run under the maintenance lock. Pause, resume, reset-circuit, backups and
//     restore-plan take no lock: in an emergency they must not wait.
//   - backups and restore-plan need no database.
package maintain
