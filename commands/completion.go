package commands

import (
	"embed"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

// completionScripts are installed as they are, and printed by completionCommand.
// They leave the thinking to completeCommand.
//
//go:embed completion
var completionScripts embed.FS

func completionCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script by which a shell completes commands, flags and their values",
		ArgsUsage: "bash|zsh|fish",
		Description: `The package and make install put the scripts where the shells look for them. Without
these, for one user:

  noggin completion bash > ~/.local/share/bash-completion/completions/noggin
  noggin completion zsh > ~/.zfunc/_noggin    # a folder in $fpath
  noggin completion fish > ~/.config/fish/completions/noggin.fish

Forms and types of names that the configuration adds are completed too, for whoever
may read it. The database is never asked.`,
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			script, err := completionScripts.ReadFile("completion/noggin." + shell)
			if err != nil {
				return hint(usagef("no completion for %s", quoted(shell)), "one of: bash, zsh, fish")
			}
			_, err = env.out.Write(script)
			return err
		},
	}
}

// completeCommand is what the scripts call, with the words of the command line up
// to the cursor. It prints a candidate a line, with its description behind a tab.
// It complains of nothing and reads nothing but the configuration.
func completeCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "complete",
		Usage:     "list what may stand at the end of a command line, for the completion scripts",
		ArgsUsage: "[WORD…]",
		Hidden:    true,
		Action: func(c *cli.Context) error {
			var b strings.Builder
			for _, found := range complete(rootCommand(c.App), c.Args().Slice()) {
				b.WriteString(strings.TrimSuffix(found.word+"\t"+found.description, "\t") + "\n")
			}
			_, err := io.WriteString(env.out, b.String())
			return err
		},
	}
}

// candidate is what may stand at the cursor.
type candidate struct{ word, description string }

// These stand for what the shell itself knows best.
const (
	anyFile   = ":file"
	anyFolder = ":folder"
)

// typedLine is a command line, read as far as the word at the cursor.
type typedLine struct {
	call      invocation
	given     map[string]string // flags, with their values
	awaiting  cli.Flag          // the flag whose value comes next, or nil
	arguments []string
	flagsEnd  bool // there was a "--"
}

// complete returns what may stand in the place of the last of words.
func complete(root *cli.Command, words []string) []candidate {
	if len(words) == 0 {
		return nil
	}
	line := typedLine{call: invocation{path: []*cli.Command{root}}, given: map[string]string{}}
	for _, word := range words[:len(words)-1] {
		line.read(word)
	}
	typed := words[len(words)-1]
	var found []candidate
	switch name, _, hasValue := strings.Cut(typed, "="); {
	case line.awaiting != nil:
		found = line.valuesOf(line.awaiting)
	case line.flagsEnd || !strings.HasPrefix(typed, "-"):
		found = append(line.subcommands(), line.argument()...)
	case hasValue:
		_, flag := line.call.findFlag(strings.TrimLeft(name, "-"))
		for _, value := range line.valuesOf(flag) {
			if value.word != anyFile && value.word != anyFolder {
				value.word = name + "=" + value.word
			}
			found = append(found, value)
		}
	default:
		found = line.flags()
	}
	return slices.DeleteFunc(found, func(c candidate) bool {
		return !strings.HasPrefix(c.word, typed) && c.word != anyFile && c.word != anyFolder
	})
}

// read takes a word before the cursor as permute would. What permute would refuse
// is left alone: whoever types will come back to it.
func (l *typedLine) read(word string) {
	switch {
	case l.awaiting != nil:
		l.given[l.awaiting.Names()[0]], l.awaiting = word, nil
	case l.flagsEnd || word == "-" || !strings.HasPrefix(word, "-"):
		sub := l.call.command().Command(word)
		switch {
		case l.flagsEnd || len(l.arguments) > 0:
			l.arguments = append(l.arguments, word)
		case sub != nil:
			l.call.path = append(l.call.path, sub)
		case word != "help" || len(l.call.path) > 1:
			l.arguments = append(l.arguments, word)
		}
	case word == "--":
		l.flagsEnd = true
	default:
		name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		_, flag := l.call.findFlag(name)
		switch {
		case flag == nil:
		case takesValue(flag) && !hasValue:
			l.awaiting = flag
		default:
			l.given[flag.Names()[0]] = value
		}
	}
}

func (l *typedLine) subcommands() []candidate {
	if l.flagsEnd || len(l.arguments) > 0 {
		return nil
	}
	var found []candidate
	for _, sub := range l.call.command().Subcommands {
		if !sub.Hidden {
			found = append(found, candidate{sub.Name, sub.Usage})
		}
	}
	return found
}

// argument returns what may be the next argument, going by the command's ArgsUsage.
func (l *typedLine) argument() []candidate {
	places := strings.Fields(l.call.command().ArgsUsage)
	place := len(l.arguments)
	if len(places) > 0 && strings.Contains(places[len(places)-1], "…") {
		place = min(place, len(places)-1)
	}
	if place >= len(places) {
		return nil
	}
	return slices.DeleteFunc(l.standingFor(strings.Trim(places[place], "[]…")), func(c candidate) bool {
		return slices.Contains(l.arguments, c.word)
	})
}

// flags returns the flags that may still be given, those of the command first.
func (l *typedLine) flags() []candidate {
	var found []candidate
	for _, command := range slices.Backward(l.call.path) {
		for _, flag := range describeFlags(command.Flags) {
			if _, given := l.given[flag.names[0]]; !given || flag.repeatable {
				found = append(found, candidate{"--" + flag.names[0], flag.usage})
			}
		}
	}
	return found
}

func (l *typedLine) valuesOf(flag cli.Flag) []candidate {
	var found []candidate
	for _, text := range describeFlags([]cli.Flag{flag}) {
		found = append(found, l.standingFor(text.placeholder)...)
	}
	return found
}

// literal is a word of a placeholder that stands for itself.
var literal = regexp.MustCompile(`^[a-z-]+$`)

// standingFor returns what may stand for a placeholder in the help, such as
// text|json or TYPE|all. One that is not known here is anybody's guess.
func (l *typedLine) standingFor(placeholder string) []candidate {
	var found []candidate
	add := func(words ...string) {
		for _, word := range words {
			found = append(found, candidate{word: word})
		}
	}
	for word := range strings.SplitSeq(placeholder, "|") {
		switch {
		case literal.MatchString(word):
			add(word)
		case word == "CODE":
			for _, form := range l.forms().All() {
				found = append(found, candidate{form.Code, form.Name})
			}
		case word == "TYPE":
			add(l.forms().EntityTypes()...)
		case word == "STATUS":
			add(storage.Statuses()...)
		case word == "KIND":
			add(batch.ErrorTypes()...)
		case strings.HasPrefix(word, "FILE"):
			add(anyFile)
		case word == "DIR":
			add(anyFolder)
		}
	}
	return found
}

// forms returns the forms that the configuration knows, whatever else is wrong
// with it; the built-in ones where it cannot be read.
func (l *typedLine) forms() *batch.ObjectTypes {
	cfg := defaultConfig()
	builtIn, err := cfg.batch.Forms()
	if err != nil {
		return new(batch.ObjectTypes)
	}
	path := l.given["config"]
	for _, other := range []string{os.Getenv("NOGGIN_CONFIG"), defaultConfigPath} {
		if path == "" {
			path = other
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return builtIn
	}
	cfg.settings().decode(string(text))
	forms, err := cfg.batch.Forms()
	if err != nil {
		return builtIn
	}
	return forms
}
