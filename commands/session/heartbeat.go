package session

import (
	"context"

	"noggin/api"
	"noggin/commands/cmdline"
)

// Heartbeat tells the monitor of [notify] heartbeat_url that a run begins. end tells it
// how the run ended, and never fails.
func (s *Session) Heartbeat(ctx context.Context) (end func(error)) {
	beat, err := s.Config.Notify.Begin(s.sender())
	if err != nil {
		s.Log.Warn("the monitor is not told of this run", "error", err)
		return func(error) {}
	}
	return func(err error) {
		code := ExitCode(ctx, err)
		if code == cmdline.ExitInterrupted {
			beat.Cancel()
			return
		}
		text := "done"
		if err != nil {
			text = string(s.Secrets.Hide([]byte(oneLine(err.Error()))))
		}
		if err := beat.End(code == cmdline.ExitDone || code == cmdline.ExitPartial, code, text); err != nil {
			s.Log.Warn(err.Error())
		}
	}
}

// sender is what receivers of notices need of the client's configuration.
func (s *Session) sender() api.Config {
	cfg := s.Config.API
	cfg.UserAgent = "noggin/" + s.Version
	return cfg
}
