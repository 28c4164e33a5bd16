package cmdline

import (
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"noggin/commands/show"
)

// PrintHelp writes the help of the command that call names: what it does, how it
// is called, its commands and its flags. It fits the terminal.
func PrintHelp(w io.Writer, call Invocation) error {
	command, out := call.Command(), show.New(w, show.Text)
	h := help{width: out.Width, colour: out.Colour}
	h.paragraph(call.Name() + ": " + command.Usage)
	h.heading("Usage")
	h.line("  " + UsageLine(call))
	text, chapters := Describe(command)
	if text != "" {
		h.line("")
		h.text(text)
	}
	if len(command.Subcommands) > 0 {
		h.heading("Commands")
		var rows [][2]string
		for _, sub := range command.Subcommands {
			if !sub.Hidden {
				rows = append(rows, [2]string{sub.Name, sub.Usage})
			}
		}
		h.list(rows)
	}
	if flags := DescribeFlags(command.Flags); len(flags) > 0 {
		h.heading("Flags")
		var rows [][2]string
		for _, flag := range flags {
			rows = append(rows, [2]string{strings.TrimSpace(strings.Join(flag.Spellings(), ", ") + " " + flag.Placeholder), flag.Usage + flag.Remarks()})
		}
		h.list(rows)
	}
	for _, chapter := range chapters {
		h.heading(chapter.Title)
		h.text(chapter.Body)
	}
	if len(call.Path) > 1 {
		h.line("")
		h.line("Flags of every command: see " + call.Path[0].Name + " --help")
	}
	_, err := io.WriteString(w, h.b.String())
	return err
}

// help is the text of a help, laid out for width columns; 0 is no limit.
type help struct {
	b      strings.Builder
	width  int
	colour show.Palette
}

func (h *help) line(line string) { h.b.WriteString(line + "\n") }

func (h *help) heading(title string) {
	h.line("")
	h.line(h.colour.Paint(show.Bold, title+":"))
}

func (h *help) paragraph(sentence string) {
	for _, line := range show.Wrapped(sentence, h.width) {
		h.line(line)
	}
}

// text writes paragraphs, wrapped anew where the terminal is narrower than they were
// written for. Indented lines stay.
func (h *help) text(text string) {
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			h.paragraph(strings.Join(paragraph, " "))
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if h.width > 0 && line != "" && !strings.HasPrefix(line, " ") {
			paragraph = append(paragraph, line)
			continue
		}
		flush()
		h.indented(line)
	}
	flush()
}

// entry is a name and what it means, two blanks or more between them.
var entry = regexp.MustCompile(`^( +\S.*?  +)(\S.*)$`)

// indented writes an indented line. Of a name and its meaning, further lines stand below
// the meaning; others are examples, and stay.
func (h *help) indented(line string) {
	found := entry.FindStringSubmatch(line)
	switch {
	case h.width == 0 || found == nil || utf8.RuneCountInString(line) <= h.width:
		h.line(line)
		return
	case strings.HasPrefix(found[2], "#"): // the comment of an example
		h.line(strings.TrimRight(found[1], " "))
		h.line("      " + found[2])
		return
	}
	indent := utf8.RuneCountInString(found[1])
	for i, part := range show.Wrapped(found[2], max(20, h.width-indent)) {
		if i == 0 {
			h.line(found[1] + part)
			continue
		}
		h.line(strings.Repeat(" ", indent) + part)
	}
}

// widestName is the width of names in a list from which the text stands on a line of its
// own, on a terminal.
const widestName = 24

func (h *help) list(rows [][2]string) {
	widest := 0
	for _, row := range rows {
		if n := utf8.RuneCountInString(row[0]); h.width == 0 || n <= widestName {
			widest = max(widest, n)
		}
	}
	for _, row := range rows {
		name, n := "  "+row[0], utf8.RuneCountInString(row[0])
		room := 0
		if h.width > 0 {
			room = max(20, h.width-widest-5)
		}
		for i, line := range show.Wrapped(row[1], room) {
			switch {
			case i == 0 && n <= widest:
				h.line(name + strings.Repeat(" ", widest-n+3) + line)
			case i == 0:
				h.line(name)
				fallthrough
			default:
				h.line(strings.Repeat(" ", widest+5) + line)
			}
		}
	}
}

// Chapter is a part of a command's description under a heading of its own.
type Chapter struct{ Title, Body string }

var chapterHeading = regexp.MustCompile(`(?m)^([A-Z][a-z ]+):\n( )`)

// Describe splits a command's description into its beginning and its chapters: a
// heading such as "Examples:" on a line of its own, and indented lines below.
func Describe(command *cli.Command) (text string, chapters []Chapter) {
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
			chapters[len(chapters)-1].Body = strings.TrimRight(before, "\n ")
		}
		if found == nil {
			return text, chapters
		}
		chapters = append(chapters, Chapter{Title: rest[found[2]:found[3]]})
		rest = rest[found[4]:]
	}
}

// UsageLine is how the command that call names is called: "noggin hashes [flags]".
func UsageLine(call Invocation) string {
	command := call.Command()
	line := call.Name()
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
