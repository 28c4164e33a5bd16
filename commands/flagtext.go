package commands

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagText is a flag as help, manual pages and completion tell of it.
type flagText struct {
	names       []string // without dashes, the long one first
	placeholder string   // FILE, or text|json; empty where the flag takes no value
	usage       string
	byDefault   string   // empty for none worth telling
	environment []string // variables that set it too
	repeatable  bool
}

// describeFlags returns the flags that are not hidden, in their order.
func describeFlags(flags []cli.Flag) []flagText {
	var texts []flagText
	for _, flag := range flags {
		doc, ok := flag.(cli.DocGenerationFlag)
		visible, can := flag.(cli.VisibleFlag)
		if !ok || can && !visible.IsVisible() {
			continue
		}
		text := flagText{names: flag.Names(), usage: doc.GetUsage(), environment: doc.GetEnvVars()}
		if before, rest, found := strings.Cut(text.usage, "`"); found {
			placeholder, after, _ := strings.Cut(rest, "`")
			text.placeholder, text.usage = placeholder, before+placeholder+after
		}
		// Nothing, as the zero values say, is what a flag that is not given does.
		if value := strings.Trim(doc.GetDefaultText(), `"`); !slices.Contains([]string{"false", "0", "0s"}, value) {
			text.byDefault = value
		}
		slice, ok := flag.(cli.DocGenerationSliceFlag)
		text.repeatable = ok && slice.IsSliceFlag()
		texts = append(texts, text)
	}
	return texts
}

// spellings are the names with their dashes: --help, -h.
func (f flagText) spellings() []string {
	spelled := make([]string, len(f.names))
	for i, name := range f.names {
		spelled[i] = "--" + name
		if len(name) == 1 {
			spelled[i] = "-" + name
		}
	}
	return spelled
}

// remarks are the default and the variables, as they stand behind the usage.
func (f flagText) remarks() string {
	var b strings.Builder
	if f.byDefault != "" {
		b.WriteString(" (default: " + f.byDefault + ")")
	}
	for _, variable := range f.environment {
		b.WriteString(" [$" + variable + "]")
	}
	return b.String()
}
