package commands

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// printHelp writes the help of the command that call names: what it does, how it
// is called, and its flags, one line each.
func printHelp(w io.Writer, call invocation) error {
	command := call.command()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage:\n  %s\n", call.name(), command.Usage, usageLine(call))
	text, chapters := describe(command)
	if text != "" {
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	if len(command.Subcommands) > 0 {
		b.WriteString("\nCommands:\n")
		for _, sub := range command.Subcommands {
			if !sub.Hidden {
				fmt.Fprintf(&b, "  %s\t%s\n", sub.Name, sub.Usage)
			}
		}
	}
	writeFlags(&b, command.Flags)
	for _, chapter := range chapters {
		fmt.Fprintf(&b, "\n%s:\n%s\n", chapter.title, chapter.body)
	}
	if len(call.path) > 1 {
		fmt.Fprintf(&b, "\nFlags of every command: see %s --help\n", call.path[0].Name)
	}
	columns := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	if _, err := io.WriteString(columns, b.String()); err != nil {
		return err
	}
	return columns.Flush()
}

// chapter is a part of a command's description under a heading of its own.
type chapter struct{ title, body string }

var chapterHeading = regexp.MustCompile(`(?m)^([A-Z][a-z ]+):\n( )`)

// describe parts a command's description into what comes first and its chapters:
// a heading such as "Examples:" on a line of its own, and indented lines below.
func describe(command *cli.Command) (text string, chapters []chapter) {
	rest := strings.TrimSpace(command.Description)
	for {
		found := chapterHeading.FindStringSubmatchIndex(rest)
		before := rest
		if found != nil {
			before = rest[:found[0]]
		}
		if len(chapters) == 0 {
			text = strings.TrimSpace(before)
		} else {
			chapters[len(chapters)-1].body = strings.TrimRight(before, "\n ")
		}
		if found == nil {
			return text, chapters
		}
		chapters = append(chapters, chapter{title: rest[found[2]:found[3]]})
		rest = rest[found[4]:]
	}
}

func usageLine(call invocation) string {
	command := call.command()
	line := call.name()
	switch {
	case len(command.Subcommands) == 0:
	case command.Action == nil:
		line += " COMMAND"
	default:
		line += " [COMMAND]"
	}
	if len(command.Flags) > 0 {
		line += " [flags]"
	}
	if command.ArgsUsage != "" {
		line += " " + command.ArgsUsage
	}
	return line
}

// writeFlags writes the flags, each with a tab between its names and its usage.
func writeFlags(b *strings.Builder, flags []cli.Flag) {
	heading := "\nFlags:\n"
	for _, flag := range describeFlags(flags) {
		names := strings.TrimSpace(strings.Join(flag.spellings(), ", ") + " " + flag.placeholder)
		fmt.Fprintf(b, "%s  %s\t%s%s\n", heading, names, flag.usage, flag.remarks())
		heading = ""
	}
}
