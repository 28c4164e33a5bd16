// Command pgtemp runs a command beside a private PostgreSQL server, which is
// there as long as the command runs:
//
//	pgtemp [--fsync] -- COMMAND [ARGUMENT…]
//
// The command finds an empty database at $NOGGIN_DATABASE_URL; libpq's own
// variables are taken from its environment. SIGTERM, SIGHUP and the user's
// signals are passed on to it, and its exit code is pgtemp's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"noggin/storage/storagetest"
)

const database = "noggin_db"

// The exit codes of env(1) and of a shell for a command that did not run or
// was killed.
const (
	exitUsage    = 125
	exitNotFound = 127
	exitSignal   = 128
)

func main() {
	options := storagetest.Options{}
	flag.BoolVar(&options.Fsync, "fsync", false, "have commits survive a crash of the machine, as in production")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: pgtemp [--fsync] -- COMMAND [ARGUMENT…]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(exitUsage)
	}
	code, err := run(options, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtemp:", err)
	}
	os.Exit(code)
}

// run returns the exit code of the command beside a new server.
func run(options storagetest.Options, command []string) (code int, err error) {
	program, err := exec.LookPath(command[0])
	if err != nil {
		return exitNotFound, err
	}
	// A terminal sends these to the command as well, which must not get them
	// twice: caught, so that they do not end us before it, but not passed on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGQUIT)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	server, err := storagetest.Start(options)
	if err != nil {
		return exitUsage, fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := server.CreateDatabase(database); err != nil {
		return exitUsage, err
	}
	cmd := exec.Command(program, command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "NOGGIN_DATABASE_URL="+server.URL(database))
	if err := cmd.Start(); err != nil {
		return exitNotFound, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
