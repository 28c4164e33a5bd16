package textreport

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"noggin/batch/forms"
)

// pageWidth is the longest line of a report in characters. A longer word, such as an
// address, is not broken.
const pageWidth = 100

// labelColumn is where the text beside a label begins. "Unknown (hash)" still fits on
// one line there, so a search finds it.
const labelColumn = 26

// page writes labelled, indented and wrapped lines. Its methods but line make the text
// harmless first.
type page struct{ out strings.Builder }

func (p *page) heading(text string, rule byte) {
	if p.out.Len() > 0 {
		p.out.WriteByte('\n')
	}
	text = cleanText(text)
	fmt.Fprintf(&p.out, "%s\n%s\n", text, strings.Repeat(string(rule), utf8.RuneCountInString(text)))
}

// pair writes a label and its text beside it, or nothing for an empty text. The lines of
// the text never begin at the edge of the page, so they cannot forge a label.
func (p *page) pair(indent int, label, text string) {
	lines := wrapped(cleanText(text), pageWidth-labelColumn)
	if len(lines) == 0 {
		return
	}
	lead := strings.Repeat(" ", indent) + oneLine(label) + ":"
	if fill := labelColumn - utf8.RuneCountInString(lead); fill > 0 {
		p.line(0, lead+strings.Repeat(" ", fill)+lines[0])
		lines = lines[1:]
	} else {
		p.line(0, lead)
	}
	for _, line := range lines {
		p.line(labelColumn, line)
	}
}

// item writes a text after a mark such as a dash or a number.
func (p *page) item(mark, text string) {
	lead := utf8.RuneCountInString(mark)
	for i, line := range wrapped(cleanText(text), pageWidth-lead) {
		if i == 0 {
			p.line(0, mark+line)
		} else {
			p.line(lead, line)
		}
	}
}

func (p *page) line(indent int, text string) {
	if text = strings.TrimRight(text, " "); text != "" {
		p.out.WriteString(strings.Repeat(" ", indent))
		p.out.WriteString(text)
	}
	p.out.WriteByte('\n')
}

// oneLine is a clean text without line breaks.
func oneLine(s string) string { return strings.ReplaceAll(cleanText(s), "\n", " ") }

var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\t", "    ")

// cleanText makes a text from outside harmless. Control characters, terminal escapes and
// marks that turn the direction of text are written out as [U+001B]. Line breaks of every
// kind become LF, and media references lose their namespace.
func cleanText(s string) string {
	if isPlain(s) { // almost every text
		return forms.WithoutNamespace(s)
	}
	s = lineBreaks.Replace(forms.WithoutNamespace(strings.ToValidUTF8(s, "\uFFFD")))
	if !strings.ContainsFunc(s, isHarmful) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isHarmful(r) {
			fmt.Fprintf(&b, "[U+%04X]", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isPlain tells whether a text is of ASCII without control characters, except for LF.
func isPlain(s string) bool {
	for i := range len(s) {
		if (s[i] < ' ' || s[i] > '~') && s[i] != '\n' {
			return false
		}
	}
	return true
}

func isHarmful(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d' // several scripts need these
	return r != '\n' && r != nonJoiner && r != joiner && unicode.In(r, unicode.Cc, unicode.Cf)
}

var listMark = regexp.MustCompile(`^ *(- |[0-9]{1,6}\. )?`)

// wrapped breaks a text into lines of at most width characters. A line that begins with
// spaces or the mark of a list continues below its text. Blank lines at the end are
// dropped, so an empty text gives no line.
func wrapped(text string, width int) []string {
	text = strings.TrimRight(text, " \n")
	if text == "" {
		return nil
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(line, " ")
		if utf8.RuneCountInString(line) <= width {
			lines = append(lines, line)
			continue
		}
		mark := listMark.FindString(line)
		if len(mark) > width/2 {
			mark = ""
		}
		current, used := mark, len(mark)
		for word := range strings.FieldsSeq(line[len(mark):]) {
			n := utf8.RuneCountInString(word)
			switch {
			case used == len(mark):
			case used+1+n > width:
				lines = append(lines, current)
				current, used = strings.Repeat(" ", len(mark)), len(mark)
			default:
				current, used = current+" ", used+1
			}
			current, used = current+word, used+n
		}
		lines = append(lines, current)
	}
	return lines
}
