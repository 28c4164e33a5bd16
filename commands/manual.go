package commands

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"
)

// ManualPage is a page for man.
type ManualPage struct {
	Name    string // noggin-process
	Section string // 1
	Roff    []byte
}

// Manual makes the manual pages: noggin(1) and one for each command out of what
// --help shows, noggin.toml(5) out of the example of a configuration, and one of
// each file in written, such as noggin-operations.7.md. They bear the day of date.
func Manual(assets Assets, date time.Time, written fs.FS) ([]ManualPage, error) {
	root := rootCommand(newApp(&environment{assets: assets}))
	texts := map[string]string{"noggin.toml.5": configPage(assets.ExampleConfig)}
	for _, call := range withSubcommands(invocation{path: []*cli.Command{root}}, 1) {
		texts[pageName(call)+".1"] = commandPage(call)
	}
	if err := addWrittenPages(texts, written); err != nil {
		return nil, err
	}
	var others []string
	for file := range texts {
		others = append(others, file)
	}
	slices.Sort(others)
	var pages []ManualPage
	for _, file := range others {
		dot := strings.LastIndexByte(file, '.')
		page := ManualPage{Name: file[:dot], Section: file[dot+1:]}
		title := fmt.Sprintf("# %s %s %q %q %q\n\n", strings.ToUpper(page.Name), page.Section,
			date.UTC().Format(time.DateOnly), "noggin "+readVersion(assets.Version).Version, "noggin")
		page.Roff = toRoff(title + texts[file] + seeAlso(file, others))
		pages = append(pages, page)
	}
	return pages, nil
}

// addWrittenPages adds the texts in the folder written. Their first line is a title
// for whoever reads them as they are; man has its own.
func addWrittenPages(texts map[string]string, written fs.FS) error {
	files, err := fs.Glob(written, "*.md")
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := fs.ReadFile(written, file)
		if err != nil {
			return err
		}
		_, body, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		texts[strings.TrimSuffix(file, ".md")] = body + "\n\n"
	}
	return nil
}

// withSubcommands returns call and those of the commands below it that are shown,
// down to depth.
func withSubcommands(call invocation, depth int) []invocation {
	calls := []invocation{call}
	for _, sub := range call.command().Subcommands {
		if !sub.Hidden && depth > 0 {
			calls = append(calls, withSubcommands(invocation{path: append(slices.Clip(call.path), sub)}, depth-1)...)
		}
	}
	return calls
}

// pageName is the page that tells of a command: a subcommand stands on its
// parent's.
func pageName(call invocation) string {
	return strings.ReplaceAll(invocation{path: call.path[:min(2, len(call.path))]}.name(), " ", "-")
}

// commandPage is the page of a command in Markdown, without its title.
func commandPage(call invocation) string {
	command := call.command()
	text, chapters := describe(command)
	calls := withSubcommands(call, 1)
	var b strings.Builder
	fmt.Fprintf(&b, "## NAME\n\n%s - %s\n\n## SYNOPSIS\n\n", pageName(call), escaped(command.Usage))
	called := calls
	switch {
	case len(call.path) == 1:
		called = calls[:1]
	case command.Action == nil:
		called = calls[1:]
	}
	for _, c := range called {
		b.WriteString(synopsis(c) + "\n\n")
	}
	fmt.Fprintf(&b, "## DESCRIPTION\n\n%s", blocks(sentence(command.Usage)+"\n\n"+text))
	writeOptions(&b, "## OPTIONS", command.Flags)
	if len(calls) > 1 {
		b.WriteString("## COMMANDS\n\n")
	}
	for _, c := range calls[1:] {
		sub := c.command()
		if len(call.path) == 1 {
			fmt.Fprintf(&b, "**%s**(1)\n: %s\n\n", escaped(pageName(c)), escaped(sub.Usage))
			continue
		}
		subText, _ := describe(sub)
		fmt.Fprintf(&b, "### %s\n\n%s", synopsis(c), blocks(sentence(sub.Usage)+"\n\n"+subText))
		writeOptions(&b, "", sub.Flags)
	}
	for _, chapter := range chapters {
		writeChapter(&b, chapter)
	}
	if len(call.path) > 1 {
		_, chapters := describe(call.path[0])
		for _, chapter := range chapters {
			if chapter.title == exitChapter {
				writeChapter(&b, chapter)
			}
		}
	}
	return b.String()
}

// synopsis is the line that calls a command.
func synopsis(call invocation) string {
	line := "**" + escaped(call.name()) + "**"
	if rest := strings.TrimPrefix(usageLine(call), call.name()); rest != "" {
		line += escaped(rest)
	}
	return line
}

func writeOptions(b *strings.Builder, heading string, flags []cli.Flag) {
	texts := describeFlags(flags)
	if len(texts) > 0 && heading != "" {
		b.WriteString(heading + "\n\n")
	}
	for _, flag := range texts {
		names := "**" + strings.Join(flag.spellings(), "**, **") + "**"
		if flag.placeholder != "" {
			names += " " + escaped(flag.placeholder)
		}
		fmt.Fprintf(b, "%s\n: %s\n\n", names, escaped(flag.usage+flag.remarks()))
	}
}

func writeChapter(b *strings.Builder, c chapter) {
	title := strings.ToUpper(c.title)
	if c.title == exitChapter {
		title = "EXIT STATUS"
	}
	body := dedented(c.body)
	if c.title == "Examples" {
		fmt.Fprintf(b, "## %s\n\n%s\n", title, asCode(body))
		return
	}
	fmt.Fprintf(b, "## %s\n\n%s", title, blocks(body))
}

// seeAlso refers to the other pages: noggin(1) and the written ones to all, the
// others to those that are of use to every command.
func seeAlso(file string, all []string) string {
	var b strings.Builder
	for _, other := range all {
		dot := strings.LastIndexByte(other, '.')
		if other != file && (file == "noggin.1" || !strings.HasPrefix(other, "noggin-") || !strings.HasSuffix(other, ".1")) {
			fmt.Fprintf(&b, ", **%s**(%s)", escaped(other[:dot]), other[dot+1:])
		}
	}
	return "## SEE ALSO\n\n" + strings.TrimPrefix(b.String(), ", ") + "\n"
}

// termLine is a line of a list of terms: two blanks or more before what it means.
var termLine = regexp.MustCompile(`^(\S+(?: \S+)*) {2,}(\S.*)$`)

// blocks turns text as help shows it into Markdown: paragraphs, lists of terms, and
// indented lines, which stay as they are.
func blocks(text string) string {
	var b strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(block, "\n")
		isTerm := func(line string) bool { return termLine.MatchString(line) }
		switch {
		case strings.HasPrefix(block, " "):
			b.WriteString(asCode(dedented(block)))
		case !slices.ContainsFunc(lines, func(line string) bool { return !isTerm(line) }):
			for _, line := range lines {
				parts := termLine.FindStringSubmatch(line)
				fmt.Fprintf(&b, "**%s**\n: %s\n\n", escaped(parts[1]), escaped(parts[2]))
			}
		default:
			b.WriteString(escaped(strings.Join(lines, " ")) + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sentence makes one of a command's usage.
func sentence(usage string) string { return strings.ToUpper(usage[:1]) + usage[1:] + "." }

// dedented takes away the blanks that all lines begin with.
func dedented(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	least := len(text)
	for _, line := range lines {
		if line != "" {
			least = min(least, len(line)-len(strings.TrimLeft(line, " ")))
		}
	}
	for i, line := range lines {
		lines[i] = line[min(least, len(line)):]
	}
	return strings.Join(lines, "\n")
}

// asCode makes text a block of code.
func asCode(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}

var (
	markup       = regexp.MustCompile("`[^`]*`|" + `[\\*_\[\]<>{}#|&~]`)
	initialMarks = regexp.MustCompile(`^([-+:=]|\d+\.)`)
)

// escaped keeps text from being Markdown, but for `code`.
func escaped(text string) string {
	text = markup.ReplaceAllStringFunc(text, func(mark string) string {
		if strings.HasPrefix(mark, "`") {
			return mark
		}
		return `\` + mark
	})
	if loc := initialMarks.FindStringIndex(text); loc != nil {
		text = text[:loc[1]-1] + `\` + text[loc[1]-1:]
	}
	return text
}

// toRoff turns Markdown into a page whose commands can be copied: roff takes a
// plain hyphen, quote or tilde for one of a book.
func toRoff(markdown string) []byte {
	var b strings.Builder
	for line := range strings.Lines(string(md2man.Render([]byte(markdown)))) {
		if strings.HasPrefix(line, ".TH ") {
			line += leftAligned
		}
		if strings.HasPrefix(line, ".TH ") || strings.HasPrefix(line, "'") {
			b.WriteString(line)
			continue
		}
		previous := rune(0)
		for _, r := range line {
			literal, special := roffLiterals[r]
			switch {
			case previous == '\\':
				b.WriteRune(r)
				r = 0
			case special:
				b.WriteString(literal)
			case r > '~':
				fmt.Fprintf(&b, `\[u%04X]`, r)
			default:
				b.WriteRune(r)
			}
			previous = r
		}
	}
	return []byte(b.String())
}

// leftAligned keeps the names of commands and files whole, also behind the blocks of
// code that bring hyphenation back. From 1.23 on groff aligns every paragraph anew, as
// the string AD says.
const leftAligned = ".nr HY 0\n.nh\n.ds AD l\n.ad l\n"

var roffLiterals = map[rune]string{'-': `\-`, '\'': `\(aq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`, '…': "..."}
