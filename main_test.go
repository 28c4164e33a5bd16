package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
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

// Every command begins with what the packages prepare: expressions and templates that take
// long are made when they are needed.
func TestPackagesPrepareLittle(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	trace, err := child.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	const most = 300_000 // bytes; ten expressions of a line take as much
	packages := 0
	for line := range strings.Lines(string(trace)) {
		var name string
		var at, took float64
		var bytes, allocations int
		if n, _ := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes, %d allocs", &name, &at, &took, &bytes, &allocations); n < 5 {
			continue
		}
		packages++
		if bytes > most && strings.HasPrefix(name, "noggin/") {
			t.Errorf("%s prepares %d bytes at the start of every command, more than %d", name, bytes, most)
		}
	}
	if packages < 20 {
		t.Errorf("%d packages in the trace:\n%s", packages, trace)
	}
}
