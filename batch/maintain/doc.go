// Package maintain does the periodic work on database, disk and backups: the weekly and
// monthly lists of the operations manual and their steps, the space emergency, and the
// plan to restore a backup.
//
// It removes no original of a record: in an emergency it calls package archive, which
// does. What is wrong with single records or files is found by package validate.
//
//	Weekly, Monthly      lists of steps, run by RunSteps
//	Analyze … Prune      steps on tables and indexes
//	Backup, VerifyBackup pg_dump with a manifest, pg_restore on trial
//	SweepTemp, reviews   unfinished files, and what a person should look at
//	Emergency            temp -> backups -> errors -> archive, until enough is free
//	PlanRestore          the commands of a recovery, which a person runs
//
// Invariants:
//
//   - A backup has its final name whole and with a manifest, or not at all.
//   - A trial restore never touches the database itself: it has a database of its own.
//   - Rotation removes no broken backup, never the newest good backup and never the
//     newest backup that was verified.
//   - Rotation touches only backups of this database and schema.
//   - A step that fails stops no other step of its list.
//   - An emergency changes nothing without Yes.
//   - A plan is only printed.
package maintain
