// Command noggin mirrors inspection records from the Noggin platform into
// PostgreSQL and their photographs onto disk.
package main

import (
	"context"
	_ "embed"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // `timezone` works on hosts without a zone database

	"noggin/commands"
)

// version is set by the linker.
var version string

//go:embed schema.sql
var schema string

//go:embed config.example.toml
var exampleConfig string

func main() {
	streams := commands.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	assets := commands.Assets{Schema: schema, ExampleConfig: exampleConfig, Version: version}
	os.Exit(commands.Run(untilSignal(), os.Args, streams, assets))
}

// untilSignal returns a context that the first SIGINT or SIGTERM cancels, so that a
// command can finish its claimed records. The second signal ends the process at once.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel(commands.ErrInterrupted)
		<-signals
		os.Exit(commands.ExitInterrupted)
	}()
	return ctx
}
