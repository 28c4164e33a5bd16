package commands

import (
	"cmp"
	"context"
	"embed"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// completionScripts are installed as they are, and printed by completionCommand.
// They leave the thinking to completeCommand.
//
//go:embed completion
var completionScripts embed.FS

func completionCommand() *cli.Command {
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
may read it. Names of vehicles, trailers, departments, teams, people and customers
come from the database, if it answers at once; nothing else asks it.`,
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			script, err := completionScripts.ReadFile("completion/noggin." + shell)
			if err != nil {
				return cmdline.Hint(cmdline.Usagef("no completion for %s", show.Quoted(shell)), "one of: bash, zsh, fish")
			}
			_, err = c.App.Writer.Write(script)
			return err
		},
	}
}

// completeCommand is what the scripts call, with the words of the command line up
// to the cursor. It prints a candidate a line, with its description behind a tab.
// It complains of nothing. It reads the configuration, and for names the database.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:      "complete",
		Usage:     "list what may stand at the end of a command line, for the completion scripts",
		ArgsUsage: "[WORD…]",
		Hidden:    true,
		Action: func(c *cli.Context) error {
			var b strings.Builder
			for _, found := range cmdline.Complete(cmdline.Root(c.App), c.Args().Slice(), knownValues) {
				b.WriteString(strings.TrimSuffix(found.Word+"\t"+found.Description, "\t") + "\n")
			}
			_, err := io.WriteString(c.App.Writer, b.String())
			return err
		},
	}
}

// knownValues returns the words for a placeholder that only the configuration or the
// database explains.
func knownValues(placeholder, typed string, given map[string]string) []cmdline.Candidate {
	var words []string
	switch placeholder {
	case "CODE":
		var found []cmdline.Candidate
		for _, form := range knownForms(given["config"]).All() {
			found = append(found, cmdline.Candidate{Word: form.Code, Description: form.Name})
		}
		return found
	case "TYPE":
		words = knownForms(given["config"]).EntityTypes()
	case "STATUS":
		words = session.StatusWords()
	case "KIND":
		words = health.ErrorTypes()
	case "ANSWER":
		words = session.ComplianceWords(knownForms(given["config"]))
	case "VEHICLE", "TRAILER", "DEPARTMENT", "TEAM", "PERSON", "CUSTOMER":
		words = knownNames(strings.ToLower(placeholder), typed, given["config"])
	}
	var found []cmdline.Candidate
	for _, word := range words {
		found = append(found, cmdline.Candidate{Word: word})
	}
	return found
}

// How long completion waits for names, and how many it offers.
const (
	namesPatience = 700 * time.Millisecond
	namesOffered  = 200
)

// knownNames returns the names of a type that begin with what is typed, if the database
// tells them at once.
func knownNames(entityType, typed, path string) (names []string) {
	cfg := config.LoadLeniently(cmp.Or(path, os.Getenv("NOGGIN_CONFIG"), config.DefaultPath), os.Getenv).Storage
	if cfg.URL == "" || !utf8.ValidString(typed) || strings.ContainsRune(typed, 0) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), namesPatience)
	defer cancel()
	db, err := storage.Open(cfg, "complete")
	if err != nil {
		return nil
	}
	defer func() { _ = db.Close() }() // nothing was written
	if names, err = db.NamesBeginning(ctx, entityType, typed, namesOffered); err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return show.Printable(name) != name })
}

// knownForms returns the forms of the configuration at path, whatever else is wrong
// with it, or the built-in forms when it cannot be read. An empty path means the usual
// file.
func knownForms(path string) *forms.ObjectTypes {
	types, err := config.LoadLeniently(cmp.Or(path, os.Getenv("NOGGIN_CONFIG"), config.DefaultPath), os.Getenv).Batch.Forms()
	if err == nil {
		return types
	}
	if types, err = config.Default().Batch.Forms(); err == nil {
		return types
	}
	return new(forms.ObjectTypes)
}
