package cmdline

import (
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Candidate is what may stand at the cursor.
type Candidate struct{ Word, Description string }

// These stand for what the shell itself knows best.
const (
	anyFile   = ":file"
	anyFolder = ":folder"
)

// typedLine is a command line, read as far as the word at the cursor.
type typedLine struct {
	values    Values
	call      Invocation
	given     map[string]string // flags, with their values
	awaiting  cli.Flag          // the flag whose value comes next, or nil
	arguments []string
	flagsEnd  bool   // there was a "--"
	typed     string // of the value at the cursor
}

// Values returns what may stand for a placeholder of the help, such as CODE, on a
// command line with the flags given, where typed is its beginning. It returns nothing for a
// placeholder that it does not know, and need not heed typed.
type Values func(placeholder, typed string, given map[string]string) []Candidate

// Complete returns what may stand in the place of the last of words.
func Complete(root *cli.Command, words []string, values Values) []Candidate {
	if len(words) == 0 {
		return nil
	}
	line := typedLine{values: values, call: Invocation{Path: []*cli.Command{root}}, given: map[string]string{}}
	for _, word := range words[:len(words)-1] {
		line.read(word)
	}
	typed := words[len(words)-1]
	var found []Candidate
	line.typed = typed
	switch name, value, hasValue := strings.Cut(typed, "="); {
	case line.awaiting != nil:
		found = line.valuesOf(line.awaiting)
	case line.flagsEnd || !strings.HasPrefix(typed, "-"):
		found = append(line.subcommands(), line.argument()...)
	case hasValue:
		line.typed = value
		_, flag := line.call.findFlag(strings.TrimLeft(name, "-"))
		for _, value := range line.valuesOf(flag) {
			if value.Word != anyFile && value.Word != anyFolder {
				value.Word = name + "=" + value.Word
			}
			found = append(found, value)
		}
	default:
		found = line.flags()
	}
	return slices.DeleteFunc(found, func(c Candidate) bool {
		return !strings.HasPrefix(c.Word, typed) && c.Word != anyFile && c.Word != anyFolder
	})
}

// read takes a word before the cursor as Parse would. It skips what Parse would
// refuse: the user will come back to it.
func (l *typedLine) read(word string) {
	switch {
	case l.awaiting != nil:
		l.given[l.awaiting.Names()[0]], l.awaiting = word, nil
	case l.flagsEnd || word == "-" || !strings.HasPrefix(word, "-"):
		sub := l.call.Command().Command(word)
		switch {
		case l.flagsEnd || len(l.arguments) > 0:
			l.arguments = append(l.arguments, word)
		case sub != nil:
			l.call.Path = append(l.call.Path, sub)
		case word != "help" || len(l.call.Path) > 1:
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

func (l *typedLine) subcommands() []Candidate {
	if l.flagsEnd || len(l.arguments) > 0 {
		return nil
	}
	var found []Candidate
	for _, sub := range l.call.Command().Subcommands {
		if !sub.Hidden {
			found = append(found, Candidate{sub.Name, sub.Usage})
		}
	}
	return found
}

// argument returns what may be the next argument, going by the command's ArgsUsage.
func (l *typedLine) argument() []Candidate {
	places := strings.Fields(l.call.Command().ArgsUsage)
	place := len(l.arguments)
	if len(places) > 0 && strings.Contains(places[len(places)-1], "…") {
		place = min(place, len(places)-1)
	}
	if place >= len(places) {
		return nil
	}
	return slices.DeleteFunc(l.standingFor(strings.Trim(places[place], "[]…")), func(c Candidate) bool {
		return slices.Contains(l.arguments, c.Word)
	})
}

// flags returns the flags that may still be given, those of the command first.
func (l *typedLine) flags() []Candidate {
	var found []Candidate
	for _, command := range slices.Backward(l.call.Path) {
		for _, flag := range DescribeFlags(command.Flags) {
			if _, given := l.given[flag.names[0]]; !given || flag.repeatable {
				found = append(found, Candidate{"--" + flag.names[0], flag.Usage})
			}
		}
	}
	return found
}

func (l *typedLine) valuesOf(flag cli.Flag) []Candidate {
	var found []Candidate
	for _, text := range DescribeFlags([]cli.Flag{flag}) {
		found = append(found, l.standingFor(text.Placeholder)...)
	}
	return found
}

// literal is a word of a placeholder that stands for itself.
var literal = regexp.MustCompile(`^[a-z-]+$`)

// standingFor returns what may stand for a placeholder in the help, such as
// text|json or TYPE|all.
func (l *typedLine) standingFor(placeholder string) []Candidate {
	var found []Candidate
	for word := range strings.SplitSeq(placeholder, "|") {
		switch {
		case literal.MatchString(word):
			found = append(found, Candidate{Word: word})
		case strings.HasPrefix(word, "FILE"):
			found = append(found, Candidate{Word: anyFile})
		case word == "DIR":
			found = append(found, Candidate{Word: anyFolder})
		default:
			found = append(found, l.values(word, l.typed, l.given)...)
		}
	}
	return found
}
