package commands

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

// session is what a command that needs the database works with.
type session struct {
	cfg   *config
	types *batch.ObjectTypes
	db    *storage.DB
}

// open reads the configuration and prepares the database; no connection is made
// yet. The caller closes it.
func (env *environment) open(c *cli.Context) (*session, error) {
	return env.openWith(c, func(*config) {})
}

// openUnbound is open for a command whose statements may take as long as they need.
func (env *environment) openUnbound(c *cli.Context) (*session, error) {
	return env.openWith(c, func(cfg *config) { cfg.storage.StatementTimeout = 0 })
}

// openReady is openUnbound for a command that would do harm by halves: the schema is
// known to be there.
func (env *environment) openReady(c *cli.Context) (*session, error) {
	s, err := env.openUnbound(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.db.Standing(c.Context); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// openWith is open with a change to the configuration.
func (env *environment) openWith(c *cli.Context, change func(*config)) (*session, error) {
	cfg, err := env.config(c)
	if err != nil {
		return nil, err
	}
	types, err := cfg.batch.Forms()
	if err != nil {
		return nil, err
	}
	change(cfg)
	db, err := storage.Open(cfg.storage, commandName(c))
	if err != nil {
		return nil, err
	}
	return &session{cfg: cfg, types: types, db: db}, nil
}

// close closes the database; nothing is left to be lost.
func (s *session) close() { _ = s.db.Close() }

// pausedLine is what a command prints that does nothing during a maintenance
// pause.
func pausedLine(standing storage.Standing) string {
	return "paused " + pauseText(standing.PausedUntil, standing.PauseReason) + "; nothing was done"
}

// pauseText is how long a pause lasts, and why.
func pauseText(until *time.Time, reason string) string {
	if until == nil {
		return "until `noggin maintain resume`: " + printable(reason)
	}
	return "until " + until.Format("2006-01-02 15:04") + ": " + printable(reason)
}

// endRun records how a run ended, also when its own context has.
func (s *session) endRun(ctx context.Context, env *environment, id int64, summary any, err error) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	message := ""
	if err != nil {
		message = err.Error()
	}
	if err := s.db.FinishRun(ending, id, exitCode(ctx, err), message, summary); err != nil {
		env.log.Warn("the run's end could not be recorded", "run_id", id, "error", err)
	}
	s.sample(ending, env)
}

// sample keeps the state of the mirror for the reports, now and then.
func (s *session) sample(ctx context.Context, env *environment) {
	if err := batch.Sample(ctx, s.db, s.cfg.batch.Paths.Output); err != nil && ctx.Err() == nil {
		env.log.Warn("no sample could be taken for the reports", "error", err)
	}
}
