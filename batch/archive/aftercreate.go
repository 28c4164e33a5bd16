package archive

import (
	"context"
	"fmt"
	"os"

	"noggin/batch/files"
	"noggin/storage"
)

// runAfterCreate runs [archive] after_create. The command gets the archive's path
// as $1 and $NOGGIN_ARCHIVE. When it fails, or moves or changes the archive, the
// run ends before it removes anything.
func (c *creation) runAfterCreate(ctx context.Context, archive storage.Archive) error {
	line := c.Config.AfterCreate
	if line == "" {
		return nil
	}
	c.Log.Info("running [archive] after_create", "archive", archive.Name)
	environ := append(files.Environment(commandVariables...), "NOGGIN_ARCHIVE="+archive.Path)
	err := files.RunShellLine(ctx, "after_create", line, archive.Path, environ, func(text string) {
		c.Log.Info("after_create: "+text, "archive", archive.Name)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("[archive] after_create for %s: %w: nothing was removed; the next `noggin archive create` tries again", archive.Path, err)
	}
	info, err := os.Stat(archive.Path)
	if err != nil || info.Size() != archive.SizeBytes {
		return fmt.Errorf("[archive] after_create moved or changed %s: it must copy the archive; nothing was removed", archive.Path)
	}
	return nil
}

// commandVariables are the variables that copying programs read. What else the command
// needs it sets itself: after_create = "RSYNC_PASSWORD=… rsync …".
var commandVariables = []string{
	"SHELL", "SSH_AUTH_SOCK", "XDG_*", "RSYNC_*", "RCLONE_*", "AWS_*", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
}
