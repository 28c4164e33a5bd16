package maintain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"noggin/batch/files"
)

// programFolders are the folders in which distributions install each version of
// PostgreSQL's programs. They come before the PATH: Debian's programs there are
// wrappers that choose a version by themselves.
var programFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}

var programVersion = regexp.MustCompile(`\(PostgreSQL\) ([0-9]+)`)

// findProgram returns the path of one of PostgreSQL's programs in the server's major
// version or else the next newer one. An older program refuses to work. The server
// may not understand what a much newer one writes.
func findProgram(ctx context.Context, name string, major int) (string, error) {
	var folders []string
	for _, pattern := range programFolders {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		folders = append(folders, found...)
	}
	folders = append(folders, filepath.SplitList(os.Getenv("PATH"))...)
	best, bestMajor := "", 0
	var others []string
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		ask := exec.CommandContext(ctx, path, "--version")
		ask.Env = files.Environment()
		out, err := ask.Output()
		if err != nil {
			continue // it is missing or cannot be run
		}
		match := programVersion.FindSubmatch(out)
		if match == nil {
			continue
		}
		version, _ := strconv.Atoi(string(match[1])) // all digits
		if version < major {
			others = append(others, strconv.Itoa(version))
		} else if best == "" || version < bestMajor {
			best, bestMajor = path, version
		}
	}
	if best != "" {
		return best, nil
	}
	found := "there is none"
	if len(others) > 0 {
		slices.Sort(others)
		found = "there is only version " + strings.Join(slices.Compact(others), ", ")
	}
	return "", fmt.Errorf("look for %s of PostgreSQL %d or newer: %s in %s or on the PATH: install postgresql-client-%d",
		name, major, found, strings.Join(programFolders, ", "), major)
}

// runProgram runs a program until it ends, ctx ends or this process ends, even by a
// kill. The error holds the end of what the program wrote to stderr.
func runProgram(ctx context.Context, environ []string, stdin *os.File, path string, args ...string) error {
	// The kernel sends Pdeathsig when the thread that started the program ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environ
	if stdin != nil { // an *os.File that is nil is no nil io.Reader
		cmd.Stdin = stdin
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	const limit = 1000
	said := strings.TrimSpace(stderr.String())
	if len(said) > limit {
		said = "…" + said[len(said)-limit:]
	}
	if said == "" {
		said = err.Error()
	}
	name := filepath.Base(path) + ": "
	return errors.New(name + strings.ReplaceAll(strings.ToValidUTF8(said, "?"), name+"error: ", ""))
}
