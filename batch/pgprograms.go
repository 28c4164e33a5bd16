package batch

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
)

// programFolders is where distributions keep each version of PostgreSQL's
// programs; what Debian has on the PATH is a wrapper that chooses one by rules of
// its own, so that it comes last.
var programFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}

var programVersion = regexp.MustCompile(`\(PostgreSQL\) ([0-9]+)`)

// findProgram returns the path of one of PostgreSQL's programs whose major version
// is the server's, or the next newer: an older one refuses, and what a newer one
// writes the server may not understand.
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
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			continue // not there, or not for us
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

// runProgram runs a program, which ends with ctx, and with this process however
// that ends. The error holds the last of what it complained of.
func runProgram(ctx context.Context, environ []string, path string, args ...string) error {
	// The kernel sends Pdeathsig when the thread that started the program ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environ
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
