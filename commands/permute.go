package commands

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// invocation is a command line that was understood: which command it names, and
// its arguments in the one order that urfave/cli parses.
type invocation struct {
	path []*cli.Command // from the root to the command
	args []string       // for App.Run
	help bool
}

func (i invocation) command() *cli.Command { return i.path[len(i.path)-1] }

// name is the command as the operator typed it: "noggin hashes import".
func (i invocation) name() string {
	names := make([]string, len(i.path))
	for n, command := range i.path {
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

// permute reads args (without the program's name) against the tree of commands
// under root. urfave/cli stops looking for flags at the first argument that is
// none, so that a --dry-run behind a file name would be no dry run: here flags
// may stand anywhere after the command that has them, until "--". What no command
// knows is a usage error.
func permute(root *cli.Command, args []string) (invocation, error) {
	call := invocation{path: []*cli.Command{root}}
	var flags []givenFlag
	var positional []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			positional = append(positional, args[i+1:]...)
			i = len(args)
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			if sub := call.command().Command(arg); sub != nil && len(positional) == 0 {
				call.path = append(call.path, sub)
			} else if arg == "help" && len(call.path) == 1 && len(positional) == 0 {
				call.help = true
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
				call.help = true
			case flag.name == "version" && len(call.path) == 1 && root.Command("version") != nil:
				call.path = append(call.path, root.Command("version"))
			default:
				flags = append(flags, flag)
			}
		}
	}
	if call.help {
		return call, call.checkHelp(positional)
	}
	call.assemble(flags, positional)
	return call, call.check(flags, positional)
}

// readFlag reads the flag at the head of the command line, with its value from
// rest where it takes one, and says how many words of rest that used.
func (i invocation) readFlag(arg string, rest []string) (givenFlag, int, error) {
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
		return givenFlag{}, 0, usagef("flag --%s needs a value", given.name)
	}
	// A flag in the place of a value is a forgotten value, and must not be
	// swallowed: it may be --dry-run.
	if next, _, _ := strings.Cut(strings.TrimLeft(rest[0], "-"), "="); strings.HasPrefix(rest[0], "-") {
		if _, known := i.findFlag(next); known != nil || rest[0] == "--" {
			return givenFlag{}, 0, hint(usagef("flag --%s needs a value, but %s follows", given.name, rest[0]),
				"a value that looks like a flag is written --"+given.name+"="+rest[0])
		}
	}
	given.value = rest[0]
	return given, 1, nil
}

// findFlag looks for a flag from the innermost command outwards.
func (i invocation) findFlag(name string) (owner int, flag cli.Flag) {
	for owner = len(i.path) - 1; owner >= 0; owner-- {
		if flag = flagNamed(i.path[owner], name); flag != nil {
			return owner, flag
		}
	}
	return 0, nil
}

func (i invocation) flagNames() []string {
	var names []string
	for _, command := range i.path {
		for _, flag := range command.Flags {
			names = append(names, flag.Names()...)
		}
	}
	return names
}

// assemble writes the arguments in urfave's order: each command followed by its
// flags, and the rest behind "--". A flag that the innermost command has too is
// meant for it, wherever it stood.
func (i *invocation) assemble(flags []givenFlag, positional []string) {
	for n, given := range flags {
		was := flagNamed(i.path[given.owner], given.name)
		if owner, flag := i.findFlag(given.name); takesValue(flag) == takesValue(was) {
			flags[n].owner = owner
		}
	}
	for n, command := range i.path {
		i.args = append(i.args, command.Name)
		for _, given := range flags {
			if given.owner == n {
				i.args = append(i.args, "--"+given.name+"="+given.value)
			}
		}
	}
	if len(positional) > 0 {
		i.args = append(append(i.args, "--"), positional...)
	}
}

// check refuses what the command does not take, and misses what it must have.
func (i invocation) check(flags []givenFlag, positional []string) error {
	command := i.command()
	least, most := argumentCount(command.ArgsUsage)
	switch {
	case command.Action == nil && len(positional) == 0:
		return hint(usagef("which command?"), "one of: "+strings.Join(commandNames(command), ", "))
	case len(command.Subcommands) > 0 && len(positional) > most:
		return i.unknownCommand(positional[0])
	case len(positional) > most:
		return usagef("unexpected argument %s", quoted(positional[most]))
	case len(positional) < least:
		return usagef("missing argument: %s", strings.Fields(command.ArgsUsage)[len(positional)])
	}
	for _, flag := range command.Flags {
		required, ok := flag.(cli.RequiredFlag)
		given := func(g givenFlag) bool { return slices.Contains(flag.Names(), g.name) }
		if ok && required.IsRequired() && !slices.ContainsFunc(flags, given) {
			return usagef("flag --%s is missing", flag.Names()[0])
		}
	}
	return nil
}

// checkHelp refuses help about a command that there is not.
func (i invocation) checkHelp(positional []string) error {
	if len(i.command().Subcommands) > 0 && len(positional) > 0 {
		return i.unknownCommand(positional[0])
	}
	return nil
}

func (i invocation) unknownCommand(word string) error {
	return i.unknown("unknown command "+quoted(word), word, commandNames(i.command()), "")
}

// unknown is the error for a word that none of known is, with the nearest of them.
func (i invocation) unknown(message, word string, known []string, prefix string) error {
	if near := nearest(word, known); near != "" {
		message += " (did you mean " + prefix + near + "?)"
	}
	return hint(usagef("%s", message), "see "+i.name()+" --help")
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

// nearest returns the one of words that word was probably meant to be, or "".
func nearest(word string, words []string) string {
	best, bestDistance := "", 1+len(word)/3
	for _, candidate := range words {
		if distance := smetrics.WagnerFischer(word, candidate, 1, 1, 1); distance <= bestDistance && len(candidate) > 1 {
			best, bestDistance = candidate, distance-1
		}
	}
	return best
}
