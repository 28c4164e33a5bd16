package commands

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/session"
)

const guide = "manual/noggin-operations.7.md"

// guideCommands returns the command lines of noggin in a Markdown text: lines of code
// blocks (where one has prompts, only lines that begin with one), and what stands in
// backquotes, in bold, or in the cell of a table.
func guideCommands(text string) []string {
	var found, block []string
	endBlock := func() {
		block = strings.Split(strings.ReplaceAll(strings.Join(block, "\n"), "\\\n", ""), "\n")
		prompts := slices.ContainsFunc(block, func(l string) bool { return strings.HasPrefix(l, "$ ") })
		for _, line := range block {
			line, prompt := strings.CutPrefix(line, "$ ")
			line = strings.TrimPrefix(strings.TrimPrefix(line, "sudo "), "-u noggin ")
			if strings.HasPrefix(line, "noggin ") && prompt == prompts {
				found = append(found, line)
			}
		}
		block = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			block = append(block, strings.TrimSpace(line))
			continue
		}
		if line != "" {
			endBlock()
		}
		for _, m := range inlineCommand.FindAllStringSubmatch(line, -1) {
			found = append(found, sudoPrefix.ReplaceAllString(strings.Trim(m[0], "`*"), ""))
		}
		if strings.HasPrefix(line, "|") {
			for _, cell := range strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == ',' }) {
				if cell = strings.TrimSpace(cell); strings.HasPrefix(cell, "noggin ") {
					found = append(found, cell)
				}
			}
		}
	}
	endBlock()
	return found
}

var inlineCommand = regexp.MustCompile("`(?:sudo (?:-u noggin )?)?noggin [^`]+`|\\*\\*noggin [^*]+\\*\\*")

// shellArguments are the arguments that a shell gives to noggin for a line.
func shellArguments(t *testing.T, line string) []string {
	t.Helper()
	arguments, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `noggin() { printf '%s\0' "$@" >&3; }`+"\n"+line)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = t.TempDir(), []string{"HOME=" + t.TempDir()}, []*os.File{writer}
	_ = cmd.Run() // what stands behind a pipe need not be there
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(arguments); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(got.String(), "\x00"), "\x00")
}

func TestEveryCommandOfTheGuidesIsOneThatNogginHas(t *testing.T) {
	t.Parallel()
	for file, least := range map[string]int{guide: 150, "../README.md": 30} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := guideCommands(string(text))
		if len(lines) < least {
			t.Errorf("%s: only %d commands were found", file, len(lines))
		}
		for _, line := range lines {
			app := quietApp()
			// COMMAND stands for any.
			call, err := cmdline.Parse(cmdline.Root(app), shellArguments(t, strings.Replace(line, "noggin COMMAND ", "noggin process ", 1)))
			if err == nil && !call.Help {
				err = readFlags(app, call)
			}
			if err != nil {
				t.Errorf("%s: %s: %v", file, line, err)
			}
		}
	}
}

func TestTheReadmeNamesEveryCommandAndLibrary(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	requirements, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "\n## Commands\n")
	commands, table, _ := strings.Cut(table, "\n## Tests and benchmark\n")
	_, libraries, _ := strings.Cut(table, "\n## Libraries\n")
	for _, command := range quietApp().Commands {
		if !command.Hidden && !strings.Contains(commands, "noggin "+command.Name) {
			t.Errorf("no command noggin %s", command.Name)
		}
	}
	required := regexp.MustCompile(`(?m)^\t(?:github\.com/)?(\S+) v\S+$`).FindAllStringSubmatch(string(requirements), -1) // not "// indirect"
	if len(required) < 20 {
		t.Errorf("go.mod has only %d libraries", len(required))
	}
	for _, library := range required {
		if !strings.Contains(libraries, library[1]) {
			t.Errorf("no library %s", library[1])
		}
	}
}

// quietApp is the tree of commands, to be read and not to be heard.
func quietApp() *cli.App {
	app := newApp(Assets{}, new(session.Opener))
	app.Writer, app.ErrWriter = io.Discard, io.Discard
	return app
}

// readFlags has urfave/cli read a command's flags, and does nothing else.
func readFlags(app *cli.App, call cmdline.Invocation) error {
	call.Command().Action = func(*cli.Context) error { return nil }
	return app.RunContext(context.Background(), call.Args)
}

func TestACommandThatNogginLacksIsFoundInAGuide(t *testing.T) {
	t.Parallel()
	text := "Text `noggin nothing`, **noggin report --no** and noggin.\n\n    noggin report tip\n    # noggin none\n    other\n\n" +
		"| a | noggin skip --yes, noggin maintain nothing |\n\n    $ noggin process --batch x\n    noggin 1.2\n"
	want := []string{"noggin nothing", "noggin report --no", "noggin report tip", "noggin skip --yes", "noggin maintain nothing", "noggin process --batch x"}
	got := guideCommands(text)
	if !slices.Equal(got, want) {
		t.Fatalf("%q", got)
	}
	for _, line := range got {
		app := quietApp()
		call, err := cmdline.Parse(cmdline.Root(app), shellArguments(t, line))
		if err == nil {
			err = readFlags(app, call)
		}
		if (err == nil) != (line == "noggin skip --yes") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestTheGuideNamesTheTimersAsTheyAre(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.HasPrefix(line, "| noggin-") {
			told[strings.TrimSpace(cells[1])] = cells[3]
		}
	}
	timers, err := filepath.Glob("../systemd/*.timer")
	if err != nil || len(timers) == 0 || len(timers) != len(told) {
		t.Errorf("%d timers, %d in the guide, %v", len(timers), len(told), err)
	}
	for _, timer := range timers {
		name := strings.TrimSuffix(filepath.Base(timer), ".timer")
		service, err := os.ReadFile(strings.TrimSuffix(timer, ".timer") + ".service")
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range strings.Split(told[name], ",") {
			if command = strings.TrimSuffix(strings.TrimSpace(command), " FILE"); command == "" || !strings.Contains(string(service), "/"+command) {
				t.Errorf("%s: the guide says %q", name, command)
			}
		}
	}
	for _, unit := range regexp.MustCompile(`\bnoggin[-a-z]*\.(?:timer|service|target|path)\b(?:\.d\b)?`).FindAllString(string(text), -1) {
		if _, err := os.Stat("../systemd/" + unit); err != nil {
			t.Errorf("the guide names %s", unit)
		}
	}
}

// Every command with --output says what it is told by - as the file: stdout.
func TestEveryOutputMayBeStdout(t *testing.T) {
	t.Parallel()
	found := 0
	var walk func(name string, c *cli.Command)
	walk = func(name string, c *cli.Command) {
		for _, flag := range c.Flags {
			if output, is := flag.(*cli.StringFlag); is && output.Name == "output" {
				found++
				if !strings.Contains(output.Usage+c.Description, "-: stdout") && !strings.Contains(c.Description, "- is stdout") {
					t.Errorf("%s --output does not say that - is stdout", name)
				}
			}
		}
		for _, sub := range c.Subcommands {
			walk(name+" "+sub.Name, sub)
		}
	}
	for _, c := range quietApp().Commands {
		walk(c.Name, c)
	}
	if found < 3 {
		t.Errorf("only %d flags were found", found)
	}
}
