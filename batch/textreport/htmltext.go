package textreport

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// htmlText turns rich text into plain text. A blank line stands between paragraphs. List
// items get a dash or their number, the cells of a table row bars between them, links
// their address. Scripts and styles are dropped; what is no markup stays as text.
func htmlText(s string) string {
	if !strings.ContainsRune(s, '<') {
		return tidyLines(html.UnescapeString(s)) // Plain text keeps its lines.
	}
	c := htmlConverter{tokens: html.NewTokenizer(strings.NewReader(s))}
	for {
		switch c.tokens.Next() {
		case html.ErrorToken:
			// A tag that never ends, as in "mass <max", is text.
			c.text(string(c.tokens.Raw()))
			return tidyLines(c.out.String())
		case html.TextToken:
			c.text(string(c.tokens.Text()))
		case html.CommentToken:
			if raw := string(c.tokens.Raw()); strings.HasPrefix(raw, "</") {
				c.text(raw) // "</" that no name follows
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			raw := string(c.tokens.Raw())
			switch t := c.tokens.Token(); {
			case !isElement(t.Data):
				c.text(raw) // such as "<max>"
			case t.Type == html.EndTagToken:
				c.end(t.DataAtom)
			default:
				c.start(t)
			}
		}
	}
}

type htmlConverter struct {
	tokens *html.Tokenizer
	out    strings.Builder
	// pending stands before the next text: 0 nothing, 1 a new line, 2 a blank line.
	pending int
	space   bool      // a space stands before the next text
	lists   []int     // the open lists: 0 for dashes, else the next number
	bullet  string    // mark of the list item that begins next
	cells   int       // cells of the current table row so far
	inCell  bool      // line breaks become spaces, so that the row stays on one line
	dropped atom.Atom // the open element whose text is left out, or 0
	pre     int       // depth of preformatted elements
	links   []string  // addresses of the open links
}

// blocks are the elements that stand on lines of their own. True ones have a blank line
// around them.
var blocks = map[atom.Atom]bool{
	atom.P: true, atom.H1: true, atom.H2: true, atom.H3: true, atom.H4: true, atom.H5: true, atom.H6: true,
	atom.Blockquote: true, atom.Pre: true, atom.Table: true, atom.Dl: true, atom.Figure: true,
	atom.Div: false, atom.Section: false, atom.Article: false, atom.Header: false, atom.Footer: false,
	atom.Address: false, atom.Form: false, atom.Fieldset: false, atom.Tr: false, atom.Li: false,
	atom.Dt: false, atom.Dd: false, atom.Figcaption: false, atom.Caption: false, atom.Br: false,
}

// elements are the names of HTML elements that browsers know.
const elements = " a abbr acronym address applet area article aside audio b base basefont bdi bdo big " +
	"blockquote body br button canvas caption center cite code col colgroup data datalist dd del details dfn " +
	"dialog dir div dl dt em embed fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 " +
	"h6 head header hgroup hr html i iframe img input ins kbd label legend li link main map mark math menu " +
	"meta meter nav nobr noembed noframes noscript object ol optgroup option output p param picture plaintext " +
	"pre progress q rp rt ruby s samp script search section select slot small source span strike strong style " +
	"sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul var video " +
	"wbr xmp "

// isElement reports whether a tag is markup: an element of HTML, or one of a word
// processor or a web component, whose names hold a colon or a dash.
func isElement(name string) bool {
	return strings.ContainsAny(name, ":-") || strings.Contains(elements, " "+name+" ")
}

func (c *htmlConverter) start(t html.Token) {
	switch t.DataAtom {
	case atom.Script, atom.Style, atom.Title, atom.Iframe, atom.Noembed, atom.Noframes:
		c.dropped = t.DataAtom
	case atom.Noscript, atom.Textarea, atom.Xmp:
		c.tokens.NextIsNotRawText()
		c.breakLine(1)
	case atom.Ul, atom.Ol:
		c.breakLine(c.listBreak())
		first := 0
		if t.DataAtom == atom.Ol {
			first = 1
			if n, err := strconv.Atoi(attribute(t, "start")); err == nil && n > 0 && n < 1_000_000 {
				first = n
			}
		}
		c.lists = append(c.lists, first)
	case atom.Li:
		c.breakLine(1)
		c.bullet = c.nextBullet()
	case atom.Tr:
		c.inCell, c.cells = false, 0
		c.breakLine(1)
	case atom.Td, atom.Th:
		if c.cells++; c.cells > 1 {
			c.space = true
			c.write("|")
			c.space = true
		}
		c.inCell = true
	case atom.Hr:
		c.breakLine(2)
		c.write("----")
		c.breakLine(2)
	case atom.Img:
		if alt := strings.TrimSpace(attribute(t, "alt")); alt != "" {
			c.text(" [image: " + alt + "] ")
		} else {
			c.text(" [image] ")
		}
	case atom.A:
		c.links = append(c.links, strings.TrimSpace(attribute(t, "href")))
	default:
		c.block(t.DataAtom)
		if t.DataAtom == atom.Pre {
			c.pre++
		}
	}
}

func (c *htmlConverter) end(tag atom.Atom) {
	if c.dropped != 0 {
		if tag == c.dropped {
			c.dropped = 0
		}
		return
	}
	switch tag {
	case atom.Tr, atom.Table:
		c.inCell = false
		c.block(tag)
	case atom.Ul, atom.Ol:
		if len(c.lists) > 0 {
			c.lists = c.lists[:len(c.lists)-1]
		}
		c.bullet = ""
		c.breakLine(c.listBreak())
	case atom.Pre:
		c.pre = max(0, c.pre-1)
		c.breakLine(2)
	case atom.A:
		if n := len(c.links); n > 0 {
			c.link(c.links[n-1])
			c.links = c.links[:n-1]
		}
	case atom.Br:
		c.breakLine(1)
	default:
		c.block(tag)
	}
}

// link adds the address of a link, unless it leads to the same page or is a script.
func (c *htmlConverter) link(address string) {
	scheme, _, _ := strings.Cut(strings.ToLower(address), ":")
	switch {
	case address == "", strings.HasPrefix(address, "#"), scheme == "javascript", scheme == "data", scheme == "vbscript":
		return
	case strings.HasSuffix(c.out.String(), strings.TrimPrefix(address, "mailto:")):
		return // The text of the link is the address.
	}
	c.text(" (" + address + ")")
}

func (c *htmlConverter) block(tag atom.Atom) {
	blank, isBlock := blocks[tag]
	switch {
	case !isBlock:
	case tag == atom.Br && c.pending > 0:
		c.breakLine(2) // A second break leaves a blank line.
	case blank && c.bullet == "" && len(c.lists) == 0:
		c.breakLine(2)
	default:
		c.breakLine(1)
	}
}

// listBreak is a blank line around an outer list and a new line around an inner one.
func (c *htmlConverter) listBreak() int {
	if len(c.lists) > 0 {
		return 1
	}
	return 2
}

func (c *htmlConverter) nextBullet() string {
	n := len(c.lists)
	if n == 0 {
		return "- "
	}
	indent := strings.Repeat("  ", min(n, 10)-1)
	number := c.lists[n-1]
	if number == 0 {
		return indent + "- "
	}
	c.lists[n-1]++
	return indent + strconv.Itoa(number) + ". "
}

func (c *htmlConverter) breakLine(lines int) {
	if c.inCell {
		c.space = true
		return
	}
	c.pending = max(c.pending, lines)
	c.space = false
}

// text writes a text with one space in place of several, as a browser shows it.
func (c *htmlConverter) text(s string) {
	if c.dropped != 0 {
		return
	}
	if c.pre > 0 {
		for i, line := range strings.Split(s, "\n") {
			if i > 0 {
				c.breakLine(min(c.pending+1, 2))
			}
			if line != "" {
				c.write(line)
			}
		}
		return
	}
	for i, word := range strings.FieldsFunc(s, isHTMLSpace) {
		if i > 0 || isHTMLSpace(rune(s[0])) {
			c.space = true
		}
		c.write(word)
	}
	if s != "" && isHTMLSpace(rune(s[len(s)-1])) {
		c.space = true
	}
}

// isHTMLSpace is false for the no-break space, which somebody put there on purpose.
func isHTMLSpace(r rune) bool { return strings.ContainsRune(" \t\r\n\f", r) }

func (c *htmlConverter) write(word string) {
	begins := c.out.Len() == 0 || c.pending > 0
	if c.out.Len() > 0 {
		c.out.WriteString(strings.Repeat("\n", c.pending))
	}
	switch {
	case c.bullet != "":
		c.out.WriteString(c.bullet)
		c.bullet = ""
	case begins:
		c.out.WriteString(strings.Repeat("  ", min(len(c.lists), 10)))
	case c.space:
		c.out.WriteByte(' ')
	}
	c.out.WriteString(word)
	c.pending, c.space = 0, false
}

func attribute(t html.Token, key string) string {
	for _, a := range t.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// tidyLines removes spaces at the ends of lines, and all but one of several blank lines.
func tidyLines(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u00a0", " ").Replace(s)
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.TrimRight(line, " \t")
		if line == "" && (len(out) == 0 || out[len(out)-1] == "") {
			continue
		}
		out = append(out, line)
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}
