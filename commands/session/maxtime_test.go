package session

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/config"
)

// A command that waits for the database longer than --max-time would not end in time.
func TestMaxTimeWinsOverRetryFor(t *testing.T) {
	t.Setenv("NOGGIN_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte("[database]\nretry_for = \"20s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets := new(config.Secrets)
	open := &Opener{Console: NewConsole(nil, io.Discard, secrets), Secrets: secrets}
	for limit, want := range map[string]time.Duration{"5s": 5 * time.Second, "1h": 20 * time.Second, "": 20 * time.Second} {
		args := []string{"noggin", "--config", path, "copy"}
		if limit != "" {
			args = append(args, "--max-time", limit)
		}
		read := false
		app := &cli.App{
			Flags: []cli.Flag{&cli.StringFlag{Name: "config"}},
			Commands: []*cli.Command{{
				Name: "copy", Flags: []cli.Flag{cmdline.DurationFlag("max-time", "", 1)},
				Action: func(c *cli.Context) error {
					s, err := open.With(c, func(cfg *config.Config) {
						if read = true; cfg.Storage.RetryFor != want {
							t.Errorf("with --max-time %q the database is tried for %s", limit, cfg.Storage.RetryFor)
						}
					})
					if err != nil {
						return err
					}
					defer s.Close()
					if s.Config.Storage.StatementTimeout == 0 {
						t.Error("a statement may take for ever")
					}
					long, err := open.Unbound(c)
					if err != nil {
						return err
					}
					defer long.Close()
					if limit := long.Config.Storage.StatementTimeout; limit != 0 {
						t.Errorf("a statement of a long command ends after %s", limit)
					}
					return nil
				},
			}},
		}
		if err := app.Run(args); err != nil || !read {
			t.Error(err, read)
		}
	}
}
