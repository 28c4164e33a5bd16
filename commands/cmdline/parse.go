package cmdline

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"

	"noggin/commands/show"
)

// Invocation is a command line that was understood: which command it names, and
// its arguments in the one order that urfave/cli parses.
type Invocation struct {
	Path []*cli.Command // from the root to the command
	Args []string       // for App.Run
	Help bool
}

// Command is the command that the command line names.
func (i Invocation) Command() *cli.Command { return i.Path[len(i.Path)-1] }

// Name is the command as the operator typed it: "noggin hashes import".
func (i Invocation) Name() string {
	names := make([]string, len(i.Path))
	for n, command := range i.Path {
		names[n] = command.Name
	}
	return strings.Join(names, " ")
}

// givenFlag is a flag as it stood on the command line.
type givenFlag struct {
	owner int // index into the path
	name  string
	value string
}

// Parse reads args (without the program's name) against the tree of commands under
// root. urfave/cli stops looking for flags at the first argument, so a --dry-run after
// a file name would be ignored. Here flags may stand anywhere after the command that
// has them, until "--". What no command knows is a usage error.
func Parse(root *cli.Command, args []string) (Invocation, error) {
	call := Invocation{Path: []*cli.Command{root}}
	var flags []givenFlag
	var positional []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			positional = append(positional, args[i+1:]...)
			i = len(args)
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			if sub := call.Command().Command(arg); sub != nil && len(positional) == 0 {
				call.Path = append(call.Path, sub)
			} else if arg == "help" && len(call.Path) == 1 && len(positional) == 0 {
				call.Help = true
			} else {
				positional = append(positional, arg)
			}
		default:
			flag, used, err := call.readFlag(arg, args[i+1:])
			if err != nil {
				return call, err
			}
			i += used
			switch {
			case flag.name == "help":
				call.Help = true
			case flag.name == "version" && len(call.Path) == 1 && root.Command("version") != nil:
				call.Path = append(call.Path, root.Command("version"))
			default:
				flags = append(flags, flag)
			}
		}
	}
	if call.Help {
		return call, call.checkHelp(positional)
	}
	if call.Command().Action == nil && len(positional) == 0 { // it only has commands: which?
		call.Help = true
		return call, nil
	}
	call.assemble(flags, positional)
	return call, call.check(flags, positional)
}

// readFlag reads the flag at the head of the command line, with its value from
// rest where it takes one, and says how many words of rest that used.
func (i Invocation) readFlag(arg string, rest []string) (givenFlag, int, error) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	owner, flag := i.findFlag(name)
	if flag == nil {
		shown := strings.TrimRight(arg[:len(arg)-len(strings.TrimLeft(arg, "-"))]+name, "=")
		return givenFlag{}, 0, i.unknown("unknown flag "+shown, name, i.flagNames(), "--")
	}
	given := givenFlag{owner: owner, name: flag.Names()[0], value: value}
	if !takesValue(flag) {
		if !hasValue {
			given.value = "true"
		}
		return given, 0, nil
	}
	if hasValue {
		return given, 0, nil
	}
	if len(rest) == 0 {
		return givenFlag{}, 0, Usagef("flag --%s needs a value", given.name)
	}
	// A flag in the place of a value is a forgotten value, and must not be
	// swallowed: it may be --dry-run.
	if next, _, _ := strings.Cut(strings.TrimLeft(rest[0], "-"), "="); strings.HasPrefix(rest[0], "-") {
		if _, known := i.findFlag(next); known != nil || rest[0] == "--" {
			return givenFlag{}, 0, Hint(Usagef("flag --%s needs a value, but %s follows", given.name, rest[0]),
				"a value that looks like a flag is written --"+given.name+"="+rest[0])
		}
	}
	given.value = rest[0]
	return given, 1, nil
}

// findFlag looks for a flag from the innermost command outwards.
func (i Invocation) findFlag(name string) (owner int, flag cli.Flag) {
	for owner = len(i.Path) - 1; owner >= 0; owner-- {
		if flag = flagNamed(i.Path[owner], name); flag != nil {
			return owner, flag
		}
	}
	return 0, nil
}

func (i Invocation) flagNames() []string {
	var names []string
	for _, command := range i.Path {
		for _, flag := range command.Flags {
			names = append(names, flag.Names()...)
		}
	}
	return names
}

// assemble writes the arguments in urfave's order: each command followed by its
// flags, and the rest behind "--". A flag that the innermost command has too is
// meant for it, wherever it stood.
func (i *Invocation) assemble(flags []givenFlag, positional []string) {
	for n, given := range flags {
		was := flagNamed(i.Path[given.owner], given.name)
		if owner, flag := i.findFlag(given.name); takesValue(flag) == takesValue(was) {
			flags[n].owner = owner
		}
	}
	for n, command := range i.Path {
		i.Args = append(i.Args, command.Name)
		for _, given := range flags {
			if given.owner == n {
				i.Args = append(i.Args, "--"+given.name+"="+given.value)
			}
		}
	}
	if len(positional) > 0 {
		i.Args = append(append(i.Args, "--"), positional...)
	}
}

// check refuses arguments and flags that the command does not take, and reports those
// that it needs.
func (i Invocation) check(flags []givenFlag, positional []string) error {
	command := i.Command()
	least, most := argumentCount(command.ArgsUsage)
	switch {
	case len(command.Subcommands) > 0 && len(positional) > most:
		return i.unknownCommand(positional[0])
	case len(positional) > most:
		return Usagef("unexpected argument %s", show.Quoted(positional[most]))
	case len(positional) < least:
		return Usagef("missing argument: %s", strings.Fields(command.ArgsUsage)[len(positional)])
	}
	for _, flag := range command.Flags {
		required, ok := flag.(cli.RequiredFlag)
		given := func(g givenFlag) bool { return slices.Contains(flag.Names(), g.name) }
		if ok && required.IsRequired() && !slices.ContainsFunc(flags, given) {
			return Usagef("flag --%s is missing", flag.Names()[0])
		}
	}
	return nil
}

// checkHelp refuses help for an unknown command.
func (i Invocation) checkHelp(positional []string) error {
	if command := i.Command(); command.Action == nil && len(command.Subcommands) > 0 && len(positional) > 0 {
		return i.unknownCommand(positional[0])
	}
	return nil
}

func (i Invocation) unknownCommand(word string) error {
	return i.unknown("unknown command "+show.Quoted(word), word, commandNames(i.Command()), "")
}

// unknown returns the error for a word that is none of known, with the nearest of
// them.
func (i Invocation) unknown(message, word string, known []string, prefix string) error {
	if near := Nearest(word, known); near != "" {
		message += " (did you mean " + prefix + near + "?)"
	}
	return Hint(Usagef("%s", message), "see "+i.Name()+" --help")
}

// argumentCount reads from a command's ArgsUsage how many arguments it takes:
// "TYPE FILE" exactly two, "[FILE]" at most one, "FILE…" and "[FILE…]" any number.
func argumentCount(usage string) (least, most int) {
	for _, word := range strings.Fields(usage) {
		if !strings.HasPrefix(word, "[") {
			least++
		}
		most++
		if strings.Contains(word, "…") {
			most = 1 << 30
		}
	}
	return least, most
}

func flagNamed(command *cli.Command, name string) cli.Flag {
	for _, flag := range command.Flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

func takesValue(flag cli.Flag) bool {
	doc, ok := flag.(cli.DocGenerationFlag)
	return ok && doc.TakesValue()
}

func commandNames(command *cli.Command) []string {
	var names []string
	for _, sub := range command.Subcommands {
		if !sub.Hidden {
			names = append(names, sub.Name)
		}
	}
	return names
}

// Nearest returns the one of words that word was probably meant to be, or "".
func Nearest(word string, words []string) string {
	const longest = 200 // bytes; a longer text is no slip of the finger, and comparing it takes seconds
	if len(word) > longest {
		return ""
	}
	best, bestDistance := "", 1+len(word)/3
	for _, candidate := range words {
		if distance := smetrics.WagnerFischer(word, candidate, 1, 1, 1); distance <= bestDistance && len(candidate) > 1 {
			best, bestDistance = candidate, distance-1
		}
	}
	return best
}
