// Package session is what a command works with: an [Opener] reads the configuration
// and opens a [Session] on the database; the [Console] is its log, its progress bar, its
// questions and its last word on stderr; the record selector reads the flags that
// choose records; [ExitCode] judges errors.
//
// Results are printed by show, and what a command does is in the command.
//
// Invariants:
//   - A run that a command begins is ended by [Session.Recorded], with the exit code
//     that the process ends with, also when its context has ended.
//   - Everything on stderr but the progress bar goes through the guard of the secrets,
//     in whole lines.
//   - An error becomes an exit code in one place. Whatever fails after a signal is the
//     signal's doing.
package session
