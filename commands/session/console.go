package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"noggin/batch/files"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/show"
	"noggin/storage"
)

// Console is how a command talks to the operator apart from its result: the log,
// questions, and why it ended. All of it goes to stderr, without secrets.
type Console struct {
	*slog.Logger // as the global flags ask for, once start was called
	in           io.Reader
	stderr       *stderr
	Err          io.Writer // err, without the secrets
	json         bool      // the logs are
	missing      string    // the configuration file that was looked for and is not there
	noDatabase   bool      // nothing names the database
	finishing    atomic.Pointer[func() string]
}

// NewConsole returns a console that asks on in and speaks on err.
func NewConsole(in io.Reader, err io.Writer, hidden *config.Secrets) *Console {
	c := &Console{in: in, stderr: &stderr{w: err}}
	c.Err = hidden.Guard(c.stderr)
	c.Logger = newLogger(c.Err, show.Text, slog.LevelInfo)
	return c
}

// Start makes the logger that the global flags ask for.
func (o *Console) Start(c *cli.Context) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil || strings.ContainsAny(c.String("log-level"), "+-") {
		return cmdline.Usagef("--log-level %s: allowed are debug, info, warn, error", show.Quoted(c.String("log-level")))
	}
	if c.Bool("quiet") {
		level = slog.LevelError
	}
	format := c.String("log-format")
	if format != show.Text && format != show.JSON {
		return cmdline.Usagef("--log-format %s: allowed are text, json", show.Quoted(format))
	}
	o.json = format == show.JSON
	o.Logger = newLogger(o.Err, format, level)
	if file := show.Terminal(o.stderr.w); file != nil && !o.json {
		o.Logger = slog.New(newTerminalLog(o.Err, file, level))
	}
	return nil
}

func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == show.JSON {
		return slog.New(slog.NewJSONHandler(show.SafeJSON(w), options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Confirm asks on the terminal, until ctx ends. Without a terminal --yes has to be given.
func (o *Console) Confirm(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if file, ok := o.in.(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		return cmdline.Usagef("%s Not asked: no terminal; say --yes, or look first with --dry-run", question)
	}
	if _, err := fmt.Fprint(o.Err, question+" [y/N] "); err != nil {
		return err
	}
	answer, err := files.Wait(ctx, func() (string, error) { return bufio.NewReader(o.in).ReadString('\n') })
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer == "y" || answer == "yes" {
		return nil
	}
	if err != nil && answer == "" {
		return fmt.Errorf("no answer: %w", err)
	}
	return cmdline.Usagef("not confirmed: nothing was changed")
}

// ReportError tells the operator why command ended: one line and its hints, or one
// record when the logs are JSON. typed is the whole command line.
func (o *Console) ReportError(command string, typed []string, code int, err error) {
	message, hints := oneLine(err.Error()), cmdline.Hints(err)
	if kind, advice := judge(err); kind == code && advice != "" { // not what a signal broke off
		if !repeated(command) || o.missing != "" || o.noDatabase {
			advice = strings.TrimPrefix(advice, carriesOn)
		}
		hints = append(hints, advice)
	}
	hints = append(hints, o.firstContact(command, typed, code, err)...)
	if o.json {
		o.Error(message, "command", command, "exit_code", code, "hints", append([]string{}, hints...)) // a list, also an empty one
		return
	}
	var b strings.Builder
	width := o.Width()
	for i, line := range show.Told(command+": "+message, width) {
		if rest, ok := strings.CutPrefix(line, command+":"); ok && i == 0 {
			line = o.Palette().Paint(show.Bad, command+":") + rest
		}
		b.WriteString(line + "\n")
	}
	for _, hint := range hints {
		for _, line := range show.Told(show.Printable(hint), max(0, width-2)) {
			b.WriteString("  " + line + "\n")
		}
	}
	_, _ = io.WriteString(o.Err, b.String()) // nothing is left to tell it to
}

// Width is the number of columns of the terminal that stderr is, 0 where it is none.
func (o *Console) Width() int { return terminalWidth(o.stderr.w) }

// Palette is that of stderr.
func (o *Console) Palette() show.Palette { return show.NewPalette(o.stderr.w) }

// firstContact says what an operator lacks who runs a command as another user, or on a
// host without a configuration.
func (o *Console) firstContact(command string, typed []string, code int, err error) (hints []string) {
	noAPI := errors.Is(err, config.ErrNoAPI) || errors.Is(err, config.ErrNoToken)
	if o.missing != "" && (code == cmdline.ExitDatabase || noAPI) {
		hints = append(hints, "there is no configuration: noggin looked for "+o.missing+"; --config FILE or $NOGGIN_CONFIG names another")
	}
	if o.missing != "" && noAPI {
		return append(hints, "`sudo noggin setup` asks for all that is needed, and writes it")
	}
	if o.noDatabase && code == cmdline.ExitDatabase {
		return append(hints, "[database] url is not set: `sudo noggin setup` asks for it and for all else that is needed")
	}
	stranger := errors.Is(err, fs.ErrPermission) && code == cmdline.ExitUsage || errors.Is(err, storage.ErrStranger)
	if strings.TrimPrefix(command, "noggin ") == "setup" {
		return hints // it is for root, and says so
	}
	if who, userErr := user.Current(); stranger && (userErr != nil || who.Username != ServiceUser) {
		hints = append(hints, "commands run as the user "+ServiceUser+": `"+files.SudoLine(ServiceUser, typed)+"`")
	}
	return hints
}

// ServiceUser is the user of the service: whoever may read the configuration and the
// token, and owns the files.
const ServiceUser = "noggin"

// Finishing sets what a command says that it still does after a signal.
func (o *Console) Finishing(what func() string) { o.finishing.Store(&what) }

// ToldToStop tells what the first signal does: a line on a terminal, else a record of the
// log.
func (o *Console) ToldToStop() {
	what := "stopping"
	if f := o.finishing.Load(); f != nil {
		what = (*f)()
	}
	if !o.OnTerminal() || o.json || !o.Enabled(context.Background(), slog.LevelWarn) {
		o.Warn("told to stop: " + what + "; a second signal stops at once")
		return
	}
	_, _ = fmt.Fprintln(o.Err, what+"; again to stop at once") // nothing is left to tell it to
}

func oneLine(text string) string {
	return show.Printable(strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "))
}

// stderr takes whole lines, one at a time. While a progress bar is shown, it wipes the
// bar before each line.
type stderr struct {
	mu       sync.Mutex
	w        io.Writer
	barShown atomic.Bool
}

// wipeLine takes the cursor to the beginning of a terminal's line and empties it.
const wipeLine = "\x1b[2K\r"

func (s *stderr) Write(p []byte) (int, error) {
	line := p
	if s.barShown.Load() {
		line = append([]byte(wipeLine), p...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.w.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}
