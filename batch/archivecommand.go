package batch

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"noggin/storage"
)

// runAfterCreate runs [archive] after_create with the archive's path as $1 and
// $NOGGIN_ARCHIVE. Where it fails, or takes the archive away, nothing is removed.
func (c *creation) runAfterCreate(ctx context.Context, archive storage.Archive) error {
	line := c.Config.Archive.AfterCreate
	if line == "" {
		return nil
	}
	c.Log.Info("running [archive] after_create", "archive", archive.Name)
	command := exec.CommandContext(ctx, "/bin/sh", "-c", line, "after_create", archive.Path)
	command.Env = append(slices.DeleteFunc(os.Environ(), isSecretVariable), "NOGGIN_ARCHIVE="+archive.Path)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = time.Minute
	read, write := io.Pipe()
	command.Stdout, command.Stderr = write, write
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			c.Log.Info("after_create: "+lines.Text(), "archive", archive.Name)
		}
		_, _ = io.Copy(io.Discard, read) // behind a line too long to be logged
	}()
	err := command.Run()
	_ = write.Close() // a pipe's close cannot fail
	<-logged
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("[archive] after_create for %s: %w: nothing was removed; the next `noggin archive create` tries again", archive.Path, err)
	}
	info, err := os.Stat(archive.Path)
	if err != nil || info.Size() != archive.SizeBytes {
		return fmt.Errorf("[archive] after_create took %s away or changed it: it has to copy, not to move; nothing was removed", archive.Path)
	}
	return nil
}

// isSecretVariable tells whether an environment variable, as NAME=value, is none
// of an operator's command's business.
func isSecretVariable(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"NOGGIN_BEARER_TOKEN", "NOGGIN_DATABASE_URL", "PGPASSWORD", "CREDENTIALS_DIRECTORY"}, name)
}
