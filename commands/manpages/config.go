package main

import (
	"fmt"
	"strings"
)

// configPage makes the page of the configuration file in Markdown. Its texts are the
// comments of the example, which stand above their keys.
func configPage(example string) string {
	var b strings.Builder
	b.WriteString("## NAME\n\nnoggin.toml - the configuration of noggin\n\n## DESCRIPTION\n\n")
	var comment, keys []string
	flush := func() {
		text := strings.Join(comment, "\n")
		switch {
		case len(keys) > 0:
			writeKeys(&b, keys, text)
		case text != "":
			b.WriteString(blocks(text))
		}
		comment, keys = nil, nil
	}
	for line := range strings.SplitSeq(example, "\n") {
		text, isComment := strings.CutPrefix(line, "#")
		switch {
		case strings.HasPrefix(line, "["), strings.HasPrefix(line, "#["):
			flush()
			fmt.Fprintf(&b, "## %s\n\n", escaped(strings.TrimPrefix(line, "#")))
		case isComment && (text == "" || text[0] == ' '):
			if strings.HasPrefix(text, " Example: ") {
				comment = append(comment, "")
			}
			comment = append(comment, strings.TrimPrefix(text, " "))
		case isComment:
			keys = append(keys, text)
		default:
			flush()
		}
	}
	flush()
	return b.String()
}

// writeKeys writes keys with their defaults, and their comment.
func writeKeys(b *strings.Builder, keys []string, comment string) {
	for i, key := range keys {
		name, value, _ := strings.Cut(key, " = ")
		keys[i] = "**" + escaped(name) + "** = " + escaped(value)
	}
	text := strings.ReplaceAll(strings.TrimSpace(blocks(comment)), "\n\n", "\n\n    ")
	fmt.Fprintf(b, "%s\n: %s\n\n", strings.Join(keys, ", "), text)
}
