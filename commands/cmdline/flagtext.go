package cmdline

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// FlagText is a flag as help, manual pages and completion describe it.
type FlagText struct {
	names       []string // without dashes, the long one first
	Placeholder string   // FILE, or text|json; empty where the flag takes no value
	Usage       string
	byDefault   string   // empty for none worth telling
	environment []string // variables that set it too
	repeatable  bool
}

// DescribeFlags returns the flags that are not hidden, in their order.
func DescribeFlags(flags []cli.Flag) []FlagText {
	var texts []FlagText
	for _, flag := range flags {
		doc, ok := flag.(cli.DocGenerationFlag)
		visible, can := flag.(cli.VisibleFlag)
		if !ok || can && !visible.IsVisible() {
			continue
		}
		text := FlagText{names: flag.Names(), Usage: doc.GetUsage(), environment: doc.GetEnvVars()}
		if before, rest, found := strings.Cut(text.Usage, "`"); found {
			placeholder, after, _ := strings.Cut(rest, "`")
			text.Placeholder, text.Usage = placeholder, before+placeholder+after
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

// Spellings are the names with their dashes: --help, -h.
func (f FlagText) Spellings() []string {
	spelled := make([]string, len(f.names))
	for i, name := range f.names {
		spelled[i] = "--" + name
		if len(name) == 1 {
			spelled[i] = "-" + name
		}
	}
	return spelled
}

// Remarks are the default and the variables, as they stand behind the usage.
func (f FlagText) Remarks() string {
	var b strings.Builder
	if f.byDefault != "" {
		b.WriteString(" (default: " + f.byDefault + ")")
	}
	for _, variable := range f.environment {
		b.WriteString(" [$" + variable + "]")
	}
	return b.String()
}
