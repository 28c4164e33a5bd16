package session

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/show"
	"noggin/storage"
)

func TestAnErrorIsOneLineAndItsHints(t *testing.T) {
	var b bytes.Buffer
	o := NewConsole(nil, &b, new(config.Secrets))
	err := cmdline.Hint(fmt.Errorf("run: %w", cmdline.Hint(errors.New("first\nsecond \x1b[31m"), "inner")), "outer")
	o.ReportError("noggin process", nil, 1, err)
	if want := "noggin process: run: first; second \\x1b[31m\n  inner\n  outer\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if got := cmdline.Hints(err); !slices.Equal(got, []string{"inner", "outer"}) {
		t.Errorf("hints %q", got)
	}

	b.Reset()
	o.json, o.Logger = true, newLogger(o.Err, show.JSON, slog.LevelError)
	o.ReportError("noggin process", nil, 4, err)
	if !bytes.Contains(b.Bytes(), []byte(`"command":"noggin process","exit_code":4,"hints":["inner","outer"]`)) {
		t.Errorf("got %s", b.Bytes())
	}
	o.ReportError("noggin process", nil, 1, errors.New("no advice"))
	if !bytes.Contains(b.Bytes(), []byte(`"exit_code":1,"hints":[]}`)) {
		t.Errorf("got %s", b.Bytes())
	}
}

// What a stranger to the host is told: who runs the commands, and which file was looked
// for. A later run is promised only where a timer makes one.
func TestFirstContactSaysWhoRunsCommandsAndWhatWasLookedFor(t *testing.T) {
	t.Setenv("NOGGIN_CONFIG", "")
	const sudo = "  commands run as the user noggin: `sudo -u noggin noggin report`\n"
	const setup = "  [database] url is not set: `sudo noggin setup` asks for it and for all else that is needed\n"
	const lookedFor = "  there is no configuration: noggin looked for /etc/x; --config FILE or $NOGGIN_CONFIG names another\n"
	for _, test := range []struct {
		command, missing string
		code             int
		err              error
		want             string
	}{
		{"noggin init-db", "no database", 4, fmt.Errorf("%w (%w): role root", storage.ErrRefused, storage.ErrStranger), setup},
		{"noggin setup", "", 2, fmt.Errorf("may not read /etc: %w", fs.ErrPermission), ""},
		{"noggin report", "", 2, fmt.Errorf("may not read /etc: %w", fs.ErrPermission), sudo},
		{"noggin report", "", 4, fmt.Errorf("%w (%w): role root", storage.ErrRefused, storage.ErrStranger), sudo},
		{"noggin report", "", 4, fmt.Errorf("%w: password", storage.ErrRefused), ""},
		{"noggin report", "/etc/x", 4, storage.ErrUnavailable, "  `noggin validate database` looks at the server\n" +
			"  there is no configuration: noggin looked for /etc/x; --config FILE or $NOGGIN_CONFIG names another\n"},
		{"noggin archive list", "/etc/x", 4, storage.ErrUnavailable, "  `noggin validate database` looks at the server\n" + lookedFor},
		{"noggin process", "/etc/x", 2, cmdline.Usagef("%w", config.ErrNoToken), lookedFor + "  `sudo noggin setup` asks for all that is needed, and writes it\n"},
		{"noggin process", "/etc/x", 2, cmdline.Usagef("%w in the environment", config.ErrNoAPI), lookedFor + "  `sudo noggin setup` asks for all that is needed, and writes it\n"},
		{"noggin process", "", 2, cmdline.Usagef("%w", config.ErrNoToken), ""},
		{"noggin process", "/etc/x", 2, cmdline.Usagef("--batch 0"), ""},
		{"noggin import-csv", "no database", 4, storage.ErrUnavailable, "  `noggin validate database` looks at the server\n" + setup},
		{"noggin process", "", 4, storage.ErrUnavailable, "  nothing is lost, a later run carries on by itself; `noggin validate database` looks at the server\n"},
	} {
		var b bytes.Buffer
		o := NewConsole(nil, &b, new(config.Secrets))
		if o.noDatabase = test.missing == "no database"; !o.noDatabase {
			o.missing = test.missing
		}
		o.ReportError(test.command, strings.Fields(test.command), test.code, test.err)
		if want := test.command + ": " + test.err.Error() + "\n" + test.want; b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}

// The command that another user is told to run is the one that was typed, with every flag
// and with the configuration that the environment names: without --dry-run it would do what
// was only to be shown.
func TestTheCommandForTheRightUserIsTheOneThatWasTyped(t *testing.T) {
	err := cmdline.Usagef("may not read /etc: %w", fs.ErrPermission)
	typed := []string{"noggin", "archive", "create", "--older-than", "5y", "--to", "a b", "--dry-run"}
	for file, want := range map[string]string{
		"":           "`sudo -u noggin noggin archive create --older-than 5y --to 'a b' --dry-run`",
		"other.toml": "`sudo -u noggin env NOGGIN_CONFIG=other.toml noggin archive create --older-than 5y --to 'a b' --dry-run`",
	} {
		t.Setenv("NOGGIN_CONFIG", file)
		var b bytes.Buffer
		NewConsole(nil, &b, new(config.Secrets)).ReportError("noggin archive create", typed, 2, err)
		if !strings.HasSuffix(b.String(), "\n  commands run as the user noggin: "+want+"\n") {
			t.Errorf("$NOGGIN_CONFIG %q: got %q, want %s", file, b.String(), want)
		}
	}
}

func TestALineWipesTheProgressBarFirst(t *testing.T) {
	var b bytes.Buffer
	o := NewConsole(nil, &b, new(config.Secrets))
	o.stderr.barShown.Store(true)
	n, err := o.Err.Write([]byte("line\n"))
	if n != 5 || err != nil || b.String() != wipeLine+"line\n" {
		t.Errorf("got %d, %v, %q", n, err, b.String())
	}
}

func TestNoSecretIsToldTheOperator(t *testing.T) {
	const secret = "a-secret-token"
	for _, format := range []string{show.Text, show.JSON} {
		for name, tell := range map[string]func(o *Console){
			"an error": func(o *Console) { o.ReportError("noggin process", nil, 1, errors.New("refused: "+secret)) },
			"a hint": func(o *Console) {
				o.ReportError("noggin process", nil, 1, cmdline.Hint(errors.New("refused"), "try "+secret))
			},
			"a line of the log": func(o *Console) { o.Warn("refused", "token", secret) },
			"a signal": func(o *Console) {
				o.Finishing(func() string { return "finishing " + secret })
				o.ToldToStop()
			},
		} {
			var b bytes.Buffer
			secrets := new(config.Secrets)
			secrets.Add(secret)
			o := NewConsole(nil, &b, secrets)
			app := &cli.App{
				Flags:  []cli.Flag{&cli.StringFlag{Name: "log-level"}, &cli.StringFlag{Name: "log-format"}, &cli.BoolFlag{Name: "quiet"}},
				Action: o.Start,
			}
			if err := app.Run([]string{"noggin", "--log-level", "info", "--log-format", format}); err != nil {
				t.Fatal(err)
			}
			if tell(o); strings.Contains(b.String(), secret) || !strings.Contains(b.String(), "[redacted]") {
				t.Errorf("%s as %s: %s", name, format, b.String())
			}
		}
	}
}

// The first signal says what it does: what the command finishes, in a record of the log
// where there is no terminal.
func TestASignalSaysWhatItDoes(t *testing.T) {
	var b bytes.Buffer
	o := NewConsole(nil, &b, new(config.Secrets))
	o.ToldToStop()
	o.Finishing(func() string { return "finishing 8 records, at most 4m30s" })
	o.ToldToStop()
	for _, want := range []string{`msg="told to stop: stopping; a second signal stops at once"`, `msg="told to stop: finishing 8 records, at most 4m30s; a second signal stops at once"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s lacks %s", b.String(), want)
		}
	}
}
