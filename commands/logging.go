package commands

import (
	"io"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"
)

// startLogging makes the logger that the global flags ask for.
func (env *environment) startLogging(c *cli.Context) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil || strings.ContainsAny(c.String("log-level"), "+-") {
		return usagef("--log-level %s: allowed are debug, info, warn, error", quoted(c.String("log-level")))
	}
	if c.Bool("quiet") {
		level = slog.LevelError
	}
	format := c.String("log-format")
	if format != formatText && format != formatJSON {
		return usagef("--log-format %s: allowed are text, json", quoted(format))
	}
	env.jsonLogs = format == formatJSON
	env.log = newLogger(env.err, format, level)
	return nil
}

func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == formatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
