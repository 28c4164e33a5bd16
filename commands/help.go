package commands

import (
	"fmt"
	"io"
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
	if command.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(command.Description))
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
	if len(call.path) > 1 {
		fmt.Fprintf(&b, "\nFlags of every command: see %s --help\n", call.path[0].Name)
	}
	columns := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	if _, err := io.WriteString(columns, b.String()); err != nil {
		return err
	}
	return columns.Flush()
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
