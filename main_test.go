package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"noggin/commands"
)

// childVariable makes the test's program a command that does not come to an end.
const childVariable = "NOGGIN_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		ctx := untilSignal()
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println(errors.Is(context.Cause(ctx), commands.ErrInterrupted))
		select {}
	}
	os.Exit(m.Run())
}

func TestTheFirstSignalAsksAndTheSecondEnds(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childVariable+"=1")
			stdout, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			for _, want := range []string{"ready", "true"} {
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("got %q, want %q", lines.Text(), want)
				}
				if err := child.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			var exit *exec.ExitError
			if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != commands.ExitInterrupted {
				t.Errorf("got %v, want exit code %d", err, commands.ExitInterrupted)
			}
		})
	}
}
