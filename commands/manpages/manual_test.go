package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands"
	"noggin/commands/cmdline"
)

// manualPages writes the manual into a folder of the test, and returns the pages
// as files.
func manualPages(t *testing.T) map[string]string {
	t.Helper()
	example, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	date := time.Date(2026, time.November, 25, 23, 0, 0, 0, time.UTC)
	pages, err := manual(commands.Assets{ExampleConfig: string(example), Version: "1.2.3"}, date, os.DirFS("../manual"))
	if err != nil {
		t.Fatal(err)
	}
	files, folder := map[string]string{}, t.TempDir()
	for _, page := range pages {
		name := page.name + "." + page.section
		files[name] = filepath.Join(folder, name)
		if err := os.WriteFile(files[name], page.roff, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// shownPage is a page as a reader sees it in a terminal of 80 columns.
func shownPage(t *testing.T, file string) string {
	t.Helper()
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("mandoc is not installed")
	}
	text, err := exec.CommandContext(t.Context(), "mandoc", "-T", "utf8", "-O", "width=78", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var plain []rune // a letter, a backspace and the letter again is a bold one
	for _, r := range string(text) {
		if r == '\b' {
			plain = plain[:len(plain)-1]
		} else {
			plain = append(plain, r)
		}
	}
	return string(plain)
}

// everyCommand are all commands that are shown, the root first.
func everyCommand() []cmdline.Invocation {
	root := cmdline.Root(commands.Tree(commands.Assets{}))
	return withSubcommands(cmdline.Invocation{Path: []*cli.Command{root}}, 9)
}

func TestEveryCommandAndFlagStandsInTheManual(t *testing.T) {
	files := manualPages(t)
	for _, call := range everyCommand() {
		file, ok := files[pageName(call)+".1"]
		if !ok {
			t.Errorf("%s has no page", call.Name())
			continue
		}
		page := shownPage(t, file)
		var wanted []string
		if call.Command().Action != nil {
			wanted = append(wanted, cmdline.UsageLine(call))
		}
		for _, flag := range cmdline.DescribeFlags(call.Command().Flags) {
			wanted = append(wanted, strings.TrimSpace(strings.Join(flag.Spellings(), ", ")+" "+flag.Placeholder))
		}
		for _, exit := range cmdline.ExitMeanings() {
			wanted = append(wanted, strings.ReplaceAll(exit.Meaning, "`", ""))
		}
		flat := strings.Join(strings.Fields(page), " ")
		for _, want := range wanted {
			if !strings.Contains(flat, strings.ReplaceAll(want, "…", "...")) {
				t.Errorf("%s does not tell %q", filepath.Base(file), want)
			}
		}
	}
}

func TestEveryKeyOfTheConfigurationStandsInTheManual(t *testing.T) {
	page := shownPage(t, manualPages(t)["noggin.toml.5"])
	example, err := os.ReadFile("../../config.example.toml") // it shows every key: see config's tests
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`(?m)^#([a-z_]+ = )`).FindAllStringSubmatch(string(example), -1)
	if len(keys) < 40 {
		t.Errorf("only %d keys in the example", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(page, key[1]) {
			t.Errorf("noggin.toml(5) does not tell of %s", key[1])
		}
	}
	if !strings.Contains(page, "[[object_type]]") {
		t.Error("noggin.toml(5) does not tell of [[object_type]]")
	}
	for _, want := range []string{"2026-11-25", "noggin 1.2.3", "noggin(1)", "\n              Example: \"https://"} {
		if !strings.Contains(page, want) {
			t.Errorf("noggin.toml(5) lacks %q:\n%s", want, page)
		}
	}
}

// What is shown as an example is a command that there is.
func TestExamplesAreCommands(t *testing.T) {
	count := 0
	for _, call := range everyCommand() {
		_, chapters := cmdline.Describe(call.Command())
		for _, chapter := range chapters {
			if chapter.Title != "Examples" {
				continue
			}
			for line := range strings.Lines(chapter.Body) {
				_, given, _ := strings.Cut(line, "noggin ")
				given, _, _ = strings.Cut(given, "#")
				given, _, _ = strings.Cut(given, " > ")
				if _, err := cmdline.Parse(call.Path[0], words(given)); err != nil {
					t.Errorf("%s: %s: %v", call.Name(), strings.TrimSpace(line), err)
				}
				count++
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d examples", count)
	}
}

// words parts a line as a shell would that knows quotes alone.
func words(line string) []string {
	quote := rune(0)
	return slices.Collect(strings.FieldsFuncSeq(strings.NewReplacer("'", "\x00", `"`, "\x00").Replace(line), func(r rune) bool {
		if r == 0 {
			quote = ^quote
		}
		return quote == 0 && (r == ' ' || r == '\n' || r == 0)
	}))
}

func TestPagesAreWithoutFault(t *testing.T) {
	files := manualPages(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for program, command := range map[string][]string{
			"mandoc": {"mandoc", "-T", "lint", "-W", "warning"},
			"groff":  {"groff", "-man", "-t", "-Tutf8", "-ww", "-rLL=80n"},
		} {
			t.Run(name+" "+program, func(t *testing.T) {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("%s is not installed", program)
				}
				output, err := exec.CommandContext(t.Context(), command[0], append(command[1:], files[name])...).CombinedOutput()
				text := string(output)
				if err != nil || program == "mandoc" && text != "" || strings.Contains(text, files[name]+":") {
					t.Errorf("%v\n%s", err, text)
				}
				if strings.ContainsRune(text, '\u2010') {
					t.Errorf("parts words: what is copied would have a hyphen of a book\n%s", text)
				}
			})
		}
	}
}

// A reader copies commands out of the manual: no hyphen or quote may be a book's.
func TestPagesCanBeCopiedFrom(t *testing.T) {
	written := fstest.MapFS{"noggin-try.7.md": {Data: []byte("# noggin-try(7): a title\n\n## NAME\n\nnoggin-try - it's a page\n\n## TEXT\n\nSee `x --a-flag 'q'` ~/y^z\n\n    $ echo \"a\" | sed 's/a/\\./' # `b`\n    .dot\n    'quote\n\n| a | b |\n| --- | --- |\n| 1 | a text that is longer than thirty letters |\n")}}
	pages, err := manual(commands.Assets{ExampleConfig: "#a = 1\n"}, time.Unix(0, 0), written)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(pages, func(p page) bool { return p.name == "noggin-try" && p.section == "7" })
	if at < 0 {
		t.Fatal("the written page is missing")
	}
	file := filepath.Join(t.TempDir(), "noggin-try.7")
	if err := os.WriteFile(file, pages[at].roff, 0o600); err != nil {
		t.Fatal(err)
	}
	page := shownPage(t, file)
	for _, want := range []string{
		"noggin-try - it's a page", "See x --a-flag 'q' ~/y^z", "$ echo \"a\" | sed 's/a/\\./' # `b`\n", "\n       .dot\n", "\n       'quote\n", "noggin(1)",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "a title") {
		t.Errorf("has the title of the text:\n%s", page)
	}
}
