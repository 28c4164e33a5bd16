package commands

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
)

// One letter stands for the same flag in every command that has it.
func TestShortFormsMeanTheSameEverywhere(t *testing.T) {
	t.Parallel()
	short := map[string]string{"dry-run": "n", "yes": "y", "quiet": "q", "format": "f", "help": "h"}
	found := map[string]int{}
	var walk func(path string, flags []cli.Flag, commands []*cli.Command)
	walk = func(path string, flags []cli.Flag, commands []*cli.Command) {
		for _, flag := range flags {
			names := flag.Names()
			if letter := short[names[0]]; letter != "" && !slices.Contains(names, letter) {
				t.Errorf("%s --%s has no -%s", path, names[0], letter)
			}
			for _, name := range names[1:] {
				if len(name) == 1 && short[names[0]] != name {
					t.Errorf("%s: -%s stands for --%s", path, name, names[0])
				}
			}
			found[names[0]]++
		}
		for _, c := range commands {
			walk(path+" "+c.Name, c.Flags, c.Subcommands)
		}
	}
	app := quietApp()
	walk("noggin", app.Flags, app.Commands)
	for name := range short {
		if found[name] == 0 {
			t.Errorf("no command has --%s", name)
		}
	}
	call, err := cmdline.Parse(cmdline.Root(app), strings.Fields("retry-failed -n -y -q -f csv"))
	if got, want := strings.Join(call.Args, " "), "noggin --quiet=true retry-failed --dry-run=true --yes=true --format=csv"; err != nil || got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

// How an operator becomes noggin, and where exports are dropped, is told in the same words
// in the README, in the guide, and when the package is installed.
func TestOperatorsAreToldTheSameEverywhere(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(text)), " ")
	}
	told := read("../systemd/operators.txt")
	for _, path := range []string{"../README.md", guide} {
		if strings.Count(read(path), told) != 1 {
			t.Errorf("%s does not have the text of systemd/operators.txt, once", path)
		}
	}
	for path, want := range map[string]string{
		"../systemd/debian/postinst":         "cat /usr/share/noggin/operators.txt",
		"../systemd/installation":            "644 systemd/operators.txt",
		"../systemd/noggin.sysusers":         "/var/lib/noggin /bin/bash",
		"../systemd/noggin.tmpfiles":         "d /mnt/data/noggin/input 3770 noggin noggin-upload",
		"../commands/completion/noggin.bash": "noggin",
	} {
		if !strings.Contains(read(path), want) {
			t.Errorf("%s lacks %q", path, want)
		}
	}
}
