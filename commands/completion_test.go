package commands

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"noggin/commands/cmdline"
	"noggin/commands/session"
)

// formConfig adds a form and spoils the rest: completion wants no more of it.
const formConfig = `
unknown = "key"
[[object_type]]
code = "BRK"
name = "Brake Check"
api_name = "brakeCheck"
id_field = "brkInspectionId"
references = [{field = "depot", label = "Depot", entity_type = "depot"}]
`

func TestCompletionKnowsWhatMayFollow(t *testing.T) {
	config := filepath.Join(t.TempDir(), "noggin.toml")
	if err := os.WriteFile(config, []byte(formConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ typed, want string }{
		{"re", "retry-failed report"},
		{"help pro", "process"},
		{"report st", "status storage"},
		{"report daily --s", "--save"},
		{"report --format ", "text json csv"},
		{"init-db --format=", "--format=text --format=json"},
		{"init-db --format=x", ""},
		{"--log-level ", "debug info warn error"},
		{"--log-level warn --log-format j", "json"},
		{"process --status p", "pending partial"},
		{"process --status=pe", "--status=pending"},
		{"process --object-type ", "LCD LCS CCC TA SO FPI"},
		{"process --config " + config + " --object-type B", "BRK"},
		{"process --config /nowhere --object-type L", "LCD LCS"},
		{"process --error-type not", "not_found"},
		{"process --dry-run --dr", ""},
		{"report inspections --compliance n", "not-compliant"},
		{"process --tip a --ti", "--tip"},
		{"process -- --ti", ""},
		{"process --no-such-flag --dr", "--dry-run"},
		{"process --he", "--help"},
		{"process --cpu", ""},
		{"process --no-", "--no-progress"},
		{"process ", ""},
		{"hashes import te", "team"},
		{"hashes import a", "auto"},
		{"hashes fetch t", "trailer team"},
		{"hashes import team ", ":file"},
		{"hashes import team names.csv ", ""},
		{"hashes --config=" + config + " list d", "department depot"},
		{"hashes export-unknown a", "all"},
		{"import-csv one.csv ", ":file"},
		{"--config ", ":file"},
		{"--config=", ":file"},
		{"archive create --to ", ":folder"},
		{"archive restore ", ""},
		{"validate quick da", "database data"},
		{"validate data da", "database"},
		{"validate data all q", "quick"},
		{"completion ", "bash zsh fish"},
		{"comp", "completion"},
		{"no-such-command ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.typed, func(t *testing.T) {
			var words []string
			for _, c := range cmdline.Complete(cmdline.Root(newApp(Assets{}, new(session.Opener))), strings.Split(tt.typed, " "), knownValues) {
				words = append(words, c.Word)
			}
			if got := strings.Join(words, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever a user has typed so far, the terminal is not to be written into, and
// nobody is to be kept waiting for a database.
func TestCompletionIsSilentAndAsksNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	asked := make(chan struct{})
	go func() {
		if conn, err := listener.Accept(); err == nil {
			close(asked)
			_ = conn.Close()
		}
	}()
	config := filepath.Join(t.TempDir(), "broken.toml")
	if err := os.WriteFile(config, []byte("[[["), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{"", "x", "--", "-- ", "--config", "--log-level loud ", "report tip ", "hashes show ", "process --object-type ", "version --tip=", "\xff\x00"} {
		command := exec.CommandContext(t.Context(), "noggin", append([]string{"complete", "--"}, strings.Split(typed, " ")...)...)
		command.Args = strings.Split(strings.ReplaceAll(strings.Join(command.Args, " "), "\x00", ""), " ")
		command.Env = append(os.Environ(), sourceVariable+"=..", "NOGGIN_CONFIG="+config,
			fmt.Sprintf("NOGGIN_DATABASE_URL=postgres://noggin@%s/noggin", listener.Addr()))
		var stderr strings.Builder
		command.Stderr = &stderr
		if _, err := command.Output(); err != nil || stderr.Len() > 0 {
			t.Errorf("%q: %v, stderr %q", typed, err, stderr.String())
		}
	}
	select {
	case <-asked:
		t.Error("the database was asked")
	default:
	}
}

// shells are started in a home of their own, with the script as it is installed.
var shells = map[string]struct{ start, rc, settings, script string }{
	"bash": {
		"exec bash --noprofile --rcfile ~/rc.bash -i", "rc.bash",
		"PS1='ready> '; source ~/noggin.bash", "noggin.bash",
	},
	"zsh": {
		"exec zsh -d -i", ".zshrc",
		"PROMPT='ready> '; fpath=(~ $fpath); autoload -Uz compinit; compinit -u -D", "_noggin",
	},
	"fish": {
		"exec fish --no-config --interactive --init-command 'source ~/rc.fish'", "rc.fish",
		"function fish_prompt; echo -n 'ready> '; end; source ~/noggin.fish", "noggin.fish",
	},
}

// TestCompletionInRealShells types into the shells, and looks at the arguments
// that noggin gets.
func TestCompletionInRealShells(t *testing.T) {
	noggin, err := exec.LookPath("noggin")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ typed, want string }{
		{"noggin proc\t--until-e\t", "<process><--until-empty>"},
		{"noggin hashes import te\tfi\t", "<hashes><import><team><fi le.csv>"},
		{"noggin process --status pen\t--object-type B\t", "<process><--status><pending><--object-type><BRK>"},
		{"noggin process --status=pen\t", "<process><--status=pending>"},
		{"noggin report --format=j\t", "<report><--format=json>"},
		{"noggin --config=ot\tvalidate qu\tapi", "<--config=other.toml><validate><quick><api>"},
		{"noggin archive create --to fo\t", "<archive><create><--to><folder"},
		{"noggin report daily --sa\t--date yest\t", "<report><daily><--save><--date><yest>"},
		{"noggin process --error-type \tnot_fo\t", "<process><--error-type><not_found>"},
		{"noggin skip --vehicle subst\t", "<skip><--vehicle><subst$(>ran)`>ran`>"},
		{"noggin skip --vehicle R\t", "<skip><--vehicle><R&D>"},
		{"noggin skip --vehicle=OBr\t", "<skip><--vehicle=OBr'ien;>ran>"},
		{"noggin skip --vehicle hist\t", "<skip><--vehicle><hist!!*#{a,b}>"},
		{"noggin skip --vehicle Two\t", "<skip><--vehicle><Two words>"},
		{"noggin skip --vehicle Zo\t", "<skip><--vehicle><Zoë>"},
	}
	// The names stand for those of the database, in which people write what they like.
	names := "subst$(>ran)`>ran`\nR&D\nOBr'ien;>ran\nhist!!*#{a,b}\nTwo words\nZoë\n"
	namesOrNoggin := `#!/bin/sh
case "$*" in complete*--vehicle*)
	for typed; do :; done
	value=${typed#--vehicle=}
	grep "^$value" ~/names | sed "s/^/${typed%"$value"}/"
	exit ;;
esac
`
	for shell, s := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("%s is not installed", shell)
			}
			home := t.TempDir()
			script, err := completionScripts.ReadFile("completion/noggin." + shell)
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{
				s.rc: s.settings + "\n", s.script: string(script),
				"noggin.toml": formConfig, "other.toml": "", "fi le.csv": "", "folder/x": "",
				"names":      names,
				"bin/noggin": namesOrNoggin + "[ \"$1\" = complete ] && exec " + noggin + " \"$@\" 2>>~/stderr\nprintf '<%s>' \"$@\"\n",
			} {
				path := filepath.Join(home, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			source, err := filepath.Abs("..")
			if err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), "sh", "-c", s.start)
			command.Dir = home
			command.Env = []string{
				"HOME=" + home, "ZDOTDIR=" + home, "TERM=xterm", "LC_ALL=C.UTF-8",
				"PATH=" + home + "/bin:" + os.Getenv("PATH"), "NOGGIN_CONFIG=" + home + "/noggin.toml", sourceVariable + "=" + source,
			}
			terminal := startOnTerminal(t, command)
			t.Cleanup(func() {
				if stderr, _ := os.ReadFile(filepath.Join(home, "stderr")); len(stderr) > 0 {
					t.Errorf("noggin complete: %s", stderr)
				}
			})
			terminal.await("ready> ")
			for _, tt := range tests {
				terminal.send(tt.typed + "\r")
				terminal.await(tt.want)
			}
			if _, err := os.Stat(filepath.Join(home, "ran")); err == nil {
				t.Error("a name was run")
			}
		})
	}
}

// typist is who sits at a terminal.
type typist struct {
	t      *testing.T
	file   *os.File
	output chan string
	screen string // what has come and was not awaited yet
}

func startOnTerminal(t *testing.T, command *exec.Cmd) *typist {
	file, err := pty.StartWithSize(command, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	p := &typist{t: t, file: file, output: make(chan string)}
	done := make(chan struct{})
	go func() {
		defer close(p.output)
		buffer := make([]byte, 4096)
		for {
			n, err := file.Read(buffer)
			if err != nil {
				return
			}
			select {
			case p.output <- string(buffer[:n]):
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = file.Close()
	})
	return p
}

func (p *typist) send(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.file, keys); err != nil {
		p.t.Fatal(err)
	}
}

// await waits until text has come.
func (p *typist) await(text string) {
	p.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		if _, rest, found := strings.Cut(p.screen, text); found {
			p.screen = rest
			return
		}
		select {
		case output, more := <-p.output:
			if !more {
				p.t.Fatalf("the shell ended before it wrote %q:\n%q", text, p.screen)
			}
			p.screen += output
		case <-timeout:
			p.t.Fatalf("%q does not come:\n%q", text, p.screen)
		}
	}
}
