package config

import (
	"regexp"
	"strings"
)

// wrongTypes is how the library words that a value has another type than its key.
var wrongTypes = regexp.MustCompile(`^incompatible types: TOML value has type \S+; destination has type (\S+)$`)

func wrongType(message string) string {
	found := wrongTypes.FindStringSubmatch(message)
	if found == nil {
		return message
	}
	switch found[1] {
	case "string":
		return "want text in quotes"
	case "slice":
		return "want a list: [\"a\", \"b\"], or of tables, each with a header [[NAME]]"
	case "map", "struct":
		return "want a table: {a = \"b\"}, or a section"
	case "bool":
		return "want true or false"
	}
	return "want a number"
}

// brokenLine says what is wrong with a line that is neither a header nor a key with a
// value, in place of what the TOML library says.
func brokenLine(text string, p problem) problem {
	lines := strings.Split(text, "\n")
	at := func(n int) string {
		if n < 1 || n > len(lines) {
			return ""
		}
		return strings.TrimSpace(lines[n-1])
	}
	if previous := at(p.line - 1); strings.HasPrefix(previous, "[") && !header.MatchString(previous) && !inValue(lines[:p.line-2]) {
		p.line-- // the library noticed it at the beginning of the next line
	}
	switch line := at(p.line); {
	case line == "" || strings.HasPrefix(line, "#") || inValue(lines[:max(0, p.line-1)]):
	case strings.HasPrefix(line, "[") && !header.MatchString(line):
		p.text = "a broken header: a section begins with its name in brackets, alone on a line, such as [api]; a list of tables with [[import.source]]"
	case strings.HasPrefix(line, "="):
		p.text = "the name of a key is missing before the ="
	case !strings.Contains(line, "="):
		p.text = "neither a key nor a header: want NAME = VALUE, with texts in quotes, or a section in brackets such as [api]"
	}
	return p
}

// header is the header of a section, or of a table in a list.
var header = regexp.MustCompile(`^(\[` + headerName + `\]|\[\[` + headerName + `\]\])\s*(#.*)?$`)

const headerName = `\s*(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*\s*`

// inValue tells whether the lines end within a text or list of several lines, where a line
// may look like anything.
func inValue(lines []string) bool {
	text := strings.Join(lines, "\n")
	if strings.Count(text, `"""`)%2 == 1 || strings.Count(text, "'''")%2 == 1 {
		return true
	}
	last := 0
	for i, line := range lines {
		if strings.Contains(line, "=") || header.MatchString(strings.TrimSpace(line)) {
			last = i
		}
	}
	tail := strings.Join(lines[min(last, len(lines)):], "\n")
	return strings.Count(tail, "[") > strings.Count(tail, "]") || strings.Count(tail, "{") > strings.Count(tail, "}")
}
