package commands

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
)

// told are the commands of noggin in a text, and those that no test can read, as they
// stand neither in backquotes nor alone on a line.
type told struct{ commands, bare []string }

// toldIn finds the commands in a message, a help text, a comment of the configuration or
// a shell script. A line that is indented and holds a command is an example.
func toldIn(text string, names *regexp.Regexp) (t told) {
	var prose strings.Builder
	for line := range strings.Lines(text) {
		if m := exampleLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			t.commands = append(t.commands, m[1])
			continue
		}
		prose.WriteString(line)
	}
	rest := inlineCommand.ReplaceAllStringFunc(prose.String(), func(command string) string {
		t.commands = append(t.commands, strings.Join(strings.Fields(sudoPrefix.ReplaceAllString(strings.Trim(command, "`*"), "")), " "))
		return ""
	})
	t.bare = names.FindAllString(rest, -1)
	return t
}

var sudoPrefix = regexp.MustCompile(`^sudo (?:-u noggin )?`)

var exampleLine = regexp.MustCompile(`^\s{2,}((?:\S+ .*\| )?noggin (?:.*?))(?:  +#.*)?$`)

// commandNames matches noggin with the name of one of its commands.
func commandNames() *regexp.Regexp {
	var names []string
	for _, c := range quietApp().Commands {
		names = append(names, regexp.QuoteMeta(c.Name))
	}
	return regexp.MustCompile(`\bnoggin\s+(?:` + strings.Join(names, "|") + `)\b`)
}

// everyCommandTold finds the commands in all strings of the program, in the alert, the
// configuration, the rules of alerts, the README and the guide: what, and where it stands.
func everyCommandTold(t *testing.T) map[string]string {
	t.Helper()
	names := commandNames()
	where := map[string]string{}
	add := func(at string, found told) {
		for _, command := range found.commands {
			where[command] = at
		}
		for _, bare := range found.bare {
			t.Errorf("%s: %q stands neither in backquotes nor alone on an indented line: no test reads it", at, bare)
		}
	}
	describeTree(add, names)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || slices.ContainsFunc(toolFolders, func(f string) bool { return strings.HasPrefix(path, f) }) {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			expr, is := n.(ast.Expr)
			if !is {
				return true
			}
			text, is := message(expr)
			if is {
				add(set.Position(n.Pos()).String(), toldIn(text, names))
			}
			return !is
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"../config.example.toml", "../systemd/noggin-alert", "../systemd/monitoring/noggin-alerts.yml", guide, "../README.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".md") {
			add(path, told{commands: guideCommands(string(text)), bare: bareInGuide(string(text), names)})
			for _, m := range substitution.FindAllStringSubmatch(string(text), -1) {
				where[m[1]] = path
			}
			continue
		}
		add(path, toldIn(strings.ReplaceAll(string(text), "\n# ", "\n"), names))
	}
	return where
}

// substitution is a command whose output a shell reads.
var substitution = regexp.MustCompile(`<\((noggin [^)]+)\)`)

// describeTree adds what the commands' descriptions tell, as they are put together.
func describeTree(add func(string, told), names *regexp.Regexp) {
	var walk func(name string, c *cli.Command)
	walk = func(name string, c *cli.Command) {
		add(name+" --help", toldIn(c.Description, names))
		for _, sub := range c.Subcommands {
			walk(name+" "+sub.Name, sub)
		}
	}
	for _, c := range quietApp().Commands {
		walk("noggin "+c.Name, c)
	}
}

// toolFolders are of programs for developers, not for operators.
var toolFolders = []string{"../commands/bench/", "../commands/demo/", "../storage/storagetest/", "../api/apitest/"}

// bareInGuide finds commands in the prose of a guide that guideCommands does not read.
func bareInGuide(text string, names *regexp.Regexp) (bare []string) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "    ") && !strings.HasPrefix(line, "|") {
			bare = append(bare, names.FindAllString(inlineCommand.ReplaceAllString(substitution.ReplaceAllString(line, ""), ""), -1)...)
		}
	}
	return bare
}

// TestEveryCommandThatIsToldRunsAsItStands parses them: flags are those that the command
// has, and no argument is missing.
func TestEveryCommandThatIsToldRunsAsItStands(t *testing.T) {
	t.Parallel()
	commands := everyCommandTold(t)
	if len(commands) < 200 {
		t.Errorf("only %d commands were found", len(commands))
	}
	for line, where := range commands {
		if err := runsAsItStands(t, line); err != nil {
			t.Errorf("%s: %s: %v", where, line, err)
		}
	}
	for _, line := range []string{"noggin hashes export-unknown", "noggin retry-failed --tip 2a71f4491a…", "noggin skip", "noggin report tip", "noggin report --bogus"} {
		if runsAsItStands(t, line) == nil {
			t.Errorf("%s is taken for a command that runs", line)
		}
	}
	found := toldIn("run noggin process or `noggin skip --yes`\n  psql | noggin import-csv -    # so\n  noggin report", commandNames())
	if !slices.Equal(found.commands, []string{"psql | noggin import-csv -", "noggin report", "noggin skip --yes"}) || !slices.Equal(found.bare, []string{"noggin process"}) {
		t.Errorf("found %+v", found)
	}
}

// TestEveryReadingCommandThatIsToldRuns runs those that only look, in a mirror without
// records: none is refused, and none fails for a reason of its own.
func TestEveryReadingCommandThatIsToldRuns(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	i.run(0, "maintain", "backup")
	schema, err := os.ReadFile("../schema.sql")
	if err == nil {
		err = os.Mkdir(filepath.Join(i.dir, "input"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, line := range slices.Sorted(maps.Keys(everyCommandTold(t))) {
		if !onlyReads.MatchString(line) || needsMore.MatchString(line) {
			continue
		}
		ran++
		var out, errs bytes.Buffer
		code := Run(context.WithoutCancel(t.Context()), append([]string{"noggin", "--config", i.config}, shellArguments(t, line)...),
			Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Assets{Schema: string(schema)})
		if code != cmdline.ExitDone && code != cmdline.ExitPartial {
			t.Errorf("%s: exit code %d\n%s", line, code, errs.String())
		}
	}
	if ran < 40 {
		t.Errorf("only %d commands were run", ran)
	}
}

var (
	onlyReads = regexp.MustCompile(`^noggin (?:report\b|validate (?:quick|data|files|config)|hashes (?:list|stats|search)|archive list|maintain (?:backups|restore-plan)|version|\S.* --help)|--dry-run`)
	// needsMore are placeholders, files that are not there, what is written and what takes
	// long.
	needsMore = regexp.MustCompile(`\b[A-Z]{3,}\b|…|\bx\b|'|--save|html|metrics|/|\.csv|--fix|--format csv >|\btip\b|refresh|source|--(?:team|trailer|vehicle|department|person|customer|search|contains)\b|report (?:vehicle|trailer|team|person)\b|validate.*database|setup`)
)

// message is the text of a string, or of a sum of strings in which a value counts as the
// word x.
func message(expr ast.Expr) (string, bool) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return verb.ReplaceAllString(text, "x"), e.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		left, leftIs := message(e.X)
		right, rightIs := message(e.Y)
		if e.Op != token.ADD || !leftIs && !rightIs {
			return "", false
		}
		if !leftIs {
			left = "x"
		}
		if !rightIs {
			right = "x"
		}
		return left + right, true
	}
	return "", false
}

var redirection = regexp.MustCompile(` > \S+`)

var verb = regexp.MustCompile(`%[sqdv]`)

func runsAsItStands(t *testing.T, line string) error {
	if strings.Contains(line, "…") {
		return errors.New("it is cut short")
	}
	app := quietApp()
	if line = redirection.ReplaceAllString(line, ""); strings.Contains(line, "noggin report x ") { // describeTree has it whole
		return nil
	}
	call, err := cmdline.Parse(cmdline.Root(app), shellArguments(t, strings.Replace(line, "noggin COMMAND ", "noggin process ", 1)))
	if err != nil || call.Help {
		return err
	}
	call.Command().Action = func(c *cli.Context) error {
		if c.Command.Name == "skip" && c.NumFlags() == 0 {
			return errors.New("it would skip everything that is pending")
		}
		return nil
	}
	return app.RunContext(t.Context(), call.Args)
}
