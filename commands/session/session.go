package session

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/api"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/show"
	"noggin/storage"
)

// Opener opens the session of a command.
type Opener struct {
	Console *Console
	Secrets *config.Secrets // that the configuration adds to
	Version string          // of the program, for the record of runs
}

// Session is what a command that needs the database works with.
type Session struct {
	Config  *config.Config
	Types   *forms.ObjectTypes
	DB      *storage.DB
	Console *Console
	Log     *slog.Logger
	Version string
	Command string // as the database and the record of runs name it
	Secrets *config.Secrets
}

// Config reads the configuration that the command line and the environment ask for. The
// file may be a pipe, such as that of a program that keeps secrets.
// Everything wrong with it is in the one error.
func (o *Opener) Config(c *cli.Context) (*config.Config, error) {
	path, named := c.String("config"), true
	if path == "" {
		path, named = config.DefaultPath, false
	}
	cfg, err := files.Wait(c.Context, func() (*config.Config, error) { return config.Load(path, named, os.Getenv) })
	if err != nil {
		return nil, err
	}
	cfg.Hide(o.Secrets)
	if o.Console != nil {
		if cfg.Path == "" {
			o.Console.missing = path
		}
		o.Console.noDatabase = cfg.Storage.URL == "" && os.Getenv("PGHOST") == "" && os.Getenv("PGSERVICE") == ""
	}
	return cfg, nil
}

// Session reads the configuration and prepares the database; the first statement
// connects. The caller closes the session.
func (o *Opener) Session(c *cli.Context) (*Session, error) {
	return o.With(c, func(*config.Config) {})
}

// Unbound opens a session whose statements may take as long as they need.
func (o *Opener) Unbound(c *cli.Context) (*Session, error) {
	return o.With(c, func(cfg *config.Config) { cfg.Storage.StatementTimeout = 0 })
}

// Ready is [Opener.Unbound] and checks the schema, for commands that must not fail
// half-way.
func (o *Opener) Ready(c *cli.Context) (*Session, error) {
	s, err := o.Unbound(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.DB.Standing(c.Context); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// With opens a session after change has changed the configuration. --max-time of the
// command wins over [database] retry_for.
func (o *Opener) With(c *cli.Context, change func(*config.Config)) (*Session, error) {
	cfg, err := o.Config(c)
	if err != nil {
		return nil, err
	}
	if limit := c.Duration("max-time"); limit > 0 {
		cfg.Storage.RetryFor = min(cfg.Storage.RetryFor, limit)
	}
	change(cfg)
	return o.Configured(cfg, cmdline.CommandName(c))
}

// Configured opens a session with a configuration that was read before.
func (o *Opener) Configured(cfg *config.Config, command string) (*Session, error) {
	types, err := cfg.Batch.Forms()
	if err != nil {
		return nil, err
	}
	db, err := storage.Open(cfg.Storage, command)
	if err != nil {
		return nil, err
	}
	return &Session{
		Config: cfg, Types: types, DB: db, Console: o.Console, Log: o.Console.Logger, Version: o.Version, Command: command, Secrets: o.Secrets,
	}, nil
}

// Close closes the database; nothing is left to be lost.
func (s *Session) Close() { _ = s.DB.Close() }

// Output is the output of the command, which shows the beginnings of tips that are
// unique in the database.
func (s *Session) Output(c *cli.Context) show.Output {
	out := cmdline.Output(c)
	out.Neighbours = func(tips []string) ([]string, error) { return s.DB.TipNeighbours(c.Context, tips) }
	return out
}

// Client returns the configuration of the API client, complete and with its token.
func (s *Session) Client() (api.Config, error) { return s.Config.Client(s.Secrets, s.Version) }

// Recorded does the work of a command as a run of its own. The run begins before do,
// which gets its id, and ends with do's summary and error. Recorded returns do's
// error, or why the run could not begin: then do is not called.
func (s *Session) Recorded(ctx context.Context, command string, do func(run int64) (summary any, err error)) error {
	run, err := s.DB.StartRun(ctx, command, s.Version)
	if err != nil {
		return err
	}
	summary, err := do(run)
	s.Ended(ctx, run, summary, err)
	return err
}

// endTime is how long a run's end may take to be recorded. It is part of the 15 s after
// stop_grace that a run may take.
const endTime = 4 * time.Second

// Ended records how a run ended, even when ctx has ended. It is for runs that batch
// begins; a command begins its own with [Session.Recorded].
func (s *Session) Ended(ctx context.Context, run int64, summary any, err error) {
	limit := endTime
	if errors.Is(err, storage.ErrUnavailable) { // this will probably not be recorded either
		limit = time.Second
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	message := ""
	if err != nil {
		message = err.Error()
	}
	if err := s.DB.FinishRun(ending, run, ExitCode(ctx, err), message, summary); err != nil {
		s.Log.Warn("the run's end could not be recorded", "run_id", run, "error", err)
	}
	s.Sample(ending)
}

// Sample stores the state of the mirror for the reports, unless the last sample is
// recent.
func (s *Session) Sample(ctx context.Context) {
	if err := health.Sample(ctx, s.DB, s.Config.Batch.Paths.Output); err != nil && ctx.Err() == nil {
		s.Log.Warn("no sample could be taken for the reports", "error", err)
	}
}

// PauseText is how long a pause lasts, and why.
func PauseText(until *time.Time, reason string) string {
	if until == nil {
		return "until `noggin maintain resume`: " + show.Printable(reason)
	}
	return "until " + show.Time(*until) + ": " + show.Printable(reason)
}
