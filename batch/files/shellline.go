package files

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// shellLine has the shell run the line that stands in its environment. On its own command
// line every user of the host could read it.
const shellLine = `noggin_line=$NOGGIN_LINE; unset NOGGIN_LINE; eval "$noggin_line"`

// RunShellLine runs a line of the configuration, which may hold a password, in a shell. The
// line gets path as $1 and environ as its environment; say gets each line that it prints.
// When ctx ends, the shell and what it runs are told to end.
func RunShellLine(ctx context.Context, name, line, path string, environ []string, say func(text string)) error {
	command := exec.CommandContext(ctx, "/bin/sh", "-c", shellLine, name, path)
	command.Env = slices.Concat(environ, []string{"NOGGIN_LINE=" + line})
	command.Cancel = func() error { return terminate(command.Process) }
	command.WaitDelay = time.Minute
	read, write := io.Pipe()
	command.Stdout, command.Stderr = write, write
	said := make(chan struct{})
	go func() {
		defer close(said)
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			say(withoutSource(lines.Text(), line))
		}
		_, _ = io.Copy(io.Discard, read) // the rest behind a line that is too long
	}()
	err := command.Run()
	_ = write.Close() // a pipe's close cannot fail
	<-said
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// terminate asks a process and those that it started to end.
func terminate(process *os.Process) error {
	started := startedBy(process.Pid) // once it has ended, they are no longer its own
	err := process.Signal(syscall.SIGTERM)
	for _, pid := range started {
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended meanwhile
	}
	return err
}

// startedBy returns the processes that a process started, and those that these started.
func startedBy(pid int) (started []int) {
	listed, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // some kernels do not tell
	for _, text := range strings.Fields(string(listed)) {
		if child, err := strconv.Atoi(text); err == nil {
			started = append(append(started, child), startedBy(child)...)
		}
	}
	return started
}

// withoutSource leaves out the source line that bash prints with an error of syntax.
func withoutSource(text, source string) string {
	for line := range strings.SplitSeq(source, "\n") {
		if line != "" {
			text = strings.ReplaceAll(text, "`"+line+"'", "(the line)")
		}
	}
	return text
}
