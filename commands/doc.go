// Package commands is the command line: one file a command, each a constructor,
// its options and a run function. Around them live what all of them share: flags
// and their order (app.go, permute.go), configuration (config.go, settings.go,
// token.go), logs, results and progress (logging.go, output.go, progress.go), and
// the one place where errors become exit codes (exit.go).
//
// The work itself is not here: it is in batch, api and storage.
package commands
