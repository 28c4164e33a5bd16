// Command pgtemp runs a command beside a private PostgreSQL server, which ends with the
// command:
//
//	pgtemp [--fsync] [--tests] -- COMMAND [ARGUMENT…]
//
// $NOGGIN_DATABASE_URL leads the command to an empty database. With --tests,
// $NOGGIN_TEST_DATABASE_URL leads it to the server, on which package storagetest makes
// a database for each test of a whole test run. pgtemp removes libpq's own variables
// from the command's environment. It passes SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 on to
// the command and ends with the command's exit code.
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

const (
	database = "noggin_db"
	// testConnections is enough for many packages with parallel tests.
	testConnections = "1000"
)

// The exit codes of env(1) and of a shell for a command that did not run or was killed
// by a signal.
const (
	exitUsage    = 125
	exitNotFound = 127
	exitSignal   = 128
)

func main() {
	options := storagetest.Options{}
	flag.BoolVar(&options.Fsync, "fsync", false, "make commits survive a crash of the machine, as in production")
	tests := flag.Bool("tests", false, "share the server among the tests that the command runs")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: pgtemp [--fsync] [--tests] -- COMMAND [ARGUMENT…]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(exitUsage)
	}
	if *tests {
		options.Settings = map[string]string{"max_connections": testConnections}
	}
	code, err := run(options, *tests, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtemp:", err)
	}
	os.Exit(code)
}

// run runs the command beside a new server and returns its exit code.
func run(options storagetest.Options, tests bool, command []string) (code int, err error) {
	program, err := exec.LookPath(command[0])
	if err != nil {
		return exitNotFound, err
	}
	// A terminal sends these signals to the command too. pgtemp catches them, so that it
	// does not end first, and does not pass them on, so that the command gets them once.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGQUIT)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	server, err := storagetest.Start(options)
	if err != nil {
		return exitUsage, fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	variable := storagetest.EnvURL + "=" + server.URL("postgres")
	if !tests {
		variable = "NOGGIN_DATABASE_URL=" + server.URL(database)
		if err := server.CreateDatabase(database); err != nil {
			return exitUsage, err
		}
	}
	cmd := exec.Command(program, command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), variable)
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
