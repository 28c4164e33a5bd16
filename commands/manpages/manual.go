package main

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"

	"noggin/commands"
	"noggin/commands/cmdline"
)

// page is a manual page.
type page struct {
	name    string // noggin-process
	section string // 1
	roff    []byte
}

// manual makes the manual pages: noggin(1) and a page of each command from its help,
// noggin.toml(5) from the example configuration, and a page of each file in written,
// such as noggin-operations.7.md. Each page shows the day of date.
func manual(assets commands.Assets, date time.Time, written fs.FS) ([]page, error) {
	app := commands.Tree(assets)
	root := cmdline.Root(app)
	texts := map[string]string{"noggin.toml.5": configPage(assets.ExampleConfig)}
	for _, call := range withSubcommands(cmdline.Invocation{Path: []*cli.Command{root}}, 1) {
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
	var pages []page
	for _, file := range others {
		dot := strings.LastIndexByte(file, '.')
		p := page{name: file[:dot], section: file[dot+1:]}
		title := fmt.Sprintf("# %s %s %q %q %q\n\n", strings.ToUpper(p.name), p.section,
			date.UTC().Format(time.DateOnly), "noggin "+app.Version, "noggin")
		p.roff = toRoff(title + texts[file] + seeAlso(file, others))
		pages = append(pages, p)
	}
	return pages, nil
}

// addWrittenPages adds the texts in the folder written, without their first line: that
// is a title for readers of the file, and a manual page has its own.
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

// withSubcommands returns call and the commands below it, without hidden ones, down to
// depth.
func withSubcommands(call cmdline.Invocation, depth int) []cmdline.Invocation {
	calls := []cmdline.Invocation{call}
	for _, sub := range call.Command().Subcommands {
		if !sub.Hidden && depth > 0 {
			calls = append(calls, withSubcommands(cmdline.Invocation{Path: append(slices.Clip(call.Path), sub)}, depth-1)...)
		}
	}
	return calls
}

// pageName is the name of a command's page. A subcommand is on its parent's page.
func pageName(call cmdline.Invocation) string {
	return strings.ReplaceAll(cmdline.Invocation{Path: call.Path[:min(2, len(call.Path))]}.Name(), " ", "-")
}

// commandPage makes the page of a command in Markdown, without its title.
func commandPage(call cmdline.Invocation) string {
	command := call.Command()
	text, chapters := cmdline.Describe(command)
	calls := withSubcommands(call, 1)
	var b strings.Builder
	fmt.Fprintf(&b, "## NAME\n\n%s - %s\n\n## SYNOPSIS\n\n", pageName(call), escaped(command.Usage))
	called := calls
	switch {
	case len(call.Path) == 1:
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
		sub := c.Command()
		if len(call.Path) == 1 {
			fmt.Fprintf(&b, "**%s**(1)\n: %s\n\n", escaped(pageName(c)), escaped(sub.Usage))
			continue
		}
		subText, _ := cmdline.Describe(sub)
		fmt.Fprintf(&b, "### %s\n\n%s", synopsis(c), blocks(sentence(sub.Usage)+"\n\n"+subText))
		writeOptions(&b, "", sub.Flags)
	}
	for _, chapter := range chapters {
		writeChapter(&b, chapter)
	}
	if len(call.Path) > 1 {
		_, chapters := cmdline.Describe(call.Path[0])
		for _, chapter := range chapters {
			if chapter.Title == cmdline.ExitChapter {
				writeChapter(&b, chapter)
			}
		}
	}
	return b.String()
}

// synopsis is the usage line of a command.
func synopsis(call cmdline.Invocation) string {
	line := "**" + escaped(call.Name()) + "**"
	if rest := strings.TrimPrefix(cmdline.UsageLine(call), call.Name()); rest != "" {
		line += escaped(rest)
	}
	return line
}

func writeOptions(b *strings.Builder, heading string, flags []cli.Flag) {
	texts := cmdline.DescribeFlags(flags)
	if len(texts) > 0 && heading != "" {
		b.WriteString(heading + "\n\n")
	}
	for _, flag := range texts {
		names := "**" + strings.Join(flag.Spellings(), "**, **") + "**"
		if flag.Placeholder != "" {
			names += " " + escaped(flag.Placeholder)
		}
		fmt.Fprintf(b, "%s\n: %s\n\n", names, escaped(flag.Usage+flag.Remarks()))
	}
}

func writeChapter(b *strings.Builder, c cmdline.Chapter) {
	title := strings.ToUpper(c.Title)
	if c.Title == cmdline.ExitChapter {
		title = "EXIT STATUS"
	}
	body := dedented(c.Body)
	if c.Title == "Examples" {
		fmt.Fprintf(b, "## %s\n\n%s\n", title, asCode(body))
		return
	}
	fmt.Fprintf(b, "## %s\n\n%s", title, blocks(body))
}

// seeAlso lists other pages: all of them on noggin(1), and all but those of commands on
// the others.
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

// termLine is a line of a list of terms: a term, two blanks or more, its meaning.
var termLine = regexp.MustCompile(`^(\S+(?: \S+)*) {2,}(\S.*)$`)

// blocks turns a text of the help into Markdown: paragraphs, lists of terms, and
// indented lines, which become code.
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

// sentence turns a command's usage into a sentence.
func sentence(usage string) string { return strings.ToUpper(usage[:1]) + usage[1:] + "." }

// dedented removes the indentation that all lines share.
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

// asCode makes text a block of code in Markdown.
func asCode(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}

var (
	markup       = regexp.MustCompile("`[^`]*`|" + `[\\*_\[\]<>{}#|&~]`)
	initialMarks = regexp.MustCompile(`^([-+:=]|\d+\.)`)
)

// escaped escapes all Markdown in text but `code`.
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

// toRoff turns Markdown into roff. It writes hyphens, quotes and tildes as literals, as
// roff prints typographic ones otherwise and a copied command would not run.
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

// leftAligned switches hyphenation and justification off, so that names of commands and
// files stay whole. .nr HY holds it off after a block of code, and the string AD is for
// groff 1.23 and later, which sets the alignment anew for every paragraph.
const leftAligned = ".nr HY 0\n.nh\n.ds AD l\n.ad l\n"

var roffLiterals = map[rune]string{'-': `\-`, '\'': `\(aq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`, '…': "..."}
