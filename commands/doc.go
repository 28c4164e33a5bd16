// Package commands is the command line of noggin: one file a command, named after it,
// each a constructor, its options and a run function. Commands that have commands are
// packages of their own. [Run] reads the command line, runs the command that it names,
// and turns its error into the exit code.
//
// What all commands share lies below, and each package imports only those before it:
//
//	show      results on stdout: tables, sheets, JSON, CSV
//	cmdline   the command line: order of flags, help, completion, usage errors, exit codes
//	config    the configuration file, the token, and secrets that no log may repeat
//	session   the database of a command, its run, its log, progress and questions
//	archive, hashes, maintain, report, setup, validate
//	          the commands of that name; none knows another
//
// The manual pages are made by manpages, from the guide in manual and [Tree]; bench
// and demo run the built program.
//
// The work itself is not here: it is in batch, api and storage. A constructor gets the
// [session.Opener]; a run function gets the session that was opened, or just the database,
// and what else it needs.
package commands
